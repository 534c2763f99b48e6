//! News of an alert, as it is handed to whoever delivers it.
//!
//! Complete in itself: a channel needs nothing else to say what happened, where, how bad it is and what to do, so that
//! a notification can wait in a table, survive restarts and be sent again as it was. Its id is made from the alert and
//! what happened to it: handed over twice it is the same notification.

use std::collections::BTreeMap;
use std::fmt;

use muster_model::ResourceKind;
use serde::{Deserialize, Serialize};

use crate::Severity;

/// Most affected resources named in a notification; more are counted in [`Notification::affected_more`].
pub const AFFECTED_MAX: usize = 50;
/// Longest title, in characters.
pub const TITLE_CHARS_MAX: usize = 200;
/// Longest text, in characters.
pub const TEXT_CHARS_MAX: usize = 4_000;

/// What happened to the alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationKind {
    /// It became active.
    Firing,
    /// It is active, and its severity has risen.
    Escalated,
    /// It is still active, and nobody has acknowledged it for the rule's `repeat` time.
    Repeat,
    /// Somebody has acknowledged it.
    Acknowledged,
    /// It is over.
    Resolved,
    /// No alert: somebody tries a channel.
    Test,
}

impl NotificationKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Firing,
        Self::Escalated,
        Self::Repeat,
        Self::Acknowledged,
        Self::Resolved,
        Self::Test,
    ];

    /// The word used in JSON, tables and templates.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Escalated => "escalated",
            Self::Repeat => "repeat",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for NotificationKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The rule that judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRef {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
}

/// The alert the news is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRef {
    /// Its number.
    pub id: i64,
    /// The same for every alert of this rule on this series, restarts and repeats included: what other systems, such
    /// as PagerDuty and Alertmanager, are given to tell that news belongs together. At most 64 characters.
    pub key: String,
}

/// The server it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRef {
    /// Its number.
    pub id: i64,
    /// Its host name.
    pub name: String,
    /// Its tags.
    pub tags: Vec<String>,
}

/// A resource, as it is called when this is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceRef {
    /// Its number.
    pub id: i64,
    /// What it is.
    pub kind: ResourceKind,
    /// Its name, such as `sda` or `/home`.
    pub name: String,
}

/// Somewhere to look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationLink {
    /// What is there.
    pub title: String,
    /// An absolute URL.
    pub url: String,
}

/// News of an alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notification {
    /// Stable: the same news handed over again, after a crash for instance, has the same id. ASCII, at most 64
    /// characters.
    pub id: String,
    /// What happened.
    pub kind: NotificationKind,
    /// The rule that judged.
    pub rule: RuleRef,
    /// The alert.
    pub alert: AlertRef,
    /// The server; `None` if it is about several.
    pub server: Option<ServerRef>,
    /// The resource; `None` if it is about the server itself, or about several servers.
    pub resource: Option<ResourceRef>,
    /// How bad it is; of a resolved alert, how bad it was at last.
    pub severity: Severity,
    /// Which rule and where, on one line without a line end, at most [`TITLE_CHARS_MAX`] characters. How bad it is and
    /// what happened are in fields of their own: whoever words the news says them, once.
    pub title: String,
    /// What it means and what to do, plain text, at most [`TEXT_CHARS_MAX`] characters.
    pub text: String,
    /// The metric or alias that was judged.
    pub metric: String,
    /// The number that was judged last; `None` if there is none, as when a series is absent. Always finite.
    pub value: Option<f64>,
    /// The bound it was judged against, in the same unit. Always finite.
    pub threshold: Option<f64>,
    /// How it was compared, such as `>`; empty if there is nothing to compare.
    pub condition: String,
    /// Unit of value and threshold; empty if they have none.
    pub unit: String,
    /// Since when the condition has held, Unix ms.
    pub started_ms: i64,
    /// When it was over, Unix ms; `None` while it is not.
    pub ended_ms: Option<i64>,
    /// When this was written, Unix ms.
    pub at_ms: i64,
    /// Whether what it was judged by came long after it was measured.
    pub is_late: bool,
    /// Who acknowledged or resolved it, if a person did.
    pub by: Option<String>,
    /// What they said.
    pub note: Option<String>,
    /// What else is affected and sends no news of its own: what rests on a failed resource, or the servers of an alert
    /// of many. At most [`AFFECTED_MAX`].
    pub affected: Vec<ResourceRef>,
    /// How many more are affected than are named.
    pub affected_more: u64,
    /// Where the rule says what to do, an absolute URL.
    pub runbook: Option<String>,
    /// Name of the template that the rule asks for; `None` for the channel's own.
    pub template: Option<String>,
    /// The labels of the series that was judged.
    pub labels: BTreeMap<String, String>,
    /// Where to look.
    pub links: Vec<NotificationLink>,
}
