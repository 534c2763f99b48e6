//! Writing what a batch says of runs, problems and gaps, and keeping each within its bound.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use muster_base::id::ServerId;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, DatabaseTransaction, EntityTrait as _, ExprTrait as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use super::gathered::{ErrorKey, NewGap, Seen};
use super::{ERRORS_PER_SERVER_MAX, GAPS_PER_SERVER_MAX};
use crate::store::entity::{collection_error, collector_status, gap};
use crate::store::{Doing as _, ROWS_PER_STATEMENT, StoreError};

/// The status of each collector by name, by server.
pub(super) type Statuses = HashMap<ServerId, HashMap<String, collector_status::Model>>;

pub(super) async fn statuses(
    transaction: &DatabaseTransaction,
    servers: &BTreeSet<ServerId>,
) -> Result<Statuses, StoreError> {
    let ids: Vec<i64> = servers.iter().map(|server| server.0).collect();
    let mut known = Statuses::new();
    for chunk in ids.chunks(ROWS_PER_STATEMENT) {
        let rows = collector_status::Entity::find()
            .filter(collector_status::Column::ServerId.is_in(chunk.iter().copied()))
            .all(transaction)
            .await
            .doing("read the status of collectors")?;
        for row in rows {
            let of_server = known.entry(ServerId(row.server_id)).or_default();
            of_server.insert(row.collector.clone(), row);
        }
    }
    Ok(known)
}

/// When a collection of this server last began, as far as it is applied, Unix ms.
pub(super) async fn last_collected_ms(
    transaction: &DatabaseTransaction,
    server: ServerId,
) -> Result<Option<i64>, StoreError> {
    use collector_status::{Column, Entity};
    Entity::find()
        .select_only()
        .column(Column::StartedMs)
        .filter(Column::ServerId.eq(server.0))
        .order_by_desc(Column::StartedMs)
        .limit(1)
        .into_tuple()
        .one(transaction)
        .await
        .doing("find the last collection of a server")
}

pub(super) async fn write_statuses(
    transaction: &DatabaseTransaction,
    rows: Vec<collector_status::Model>,
) -> Result<(), StoreError> {
    use collector_status::Column;
    for chunk in rows.chunks(ROWS_PER_STATEMENT) {
        let rows = chunk.iter().map(|row| collector_status::ActiveModel {
            server_id: Set(row.server_id),
            collector: Set(row.collector.clone()),
            outcome: Set(row.outcome.clone()),
            message: Set(row.message.clone()),
            started_ms: Set(row.started_ms),
            duration_ms: Set(row.duration_ms),
            last_success_ms: Set(row.last_success_ms),
            failures: Set(row.failures),
        });
        let replace = OnConflict::columns([Column::ServerId, Column::Collector])
            .update_columns([
                Column::Outcome,
                Column::Message,
                Column::StartedMs,
                Column::DurationMs,
                Column::LastSuccessMs,
                Column::Failures,
            ])
            .to_owned();
        collector_status::Entity::insert_many(rows)
            .on_conflict(replace)
            .exec_without_returning(transaction)
            .await
            .doing("store the status of collectors")?;
    }
    Ok(())
}

pub(super) async fn write_errors(
    transaction: &DatabaseTransaction,
    errors: &BTreeMap<ErrorKey, Seen>,
) -> Result<(), StoreError> {
    use collection_error::Column;
    let all: Vec<_> = errors.iter().collect();
    for chunk in all.chunks(ROWS_PER_STATEMENT) {
        let rows = chunk.iter().map(|(key, seen)| collection_error::ActiveModel {
            id: NotSet,
            server_id: Set(key.server.0),
            service_name: Set(key.service.clone()),
            error_type: Set(key.error_type.to_owned()),
            error_message: Set(key.message.clone()),
            first_ms: Set(seen.first_ms),
            occurred_ms: Set(seen.last_ms),
            count: Set(seen.count),
        });
        let sum = Expr::col((collection_error::Entity, Column::Count)).add(Expr::col(("excluded", "count")));
        let add = OnConflict::columns([
            Column::ServerId,
            Column::ServiceName,
            Column::ErrorType,
            Column::ErrorMessage,
        ])
        .update_column(Column::OccurredMs)
        .value(Column::Count, sum)
        .to_owned();
        collection_error::Entity::insert_many(rows)
            .on_conflict(add)
            .exec_without_returning(transaction)
            .await
            .doing("store collection errors")?;
    }
    let servers: BTreeSet<ServerId> = errors.keys().map(|key| key.server).collect();
    for server in servers {
        drop_oldest_errors(transaction, server).await?;
    }
    Ok(())
}

async fn drop_oldest_errors(transaction: &DatabaseTransaction, server: ServerId) -> Result<(), StoreError> {
    use collection_error::{Column, Entity};
    const DOING: &str = "drop the oldest collection errors";
    let of_server = Entity::find().filter(Column::ServerId.eq(server.0));
    let count = of_server.clone().count(transaction).await.doing(DOING)?;
    let beyond = count.saturating_sub(ERRORS_PER_SERVER_MAX);
    if beyond == 0 {
        return Ok(());
    }
    let oldest: Vec<i64> = of_server
        .select_only()
        .column(Column::Id)
        .order_by_asc(Column::OccurredMs)
        .order_by_asc(Column::Id)
        .limit(beyond)
        .into_tuple()
        .all(transaction)
        .await
        .doing(DOING)?;
    for chunk in oldest.chunks(ROWS_PER_STATEMENT) {
        Entity::delete_many()
            .filter(Column::Id.is_in(chunk.iter().copied()))
            .exec(transaction)
            .await
            .doing(DOING)?;
    }
    Ok(())
}

pub(super) async fn write_gaps(transaction: &DatabaseTransaction, gaps: &[NewGap]) -> Result<(), StoreError> {
    const DOING: &str = "store gaps";
    for chunk in gaps.chunks(ROWS_PER_STATEMENT) {
        let rows = chunk.iter().map(|new| gap::ActiveModel {
            id: NotSet,
            server_id: Set(new.server.0),
            epoch: Set(new.lost.epoch.cast_signed()),
            first: Set(new.lost.range.first.cast_signed()),
            last: Set(new.lost.range.last.cast_signed()),
            from_ms: Set(new.from_ms),
            to_ms: Set(new.to_ms),
            sample_count: Set(new
                .lost
                .sample_count
                .map(|count| i64::try_from(count).unwrap_or(i64::MAX))),
            reason: Set(new.lost.reason.as_str().to_owned()),
            noted_ms: Set(new.noted_ms),
        });
        let keep = OnConflict::columns([
            gap::Column::ServerId,
            gap::Column::Epoch,
            gap::Column::First,
            gap::Column::Last,
        ])
        .do_nothing()
        .to_owned();
        gap::Entity::insert_many(rows)
            .on_conflict(keep)
            .exec_without_returning(transaction)
            .await
            .doing(DOING)?;
    }
    let servers: BTreeSet<ServerId> = gaps.iter().map(|new| new.server).collect();
    for server in servers {
        drop_oldest_gaps(transaction, server).await?;
    }
    Ok(())
}

async fn drop_oldest_gaps(transaction: &DatabaseTransaction, server: ServerId) -> Result<(), StoreError> {
    const DOING: &str = "drop the oldest gaps";
    // Ids rise with time, so everything up to the first one beyond the bound goes.
    let last_to_drop: Option<i64> = gap::Entity::find()
        .select_only()
        .column(gap::Column::Id)
        .filter(gap::Column::ServerId.eq(server.0))
        .order_by_desc(gap::Column::Id)
        .offset(GAPS_PER_SERVER_MAX)
        .limit(1)
        .into_tuple()
        .one(transaction)
        .await
        .doing(DOING)?;
    if let Some(last) = last_to_drop {
        gap::Entity::delete_many()
            .filter(gap::Column::ServerId.eq(server.0))
            .filter(gap::Column::Id.lte(last))
            .exec(transaction)
            .await
            .doing(DOING)?;
    }
    Ok(())
}
