//! PagerDuty: Events API v2 (<https://developer.pagerduty.com/docs/send-alert-event>).
//!
//! Whatever is told of one alert has the same deduplication key, so that it is one incident, which is resolved with it.

use muster_alert::{Notification, NotificationKind};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::Draft;
use crate::http::Request;
use crate::parcel::Parcel;
use crate::template::{affected_of, time, value_of};
use crate::text::{self, Measure};

const API: &str = "https://events.pagerduty.com/v2/enqueue";
/// Longest summary.
const SUMMARY_MAX: usize = 1_024;
/// Longest deduplication key.
const KEY_MAX: usize = 255;
/// Longest text among the details; an event may have 512 KB.
const DETAIL_MAX: usize = 16_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Another address than the American one, such as `https://events.eu.pagerduty.com/v2/enqueue`.
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    allow_unencrypted: bool,
}

pub(crate) struct Pagerduty {
    pub(super) url: Url,
    routing_key: String,
}

impl Pagerduty {
    pub(super) fn build(draft: &mut Draft<'_>) -> Option<Self> {
        let settings: Option<Settings> = draft.settings();
        let routing_key = draft.secret("routing_key");
        let settings = settings?;
        let url = settings.url.as_deref().unwrap_or(API);
        let url = draft.url("settings.url", url, settings.allow_unencrypted)?;
        Some(Self {
            url,
            routing_key: routing_key?,
        })
    }

    pub(super) fn requests(&self, parcel: &Parcel<'_>) -> Vec<Request> {
        let actions = |news: &Notification| match news.kind {
            NotificationKind::Firing | NotificationKind::Escalated | NotificationKind::Repeat => {
                vec!["trigger"]
            }
            NotificationKind::Acknowledged => vec!["acknowledge"],
            NotificationKind::Resolved => vec!["resolve"],
            // A test leaves no open incident behind.
            NotificationKind::Test => vec!["trigger", "resolve"],
        };
        let events = parcel.news.iter().flat_map(|news| {
            actions(news)
                .into_iter()
                .map(|action| self.event(parcel, news, action))
        });
        events
            .map(|event| Request::json(self.url.clone(), &event))
            .collect()
    }

    fn event(&self, parcel: &Parcel<'_>, news: &Notification, action: &str) -> Value {
        let fit = |text: &str, max| text::fit(text, max, Measure::Chars, text::verbatim);
        let mut event = json!({
            "routing_key": self.routing_key,
            "event_action": action,
            "dedup_key": fit(&format!("muster-{}", news.alert.key), KEY_MAX),
        });
        if action != "trigger" {
            return event;
        }
        event["payload"] = json!({
            "summary": fit(&parcel.wording.title, SUMMARY_MAX),
            "source": news.server.as_ref().map_or("muster", |server| server.name.as_str()),
            "severity": news.severity.as_str(),
            "timestamp": time(news.at_ms),
            "component": news.resource.as_ref().map(|resource| resource.name.as_str()),
            "group": news.resource.as_ref().map(|resource| resource.kind.as_str()),
            "class": fit(&news.rule.name, DETAIL_MAX),
            "custom_details": {
                "text": fit(&parcel.wording.text, DETAIL_MAX),
                "value": value_of(news),
                "affected": affected_of(news),
                "labels": news.labels,
            },
        });
        let mut links: Vec<Value> = news
            .links
            .iter()
            .map(|link| json!({ "href": link.url, "text": link.title }))
            .collect();
        links.extend(
            news.runbook
                .iter()
                .map(|runbook| json!({ "href": runbook, "text": "Runbook" })),
        );
        event["links"] = links.into();
        event["client"] = "Muster".into();
        if let Some(link) = news.links.first() {
            event["client_url"] = link.url.as_str().into();
        }
        event
    }
}
