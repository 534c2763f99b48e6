//! Ways in which simulated agents misbehave, and which of them do.

use std::str::FromStr;

/// A way of misbehaving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    /// Writes a frame, and reads one, only now and then.
    Slow,
    /// Sends each report up to six times.
    Duplicate,
    /// Sends reports in another order than that of their numbers.
    Reorder,
    /// Names epochs, numbers, series, resources and losses that are not its own or do not exist, now and then in
    /// frames that can't be read.
    Liar,
    /// Is of the first version, leaves out what may be left out, and has a clock that stands in 1970.
    Ancient,
    /// Is of a version to come: fields, values of enumerations and messages that nobody knows yet.
    FutureVersion,
    /// Defines more series at every tick, far beyond what one agent may have, with labels and values out of bounds.
    Cardinality,
}

/// Every fault by its name on the command line.
const NAMES: &[(&str, Fault)] = &[
    ("slow", Fault::Slow),
    ("duplicate", Fault::Duplicate),
    ("reorder", Fault::Reorder),
    ("liar", Fault::Liar),
    ("ancient", Fault::Ancient),
    ("future-version", Fault::FutureVersion),
    ("cardinality", Fault::Cardinality),
];

/// A fault, and the share of agents that have it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Share {
    pub(crate) fault: Fault,
    /// From 0 to 1.
    pub(crate) share: f64,
}

impl FromStr for Share {
    type Err = String;

    /// `KIND` for all agents, or `KIND=SHARE` with a share such as 0.1.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, share) = text.split_once('=').unwrap_or((text, "1"));
        let Some((_, fault)) = NAMES.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = NAMES.iter().map(|(known, _)| *known).collect();
            return Err(format!("unknown fault {name:?}: use {}", known.join(", ")));
        };
        match share.parse::<f64>() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self { fault: *fault, share }),
            _ => Err(format!("{share:?} is no share between 0 and 1")),
        }
    }
}

/// The fault of one agent, if it has one: the first agents have the first fault, those after them the next, each of at
/// least one agent if its share is above 0.
pub(crate) fn of_agent(index: u32, agents: u32, shares: &[Share]) -> Option<Fault> {
    let mut end = 0.0;
    for Share { fault, share } in shares {
        end += (f64::from(agents) * share).ceil();
        if f64::from(index) < end {
            return Some(*fault);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named_with_the_share_of_agents_that_have_them() {
        let slow: Share = "slow=0.1".parse().unwrap();
        assert_eq!(
            slow,
            Share {
                fault: Fault::Slow,
                share: 0.1
            }
        );
        let all: Share = "future-version".parse().unwrap();
        assert_eq!(
            all,
            Share {
                fault: Fault::FutureVersion,
                share: 1.0
            }
        );
        for text in ["", "fast", "slow=", "slow=2", "slow=-0.1", "slow=NaN"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_first_agents_have_the_first_fault() {
        let shares = ["liar=0.2", "slow=0.01"].map(|text| text.parse().unwrap());
        let faults: Vec<Option<Fault>> = (0..10).map(|index| of_agent(index, 10, &shares)).collect();
        assert_eq!(faults[..2], [Some(Fault::Liar); 2]);
        assert_eq!(faults[2], Some(Fault::Slow));
        assert!(faults[3..].iter().all(Option::is_none));
        assert_eq!(of_agent(0, 10, &[]), None);
    }
}
