//! ntfy: `POST` of JSON to the server's root (<https://docs.ntfy.sh/publish/#publish-as-json>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_alert::Severity;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::{Draft, below};
use crate::http::Request;
use crate::parcel::{Parcel, Tone};
use crate::text::{self, Measure};

/// Longest message; a longer one would become an attachment.
const MESSAGE_MAX: usize = 4_000;
const TITLE_MAX: usize = 250;
const SERVER_DEFAULT: &str = "https://ntfy.sh";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    server: Option<String>,
    topic: String,
    /// With it, the secret is this user's password; without, an access token.
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    allow_unencrypted: bool,
}

pub(crate) struct Ntfy {
    pub(super) server: Url,
    pub(super) topic: String,
    authorization: Option<String>,
}

impl Ntfy {
    pub(super) fn build(draft: &mut Draft<'_>) -> Option<Self> {
        let token = draft.header_secret("token");
        let settings: Settings = draft.settings()?;
        let is_topic = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-');
        if settings.topic.is_empty() || 64 < settings.topic.len() || !settings.topic.chars().all(is_topic) {
            draft.note(
                "settings.topic",
                "it must have from 1 to 64 letters, digits, _ or -",
            );
        }
        if settings.username.is_some() && token.is_none() {
            draft.note("secrets.token", "the user's password is needed");
        }
        let server = settings.server.as_deref().unwrap_or(SERVER_DEFAULT);
        let server = draft.url("settings.server", server, settings.allow_unencrypted)?;
        let authorization = match (settings.username, token) {
            (Some(user), Some(password)) => {
                Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            (None, Some(token)) => Some(format!("Bearer {token}")),
            (_, None) => None,
        };
        Some(Self {
            server: below(&server, ""),
            topic: settings.topic,
            authorization,
        })
    }

    pub(super) fn request(&self, parcel: &Parcel<'_>) -> Request {
        let fit = |text: &str, max| text::fit(text, max, Measure::Bytes, text::verbatim);
        let (priority, tag) = match parcel.tone() {
            Tone::Of(Severity::Critical) => (5, "rotating_light"),
            Tone::Of(Severity::Warning) => (4, "warning"),
            Tone::Of(Severity::Info) => (3, "information_source"),
            Tone::Calm => (3, "white_check_mark"),
        };
        let mut body = json!({
            "topic": self.topic,
            "title": fit(&parcel.wording.title, TITLE_MAX),
            "message": fit(&parcel.wording.text, MESSAGE_MAX),
            "priority": priority,
            "tags": [tag],
        });
        if let Some(link) = parcel.link() {
            body["click"] = link.into();
        }
        let request = Request::json(self.server.clone(), &body);
        match &self.authorization {
            Some(authorization) => request.with("authorization", authorization),
            None => request,
        }
    }
}
