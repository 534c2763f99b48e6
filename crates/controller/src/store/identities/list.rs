//! Agents of every standing, for people.

use muster_base::id::{AgentId, ServerId};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use super::agent_id;
use crate::store::entity::{agent_identity, held_agent};
use crate::store::{Doing as _, Store, StoreError};

const DOING: &str = "list agents";
/// Status of an agent that has no identity here.
const HELD: &str = "held";

/// An agent, whatever its standing.
#[derive(Debug, Clone)]
pub(crate) struct AgentRow {
    pub(crate) agent: AgentId,
    /// `active`, `quarantined`, `held` or `revoked`.
    pub(crate) status: String,
    pub(crate) reason: Option<String>,
    /// Since when it is not active, Unix ms.
    pub(crate) since_ms: Option<i64>,
    pub(crate) server: Option<ServerId>,
    pub(crate) generation: Option<u32>,
    pub(crate) not_after_ms: i64,
    pub(crate) agent_version: Option<String>,
    /// What it calls itself; only of agents that are held.
    pub(crate) hostname: Option<String>,
    /// Where it came from; only of agents that are held.
    pub(crate) address: Option<String>,
}

impl Store {
    /// Agents after `after` in order of their ids, at most `limit`, and how many there are in all.
    pub(crate) async fn agents(
        &self,
        status: Option<&str>,
        after: &str,
        limit: u64,
    ) -> Result<(Vec<AgentRow>, u64), StoreError> {
        let mut rows = Vec::new();
        let mut total = 0;
        if status != Some(HELD) {
            let mut known = agent_identity::Entity::find();
            if let Some(status) = status {
                known = known.filter(agent_identity::Column::Status.eq(status));
            }
            total += known.clone().count(&self.reader).await.doing(DOING)?;
            let known = known
                .filter(agent_identity::Column::Agent.gt(after))
                .order_by_asc(agent_identity::Column::Agent)
                .limit(limit)
                .all(&self.reader)
                .await
                .doing(DOING)?;
            for row in known {
                rows.push(AgentRow::try_from(row)?);
            }
        }
        if status.is_none_or(|status| status == HELD) {
            let held = held_agent::Entity::find();
            total += held.clone().count(&self.reader).await.doing(DOING)?;
            let held = held
                .filter(held_agent::Column::Agent.gt(after))
                .order_by_asc(held_agent::Column::Agent)
                .limit(limit)
                .all(&self.reader)
                .await
                .doing(DOING)?;
            for row in held {
                rows.push(AgentRow::try_from(row)?);
            }
        }
        // Ids are written in one way only, so their text has the order of the ids.
        rows.sort_by_key(|row| row.agent);
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok((rows, total))
    }
}

impl TryFrom<agent_identity::Model> for AgentRow {
    type Error = StoreError;

    fn try_from(row: agent_identity::Model) -> Result<Self, StoreError> {
        Ok(Self {
            agent: agent_id(&row.agent)?,
            status: row.status,
            reason: row.status_reason,
            since_ms: row.status_ms.or(row.revoked_ms),
            server: Some(ServerId(row.server_id)),
            generation: u32::try_from(row.generation).ok(),
            not_after_ms: row.not_after_ms,
            agent_version: row.agent_version,
            hostname: None,
            address: None,
        })
    }
}

impl TryFrom<held_agent::Model> for AgentRow {
    type Error = StoreError;

    fn try_from(row: held_agent::Model) -> Result<Self, StoreError> {
        Ok(Self {
            agent: agent_id(&row.agent)?,
            status: HELD.to_owned(),
            reason: Some("its certificate is ours, its identity is not known here".to_owned()),
            since_ms: Some(row.first_ms),
            server: None,
            generation: row.generation.and_then(|number| u32::try_from(number).ok()),
            not_after_ms: row.not_after_ms,
            agent_version: row.agent_version,
            hostname: row.hostname,
            address: Some(row.address),
        })
    }
}
