//! Delivering news: takes what waits in the state database, tells channels, and writes down what became of it.
//!
//! What is sent is written down after the other side has answered. Whoever kills the controller between the two makes
//! it send the same once more, with the same id, so that the other side can tell; nothing is lost. One message at a
//! time is on its way to a channel, so that what is told of an alert arrives in order; channels do not wait for each
//! other.
//!
//! When a channel may be sent to is decided by [`muster_notify::policy`]; this module brings rows and time to it.

mod heartbeat;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use muster_alert::{Notification, NotificationKind, Severity};
use muster_base::ErrorChain;
use muster_base::shutdown::CancellationToken;
use muster_notify::policy::{Fate, Flow, Plan, Policy, Waiting};
use muster_notify::{Attempt, Channel, Courier, Outcome};
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};

pub use self::heartbeat::spawn_heartbeat;
use crate::app::App;
use crate::store::deliveries::{DeliveryState, Settled, WaitingRow};
use crate::store::{ChannelRow, StoreError};

/// How often it is looked for work that nobody announced.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How much of what waits for a channel is looked at.
const LOOKED_AT: u64 = 1_000;

/// Starts delivering, until `stop`; what is under way then is finished. What nobody waits for to be written down is
/// sent again after the next start.
#[must_use]
pub fn spawn(app: Arc<App>, courier: Courier, stop: CancellationToken) -> JoinHandle<()> {
    let worker = Worker {
        app,
        courier,
        lines: HashMap::new(),
        under_way: JoinSet::new(),
        channel_of: HashMap::new(),
    };
    tokio::spawn(worker.run(stop))
}

struct Worker {
    app: Arc<App>,
    courier: Courier,
    /// By id of the channel. Holds only channels that there are.
    lines: HashMap<i64, Line>,
    under_way: JoinSet<Ended>,
    /// Which channel each task is for that is under way.
    channel_of: HashMap<Id, i64>,
}

/// What is known of a channel between two messages.
struct Line {
    /// `None` if it cannot be used, which was said once.
    channel: Option<Arc<Channel>>,
    policy: Policy,
    flow: Flow,
    /// When the channel was changed that this was built from, Unix ms.
    changed_ms: i64,
    is_busy: bool,
}

/// A message that was answered, or not.
struct Ended {
    channel_id: i64,
    sent: Vec<(Waiting, bool)>,
    attempt: Attempt,
}

impl Worker {
    async fn run(mut self, stop: CancellationToken) {
        let wake = Arc::clone(self.app.store().outbox_wake());
        loop {
            let wait = match self.look().await {
                Ok(wait) => wait.clamp(Duration::from_millis(1), LOOK_EVERY),
                Err(error) => {
                    tracing::warn!(error = %ErrorChain(&error), "waiting news cannot be read, will look again");
                    LOOK_EVERY
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = wake.notified() => {}
                Some(ended) = self.under_way.join_next_with_id() => self.ended(ended).await,
                () = tokio::time::sleep(wait) => {}
            }
        }
        // What is under way would else be sent again after the next start.
        while let Some(ended) = self.under_way.join_next_with_id().await {
            self.ended(ended).await;
        }
    }

    /// Sends whatever may be sent; returns after how long to look again.
    async fn look(&mut self) -> Result<Duration, StoreError> {
        let rows = self.app.store().channels().await?;
        self.lines.retain(|id, _| rows.iter().any(|row| row.id == *id));
        let mut next = LOOK_EVERY;
        for row in rows.iter().filter(|row| row.enabled) {
            self.refresh(row);
            if let Some(wait) = self.send(row.id).await? {
                next = next.min(wait);
            }
        }
        Ok(next)
    }

    /// Builds what is known of a channel if it is new or was changed.
    fn refresh(&mut self, row: &ChannelRow) {
        let now_ms = self.app.clock().now_ms();
        let known = self.lines.get(&row.id);
        if known.is_some_and(|line| line.changed_ms == row.changed_ms) {
            return;
        }
        let is_busy = known.is_some_and(|line| line.is_busy);
        let channel = match self.app.build_channel(row) {
            Ok(channel) => Some(Arc::new(channel)),
            Err(error) => {
                tracing::error!(
                    channel = row.id,
                    error = %ErrorChain(&error),
                    "channel cannot be used, its news wait until it is changed"
                );
                None
            }
        };
        let policy = channel.as_ref().map_or(
            Policy {
                merges: false,
                digest: None,
                per_minute: 1,
            },
            |channel| channel.policy(),
        );
        let line = Line {
            channel,
            policy,
            flow: Flow::new(&policy, now_ms),
            changed_ms: row.changed_ms,
            is_busy,
        };
        self.lines.insert(row.id, line);
    }

    /// Sends the next message of a channel if there is one; returns when to look again.
    async fn send(&mut self, channel_id: i64) -> Result<Option<Duration>, StoreError> {
        let now_ms = self.app.clock().now_ms();
        let Some(line) = self.lines.get_mut(&channel_id) else {
            return Ok(None);
        };
        let Some(channel) = line.channel.as_ref().filter(|_| !line.is_busy) else {
            return Ok(None);
        };
        let rows = self.app.store().waiting_news(channel_id, LOOKED_AT).await?;
        let (wanted, unwanted): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| channel.wants(&row.notification));
        if !unwanted.is_empty() {
            self.app.store().settle_news(&skipped(&unwanted), now_ms).await?;
        }
        let waiting: Vec<Waiting> = wanted.iter().map(waiting).collect();
        match line.flow.plan(&line.policy, &waiting, now_ms) {
            Plan::Nothing => Ok(None),
            Plan::Wait(wait) => Ok(Some(wait)),
            Plan::Send(chosen) => {
                line.is_busy = true;
                let channel = Arc::clone(channel);
                let courier = self.courier.clone();
                let task = self
                    .under_way
                    .spawn(deliver(channel, courier, channel_id, chosen, wanted, now_ms));
                self.channel_of.insert(task.id(), channel_id);
                Ok(None)
            }
        }
    }

    /// Writes down what became of a message.
    async fn ended(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let task = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let channel_id = self.channel_of.remove(&task).unwrap_or_default();
        let line = self.lines.get_mut(&channel_id);
        let ended = match ended {
            Ok((_, ended)) => ended,
            Err(error) => {
                // As if the controller had been killed: what was sent is sent again, at most a few times.
                tracing::error!(channel = channel_id, error = %error, "delivering ended in a panic");
                Ended {
                    channel_id,
                    sent: Vec::new(),
                    attempt: Attempt::unreachable("a defect of Muster's"),
                }
            }
        };
        let now_ms = self.app.clock().now_ms();
        let sent: Vec<Waiting> = ended.sent.iter().map(|(news, _)| *news).collect();
        let fates = match line {
            Some(line) => {
                line.is_busy = false;
                line.flow
                    .settle(&sent, ended.attempt.outcome, now_ms, fastrand::f64())
            }
            // The channel is gone, and with it all that waited.
            None => Vec::new(),
        };
        tell(&ended);
        let settled: Vec<Settled> = fates
            .into_iter()
            .map(|(id, fate)| {
                let is_test = ended.sent.iter().any(|(news, is_test)| news.id == id && *is_test);
                settled(id, fate, is_test, &ended.attempt, now_ms)
            })
            .collect();
        // News that were delivered must be written down, or they are sent again: patience pays.
        let mut tries = 0;
        while let Err(error) = self.app.store().settle_news(&settled, now_ms).await {
            tries += 1;
            tracing::warn!(error = %ErrorChain(&error), tries, "what became of news cannot be written down");
            if 5 <= tries {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

async fn deliver(
    channel: Arc<Channel>,
    courier: Courier,
    channel_id: i64,
    chosen: Vec<Waiting>,
    rows: Vec<WaitingRow>,
    now_ms: i64,
) -> Ended {
    let of = |id| rows.iter().find(|row| row.id == id);
    let news: Vec<Notification> = chosen
        .iter()
        .filter_map(|chosen| of(chosen.id))
        .map(|row| row.notification.clone())
        .collect();
    let id = news
        .first()
        .map_or_else(String::new, |first| format!("{}.c{channel_id}", first.id));
    let attempt = channel.deliver(&courier, &id, &news, now_ms).await;
    let sent = chosen
        .into_iter()
        .map(|waiting| {
            let is_test = of(waiting.id).is_some_and(|row| row.notification.kind == NotificationKind::Test);
            (waiting, is_test)
        })
        .collect();
    Ended {
        channel_id,
        sent,
        attempt,
    }
}

/// A row, as the policy sees it.
fn waiting(row: &WaitingRow) -> Waiting {
    let news = &row.notification;
    let is_test = news.kind == NotificationKind::Test;
    Waiting {
        id: row.id,
        // A test is about no alert: it waits for nothing.
        lane: if is_test { -row.id } else { news.alert.id },
        is_urgent: news.severity == Severity::Critical,
        is_alone: is_test,
        created_ms: row.created_ms,
        due_ms: row.due_ms,
        attempts: row.attempts,
    }
}

fn skipped(rows: &[WaitingRow]) -> Vec<Settled> {
    rows.iter()
        .map(|row| Settled {
            id: row.id,
            state: DeliveryState::Skipped,
            due_ms: row.due_ms,
            answer: "the channel's filter does not want it".to_owned(),
            is_attempt: false,
        })
        .collect()
}

/// What is written down. Whoever tries a channel is told at once; trying again for days is for alerts.
fn settled(id: i64, fate: Fate, is_test: bool, attempt: &Attempt, now_ms: i64) -> Settled {
    let (state, due_ms) = match fate {
        Fate::Done => (DeliveryState::Sent, now_ms),
        Fate::Retry(due_ms) if !is_test => (DeliveryState::Waiting, due_ms),
        Fate::Retry(_) | Fate::Dead => (DeliveryState::Dead, now_ms),
    };
    Settled {
        id,
        state,
        due_ms,
        answer: attempt.answer.clone(),
        is_attempt: true,
    }
}

fn tell(ended: &Ended) {
    let (channel, news, answer) = (ended.channel_id, ended.sent.len(), ended.attempt.answer.as_str());
    match ended.attempt.outcome {
        Outcome::Delivered => tracing::info!(channel, news, answer, "news delivered"),
        Outcome::Temporary { .. } => {
            tracing::warn!(channel, news, answer, "news not delivered, will try again");
        }
        Outcome::Permanent => tracing::error!(channel, news, answer, "news refused by the other side"),
    }
}

#[cfg(test)]
mod tests;
