//! Ids for resources that samples name and no report has described yet.
//!
//! A sample is filed under its resource's id, and must get the same one whenever it is applied: before the resource
//! is described, after, or again after a restart. So a key that is not known gets its row at once. It is held back
//! from every list until a report describes the resource, which then takes the row over with its id. Rows are never
//! deleted, so a key that found no room because the server has as many as it may will not find any later either.

use std::collections::HashMap;

use muster_base::id::{ResourceId, ServerId};
use muster_model::{Health, ResourceKey};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, DatabaseTransaction, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    QuerySelect as _,
};
use serde_json::json;

use super::apply::RESOURCES_PER_SERVER_MAX;
use super::entity::resource::{ActiveModel, Column, Entity};
use super::{Doing as _, ROWS_PER_STATEMENT, Store, StoreError, commit};

/// What stands for the kind of a resource that is not described.
pub(super) const KIND: &str = "held";

impl Store {
    /// The ids of all resources of a server by key, those that are gone or not described included; `keys` are held
    /// if they are new, as far as there is room.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn hold_resources(
        &self,
        server: ServerId,
        keys: impl Iterator<Item = &ResourceKey> + Send,
        now_ms: i64,
    ) -> Result<HashMap<ResourceKey, ResourceId>, StoreError> {
        const DOING: &str = "hold resources of samples";
        let known = all_ids(&self.reader, server).await?;
        let mut missing: Vec<&ResourceKey> = keys.filter(|key| !known.contains_key(*key)).collect();
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return Ok(known);
        }
        let transaction = self.begin(DOING).await?;
        insert(&transaction, server, &missing, now_ms).await?;
        let all = all_ids(&transaction, server).await?;
        commit(transaction, DOING).await?;
        Ok(all)
    }
}

async fn insert(
    transaction: &DatabaseTransaction,
    server: ServerId,
    keys: &[&ResourceKey],
    now_ms: i64,
) -> Result<(), StoreError> {
    let of_server = Entity::find().filter(Column::ServerId.eq(server.0));
    let count = of_server
        .count(transaction)
        .await
        .doing("count the resources of a server")?;
    let room = RESOURCES_PER_SERVER_MAX.saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
    for chunk in keys[..keys.len().min(room)].chunks(ROWS_PER_STATEMENT) {
        let rows = chunk.iter().map(|key| ActiveModel {
            id: NotSet,
            server_id: Set(server.0),
            kind: Set(KIND.to_owned()),
            key: Set(key.as_str().to_owned()),
            name: Set(String::new()),
            health: Set(Health::Unknown.as_str().to_owned()),
            health_reasons: Set(json!([])),
            attributes: Set(json!({})),
            raw: Set(None),
            // Any description is newer.
            observed_ms: Set(0),
            first_seen_ms: Set(now_ms),
            gone_ms: Set(None),
        });
        // The state consumer may have described it meanwhile.
        let is_there = OnConflict::columns([Column::ServerId, Column::Key])
            .do_nothing()
            .to_owned();
        Entity::insert_many(rows)
            .on_conflict(is_there)
            .exec_without_returning(transaction)
            .await
            .doing("hold resources")?;
    }
    Ok(())
}

async fn all_ids(
    connection: &impl sea_orm::ConnectionTrait,
    server: ServerId,
) -> Result<HashMap<ResourceKey, ResourceId>, StoreError> {
    let rows: Vec<(String, i64)> = Entity::find()
        .select_only()
        .columns([Column::Key, Column::Id])
        .filter(Column::ServerId.eq(server.0))
        .into_tuple()
        .all(connection)
        .await
        .doing("read the ids of resources")?;
    let ids = rows
        .into_iter()
        .map(|(key, id)| (ResourceKey::new(key), ResourceId(id)));
    Ok(ids.collect())
}
