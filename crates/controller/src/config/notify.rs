//! `[notify]`: telling people, and whoever watches the controller.

use std::net::IpAddr;
use std::time::Duration;

use camino::Utf8PathBuf;
use ipnet::IpNet;
use serde::Deserialize;

use super::Problems;
use super::auth::duration;

/// Telling people of alerts.
#[derive(Debug, Clone, PartialEq)]
pub struct Notify {
    /// Networks that channels may reach although they are this machine's own, link-local or otherwise dangerous.
    pub allow_addresses: Vec<IpNet>,
    /// A file with the address that a sign of life goes to.
    pub heartbeat_url_file: Option<Utf8PathBuf>,
    /// How often.
    pub heartbeat_every: Duration,
}

impl Notify {
    /// How often a sign of life is given unless told otherwise.
    pub const HEARTBEAT_EVERY_DEFAULT: Duration = Duration::from_secs(30);
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawNotify {
    allow_addresses: Vec<String>,
    heartbeat_url_file: Option<Utf8PathBuf>,
    heartbeat_every: Option<String>,
}

pub(super) fn default_text() -> String {
    format!(
        "[notify]\n\
         # Channels do not reach this machine itself, its link or a cloud's metadata service, unless listed here.\n\
         # allow_addresses = [\"127.0.0.1\"]\n\
         # A file with an address that is asked regularly while the controller works, so that somebody outside notices\n\
         # when it does not.\n\
         # heartbeat_url_file = \"/etc/muster/heartbeat-url\"\n\
         # heartbeat_every = \"{}\"\n",
        humantime::format_duration(Notify::HEARTBEAT_EVERY_DEFAULT)
    )
}

impl RawNotify {
    pub(super) fn validate(self, problems: &mut Problems) -> Notify {
        let allow_addresses = self.allow_addresses.iter().filter_map(|text| {
            let parsed = text
                .parse::<IpNet>()
                .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            let parsed =
                parsed.map_err(|_| format!("{text:?} is not an address such as 192.0.2.1 or 10.0.0.0/8"));
            problems.check("notify.allow_addresses", parsed)
        });
        let allow_addresses = allow_addresses.collect();
        if let Some(file) = self
            .heartbeat_url_file
            .as_ref()
            .filter(|file| !file.is_absolute())
        {
            problems.note(
                "notify.heartbeat_url_file",
                &format!("{file} is not an absolute path"),
            );
        }
        const KEY: &str = "notify.heartbeat_every";
        let every = duration(
            KEY,
            self.heartbeat_every,
            Notify::HEARTBEAT_EVERY_DEFAULT,
            problems,
        );
        problems.bound(KEY, every.as_secs(), 5, 3_600);
        Notify {
            allow_addresses,
            heartbeat_url_file: self.heartbeat_url_file,
            heartbeat_every: every,
        }
    }
}
