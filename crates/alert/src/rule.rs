//! Rules: what is judged, of whom, and what is told.
//!
//! A rule is read from JSON (or YAML, which is the same here) with every problem named by its field, and written back
//! as it was understood. What is in a [`Rule`] has been checked: bounds are finite, names are known, patterns compile.

mod labels;
mod metric;
mod read;
mod write;

use muster_model::{Labels, ResourceKind};

pub use labels::LabelMatcher;
pub use metric::{
    CERTIFICATE_REMAINING, CLOCK_SKEW, FACTS, Fact, Formula, Grouping, HEALTH, IS_CONNECTED, Pattern, Plan,
};
pub use read::{read, read_yaml};

use crate::{Levels, RuleId, Severity};

/// How a rule judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleKind {
    /// The number now.
    Threshold,
    /// By how much it grew within a window.
    Growth,
    /// That it is not sent any more.
    Absence,
    /// What it will be when it goes on as it did within a window.
    Forecast,
}

impl RuleKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Threshold, Self::Growth, Self::Absence, Self::Forecast];

    /// The word used in JSON and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Threshold => "threshold",
            Self::Growth => "growth",
            Self::Absence => "absence",
            Self::Forecast => "forecast",
        }
    }

    /// The kind of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Of whom a rule judges; what is empty restricts nothing.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Servers, by number or host name.
    pub servers: Vec<ServerMatch>,
    /// Tags, of which a server has at least one.
    pub tags: Vec<String>,
    /// Resources, by number.
    pub resources: Vec<i64>,
    /// What the labels of a series must be.
    pub labels: Vec<LabelMatcher>,
}

/// Names a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerMatch {
    /// By its number.
    Id(i64),
    /// By its host name; several may have it.
    Name(String),
}

/// A rule: which numbers are judged, by what, and who is told. Everything in it has been checked.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its number; 0 until it is stored.
    pub id: RuleId,
    /// What people call it.
    pub name: String,
    /// What it means, and what to do.
    pub description: String,
    /// Whether it judges at all.
    pub enabled: bool,
    /// How it judges.
    pub kind: RuleKind,
    /// What kind of resource; `None`: any.
    pub resource_kind: Option<ResourceKind>,
    /// Of whom.
    pub scope: Scope,
    /// The metric as it was named.
    pub metric: String,
    /// Which series make it, and how.
    pub plan: Plan,
    /// The bounds. An absence has none.
    pub levels: Levels,
    /// How bad it is, where no bound says so.
    pub severity: Severity,
    /// How long the condition must hold, ms; of an absence, how long nothing must have come.
    pub for_ms: i64,
    /// What growth and forecast look back on, ms.
    pub window_ms: i64,
    /// How far a forecast looks ahead, ms.
    pub horizon_ms: i64,
    /// A forecast counts only while the number itself is past this.
    pub only_past: Option<f64>,
    /// How long after one piece of news no next alert of the same thing is told, ms.
    pub cooldown_ms: i64,
    /// How often people are reminded of what nobody acknowledged, ms; 0: never.
    pub repeat_ms: i64,
    /// Numbers of the channels; empty: all.
    pub channels: Vec<i64>,
    /// Name of the template for its news.
    pub template: Option<String>,
    /// Where it says what to do, a URL.
    pub runbook: Option<String>,
    /// Whether alerts of what rests on the resource are named inside this rule's alert.
    pub covers: bool,
}

/// Everything of a series that a rule looks at.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Number of its server.
    pub server: i64,
    /// Host name of its server.
    pub server_name: &'a str,
    /// Tags of its server.
    pub tags: &'a [String],
    /// Number of its resource.
    pub resource: i64,
    /// What its resource is.
    pub kind: ResourceKind,
    /// Name of the metric.
    pub name: &'a str,
    /// Its labels.
    pub labels: &'a Labels,
    /// Whether it is one of [`FACTS`] and no series of an agent.
    pub is_fact: bool,
}

impl Rule {
    /// Which part of the rule's plan the series is, if the rule judges it.
    #[must_use]
    pub fn role(&self, candidate: &Candidate<'_>) -> Option<usize> {
        let role = self.plan.role(candidate)?;
        (self.is_about(candidate)
            && self
                .scope
                .labels
                .iter()
                .all(|matcher| matcher.matches(candidate.labels)))
        .then_some(role)
    }

    /// Whether server and resource are in scope.
    #[must_use]
    pub fn is_about(&self, candidate: &Candidate<'_>) -> bool {
        let scope = &self.scope;
        let is_kind = match self.resource_kind {
            None => true,
            // What a server has is the server's, but the health of a disk is not.
            Some(ResourceKind::Server) => !self.plan.is_fact || candidate.kind == ResourceKind::Server,
            Some(kind) => kind == candidate.kind,
        };
        let is_server = scope.servers.is_empty()
            || scope.servers.iter().any(|server| match server {
                ServerMatch::Id(id) => *id == candidate.server,
                ServerMatch::Name(name) => name == candidate.server_name,
            });
        let is_tagged = scope.tags.is_empty() || scope.tags.iter().any(|tag| candidate.tags.contains(tag));
        let is_resource = scope.resources.is_empty() || scope.resources.contains(&candidate.resource);
        is_kind && is_server && is_tagged && is_resource
    }

    /// Whether the rule judges this metric and no other.
    #[must_use]
    pub fn metric_is(&self, metric: &str) -> bool {
        self.plan.metrics().all(|name| name == metric)
    }

    /// How bad it is when nothing but the rule itself says so: the least of its severities.
    #[must_use]
    pub fn least_severity(&self) -> Severity {
        match (self.levels.lower, self.levels.critical) {
            (Some((severity, _)), _) => severity,
            (None, Some(_)) => Severity::Critical,
            (None, None) => self.severity,
        }
    }
}
