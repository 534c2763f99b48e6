//! Storing a collector's full list: what it lists no more may be gone, and its links are replaced.

use std::collections::HashSet;

use muster_base::id::ServerId;
use muster_model::{Inventory, ResourceKind};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, DatabaseTransaction, EntityTrait as _, QueryFilter as _,
    QuerySelect as _,
};

use super::links;
use crate::store::entity::{collector_inventory, collector_resource, resource};
use crate::store::{Doing as _, ROWS_PER_STATEMENT, StoreError};

/// The collector that lists what the kernel shows.
const KERNELS: &str = "block";

/// Applies one list, unless a newer one of the same collector was applied before.
pub(super) async fn apply(
    transaction: &DatabaseTransaction,
    server: ServerId,
    inventory: &Inventory,
) -> Result<(), StoreError> {
    if !supersedes(transaction, server, inventory).await? {
        return Ok(());
    }
    let collector = inventory.collector.as_str();
    let old = listed(transaction, server, collector).await?;
    let new: HashSet<&str> = inventory.keys.iter().map(|key| key.as_str()).collect();
    let removed: Vec<&str> = old
        .iter()
        .map(String::as_str)
        .filter(|key| !new.contains(key))
        .collect();
    let added: Vec<&str> = new.iter().copied().filter(|key| !old.contains(*key)).collect();
    unlist(transaction, server, collector, &removed).await?;
    list(transaction, server, collector, &added).await?;
    mark_gone(transaction, server, inventory, &removed).await?;
    let new: Vec<&str> = new.into_iter().collect();
    mark_present(transaction, server, &new).await?;
    links::replace(transaction, server, inventory).await
}

/// Records when the list was made. Returns whether none that is newer was applied.
async fn supersedes(
    transaction: &DatabaseTransaction,
    server: ServerId,
    inventory: &Inventory,
) -> Result<bool, StoreError> {
    const DOING: &str = "record an inventory";
    let last = collector_inventory::Entity::find_by_id((server.0, inventory.collector.clone()))
        .one(transaction)
        .await
        .doing(DOING)?;
    if last.is_some_and(|last| inventory.observed_ms < last.observed_ms) {
        return Ok(false);
    }
    let row = collector_inventory::ActiveModel {
        server_id: Set(server.0),
        collector: Set(inventory.collector.clone()),
        observed_ms: Set(inventory.observed_ms),
    };
    let replace = OnConflict::columns([
        collector_inventory::Column::ServerId,
        collector_inventory::Column::Collector,
    ])
    .update_column(collector_inventory::Column::ObservedMs)
    .to_owned();
    collector_inventory::Entity::insert(row)
        .on_conflict(replace)
        .exec_without_returning(transaction)
        .await
        .doing(DOING)?;
    Ok(true)
}

async fn listed(
    transaction: &DatabaseTransaction,
    server: ServerId,
    collector: &str,
) -> Result<HashSet<String>, StoreError> {
    let keys: Vec<String> = collector_resource::Entity::find()
        .select_only()
        .column(collector_resource::Column::ResourceKey)
        .filter(collector_resource::Column::ServerId.eq(server.0))
        .filter(collector_resource::Column::Collector.eq(collector))
        .into_tuple()
        .all(transaction)
        .await
        .doing("read what a collector listed")?;
    Ok(keys.into_iter().collect())
}

async fn unlist(
    transaction: &DatabaseTransaction,
    server: ServerId,
    collector: &str,
    keys: &[&str],
) -> Result<(), StoreError> {
    for chunk in keys.chunks(ROWS_PER_STATEMENT) {
        collector_resource::Entity::delete_many()
            .filter(collector_resource::Column::ServerId.eq(server.0))
            .filter(collector_resource::Column::Collector.eq(collector))
            .filter(collector_resource::Column::ResourceKey.is_in(chunk.iter().copied()))
            .exec(transaction)
            .await
            .doing("unlist resources")?;
    }
    Ok(())
}

async fn list(
    transaction: &DatabaseTransaction,
    server: ServerId,
    collector: &str,
    keys: &[&str],
) -> Result<(), StoreError> {
    for chunk in keys.chunks(ROWS_PER_STATEMENT) {
        let rows = chunk.iter().map(|key| collector_resource::ActiveModel {
            server_id: Set(server.0),
            collector: Set(collector.to_owned()),
            resource_key: Set((*key).to_owned()),
        });
        collector_resource::Entity::insert_many(rows)
            .exec_without_returning(transaction)
            .await
            .doing("list resources of a collector")?;
    }
    Ok(())
}

/// Marks those that no other collector lists either. The server itself never goes this way.
///
/// What the kernel shows no more is gone, whoever listed it before: a disk that was pulled out stands in SMART's list for
/// half an hour. Should another list it again, it is back.
async fn mark_gone(
    transaction: &DatabaseTransaction,
    server: ServerId,
    inventory: &Inventory,
    removed: &[&str],
) -> Result<(), StoreError> {
    const DOING: &str = "mark resources as gone";
    if removed.is_empty() {
        return Ok(());
    }
    let at_ms = inventory.observed_ms;
    let since_ms = if inventory.collector == KERNELS {
        at_ms
    } else {
        i64::MIN
    };
    let who_counts: Vec<String> = collector_inventory::Entity::find()
        .select_only()
        .column(collector_inventory::Column::Collector)
        .filter(collector_inventory::Column::ServerId.eq(server.0))
        .filter(collector_inventory::Column::ObservedMs.gte(since_ms))
        .into_tuple()
        .all(transaction)
        .await
        .doing(DOING)?;
    for chunk in removed.chunks(ROWS_PER_STATEMENT) {
        let still: Vec<String> = collector_resource::Entity::find()
            .select_only()
            .column(collector_resource::Column::ResourceKey)
            .filter(collector_resource::Column::ServerId.eq(server.0))
            .filter(collector_resource::Column::ResourceKey.is_in(chunk.iter().copied()))
            .filter(collector_resource::Column::Collector.is_in(who_counts.iter().map(String::as_str)))
            .into_tuple()
            .all(transaction)
            .await
            .doing(DOING)?;
        let gone = chunk
            .iter()
            .copied()
            .filter(|key| !still.iter().any(|other| other == key));
        resource::Entity::update_many()
            .col_expr(resource::Column::GoneMs, Expr::value(at_ms))
            .filter(resource::Column::ServerId.eq(server.0))
            .filter(resource::Column::Key.is_in(gone))
            .filter(resource::Column::GoneMs.is_null())
            .filter(resource::Column::Kind.ne(ResourceKind::Server.as_str()))
            .exec(transaction)
            .await
            .doing(DOING)?;
    }
    Ok(())
}

async fn mark_present(
    transaction: &DatabaseTransaction,
    server: ServerId,
    keys: &[&str],
) -> Result<(), StoreError> {
    for chunk in keys.chunks(ROWS_PER_STATEMENT) {
        resource::Entity::update_many()
            .col_expr(resource::Column::GoneMs, Expr::value(Option::<i64>::None))
            .filter(resource::Column::ServerId.eq(server.0))
            .filter(resource::Column::Key.is_in(chunk.iter().copied()))
            .filter(resource::Column::GoneMs.is_not_null())
            .exec(transaction)
            .await
            .doing("mark resources as present")?;
    }
    Ok(())
}
