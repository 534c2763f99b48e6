//! From where a request comes: the connection's address, or what a listed proxy says.
//!
//! `X-Forwarded-For` can be written by anybody, so it counts only as far as it was written by proxies that the settings
//! list: from the right, the first address that is none of theirs.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName};

use super::serve::Peer;
use crate::config::Network;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address that a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client(pub(super) IpAddr);

impl Client {
    /// Finds it out. Without a connection, as in a test, it is the unspecified address.
    pub(super) fn of_connection(request: &Request, trusted: &[Network]) -> Self {
        let peer = request.extensions().get::<Peer>();
        let peer = peer.map_or(IpAddr::from([0; 4]), |peer| peer.address.ip());
        Self(behind(peer.to_canonical(), request.headers(), trusted))
    }

    /// What was found out when the request came in.
    pub(super) fn of(request: &Request) -> Self {
        let found = request.extensions().get::<Self>();
        found.copied().unwrap_or(Self(IpAddr::from([0; 4])))
    }
}

fn behind(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(peer) {
        return peer;
    }
    let mut client = peer;
    let values: Vec<&str> = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .map(|value| value.to_str().unwrap_or_default())
        .collect();
    for word in values.join(",").rsplit(',') {
        let Some(address) = address(word.trim()) else {
            return client; // Whatever stands left of what cannot be read was not written by a proxy of ours.
        };
        client = address;
        if !is_trusted(address) {
            break;
        }
    }
    client
}

/// An address, with or without a port.
fn address(word: &str) -> Option<IpAddr> {
    let socket = || word.parse().ok().map(|socket: std::net::SocketAddr| socket.ip());
    let address = word.parse().ok().or_else(socket)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_listed_proxies_wrote_counts() {
        let trusted: Vec<Network> = ["127.0.0.1", "10.0.0.0/8"]
            .map(|text| text.parse().unwrap())
            .into();
        let cases: &[(&str, &[&str], &str)] = &[
            ("192.0.2.1", &["198.51.100.1"], "192.0.2.1"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("127.0.0.1", &["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
            (
                "127.0.0.1",
                &["203.0.113.9", "198.51.100.1, 10.1.2.3"],
                "198.51.100.1",
            ),
            ("127.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("127.0.0.1", &["[2001:db8::1]:80"], "2001:db8::1"),
            ("::ffff:127.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("127.0.0.1", &["198.51.100.1, nonsense, 10.1.2.3"], "10.1.2.3"),
            ("127.0.0.1", &["nonsense"], "127.0.0.1"),
            ("127.0.0.1", &["10.9.9.9"], "10.9.9.9"),
        ];
        for (peer, values, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in *values {
                headers.append(FORWARDED_FOR, value.parse().unwrap());
            }
            let peer: IpAddr = peer.parse().unwrap();
            let found = behind(peer.to_canonical(), &headers, &trusted);
            assert_eq!(found.to_string(), *expected, "{peer} {values:?}");
        }
    }
}
