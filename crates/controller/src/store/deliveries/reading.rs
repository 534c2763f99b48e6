//! What is read of deliveries: what waits for a channel, and what became of the rest.

use std::collections::HashMap;

use sea_orm::{
    ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Select,
};

use super::{DeliveryQuery, DeliveryRow, DeliveryState, WaitingRow};
use crate::store::entity::notification_delivery::{Column, Entity, Model};
use crate::store::{Doing as _, ROWS_PER_STATEMENT, Store, StoreError, corrupt};

impl TryFrom<Model> for DeliveryRow {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let Some(state) = DeliveryState::from_word(&row.state) else {
            return Err(corrupt("notification_delivery.state", row.state));
        };
        Ok(Self {
            id: row.id,
            notification_id: row.notification_id,
            channel_id: row.channel_id,
            alert_id: row.alert_id,
            kind: row.kind,
            title: row.title,
            state,
            attempts: u32::try_from(row.attempts).unwrap_or(0),
            created_ms: row.created_ms,
            due_ms: row.due_ms,
            changed_ms: row.changed_ms,
            answer: row.answer,
        })
    }
}

impl Store {
    /// Up to `limit` news that wait for a channel, the oldest first.
    pub(crate) async fn waiting_news(
        &self,
        channel_id: i64,
        limit: u64,
    ) -> Result<Vec<WaitingRow>, StoreError> {
        let rows = Entity::find()
            .filter(Column::ChannelId.eq(channel_id))
            .filter(Column::State.eq(DeliveryState::Waiting.as_str()))
            .order_by_asc(Column::Id)
            .limit(limit)
            .all(&self.reader)
            .await
            .doing("read waiting news")?;
        rows.into_iter()
            .map(|row| {
                let body = row.body.unwrap_or_default();
                let notification = serde_json::from_str(&body)
                    .map_err(|error| corrupt("notification_delivery.body", format!("{}: {error}", row.id)))?;
                Ok(WaitingRow {
                    id: row.id,
                    notification,
                    attempts: u32::try_from(row.attempts).unwrap_or(0),
                    created_ms: row.created_ms,
                    due_ms: row.due_ms,
                })
            })
            .collect()
    }

    /// Up to `limit` deliveries with ids below `before`, the newest first, and how many there are.
    pub(crate) async fn deliveries(
        &self,
        query: DeliveryQuery,
        before: Option<i64>,
        limit: u64,
    ) -> Result<(Vec<DeliveryRow>, u64), StoreError> {
        const DOING: &str = "list deliveries";
        let total = of(query).count(&self.reader).await.doing(DOING)?;
        let mut select = of(query).order_by_desc(Column::Id).limit(limit);
        if let Some(before) = before {
            select = select.filter(Column::Id.lt(before));
        }
        let rows = select.all(&self.reader).await.doing(DOING)?;
        let rows: Result<Vec<_>, _> = rows.into_iter().map(DeliveryRow::try_from).collect();
        Ok((rows?, total))
    }

    /// The delivery of these news to this channel.
    pub(crate) async fn delivery_of(
        &self,
        notification_id: &str,
        channel_id: i64,
    ) -> Result<Option<DeliveryRow>, StoreError> {
        let row = Entity::find()
            .filter(Column::NotificationId.eq(notification_id))
            .filter(Column::ChannelId.eq(channel_id))
            .one(&self.reader)
            .await
            .doing("find a delivery")?;
        row.map(DeliveryRow::try_from).transpose()
    }

    /// When a channel last took news of each of these alerts, Unix ms; of those of which none did there is nothing.
    pub(crate) async fn told(&self, alerts: &[i64]) -> Result<HashMap<i64, i64>, StoreError> {
        let mut told = HashMap::new();
        for alerts in alerts.chunks(ROWS_PER_STATEMENT) {
            let rows: Vec<(i64, i64)> = Entity::find()
                .select_only()
                .column(Column::AlertId)
                .column_as(Column::ChangedMs.max(), "told")
                .filter(Column::AlertId.is_in(alerts.iter().copied()))
                .filter(Column::State.eq(DeliveryState::Sent.as_str()))
                .group_by(Column::AlertId)
                .into_tuple()
                .all(&self.reader)
                .await
                .doing("read when people were told")?;
            told.extend(rows);
        }
        Ok(told)
    }
}

fn of(query: DeliveryQuery) -> Select<Entity> {
    let mut select = Entity::find();
    if let Some(channel_id) = query.channel_id {
        select = select.filter(Column::ChannelId.eq(channel_id));
    }
    if let Some(alert_id) = query.alert_id {
        select = select.filter(Column::AlertId.eq(alert_id));
    }
    if let Some(state) = query.state {
        select = select.filter(Column::State.eq(state.as_str()));
    }
    select
}
