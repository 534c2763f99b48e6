//! An alert: one condition on one thing, from when it held first until it is over.

use std::collections::BTreeMap;
use std::fmt;

use muster_model::{Labels, ResourceKind};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::Severity;

/// Number of an alert.
pub type AlertId = i64;
/// Number of a rule.
pub type RuleId = i64;

/// Where an alert is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// The condition holds, but not for as long as the rule wants.
    Pending,
    /// It holds.
    Active,
    /// It holds, and somebody has said that they know.
    Acknowledged,
    /// It is over.
    Resolved,
}

impl AlertState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Active, Self::Acknowledged, Self::Resolved];

    /// The word used in JSON and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }

    /// The state of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether the alert is active, acknowledged or not.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Active | Self::Acknowledged)
    }
}

impl fmt::Display for AlertState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Why an alert is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The condition does not hold any more.
    Cleared,
    /// A person said so.
    Manual,
    /// What it was about is not there any more: nothing can be said of it.
    Gone,
    /// Nothing was heard of it for a week: nothing can be said of it.
    NoData,
    /// The rule judges something else now.
    RuleChanged,
    /// The rule was deleted or switched off.
    RuleGone,
}

impl End {
    /// Every end.
    pub const ALL: [Self; 6] = [
        Self::Cleared,
        Self::Manual,
        Self::Gone,
        Self::NoData,
        Self::RuleChanged,
        Self::RuleGone,
    ];

    /// The word used in JSON and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cleared => "cleared",
            Self::Manual => "manual",
            Self::Gone => "gone",
            Self::NoData => "no_data",
            Self::RuleChanged => "rule_changed",
            Self::RuleGone => "rule_gone",
        }
    }

    /// What people are told.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Cleared => "The condition does not hold any more.",
            Self::Manual => "A person resolved it.",
            Self::Gone => "It is not there any more, so nothing can be said of it.",
            Self::NoData => "Nothing was heard of it for a week, so nothing can be said of it.",
            Self::RuleChanged => "The rule judges something else now.",
            Self::RuleGone => "The rule was deleted or switched off.",
        }
    }
}

/// That somebody knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who, by the name they logged in with.
    pub by: String,
    /// When, Unix ms.
    pub at_ms: i64,
    /// What they said.
    pub note: Option<String>,
}

/// An alert as it is kept.
///
/// Everything that is needed to go on after a restart is in here; times are Unix ms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Its number.
    pub id: AlertId,
    /// The same for every alert of this rule on this thing; see [`key`].
    pub key: String,
    /// The rule that judges.
    pub rule: RuleId,
    /// Its name when this was written.
    pub rule_name: String,
    /// The server; `None` if it is about several.
    pub server: Option<i64>,
    /// The resource; `None` if it is about several servers. A server is a resource too.
    pub resource: Option<i64>,
    /// What the resource is.
    pub kind: Option<ResourceKind>,
    /// Labels of the series, without those that every series of the metric shares.
    pub labels: BTreeMap<String, String>,
    /// The metric or alias.
    pub metric: String,
    /// Where it is in its life.
    pub state: AlertState,
    /// How bad it is.
    pub severity: Severity,
    /// The number judged last; `None` if there is none.
    pub value: Option<f64>,
    /// The bound it was judged against.
    pub threshold: Option<f64>,
    /// Since when the condition holds.
    pub started_ms: i64,
    /// When it became active.
    pub active_ms: Option<i64>,
    /// When it was over.
    pub ended_ms: Option<i64>,
    /// Why it is over.
    pub end: Option<End>,
    /// Who knows.
    pub acknowledgement: Option<Acknowledgement>,
    /// Who resolved it, if a person did.
    pub resolved_by: Option<String>,
    /// What they said.
    pub resolved_note: Option<String>,
    /// Until when nobody is reminded of it.
    pub snoozed_until_ms: Option<i64>,
    /// Whether what it was judged by came long after it was measured.
    pub is_late: bool,
    /// The alert inside which this one is named instead of sending news of its own.
    pub inside: Option<AlertId>,
    /// How bad it was when people were told last; `None`: they were not told.
    pub told: Option<Severity>,
    /// When they were told last.
    pub told_ms: Option<i64>,
    /// How many pieces of news it has given.
    pub news: u32,
    /// Since when it is clear, while it flaps too much to be believed.
    pub calm_since_ms: Option<i64>,
}

/// What names a thing that a rule judges, the same for ever: rule, server, resource and labels.
#[must_use]
pub fn key(rule: RuleId, server: Option<i64>, resource: Option<i64>, labels: &Labels) -> String {
    let mut hash = Sha256::new();
    hash.update(rule.to_be_bytes());
    hash.update(server.unwrap_or(0).to_be_bytes());
    hash.update(resource.unwrap_or(0).to_be_bytes());
    for (name, value) in labels.iter() {
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name);
        hash.update((value.len() as u64).to_be_bytes());
        hash.update(value);
    }
    let digest = hash.finalize();
    let mut text = String::with_capacity(32);
    for byte in &digest[..16] {
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    text
}
