//! Rows of updates, and writing them.

use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::{NotSet, Set, Unchanged},
    DatabaseTransaction, EntityTrait as _,
};
use serde_json::Value;

use super::super::entity::{bad_digest, container_update, rollout, update_history, update_notification};
use super::super::{Doing as _, StoreError};

/// An update as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UpdateRow {
    /// Its number; 0 if it is new.
    pub(crate) id: i64,
    /// The server.
    pub(crate) server_id: i64,
    /// The container.
    pub(crate) container_id: i64,
    /// The digest that is offered.
    pub(crate) digest: String,
    /// How far it is.
    pub(crate) state: String,
    /// The rest, as JSON.
    pub(crate) body: Value,
    /// When it was first offered, Unix ms.
    pub(crate) created_ms: i64,
    /// When it changed last, Unix ms.
    pub(crate) changed_ms: i64,
}

/// What became of an update, as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HistoryRow {
    /// Its number; 0 if it is new.
    pub(crate) id: i64,
    /// The server.
    pub(crate) server_id: i64,
    /// The container.
    pub(crate) container_id: i64,
    /// The update.
    pub(crate) update_id: i64,
    /// How it is, or how it ended.
    pub(crate) status: String,
    /// The rest, as JSON.
    pub(crate) body: Value,
    /// When it was begun, Unix ms.
    pub(crate) started_ms: i64,
    /// When it was over, Unix ms.
    pub(crate) completed_ms: Option<i64>,
}

/// A notice as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NoticeRow {
    /// Its number; 0 if it is new.
    pub(crate) id: i64,
    /// The container.
    pub(crate) container_id: Option<i64>,
    /// The record it is of.
    pub(crate) update_history_id: Option<i64>,
    /// The rest, as JSON.
    pub(crate) body: Value,
    /// When it was written, Unix ms.
    pub(crate) created_ms: i64,
}

/// A digest that did harm.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BadDigestRow {
    /// The digest.
    pub(crate) digest: String,
    /// What it did, as JSON.
    pub(crate) body: Value,
    /// When that was, Unix ms.
    pub(crate) created_ms: i64,
}

/// A roll-out as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RolloutRow {
    /// Its number; 0 if it is new.
    pub(crate) id: i64,
    /// What becomes of it.
    pub(crate) state: String,
    /// The rest, as JSON.
    pub(crate) body: Value,
    /// Who began it.
    pub(crate) created_by: String,
    /// When, Unix ms.
    pub(crate) created_ms: i64,
    /// When it changed last, Unix ms.
    pub(crate) changed_ms: i64,
}

/// Which updates are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct UpdateQuery {
    /// In one of these states; all if empty.
    pub(crate) states: Vec<&'static str>,
    /// Of this server.
    pub(crate) server: Option<i64>,
    /// Of this container.
    pub(crate) container: Option<i64>,
}

/// Which records are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HistoryQuery {
    /// Of this container.
    pub(crate) container: Option<i64>,
    /// Of this server.
    pub(crate) server: Option<i64>,
    /// Of this update.
    pub(crate) update: Option<i64>,
    /// With this status.
    pub(crate) status: Option<&'static str>,
}

/// What is to be written.
#[derive(Debug, Clone)]
pub(crate) enum UpdateWrite {
    /// An update, new or changed.
    Update(UpdateRow),
    /// An update is passed over.
    Forget(i64),
    /// A record, new or changed.
    History(HistoryRow),
    /// A notice.
    Notice(NoticeRow),
    /// A digest did harm.
    Bad(BadDigestRow),
    /// A roll-out changed.
    Rollout(RolloutRow),
}

/// Writes one; returns its number, 0 where it has none.
pub(super) async fn write(transaction: &DatabaseTransaction, write: &UpdateWrite) -> Result<i64, StoreError> {
    match write {
        UpdateWrite::Update(row) => put_update(transaction, row).await,
        UpdateWrite::Forget(id) => {
            container_update::Entity::delete_by_id(*id)
                .exec(transaction)
                .await
                .doing("pass an update over")?;
            Ok(0)
        }
        UpdateWrite::History(row) => put_history(transaction, row).await,
        UpdateWrite::Notice(row) => {
            let made = update_notification::Entity::insert(update_notification::ActiveModel {
                id: NotSet,
                container_id: Set(row.container_id),
                update_history_id: Set(row.update_history_id),
                body: Set(row.body.clone()),
                created_ms: Set(row.created_ms),
            })
            .exec(transaction)
            .await
            .doing("write a notice of an update")?;
            Ok(made.last_insert_id)
        }
        UpdateWrite::Bad(row) => {
            let known = OnConflict::column(bad_digest::Column::Digest)
                .do_nothing()
                .to_owned();
            bad_digest::Entity::insert(bad_digest::ActiveModel {
                id: NotSet,
                digest: Set(row.digest.clone()),
                body: Set(row.body.clone()),
                created_ms: Set(row.created_ms),
            })
            .on_conflict(known)
            .exec_without_returning(transaction)
            .await
            .doing("write down a digest that did harm")?;
            Ok(0)
        }
        UpdateWrite::Rollout(row) => {
            let active = rollout::ActiveModel {
                id: Unchanged(row.id),
                state: Set(row.state.clone()),
                body: Set(row.body.clone()),
                created_by: NotSet,
                created_ms: NotSet,
                changed_ms: Set(row.changed_ms),
            };
            rollout::Entity::update(active)
                .exec(transaction)
                .await
                .doing("change a roll-out")?;
            Ok(row.id)
        }
    }
}

async fn put_update(transaction: &DatabaseTransaction, row: &UpdateRow) -> Result<i64, StoreError> {
    const DOING: &str = "write an update";
    let mut active = container_update::ActiveModel {
        id: NotSet,
        server_id: Set(row.server_id),
        container_id: Set(row.container_id),
        digest: Set(row.digest.clone()),
        state: Set(row.state.clone()),
        body: Set(row.body.clone()),
        created_ms: Set(row.created_ms),
        changed_ms: Set(row.changed_ms),
    };
    if row.id == 0 {
        let made = container_update::Entity::insert(active).exec(transaction).await;
        return Ok(made.doing(DOING)?.last_insert_id);
    }
    active.id = Unchanged(row.id);
    container_update::Entity::update(active)
        .exec(transaction)
        .await
        .doing(DOING)?;
    Ok(row.id)
}

async fn put_history(transaction: &DatabaseTransaction, row: &HistoryRow) -> Result<i64, StoreError> {
    const DOING: &str = "write what became of an update";
    let mut active = update_history::ActiveModel {
        id: NotSet,
        server_id: Set(row.server_id),
        container_id: Set(row.container_id),
        update_id: Set(row.update_id),
        status: Set(row.status.clone()),
        body: Set(row.body.clone()),
        started_ms: Set(row.started_ms),
        completed_ms: Set(row.completed_ms),
    };
    if row.id == 0 {
        let made = update_history::Entity::insert(active).exec(transaction).await;
        return Ok(made.doing(DOING)?.last_insert_id);
    }
    active.id = Unchanged(row.id);
    update_history::Entity::update(active)
        .exec(transaction)
        .await
        .doing(DOING)?;
    Ok(row.id)
}

impl From<container_update::Model> for UpdateRow {
    fn from(row: container_update::Model) -> Self {
        Self {
            id: row.id,
            server_id: row.server_id,
            container_id: row.container_id,
            digest: row.digest,
            state: row.state,
            body: row.body,
            created_ms: row.created_ms,
            changed_ms: row.changed_ms,
        }
    }
}

impl From<update_history::Model> for HistoryRow {
    fn from(row: update_history::Model) -> Self {
        Self {
            id: row.id,
            server_id: row.server_id,
            container_id: row.container_id,
            update_id: row.update_id,
            status: row.status,
            body: row.body,
            started_ms: row.started_ms,
            completed_ms: row.completed_ms,
        }
    }
}

impl From<update_notification::Model> for NoticeRow {
    fn from(row: update_notification::Model) -> Self {
        Self {
            id: row.id,
            container_id: row.container_id,
            update_history_id: row.update_history_id,
            body: row.body,
            created_ms: row.created_ms,
        }
    }
}

impl From<rollout::Model> for RolloutRow {
    fn from(row: rollout::Model) -> Self {
        Self {
            id: row.id,
            state: row.state,
            body: row.body,
            created_by: row.created_by,
            created_ms: row.created_ms,
            changed_ms: row.changed_ms,
        }
    }
}
