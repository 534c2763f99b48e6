//! Silences and windows.

use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _,
};

use crate::store::entity::alert_mute;
use crate::store::{Doing as _, Store, StoreError};

/// A silence or window as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MuteRow {
    /// Its number.
    pub(crate) id: i64,
    /// It as JSON.
    pub(crate) body: serde_json::Value,
    /// When it was made, Unix ms.
    pub(crate) created_ms: i64,
    /// Who made it.
    pub(crate) created_by: String,
}

impl Store {
    /// Every silence and window.
    pub(crate) async fn mutes(&self) -> Result<Vec<MuteRow>, StoreError> {
        let rows = alert_mute::Entity::find()
            .order_by_asc(alert_mute::Column::Id)
            .all(&self.reader)
            .await
            .doing("read silences")?;
        Ok(rows
            .into_iter()
            .map(|row| MuteRow {
                id: row.id,
                body: row.body,
                created_ms: row.created_ms,
                created_by: row.created_by,
            })
            .collect())
    }

    /// Keeps a silence or window; one with a number replaces the one that has it. Returns its number.
    pub(crate) async fn put_mute(&self, row: MuteRow) -> Result<i64, StoreError> {
        const DOING: &str = "keep a silence";
        if row.id != 0 {
            alert_mute::Entity::update_many()
                .col_expr(alert_mute::Column::Body, Expr::value(row.body))
                .filter(alert_mute::Column::Id.eq(row.id))
                .exec(&self.writer)
                .await
                .doing(DOING)?;
            return Ok(row.id);
        }
        let made = alert_mute::Entity::insert(alert_mute::ActiveModel {
            id: NotSet,
            body: Set(row.body),
            created_ms: Set(row.created_ms),
            created_by: Set(row.created_by),
        })
        .exec(&self.writer)
        .await
        .doing(DOING)?;
        Ok(made.last_insert_id)
    }

    /// Removes silences and windows.
    pub(crate) async fn delete_mutes(&self, ids: &[i64]) -> Result<(), StoreError> {
        alert_mute::Entity::delete_many()
            .filter(alert_mute::Column::Id.is_in(ids.iter().copied()))
            .exec(&self.writer)
            .await
            .doing("remove a silence")?;
        Ok(())
    }
}
