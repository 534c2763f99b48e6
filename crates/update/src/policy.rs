//! Update policies: what may happen to which containers, and who is told.

use std::collections::BTreeMap;

use muster_alert::Schedule;
use muster_alert::mute::Cron;
use muster_image::{Requirement, RequirementError, matches_wildcard, whole};
use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::field::Problems;
use crate::label::age_ms;
use crate::{Container, FieldProblem, Limit};

/// How long an `update_schedule` lets updates begin, ms.
const SCHEDULE_OPEN_MS: i64 = 3_600_000;
/// Most entries of a list.
const ENTRIES_MAX: usize = 100;

/// What happens by itself, from least to most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Nothing: somebody approves, or starts it.
    #[default]
    Manual,
    /// People are told; somebody approves, or starts it.
    Notify,
    /// What is approved is done when its window or schedule says.
    Scheduled,
    /// It is done without being asked, in its window if there is one.
    Automatic,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::Manual, Self::Notify, Self::Scheduled, Self::Automatic];

    /// The word in JSON and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Notify => "notify",
            Self::Scheduled => "scheduled",
            Self::Automatic => "automatic",
        }
    }

    /// The mode of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == word)
    }
}

/// How narrow a policy is, from widest to narrowest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every container.
    #[default]
    Global,
    /// Those of a server.
    #[serde(alias = "host")]
    Server,
    /// Those whose image matches a pattern.
    Image,
    /// Those with labels.
    Label,
    /// One container.
    Container,
}

/// What labels of containers may do to a policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelPower {
    /// They mean nothing.
    Ignored,
    /// They only make it narrower.
    #[default]
    Narrow,
    /// They may also make it wider.
    Any,
}

/// A policy as it is sent and shown.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyBody {
    /// What people call it.
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Of which containers it speaks.
    pub scope: Scope,
    /// The server, with the scope `server`; with others a further condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_id: Option<i64>,
    /// The container, with the scope `container`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_id: Option<i64>,
    /// A regular expression that the whole image reference matches, with the scope `image`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pattern: Option<String>,
    /// Labels that the container has, with the scope `label`; a value of `*` takes any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<BTreeMap<String, String>>,
    /// What happens by itself; `manual` if absent.
    pub mode: Mode,
    /// Whether nobody needs to approve.
    pub auto_approve: bool,
    /// Which tags are wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_versions: Option<String>,
    /// How far updates go; `digest` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// Tags that are not wanted, with `*` for anything.
    pub exclude_versions: Vec<String>,
    /// How long an image must have been known, such as `3d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_age: Option<String>,
    /// The window in which it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance_window_id: Option<i64>,
    /// A cron expression; from each time it names, updates begin for an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_schedule: Option<String>,
    /// Whose clock `update_schedule` goes by; UTC if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Whether people are told of anything; yes if absent. The others below say of what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify_on_update: Option<bool>,
    /// Whether they are told of failures; yes if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify_on_failure: Option<bool>,
    /// Whether they are told that there is something new; if absent, yes in the mode `notify`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify_on_available: Option<bool>,
    /// Whether they are told of each beginning; no if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify_on_start: Option<bool>,
    /// Whether they are told of successes; yes if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify_on_success: Option<bool>,
    /// Numbers of channels; every one that is enabled if empty.
    pub notification_channels: Vec<i64>,
    /// Which policy decides when several take a container: the highest; 100 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// Whether it counts; yes if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Whether databases may go to another major version.
    pub allow_major_databases: bool,
    /// What labels of containers may do.
    pub labels: LabelPower,
}

/// A policy.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Its number; 0 until it is stored.
    pub id: i64,
    /// As it was sent.
    pub body: PolicyBody,
    pattern: Option<Regex>,
    pub(crate) versions: Option<Requirement>,
    /// How long an image must have been known, in milliseconds.
    pub min_age_ms: Option<i64>,
    pub(crate) schedule: Option<Schedule>,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// Every problem with the field it is of.
    pub fn read(body: PolicyBody) -> Result<Self, Vec<FieldProblem>> {
        let mut problems = Problems::default();
        problems.text("name", &body.name, 200);
        if let Some(text) = &body.description {
            problems.text("description", text, 2_000);
        }
        check_scope(&body, &mut problems);
        problems.texts("exclude_versions", &body.exclude_versions, ENTRIES_MAX);
        if ENTRIES_MAX < body.notification_channels.len() {
            problems.note(
                "notification_channels",
                format!("at most {ENTRIES_MAX} entries are taken"),
            );
        }
        if body
            .priority
            .is_some_and(|priority| !(-1_000_000..=1_000_000).contains(&priority))
        {
            problems.note("priority", "must be from -1000000 to 1000000");
        }
        let pattern = body.image_pattern.as_deref().and_then(|text| {
            whole(text)
                .map_err(|error| problems.note("image_pattern", error.to_string()))
                .ok()
        });
        let versions = body.allowed_versions.as_deref().and_then(|text| {
            text.parse()
                .map_err(|error: RequirementError| problems.note("allowed_versions", error.to_string()))
                .ok()
        });
        let min_age_ms = body.min_age.as_deref().and_then(|text| {
            let read = age_ms(text);
            if read.is_none() {
                problems.note(
                    "min_age",
                    "a duration such as 12h or 3d, at most 366d, is expected",
                );
            }
            read
        });
        let schedule = read_schedule(&body, &mut problems);
        if body.mode == Mode::Scheduled
            && body.update_schedule.is_none()
            && body.maintenance_window_id.is_none()
        {
            problems.note(
                "mode",
                "scheduled needs a maintenance_window_id or an update_schedule: else it is automatic or manual that is \
                 meant",
            );
        }
        problems.finish(Some(Self {
            id: 0,
            body,
            pattern,
            versions,
            min_age_ms,
            schedule,
        }))
    }

    /// Whether it counts.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.body.enabled.unwrap_or(true)
    }

    /// How far updates go.
    #[must_use]
    pub fn limit(&self) -> Limit {
        self.body.limit.unwrap_or(Limit::Digest)
    }

    /// What decides between several.
    #[must_use]
    pub fn priority(&self) -> i64 {
        self.body.priority.unwrap_or(100)
    }

    /// Whether people are told of something that happens: `available`, `start`, `success` or `failure`.
    #[must_use]
    pub fn tells_of(&self, what: &str) -> bool {
        let body = &self.body;
        body.notify_on_update.unwrap_or(true)
            && match what {
                "available" => body.notify_on_available.unwrap_or(body.mode == Mode::Notify),
                "start" => body.notify_on_start.unwrap_or(false),
                "success" => body.notify_on_success.unwrap_or(true),
                _ => body.notify_on_failure.unwrap_or(true),
            }
    }

    /// Whether it speaks of a container.
    #[must_use]
    pub fn takes(&self, container: &Container) -> bool {
        let body = &self.body;
        let of_server = body.server_id.is_none_or(|id| id == container.server);
        let of_container = body.container_id.is_none_or(|id| id == container.id);
        let of_image = self
            .pattern
            .as_ref()
            .is_none_or(|pattern| pattern.is_match(&container.image));
        let of_labels = body.label_selector.as_ref().is_none_or(|wanted| {
            wanted.iter().all(|(name, wanted)| {
                let found = container.labels.get(name);
                found.is_some_and(|found| matches_wildcard(wanted, found))
            })
        });
        self.is_enabled() && of_server && of_container && of_image && of_labels
    }

    /// Whether a tag is excluded, and by which entry.
    pub(crate) fn excludes(&self, tag: &str) -> Option<&str> {
        let mut entries = self.body.exclude_versions.iter();
        entries
            .find(|entry| matches_wildcard(entry, tag))
            .map(String::as_str)
    }
}

fn check_scope(body: &PolicyBody, problems: &mut Problems) {
    let needed = match body.scope {
        Scope::Global => None,
        Scope::Server => body.server_id.is_none().then_some("server_id"),
        Scope::Image => body.image_pattern.is_none().then_some("image_pattern"),
        Scope::Label => {
            let names_some = body
                .label_selector
                .as_ref()
                .is_some_and(|labels| !labels.is_empty());
            (!names_some).then_some("label_selector")
        }
        Scope::Container => body.container_id.is_none().then_some("container_id"),
    };
    if let Some(field) = needed {
        problems.note(field, "is required with this scope");
    }
    if body.scope == Scope::Global
        && (body.server_id.is_some()
            || body.container_id.is_some()
            || body.image_pattern.is_some()
            || body.label_selector.is_some())
    {
        problems.note(
            "scope",
            "is global, and something narrower is named: say which is meant",
        );
    }
    for (field, id) in [("server_id", body.server_id), ("container_id", body.container_id)] {
        if id.is_some_and(|id| id < 1) {
            problems.note(field, "must be a number that is there");
        }
    }
    if let Some(labels) = &body.label_selector {
        let is_long = |text: &String| 200 < text.len();
        if ENTRIES_MAX < labels.len() || labels.iter().any(|(name, value)| is_long(name) || is_long(value)) {
            problems.note("label_selector", "at most 100 labels of 200 bytes are taken");
        }
    }
}

fn read_schedule(body: &PolicyBody, problems: &mut Problems) -> Option<Schedule> {
    let zone = match body.timezone.as_deref() {
        None => jiff::tz::TimeZone::UTC,
        Some(name) => match jiff::tz::TimeZone::get(name) {
            Ok(zone) if zone.iana_name().is_some() => zone,
            _ => {
                problems.note(
                    "timezone",
                    "no such time zone is known here; one such as Europe/Berlin is expected",
                );
                return None;
            }
        },
    };
    let expression = body.update_schedule.as_deref()?;
    match Cron::new(expression, SCHEDULE_OPEN_MS, zone) {
        Ok(cron) => Some(Schedule::Cron(cron)),
        Err(message) => {
            problems.note("update_schedule", message);
            None
        }
    }
}
