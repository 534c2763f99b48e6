//! Reading how collections went: last runs, errors, gaps.

use std::collections::HashMap;

use muster_base::id::ServerId;
use sea_orm::{
    ColumnTrait as _, Condition, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use super::entity::{collection_error, collector_status, gap};
use super::{Doing as _, Store, StoreError};
use crate::app::collectors::{CollectionErrorView, CollectorView, GapView};

/// Most gaps shown of one server.
const GAPS_SHOWN_MAX: u64 = 1_000;

impl Store {
    /// The collectors of a server by name.
    pub(crate) async fn collectors(&self, server: ServerId) -> Result<Vec<CollectorView>, StoreError> {
        let rows = collector_status::Entity::find()
            .filter(collector_status::Column::ServerId.eq(server.0))
            .order_by_asc(collector_status::Column::Collector)
            .all(&self.reader)
            .await
            .doing("read the collectors of a server")?;
        Ok(rows
            .into_iter()
            .map(|row| CollectorView {
                collector: row.collector,
                outcome: row.outcome,
                message: row.message,
                started_ms: row.started_ms,
                duration_ms: u32::try_from(row.duration_ms).unwrap_or(u32::MAX),
                last_success_ms: row.last_success_ms,
                failures: u32::try_from(row.failures).unwrap_or(u32::MAX),
            })
            .collect())
    }

    /// The failure that began last, of each server that has a collector whose last run failed. Of all servers if
    /// none are named.
    pub(crate) async fn failing(
        &self,
        servers: Option<&[ServerId]>,
    ) -> Result<HashMap<ServerId, String>, StoreError> {
        let mut wanted = collector_status::Entity::find()
            .select_only()
            .columns([
                collector_status::Column::ServerId,
                collector_status::Column::Collector,
                collector_status::Column::Message,
            ])
            .filter(collector_status::Column::Failures.gt(0))
            .order_by_asc(collector_status::Column::StartedMs);
        if let Some(servers) = servers {
            wanted = wanted.filter(collector_status::Column::ServerId.is_in(servers.iter().map(|id| id.0)));
        }
        let rows: Vec<(i64, String, String)> = wanted
            .into_tuple()
            .all(&self.reader)
            .await
            .doing("find failing collectors")?;
        // Later rows replace earlier ones.
        Ok(rows
            .into_iter()
            .map(|(server, collector, message)| (ServerId(server), format!("{collector}: {message}")))
            .collect())
    }

    /// Collection errors before the given (time, id), the latest first; and how many there are in all.
    pub(crate) async fn collection_errors(
        &self,
        server: Option<ServerId>,
        before: Option<(i64, i64)>,
        limit: u64,
    ) -> Result<(Vec<CollectionErrorView>, u64), StoreError> {
        const DOING: &str = "list collection errors";
        let mut wanted = collection_error::Entity::find();
        if let Some(server) = server {
            wanted = wanted.filter(collection_error::Column::ServerId.eq(server.0));
        }
        let total = wanted.clone().count(&self.reader).await.doing(DOING)?;
        if let Some((at_ms, id)) = before {
            let same_time = Condition::all()
                .add(collection_error::Column::OccurredMs.eq(at_ms))
                .add(collection_error::Column::Id.lt(id));
            let earlier = Condition::any()
                .add(collection_error::Column::OccurredMs.lt(at_ms))
                .add(same_time);
            wanted = wanted.filter(earlier);
        }
        let rows = wanted
            .order_by_desc(collection_error::Column::OccurredMs)
            .order_by_desc(collection_error::Column::Id)
            .limit(limit)
            .all(&self.reader)
            .await
            .doing(DOING)?;
        let views = rows
            .into_iter()
            .map(|row| CollectionErrorView {
                id: row.id,
                server: ServerId(row.server_id),
                error_type: row.error_type,
                error_message: row.error_message,
                service_name: row.service_name,
                occurred_ms: row.occurred_ms,
                first_ms: row.first_ms,
                count: u64::try_from(row.count).unwrap_or(0),
            })
            .collect();
        Ok((views, total))
    }

    /// The gaps of a server, the latest first.
    pub(crate) async fn gaps(&self, server: ServerId) -> Result<Vec<GapView>, StoreError> {
        let rows = gap::Entity::find()
            .filter(gap::Column::ServerId.eq(server.0))
            .order_by_desc(gap::Column::Id)
            .limit(GAPS_SHOWN_MAX)
            .all(&self.reader)
            .await
            .doing("list gaps")?;
        Ok(rows
            .into_iter()
            .map(|row| GapView {
                server,
                epoch: row.epoch.cast_unsigned(),
                first: row.first.cast_unsigned(),
                last: row.last.cast_unsigned(),
                from_ms: row.from_ms,
                to_ms: row.to_ms,
                sample_count: row.sample_count.map(i64::cast_unsigned),
                reason: row.reason,
                noted_ms: row.noted_ms,
            })
            .collect())
    }
}
