//! Which addresses may be connected to.
//!
//! Whoever may set up a channel could otherwise make the controller talk to what only it can reach: itself, its
//! neighbours on the link, and the metadata services of cloud providers, which hand out credentials. The address is
//! judged when the connection is made, after every name was resolved, and that very address is connected to: a name
//! that resolves to something else the second time gains nothing. Private networks are not refused: that is where
//! people run their own services.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use thiserror::Error;

/// Metadata services outside of the ranges that are refused as a whole.
const METADATA: [IpAddr; 5] = [
    // Alibaba Cloud.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Azure's wire server.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // AWS, over IPv6.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254)),
    // Google Cloud, over IPv6.
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254)),
    // Scaleway, over IPv6.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x42)),
];

/// An address that is not connected to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{address} is {why}, and notify.allow_addresses does not list it")]
pub struct Refused {
    /// The address.
    pub address: IpAddr,
    /// What it is.
    pub why: &'static str,
}

/// Judges addresses.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allowed: Vec<IpNet>,
}

impl Guard {
    /// Refuses what is dangerous, except for these networks.
    #[must_use]
    pub const fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Whether an address may be connected to.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn check(&self, address: IpAddr) -> Result<(), Refused> {
        let real = unwrapped(address);
        let is_allowed = |address: &IpAddr| self.allowed.iter().any(|network| network.contains(address));
        if is_allowed(&address) || is_allowed(&real) {
            return Ok(());
        }
        match danger(real) {
            Some(why) => Err(Refused { address, why }),
            None => Ok(()),
        }
    }
}

/// The IPv4 address that an IPv6 one stands for: mapped, compatible, NAT64 (RFC 6052) and 6to4 (RFC 3056).
fn unwrapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let segments = v6.segments();
    let of = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low] => of(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => of(high, low),
        [0x2002, high, low, ..] => of(high, low),
        // Not `::` and `::1`, which are themselves.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => of(high, low),
        _ => address,
    }
}

fn danger(address: IpAddr) -> Option<&'static str> {
    if METADATA.contains(&address) {
        return Some("a cloud provider's metadata service");
    }
    match address {
        IpAddr::V4(v4) => danger_v4(v4),
        IpAddr::V6(v6) => danger_v6(v6),
    }
}

fn danger_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [127, ..] => Some("a loopback address"),
        [169, 254, ..] => Some("a link-local address"),
        [0, ..] => Some("an unspecified address"),
        [224..=239, ..] => Some("a multicast address"),
        [240..=255, ..] => Some("a reserved or broadcast address"),
        // IETF protocol assignments; Oracle Cloud's metadata service is among them.
        [192, 0, 0, _] => Some("a reserved address"),
        _ => None,
    }
}

fn danger_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("a loopback address"),
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("an unspecified address"),
        [0, ..] => Some("a reserved address"),
        [0xfe80..=0xfebf, ..] => Some("a link-local address"),
        [0xfec0..=0xfeff, ..] => Some("a site-local address"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        // Local NAT64 and Teredo hide an IPv4 address in ways that depend on who runs them.
        [0x64, 0xff9b, 1, ..] | [0x2001, 0, ..] | [0x100, 0, 0, 0, ..] => Some("a reserved address"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_refused(guard: &Guard, address: &str) -> bool {
        guard.check(address.parse().unwrap()).is_err()
    }

    /// S23
    #[test]
    fn what_only_the_controller_can_reach_is_refused_in_every_spelling() {
        let guard = Guard::default();
        for address in [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "240.0.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001:0:1:2::3",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "100::1",
        ] {
            assert!(is_refused(&guard, address), "{address}");
        }
        for address in [
            "192.0.2.1",
            "10.0.0.1",
            "192.168.1.2",
            "172.16.0.1",
            "100.64.0.1",
            "2001:db8::1",
            "fd12::1",
            "::ffff:192.0.2.1",
            "64:ff9b::192.0.2.1",
            "2606:4700::1111",
        ] {
            assert!(!is_refused(&guard, address), "{address}");
        }
    }

    #[test]
    fn what_is_listed_is_allowed_and_nothing_else() {
        let guard = Guard::new(vec![
            "127.0.0.1/32".parse().unwrap(),
            "fe80::/64".parse().unwrap(),
        ]);
        assert!(!is_refused(&guard, "127.0.0.1"));
        assert!(!is_refused(&guard, "::ffff:127.0.0.1"));
        assert!(!is_refused(&guard, "fe80::1"));
        assert!(is_refused(&guard, "127.0.0.2"));
        assert!(is_refused(&guard, "::1"));
        assert!(is_refused(&guard, "169.254.169.254"));
    }

    proptest! {
        /// S23
        #[test]
        fn no_wrapping_makes_a_dangerous_address_a_good_one(bits in any::<u32>()) {
            let guard = Guard::default();
            let v4 = Ipv4Addr::from_bits(bits);
            let [high, low] = [(bits >> 16) as u16, (bits & 0xffff) as u16];
            let wrapped = [
                v4.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            ];
            let is_refused = guard.check(v4.into()).is_err();
            for wrapped in wrapped {
                prop_assert_eq!(guard.check(wrapped.into()).is_err(), is_refused);
            }
        }
    }
}
