//! What people decided about disks, and the health that comes of it.

use std::collections::HashMap;

use muster_base::id::ResourceId;
use muster_model::{Health, Resource, ResourceKey, ResourceKind};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, ConnectionTrait, DatabaseTransaction, EntityTrait as _, QueryFilter as _,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entity::{device_judgement, resource};
use super::{Doing as _, ROWS_PER_STATEMENT, Store, StoreError, commit, corrupt, resources};
use crate::app::devices::{Accepted, Decided, Judgement, rejudged, rejudged_view};

impl Store {
    /// What was decided about a disk.
    pub(crate) async fn judgement(&self, id: ResourceId) -> Result<Judgement, StoreError> {
        find(&self.reader, id).await
    }

    /// Sets or forgets what was accepted of a disk, and judges it anew.
    pub(crate) async fn set_baseline(
        &self,
        id: ResourceId,
        accepted: Option<&Accepted>,
    ) -> Result<(), StoreError> {
        use device_judgement::Column;
        let row = device_judgement::ActiveModel {
            resource_id: Set(id.0),
            baseline: Set(accepted.map(|accepted| json(&accepted.baseline)).transpose()?),
            baseline_ms: Set(accepted.map(|accepted| accepted.at_ms)),
            baseline_by: Set(accepted.map(|accepted| accepted.by.clone())),
            baseline_note: Set(accepted.and_then(|accepted| accepted.note.clone())),
            overrides: NotSet,
            overrides_ms: NotSet,
            overrides_by: NotSet,
        };
        let columns = [
            Column::Baseline,
            Column::BaselineMs,
            Column::BaselineBy,
            Column::BaselineNote,
        ];
        self.decide(id, row, &columns).await
    }

    /// Sets or forgets the rules of a disk's own, and judges it anew.
    pub(crate) async fn set_overrides(
        &self,
        id: ResourceId,
        decided: Option<&Decided>,
    ) -> Result<(), StoreError> {
        use device_judgement::Column;
        let row = device_judgement::ActiveModel {
            resource_id: Set(id.0),
            baseline: NotSet,
            baseline_ms: NotSet,
            baseline_by: NotSet,
            baseline_note: NotSet,
            overrides: Set(decided.map(|decided| json(&decided.overrides)).transpose()?),
            overrides_ms: Set(decided.map(|decided| decided.at_ms)),
            overrides_by: Set(decided.map(|decided| decided.by.clone())),
        };
        self.decide(
            id,
            row,
            &[Column::Overrides, Column::OverridesMs, Column::OverridesBy],
        )
        .await
    }

    async fn decide(
        &self,
        id: ResourceId,
        row: device_judgement::ActiveModel,
        columns: &[device_judgement::Column],
    ) -> Result<(), StoreError> {
        const DOING: &str = "store what was decided about a device";
        let transaction = self.begin(DOING).await?;
        let on_conflict = OnConflict::column(device_judgement::Column::ResourceId)
            .update_columns(columns.iter().copied())
            .to_owned();
        device_judgement::Entity::insert(row)
            .on_conflict(on_conflict)
            .exec_without_returning(&transaction)
            .await
            .doing(DOING)?;
        let judgement = find(&transaction, id).await?;
        if let Some(view) = resources::find(&transaction, id).await?
            && let Some((health, reasons)) = rejudged_view(&view, &judgement)
        {
            resource::Entity::update_many()
                .col_expr(resource::Column::Health, Expr::value(health.as_str()))
                .col_expr(
                    resource::Column::HealthReasons,
                    Expr::value(serde_json::Value::from(reasons)),
                )
                .filter(resource::Column::Id.eq(id.0))
                .exec(&transaction)
                .await
                .doing(DOING)?;
        }
        commit(transaction, DOING).await
    }
}

/// Health and reasons of those reported disks about which something was decided.
pub(super) async fn rejudge(
    transaction: &DatabaseTransaction,
    known: &HashMap<ResourceKey, ResourceId>,
    reported: &[&Resource],
) -> Result<HashMap<ResourceKey, (Health, Vec<String>)>, StoreError> {
    let disks: Vec<(i64, &Resource)> = reported
        .iter()
        .filter(|resource| {
            resource.kind == ResourceKind::Device && resource.attributes.contains_key("smart_data_raw")
        })
        .filter_map(|resource| Some((known.get(&resource.key)?.0, *resource)))
        .collect();
    let mut judged = HashMap::new();
    for chunk in disks.chunks(ROWS_PER_STATEMENT) {
        let rows = device_judgement::Entity::find()
            .filter(device_judgement::Column::ResourceId.is_in(chunk.iter().map(|(id, _)| *id)))
            .all(transaction)
            .await
            .doing("read what was decided about devices")?;
        for row in rows {
            let disk = chunk.iter().find(|(id, _)| *id == row.resource_id);
            let judgement = judgement(row)?;
            if let Some((_, disk)) = disk
                && let Some(shown) = rejudged(disk, &judgement)
            {
                judged.insert(disk.key.clone(), shown);
            }
        }
    }
    Ok(judged)
}

async fn find(connection: &impl ConnectionTrait, id: ResourceId) -> Result<Judgement, StoreError> {
    let row = device_judgement::Entity::find_by_id(id.0)
        .one(connection)
        .await
        .doing("read what was decided about a device")?;
    row.map_or_else(|| Ok(Judgement::default()), judgement)
}

fn judgement(row: device_judgement::Model) -> Result<Judgement, StoreError> {
    let baseline = row
        .baseline
        .map(|json| read("device_judgement.baseline", json))
        .transpose()?;
    let overrides = row
        .overrides
        .map(|json| read("device_judgement.overrides", json))
        .transpose()?;
    Ok(Judgement {
        baseline: baseline.map(|baseline| Accepted {
            baseline,
            at_ms: row.baseline_ms.unwrap_or_default(),
            by: row.baseline_by.unwrap_or_default(),
            note: row.baseline_note,
        }),
        overrides: overrides.map(|overrides| Decided {
            overrides,
            at_ms: row.overrides_ms.unwrap_or_default(),
            by: row.overrides_by.unwrap_or_default(),
        }),
    })
}

fn read<T: DeserializeOwned>(what: &'static str, json: serde_json::Value) -> Result<T, StoreError> {
    let text = json.to_string();
    serde_json::from_value(json).map_err(|_| corrupt(what, text))
}

fn json(value: &impl Serialize) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(value).map_err(|error| corrupt("a decision about a device", error.to_string()))
}
