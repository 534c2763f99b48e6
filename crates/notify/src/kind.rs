//! The kinds of channels, one file each: settings, secrets, wire format, and what an answer means.
//!
//! A wire format is pure: news in, requests out. Who sends them is `channel`. To add a kind: a file here, a variant in
//! [`Kind`] and in `Service`; every match below is exhaustive.

mod alertmanager;
mod discord;
mod email;
mod gotify;
mod ntfy;
mod pagerduty;
mod pushover;
mod slack;
mod telegram;
mod webhook;

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::http::{Answer, Request};
use crate::outcome::Attempt;
use crate::parcel::Parcel;
use crate::secret::Secrets;
use crate::smtp::Smtp;

/// Longest secret.
const SECRET_BYTES_MAX: usize = 4_096;

/// What a channel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Prometheus' Alertmanager, over its API v2.
    Alertmanager,
    /// A Discord webhook.
    Discord,
    /// SMTP.
    Email,
    /// A Gotify server.
    Gotify,
    /// An ntfy server.
    Ntfy,
    /// PagerDuty's Events API v2.
    Pagerduty,
    /// Pushover.
    Pushover,
    /// A Slack incoming webhook.
    Slack,
    /// A Telegram bot.
    Telegram,
    /// A signed POST to any address.
    Webhook,
}

/// A secret that a kind of channel takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretField {
    /// Its name.
    pub name: &'static str,
    /// Whether the channel is of no use without it.
    pub is_required: bool,
}

const fn required(name: &'static str) -> SecretField {
    SecretField {
        name,
        is_required: true,
    }
}

const fn optional(name: &'static str) -> SecretField {
    SecretField {
        name,
        is_required: false,
    }
}

impl Kind {
    /// All of them, by name.
    pub const ALL: [Self; 10] = [
        Self::Alertmanager,
        Self::Discord,
        Self::Email,
        Self::Gotify,
        Self::Ntfy,
        Self::Pagerduty,
        Self::Pushover,
        Self::Slack,
        Self::Telegram,
        Self::Webhook,
    ];

    /// The word used in JSON and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alertmanager => "alertmanager",
            Self::Discord => "discord",
            Self::Email => "email",
            Self::Gotify => "gotify",
            Self::Ntfy => "ntfy",
            Self::Pagerduty => "pagerduty",
            Self::Pushover => "pushover",
            Self::Slack => "slack",
            Self::Telegram => "telegram",
            Self::Webhook => "webhook",
        }
    }

    /// The kind of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The secrets it takes.
    #[must_use]
    pub const fn secrets(self) -> &'static [SecretField] {
        match self {
            Self::Alertmanager => const { &[optional("authorization")] },
            Self::Discord | Self::Slack => const { &[required("url")] },
            Self::Email => const { &[optional("password")] },
            Self::Gotify => const { &[required("token")] },
            Self::Ntfy => const { &[optional("token")] },
            Self::Pagerduty => const { &[required("routing_key")] },
            Self::Pushover => const { &[required("token"), required("user_key")] },
            Self::Telegram => const { &[required("bot_token")] },
            Self::Webhook => {
                const {
                    &[
                        required("url"),
                        required("signing_key"),
                        optional("authorization"),
                    ]
                }
            }
        }
    }

    /// Whether several news can be told in one message. Where a program reads them, each is sent by itself.
    #[must_use]
    pub const fn merges(self) -> bool {
        !matches!(self, Self::Alertmanager | Self::Pagerduty | Self::Webhook)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A setting, secret or option that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingProblem {
    /// Its name, such as `settings.chat_id`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// What a service is built from, and what is wrong with it.
pub(crate) struct Draft<'a> {
    settings: &'a Value,
    secrets: &'a Secrets,
    pub(crate) problems: Vec<SettingProblem>,
}

impl<'a> Draft<'a> {
    pub(crate) const fn new(settings: &'a Value, secrets: &'a Secrets) -> Self {
        Self {
            settings,
            secrets,
            problems: Vec::new(),
        }
    }

    pub(crate) fn note(&mut self, field: impl Into<String>, message: impl fmt::Display) {
        self.problems.push(SettingProblem {
            field: field.into(),
            message: message.to_string(),
        });
    }

    fn settings<T: DeserializeOwned>(&mut self) -> Option<T> {
        match T::deserialize(self.settings) {
            Ok(settings) => Some(settings),
            Err(error) => {
                self.note("settings", error);
                None
            }
        }
    }

    /// A secret that must be there.
    fn secret(&mut self, name: &str) -> Option<String> {
        let secret = self.maybe_secret(name);
        if secret.is_none()
            && !self
                .problems
                .iter()
                .any(|problem| problem.field == format!("secrets.{name}"))
        {
            self.note(format!("secrets.{name}"), "it is needed");
        }
        secret
    }

    fn maybe_secret(&mut self, name: &str) -> Option<String> {
        let text = self.secrets.get(name)?.expose();
        if text.is_empty() || SECRET_BYTES_MAX < text.len() {
            self.note(
                format!("secrets.{name}"),
                format!("it must have from 1 to {SECRET_BYTES_MAX} bytes"),
            );
            return None;
        }
        Some(text.to_owned())
    }

    /// A secret that is sent as the value of a header.
    fn header_secret(&mut self, name: &str) -> Option<String> {
        let text = self.maybe_secret(name)?;
        if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            return Some(text);
        }
        self.note(
            format!("secrets.{name}"),
            "only printable ASCII characters can be sent in a header",
        );
        None
    }

    /// An address. Plain HTTP must be allowed: everything in it can be read on the way.
    fn url(&mut self, field: &str, text: &str, allow_unencrypted: bool) -> Option<Url> {
        let problem = match Url::parse(text) {
            Err(error) => format!("it is not a URL: {error}"),
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                "user and password have no place in it".to_owned()
            }
            Ok(url) if url.host_str().is_none_or(str::is_empty) => "it has no host".to_owned(),
            Ok(url) => match url.scheme() {
                "https" => return Some(url),
                "http" if allow_unencrypted => return Some(url),
                "http" => "plain HTTP can be read on the way: use https, or set allow_unencrypted".to_owned(),
                _ => "it must begin with https://".to_owned(),
            },
        };
        self.note(field, problem);
        None
    }

    /// A text of a length from 1 to `max`, without control characters.
    fn text(&mut self, field: &str, text: &str, max: usize) -> bool {
        let is_good = !text.is_empty() && text.chars().count() <= max && !text.chars().any(char::is_control);
        if !is_good {
            self.note(
                field,
                format!("it must have from 1 to {max} characters, and no control characters"),
            );
        }
        is_good
    }
}

/// The address below a server's, whether or not that ends in a slash.
fn below(server: &Url, path: &str) -> Url {
    let mut url = server.clone();
    let base = server.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{base}/{path}"));
    url
}

/// A channel's other side, ready to be spoken to.
pub(crate) enum Service {
    Alertmanager(alertmanager::Alertmanager),
    Discord(discord::Discord),
    Email(Box<Smtp>),
    Gotify(gotify::Gotify),
    Ntfy(ntfy::Ntfy),
    Pagerduty(pagerduty::Pagerduty),
    Pushover(pushover::Pushover),
    Slack(slack::Slack),
    Telegram(telegram::Telegram),
    Webhook(webhook::Webhook),
}

impl Service {
    /// Checks settings and secrets. `None` if there are problems in the draft.
    pub(crate) fn build(kind: Kind, draft: &mut Draft<'_>) -> Option<Self> {
        let unknown: Vec<String> = draft
            .secrets
            .names()
            .filter(|name| !kind.secrets().iter().any(|field| field.name == *name))
            .map(str::to_owned)
            .collect();
        for name in unknown {
            let known: Vec<&str> = kind.secrets().iter().map(|field| field.name).collect();
            draft.note(
                format!("secrets.{name}"),
                format!("{kind} takes only {}", known.join(", ")),
            );
        }
        match kind {
            Kind::Alertmanager => alertmanager::Alertmanager::build(draft).map(Self::Alertmanager),
            Kind::Discord => discord::Discord::build(draft).map(Self::Discord),
            Kind::Email => email::build(draft).map(|smtp| Self::Email(Box::new(smtp))),
            Kind::Gotify => gotify::Gotify::build(draft).map(Self::Gotify),
            Kind::Ntfy => ntfy::Ntfy::build(draft).map(Self::Ntfy),
            Kind::Pagerduty => pagerduty::Pagerduty::build(draft).map(Self::Pagerduty),
            Kind::Pushover => pushover::Pushover::build(draft).map(Self::Pushover),
            Kind::Slack => slack::Slack::build(draft).map(Self::Slack),
            Kind::Telegram => telegram::Telegram::build(draft).map(Self::Telegram),
            Kind::Webhook => webhook::Webhook::build(draft).map(Self::Webhook),
        }
    }

    /// What is sent, one after the other; nothing for what does not speak HTTP.
    pub(crate) fn requests(&self, parcel: &Parcel<'_>) -> Vec<Request> {
        match self {
            Self::Email(_) => Vec::new(),
            Self::Alertmanager(service) => service.requests(parcel),
            Self::Discord(service) => vec![service.request(parcel)],
            Self::Gotify(service) => vec![service.request(parcel)],
            Self::Ntfy(service) => vec![service.request(parcel)],
            Self::Pagerduty(service) => service.requests(parcel),
            Self::Pushover(service) => vec![service.request(parcel)],
            Self::Slack(service) => vec![service.request(parcel)],
            Self::Telegram(service) => vec![service.request(parcel)],
            Self::Webhook(service) => service.requests(parcel),
        }
    }

    /// What an answer means.
    pub(crate) fn judge(&self, answer: &Answer) -> Attempt {
        match self {
            Self::Discord(_) => discord::judge(answer),
            Self::Pushover(_) => pushover::judge(answer),
            Self::Telegram(_) => telegram::judge(answer),
            _ => answer.judge(),
        }
    }

    /// Where it is, without anything secret.
    pub(crate) fn target(&self) -> String {
        let host = |url: &Url| url.host_str().unwrap_or_default().to_owned();
        match self {
            Self::Alertmanager(service) => host(&service.url),
            Self::Discord(service) => host(&service.url),
            Self::Email(smtp) => smtp.target(),
            Self::Gotify(service) => host(&service.url),
            Self::Ntfy(service) => format!("{}/{}", host(&service.server), service.topic),
            Self::Pagerduty(service) => host(&service.url),
            Self::Pushover(service) => host(&service.url),
            Self::Slack(service) => host(&service.url),
            Self::Telegram(service) => service.target(),
            Self::Webhook(service) => host(&service.url),
        }
    }
}
