//! Gotify: `POST /message` (<https://gotify.net/api-docs#/message/createMessage>).

use muster_alert::Severity;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::{Draft, below};
use crate::http::Request;
use crate::parcel::{Parcel, Tone};
use crate::text::{self, Measure};

/// Gotify names no limits; these fit a telephone.
const TITLE_MAX: usize = 250;
const MESSAGE_MAX: usize = 8_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    url: String,
    #[serde(default)]
    allow_unencrypted: bool,
}

pub(crate) struct Gotify {
    pub(super) url: Url,
    token: String,
}

impl Gotify {
    pub(super) fn build(draft: &mut Draft<'_>) -> Option<Self> {
        let settings: Option<Settings> = draft.settings();
        draft.secret("token");
        let token = draft.header_secret("token");
        let settings = settings?;
        let url = draft.url("settings.url", &settings.url, settings.allow_unencrypted)?;
        Some(Self {
            url: below(&url, "message"),
            token: token?,
        })
    }

    pub(super) fn request(&self, parcel: &Parcel<'_>) -> Request {
        let fit = |text: &str, max| text::fit(text, max, Measure::Chars, text::verbatim);
        // From 8 on, the app makes a sound whatever else.
        let priority = match parcel.tone() {
            Tone::Of(Severity::Critical) => 8,
            Tone::Of(Severity::Warning) => 5,
            Tone::Of(Severity::Info) | Tone::Calm => 3,
        };
        let mut extras = json!({ "client::display": { "contentType": "text/plain" } });
        if let Some(link) = parcel.link() {
            extras["client::notification"] = json!({ "click": { "url": link } });
        }
        let body = json!({
            "title": fit(&parcel.wording.title, TITLE_MAX),
            "message": fit(&parcel.wording.text, MESSAGE_MAX),
            "priority": priority,
            "extras": extras,
        });
        Request::json(self.url.clone(), &body).with("x-gotify-key", &self.token)
    }
}
