//! Discord: `POST` to a webhook with one embed
//! (<https://discord.com/developers/docs/resources/webhook#execute-webhook>).

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::Draft;
use crate::http::{Answer, Request};
use crate::outcome::{Attempt, Outcome, RETRY_AFTER_MAX};
use crate::parcel::Parcel;
use crate::template::time;
use crate::text::{self, Measure};

/// Longest title of an embed.
const TITLE_MAX: usize = 256;
/// Longest description of an embed; together with the title it is below the 6,000 of all embeds.
const DESCRIPTION_MAX: usize = 4_096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    allow_unencrypted: bool,
}

pub(crate) struct Discord {
    pub(super) url: Url,
    username: String,
}

impl Discord {
    pub(super) fn build(draft: &mut Draft<'_>) -> Option<Self> {
        let settings: Option<Settings> = draft.settings();
        let url = draft.secret("url");
        let settings = settings?;
        if let Some(username) = &settings.username {
            draft.text("settings.username", username, 80);
        }
        let mut url = draft.url("secrets.url", &url?, settings.allow_unencrypted)?;
        // The answer is then the message as it was stored, instead of nothing before it was.
        url.query_pairs_mut().append_pair("wait", "true");
        Some(Self {
            url,
            username: settings.username.unwrap_or_else(|| "Muster".to_owned()),
        })
    }

    pub(super) fn request(&self, parcel: &Parcel<'_>) -> Request {
        let fit = |text: &str, max| text::fit(text, max, Measure::Utf16, text::discord);
        let mut embed = json!({
            "title": fit(&parcel.wording.title, TITLE_MAX),
            "description": fit(&parcel.wording.text, DESCRIPTION_MAX),
            "color": parcel.tone().colour(),
            "timestamp": time(parcel.news.iter().map(|news| news.at_ms).max().unwrap_or(parcel.now_ms)),
        });
        if let Some(link) = parcel.link() {
            embed["url"] = link.into();
        }
        let body = json!({
            "username": self.username,
            "embeds": [embed],
            // Nobody is paged by what is written in a name.
            "allowed_mentions": { "parse": [] },
        });
        Request::json(self.url.clone(), &body)
    }
}

/// Rate limits are told in fractions of a second in the body.
pub(super) fn judge(answer: &Answer) -> Attempt {
    let mut attempt = answer.judge();
    let told = answer.json().and_then(|body| body.get("retry_after")?.as_f64());
    if let (Outcome::Temporary { retry_after, .. }, Some(seconds)) = (&mut attempt.outcome, told) {
        let wait = Duration::try_from_secs_f64(seconds).unwrap_or(RETRY_AFTER_MAX);
        *retry_after = Some(wait.min(RETRY_AFTER_MAX));
    }
    attempt
}
