//! `[registries]`: how container registries are reached.

use std::net::IpAddr;

use camino::Utf8PathBuf;
use ipnet::IpNet;
use serde::Deserialize;

use super::Problems;

/// How container registries are reached.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Registries {
    /// A file with certificates of authorities that are trusted besides those of the system.
    pub ca_file: Option<Utf8PathBuf>,
    /// Networks that are reached although they are link-local or otherwise dangerous.
    pub allow_addresses: Vec<IpNet>,
    /// Whether registries on this machine itself are reached, and without TLS.
    pub allow_loopback: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRegistries {
    ca_file: Option<Utf8PathBuf>,
    allow_addresses: Vec<String>,
    allow_loopback: bool,
}

pub(super) const DEFAULT_TEXT: &str = "\
[registries]
# A file with certificates (PEM) of authorities that are trusted besides those of the system.
# ca_file = \"/etc/muster/registries-ca.pem\"
# Registries are not looked for on this machine's link or at a cloud's metadata service, unless listed here.
# allow_addresses = [\"169.254.7.0/24\"]
# Whether registries on this machine itself are asked, and without TLS. Others are asked without TLS only if they are
# set up so: see `muster registries add --help`.
# allow_loopback = false
";

impl RawRegistries {
    pub(super) fn validate(self, problems: &mut Problems) -> Registries {
        let allow_addresses = self.allow_addresses.iter().filter_map(|text| {
            let parsed = text
                .parse::<IpNet>()
                .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            let parsed =
                parsed.map_err(|_| format!("{text:?} is not an address such as 192.0.2.1 or 10.0.0.0/8"));
            problems.check("registries.allow_addresses", parsed)
        });
        let allow_addresses = allow_addresses.collect();
        if let Some(file) = self.ca_file.as_ref().filter(|file| !file.is_absolute()) {
            problems.note("registries.ca_file", &format!("{file} is not an absolute path"));
        }
        Registries {
            ca_file: self.ca_file,
            allow_addresses,
            allow_loopback: self.allow_loopback,
        }
    }
}
