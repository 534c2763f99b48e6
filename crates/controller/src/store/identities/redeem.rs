//! Redeeming an enrolment token.
//!
//! Invariant: a use is consumed by one conditional update, in the transaction that makes the identity; if that update
//! does not change exactly one row, nothing is made.

use muster_base::id::{AgentId, ServerId};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _, QueryFilter as _,
};

use super::{ACTIVE, agent_id, revoke_all_of};
use crate::store::entity::{agent_identity, enrolment_token, token_redemption};
use crate::store::servers::{self, ServerFields};
use crate::store::{Doing as _, Store, StoreError, commit, corrupt};

/// For how long the same key gets the same identity from the same token.
const RETRY_MS: i64 = 600_000;

/// An identity that is about to be made, with the certificate that was issued for it.
#[derive(Debug, Clone)]
pub(crate) struct NewIdentity {
    pub(crate) agent: AgentId,
    pub(crate) serial: String,
    pub(crate) key_sha256: Vec<u8>,
    pub(crate) not_after_ms: i64,
    pub(crate) agent_version: String,
    /// SHA-256 of the roots that come with the certificate.
    pub(crate) roots_sha256: Vec<u8>,
}

/// A redemption.
#[derive(Debug)]
pub(crate) struct Redeem<'a> {
    pub(crate) public_id: &'a str,
    pub(crate) identity: NewIdentity,
    /// What the server is made of if the token is free.
    pub(crate) server: ServerFields,
    pub(crate) now_ms: i64,
}

/// How a redemption ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Redeemed {
    /// The identity was made, or made again for the same key.
    Done {
        server: ServerId,
        generation: u32,
        used_up: bool,
        /// Identities that gave way to it.
        revoked: Vec<AgentId>,
    },
    /// Another request with the same key was faster: its identity is this one.
    Other(AgentId),
    /// The token does not exist.
    Unknown,
    /// Its time is over.
    Expired,
    /// It has no use left.
    UsedUp,
    /// It has no use left, and another key used it a moment ago.
    KeyMismatch,
    /// The server it is bound to was deleted.
    NoServer(ServerId),
}

impl Store {
    /// The identity that this key got from this token a moment ago, if it did.
    pub(crate) async fn redeemed_by(
        &self,
        public_id: &str,
        key_sha256: &[u8],
        now_ms: i64,
    ) -> Result<Option<AgentId>, StoreError> {
        let row = recent_redemption(&self.reader, public_id, key_sha256, now_ms).await?;
        row.map(|row| agent_id(&row.agent)).transpose()
    }

    /// Consumes a use and makes the identity, or finds out why not.
    pub(crate) async fn redeem(&self, redeem: Redeem<'_>) -> Result<Redeemed, StoreError> {
        const DOING: &str = "redeem an enrolment token";
        let transaction = self.begin(DOING).await?;
        let key_sha256 = &redeem.identity.key_sha256;
        let earlier = recent_redemption(&transaction, redeem.public_id, key_sha256, redeem.now_ms).await?;
        let outcome = match earlier {
            Some(earlier) => again(&transaction, &redeem, &earlier.agent).await?,
            None => first_time(&transaction, redeem).await?,
        };
        // Whatever else came out must leave no trace.
        if matches!(outcome, Redeemed::Done { .. }) {
            commit(transaction, DOING).await?;
        }
        Ok(outcome)
    }
}

async fn recent_redemption(
    db: &impl ConnectionTrait,
    public_id: &str,
    key_sha256: &[u8],
    now_ms: i64,
) -> Result<Option<token_redemption::Model>, StoreError> {
    token_redemption::Entity::find_by_id((public_id.to_owned(), key_sha256.to_vec()))
        .filter(token_redemption::Column::RedeemedMs.gt(now_ms.saturating_sub(RETRY_MS)))
        .one(db)
        .await
        .doing("find an earlier redemption")
}

/// The same key came back: it gets its identity again, with the certificate that was issued this time.
async fn again(
    db: &impl ConnectionTrait,
    redeem: &Redeem<'_>,
    earlier: &str,
) -> Result<Redeemed, StoreError> {
    const DOING: &str = "give an identity again";
    if earlier != redeem.identity.agent.to_string() {
        return Ok(Redeemed::Other(agent_id(earlier)?));
    }
    let renewed = agent_identity::Entity::update_many()
        .col_expr(
            agent_identity::Column::Serial,
            Expr::value(redeem.identity.serial.as_str()),
        )
        .col_expr(
            agent_identity::Column::NotAfterMs,
            Expr::value(redeem.identity.not_after_ms),
        )
        .filter(agent_identity::Column::Agent.eq(earlier))
        .filter(agent_identity::Column::Status.eq(ACTIVE))
        .filter(agent_identity::Column::KeySha256.eq(redeem.identity.key_sha256.as_slice()))
        .exec(db)
        .await
        .doing(DOING)?;
    if renewed.rows_affected != 1 {
        // Revoked or renewed in the meantime: the token must not bring it back.
        return Ok(Redeemed::UsedUp);
    }
    let identity = agent_identity::Entity::find_by_id(earlier.to_owned())
        .one(db)
        .await
        .doing(DOING)?
        .ok_or_else(|| corrupt("token_redemption.agent", earlier))?;
    Ok(Redeemed::Done {
        server: ServerId(identity.server_id),
        generation: u32::try_from(identity.generation).unwrap_or(1),
        used_up: uses_left(db, redeem.public_id).await? == 0,
        revoked: Vec::new(),
    })
}

async fn first_time(db: &impl ConnectionTrait, redeem: Redeem<'_>) -> Result<Redeemed, StoreError> {
    const DOING: &str = "consume a use of an enrolment token";
    let consumed = enrolment_token::Entity::update_many()
        .col_expr(
            enrolment_token::Column::UsesLeft,
            Expr::col(enrolment_token::Column::UsesLeft).sub(1),
        )
        .filter(enrolment_token::Column::PublicId.eq(redeem.public_id))
        .filter(enrolment_token::Column::UsesLeft.gt(0))
        .filter(enrolment_token::Column::ExpiresMs.gt(redeem.now_ms))
        .exec(db)
        .await
        .doing(DOING)?;
    let token = enrolment_token::Entity::find_by_id(redeem.public_id.to_owned())
        .one(db)
        .await
        .doing(DOING)?;
    let Some(token) = token else {
        return Ok(Redeemed::Unknown);
    };
    if consumed.rows_affected != 1 {
        return refusal(db, &token, redeem.now_ms).await;
    }
    let (server, revoked) = match token.server_id.map(ServerId) {
        Some(bound) if servers::find(db, bound).await?.is_none() => return Ok(Redeemed::NoServer(bound)),
        Some(bound) => (bound, revoke_all_of(db, bound, "replaced", redeem.now_ms).await?),
        None => (
            servers::insert(db, redeem.server, redeem.now_ms).await?,
            Vec::new(),
        ),
    };
    insert_identity(db, redeem.public_id, server, redeem.identity, redeem.now_ms).await?;
    Ok(Redeemed::Done {
        server,
        generation: 1,
        used_up: token.uses_left == 0,
        revoked,
    })
}

/// Why a token that exists gave no use.
async fn refusal(
    db: &impl ConnectionTrait,
    token: &enrolment_token::Model,
    now_ms: i64,
) -> Result<Redeemed, StoreError> {
    if token.expires_ms <= now_ms {
        return Ok(Redeemed::Expired);
    }
    let by_another = token_redemption::Entity::find()
        .filter(token_redemption::Column::PublicId.eq(token.public_id.as_str()))
        .filter(token_redemption::Column::RedeemedMs.gt(now_ms.saturating_sub(RETRY_MS)))
        .one(db)
        .await
        .doing("find who used up an enrolment token")?;
    Ok(if by_another.is_some() {
        Redeemed::KeyMismatch
    } else {
        Redeemed::UsedUp
    })
}

async fn insert_identity(
    db: &impl ConnectionTrait,
    public_id: &str,
    server: ServerId,
    new: NewIdentity,
    now_ms: i64,
) -> Result<(), StoreError> {
    const DOING: &str = "make an agent's identity";
    let redemption = token_redemption::ActiveModel {
        public_id: Set(public_id.to_owned()),
        key_sha256: Set(new.key_sha256.clone()),
        agent: Set(new.agent.to_string()),
        redeemed_ms: Set(now_ms),
    };
    let row = agent_identity::ActiveModel {
        agent: Set(new.agent.to_string()),
        server_id: Set(server.0),
        generation: Set(1),
        serial: Set(new.serial),
        key_sha256: Set(new.key_sha256),
        previous_key_sha256: Set(None),
        not_after_ms: Set(new.not_after_ms),
        status: Set(ACTIVE.to_owned()),
        agent_version: Set(Some(new.agent_version)),
        created_ms: Set(now_ms),
        revoked_ms: Set(None),
        status_reason: Set(None),
        status_ms: Set(None),
        roots_sha256: Set(Some(new.roots_sha256)),
    };
    agent_identity::Entity::insert(row)
        .exec_without_returning(db)
        .await
        .doing(DOING)?;
    // The same key may have redeemed another use of the token long ago.
    let replace = OnConflict::columns([
        token_redemption::Column::PublicId,
        token_redemption::Column::KeySha256,
    ])
    .update_columns([
        token_redemption::Column::Agent,
        token_redemption::Column::RedeemedMs,
    ])
    .to_owned();
    token_redemption::Entity::insert(redemption)
        .on_conflict(replace)
        .exec_without_returning(db)
        .await
        .doing(DOING)?;
    Ok(())
}

async fn uses_left(db: &impl ConnectionTrait, public_id: &str) -> Result<i32, StoreError> {
    let token = enrolment_token::Entity::find_by_id(public_id.to_owned())
        .one(db)
        .await
        .doing("read the uses of an enrolment token")?;
    Ok(token.map_or(0, |token| token.uses_left))
}
