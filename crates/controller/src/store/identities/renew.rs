//! Renewing an identity: one generation follows the other.
//!
//! A generation is told by its public key. Invariant: it rises by one conditional update that names the key it
//! replaces, so that of two holders of one certificate only one can go on.

use muster_base::id::AgentId;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, ExprTrait as _, QueryFilter as _, QuerySelect as _,
    UpdateMany,
};

use super::ACTIVE;
use crate::store::entity::agent_identity;
use crate::store::{Doing as _, Store, StoreError, commit};

/// A renewal, with the certificate that was issued for it.
#[derive(Debug)]
pub(crate) struct Renewal<'a> {
    pub(crate) agent: AgentId,
    /// SHA-256 of the key of the certificate shown.
    pub(crate) shown_sha256: &'a [u8],
    /// SHA-256 of the new key.
    pub(crate) key_sha256: &'a [u8],
    /// Serial of the new certificate.
    pub(crate) serial: &'a str,
    /// When the new certificate ends.
    pub(crate) not_after_ms: i64,
    /// SHA-256 of the roots that come with it.
    pub(crate) roots_sha256: &'a [u8],
}

/// A generation that this database does not know yet.
#[derive(Debug)]
pub(crate) struct CaughtUp<'a> {
    pub(crate) agent: AgentId,
    pub(crate) generation: u32,
    pub(crate) serial: &'a str,
    pub(crate) key_sha256: &'a [u8],
    pub(crate) not_after_ms: i64,
}

/// How a renewal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RenewalOutcome {
    /// The new generation is the newest.
    Done {
        /// Its number.
        generation: u32,
        /// Whether it was given before and the answer was lost.
        is_again: bool,
    },
    /// Another key has followed the one shown.
    Superseded,
    /// The identity is not there, or no longer active.
    NotActive,
}

impl Store {
    /// Replaces the key shown by the new one, if it is the newest; or gives the same again to the one before.
    pub(crate) async fn renew(&self, renewal: &Renewal<'_>) -> Result<RenewalOutcome, StoreError> {
        const DOING: &str = "renew an identity";
        let transaction = self.begin(DOING).await?;
        let (is_again, changed) = match follow(&transaction, renewal).await? {
            0 => (true, repeat(&transaction, renewal).await?),
            changed => (false, changed),
        };
        let row: Option<(i32, String)> = agent_identity::Entity::find_by_id(renewal.agent.to_string())
            .select_only()
            .column(agent_identity::Column::Generation)
            .column(agent_identity::Column::Status)
            .into_tuple()
            .one(&transaction)
            .await
            .doing(DOING)?;
        let generation = match row {
            Some((generation, status)) if status == ACTIVE => generation,
            _ => return Ok(RenewalOutcome::NotActive),
        };
        if changed != 1 {
            return Ok(RenewalOutcome::Superseded);
        }
        commit(transaction, DOING).await?;
        Ok(RenewalOutcome::Done {
            generation: u32::try_from(generation).unwrap_or(1),
            is_again,
        })
    }

    /// Notes that the newest generation was used: from now on the one before is worth nothing.
    pub(crate) async fn forget_previous_key(
        &self,
        agent: AgentId,
        key_sha256: &[u8],
    ) -> Result<(), StoreError> {
        agent_identity::Entity::update_many()
            .col_expr(
                agent_identity::Column::PreviousKeySha256,
                Expr::value(None::<Vec<u8>>),
            )
            .filter(agent_identity::Column::Agent.eq(agent.to_string()))
            .filter(agent_identity::Column::KeySha256.eq(key_sha256))
            .exec(&self.writer)
            .await
            .doing("note that a renewed identity was used")?;
        Ok(())
    }
}

impl Store {
    /// Takes over a generation that a certificate of ours proves and this database does not know, as after a restore.
    /// `false` if by now it knows one that is not older, or the identity is not active.
    pub(crate) async fn catch_up(&self, shown: &CaughtUp<'_>) -> Result<bool, StoreError> {
        let generation = i32::try_from(shown.generation).unwrap_or(i32::MAX);
        let changed = agent_identity::Entity::update_many()
            .col_expr(agent_identity::Column::Generation, Expr::value(generation))
            .col_expr(agent_identity::Column::Serial, Expr::value(shown.serial))
            .col_expr(
                agent_identity::Column::NotAfterMs,
                Expr::value(shown.not_after_ms),
            )
            .col_expr(
                agent_identity::Column::KeySha256,
                Expr::value(shown.key_sha256.to_vec()),
            )
            .col_expr(
                agent_identity::Column::PreviousKeySha256,
                Expr::value(None::<Vec<u8>>),
            )
            .filter(agent_identity::Column::Agent.eq(shown.agent.to_string()))
            .filter(agent_identity::Column::Status.eq(ACTIVE))
            .filter(agent_identity::Column::Generation.lt(generation))
            .exec(&self.writer)
            .await
            .doing("take over a newer generation")?;
        Ok(changed.rows_affected == 1)
    }
}

/// Compare and swap: the new key follows the one shown.
async fn follow(db: &impl ConnectionTrait, renewal: &Renewal<'_>) -> Result<u64, StoreError> {
    let changed = certify(renewal)
        .col_expr(
            agent_identity::Column::Generation,
            Expr::col(agent_identity::Column::Generation).add(1),
        )
        .col_expr(
            agent_identity::Column::KeySha256,
            Expr::value(renewal.key_sha256.to_vec()),
        )
        .col_expr(
            agent_identity::Column::PreviousKeySha256,
            Expr::value(Some(renewal.shown_sha256.to_vec())),
        )
        .filter(agent_identity::Column::KeySha256.eq(renewal.shown_sha256))
        .exec(db)
        .await
        .doing("let a new key follow")?;
    Ok(changed.rows_affected)
}

/// The answer was lost: the key before may have it again, for the same new key.
async fn repeat(db: &impl ConnectionTrait, renewal: &Renewal<'_>) -> Result<u64, StoreError> {
    let changed = certify(renewal)
        .filter(agent_identity::Column::KeySha256.eq(renewal.key_sha256))
        .filter(agent_identity::Column::PreviousKeySha256.eq(renewal.shown_sha256))
        .exec(db)
        .await
        .doing("give a renewed identity again")?;
    Ok(changed.rows_affected)
}

/// What every renewal writes: the certificate that the active identity now has.
fn certify(renewal: &Renewal<'_>) -> UpdateMany<agent_identity::Entity> {
    agent_identity::Entity::update_many()
        .col_expr(agent_identity::Column::Serial, Expr::value(renewal.serial))
        .col_expr(
            agent_identity::Column::NotAfterMs,
            Expr::value(renewal.not_after_ms),
        )
        .col_expr(
            agent_identity::Column::RootsSha256,
            Expr::value(Some(renewal.roots_sha256.to_vec())),
        )
        .filter(agent_identity::Column::Agent.eq(renewal.agent.to_string()))
        .filter(agent_identity::Column::Status.eq(ACTIVE))
}
