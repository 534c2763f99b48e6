//! A channel: where news go, which of them, how they are worded, and how often.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use muster_alert::Notification;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::filter::Filter;
use crate::http;
use crate::kind::{Draft, Kind, Service, SettingProblem};
use crate::network::Network;
use crate::outcome::{ANSWER_BYTES_MAX, Attempt, Outcome};
use crate::parcel::Parcel;
use crate::policy::Policy;
use crate::secret::Secrets;
use crate::template::{Template, Wording, word_several};
use crate::text::{self, Measure};
use crate::tls::Roots;

/// Messages a minute unless told otherwise.
pub const PER_MINUTE_DEFAULT: u32 = 20;
/// Most messages a minute.
const PER_MINUTE_MAX: u32 = 600;
/// Longest time for which news are collected, minutes.
const DIGEST_MINUTES_MAX: u32 = 24 * 60;
/// Most named templates.
const TEMPLATES_MAX: usize = 20;
/// Longest settings as JSON.
const SETTINGS_BYTES_MAX: usize = 64 * 1_024;

/// What all kinds of channels have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Which news are wanted.
    pub filter: Filter,
    /// How news are worded that ask for no template.
    pub template: Template,
    /// Wordings that rules can ask for by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub templates: BTreeMap<String, Template>,
    /// News are collected for so long and told of together; critical ones end the wait. Not for kinds that a program
    /// reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest_minutes: Option<u32>,
    /// Messages a minute; [`PER_MINUTE_DEFAULT`] if not given. What is above waits, and is then told of together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_minute: Option<u32>,
}

impl Options {
    fn check(&self, kind: Kind, draft: &mut Draft<'_>) {
        if !self.filter.is_bounded() {
            draft.note("options.filter", "its lists are too long");
        }
        if TEMPLATES_MAX < self.templates.len() {
            draft.note("options.templates", format!("there may be {TEMPLATES_MAX}"));
        }
        let own = [("options.template".to_owned(), &self.template)];
        let named = self
            .templates
            .iter()
            .map(|(name, template)| (format!("options.templates.{name}"), template));
        for (place, template) in own.into_iter().chain(named.take(TEMPLATES_MAX)) {
            for (part, why) in template.problems() {
                draft.note(format!("{place}.{part}"), why);
            }
        }
        if let Some(minutes) = self.digest_minutes {
            if !(1..=DIGEST_MINUTES_MAX).contains(&minutes) {
                draft.note(
                    "options.digest_minutes",
                    format!("it must be from 1 to {DIGEST_MINUTES_MAX}"),
                );
            } else if !kind.merges() {
                draft.note(
                    "options.digest_minutes",
                    format!("{kind} is told of each alert by itself"),
                );
            }
        }
        if self
            .per_minute
            .is_some_and(|rate| !(1..=PER_MINUTE_MAX).contains(&rate))
        {
            draft.note(
                "options.per_minute",
                format!("it must be from 1 to {PER_MINUTE_MAX}"),
            );
        }
    }
}

/// A channel, ready to deliver.
pub struct Channel {
    kind: Kind,
    service: Service,
    secrets: Secrets,
    options: Options,
}

impl fmt::Debug for Channel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Settings and secrets are in the service in the form they are sent.
        formatter
            .debug_struct("Channel")
            .field("kind", &self.kind)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// What delivers: connections, and whom to trust.
#[derive(Debug, Clone)]
pub struct Courier {
    pub(crate) network: Network,
    pub(crate) roots: Arc<Roots>,
}

impl Courier {
    /// Connects through `network`, trusts `roots`.
    #[must_use]
    pub fn new(network: Network, roots: Roots) -> Self {
        Self {
            network,
            roots: Arc::new(roots),
        }
    }
}

impl Channel {
    /// Checks everything about a channel; nothing is connected to.
    ///
    /// # Errors
    /// Everything that is wrong, by field.
    pub fn build(
        kind: Kind,
        settings: &Value,
        secrets: Secrets,
        options: Options,
    ) -> Result<Self, Vec<SettingProblem>> {
        let mut draft = Draft::new(settings, &secrets);
        if SETTINGS_BYTES_MAX < settings.to_string().len() {
            draft.note(
                "settings",
                format!("they are longer than {SETTINGS_BYTES_MAX} bytes"),
            );
        }
        options.check(kind, &mut draft);
        let service = Service::build(kind, &mut draft);
        let problems = draft.problems;
        match service {
            Some(service) if problems.is_empty() => Ok(Self {
                kind,
                service,
                secrets,
                options,
            }),
            _ => Err(problems),
        }
    }

    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Where its news go, without anything secret.
    #[must_use]
    pub fn target(&self) -> String {
        self.service.target()
    }

    /// Whether it wants these news.
    #[must_use]
    pub fn wants(&self, news: &Notification) -> bool {
        self.options.filter.passes(news)
    }

    /// When it may be sent to.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let minutes = self.options.digest_minutes.filter(|_| self.kind.merges());
        Policy {
            merges: self.kind.merges(),
            digest: minutes.map(|minutes| Duration::from_secs(u64::from(minutes) * 60)),
            per_minute: self.options.per_minute.unwrap_or(PER_MINUTE_DEFAULT),
        }
    }

    /// Tells of these news in one message. `id` names the message: the same for the same news.
    pub async fn deliver(&self, courier: &Courier, id: &str, news: &[Notification], now_ms: i64) -> Attempt {
        let parcel = Parcel {
            news,
            wording: self.wording(news),
            id: id.to_owned(),
            now_ms,
        };
        let mut attempt = match &self.service {
            Service::Email(smtp) => smtp.send(&courier.network, &courier.roots, &parcel).await,
            service => self.exchange(courier, service, &parcel).await,
        };
        let answer = self.secrets.redact(&text::one_line(&attempt.answer));
        attempt.answer = text::fit(&answer, ANSWER_BYTES_MAX, Measure::Bytes, text::verbatim);
        attempt
    }

    async fn exchange(&self, courier: &Courier, service: &Service, parcel: &Parcel<'_>) -> Attempt {
        let mut last = Attempt::permanent("there was nothing to send");
        for request in service.requests(parcel) {
            last = match http::send(&courier.network, &courier.roots, request).await {
                Ok(answer) => service.judge(&answer),
                Err(error) => error.judge(),
            };
            if last.outcome != Outcome::Delivered {
                return last;
            }
        }
        last
    }

    fn wording(&self, news: &[Notification]) -> Wording {
        match news {
            [only] => self.template_of(only).word(only),
            several => word_several(several, |news| self.template_of(news).word(news).title),
        }
    }

    /// The template that the rule asks for, if this channel has it; else the channel's own.
    fn template_of(&self, news: &Notification) -> &Template {
        let named = news
            .template
            .as_ref()
            .and_then(|name| self.options.templates.get(name));
        named.unwrap_or(&self.options.template)
    }
}
