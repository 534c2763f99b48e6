//! The form of a policy: its fields, and how they become a policy and come from one.

use std::collections::BTreeMap;

use muster_update::{LabelPower, Limit, Mode, PolicyBody, Scope};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::app::{PAGE_LIMIT_MAX, PageRequest};
use crate::http::HttpState;
use crate::http::error::Problem;
use crate::http::page::containers;
use crate::http::page::form::{Field, Form, Refused, Sent, Wrong, choices, given, numbered};

/// What can be chosen from.
pub(super) struct Choices {
    servers: Vec<(i64, String)>,
    windows: Vec<(i64, String)>,
    channels: Vec<(i64, String)>,
}

impl Choices {
    /// Reads them.
    pub(super) async fn load(state: &HttpState) -> Result<Self, Problem> {
        let names = state.app.server_names().await?;
        let windows = state.updates.kept_windows().await?;
        let all = PageRequest {
            limit: Some(PAGE_LIMIT_MAX),
            cursor: None,
        };
        let channels = state.app.channels(all).await?.items;
        let windows = windows.into_iter().map(|kept| kept.document);
        Ok(Self {
            servers: containers::servers(&names),
            windows: windows.map(|window| (window.id, window.body.name)).collect(),
            channels: channels
                .into_iter()
                .map(|channel| (channel.id, channel.name))
                .collect(),
        })
    }
}

/// The fields.
pub(super) fn fields(known: &Choices) -> Form {
    let form = told(when(whom(Form::default(), known), known));
    if known.channels.is_empty() {
        return form;
    }
    let channels = known.channels.iter();
    let channels = channels
        .map(|(id, name)| (id.to_string(), name.clone()))
        .collect();
    form.row(vec![Field::several(
        "notification_channels",
        "Through these channels; every one that is enabled, if none is chosen:",
        channels,
    )])
}

fn whom(form: Form, known: &Choices) -> Form {
    let scopes = [
        ("global", "every container"),
        ("server", "those of a server"),
        ("image", "those of an image"),
        ("label", "those with labels"),
        ("container", "one container"),
    ];
    form.section("Which containers", "").row(vec![
        Field::text("name", "Name", "nginx by night"),
        Field::text("description", "What it is for", ""),
        Field::one("scope", "Scope", choices(&scopes)),
        Field::one("server_id", "Server", numbered("any", &known.servers)),
        Field::text("image_pattern", "Images, a regular expression", "nginx:.*"),
        Field::text("container_id", "Number of the container", ""),
        Field::lines("label_selector", "Labels, one name=value a line"),
        Field::text("priority", "Priority, the highest decides", "100"),
        Field::mark("enabled", "it counts", true),
    ])
}

fn when(form: Form, known: &Choices) -> Form {
    let modes = [
        ("manual", "manual: nothing by itself"),
        ("notify", "notify: people are told"),
        ("scheduled", "scheduled: approved ones, at their time"),
        ("automatic", "automatic: nobody is asked"),
    ];
    let limits = [
        ("", "not said: digest"),
        ("digest", "digest: the same tag, built anew"),
        ("patch", "patch"),
        ("minor", "minor"),
        ("major", "major"),
    ];
    let powers = [
        ("narrow", "make it narrower"),
        ("any", "make it narrower or wider"),
        ("ignored", "mean nothing"),
    ];
    form.section("What happens, how far, and when", "").row(vec![
        Field::one("mode", "Mode", choices(&modes)),
        Field::mark("auto_approve", "nobody needs to approve", false),
        Field::one("limit", "How far", choices(&limits)),
        Field::text("allowed_versions", "Versions that are wanted", ">=1.2, <2"),
        Field::text(
            "exclude_versions",
            "Tags that are not, with commas",
            "*-rc*, latest",
        ),
        Field::text("min_age", "Known for at least", "3d"),
        Field::one(
            "maintenance_window_id",
            "Window",
            numbered("none", &known.windows),
        ),
        Field::text("update_schedule", "Schedule, a cron expression", "0 3 * * TUE"),
        Field::text("timezone", "Time zone of the schedule", "UTC"),
        Field::one("labels", "Labels of containers", choices(&powers)),
        Field::mark(
            "allow_major_databases",
            "databases may go to another major version",
            false,
        ),
    ])
}

fn told(form: Form) -> Form {
    form.section("Who is told of what", "").row(vec![
        Field::mark("notify_on_available", "tell that there is something new", false),
        Field::mark("notify_on_start", "tell of each beginning", false),
        Field::mark("notify_on_success", "tell of each success", true),
        Field::mark("notify_on_failure", "tell of each failure", true),
        Field::mark("notify_on_update", "tell of anything at all", true),
    ])
}

/// What is written in the form of a policy that is there.
pub(super) fn sent(body: &PolicyBody) -> Sent {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let labels = body.label_selector.iter().flatten();
    let labels: Vec<String> = labels.map(|(name, value)| format!("{name}={value}")).collect();
    let sent = Sent::default()
        .with("name", &body.name)
        .with("description", text(&body.description))
        .with("scope", word(body.scope))
        .with_number("server_id", body.server_id)
        .with_number("container_id", body.container_id)
        .with("image_pattern", text(&body.image_pattern))
        .with("label_selector", labels.join("\n"))
        .with("mode", word(body.mode))
        .with("allowed_versions", text(&body.allowed_versions))
        .with("limit", body.limit.map(word).unwrap_or_default())
        .with("exclude_versions", body.exclude_versions.join(", "))
        .with("min_age", text(&body.min_age))
        .with_number("maintenance_window_id", body.maintenance_window_id)
        .with("update_schedule", text(&body.update_schedule))
        .with("timezone", text(&body.timezone))
        .with_number("priority", body.priority)
        .with("labels", word(body.labels))
        .marked("enabled", body.enabled.unwrap_or(true))
        .marked("auto_approve", body.auto_approve)
        .marked("allow_major_databases", body.allow_major_databases)
        .marked(
            "notify_on_available",
            body.notify_on_available.unwrap_or(body.mode == Mode::Notify),
        )
        .marked("notify_on_start", body.notify_on_start.unwrap_or(false))
        .marked("notify_on_success", body.notify_on_success.unwrap_or(true))
        .marked("notify_on_failure", body.notify_on_failure.unwrap_or(true))
        .marked("notify_on_update", body.notify_on_update.unwrap_or(true));
    let channels = body.notification_channels.iter();
    channels.fold(sent, |sent, id| {
        sent.with("notification_channels", id.to_string())
    })
}

/// The policy that is meant. What `old` leaves unsaid stays unsaid where the form says the same.
pub(super) fn body(written: &Sent, old: Option<&PolicyBody>) -> Result<PolicyBody, Refused> {
    let mut wrong = Wrong::default();
    let before = old.map(sent);
    let mark = |name: &str, of: fn(&PolicyBody) -> Option<bool>| {
        let is_on = written.is_on(name);
        match &before {
            Some(before) if before.is_on(name) == is_on => old.and_then(of),
            _ => Some(is_on),
        }
    };
    let excluded = written.text("exclude_versions").split(',');
    let body = PolicyBody {
        name: written.trimmed("name"),
        description: written.given("description"),
        scope: chosen(written, "scope", &mut wrong).unwrap_or(Scope::Global),
        server_id: written.number("server_id", &mut wrong),
        container_id: written.number("container_id", &mut wrong),
        image_pattern: written.given("image_pattern"),
        label_selector: labels(written, &mut wrong),
        mode: chosen(written, "mode", &mut wrong).unwrap_or(Mode::Manual),
        auto_approve: written.is_on("auto_approve"),
        allowed_versions: written.given("allowed_versions"),
        limit: chosen::<Limit>(written, "limit", &mut wrong),
        exclude_versions: excluded.filter_map(given).collect(),
        min_age: written.given("min_age"),
        maintenance_window_id: written.number("maintenance_window_id", &mut wrong),
        update_schedule: written.given("update_schedule"),
        timezone: written.given("timezone"),
        notify_on_update: mark("notify_on_update", |old| old.notify_on_update),
        notify_on_failure: mark("notify_on_failure", |old| old.notify_on_failure),
        notify_on_available: mark("notify_on_available", |old| old.notify_on_available),
        notify_on_start: mark("notify_on_start", |old| old.notify_on_start),
        notify_on_success: mark("notify_on_success", |old| old.notify_on_success),
        notification_channels: written.numbers("notification_channels", &mut wrong),
        priority: written.number("priority", &mut wrong),
        enabled: Some(written.is_on("enabled")),
        allow_major_databases: written.is_on("allow_major_databases"),
        labels: chosen(written, "labels", &mut wrong).unwrap_or(LabelPower::Narrow),
    };
    wrong.unless(body)
}

/// Labels, one a line.
fn labels(sent: &Sent, wrong: &mut Wrong) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for line in sent.text("label_selector").lines().filter_map(given) {
        match line.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                labels.insert(name.trim().to_owned(), value.trim().to_owned());
            }
            _ => wrong.note(
                "label_selector",
                format!("{line:?} is not of the form name=value"),
            ),
        }
    }
    (!labels.is_empty()).then_some(labels)
}

/// The word of one of a closed set.
fn word<T: Serialize>(one: T) -> String {
    match serde_json::to_value(one) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

/// One of a closed set, if a word is given; noted if it is none.
fn chosen<T: DeserializeOwned>(sent: &Sent, name: &str, wrong: &mut Wrong) -> Option<T> {
    let read = serde_json::from_value(json!(sent.given(name)?)).ok();
    if read.is_none() {
        wrong.note(name, "one of the words of the list is needed");
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_nobody_touched_is_kept_as_it_was() {
        let kept = PolicyBody {
            name: "all".to_owned(),
            description: Some("of <b>".to_owned()),
            scope: Scope::Label,
            server_id: Some(3),
            label_selector: Some(
                [
                    ("a".to_owned(), "b=c".to_owned()),
                    ("d".to_owned(), "*".to_owned()),
                ]
                .into(),
            ),
            mode: Mode::Scheduled,
            auto_approve: true,
            allowed_versions: Some(">=1, <2".to_owned()),
            limit: Some(Limit::Minor),
            exclude_versions: vec!["*-rc*".to_owned(), "latest".to_owned()],
            min_age: Some("3d".to_owned()),
            maintenance_window_id: Some(7),
            notify_on_start: Some(true),
            notification_channels: vec![1, 2],
            priority: Some(-5),
            enabled: Some(true),
            labels: LabelPower::Any,
            ..PolicyBody::default()
        };
        assert_eq!(body(&sent(&kept), Some(&kept)).unwrap(), kept);
    }

    #[test]
    fn what_cannot_be_read_is_noted_at_its_field_and_not_taken_for_something_else() {
        let odd = Sent::default()
            .with("name", "x")
            .with("mode", "yolo")
            .with("priority", "high")
            .with("label_selector", "novalue")
            .with("limit", "far")
            .with("notification_channels", "mail");
        let wrong = body(&odd, None).unwrap_err().wrong().unwrap();
        let form = fields(&Choices {
            servers: Vec::new(),
            windows: Vec::new(),
            channels: vec![(1, "mail".to_owned())],
        });
        let drawn = form.draw("/x", &odd, &wrong, true).into_string();
        assert_eq!(drawn.matches("class=\"wrong\"").count(), 5, "{drawn}");
    }
}
