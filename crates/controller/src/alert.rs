//! Alerts: the engine, what it is told, and what it wants kept.
//!
//! One task owns the engine (`judge`); everybody else asks it through [`Alerts`]. Reports come from the last of the
//! intake's consumers, once their resources have ids; how servers are comes every few seconds; what people want comes
//! from the API. All that a step changes is written in one transaction, with how far the intake was read, before
//! anything else is judged: a crash loses nothing and doubles nothing. Must not know HTTP, gRPC or tables.

mod consumer;
mod facts;
mod hearing;
mod judge;
mod lateness;
mod rehearsal;
mod series;

use std::sync::Arc;

use muster_alert::engine::PersonError;
use muster_alert::{Alert, FieldProblem, Rule, rule};
use muster_base::id::{ResourceId, ServerId};
use muster_base::shutdown::CancellationToken;
use muster_model::{Labels, ResourceKind};
use thiserror::Error;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;

pub use self::consumer::AlertsConsumer;
pub(crate) use self::rehearsal::{OVER_MAX_MS, Rehearsal, rehearse};
use crate::app::series::SeriesError;
use crate::app::{App, AppError};
use crate::intake::{Accepted, Intake, IntakeError};
use crate::store::{MuteRow, RuleRow, StoreError};

/// Name of the consumer that judges, in the table of positions.
pub const ALERTS_CONSUMER: &str = "alerts";
/// Most rules.
pub const RULES_MAX: usize = 1_000;
/// Most silences and windows.
pub const MUTES_MAX: usize = 1_000;
/// Most changes that wait for whoever follows them.
const CHANGED_MAX: usize = 4_096;
/// Most requests that wait for the engine.
const ASKED_MAX: usize = 256;

/// Why something was not done.
#[derive(Debug, Error)]
pub enum AlertError {
    /// There is no such thing.
    #[error("there is no {what} {id}")]
    NotFound {
        /// The word for the thing.
        what: &'static str,
        /// The number asked for.
        id: i64,
    },
    /// What was sent is not what is expected.
    #[error("{} fields cannot be taken", .0.len())]
    Invalid(Vec<FieldProblem>),
    /// The alert is not in a state for this.
    #[error(transparent)]
    Person(#[from] PersonError),
    /// There are as many as there may be.
    #[error("there are {0} of them, more are not taken")]
    TooMany(usize),
    /// It was decided, and could not be written yet; it is tried again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A use-case failed.
    #[error(transparent)]
    App(#[from] AppError),
    /// The sample store was not read.
    #[error(transparent)]
    Series(#[from] SeriesError),
    /// The log of reports failed.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The controller ends.
    #[error("the controller ends")]
    Ended,
}

/// A rule with what is known of it.
#[derive(Debug, Clone)]
pub struct KeptRule {
    /// The rule.
    pub rule: Rule,
    /// Which of the rules that come along it is.
    pub default_key: Option<String>,
    /// When it was made, Unix ms.
    pub created_ms: i64,
    /// When it was changed last, Unix ms.
    pub updated_ms: i64,
    /// Who changed it last.
    pub updated_by: String,
}

/// A number that the controller itself knows, as rules see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The server it is of.
    pub server: ServerId,
    /// The resource it is of; the server's own number for what is the server's.
    pub resource: ResourceId,
    /// What that is.
    pub kind: ResourceKind,
    /// Name of the metric.
    pub name: &'static str,
    /// Its labels.
    pub labels: Labels,
    /// How often it is told, ms.
    pub interval_ms: u32,
    /// The number, or `STALE_NAN` when there is none any more.
    pub value: f64,
}

/// What a person does to an alert.
#[derive(Debug, Clone)]
pub enum Deed {
    /// They know.
    Acknowledge,
    /// It is over.
    Resolve,
    /// No reminders until then, Unix ms; `None` ends that.
    Snooze(Option<i64>),
}

type Reply<T> = oneshot::Sender<Result<T, AlertError>>;

enum Ask {
    Judge(Vec<Arc<Accepted>>, Reply<()>),
    Pass(i64, Reply<()>),
    Hear(Vec<Told>, Reply<()>),
    Rules(Reply<Vec<KeptRule>>),
    PutRule {
        id: Option<i64>,
        rule: Box<Rule>,
        by: String,
        reply: Reply<KeptRule>,
    },
    ImportRules {
        rules: Vec<Rule>,
        by: String,
        reply: Reply<Vec<KeptRule>>,
    },
    DeleteRule(i64, Reply<()>),
    Deed {
        alert: i64,
        deed: Deed,
        by: String,
        note: Option<String>,
        reply: Reply<()>,
    },
    MutesChanged(Reply<()>),
    Counts(Reply<muster_alert::engine::Counts>),
}

/// The way to the engine; clones share it.
#[derive(Clone)]
pub struct Alerts {
    asks: mpsc::Sender<Ask>,
    changed: broadcast::Sender<Arc<Alert>>,
    app: Arc<App>,
}

/// The task that owns the engine.
pub struct Running {
    task: JoinHandle<()>,
}

impl Running {
    /// Waits until it has ended, which it does soon after its token is cancelled.
    pub async fn ended(self) {
        if let Err(error) = self.task.await {
            tracing::error!(error = %error, "the judging of alerts did not end in order");
        }
    }
}

impl Alerts {
    /// Starts judging from what is kept. Rules that come along and are not there yet are put there.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn start(
        app: Arc<App>,
        intake: Intake,
        stop: CancellationToken,
    ) -> Result<(Self, Running), AlertError> {
        let (asks, asked) = mpsc::channel(ASKED_MAX);
        let (changed, _) = broadcast::channel(CHANGED_MAX);
        let judge = judge::Judge::boot(Arc::clone(&app), intake, changed.clone()).await?;
        let task = tokio::spawn(judge.run(asked, stop));
        Ok((Self { asks, changed, app }, Running { task }))
    }

    /// Alerts from now on as they are after each change that was kept. Whoever is more than some thousand behind
    /// misses the oldest, and is told so.
    #[must_use]
    pub fn changed(&self) -> broadcast::Receiver<Arc<Alert>> {
        self.changed.subscribe()
    }

    async fn ask<T>(&self, ask: impl FnOnce(Reply<T>) -> Ask) -> Result<T, AlertError> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(ask(reply)).await.map_err(|_| AlertError::Ended)?;
        answer.await.map_err(|_| AlertError::Ended)?
    }

    pub(crate) async fn judge(&self, records: Vec<Arc<Accepted>>) -> Result<(), AlertError> {
        self.ask(|reply| Ask::Judge(records, reply)).await
    }

    pub(crate) async fn pass(&self, position: i64) -> Result<(), AlertError> {
        self.ask(|reply| Ask::Pass(position, reply)).await
    }

    /// Judges what the controller itself knows now. What is of a resource that is not there is passed over.
    ///
    /// # Errors
    /// [`AlertError::Ended`] or a failure of the database.
    pub async fn hear(&self, told: Vec<Told>) -> Result<(), AlertError> {
        self.ask(|reply| Ask::Hear(told, reply)).await
    }

    /// The rules, by number.
    ///
    /// # Errors
    /// [`AlertError::Ended`].
    pub async fn rules(&self) -> Result<Vec<KeptRule>, AlertError> {
        self.ask(Ask::Rules).await
    }

    /// One rule.
    ///
    /// # Errors
    /// [`AlertError::NotFound`].
    pub async fn rule(&self, id: i64) -> Result<KeptRule, AlertError> {
        let rules = self.rules().await?;
        rules
            .into_iter()
            .find(|kept| kept.rule.id == id)
            .ok_or(AlertError::NotFound { what: "rule", id })
    }

    /// Keeps a new rule.
    ///
    /// # Errors
    /// [`AlertError::TooMany`] or a failure of the database.
    pub async fn create_rule(&self, rule: Rule, by: &str) -> Result<KeptRule, AlertError> {
        self.put_rule(None, rule, by).await
    }

    /// Puts another rule in the place of one.
    ///
    /// # Errors
    /// [`AlertError::NotFound`] or a failure of the database.
    pub async fn replace_rule(&self, id: i64, rule: Rule, by: &str) -> Result<KeptRule, AlertError> {
        self.put_rule(Some(id), rule, by).await
    }

    async fn put_rule(&self, id: Option<i64>, rule: Rule, by: &str) -> Result<KeptRule, AlertError> {
        let by = by.to_owned();
        self.ask(|reply| Ask::PutRule {
            id,
            rule: Box::new(rule),
            by,
            reply,
        })
        .await
    }

    /// Keeps rules, all of them or none. One whose name is there already takes the place of the one that has it; of
    /// several with one name each takes another place.
    ///
    /// # Errors
    /// [`AlertError::TooMany`] or a failure of the database.
    pub async fn import_rules(&self, rules: Vec<Rule>, by: &str) -> Result<Vec<KeptRule>, AlertError> {
        let by = by.to_owned();
        self.ask(|reply| Ask::ImportRules { rules, by, reply }).await
    }

    /// Changes fields of a rule; what is not named stays.
    ///
    /// # Errors
    /// [`AlertError::NotFound`], [`AlertError::Invalid`] or a failure of the database.
    pub async fn patch_rule(
        &self,
        id: i64,
        changes: serde_json::Value,
        by: &str,
    ) -> Result<KeptRule, AlertError> {
        let rule = self.changed_rule(id, changes).await?;
        self.put_rule(Some(id), rule, by).await
    }

    /// A rule as it would be with other fields; what is not named stays. Nothing is kept.
    ///
    /// # Errors
    /// [`AlertError::NotFound`] or [`AlertError::Invalid`].
    pub async fn changed_rule(&self, id: i64, changes: serde_json::Value) -> Result<Rule, AlertError> {
        let kept = self.rule(id).await?;
        rule::read(patched(kept.rule.to_json(), changes)?).map_err(AlertError::Invalid)
    }

    /// Deletes a rule; its alerts end.
    ///
    /// # Errors
    /// [`AlertError::NotFound`] or a failure of the database.
    pub async fn delete_rule(&self, id: i64) -> Result<(), AlertError> {
        self.ask(|reply| Ask::DeleteRule(id, reply)).await
    }

    /// Does to an alert what a person wants.
    ///
    /// # Errors
    /// [`AlertError::NotFound`], [`AlertError::Person`] or a failure of the database.
    pub async fn act(
        &self,
        alert: i64,
        deed: Deed,
        by: &str,
        note: Option<String>,
    ) -> Result<(), AlertError> {
        if self.app.store().alert(alert).await?.is_none() {
            return Err(AlertError::NotFound {
                what: "alert",
                id: alert,
            });
        }
        let by = by.to_owned();
        self.ask(|reply| Ask::Deed {
            alert,
            deed,
            by,
            note,
            reply,
        })
        .await
    }

    /// What could not be judged for want of room.
    ///
    /// # Errors
    /// [`AlertError::Ended`].
    pub async fn counts(&self) -> Result<muster_alert::engine::Counts, AlertError> {
        self.ask(Ask::Counts).await
    }

    /// Every silence and window.
    ///
    /// # Errors
    /// A failure of the database.
    pub(crate) async fn mutes(&self) -> Result<Vec<MuteRow>, AlertError> {
        Ok(self.app.store().mutes().await?)
    }

    /// Keeps a silence or window; with a number it replaces the one that has it.
    ///
    /// # Errors
    /// [`AlertError::Invalid`], [`AlertError::NotFound`], [`AlertError::TooMany`] or a failure of the database.
    pub(crate) async fn put_mute(
        &self,
        id: Option<i64>,
        body: serde_json::Value,
        by: &str,
    ) -> Result<MuteRow, AlertError> {
        let now_ms = self.app.clock().now_ms();
        let mute = muster_alert::mute::read(body, now_ms).map_err(AlertError::Invalid)?;
        let known = self.app.store().mutes().await?;
        let old = match id {
            Some(id) => Some(
                known
                    .iter()
                    .find(|row| row.id == id)
                    .ok_or(AlertError::NotFound { what: "silence", id })?,
            ),
            None if MUTES_MAX <= known.len() => return Err(AlertError::TooMany(MUTES_MAX)),
            None => None,
        };
        let mut row = MuteRow {
            id: id.unwrap_or(0),
            body: mute.to_json(),
            created_ms: old.map_or(now_ms, |old| old.created_ms),
            created_by: old.map_or_else(|| by.to_owned(), |old| old.created_by.clone()),
        };
        row.id = self.app.store().put_mute(row.clone()).await?;
        self.ask(Ask::MutesChanged).await?;
        Ok(row)
    }

    /// Removes a silence or window.
    ///
    /// # Errors
    /// [`AlertError::NotFound`] or a failure of the database.
    pub(crate) async fn delete_mute(&self, id: i64) -> Result<(), AlertError> {
        if !self.app.store().mutes().await?.iter().any(|row| row.id == id) {
            return Err(AlertError::NotFound { what: "silence", id });
        }
        self.app.store().delete_mutes(&[id]).await?;
        self.ask(Ask::MutesChanged).await
    }
}

/// The fields of a rule with changes put over them. Bounds have several names, of which the new ones count.
fn patched(mut body: serde_json::Value, changes: serde_json::Value) -> Result<serde_json::Value, AlertError> {
    let serde_json::Value::Object(changes) = changes else {
        return Err(AlertError::Invalid(vec![FieldProblem {
            field: "body".to_owned(),
            message: "an object with the fields to change is expected".to_owned(),
        }]));
    };
    let same: [&[&str]; 7] = [
        &["threshold", "warning_threshold", "warning"],
        &["critical_threshold", "critical"],
        &["clear_threshold", "clear"],
        &["metric_name", "metric"],
        &["cooldown", "cooldown_minutes"],
        &["channels", "notification_channels"],
        &["runbook", "runbook_url"],
    ];
    for (name, value) in changes {
        if let Some(names) = same.iter().find(|names| names.contains(&name.as_str())) {
            for other in *names {
                body[*other] = serde_json::Value::Null;
            }
        }
        body[name] = value;
    }
    Ok(body)
}

impl KeptRule {
    fn row(&self) -> RuleRow {
        RuleRow {
            id: self.rule.id,
            default_key: self.default_key.clone(),
            body: self.rule.to_json(),
            created_ms: self.created_ms,
            updated_ms: self.updated_ms,
            updated_by: self.updated_by.clone(),
            deleted_ms: None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
