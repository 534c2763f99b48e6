//! The audit log's tables. What the columns mean and how they are signed is in `app::audit`.

use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ColumnTrait as _, EntityTrait as _, IntoActiveModel as _,
    PaginatorTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Select,
};

use super::entity::{audit_entry, audit_start};
use super::{Doing as _, ROWS_PER_STATEMENT, Store, StoreError, commit};

/// The only row's id of the table that says where the log starts.
const ONLY: i64 = 1;

/// An entry as it is stored.
pub(crate) type AuditRow = audit_entry::Model;

/// Where the log starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuditStart {
    pub(crate) first_id: i64,
    pub(crate) previous: Vec<u8>,
    pub(crate) removed_ms: i64,
    pub(crate) mac: Vec<u8>,
}

/// Which entries are wanted; times are Unix ms, `to_ms` is not included.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuditQuery {
    pub(crate) actor: Option<String>,
    pub(crate) action: Option<String>,
    pub(crate) from_ms: Option<i64>,
    pub(crate) to_ms: Option<i64>,
}

impl Store {
    /// Appends entries: all or none.
    pub(crate) async fn append_audit(&self, rows: Vec<AuditRow>) -> Result<(), StoreError> {
        const DOING: &str = "append to the audit log";
        let transaction = self.begin(DOING).await?;
        for part in rows.chunks(ROWS_PER_STATEMENT) {
            let part = part
                .iter()
                .cloned()
                .map(|row| row.into_active_model().reset_all());
            audit_entry::Entity::insert_many(part)
                .exec_without_returning(&transaction)
                .await
                .doing(DOING)?;
        }
        commit(transaction, DOING).await
    }

    /// The newest entry.
    pub(crate) async fn last_audit(&self) -> Result<Option<AuditRow>, StoreError> {
        audit_entry::Entity::find()
            .order_by_desc(audit_entry::Column::Id)
            .one(&self.reader)
            .await
            .doing("read the newest audit entry")
    }

    /// One entry.
    pub(crate) async fn audit_row(&self, id: i64) -> Result<Option<AuditRow>, StoreError> {
        audit_entry::Entity::find_by_id(id)
            .one(&self.reader)
            .await
            .doing("read an audit entry")
    }

    /// Up to `limit` entries after `after`, oldest first.
    pub(crate) async fn audit_after(&self, after: i64, limit: u64) -> Result<Vec<AuditRow>, StoreError> {
        audit_entry::Entity::find()
            .filter(audit_entry::Column::Id.gt(after))
            .order_by_asc(audit_entry::Column::Id)
            .limit(limit)
            .all(&self.reader)
            .await
            .doing("read the audit log")
    }

    /// Up to `limit` entries before `before`, newest first, and how many there are with any id.
    pub(crate) async fn audit_page(
        &self,
        query: &AuditQuery,
        before: i64,
        limit: u64,
    ) -> Result<(Vec<AuditRow>, u64), StoreError> {
        const DOING: &str = "list audit entries";
        let total = matching(query).count(&self.reader).await.doing(DOING)?;
        let rows = matching(query)
            .filter(audit_entry::Column::Id.lt(before))
            .order_by_desc(audit_entry::Column::Id)
            .limit(limit)
            .all(&self.reader)
            .await
            .doing(DOING)?;
        Ok((rows, total))
    }

    /// The oldest entry of this time or later.
    pub(crate) async fn first_audit_since(&self, time_ms: i64) -> Result<Option<AuditRow>, StoreError> {
        audit_entry::Entity::find()
            .filter(audit_entry::Column::TimeMs.gte(time_ms))
            .order_by_asc(audit_entry::Column::Id)
            .one(&self.reader)
            .await
            .doing("find where the audit log shall start")
    }

    /// Where the log starts, if it does not start with its first entry.
    pub(crate) async fn audit_start(&self) -> Result<Option<AuditStart>, StoreError> {
        let row = audit_start::Entity::find_by_id(ONLY)
            .one(&self.reader)
            .await
            .doing("read where the audit log starts")?;
        Ok(row.map(|row| AuditStart {
            first_id: row.first_id,
            previous: row.previous,
            removed_ms: row.removed_ms,
            mac: row.mac,
        }))
    }

    /// Removes all entries before the start, and keeps the start. Returns how many were removed.
    pub(crate) async fn cut_audit(&self, start: AuditStart) -> Result<u64, StoreError> {
        const DOING: &str = "remove old audit entries";
        let transaction = self.begin(DOING).await?;
        let removed = audit_entry::Entity::delete_many()
            .filter(audit_entry::Column::Id.lt(start.first_id))
            .exec(&transaction)
            .await
            .doing(DOING)?;
        let row = audit_start::ActiveModel {
            id: Set(ONLY),
            first_id: Set(start.first_id),
            previous: Set(start.previous),
            removed_ms: Set(start.removed_ms),
            mac: Set(start.mac),
        };
        let replace = OnConflict::column(audit_start::Column::Id)
            .update_columns([
                audit_start::Column::FirstId,
                audit_start::Column::Previous,
                audit_start::Column::RemovedMs,
                audit_start::Column::Mac,
            ])
            .to_owned();
        audit_start::Entity::insert(row)
            .on_conflict(replace)
            .exec_without_returning(&transaction)
            .await
            .doing(DOING)?;
        commit(transaction, DOING).await?;
        Ok(removed.rows_affected)
    }
}

fn matching(query: &AuditQuery) -> Select<audit_entry::Entity> {
    let mut select = audit_entry::Entity::find();
    if let Some(actor) = &query.actor {
        select = select.filter(audit_entry::Column::ActorName.eq(actor));
    }
    if let Some(action) = &query.action {
        select = select.filter(audit_entry::Column::Action.eq(action));
    }
    if let Some(from_ms) = query.from_ms {
        select = select.filter(audit_entry::Column::TimeMs.gte(from_ms));
    }
    if let Some(to_ms) = query.to_ms {
        select = select.filter(audit_entry::Column::TimeMs.lt(to_ms));
    }
    select
}
