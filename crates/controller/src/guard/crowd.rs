//! The connections that have not shown yet who they are: each address has a number of places, and whoever comes when
//! they are taken gets the place of the one that came first.
//!
//! So silent connections cannot keep out one that says at once what it wants, also from the same address. Bounded by
//! the connections there are.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use muster_base::shutdown::CancellationToken;

/// The places; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Crowd {
    places: Arc<Mutex<Places>>,
    per_address_max: usize,
}

#[derive(Debug, Default)]
struct Places {
    addresses: HashMap<IpAddr, VecDeque<(u64, CancellationToken)>>,
    count: u64,
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Newcomer {
    crowd: Crowd,
    address: IpAddr,
    number: u64,
    evicted: CancellationToken,
}

impl Crowd {
    pub(crate) fn new(per_address_max: usize) -> Self {
        Self {
            places: Arc::default(),
            per_address_max: per_address_max.max(1),
        }
    }

    /// Takes a place, the oldest one's if there is none left. Returns whether that was so.
    pub(crate) fn enter(&self, address: IpAddr) -> (Newcomer, bool) {
        let address = network(address);
        let evicted = CancellationToken::new();
        let mut places = self.lock();
        places.count += 1;
        let number = places.count;
        let taken = places.addresses.entry(address).or_default();
        taken.push_back((number, evicted.clone()));
        let oldest = if self.per_address_max < taken.len() {
            taken.pop_front()
        } else {
            None
        };
        drop(places);
        let has_evicted = oldest.is_some();
        if let Some((_, oldest)) = oldest {
            oldest.cancel();
        }
        let newcomer = Newcomer {
            crowd: self.clone(),
            address,
            number,
            evicted,
        };
        (newcomer, has_evicted)
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        // Nothing in here can panic half way.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Newcomer {
    /// Cancelled when the place is another's; whoever holds it has to go.
    pub(crate) fn evicted(&self) -> CancellationToken {
        self.evicted.clone()
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        let mut places = self.crowd.lock();
        if let Some(taken) = places.addresses.get_mut(&self.address) {
            taken.retain(|(number, _)| *number != self.number);
            if taken.is_empty() {
                places.addresses.remove(&self.address);
            }
        }
    }
}

/// What counts as one address: with IPv6, the network that one site gets.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_newest_takes_the_place_of_the_oldest_of_its_address_alone() {
        let crowd = Crowd::new(2);
        let (one, _) = crowd.enter(address("10.0.0.1"));
        let (two, _) = crowd.enter(address("10.0.0.1"));
        let (other, is_evicting) = crowd.enter(address("10.0.0.2"));
        assert!(!is_evicting);
        let (three, is_evicting) = crowd.enter(address("::ffff:10.0.0.1"));
        assert!(is_evicting);
        let gone = [&one, &two, &other, &three].map(|newcomer| newcomer.evicted().is_cancelled());
        assert_eq!(gone, [true, false, false, false]);
        drop(two);
        assert!(!crowd.enter(address("10.0.0.1")).1, "a place was given back");
        drop((one, other, three));
        assert!(crowd.lock().addresses.is_empty());
    }

    #[test]
    fn a_site_with_many_addresses_is_one() {
        let crowd = Crowd::new(1);
        let (_one, _) = crowd.enter(address("2001:db8:1:2::1"));
        assert!(crowd.enter(address("2001:db8:1:2:ffff::9")).1);
        assert!(!crowd.enter(address("2001:db8:1:3::1")).1);
    }
}
