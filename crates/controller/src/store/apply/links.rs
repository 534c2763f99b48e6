//! Storing a collector's links: those it tells replace those it told before, which stay for a while as what was.

use std::collections::HashMap;

use muster_base::id::ServerId;
use muster_model::{Inventory, LinkType};
use sea_orm::{ActiveValue::Set, ColumnTrait as _, DatabaseTransaction, EntityTrait as _, QueryFilter as _};

use super::GONE_LINKS_MAX;
use crate::store::entity::link;
use crate::store::links::RESTS_ON;
use crate::store::{Doing as _, ROWS_PER_STATEMENT, StoreError};

const DOING: &str = "replace the links of a collector";

/// What makes two links the same: both ends and how they are related.
type Ends = (String, String, String);

/// Makes the links of the list those of its collector. One that it told before and tells no more is gone since the list
/// was made; of these the latest [`GONE_LINKS_MAX`] are kept.
pub(super) async fn replace(
    transaction: &DatabaseTransaction,
    server: ServerId,
    inventory: &Inventory,
) -> Result<(), StoreError> {
    let before = stored(transaction, server, &inventory.collector).await?;
    let after = merged(&before, inventory);
    if before == after {
        return Ok(());
    }
    link::Entity::delete_many()
        .filter(link::Column::ServerId.eq(server.0))
        .filter(link::Column::Collector.eq(inventory.collector.as_str()))
        .exec(transaction)
        .await
        .doing(DOING)?;
    let after: Vec<(Ends, Option<i64>)> = after.into_iter().collect();
    for chunk in after.chunks(ROWS_PER_STATEMENT) {
        let rows = chunk
            .iter()
            .map(|((from, to, link_type), gone_ms)| link::ActiveModel {
                server_id: Set(server.0),
                collector: Set(inventory.collector.clone()),
                from_key: Set(from.clone()),
                to_key: Set(to.clone()),
                link_type: Set(link_type.clone()),
                gone_ms: Set(*gone_ms),
            });
        link::Entity::insert_many(rows)
            .exec_without_returning(transaction)
            .await
            .doing(DOING)?;
    }
    Ok(())
}

/// The collector's links, present and gone, with the time since when they are gone.
async fn stored(
    transaction: &DatabaseTransaction,
    server: ServerId,
    collector: &str,
) -> Result<HashMap<Ends, Option<i64>>, StoreError> {
    let rows = link::Entity::find()
        .filter(link::Column::ServerId.eq(server.0))
        .filter(link::Column::Collector.eq(collector))
        .all(transaction)
        .await
        .doing(DOING)?;
    Ok(rows
        .into_iter()
        .map(|row| ((row.from_key, row.to_key, row.link_type), row.gone_ms))
        .collect())
}

fn merged(before: &HashMap<Ends, Option<i64>>, inventory: &Inventory) -> HashMap<Ends, Option<i64>> {
    let mut links: HashMap<Ends, Option<i64>> = inventory
        .links
        .iter()
        .map(|told| {
            let link_type = match told.link_type {
                LinkType::RestsOn => RESTS_ON.to_owned(),
            };
            let ends = (
                told.from.as_str().to_owned(),
                told.to.as_str().to_owned(),
                link_type,
            );
            (ends, None)
        })
        .collect();
    let mut gone: Vec<(i64, &Ends)> = before
        .iter()
        .filter(|(ends, _)| !links.contains_key(*ends))
        .map(|(ends, gone_ms)| (gone_ms.unwrap_or(inventory.observed_ms), ends))
        .collect();
    // The latest first; the ends only make the order the same each time.
    gone.sort_unstable_by(|a, b| b.cmp(a));
    gone.truncate(GONE_LINKS_MAX);
    links.extend(
        gone.into_iter()
            .map(|(gone_ms, ends)| (ends.clone(), Some(gone_ms))),
    );
    links
}
