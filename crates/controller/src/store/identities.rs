//! Enrolment tokens and agents' identities.

mod following;
mod held;
mod list;
mod redeem;
mod renew;
mod revoke;
mod tokens;

use muster_base::id::{AgentId, ServerId};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QuerySelect as _,
};
use uuid::Uuid;

pub(crate) use self::held::{AdoptOutcome, Adoption, HeldRow};
pub(crate) use self::list::AgentRow;
pub(crate) use self::redeem::{NewIdentity, Redeem, Redeemed};
pub(crate) use self::renew::{CaughtUp, Renewal, RenewalOutcome};
pub(crate) use self::tokens::ListedToken;
use super::entity::{agent_identity, enrolment_token};
use super::servers;
use super::{Doing as _, Store, StoreError, commit, corrupt};

/// Status of an identity that may connect.
pub(super) const ACTIVE: &str = "active";
/// Status of an identity that was seen in two places: until somebody decides, neither may connect.
pub(crate) const QUARANTINED: &str = "quarantined";
/// Status of an identity that may not any more.
pub(crate) const REVOKED: &str = "revoked";

/// What an identity may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Connect and renew.
    Active,
    /// Nothing until somebody decides; with the reason.
    Quarantined(String),
    /// Nothing for ever.
    Revoked,
}

impl Standing {
    fn of(row: &agent_identity::Model) -> Result<Self, StoreError> {
        match row.status.as_str() {
            ACTIVE => Ok(Self::Active),
            QUARANTINED => Ok(Self::Quarantined(row.status_reason.clone().unwrap_or_default())),
            REVOKED => Ok(Self::Revoked),
            other => Err(corrupt("agent_identity.status", other)),
        }
    }
}

/// An enrolment token.
#[derive(Debug, Clone)]
pub(crate) struct TokenRow {
    pub(crate) public_id: String,
    pub(crate) secret_sha256: Vec<u8>,
    pub(crate) server: Option<ServerId>,
    pub(crate) uses: u32,
    pub(crate) created_ms: i64,
    pub(crate) expires_ms: i64,
    pub(crate) created_by: String,
}

/// An agent's identity with the server it reports for.
#[derive(Debug, Clone)]
pub(crate) struct IdentityRow {
    /// `None` if the server was deleted.
    pub(crate) server: Option<servers::ServerRow>,
    pub(crate) standing: Standing,
    pub(crate) generation: u32,
    /// SHA-256 of the public key of the newest generation.
    pub(crate) key_sha256: Vec<u8>,
    /// That of the generation before, until the newest was used.
    pub(crate) previous_key_sha256: Option<Vec<u8>>,
}

impl Store {
    /// Stores a token. `false` if it is bound to a server that does not exist.
    pub(crate) async fn add_token(&self, token: TokenRow) -> Result<bool, StoreError> {
        const DOING: &str = "store an enrolment token";
        let transaction = self.begin(DOING).await?;
        if let Some(server) = token.server
            && servers::find(&transaction, server).await?.is_none()
        {
            return Ok(false);
        }
        let uses = i32::try_from(token.uses).unwrap_or(i32::MAX);
        let row = enrolment_token::ActiveModel {
            public_id: Set(token.public_id),
            secret_sha256: Set(token.secret_sha256),
            server_id: Set(token.server.map(|server| server.0)),
            uses_total: Set(uses),
            uses_left: Set(uses),
            created_ms: Set(token.created_ms),
            expires_ms: Set(token.expires_ms),
            created_by: Set(token.created_by),
        };
        enrolment_token::Entity::insert(row)
            .exec_without_returning(&transaction)
            .await
            .doing(DOING)?;
        commit(transaction, DOING).await?;
        Ok(true)
    }

    /// The token with this public id; its secret is for the caller to compare.
    pub(crate) async fn token(&self, public_id: &str) -> Result<Option<TokenRow>, StoreError> {
        let row = enrolment_token::Entity::find_by_id(public_id.to_owned())
            .one(&self.reader)
            .await
            .doing("find an enrolment token")?;
        Ok(row.map(|row| TokenRow {
            public_id: row.public_id,
            secret_sha256: row.secret_sha256,
            server: row.server_id.map(ServerId),
            uses: u32::try_from(row.uses_left).unwrap_or(0),
            created_ms: row.created_ms,
            expires_ms: row.expires_ms,
            created_by: row.created_by,
        }))
    }

    /// An agent's identity, revoked or not.
    pub(crate) async fn identity(&self, agent: AgentId) -> Result<Option<IdentityRow>, StoreError> {
        let row = agent_identity::Entity::find_by_id(agent.to_string())
            .one(&self.reader)
            .await
            .doing("find an agent's identity")?;
        let Some(row) = row else { return Ok(None) };
        let server = servers::find(&self.reader, ServerId(row.server_id)).await?;
        Ok(Some(IdentityRow {
            standing: Standing::of(&row)?,
            server: server.map(servers::ServerRow::from),
            generation: u32::try_from(row.generation).unwrap_or(0),
            key_sha256: row.key_sha256,
            previous_key_sha256: row.previous_key_sha256,
        }))
    }

    /// Forgets tokens, with their redemptions, that ended before the given time. Returns how many.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn forget_tokens(&self, ended_before_ms: i64) -> Result<u64, StoreError> {
        let deleted = enrolment_token::Entity::delete_many()
            .filter(enrolment_token::Column::ExpiresMs.lt(ended_before_ms))
            .exec(&self.writer)
            .await
            .doing("forget old enrolment tokens")?;
        Ok(deleted.rows_affected)
    }
}

/// Revokes every identity of a server and returns them.
pub(super) async fn revoke_all_of(
    db: &impl ConnectionTrait,
    server: ServerId,
    reason: &'static str,
    now_ms: i64,
) -> Result<Vec<AgentId>, StoreError> {
    let agents: Vec<String> = agent_identity::Entity::find()
        .select_only()
        .column(agent_identity::Column::Agent)
        .filter(agent_identity::Column::ServerId.eq(server.0))
        .filter(agent_identity::Column::Status.ne(REVOKED))
        .into_tuple()
        .all(db)
        .await
        .doing("revoke the identities of a server")?;
    let agents: Vec<AgentId> = agents
        .iter()
        .map(|agent| agent_id(agent))
        .collect::<Result<_, _>>()?;
    revoke::revoke(db, &agents, reason, now_ms).await?;
    Ok(agents)
}

/// Leaves the tokens bound to a server without a use.
pub(super) async fn void_tokens_of(db: &impl ConnectionTrait, server: ServerId) -> Result<(), StoreError> {
    enrolment_token::Entity::update_many()
        .col_expr(enrolment_token::Column::UsesLeft, Expr::value(0))
        .filter(enrolment_token::Column::ServerId.eq(server.0))
        .exec(db)
        .await
        .doing("void the enrolment tokens of a server")?;
    Ok(())
}

pub(super) fn agent_id(text: &str) -> Result<AgentId, StoreError> {
    Uuid::parse_str(text)
        .map(AgentId)
        .map_err(|_| corrupt("agent_identity.agent", text))
}
