//! Policies and windows: documents with a number, and who changed them last.

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
};

use super::super::entity::{maintenance_window, update_policy};
use super::super::{Doing as _, Store, StoreError};

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DocumentKind {
    /// An update policy.
    Policy,
    /// A maintenance window.
    Window,
}

/// A policy or window as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DocumentRow {
    /// Its number; 0 if it is new.
    pub(crate) id: i64,
    /// It as JSON.
    pub(crate) body: serde_json::Value,
    /// When it was made, Unix ms.
    pub(crate) created_ms: i64,
    /// When it was changed last, Unix ms.
    pub(crate) updated_ms: i64,
    /// Who changed it last.
    pub(crate) updated_by: String,
}

macro_rules! all {
    ($store:expr, $table:ident) => {{
        let rows = $table::Entity::find()
            .order_by_asc($table::Column::Id)
            .all(&$store.reader)
            .await
            .doing("read policies and windows")?;
        rows.into_iter()
            .map(|row| DocumentRow {
                id: row.id,
                body: row.body,
                created_ms: row.created_ms,
                updated_ms: row.updated_ms,
                updated_by: row.updated_by,
            })
            .collect()
    }};
}

macro_rules! put {
    ($store:expr, $table:ident, $row:expr) => {{
        let row: &DocumentRow = $row;
        if row.id == 0 {
            let made = $table::Entity::insert($table::ActiveModel {
                id: NotSet,
                body: Set(row.body.clone()),
                created_ms: Set(row.created_ms),
                updated_ms: Set(row.updated_ms),
                updated_by: Set(row.updated_by.clone()),
            })
            .exec(&$store.writer)
            .await
            .doing("keep a policy or window")?;
            made.last_insert_id
        } else {
            $table::Entity::update_many()
                .col_expr($table::Column::Body, Expr::value(row.body.clone()))
                .col_expr($table::Column::UpdatedMs, Expr::value(row.updated_ms))
                .col_expr($table::Column::UpdatedBy, Expr::value(row.updated_by.clone()))
                .filter($table::Column::Id.eq(row.id))
                .exec(&$store.writer)
                .await
                .doing("change a policy or window")?;
            row.id
        }
    }};
}

macro_rules! delete {
    ($store:expr, $table:ident, $id:expr) => {{
        let gone = $table::Entity::delete_by_id($id)
            .exec(&$store.writer)
            .await
            .doing("delete a policy or window")?;
        0 < gone.rows_affected
    }};
}

impl Store {
    /// Every document of a kind, by number.
    pub(crate) async fn documents(&self, kind: DocumentKind) -> Result<Vec<DocumentRow>, StoreError> {
        Ok(match kind {
            DocumentKind::Policy => all!(self, update_policy),
            DocumentKind::Window => all!(self, maintenance_window),
        })
    }

    /// Keeps a document; one with a number replaces the one that has it. Returns its number.
    pub(crate) async fn put_document(
        &self,
        kind: DocumentKind,
        row: &DocumentRow,
    ) -> Result<i64, StoreError> {
        Ok(match kind {
            DocumentKind::Policy => put!(self, update_policy, row),
            DocumentKind::Window => put!(self, maintenance_window, row),
        })
    }

    /// Deletes a document. `false` if it was not there.
    pub(crate) async fn delete_document(&self, kind: DocumentKind, id: i64) -> Result<bool, StoreError> {
        Ok(match kind {
            DocumentKind::Policy => delete!(self, update_policy, id),
            DocumentKind::Window => delete!(self, maintenance_window, id),
        })
    }
}
