//! Pushover: `POST /1/messages.json` (<https://pushover.net/api>).

use muster_alert::Severity;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::Draft;
use crate::http::{Answer, Request};
use crate::outcome::{Attempt, Outcome};
use crate::parcel::{Parcel, Tone};
use crate::text::{self, Measure};

const API: &str = "https://api.pushover.net/1/messages.json";
const TITLE_MAX: usize = 250;
const MESSAGE_MAX: usize = 1_024;
const URL_MAX: usize = 512;
/// How often an emergency is repeated until it is acknowledged, seconds, and for how long.
const EMERGENCY: (u32, u32) = (60, 3_600);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    device: Option<String>,
    /// Critical news are repeated until somebody acknowledges them on the telephone.
    #[serde(default)]
    emergency: bool,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    allow_unencrypted: bool,
}

pub(crate) struct Pushover {
    pub(super) url: Url,
    token: String,
    user_key: String,
    device: Option<String>,
    is_emergency: bool,
}

impl Pushover {
    pub(super) fn build(draft: &mut Draft<'_>) -> Option<Self> {
        let settings: Option<Settings> = draft.settings();
        let (token, user_key) = (draft.secret("token"), draft.secret("user_key"));
        let settings = settings?;
        if let Some(device) = &settings.device {
            draft.text("settings.device", device, 25);
        }
        let url = settings.url.as_deref().unwrap_or(API);
        let url = draft.url("settings.url", url, settings.allow_unencrypted)?;
        Some(Self {
            url,
            token: token?,
            user_key: user_key?,
            device: settings.device,
            is_emergency: settings.emergency,
        })
    }

    pub(super) fn request(&self, parcel: &Parcel<'_>) -> Request {
        let fit = |text: &str, max| text::fit(text, max, Measure::Chars, text::verbatim);
        let priority = match parcel.tone() {
            Tone::Of(Severity::Critical) if self.is_emergency => 2,
            Tone::Of(Severity::Critical) => 1,
            Tone::Of(Severity::Warning) => 0,
            Tone::Of(Severity::Info) | Tone::Calm => -1,
        };
        // Without a message Pushover refuses.
        let message = [&parcel.wording.text, &parcel.wording.title]
            .into_iter()
            .find(|text| !text.is_empty());
        let mut body = json!({
            "token": self.token,
            "user": self.user_key,
            "title": fit(&parcel.wording.title, TITLE_MAX),
            "message": fit(message.map_or("", String::as_str), MESSAGE_MAX),
            "priority": priority,
            "timestamp": parcel.news.iter().map(|news| news.at_ms).max().unwrap_or(parcel.now_ms) / 1_000,
        });
        if priority == 2 {
            (body["retry"], body["expire"]) = (EMERGENCY.0.into(), EMERGENCY.1.into());
        }
        if let Some(device) = &self.device {
            body["device"] = device.as_str().into();
        }
        // A cut address leads nowhere.
        if let Some(link) = parcel.link().filter(|link| link.len() <= URL_MAX) {
            (body["url"], body["url_title"]) = (link.into(), "Muster".into());
        }
        Request::json(self.url.clone(), &body)
    }
}

/// Taken only if the body says so too.
pub(super) fn judge(answer: &Answer) -> Attempt {
    let mut attempt = answer.judge();
    let is_taken = answer.json().is_some_and(|body| body["status"] == 1);
    if attempt.outcome == Outcome::Delivered && !is_taken {
        attempt.outcome = Outcome::Permanent;
    }
    attempt
}
