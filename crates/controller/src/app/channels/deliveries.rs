//! What became of news: the list, sending again what was given up, and the test of a channel.

use std::time::Duration;

use muster_notify::test_news;
use tokio::time::Instant;

use super::ChannelError;
use crate::app::{App, Page, PageRequest, page};
use crate::store::deliveries::{DeliveryQuery, DeliveryRow, DeliveryState};

/// How long a test waits for the other side. It goes on after that, and its outcome is in the list.
pub const TEST_WAIT_MAX: Duration = Duration::from_secs(25);
/// How often it is looked whether a test has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Which deliveries are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeliveryFilter<'a> {
    /// To this channel.
    pub channel_id: Option<i64>,
    /// Of this alert.
    pub alert_id: Option<i64>,
    /// In this state.
    pub state: Option<&'a str>,
}

/// What became of news of an alert at one channel; times are Unix ms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryView {
    /// Its id.
    pub id: i64,
    /// What was told: the same for all channels.
    pub notification_id: String,
    /// The channel; `None` if it was for none, because it was muted or there was none.
    pub channel_id: Option<i64>,
    /// The alert; `None` if it was a test.
    pub alert_id: Option<i64>,
    /// What happened to the alert.
    pub kind: String,
    /// What it is called.
    pub title: String,
    /// `waiting`, `sent`, `dead`, `dropped`, `skipped` or `muted`.
    pub state: &'static str,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was handed over.
    pub created_ms: i64,
    /// When it is tried next, if it waits.
    pub due_ms: Option<i64>,
    /// When its state last changed.
    pub changed_ms: i64,
    /// What the other side last answered, or why it is in this state.
    pub answer: Option<String>,
}

impl From<DeliveryRow> for DeliveryView {
    fn from(row: DeliveryRow) -> Self {
        Self {
            id: row.id,
            notification_id: row.notification_id,
            channel_id: Some(row.channel_id).filter(|id| *id != 0),
            alert_id: Some(row.alert_id).filter(|id| *id != 0),
            kind: row.kind,
            title: row.title,
            state: row.state.as_str(),
            attempts: row.attempts,
            created_ms: row.created_ms,
            due_ms: (row.state == DeliveryState::Waiting).then_some(row.due_ms),
            changed_ms: row.changed_ms,
            answer: row.answer,
        }
    }
}

impl App {
    /// Deliveries, the newest first.
    ///
    /// # Errors
    /// [`crate::app::AppError::Cursor`], [`ChannelError::Invalid`] or a failure of the database.
    pub async fn deliveries(
        &self,
        filter: DeliveryFilter<'_>,
        wanted: PageRequest,
    ) -> Result<Page<DeliveryView>, ChannelError> {
        let state = match filter.state.map(DeliveryState::from_word) {
            Some(None) => {
                let words: Vec<&str> = DeliveryState::ALL.iter().map(|state| state.as_str()).collect();
                return Err(ChannelError::Invalid(vec![muster_notify::SettingProblem {
                    field: "state".to_owned(),
                    message: format!("it must be one of {}", words.join(", ")),
                }]));
            }
            Some(state) => state,
            None => None,
        };
        let query = DeliveryQuery {
            channel_id: filter.channel_id,
            alert_id: filter.alert_id,
            state,
        };
        let before = Some(wanted.after()?).filter(|id| *id != 0);
        let limit = wanted.limit();
        let (rows, total) = self.store.deliveries(query, before, u64::from(limit) + 1).await?;
        let rows = page(rows, limit, total, |row| row.id.to_string());
        Ok(Page {
            items: rows.items.into_iter().map(DeliveryView::from).collect(),
            total: rows.total,
            next: rows.next,
        })
    }

    /// Sends again what was given up.
    ///
    /// # Errors
    /// [`ChannelError::NoDelivery`], [`ChannelError::NotDead`] or a failure of the database.
    pub async fn retry_delivery(&self, id: i64) -> Result<(), ChannelError> {
        match self.store.revive_delivery(id, self.clock.now_ms()).await? {
            None => Err(ChannelError::NoDelivery(id)),
            Some(false) => Err(ChannelError::NotDead),
            Some(true) => Ok(()),
        }
    }

    /// Sends a test the way every alert goes, and waits for what the other side says.
    ///
    /// # Errors
    /// [`ChannelError::TestFailed`] with what it said, if it did not take it. If it did not say anything in time, the
    /// delivery still waits.
    pub async fn test_channel(&self, id: i64) -> Result<DeliveryView, ChannelError> {
        let row = self.store.channel(id).await?.ok_or(ChannelError::NotFound(id))?;
        if !row.enabled {
            return Err(ChannelError::Disabled);
        }
        let now_ms = self.clock.now_ms();
        let mut news = test_news(&row.name, now_ms);
        let nonce: [u8; 6] = crate::identity::random()?;
        news.id = format!(
            "test-{now_ms}-{}",
            nonce.map(|byte| format!("{byte:02x}")).concat()
        );
        news.alert.key.clone_from(&news.id);
        self.store.put_news(&news, &[id], now_ms).await?;
        let deadline = Instant::now() + TEST_WAIT_MAX;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let found = self.store.delivery_of(&news.id, id).await?;
            match found {
                Some(row) if row.state == DeliveryState::Sent => return Ok(row.into()),
                Some(row) if row.state == DeliveryState::Waiting => {
                    if deadline <= Instant::now() {
                        return Ok(row.into());
                    }
                }
                Some(row) => return Err(ChannelError::TestFailed(row.answer.unwrap_or_default())),
                None => return Err(ChannelError::NotFound(id)),
            }
        }
    }
}
