//! A webhook: a signed `POST`, as the Standard Webhooks specification describes
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>), so that receivers
//! can check it with a library they have.
//!
//! `webhook-id` is the same when the same news come twice, `webhook-timestamp` is when they were sent, and
//! `webhook-signature` is HMAC-SHA256 over `id.timestamp.body`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::Draft;
use crate::http::Request;
use crate::parcel::Parcel;

/// How keys begin that are written in Base64.
const KEY_PREFIX: &str = "whsec_";
/// Shortest and longest key, bytes; the specification's bounds.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    allow_unencrypted: bool,
}

pub(crate) struct Webhook {
    pub(super) url: Url,
    key: hmac::Key,
    authorization: Option<String>,
}

impl Webhook {
    pub(super) fn build(draft: &mut Draft<'_>) -> Option<Self> {
        let settings: Option<Settings> = draft.settings();
        let (url, key) = (draft.secret("url"), draft.secret("signing_key"));
        let authorization = draft.header_secret("authorization");
        let key = key.and_then(|key| {
            let bytes = match key.strip_prefix(KEY_PREFIX) {
                Some(encoded) => STANDARD.decode(encoded).unwrap_or_default(),
                None => key.into_bytes(),
            };
            if !KEY_BYTES.contains(&bytes.len()) {
                draft.note(
                    "secrets.signing_key",
                    "it must be from 24 to 64 bytes long; whsec_ may precede them in Base64",
                );
                return None;
            }
            Some(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
        });
        let url = draft.url("secrets.url", &url?, settings?.allow_unencrypted)?;
        Some(Self {
            url,
            key: key?,
            authorization,
        })
    }

    pub(super) fn requests(&self, parcel: &Parcel<'_>) -> Vec<Request> {
        let bodies = parcel.news.iter().map(|news| {
            json!({
                "type": format!("alert.{}", news.kind),
                "timestamp": crate::template::time(news.at_ms),
                "data": {
                    "title": parcel.wording.title,
                    "text": parcel.wording.text,
                    "notification": news,
                },
            })
        });
        bodies.map(|body| self.signed(parcel, &body)).collect()
    }

    fn signed(&self, parcel: &Parcel<'_>, body: &serde_json::Value) -> Request {
        let request = Request::json(self.url.clone(), body);
        let seconds = parcel.now_ms / 1_000;
        let mut context = hmac::Context::with_key(&self.key);
        context.update(format!("{}.{seconds}.", parcel.id).as_bytes());
        context.update(&request.body);
        let signature = format!("v1,{}", STANDARD.encode(context.sign()));
        let request = request
            .with("webhook-id", &parcel.id)
            .with("webhook-timestamp", seconds.to_string())
            .with("webhook-signature", signature);
        match &self.authorization {
            Some(authorization) => request.with("authorization", authorization),
            None => request,
        }
    }
}
