//! `[http]` and `[agents]`: the two ports.

use std::net::{Ipv4Addr, SocketAddr};

use serde::Deserialize;

use super::{Network, Problems};

/// The port for people and programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Where it listens; loopback.
    pub address: SocketAddr,
    /// Reverse proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<Network>,
}

impl Http {
    /// Where it listens unless told otherwise.
    pub const ADDRESS_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8480);
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
    pub const ADDRESS_DEFAULT: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8481);
    /// Most open connections unless told otherwise.
    pub const CONNECTIONS_MAX_DEFAULT: usize = 20_000;
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHttp {
    address: Option<String>,
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
         # Where people and programs connect. It speaks plain HTTP, so it has to be loopback; a reverse proxy gives it\n\
         # TLS and an address for others.\n\
         # address = \"{}\"\n\
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
    pub(super) fn validate(self, named: Option<SocketAddr>, problems: &mut Problems) -> Http {
        const KEY: &str = "http.address";
        let address = address(KEY, named, self.address, Http::ADDRESS_DEFAULT, problems);
        if !address.ip().is_loopback() {
            problems.note(
                KEY,
                &format!(
                    "{address} is reachable from other machines, and this version speaks plain HTTP only: listen on \
                     127.0.0.1:{} and let a reverse proxy with TLS pass requests on",
                    address.port()
                ),
            );
        }
        let mut trusted_proxies = Vec::new();
        for text in self.trusted_proxies {
            trusted_proxies.extend(problems.check("http.trusted_proxies", text.parse::<Network>()));
        }
        Http {
            address,
            trusted_proxies,
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
