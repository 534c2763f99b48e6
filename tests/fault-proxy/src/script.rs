//! The fate of single connections.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What happens to a connection after the last byte that still passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Then {
    /// Both sides get a reset.
    Reset,
    /// Both sides get an end of stream, in the middle of whatever was being said.
    Close,
    /// The receiving side of this direction gets an end of stream; the other direction goes on.
    HalfClose,
    /// Nothing passes any more in this direction, and nobody is told: half open.
    Stall,
    /// Nothing passes any more in either direction, and nobody is told.
    Vanish,
    /// What follows in this direction is thrown away. With [`Direction::Down`] these are lost acknowledgements: what
    /// was sent is stored, and the sender never learns of it. After as many bytes as had passed, but at least 512,
    /// both sides get a reset.
    Discard,
}

/// Where a connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cut {
    /// In which direction bytes are counted.
    pub direction: Direction,
    /// How many bytes still pass.
    pub after_bytes: u64,
    /// What happens then.
    pub then: Then,
}

/// What is to happen to one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plan {
    /// Where it breaks, if it does.
    pub cut: Option<Cut>,
}

/// Breaks a share of all connections, by a seed.
#[derive(Debug, Clone)]
pub struct Chaos {
    /// From this and a connection's number follows all that happens to it.
    pub seed: u64,
    /// Share of connections that break, 0 to 1.
    pub share: f64,
    /// How many bytes pass before.
    pub after_bytes: Range<u64>,
    /// In which ways, each as likely as the others.
    pub ways: Vec<(Direction, Then)>,
}

impl Chaos {
    /// Every way of breaking that leaves nobody waiting for ever.
    #[must_use]
    pub fn cuts(seed: u64, share: f64, after_bytes: Range<u64>) -> Self {
        let mut ways = Vec::new();
        for direction in [Direction::Up, Direction::Down] {
            for then in [Then::Reset, Then::Close, Then::HalfClose] {
                ways.push((direction, then));
            }
        }
        ways.push((Direction::Down, Then::Discard));
        Self {
            seed,
            share,
            after_bytes,
            ways,
        }
    }

    /// The fate of the connection with this number.
    #[must_use]
    pub fn plan(&self, connection: u64) -> Plan {
        // Neighbouring seeds of this generator give neighbouring first numbers; spread apart they do not.
        let mixed = (self.seed ^ connection.wrapping_mul(0x9e37_79b9_7f4a_7c15)).rotate_left(17);
        let mut random = fastrand::Rng::with_seed(mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9));
        if self.ways.is_empty() || self.after_bytes.is_empty() || self.share <= random.f64() {
            return Plan::default();
        }
        let (direction, then) = self.ways[random.usize(..self.ways.len())];
        Plan {
            cut: Some(Cut {
                direction,
                after_bytes: random.u64(self.after_bytes.clone()),
                then,
            }),
        }
    }
}

/// What is to happen to connections that come, by their numbers, which begin with 0.
#[derive(Clone)]
pub struct Script(Arc<dyn Fn(u64) -> Plan + Send + Sync>);

impl Script {
    /// A script by a function.
    #[must_use]
    pub fn by(plan: impl Fn(u64) -> Plan + Send + Sync + 'static) -> Self {
        Self(Arc::new(plan))
    }

    /// A script that breaks nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::by(|_| Plan::default())
    }

    pub(crate) fn plan(&self, connection: u64) -> Plan {
        (self.0)(connection)
    }
}

impl From<Chaos> for Script {
    fn from(chaos: Chaos) -> Self {
        Self::by(move |connection| chaos.plan(connection))
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Script")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_number_decide_the_fate_of_a_connection() {
        let chaos = Chaos::cuts(7, 0.5, 100..10_000);
        let fates: Vec<Plan> = (0..200).map(|number| chaos.plan(number)).collect();
        assert_eq!(
            fates,
            (0..200).map(|number| chaos.plan(number)).collect::<Vec<_>>()
        );
        let cuts: Vec<Cut> = fates.iter().filter_map(|plan| plan.cut).collect();
        assert!((60..140).contains(&cuts.len()), "{} of 200 are cut", cuts.len());
        assert!(cuts.iter().all(|cut| (100..10_000).contains(&cut.after_bytes)));
        for way in &chaos.ways {
            assert!(
                cuts.iter().any(|cut| (cut.direction, cut.then) == *way),
                "{way:?}"
            );
        }
        let other = Chaos::cuts(8, 0.5, 100..10_000);
        assert_ne!(
            fates,
            (0..200).map(|number| other.plan(number)).collect::<Vec<_>>()
        );
    }

    #[test]
    fn nothing_is_cut_without_a_share_or_a_way() {
        assert_eq!(Chaos::cuts(1, 0.0, 1..2).plan(0), Plan::default());
        assert!(Chaos::cuts(1, 1.0, 1..2).plan(0).cut.is_some());
        let mut without_ways = Chaos::cuts(1, 1.0, 1..2);
        without_ways.ways.clear();
        assert_eq!(without_ways.plan(0), Plan::default());
    }
}
