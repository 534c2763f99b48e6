//! Updates of containers: policies and windows, what there is, what became of it, who was told, roll-outs.
//!
//! What belongs together is written in one transaction ([`Store::write_updates`]), so that an end in between leaves no
//! update that was begun without a record of it.
//!
//! Bounds: [`HISTORY_MAX`] records, [`NOTICES_MAX`] notices, [`BAD_MAX`] digests; the oldest go first.

mod documents;
mod rows;

use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, DatabaseTransaction, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};
use serde_json::Value;

pub(crate) use documents::{DocumentKind, DocumentRow};
pub(crate) use rows::{
    BadDigestRow, HistoryQuery, HistoryRow, NoticeRow, RolloutRow, UpdateQuery, UpdateRow, UpdateWrite,
};

use super::entity::{
    bad_digest, container_update, rollout, update_history, update_notification, update_setting,
};
use super::{Doing as _, Store, StoreError, commit};

/// Under which name the freeze switch is kept.
pub(crate) const FREEZE: &str = "freeze";
/// Most records of updates.
const HISTORY_MAX: u64 = 100_000;
/// Most notices.
const NOTICES_MAX: u64 = 50_000;
/// Most digests that did harm.
const BAD_MAX: u64 = 10_000;
/// States of updates that nothing follows.
const OVER: [&str; 5] = ["completed", "failed", "rolled_back", "rejected", "unknown"];
/// Most roll-outs that are over.
const ROLLOUTS_MAX: u64 = 1_000;

impl Store {
    /// Updates, by number; after `after`.
    pub(crate) async fn updates(
        &self,
        query: &UpdateQuery,
        after: i64,
        limit: u64,
    ) -> Result<(Vec<UpdateRow>, u64), StoreError> {
        const DOING: &str = "list updates";
        let mut wanted = container_update::Entity::find();
        if !query.states.is_empty() {
            wanted = wanted.filter(container_update::Column::State.is_in(query.states.iter().copied()));
        }
        if let Some(server) = query.server {
            wanted = wanted.filter(container_update::Column::ServerId.eq(server));
        }
        if let Some(container) = query.container {
            wanted = wanted.filter(container_update::Column::ContainerId.eq(container));
        }
        let total = wanted.clone().count(&self.reader).await.doing(DOING)?;
        let rows = wanted
            .filter(container_update::Column::Id.gt(after))
            .order_by_asc(container_update::Column::Id)
            .limit(limit)
            .all(&self.reader)
            .await
            .doing(DOING)?;
        Ok((rows.into_iter().map(UpdateRow::from).collect(), total))
    }

    /// One update.
    pub(crate) async fn update(&self, id: i64) -> Result<Option<UpdateRow>, StoreError> {
        let row = container_update::Entity::find_by_id(id)
            .one(&self.reader)
            .await
            .doing("find an update")?;
        Ok(row.map(UpdateRow::from))
    }

    /// Records of updates, the newest first, before the number `before`.
    pub(crate) async fn update_history(
        &self,
        query: &HistoryQuery,
        before: Option<i64>,
        limit: u64,
    ) -> Result<(Vec<HistoryRow>, u64), StoreError> {
        const DOING: &str = "list what became of updates";
        let mut wanted = update_history::Entity::find();
        if let Some(container) = query.container {
            wanted = wanted.filter(update_history::Column::ContainerId.eq(container));
        }
        if let Some(server) = query.server {
            wanted = wanted.filter(update_history::Column::ServerId.eq(server));
        }
        if let Some(update) = query.update {
            wanted = wanted.filter(update_history::Column::UpdateId.eq(update));
        }
        if let Some(status) = query.status {
            wanted = wanted.filter(update_history::Column::Status.eq(status));
        }
        let total = wanted.clone().count(&self.reader).await.doing(DOING)?;
        if let Some(before) = before {
            wanted = wanted.filter(update_history::Column::Id.lt(before));
        }
        let rows = wanted
            .order_by_desc(update_history::Column::Id)
            .limit(limit)
            .all(&self.reader)
            .await
            .doing(DOING)?;
        Ok((rows.into_iter().map(HistoryRow::from).collect(), total))
    }

    /// Notices, the newest first, before the number `before`.
    pub(crate) async fn update_notices(
        &self,
        container: Option<i64>,
        before: Option<i64>,
        limit: u64,
    ) -> Result<(Vec<NoticeRow>, u64), StoreError> {
        const DOING: &str = "list notices of updates";
        let mut wanted = update_notification::Entity::find();
        if let Some(container) = container {
            wanted = wanted.filter(update_notification::Column::ContainerId.eq(container));
        }
        let total = wanted.clone().count(&self.reader).await.doing(DOING)?;
        if let Some(before) = before {
            wanted = wanted.filter(update_notification::Column::Id.lt(before));
        }
        let rows = wanted
            .order_by_desc(update_notification::Column::Id)
            .limit(limit)
            .all(&self.reader)
            .await
            .doing(DOING)?;
        Ok((rows.into_iter().map(NoticeRow::from).collect(), total))
    }

    /// Digests that did harm.
    pub(crate) async fn bad_digests(&self) -> Result<Vec<BadDigestRow>, StoreError> {
        let rows = bad_digest::Entity::find()
            .order_by_asc(bad_digest::Column::Id)
            .all(&self.reader)
            .await
            .doing("list digests that did harm")?;
        Ok(rows
            .into_iter()
            .map(|row| BadDigestRow {
                digest: row.digest,
                body: row.body,
                created_ms: row.created_ms,
            })
            .collect())
    }

    /// A digest is given another chance. `false` if nothing bad was known of it.
    pub(crate) async fn forgive_digest(&self, digest: &str) -> Result<bool, StoreError> {
        let gone = bad_digest::Entity::delete_many()
            .filter(bad_digest::Column::Digest.eq(digest))
            .exec(&self.writer)
            .await
            .doing("forgive a digest")?;
        Ok(0 < gone.rows_affected)
    }

    /// Roll-outs, the newest first, before the number `before`; only those that go on if `only_open`.
    pub(crate) async fn rollouts(
        &self,
        only_open: bool,
        before: Option<i64>,
        limit: u64,
    ) -> Result<(Vec<RolloutRow>, u64), StoreError> {
        const DOING: &str = "list roll-outs";
        let mut wanted = rollout::Entity::find();
        if only_open {
            wanted = wanted.filter(rollout::Column::State.is_not_in(["aborted", "completed"]));
        }
        let total = wanted.clone().count(&self.reader).await.doing(DOING)?;
        if let Some(before) = before {
            wanted = wanted.filter(rollout::Column::Id.lt(before));
        }
        let rows = wanted
            .order_by_desc(rollout::Column::Id)
            .limit(limit)
            .all(&self.reader)
            .await
            .doing(DOING)?;
        Ok((rows.into_iter().map(RolloutRow::from).collect(), total))
    }

    /// One roll-out.
    pub(crate) async fn rollout(&self, id: i64) -> Result<Option<RolloutRow>, StoreError> {
        let row = rollout::Entity::find_by_id(id)
            .one(&self.reader)
            .await
            .doing("find a roll-out")?;
        Ok(row.map(RolloutRow::from))
    }

    /// Keeps a new roll-out. Returns its number.
    pub(crate) async fn add_rollout(&self, row: &RolloutRow) -> Result<i64, StoreError> {
        let made = rollout::Entity::insert(rollout::ActiveModel {
            id: NotSet,
            state: Set(row.state.clone()),
            body: Set(row.body.clone()),
            created_by: Set(row.created_by.clone()),
            created_ms: Set(row.created_ms),
            changed_ms: Set(row.changed_ms),
        })
        .exec(&self.writer)
        .await
        .doing("keep a roll-out")?;
        Ok(made.last_insert_id)
    }

    /// What is set for all updates under a name.
    pub(crate) async fn update_setting(&self, name: &str) -> Result<Option<(Value, i64)>, StoreError> {
        let row = update_setting::Entity::find_by_id(name)
            .one(&self.reader)
            .await
            .doing("read a setting of updates")?;
        Ok(row.map(|row| (row.body, row.changed_ms)))
    }

    /// Why nothing that changes a container is begun now; `None`: the freeze switch is off.
    pub(crate) async fn frozen(&self) -> Result<Option<String>, StoreError> {
        let Some((body, _)) = self.update_setting(FREEZE).await? else {
            return Ok(None);
        };
        // A switch that cannot be read is not taken for off.
        let is_off = body["frozen"].as_bool() == Some(false);
        Ok((!is_off).then(|| body["reason"].as_str().unwrap_or_default().to_owned()))
    }

    /// Sets it.
    pub(crate) async fn put_update_setting(
        &self,
        name: &str,
        body: Value,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let row = update_setting::ActiveModel {
            name: Set(name.to_owned()),
            body: Set(body),
            changed_ms: Set(now_ms),
        };
        let replace = OnConflict::column(update_setting::Column::Name)
            .update_columns([update_setting::Column::Body, update_setting::Column::ChangedMs])
            .to_owned();
        update_setting::Entity::insert(row)
            .on_conflict(replace)
            .exec_without_returning(&self.writer)
            .await
            .doing("set what counts for updates")?;
        Ok(())
    }

    /// Writes all of it, or nothing. Returns the number of each update, record, notice or roll-out that was written, in
    /// order.
    pub(crate) async fn write_updates(&self, writes: &[UpdateWrite]) -> Result<Vec<i64>, StoreError> {
        const DOING: &str = "write down updates";
        let transaction = self.begin(DOING).await?;
        let mut ids = Vec::with_capacity(writes.len());
        for write in writes {
            ids.push(rows::write(&transaction, write).await?);
        }
        commit(transaction, DOING).await?;
        Ok(ids)
    }

    /// Forgets what was over before `before_ms`, and what is beyond the bounds.
    pub(crate) async fn forget_updates(&self, before_ms: i64) -> Result<(), StoreError> {
        const DOING: &str = "forget old updates";
        let transaction = self.begin(DOING).await?;
        update_history::Entity::delete_many()
            .filter(update_history::Column::CompletedMs.lt(before_ms))
            .exec(&transaction)
            .await
            .doing(DOING)?;
        update_notification::Entity::delete_many()
            .filter(update_notification::Column::CreatedMs.lt(before_ms))
            .exec(&transaction)
            .await
            .doing(DOING)?;
        container_update::Entity::delete_many()
            .filter(container_update::Column::State.is_in(OVER))
            .filter(container_update::Column::ChangedMs.lt(before_ms))
            .exec(&transaction)
            .await
            .doing(DOING)?;
        keep_newest(&transaction).await?;
        commit(transaction, DOING).await
    }
}

/// Removes what is beyond the bounds, the oldest first.
async fn keep_newest(transaction: &DatabaseTransaction) -> Result<(), StoreError> {
    const DOING: &str = "keep to the bounds of updates";
    macro_rules! keep {
        ($table:ident, $max:expr, $filter:expr) => {
            let nth: Option<i64> = $table::Entity::find()
                .filter($filter)
                .select_only()
                .column($table::Column::Id)
                .order_by_desc($table::Column::Id)
                .offset($max)
                .limit(1)
                .into_tuple()
                .one(transaction)
                .await
                .doing(DOING)?;
            if let Some(nth) = nth {
                $table::Entity::delete_many()
                    .filter($filter)
                    .filter($table::Column::Id.lte(nth))
                    .exec(transaction)
                    .await
                    .doing(DOING)?;
            }
        };
    }
    keep!(
        update_history,
        HISTORY_MAX,
        update_history::Column::CompletedMs.is_not_null()
    );
    keep!(
        update_notification,
        NOTICES_MAX,
        update_notification::Column::Id.gt(0)
    );
    keep!(bad_digest, BAD_MAX, bad_digest::Column::Id.gt(0));
    keep!(
        rollout,
        ROLLOUTS_MAX,
        rollout::Column::State.is_in(["aborted", "completed"])
    );
    Ok(())
}
