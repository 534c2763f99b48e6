//! `[http]` and `[agents]`: the two ports.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use camino::Utf8PathBuf;
use serde::Deserialize;

use super::{Network, Problems};

/// The port for people and programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Where it listens.
    pub address: SocketAddr,
    /// How it is encrypted; `None` is plain HTTP, which is possible on loopback only.
    pub tls: Option<HttpTls>,
    /// Reverse proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<Network>,
}

/// Whose certificate the HTTP port shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpTls {
    /// One of the controller's own authority.
    Own {
        /// DNS names and addresses under which people reach it, beside those of this machine.
        names: Vec<String>,
    },
    /// One from files, PEM.
    Files {
        /// The certificate and what leads to its root.
        certificate: Utf8PathBuf,
        /// Its private key.
        key: Utf8PathBuf,
    },
}

impl HttpTls {
    /// Whether a text can stand in a certificate as a DNS name or an address.
    #[must_use]
    pub fn is_name(text: &str) -> bool {
        let is_label = |label: &str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            !label.is_empty() && label.bytes().all(is_plain)
        };
        text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && text.split('.').all(is_label))
    }
}

impl Http {
    /// Where it listens unless told otherwise.
    pub const ADDRESS_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8480);
}

/// The port for agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agents {
    /// Where it listens.
    pub address: SocketAddr,
    /// `HOST:PORT` under which agents reach it, for install commands; `None` if the settings do not say.
    pub advertised: Option<String>,
    /// Most open connections.
    pub connections_max: usize,
}

impl Agents {
    /// Where it listens unless told otherwise.
    pub const ADDRESS_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8481);
    /// Most open connections unless told otherwise.
    pub const CONNECTIONS_MAX_DEFAULT: usize = 20_000;
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHttp {
    address: Option<String>,
    tls: Option<bool>,
    names: Vec<String>,
    certificate: Option<Utf8PathBuf>,
    key: Option<Utf8PathBuf>,
    trusted_proxies: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAgents {
    address: Option<String>,
    advertised: Option<String>,
    connections_max: Option<usize>,
}

pub(super) fn default_text() -> String {
    format!(
        "[http]\n\
         # Where people and programs connect. On loopback it speaks plain HTTP unless told otherwise, everywhere else\n\
         # TLS, always.\n\
         # address = \"{}\"\n\
         # TLS on loopback too.\n\
         # tls = false\n\
         # Names and addresses under which others reach it, for the certificate that it makes itself. `muster login`\n\
         # asks whether to trust that; `muster-controller ca root` prints what to trust.\n\
         # names = []\n\
         # A certificate with what leads to its root, and its key, PEM; in place of that. Read anew when they change.\n\
         # certificate = \"/etc/muster/http.crt\"\n\
         # key = \"/etc/muster/http.key\"\n\
         # Addresses of reverse proxies, such as \"127.0.0.1\" or \"10.0.0.0/8\". Only what these write into\n\
         # X-Forwarded-For is believed; without an entry here, all who come through a proxy count as one address when\n\
         # logins are limited.\n\
         # trusted_proxies = []\n\n\
         [agents]\n\
         # Where agents connect, always with TLS.\n\
         # address = \"{}\"\n\
         # HOST:PORT under which agents reach it, for install commands; if not given, this machine's name and port.\n\
         # advertised = \"muster.example.com:8481\"\n\
         # Most open connections.\n\
         # connections_max = {}\n",
        Http::ADDRESS_DEFAULT,
        Agents::ADDRESS_DEFAULT,
        Agents::CONNECTIONS_MAX_DEFAULT
    )
}

impl RawHttp {
    pub(super) fn validate(mut self, named: Option<SocketAddr>, problems: &mut Problems) -> Http {
        const KEY: &str = "http.address";
        let written = self.address.take();
        let address = address(KEY, named, written, Http::ADDRESS_DEFAULT, problems);
        let tls = self.tls(address, problems);
        let mut trusted_proxies = Vec::new();
        for text in self.trusted_proxies {
            trusted_proxies.extend(problems.check("http.trusted_proxies", text.parse::<Network>()));
        }
        Http {
            address,
            tls,
            trusted_proxies,
        }
    }

    fn tls(&mut self, address: SocketAddr, problems: &mut Problems) -> Option<HttpTls> {
        for name in self.names.iter().filter(|name| !HttpTls::is_name(name)) {
            problems.note(
                "http.names",
                &format!("{name:?} is neither a DNS name nor an address"),
            );
        }
        for (key, file) in [("http.certificate", &self.certificate), ("http.key", &self.key)] {
            if let Some(file) = file.as_ref().filter(|file| !file.is_absolute()) {
                problems.note(key, &format!("{file} is not an absolute path"));
            }
        }
        let is_reachable = !address.ip().is_loopback();
        if is_reachable && self.tls == Some(false) {
            problems.note(
                "http.tls",
                &format!(
                    "{address} is reachable from other machines, and passwords are sent there: TLS it must be"
                ),
            );
        }
        let names = std::mem::take(&mut self.names);
        match (self.certificate.take(), self.key.take()) {
            (Some(certificate), Some(key)) => {
                if !names.is_empty() {
                    problems.note("http.names", &"the certificate of http.certificate has its own");
                }
                (is_reachable || self.tls != Some(false)).then_some(HttpTls::Files { certificate, key })
            }
            (None, None) => (is_reachable || self.tls == Some(true)).then_some(HttpTls::Own { names }),
            (Some(_), None) => {
                problems.note("http.key", &"is needed beside http.certificate");
                None
            }
            (None, Some(_)) => {
                problems.note("http.certificate", &"is needed beside http.key");
                None
            }
        }
    }
}

impl RawAgents {
    pub(super) fn validate(self, named: Option<SocketAddr>, problems: &mut Problems) -> Agents {
        let address = address(
            "agents.address",
            named,
            self.address,
            Agents::ADDRESS_DEFAULT,
            problems,
        );
        if let Some(advertised) = &self.advertised
            && !is_host_and_port(advertised)
        {
            problems.note("agents.advertised", &format!("{advertised:?} is not HOST:PORT"));
        }
        let connections_max = self.connections_max.unwrap_or(Agents::CONNECTIONS_MAX_DEFAULT);
        Agents {
            address,
            advertised: self.advertised,
            connections_max: problems.bound("agents.connections_max", connections_max, 1, 1_000_000),
        }
    }
}

fn address(
    key: &str,
    named: Option<SocketAddr>,
    written: Option<String>,
    default: SocketAddr,
    problems: &mut Problems,
) -> SocketAddr {
    let parse = |text: String| {
        text.parse()
            .map_err(|_| format!("{text:?} is not an address and port"))
    };
    let written = written.and_then(|text| problems.check(key, parse(text)));
    named.or(written).unwrap_or(default)
}

fn is_host_and_port(text: &str) -> bool {
    // It goes into a shell command: nothing but what names and addresses are made of.
    let is_plain = |host: &str| {
        !host.is_empty()
            && host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
    };
    text.rsplit_once(':')
        .is_some_and(|(host, port)| is_plain(host) && port.parse::<u16>().is_ok_and(|port| port != 0))
}
