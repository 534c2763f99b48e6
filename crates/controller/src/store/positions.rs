//! How far consumers of the intake have come, and what is known of agents' clocks.

use muster_base::id::AgentId;
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use super::entity::{boot_clock, consumer_position};
use super::{Doing as _, Store, StoreError, commit};

/// Boots whose clocks are remembered, per agent; the latest stay.
const BOOTS_PER_AGENT_MAX: u64 = 16;

impl Store {
    /// The last intake position that a consumer has passed; 0 if none.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn consumer_position(&self, consumer: &str) -> Result<i64, StoreError> {
        position(&self.reader, consumer).await
    }

    /// Stores a consumer's position. The state consumer's is stored by [`Store::apply_reports`] itself.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn set_consumer_position(&self, consumer: &str, position: i64) -> Result<(), StoreError> {
        set_position(&self.writer, consumer, position).await
    }

    /// The offset between boot time and wall clock that was kept for a boot, in ms.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn boot_offset(&self, agent: AgentId, boot_id: &str) -> Result<Option<i64>, StoreError> {
        let row = boot_clock::Entity::find_by_id((agent.to_string(), boot_id.to_owned()))
            .one(&self.reader)
            .await
            .doing("read the clock of a boot")?;
        Ok(row.map(|row| row.offset_ms))
    }

    /// Keeps the offset of a boot; the 16 latest boots of an agent are kept.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn set_boot_offset(
        &self,
        agent: AgentId,
        boot_id: &str,
        offset_ms: i64,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        const DOING: &str = "keep the clock of a boot";
        let transaction = self.begin(DOING).await?;
        let row = boot_clock::ActiveModel {
            agent: Set(agent.to_string()),
            boot_id: Set(boot_id.to_owned()),
            offset_ms: Set(offset_ms),
            seen_ms: Set(now_ms),
        };
        let replace = OnConflict::columns([boot_clock::Column::Agent, boot_clock::Column::BootId])
            .update_columns([boot_clock::Column::OffsetMs, boot_clock::Column::SeenMs])
            .to_owned();
        boot_clock::Entity::insert(row)
            .on_conflict(replace)
            .exec_without_returning(&transaction)
            .await
            .doing(DOING)?;
        let beyond: Vec<String> = boot_clock::Entity::find()
            .select_only()
            .column(boot_clock::Column::BootId)
            .filter(boot_clock::Column::Agent.eq(agent.to_string()))
            .order_by_desc(boot_clock::Column::SeenMs)
            .offset(BOOTS_PER_AGENT_MAX)
            .limit(BOOTS_PER_AGENT_MAX)
            .into_tuple()
            .all(&transaction)
            .await
            .doing(DOING)?;
        if !beyond.is_empty() {
            boot_clock::Entity::delete_many()
                .filter(boot_clock::Column::Agent.eq(agent.to_string()))
                .filter(boot_clock::Column::BootId.is_in(beyond))
                .exec(&transaction)
                .await
                .doing(DOING)?;
        }
        commit(transaction, DOING).await
    }
}

pub(super) async fn position(db: &impl ConnectionTrait, consumer: &str) -> Result<i64, StoreError> {
    let row = consumer_position::Entity::find_by_id(consumer.to_owned())
        .one(db)
        .await
        .doing("read the position of a consumer")?;
    Ok(row.map_or(0, |row| row.position))
}

pub(super) async fn set_position(
    db: &impl ConnectionTrait,
    consumer: &str,
    position: i64,
) -> Result<(), StoreError> {
    let row = consumer_position::ActiveModel {
        name: Set(consumer.to_owned()),
        position: Set(position),
    };
    let replace = OnConflict::column(consumer_position::Column::Name)
        .update_column(consumer_position::Column::Position)
        .to_owned();
    consumer_position::Entity::insert(row)
        .on_conflict(replace)
        .exec_without_returning(db)
        .await
        .doing("store the position of a consumer")?;
    Ok(())
}
