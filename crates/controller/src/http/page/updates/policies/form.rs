//! The form of a policy. What is written in it is kept while something is wrong with it.

mod draw;

use std::collections::BTreeMap;

use muster_update::{LabelPower, Limit, Mode, PolicyBody, Scope};
use serde_json::{Value, json};

pub(super) use self::draw::Choices;
use super::super::{Wrong, given, number};
use crate::http::error::Problem;

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
}

/// A word of a closed set; noted if it is none.
fn chosen<T: serde::de::DeserializeOwned + Default>(name: &str, word: &str, wrong: &mut Wrong) -> T {
    serde_json::from_value(json!(word)).unwrap_or_else(|_| {
        wrong.note(name, "one of the words of the list is needed");
        T::default()
    })
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
