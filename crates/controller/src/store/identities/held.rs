//! Agents with a certificate of ours and no identity here, and what an admin makes of them; and the end of quarantine.

use muster_base::id::{AgentId, ServerId};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, PaginatorTrait as _,
    QueryFilter as _,
};

use super::{ACTIVE, QUARANTINED, agent_id, revoke_all_of};
use crate::store::entity::{agent_identity, held_agent, revocation};
use crate::store::servers::{self, ServerFields};
use crate::store::{Doing as _, Store, StoreError, commit};

/// Agents that are held at once. All have certificates of ours, so more than this is no honest number.
const HELD_MAX: u64 = 100_000;

/// An agent that is held.
#[derive(Debug, Clone)]
pub(crate) struct HeldRow {
    pub(crate) agent: AgentId,
    pub(crate) generation: Option<u32>,
    pub(crate) serial: String,
    pub(crate) key_sha256: Vec<u8>,
    pub(crate) not_after_ms: i64,
    pub(crate) hostname: Option<String>,
    pub(crate) agent_version: Option<String>,
    pub(crate) address: String,
    pub(crate) last_ms: i64,
}

/// An adoption that an admin wants.
#[derive(Debug)]
pub(crate) struct Adoption {
    pub(crate) agent: AgentId,
    /// The server it shall report for; without one it gets a new one.
    pub(crate) server: Option<ServerId>,
    /// What a new server is made of.
    pub(crate) fields: ServerFields,
    pub(crate) now_ms: i64,
}

/// How an adoption ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AdoptOutcome {
    /// It may connect now.
    Done {
        server: ServerId,
        /// Identities that gave way to it.
        revoked: Vec<AgentId>,
    },
    /// There is no agent of this id that is held or in quarantine.
    NotWaiting,
    /// The server does not exist.
    NoServer,
    /// An agent in quarantine goes back to its own server.
    OtherServer(ServerId),
}

impl Store {
    /// Notes an agent that is held; what was known of it gives way to what it shows now.
    pub(crate) async fn hold(&self, held: HeldRow) -> Result<(), StoreError> {
        const DOING: &str = "note an agent that is held";
        let transaction = self.begin(DOING).await?;
        let id = held.agent.to_string();
        let known = held_agent::Entity::find_by_id(id.clone())
            .one(&transaction)
            .await
            .doing(DOING)?;
        if known.is_none()
            && HELD_MAX
                <= held_agent::Entity::find()
                    .count(&transaction)
                    .await
                    .doing(DOING)?
        {
            return Ok(());
        }
        let row = held_agent::ActiveModel {
            agent: Set(id),
            generation: Set(held
                .generation
                .map(|generation| i32::try_from(generation).unwrap_or(i32::MAX))),
            serial: Set(held.serial),
            key_sha256: Set(held.key_sha256),
            not_after_ms: Set(held.not_after_ms),
            hostname: Set(held
                .hostname
                .or_else(|| known.as_ref().and_then(|known| known.hostname.clone()))),
            agent_version: Set(held
                .agent_version
                .or_else(|| known.as_ref().and_then(|known| known.agent_version.clone()))),
            address: Set(held.address),
            first_ms: Set(known.as_ref().map_or(held.last_ms, |known| known.first_ms)),
            last_ms: Set(held.last_ms),
        };
        let replace = OnConflict::column(held_agent::Column::Agent)
            .update_columns([
                held_agent::Column::Generation,
                held_agent::Column::Serial,
                held_agent::Column::KeySha256,
                held_agent::Column::NotAfterMs,
                held_agent::Column::Hostname,
                held_agent::Column::AgentVersion,
                held_agent::Column::Address,
                held_agent::Column::LastMs,
            ])
            .to_owned();
        held_agent::Entity::insert(row)
            .on_conflict(replace)
            .exec_without_returning(&transaction)
            .await
            .doing(DOING)?;
        commit(transaction, DOING).await
    }

    /// What is known of an agent that is held.
    pub(crate) async fn held(&self, agent: AgentId) -> Result<Option<HeldRow>, StoreError> {
        let row = held_agent::Entity::find_by_id(agent.to_string())
            .one(&self.reader)
            .await
            .doing("find an agent that is held")?;
        row.map(HeldRow::try_from).transpose()
    }

    /// Makes an agent that is held one of a server's, or ends its quarantine.
    pub(crate) async fn adopt(&self, adoption: Adoption) -> Result<AdoptOutcome, StoreError> {
        const DOING: &str = "adopt an agent";
        let transaction = self.begin(DOING).await?;
        let id = adoption.agent.to_string();
        let known = agent_identity::Entity::find_by_id(id.clone())
            .one(&transaction)
            .await
            .doing(DOING)?;
        let outcome = match known {
            Some(known) if known.status == QUARANTINED => {
                let own = ServerId(known.server_id);
                if adoption.server.is_some_and(|wanted| wanted != own) {
                    return Ok(AdoptOutcome::OtherServer(own));
                }
                release(&transaction, &id).await?;
                AdoptOutcome::Done {
                    server: own,
                    revoked: Vec::new(),
                }
            }
            Some(_) => return Ok(AdoptOutcome::NotWaiting),
            None => take_in(&transaction, adoption).await?,
        };
        if matches!(outcome, AdoptOutcome::Done { .. }) {
            commit(transaction, DOING).await?;
        }
        Ok(outcome)
    }
}

async fn release(db: &impl ConnectionTrait, agent: &str) -> Result<(), StoreError> {
    agent_identity::Entity::update_many()
        .col_expr(agent_identity::Column::Status, Expr::value(ACTIVE))
        .col_expr(agent_identity::Column::StatusReason, Expr::value(None::<String>))
        .col_expr(agent_identity::Column::StatusMs, Expr::value(None::<i64>))
        .filter(agent_identity::Column::Agent.eq(agent))
        .exec(db)
        .await
        .doing("end the quarantine of an identity")?;
    Ok(())
}

async fn take_in(db: &impl ConnectionTrait, adoption: Adoption) -> Result<AdoptOutcome, StoreError> {
    const DOING: &str = "adopt an agent that is held";
    let id = adoption.agent.to_string();
    let is_revoked = revocation::Entity::find_by_id(id.clone())
        .one(db)
        .await
        .doing(DOING)?
        .is_some();
    let held = held_agent::Entity::find_by_id(id.clone())
        .one(db)
        .await
        .doing(DOING)?;
    let Some(held) = held.filter(|_| !is_revoked) else {
        return Ok(AdoptOutcome::NotWaiting);
    };
    let (server, revoked) = match adoption.server {
        Some(server) if servers::find(db, server).await?.is_none() => return Ok(AdoptOutcome::NoServer),
        Some(server) => (
            server,
            revoke_all_of(db, server, "replaced by an adopted agent", adoption.now_ms).await?,
        ),
        None => (
            servers::insert(db, adoption.fields, adoption.now_ms).await?,
            Vec::new(),
        ),
    };
    let row = agent_identity::ActiveModel {
        agent: Set(id.clone()),
        server_id: Set(server.0),
        generation: Set(held.generation.unwrap_or(1)),
        serial: Set(held.serial),
        key_sha256: Set(held.key_sha256),
        previous_key_sha256: Set(None),
        not_after_ms: Set(held.not_after_ms),
        status: Set(ACTIVE.to_owned()),
        agent_version: Set(held.agent_version),
        created_ms: Set(adoption.now_ms),
        revoked_ms: Set(None),
        status_reason: Set(None),
        status_ms: Set(None),
        roots_sha256: Set(None),
    };
    agent_identity::Entity::insert(row)
        .exec_without_returning(db)
        .await
        .doing(DOING)?;
    held_agent::Entity::delete_by_id(id).exec(db).await.doing(DOING)?;
    Ok(AdoptOutcome::Done { server, revoked })
}

impl TryFrom<held_agent::Model> for HeldRow {
    type Error = StoreError;

    fn try_from(row: held_agent::Model) -> Result<Self, StoreError> {
        Ok(Self {
            agent: agent_id(&row.agent)?,
            generation: row.generation.and_then(|number| u32::try_from(number).ok()),
            serial: row.serial,
            key_sha256: row.key_sha256,
            not_after_ms: row.not_after_ms,
            hostname: row.hostname,
            agent_version: row.agent_version,
            address: row.address,
            last_ms: row.last_ms,
        })
    }
}
