//! Prometheus' Alertmanager: `POST /api/v2/alerts`
//! (<https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>).
//!
//! Alertmanager knows an alert by its labels, so they are the same while it fires and when it is over. One that is not
//! sent again is taken as resolved after a while unless it says until when it holds; ours say so.

use std::collections::BTreeMap;

use muster_alert::{Notification, NotificationKind, Severity};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::{Draft, below};
use crate::http::Request;
use crate::parcel::Parcel;
use crate::template::{affected_of, time, value_of};
use crate::text::{self, Measure};

/// How long an alert holds that nobody ends, ms: its end is sent, and only if that is lost is this what ends it.
const HOLDS_MS: i64 = 7 * 24 * 3_600_000;
/// How long a test is seen, ms.
const TEST_MS: i64 = 60_000;
/// Longest value of a label or annotation; Alertmanager itself sets no limit.
const VALUE_CHARS_MAX: usize = 4_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    url: String,
    #[serde(default)]
    allow_unencrypted: bool,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

pub(crate) struct Alertmanager {
    pub(super) url: Url,
    labels: BTreeMap<String, String>,
    authorization: Option<String>,
}

impl Alertmanager {
    pub(super) fn build(draft: &mut Draft<'_>) -> Option<Self> {
        let authorization = draft.header_secret("authorization");
        let settings: Settings = draft.settings()?;
        for (name, value) in &settings.labels {
            draft.text(&format!("settings.labels.{name}"), value, 200);
            if label_name(name) != *name {
                draft.note("settings.labels", format!("{name:?} is no name of a label"));
            }
        }
        let url = draft.url("settings.url", &settings.url, settings.allow_unencrypted)?;
        Some(Self {
            url: below(&url, "api/v2/alerts"),
            labels: settings.labels,
            authorization,
        })
    }

    pub(super) fn requests(&self, parcel: &Parcel<'_>) -> Vec<Request> {
        let alerts: Vec<Value> = parcel
            .news
            .iter()
            .flat_map(|news| self.alerts(parcel, news))
            .collect();
        let mut request = Request::json(self.url.clone(), &Value::from(alerts));
        if let Some(authorization) = &self.authorization {
            request = request.with("authorization", authorization);
        }
        vec![request]
    }

    fn alerts(&self, parcel: &Parcel<'_>, news: &Notification) -> Vec<Value> {
        let ends_ms = match (news.kind, news.ended_ms) {
            (_, Some(ended_ms)) => ended_ms,
            (NotificationKind::Resolved, None) => news.at_ms,
            (NotificationKind::Test, _) => parcel.now_ms.saturating_add(TEST_MS),
            _ => parcel.now_ms.saturating_add(HOLDS_MS),
        };
        let mut alerts = vec![self.alert(parcel, news, news.severity, ends_ms)];
        if news.kind == NotificationKind::Escalated {
            // The severity is one of the labels, so with the milder one it is another alert, which is over now.
            let milder = Severity::ALL
                .into_iter()
                .filter(|severity| *severity < news.severity);
            alerts.extend(milder.map(|severity| self.alert(parcel, news, severity, news.at_ms)));
        }
        alerts
    }

    fn alert(&self, parcel: &Parcel<'_>, news: &Notification, severity: Severity, ends_ms: i64) -> Value {
        let mut labels: BTreeMap<String, String> = news
            .labels
            .iter()
            .map(|(name, value)| (label_name(name), value.clone()))
            .collect();
        labels.extend(self.labels.clone());
        let mut ours = |name: &str, value: &str| labels.insert(name.to_owned(), value.to_owned());
        ours("alertname", &news.rule.name);
        ours("severity", severity.as_str());
        ours("muster_alert", &news.alert.key);
        if let Some(server) = &news.server {
            ours("instance", &server.name);
        }
        if let Some(resource) = &news.resource {
            ours("resource", &resource.name);
            ours("resource_kind", resource.kind.as_str());
        }
        let mut annotations = BTreeMap::from([
            ("summary", parcel.wording.title.clone()),
            ("description", parcel.wording.text.clone()),
        ]);
        let more = [
            ("value", value_of(news)),
            ("affected", affected_of(news)),
            ("runbook_url", news.runbook.clone()),
        ];
        annotations.extend(more.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let cut = |value: &String| text::fit(value, VALUE_CHARS_MAX, Measure::Chars, text::verbatim);
        let labels: BTreeMap<&String, String> = labels
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name, cut(value)))
            .collect();
        let annotations: BTreeMap<&str, String> = annotations
            .iter()
            .map(|(name, value)| (*name, cut(value)))
            .collect();
        json!({
            "labels": labels,
            "annotations": annotations,
            // An alert that ends before it starts is refused.
            "startsAt": time(news.started_ms.min(ends_ms)),
            "endsAt": time(ends_ms),
            "generatorURL": news.links.first().map_or("", |link| link.url.as_str()),
        })
    }
}

/// As a label may be called: `[a-zA-Z_][a-zA-Z0-9_]*`.
fn label_name(name: &str) -> String {
    let is_good = |(at, char): (usize, char)| {
        char == '_' || char.is_ascii_alphabetic() || (0 < at && char.is_ascii_digit())
    };
    let name = name
        .chars()
        .enumerate()
        .map(|(at, char)| if is_good((at, char)) { char } else { '_' });
    let name: String = name.collect();
    if name.is_empty() { "_".to_owned() } else { name }
}
