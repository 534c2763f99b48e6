//! How far consumers of the intake have come, and what is known of agents' clocks.

use muster_base::id::AgentId;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait as _};

use super::entity::{boot_clock, consumer_position};
use super::{Doing as _, Store, StoreError};

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
