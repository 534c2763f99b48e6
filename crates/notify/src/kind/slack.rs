//! Slack: `POST` to an incoming webhook
//! (<https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>).

use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::Draft;
use crate::http::Request;
use crate::parcel::Parcel;
use crate::text::{self, Measure};

/// Longest text of a section block.
const SECTION_MAX: usize = 3_000;
/// Longest title; it is also the text of the notification.
const TITLE_MAX: usize = 600;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    allow_unencrypted: bool,
}

pub(crate) struct Slack {
    pub(super) url: Url,
}

impl Slack {
    pub(super) fn build(draft: &mut Draft<'_>) -> Option<Self> {
        let settings: Option<Settings> = draft.settings();
        let url = draft.secret("url");
        let url = draft.url("secrets.url", &url?, settings?.allow_unencrypted)?;
        Some(Self { url })
    }

    pub(super) fn request(&self, parcel: &Parcel<'_>) -> Request {
        let fit = |text: &str, max| text::fit(text, max, Measure::Chars, text::slack);
        let title = fit(&parcel.wording.title, TITLE_MAX);
        // Verbatim: channels and people that are named in it are not linked, and so not told.
        let section = |text: String| json!({ "type": "section", "text": { "type": "mrkdwn", "text": text, "verbatim": true } });
        let mut blocks = vec![section(format!("*{title}*"))];
        if !parcel.wording.text.is_empty() {
            blocks.push(section(fit(&parcel.wording.text, SECTION_MAX)));
        }
        if let Some(link) = parcel.link() {
            // `|` and `>` would end the address.
            let link = link.replace('|', "%7C").replace('>', "%3E").replace('<', "%3C");
            blocks.push(section(format!("<{link}|Open in Muster>")));
        }
        let body = json!({
            "text": title,
            "attachments": [{ "color": format!("#{:06x}", parcel.tone().colour()), "blocks": blocks }],
        });
        Request::json(self.url.clone(), &body)
    }
}
