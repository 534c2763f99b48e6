//! Telegram: the bot API's `sendMessage` (<https://core.telegram.org/bots/api#sendmessage>).

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::{Draft, below};
use crate::http::{Answer, Request};
use crate::outcome::{Attempt, Outcome, RETRY_AFTER_MAX};
use crate::parcel::{Parcel, Tone};
use crate::text::{self, Measure};

const API: &str = "https://api.telegram.org";
/// Longest message, counted after its markup was read.
const MESSAGE_MAX: usize = 4_096;
const TITLE_MAX: usize = 400;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    chat_id: ChatId,
    /// A topic of a group.
    #[serde(default)]
    message_thread_id: Option<i64>,
    /// A Bot API server of one's own.
    #[serde(default)]
    api: Option<String>,
    #[serde(default)]
    allow_unencrypted: bool,
}

/// A number, or `@name` of a public channel.
#[derive(Deserialize)]
#[serde(untagged)]
enum ChatId {
    Number(i64),
    Name(String),
}

pub(crate) struct Telegram {
    url: Url,
    chat_id: String,
    message_thread_id: Option<i64>,
}

impl Telegram {
    pub(super) fn build(draft: &mut Draft<'_>) -> Option<Self> {
        let settings: Option<Settings> = draft.settings();
        let token = draft.secret("bot_token");
        let settings = settings?;
        let chat_id = match settings.chat_id {
            ChatId::Number(number) => number.to_string(),
            ChatId::Name(name) => name,
        };
        draft.text("settings.chat_id", &chat_id, 100);
        let api = draft.url(
            "settings.api",
            settings.api.as_deref().unwrap_or(API),
            settings.allow_unencrypted,
        );
        let token = token?;
        if !token
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'-'))
        {
            draft.note("secrets.bot_token", "it is not a bot's token: 123456:ABC…");
            return None;
        }
        Some(Self {
            url: below(&api?, &format!("bot{token}/sendMessage")),
            chat_id,
            message_thread_id: settings.message_thread_id,
        })
    }

    /// The address has the token in it; the chat is what tells channels apart.
    pub(super) fn target(&self) -> String {
        format!(
            "{}, chat {}",
            self.url.host_str().unwrap_or_default(),
            self.chat_id
        )
    }

    pub(super) fn request(&self, parcel: &Parcel<'_>) -> Request {
        // Entities count as the one character they stand for, so the plain text is measured.
        let plain = |text: &str, max| text::fit(text, max, Measure::Utf16, text::verbatim);
        let html = |text: &str| text::fit(text, usize::MAX / 8, Measure::Utf16, text::html);
        let title = plain(&parcel.wording.title, TITLE_MAX);
        let rest = MESSAGE_MAX - title.encode_utf16().count() - 2;
        let body = plain(&parcel.wording.text, rest);
        let mut message = json!({
            "chat_id": self.chat_id,
            "text": format!("<b>{}</b>\n\n{}", html(&title), html(&body)),
            "parse_mode": "HTML",
            "link_preview_options": { "is_disabled": true },
            "disable_notification": parcel.tone() == Tone::Calm,
        });
        if let Some(thread) = self.message_thread_id {
            message["message_thread_id"] = thread.into();
        }
        if let Some(link) = parcel.link().filter(|link| link.starts_with("https://")) {
            message["reply_markup"] =
                json!({ "inline_keyboard": [[{ "text": "Open in Muster", "url": link }]] });
        }
        Request::json(self.url.clone(), &message)
    }
}

/// Whether it was taken, and how long to wait if not, is in the body.
pub(super) fn judge(answer: &Answer) -> Attempt {
    let mut attempt = answer.judge();
    let Some(body) = answer.json() else {
        return attempt;
    };
    if attempt.outcome == Outcome::Delivered && body["ok"] != Value::Bool(true) {
        attempt.outcome = Outcome::Permanent;
    }
    let told = body["parameters"]["retry_after"].as_u64();
    if let (Outcome::Temporary { retry_after, .. }, Some(seconds)) = (&mut attempt.outcome, told) {
        *retry_after = Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    }
    attempt
}
