//! Channels: where news of alerts go.

use sea_orm::{
    ActiveValue::{NotSet, Set, Unchanged},
    ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use super::entity::notification_channel::{ActiveModel, Column, Entity, Model};
use super::{Doing as _, Store, StoreError, commit, deliveries};

/// A channel as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChannelRow {
    /// 0 if it is new.
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) enabled: bool,
    pub(crate) settings: serde_json::Value,
    pub(crate) options: serde_json::Value,
    /// Names of the secrets that are set.
    pub(crate) secret_names: Vec<String>,
    /// Under which name the secrets are sealed.
    pub(crate) seal_name: String,
    pub(crate) sealed: Option<Vec<u8>>,
    pub(crate) created_ms: i64,
    pub(crate) changed_ms: i64,
}

/// How storing a channel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It is stored under this id.
    As(i64),
    /// Another one has its name.
    NameTaken,
    /// There are as many as there may be.
    TooMany,
    /// There is no such channel any more.
    Gone,
}

impl From<Model> for ChannelRow {
    fn from(row: Model) -> Self {
        Self {
            id: row.id,
            name: row.name,
            kind: row.kind,
            enabled: row.enabled,
            settings: row.settings,
            options: row.options,
            secret_names: row.secret_names.split_whitespace().map(str::to_owned).collect(),
            seal_name: row.seal_name,
            sealed: row.sealed,
            created_ms: row.created_ms,
            changed_ms: row.changed_ms,
        }
    }
}

impl ChannelRow {
    fn active(&self) -> ActiveModel {
        ActiveModel {
            id: NotSet,
            name: Set(self.name.clone()),
            kind: Set(self.kind.clone()),
            enabled: Set(self.enabled),
            settings: Set(self.settings.clone()),
            options: Set(self.options.clone()),
            secret_names: Set(self.secret_names.join(" ")),
            seal_name: Set(self.seal_name.clone()),
            sealed: Set(self.sealed.clone()),
            created_ms: Set(self.created_ms),
            changed_ms: Set(self.changed_ms),
        }
    }
}

impl Store {
    /// All channels, by id.
    pub(crate) async fn channels(&self) -> Result<Vec<ChannelRow>, StoreError> {
        let rows = Entity::find().order_by_asc(Column::Id).all(&self.reader).await;
        Ok(rows
            .doing("list channels")?
            .into_iter()
            .map(ChannelRow::from)
            .collect())
    }

    /// One channel.
    pub(crate) async fn channel(&self, id: i64) -> Result<Option<ChannelRow>, StoreError> {
        let row = Entity::find_by_id(id)
            .one(&self.reader)
            .await
            .doing("find a channel")?;
        Ok(row.map(ChannelRow::from))
    }

    /// Stores a new channel unless there are `max`.
    pub(crate) async fn add_channel(&self, row: &ChannelRow, max: u64) -> Result<Kept, StoreError> {
        const DOING: &str = "store a channel";
        let transaction = self.begin(DOING).await?;
        if max <= Entity::find().count(&transaction).await.doing(DOING)? {
            return Ok(Kept::TooMany);
        }
        let named = Entity::find().filter(Column::Name.eq(&row.name));
        if 0 < named.count(&transaction).await.doing(DOING)? {
            return Ok(Kept::NameTaken);
        }
        let inserted = Entity::insert(row.active())
            .exec(&transaction)
            .await
            .doing(DOING)?;
        commit(transaction, DOING).await?;
        Ok(Kept::As(inserted.last_insert_id))
    }

    /// Stores a changed channel. What waits for one that is switched off is dropped: it would be old news when it is
    /// switched on again.
    pub(crate) async fn change_channel(&self, row: &ChannelRow) -> Result<Kept, StoreError> {
        const DOING: &str = "change a channel";
        let transaction = self.begin(DOING).await?;
        let named = Entity::find()
            .filter(Column::Name.eq(&row.name))
            .filter(Column::Id.ne(row.id));
        if 0 < named.count(&transaction).await.doing(DOING)? {
            return Ok(Kept::NameTaken);
        }
        let mut active = row.active();
        (active.id, active.created_ms) = (Unchanged(row.id), NotSet);
        let changed = Entity::update_many()
            .set(active)
            .filter(Column::Id.eq(row.id))
            .exec(&transaction)
            .await;
        if changed.doing(DOING)?.rows_affected == 0 {
            return Ok(Kept::Gone);
        }
        if !row.enabled {
            deliveries::drop_waiting(&transaction, row.id, row.changed_ms, "the channel was disabled")
                .await?;
        }
        commit(transaction, DOING).await?;
        self.outbox_wake().notify_one();
        Ok(Kept::As(row.id))
    }

    /// Removes a channel, and drops what waits for it. Returns whether there was one.
    pub(crate) async fn remove_channel(&self, id: i64, now_ms: i64) -> Result<bool, StoreError> {
        const DOING: &str = "remove a channel";
        let transaction = self.begin(DOING).await?;
        let removed = Entity::delete_by_id(id).exec(&transaction).await.doing(DOING)?;
        deliveries::drop_waiting(&transaction, id, now_ms, "the channel was removed").await?;
        commit(transaction, DOING).await?;
        Ok(removed.rows_affected == 1)
    }
}

/// Ids of all channels, and whether each is enabled.
pub(super) async fn standing(
    transaction: &sea_orm::DatabaseTransaction,
) -> Result<Vec<(i64, bool)>, StoreError> {
    let rows = Entity::find()
        .select_only()
        .columns([Column::Id, Column::Enabled])
        .order_by_asc(Column::Id)
        .into_tuple()
        .all(transaction)
        .await;
    rows.doing("read which channels there are")
}
