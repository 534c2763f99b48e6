//! News on their way to channels: handed over together with the state of the alert they are of, kept until delivered,
//! and after that as a record of what became of them.
//!
//! Bounds: [`WAITING_MAX`] wait, the oldest beyond are given up and say so; [`KEPT_MAX`] in all, for [`KEPT_MS`].

mod reading;

use std::collections::BTreeMap;

use muster_alert::Notification;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait as _, DatabaseTransaction, EntityTrait as _, ExprTrait as _, PaginatorTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, Select,
};

use super::entity::notification_delivery::{ActiveModel, Column, Entity};
use super::{Doing as _, Store, StoreError, channels, commit, corrupt};

/// Most news that wait, over all channels.
const WAITING_MAX: u64 = 10_000;
/// Most records of news that were delivered, given up, dropped, skipped or muted.
const KEPT_MAX: u64 = 100_000;
/// How long these are kept, ms.
const KEPT_MS: i64 = 365 * 86_400_000;
/// Rows removed by one statement.
const REMOVED_AT_ONCE: u64 = 1_000;

/// What became of news, so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeliveryState {
    /// To be sent.
    Waiting,
    /// The other side has it.
    Sent,
    /// Given up: the other side will not take it, or could not for days. Can be sent again.
    Dead,
    /// There was nowhere to send it to, or no room to keep it.
    Dropped,
    /// The channel's filter does not want it.
    Skipped,
    /// A silence, a window or a snooze kept it back.
    Muted,
}

impl DeliveryState {
    pub(crate) const ALL: [Self; 6] = [
        Self::Waiting,
        Self::Sent,
        Self::Dead,
        Self::Dropped,
        Self::Skipped,
        Self::Muted,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::Dead => "dead",
            Self::Dropped => "dropped",
            Self::Skipped => "skipped",
            Self::Muted => "muted",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// News to be handed over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewNews<'a> {
    pub(crate) notification: &'a Notification,
    /// Ids of channels; all that are enabled if empty.
    pub(crate) channels: &'a [i64],
    /// Why nobody is to be told: it is only written down.
    pub(crate) muted: Option<&'a str>,
}

/// News that wait for a channel.
#[derive(Debug, Clone)]
pub(crate) struct WaitingRow {
    pub(crate) id: i64,
    pub(crate) notification: Notification,
    pub(crate) attempts: u32,
    pub(crate) created_ms: i64,
    pub(crate) due_ms: i64,
}

/// What became of news.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DeliveryRow {
    pub(crate) id: i64,
    pub(crate) notification_id: String,
    pub(crate) channel_id: i64,
    pub(crate) alert_id: i64,
    pub(crate) kind: String,
    pub(crate) title: String,
    pub(crate) state: DeliveryState,
    pub(crate) attempts: u32,
    pub(crate) created_ms: i64,
    pub(crate) due_ms: i64,
    pub(crate) changed_ms: i64,
    pub(crate) answer: Option<String>,
}

/// Which deliveries are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DeliveryQuery {
    pub(crate) channel_id: Option<i64>,
    pub(crate) alert_id: Option<i64>,
    pub(crate) state: Option<DeliveryState>,
}

/// What becomes of news after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) id: i64,
    /// Sent, dead or skipped; waiting if it is tried again.
    pub(crate) state: DeliveryState,
    pub(crate) due_ms: i64,
    pub(crate) answer: String,
    /// Whether it was tried.
    pub(crate) is_attempt: bool,
}

/// Hands news over, in the transaction that changes the alerts they are of: either both are stored or neither. News
/// that were handed over before change nothing. Whoever calls wakes [`Store::outbox_wake`] after the commit.
pub(crate) async fn add(
    transaction: &DatabaseTransaction,
    news: &[NewNews<'_>],
    now_ms: i64,
) -> Result<(), StoreError> {
    if news.is_empty() {
        return Ok(());
    }
    let standing: BTreeMap<i64, bool> = channels::standing(transaction).await?.into_iter().collect();
    for news in news {
        for (channel_id, state, why) in targets(news, &standing) {
            insert(transaction, news.notification, channel_id, state, why, now_ms).await?;
        }
    }
    give_up_the_oldest(transaction, now_ms).await
}

/// Hands news over for these channels, or for all that are enabled if there are none.
pub(super) async fn put(
    transaction: &DatabaseTransaction,
    notification: &Notification,
    channels: &[i64],
    now_ms: i64,
) -> Result<(), StoreError> {
    let news = NewNews {
        notification,
        channels,
        muted: None,
    };
    add(transaction, &[news], now_ms).await
}

/// For which channels news are, and what becomes of them there.
fn targets<'a>(
    news: &NewNews<'a>,
    standing: &BTreeMap<i64, bool>,
) -> Vec<(i64, DeliveryState, Option<&'a str>)> {
    if let Some(why) = news.muted {
        return vec![(0, DeliveryState::Muted, Some(why))];
    }
    let named = news.channels.iter().map(|id| match standing.get(id) {
        Some(true) => (*id, DeliveryState::Waiting, None),
        Some(false) => (*id, DeliveryState::Dropped, Some("the channel is disabled")),
        None => (*id, DeliveryState::Dropped, Some("there is no such channel")),
    });
    let mut targets: Vec<_> = named.collect();
    if news.channels.is_empty() {
        let enabled = standing.iter().filter(|(_, is_enabled)| **is_enabled);
        targets.extend(enabled.map(|(id, _)| (*id, DeliveryState::Waiting, None)));
    }
    if targets.is_empty() {
        targets.push((0, DeliveryState::Dropped, Some("there is no enabled channel")));
    }
    targets
}

async fn insert(
    transaction: &DatabaseTransaction,
    notification: &Notification,
    channel_id: i64,
    state: DeliveryState,
    why: Option<&str>,
    now_ms: i64,
) -> Result<(), StoreError> {
    let body = serde_json::to_string(notification)
        .map_err(|error| corrupt("news of an alert", error.to_string()))?;
    let row = ActiveModel {
        id: NotSet,
        notification_id: Set(notification.id.clone()),
        channel_id: Set(channel_id),
        alert_id: Set(notification.alert.id),
        kind: Set(notification.kind.as_str().to_owned()),
        title: Set(notification.title.clone()),
        body: Set((state == DeliveryState::Waiting).then_some(body)),
        state: Set(state.as_str().to_owned()),
        attempts: Set(0),
        created_ms: Set(now_ms),
        due_ms: Set(now_ms),
        changed_ms: Set(now_ms),
        answer: Set(why.map(str::to_owned)),
    };
    let known = OnConflict::columns([Column::NotificationId, Column::ChannelId])
        .do_nothing()
        .to_owned();
    Entity::insert(row)
        .on_conflict(known)
        .exec_without_returning(transaction)
        .await
        .doing("hand news over")?;
    Ok(())
}

/// Keeps to the bound of what waits.
async fn give_up_the_oldest(transaction: &DatabaseTransaction, now_ms: i64) -> Result<(), StoreError> {
    const DOING: &str = "keep to the bound of waiting news";
    let waiting = Entity::find().filter(Column::State.eq(DeliveryState::Waiting.as_str()));
    let count = waiting.clone().count(transaction).await.doing(DOING)?;
    let Some(excess) = count.checked_sub(WAITING_MAX).filter(|excess| 0 < *excess) else {
        return Ok(());
    };
    tracing::warn!(excess, "too many news wait for channels, the oldest are given up");
    let oldest: Vec<i64> = waiting
        .select_only()
        .column(Column::Id)
        .order_by_asc(Column::Id)
        .limit(excess)
        .into_tuple()
        .all(transaction)
        .await
        .doing(DOING)?;
    for ids in oldest.chunks(super::ROWS_PER_STATEMENT) {
        end(
            transaction,
            ids,
            DeliveryState::Dead,
            now_ms,
            "too many news waited",
        )
        .await?;
    }
    Ok(())
}

async fn end(
    transaction: &DatabaseTransaction,
    ids: &[i64],
    state: DeliveryState,
    now_ms: i64,
    why: &str,
) -> Result<(), StoreError> {
    Entity::update_many()
        .col_expr(Column::State, Expr::value(state.as_str()))
        .col_expr(Column::ChangedMs, Expr::value(now_ms))
        .col_expr(Column::Answer, Expr::value(why))
        .filter(Column::Id.is_in(ids.iter().copied()))
        .exec(transaction)
        .await
        .doing("end deliveries")?;
    Ok(())
}

/// Drops what waits for a channel.
pub(super) async fn drop_waiting(
    transaction: &DatabaseTransaction,
    channel_id: i64,
    now_ms: i64,
    why: &str,
) -> Result<(), StoreError> {
    Entity::update_many()
        .col_expr(Column::State, Expr::value(DeliveryState::Dropped.as_str()))
        .col_expr(Column::ChangedMs, Expr::value(now_ms))
        .col_expr(Column::Answer, Expr::value(why))
        .filter(Column::ChannelId.eq(channel_id))
        .filter(Column::State.eq(DeliveryState::Waiting.as_str()))
        .exec(transaction)
        .await
        .doing("drop what waits for a channel")?;
    Ok(())
}

impl Store {
    /// Hands news over that are no part of a change of an alert.
    pub(crate) async fn put_news(
        &self,
        notification: &Notification,
        channels: &[i64],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        const DOING: &str = "hand news over";
        let transaction = self.begin(DOING).await?;
        put(&transaction, notification, channels, now_ms).await?;
        commit(transaction, DOING).await?;
        self.outbox_wake().notify_one();
        Ok(())
    }

    /// Hands several over at once, in one transaction.
    #[cfg(test)]
    pub(crate) async fn add_news(&self, news: &[NewNews<'_>], now_ms: i64) -> Result<(), StoreError> {
        const DOING: &str = "hand news over";
        let transaction = self.begin(DOING).await?;
        add(&transaction, news, now_ms).await?;
        commit(transaction, DOING).await?;
        self.outbox_wake().notify_one();
        Ok(())
    }

    /// Writes down what became of news, all of it or nothing. What no longer waits stays as it is.
    pub(crate) async fn settle_news(&self, settled: &[Settled], now_ms: i64) -> Result<(), StoreError> {
        const DOING: &str = "write down what became of news";
        let transaction = self.begin(DOING).await?;
        for settled in settled {
            let mut update = Entity::update_many()
                .col_expr(Column::State, Expr::value(settled.state.as_str()))
                .col_expr(Column::DueMs, Expr::value(settled.due_ms))
                .col_expr(Column::ChangedMs, Expr::value(now_ms))
                .col_expr(Column::Answer, Expr::value(settled.answer.as_str()));
            if settled.is_attempt {
                update = update.col_expr(Column::Attempts, Expr::col(Column::Attempts).add(1));
            }
            if matches!(settled.state, DeliveryState::Sent | DeliveryState::Skipped) {
                update = update.col_expr(Column::Body, Expr::value(Option::<String>::None));
            }
            update
                .filter(Column::Id.eq(settled.id))
                .filter(Column::State.eq(DeliveryState::Waiting.as_str()))
                .exec(&transaction)
                .await
                .doing(DOING)?;
        }
        commit(transaction, DOING).await
    }

    /// Lets news that were given up wait again. `None` if there is no such delivery, `false` if it was not given up.
    pub(crate) async fn revive_delivery(&self, id: i64, now_ms: i64) -> Result<Option<bool>, StoreError> {
        const DOING: &str = "send news again";
        let transaction = self.begin(DOING).await?;
        let Some(row) = Entity::find_by_id(id).one(&transaction).await.doing(DOING)? else {
            return Ok(None);
        };
        let standing = channels::standing(&transaction).await?;
        let can_be = row.state == DeliveryState::Dead.as_str()
            && row.body.is_some()
            && standing.contains(&(row.channel_id, true));
        if !can_be {
            return Ok(Some(false));
        }
        Entity::update_many()
            .col_expr(Column::State, Expr::value(DeliveryState::Waiting.as_str()))
            .col_expr(Column::Attempts, Expr::value(0))
            .col_expr(Column::CreatedMs, Expr::value(now_ms))
            .col_expr(Column::DueMs, Expr::value(now_ms))
            .col_expr(Column::ChangedMs, Expr::value(now_ms))
            .filter(Column::Id.eq(id))
            .exec(&transaction)
            .await
            .doing(DOING)?;
        give_up_the_oldest(&transaction, now_ms).await?;
        commit(transaction, DOING).await?;
        self.outbox_wake().notify_one();
        Ok(Some(true))
    }

    /// Removes records of long ago, and the oldest beyond their bound.
    pub(crate) async fn forget_deliveries(&self, now_ms: i64) -> Result<(), StoreError> {
        const DOING: &str = "forget old deliveries";
        let ended = Entity::find().filter(Column::State.ne(DeliveryState::Waiting.as_str()));
        let old = ended
            .clone()
            .filter(Column::ChangedMs.lt(now_ms.saturating_sub(KEPT_MS)));
        self.forget(old, u64::MAX).await?;
        let count = ended.clone().count(&self.reader).await.doing(DOING)?;
        self.forget(ended, count.saturating_sub(KEPT_MAX)).await
    }

    async fn forget(&self, which: Select<Entity>, mut count: u64) -> Result<(), StoreError> {
        const DOING: &str = "forget old deliveries";
        while 0 < count {
            let ids: Vec<i64> = which
                .clone()
                .select_only()
                .column(Column::Id)
                .order_by_asc(Column::Id)
                .limit(Ord::min(count, REMOVED_AT_ONCE))
                .into_tuple()
                .all(&self.reader)
                .await
                .doing(DOING)?;
            if ids.is_empty() {
                return Ok(());
            }
            count = count.saturating_sub(ids.len() as u64);
            Entity::delete_many()
                .filter(Column::Id.is_in(ids))
                .exec(&self.writer)
                .await
                .doing(DOING)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
