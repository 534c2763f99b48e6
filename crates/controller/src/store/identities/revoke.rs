//! Taking the right to connect away: for good, or until somebody decides.

use std::collections::BTreeMap;

use muster_base::id::AgentId;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _};

use super::{ACTIVE, QUARANTINED, REVOKED, agent_id};
use crate::store::entity::{agent_identity, held_agent, revocation};
use crate::store::{Doing as _, ROWS_PER_STATEMENT, Store, StoreError, commit};

const DOING: &str = "revoke identities";

impl Store {
    /// Revokes one agent, known, held or never heard of. `false` if it was revoked before.
    pub(crate) async fn revoke_agent(
        &self,
        agent: AgentId,
        reason: &str,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let transaction = self.begin(DOING).await?;
        let before = revocation::Entity::find_by_id(agent.to_string())
            .one(&transaction)
            .await
            .doing(DOING)?;
        revoke(&transaction, &[agent], reason, now_ms).await?;
        commit(transaction, DOING).await?;
        Ok(before.is_none())
    }

    /// Every revocation, with its time in Unix ms.
    pub(crate) async fn revocations(&self) -> Result<BTreeMap<AgentId, i64>, StoreError> {
        let rows = revocation::Entity::find()
            .all(&self.reader)
            .await
            .doing("read the revocations")?;
        rows.into_iter()
            .map(|row| Ok((agent_id(&row.agent)?, row.revoked_ms)))
            .collect()
    }

    /// Takes over revocations that were kept elsewhere.
    pub(crate) async fn take_revocations(&self, revoked: &BTreeMap<AgentId, i64>) -> Result<(), StoreError> {
        if revoked.is_empty() {
            return Ok(());
        }
        let transaction = self.begin(DOING).await?;
        for (agent, revoked_ms) in revoked {
            revoke(&transaction, &[*agent], "kept beside the database", *revoked_ms).await?;
        }
        commit(transaction, DOING).await
    }

    /// Puts an active identity in quarantine. `false` if it is not active.
    pub(crate) async fn quarantine(
        &self,
        agent: AgentId,
        reason: &str,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let changed = agent_identity::Entity::update_many()
            .col_expr(agent_identity::Column::Status, Expr::value(QUARANTINED))
            .col_expr(agent_identity::Column::StatusReason, Expr::value(reason))
            .col_expr(agent_identity::Column::StatusMs, Expr::value(now_ms))
            .filter(agent_identity::Column::Agent.eq(agent.to_string()))
            .filter(agent_identity::Column::Status.eq(ACTIVE))
            .exec(&self.writer)
            .await
            .doing("put an identity in quarantine")?;
        Ok(changed.rows_affected == 1)
    }
}

/// Revokes agents; those that are revoked keep the time and the reason they have.
pub(super) async fn revoke(
    db: &impl ConnectionTrait,
    agents: &[AgentId],
    reason: &str,
    now_ms: i64,
) -> Result<(), StoreError> {
    for some in agents.chunks(ROWS_PER_STATEMENT) {
        let ids: Vec<String> = some.iter().map(ToString::to_string).collect();
        agent_identity::Entity::update_many()
            .col_expr(agent_identity::Column::Status, Expr::value(REVOKED))
            .col_expr(agent_identity::Column::RevokedMs, Expr::value(now_ms))
            .col_expr(agent_identity::Column::StatusReason, Expr::value(reason))
            .col_expr(agent_identity::Column::StatusMs, Expr::value(now_ms))
            .filter(agent_identity::Column::Agent.is_in(&ids))
            .filter(agent_identity::Column::Status.ne(REVOKED))
            .exec(db)
            .await
            .doing(DOING)?;
        held_agent::Entity::delete_many()
            .filter(held_agent::Column::Agent.is_in(&ids))
            .exec(db)
            .await
            .doing(DOING)?;
        let rows = ids.into_iter().map(|agent| revocation::ActiveModel {
            agent: Set(agent),
            revoked_ms: Set(now_ms),
            reason: Set(reason.to_owned()),
        });
        revocation::Entity::insert_many(rows)
            .on_conflict(
                OnConflict::column(revocation::Column::Agent)
                    .do_nothing()
                    .to_owned(),
            )
            .exec_without_returning(db)
            .await
            .doing(DOING)?;
    }
    Ok(())
}
