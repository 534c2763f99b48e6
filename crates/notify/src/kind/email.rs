//! Email: settings of an SMTP channel. The conversation itself is in [`crate::smtp`].

use lettre::message::Mailbox;
use serde::Deserialize;
use url::Host;

use super::Draft;
use crate::secret::Secret;
use crate::smtp::{Encryption, Smtp};
use crate::tls::Roots;

/// Most recipients.
const RECIPIENTS_MAX: usize = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    host: String,
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    encryption: Encryption,
    from: String,
    to: Vec<String>,
    #[serde(default)]
    username: Option<String>,
    /// The authority that signed the server's certificate, in PEM form; the system's if not given.
    #[serde(default)]
    ca: Option<String>,
    #[serde(default)]
    allow_unencrypted: bool,
}

pub(super) fn build(draft: &mut Draft<'_>) -> Option<Smtp> {
    let password = draft.maybe_secret("password");
    let settings: Settings = draft.settings()?;
    let host = Host::parse(&settings.host)
        .map_err(|error| draft.note("settings.host", format!("it is no name or address: {error}")))
        .ok();
    if settings.encryption == Encryption::None && !settings.allow_unencrypted {
        draft.note(
            "settings.encryption",
            "mail and password can be read on the way: use starttls or tls, or set allow_unencrypted",
        );
    }
    if settings.to.is_empty() || RECIPIENTS_MAX < settings.to.len() {
        draft.note(
            "settings.to",
            format!("it must have from 1 to {RECIPIENTS_MAX} recipients"),
        );
    }
    let from = mailbox(draft, "settings.from", &settings.from);
    let to: Vec<Mailbox> = settings
        .to
        .iter()
        .filter_map(|text| mailbox(draft, "settings.to", text))
        .collect();
    let login = match (settings.username, password) {
        (Some(user), Some(password)) => {
            draft.text("settings.username", &user, 320);
            Some((user, Secret::new(password)))
        }
        (None, None) => None,
        (Some(_), None) => {
            draft.note("secrets.password", "the user's password is needed");
            None
        }
        (None, Some(_)) => {
            draft.note("settings.username", "whose password it is must be said");
            None
        }
    };
    let authority = settings.ca.map(|pem| Roots::of_pem(&pem));
    let roots = match authority.transpose() {
        Ok(roots) => roots,
        Err(error) => {
            draft.note("settings.ca", error);
            None
        }
    };
    Some(Smtp {
        host: host?,
        port: settings.port.unwrap_or(settings.encryption.port()),
        encryption: settings.encryption,
        from: from?,
        to,
        login,
        roots,
    })
}

fn mailbox(draft: &mut Draft<'_>, field: &str, text: &str) -> Option<Mailbox> {
    let parsed = if text.chars().any(char::is_control) {
        Err("it has control characters".to_owned())
    } else {
        text.parse()
            .map_err(|error| format!("{text:?} is no address: {error}"))
    };
    parsed.map_err(|why: String| draft.note(field, why)).ok()
}
