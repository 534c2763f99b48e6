//! The form of a policy. What is written in it is kept while something is wrong with it.

use std::collections::BTreeMap;

use maud::{Markup, html};
use muster_update::{LabelPower, Limit, Mode, PolicyBody, Scope};
use serde_json::{Value, json};

use super::super::{Field, Wrong, given, number};
use crate::app::PageRequest;
use crate::http::HttpState;
use crate::http::error::Problem;
use crate::http::page::containers;

/// Fields at which something can be wrong.
pub(super) const FIELDS: [&str; 20] = [
    "name",
    "description",
    "scope",
    "server_id",
    "container_id",
    "image_pattern",
    "label_selector",
    "mode",
    "auto_approve",
    "allowed_versions",
    "limit",
    "exclude_versions",
    "min_age",
    "maintenance_window_id",
    "update_schedule",
    "timezone",
    "priority",
    "labels",
    "notification_channels",
    "allow_major_databases",
];
/// Marks of the form: the name, the words, and whether it is on in a new policy.
const MARKS: [(&str, &str, bool); 8] = [
    ("enabled", "it counts", true),
    ("auto_approve", "nobody needs to approve", false),
    (
        "allow_major_databases",
        "databases may go to another major version",
        false,
    ),
    ("notify_on_available", "tell that there is something new", false),
    ("notify_on_start", "tell of each beginning", false),
    ("notify_on_success", "tell of each success", true),
    ("notify_on_failure", "tell of each failure", true),
    ("notify_on_update", "tell of anything at all", true),
];
/// Texts of the form.
const TEXTS: [&str; 17] = [
    "name",
    "description",
    "scope",
    "server_id",
    "container_id",
    "image_pattern",
    "label_selector",
    "mode",
    "allowed_versions",
    "limit",
    "exclude_versions",
    "min_age",
    "maintenance_window_id",
    "update_schedule",
    "timezone",
    "priority",
    "labels",
];
/// Most channels that are taken from a form.
const CHANNELS_MAX: usize = 200;

/// What can be chosen from.
pub(super) struct Choices {
    servers: Vec<(i64, String)>,
    windows: Vec<(i64, String)>,
    channels: Vec<(i64, String)>,
}

impl Choices {
    pub(super) async fn load(state: &HttpState) -> Result<Self, Problem> {
        let names = state.app.server_names().await?;
        let windows = state.updates.kept_windows().await?;
        let all = PageRequest {
            limit: Some(crate::app::PAGE_LIMIT_MAX),
            cursor: None,
        };
        let channels = state.app.channels(all).await?.items;
        Ok(Self {
            servers: containers::servers(&names),
            windows: windows
                .into_iter()
                .map(|kept| (kept.document.id, kept.document.body.name))
                .collect(),
            channels: channels
                .into_iter()
                .map(|channel| (channel.id, channel.name))
                .collect(),
        })
    }
}

/// What is written in the form.
#[derive(Debug, Default)]
pub(super) struct PolicyForm {
    texts: BTreeMap<&'static str, String>,
    marks: Vec<&'static str>,
    channels: Vec<i64>,
}

impl PolicyForm {
    /// Of a policy that is to be made.
    pub(super) fn fresh() -> Self {
        let marks = MARKS.iter().filter(|(.., is_on)| *is_on);
        Self {
            marks: marks.map(|(name, ..)| *name).collect(),
            ..Self::default()
        }
    }

    /// Of a policy that is there.
    pub(super) fn of(body: &PolicyBody) -> Self {
        let known = serde_json::to_value(body).unwrap_or_default();
        let text = |name: &str| match &known[name] {
            Value::String(text) => text.clone(),
            Value::Null | Value::Bool(_) | Value::Object(_) | Value::Array(_) => String::new(),
            number @ Value::Number(_) => number.to_string(),
        };
        let mut texts: BTreeMap<&'static str, String> =
            TEXTS.into_iter().map(|name| (name, text(name))).collect();
        let labels = body.label_selector.iter().flatten();
        let labels: Vec<String> = labels.map(|(name, value)| format!("{name}={value}")).collect();
        texts.insert("label_selector", labels.join("\n"));
        texts.insert("exclude_versions", body.exclude_versions.join(", "));
        let is_on = |name: &str| match name {
            "enabled" => body.enabled.unwrap_or(true),
            "auto_approve" => body.auto_approve,
            "allow_major_databases" => body.allow_major_databases,
            "notify_on_available" => body.notify_on_available.unwrap_or(body.mode == Mode::Notify),
            "notify_on_start" => body.notify_on_start.unwrap_or(false),
            "notify_on_success" => body.notify_on_success.unwrap_or(true),
            "notify_on_failure" => body.notify_on_failure.unwrap_or(true),
            _ => body.notify_on_update.unwrap_or(true),
        };
        Self {
            texts,
            marks: MARKS
                .into_iter()
                .map(|(name, ..)| name)
                .filter(|name| is_on(name))
                .collect(),
            channels: body.notification_channels.clone(),
        }
    }

    /// Reads what a browser sent. A field that there is not is a mistake: it would be lost.
    pub(super) fn read(pairs: &[(String, String)]) -> Result<Self, Problem> {
        let mut form = Self::default();
        for (name, value) in pairs {
            if let Some(known) = TEXTS.into_iter().find(|known| known == name) {
                form.texts.insert(known, value.replace("\r\n", "\n"));
            } else if let Some((known, ..)) = MARKS.into_iter().find(|(known, ..)| known == name) {
                form.marks.push(known);
            } else if name == "notification_channels" && form.channels.len() < CHANNELS_MAX {
                let id = value.parse();
                form.channels
                    .push(id.map_err(|_| Problem::field(name, "the number of a channel is needed"))?);
            } else {
                return Err(Problem::field(name, "there is no such field, or too many of it"));
            }
        }
        Ok(form)
    }

    fn text(&self, name: &str) -> &str {
        self.texts.get(name).map_or("", String::as_str)
    }

    fn is_on(&self, name: &str) -> bool {
        self.marks.contains(&name)
    }

    /// The policy that is meant; what cannot be read is noted. What `old` leaves unsaid stays unsaid where the form says
    /// the same.
    pub(super) fn body(&self, old: Option<&PolicyBody>, wrong: &mut Wrong) -> PolicyBody {
        let word = |name: &str, usual: &str| given(self.text(name)).unwrap_or_else(|| usual.to_owned());
        let label_selector = self.labels(wrong);
        let before = old.map(Self::of);
        let mark = |name: &str, unsaid: Option<bool>| {
            let is_on = self.is_on(name);
            let was_on = before.as_ref().map(|before| before.is_on(name));
            if was_on == Some(is_on) {
                unsaid
            } else {
                Some(is_on)
            }
        };
        let old_of = |of: fn(&PolicyBody) -> Option<bool>| old.and_then(of);
        PolicyBody {
            name: self.text("name").trim().to_owned(),
            description: given(self.text("description")),
            scope: chosen::<Scope>("scope", &word("scope", "global"), wrong),
            server_id: number("server_id", self.text("server_id"), wrong),
            container_id: number("container_id", self.text("container_id"), wrong),
            image_pattern: given(self.text("image_pattern")),
            label_selector,
            mode: chosen::<Mode>("mode", &word("mode", "manual"), wrong),
            auto_approve: self.is_on("auto_approve"),
            allowed_versions: given(self.text("allowed_versions")),
            limit: given(self.text("limit")).and_then(|word| {
                let limit = Limit::ALL.into_iter().find(|limit| limit.as_str() == word);
                if limit.is_none() {
                    wrong.note("limit", "one of the words of the list is needed");
                }
                limit
            }),
            exclude_versions: self
                .text("exclude_versions")
                .split(',')
                .filter_map(given)
                .collect(),
            min_age: given(self.text("min_age")),
            maintenance_window_id: number("maintenance_window_id", self.text("maintenance_window_id"), wrong),
            update_schedule: given(self.text("update_schedule")),
            timezone: given(self.text("timezone")),
            notify_on_update: mark("notify_on_update", old_of(|old| old.notify_on_update)),
            notify_on_failure: mark("notify_on_failure", old_of(|old| old.notify_on_failure)),
            notify_on_available: mark("notify_on_available", old_of(|old| old.notify_on_available)),
            notify_on_start: mark("notify_on_start", old_of(|old| old.notify_on_start)),
            notify_on_success: mark("notify_on_success", old_of(|old| old.notify_on_success)),
            notification_channels: self.channels.clone(),
            priority: number("priority", self.text("priority"), wrong),
            enabled: Some(self.is_on("enabled")),
            allow_major_databases: self.is_on("allow_major_databases"),
            labels: chosen::<LabelPower>("labels", &word("labels", "narrow"), wrong),
        }
    }

    /// Labels, one a line.
    fn labels(&self, wrong: &mut Wrong) -> Option<BTreeMap<String, String>> {
        let mut labels = BTreeMap::new();
        for line in self.text("label_selector").lines().filter_map(given) {
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

    /// Draws the form; for whoever may not change it, so that it only shows.
    pub(super) fn draw(&self, action: &str, choices: &Choices, wrong: &Wrong, may_change: bool) -> Markup {
        html! {
            form method=(if may_change { "post" } else { "get" }) action=(action) {
                fieldset disabled[!may_change] {
                    (self.whom(choices, wrong))
                    (self.how(choices, wrong))
                    (self.told(choices, wrong))
                    @if may_change { div class="acts" { button type="submit" class="strong" { "Keep it" } } }
                }
            }
        }
    }

    fn field(&self, label: &str, name: &str, hint: &str, wrong: &Wrong) -> Markup {
        let value = self.text(name);
        let bytes_max = 2_000;
        Field {
            label,
            name,
            value,
            hint,
            bytes_max,
        }
        .draw(wrong)
    }

    fn select(&self, label: &str, name: &str, options: &[(String, String)], wrong: &Wrong) -> Markup {
        html! {
            label {
                (label)
                select name=(name) {
                    @for (value, shown) in options {
                        option value=(value) selected[self.text(name) == value] { (shown) }
                    }
                }
                (wrong.at(name))
            }
        }
    }

    fn mark(&self, name: &str) -> Markup {
        let words = MARKS
            .iter()
            .find(|(known, ..)| *known == name)
            .map_or("", |(_, words, _)| words);
        html! {
            label class="inline" { input type="checkbox" name=(name) value="yes" checked[self.is_on(name)]; " " (words) }
        }
    }

    fn whom(&self, choices: &Choices, wrong: &Wrong) -> Markup {
        let scopes = ["global", "server", "image", "label", "container"];
        let shown = [
            "every container",
            "those of a server",
            "those of an image",
            "those with labels",
            "one container",
        ];
        html! {
            section class="card" {
                header { h2 { "Which containers" } }
                div class="row first" {
                    (self.field("Name", "name", "nginx by night", wrong))
                    (self.field("What it is for", "description", "", wrong))
                    (self.select("Scope", "scope", &pairs(&scopes, &shown), wrong))
                    (self.select("Server", "server_id", &numbers(&choices.servers, "any"), wrong))
                    (self.field("Images, a regular expression", "image_pattern", "nginx:.*", wrong))
                    (self.field("Number of the container", "container_id", "", wrong))
                    label class="wide" {
                        "Labels, one name=value a line"
                        textarea name="label_selector" rows="2" { (self.text("label_selector")) }
                        (wrong.at("label_selector"))
                    }
                    (self.field("Priority, the highest decides", "priority", "100", wrong))
                    (self.mark("enabled"))
                }
            }
        }
    }

    fn how(&self, choices: &Choices, wrong: &Wrong) -> Markup {
        let modes = ["manual", "notify", "scheduled", "automatic"];
        let shown = [
            "manual: nothing by itself",
            "notify: people are told",
            "scheduled: approved ones, at their time",
            "automatic: nobody is asked",
        ];
        let limits = ["", "digest", "patch", "minor", "major"];
        let limits_shown = [
            "not said: digest",
            "digest: the same tag, built anew",
            "patch",
            "minor",
            "major",
        ];
        let powers = ["narrow", "any", "ignored"];
        let powers_shown = ["make it narrower", "make it narrower or wider", "mean nothing"];
        html! {
            section class="card" {
                header { h2 { "What happens, how far, and when" } }
                div class="row first" {
                    (self.select("Mode", "mode", &pairs(&modes, &shown), wrong))
                    (self.mark("auto_approve"))
                    (self.select("How far", "limit", &pairs(&limits, &limits_shown), wrong))
                    (self.field("Versions that are wanted", "allowed_versions", ">=1.2, <2", wrong))
                    (self.field("Tags that are not, with commas", "exclude_versions", "*-rc*, latest", wrong))
                    (self.field("Known for at least", "min_age", "3d", wrong))
                    (self.select("Window", "maintenance_window_id", &numbers(&choices.windows, "none"), wrong))
                    (self.field("Schedule, a cron expression", "update_schedule", "0 3 * * TUE", wrong))
                    (self.field("Time zone of the schedule", "timezone", "UTC", wrong))
                    (self.select("Labels of containers", "labels", &pairs(&powers, &powers_shown), wrong))
                    (self.mark("allow_major_databases"))
                }
            }
        }
    }

    fn told(&self, choices: &Choices, wrong: &Wrong) -> Markup {
        html! {
            section class="card" {
                header { h2 { "Who is told of what" } }
                div class="row first" {
                    @for (name, ..) in MARKS.iter().filter(|(name, ..)| name.starts_with("notify_")) { (self.mark(name)) }
                }
                @if !choices.channels.is_empty() {
                    div class="row bare" {
                        span class="soft" { "Through these channels; every one that is enabled, if none is chosen:" }
                        @for (id, name) in &choices.channels {
                            label class="inline" {
                                input type="checkbox" name="notification_channels" value=(id) checked[self.channels.contains(id)];
                                " " (name)
                            }
                        }
                        (wrong.at("notification_channels"))
                    }
                }
            }
        }
    }
}

/// A word of a closed set; noted if it is none.
fn chosen<T: serde::de::DeserializeOwned + Default>(name: &str, word: &str, wrong: &mut Wrong) -> T {
    serde_json::from_value(json!(word)).unwrap_or_else(|_| {
        wrong.note(name, "one of the words of the list is needed");
        T::default()
    })
}

fn pairs(words: &[&str], shown: &[&str]) -> Vec<(String, String)> {
    let both = words.iter().zip(shown);
    both.map(|(word, shown)| ((*word).to_owned(), (*shown).to_owned()))
        .collect()
}

fn numbers(known: &[(i64, String)], none: &str) -> Vec<(String, String)> {
    let none = std::iter::once((String::new(), none.to_owned()));
    none.chain(known.iter().map(|(id, name)| (id.to_string(), name.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(all: &[(&str, &str)]) -> PolicyForm {
        let pairs: Vec<(String, String)> = all
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        PolicyForm::read(&pairs).unwrap()
    }

    /// What a browser sends of a form that nobody touched.
    fn untouched(form: &PolicyForm) -> PolicyForm {
        PolicyForm {
            texts: form.texts.clone(),
            marks: form.marks.clone(),
            channels: form.channels.clone(),
        }
    }

    #[test]
    fn a_policy_that_nobody_touched_is_kept_as_it_was() {
        let body = PolicyBody {
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
        let mut wrong = Wrong::default();
        let again = untouched(&PolicyForm::of(&body)).body(Some(&body), &mut wrong);
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(again, body);
    }

    #[test]
    fn what_cannot_be_read_is_noted_at_its_field_and_not_taken_for_something_else() {
        let form = sent(&[
            ("name", "x"),
            ("mode", "yolo"),
            ("priority", "high"),
            ("label_selector", "novalue"),
            ("limit", "far"),
        ]);
        let mut wrong = Wrong::default();
        form.body(None, &mut wrong);
        for field in ["mode", "priority", "label_selector", "limit"] {
            assert!(!wrong.at(field).into_string().is_empty(), "{field}");
        }
        assert!(PolicyForm::read(&[("moed".to_owned(), "manual".to_owned())]).is_err());
    }
}
