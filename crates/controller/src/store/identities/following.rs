//! Which agents have followed a change of the roots.

use muster_base::id::AgentId;
use sea_orm::{
    ColumnTrait as _, Condition, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use super::{ACTIVE, agent_id};
use crate::store::entity::agent_identity::{Column, Entity};
use crate::store::{Doing as _, Store, StoreError};

const DOING: &str = "see which agents trust the roots";

impl Store {
    /// How many agents may connect, and how many of them have used a certificate that came with these roots.
    pub(crate) async fn following(&self, roots_sha256: &[u8]) -> Result<(u64, u64), StoreError> {
        let active = Entity::find().filter(Column::Status.eq(ACTIVE));
        let all = active.clone().count(&self.reader).await.doing(DOING)?;
        let following = active
            .filter(Column::RootsSha256.eq(roots_sha256))
            .filter(Column::PreviousKeySha256.is_null())
            .count(&self.reader)
            .await
            .doing(DOING)?;
        Ok((all, following))
    }

    /// Some of the agents that may connect and have not.
    pub(crate) async fn behind(&self, roots_sha256: &[u8], limit: u64) -> Result<Vec<AgentId>, StoreError> {
        let agents: Vec<String> = Entity::find()
            .select_only()
            .column(Column::Agent)
            .filter(Column::Status.eq(ACTIVE))
            .filter(
                Condition::any()
                    .add(Column::RootsSha256.is_null())
                    .add(Column::RootsSha256.ne(roots_sha256))
                    .add(Column::PreviousKeySha256.is_not_null()),
            )
            .order_by_asc(Column::Agent)
            .limit(limit)
            .into_tuple()
            .all(&self.reader)
            .await
            .doing(DOING)?;
        agents.iter().map(|agent| agent_id(agent)).collect()
    }
}
