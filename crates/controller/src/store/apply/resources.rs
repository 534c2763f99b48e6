//! Storing what a report says of resources.

use std::collections::HashMap;

use muster_base::id::{ResourceId, ServerId};
use muster_model::{Attribute, Health, Resource, ResourceKey};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, DatabaseTransaction, EntityTrait as _, ExprTrait as _, PaginatorTrait as _,
    QueryFilter as _, QuerySelect as _,
};
use serde_json::{Map, Value};

use super::{AppliedReport, RESOURCES_PER_SERVER_MAX};
use crate::store::entity::resource::{ActiveModel, Column, Entity};
use crate::store::{Doing as _, ROWS_PER_STATEMENT, StoreError, judgements};

/// Attributes whose names end so are whole documents, kept apart from those that lists show.
const RAW_SUFFIX: &str = "_raw";

/// What came of a report's resources.
pub(super) struct Stored {
    /// Their ids.
    pub(super) ids: HashMap<ResourceKey, ResourceId>,
    /// How many were beyond the server's bound.
    pub(super) refused: u64,
}

/// Makes or updates every resource of the report; a stored observation that is newer stays.
pub(super) async fn upsert(
    transaction: &DatabaseTransaction,
    entry: &AppliedReport,
) -> Result<Stored, StoreError> {
    // The last one of a key wins: one statement must not touch a row twice.
    let by_key: HashMap<&ResourceKey, &Resource> = entry
        .report
        .resources
        .iter()
        .map(|resource| (&resource.key, resource))
        .collect();
    let keys: Vec<&str> = by_key.keys().map(|key| key.as_str()).collect();
    let existing = ids_of(transaction, entry.server, &keys).await?;
    // In the order of the report, so that ids follow what people see: sda before sdb.
    let reported = entry.report.resources.iter();
    let mut wanted: Vec<&Resource> = reported
        .filter(|resource| {
            by_key
                .get(&resource.key)
                .is_some_and(|last| std::ptr::eq(*last, *resource))
        })
        .collect();
    let refused = hold_at_bound(transaction, entry.server, &existing, &mut wanted).await?;
    let rejudged = judgements::rejudge(transaction, &existing, &wanted).await?;
    for chunk in wanted.chunks(ROWS_PER_STATEMENT) {
        let rows = chunk.iter().map(|resource| row(entry, resource, &rejudged));
        Entity::insert_many(rows)
            .on_conflict(newer_wins())
            .exec_without_returning(transaction)
            .await
            .doing("store resources")?;
    }
    let ids = if existing.len() == wanted.len() {
        existing
    } else {
        ids_of(transaction, entry.server, &keys).await?
    };
    Ok(Stored { ids, refused })
}

/// Takes out the new resources that do not fit any more, and says how many.
async fn hold_at_bound(
    transaction: &DatabaseTransaction,
    server: ServerId,
    existing: &HashMap<ResourceKey, ResourceId>,
    wanted: &mut Vec<&Resource>,
) -> Result<u64, StoreError> {
    if wanted.len() == existing.len() {
        return Ok(0);
    }
    let count = Entity::find()
        .filter(Column::ServerId.eq(server.0))
        .count(transaction)
        .await
        .doing("count the resources of a server")?;
    let mut room = RESOURCES_PER_SERVER_MAX.saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
    let before = wanted.len();
    wanted.retain(|resource| {
        let fits = existing.contains_key(&resource.key) || 0 < room;
        if !existing.contains_key(&resource.key) {
            room = room.saturating_sub(1);
        }
        fits
    });
    Ok((before - wanted.len()) as u64)
}

fn row(
    entry: &AppliedReport,
    resource: &Resource,
    rejudged: &HashMap<ResourceKey, (Health, Vec<String>)>,
) -> ActiveModel {
    let (attributes, raw) = split(resource);
    // What people decided about a disk goes before the agent's word, which does not know of it.
    let (health, reasons) = match rejudged.get(&resource.key) {
        Some((health, reasons)) => (*health, reasons.clone()),
        None => (resource.shown_health(), resource.health_reasons.clone()),
    };
    ActiveModel {
        id: NotSet,
        server_id: Set(entry.server.0),
        kind: Set(resource.kind.as_str().to_owned()),
        key: Set(resource.key.as_str().to_owned()),
        name: Set(resource.name.clone()),
        health: Set(health.as_str().to_owned()),
        health_reasons: Set(reasons.into()),
        attributes: Set(Value::Object(attributes)),
        raw: Set(raw.map(Value::Object)),
        observed_ms: Set(entry.report.observed_ms),
        first_seen_ms: Set(entry.report.observed_ms),
        gone_ms: Set(None),
    }
}

/// Attributes for lists, and whole documents if there are any.
fn split(resource: &Resource) -> (Map<String, Value>, Option<Map<String, Value>>) {
    let mut shown = Map::new();
    let mut raw = Map::new();
    for (name, attribute) in &resource.attributes {
        // JSON has no NaN: a number that is none is not known.
        if let Attribute::Float(number) = attribute
            && !number.is_finite()
        {
            continue;
        }
        let Ok(value) = serde_json::to_value(attribute) else {
            continue;
        };
        let part = if name.ends_with(RAW_SUFFIX) {
            &mut raw
        } else {
            &mut shown
        };
        part.insert(name.clone(), value);
    }
    (shown, Some(raw).filter(|raw| !raw.is_empty()))
}

fn newer_wins() -> OnConflict {
    let new = |column: &'static str| Expr::col(("excluded", column));
    let not_older = new("observed_ms").gte(Expr::col((Entity, Column::ObservedMs)));
    // What was seen before it went does not bring it back.
    let not_gone_since = Expr::col((Entity, Column::GoneMs))
        .is_null()
        .or(new("observed_ms").gt(Expr::col((Entity, Column::GoneMs))));
    OnConflict::columns([Column::ServerId, Column::Key])
        .update_columns([
            Column::Kind,
            Column::Name,
            Column::Health,
            Column::HealthReasons,
            Column::Attributes,
            Column::Raw,
            Column::ObservedMs,
            Column::GoneMs,
        ])
        .action_and_where(not_older.and(not_gone_since))
        .to_owned()
}

async fn ids_of(
    transaction: &DatabaseTransaction,
    server: ServerId,
    keys: &[&str],
) -> Result<HashMap<ResourceKey, ResourceId>, StoreError> {
    let mut ids = HashMap::with_capacity(keys.len());
    for chunk in keys.chunks(ROWS_PER_STATEMENT) {
        let rows: Vec<(String, i64)> = Entity::find()
            .select_only()
            .columns([Column::Key, Column::Id])
            .filter(Column::ServerId.eq(server.0))
            .filter(Column::Key.is_in(chunk.iter().copied()))
            .into_tuple()
            .all(transaction)
            .await
            .doing("find resources by key")?;
        ids.extend(
            rows.into_iter()
                .map(|(key, id)| (ResourceKey::new(key), ResourceId(id))),
        );
    }
    Ok(ids)
}
