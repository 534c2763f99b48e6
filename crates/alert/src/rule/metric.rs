//! From a metric's name to the series that make its number.
//!
//! A name is an alias or a metric of the catalogue, or one of [`FACTS`]: what the controller itself knows and no
//! series says. What is nothing of that is refused with the nearest names.

use muster_catalogue::alias::{self, Meaning, Named, Pick, Subject};
use muster_model::{MetricType, ResourceKind};

use super::Candidate;

/// Something that the controller knows of a server or a resource, judged like a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fact {
    /// Its name.
    pub name: &'static str,
    /// Other names of it.
    pub aliases: &'static [&'static str],
    /// Whether it is of servers; else it is of what servers have.
    pub is_of_servers: bool,
    /// Unit; empty if it has none.
    pub unit: &'static str,
    /// What it says.
    pub help: &'static str,
}

/// How much of the life of a server's certificate is left, in percent.
pub const CERTIFICATE_REMAINING: &str = "certificate_remaining_percent";
/// How far a server's clock is from the controller's, in seconds.
pub const CLOCK_SKEW: &str = "clock_skew_seconds";
/// The health of a resource as it is shown.
pub const HEALTH: &str = "health";
/// Whether the controller hears from a server.
pub const IS_CONNECTED: &str = "is_connected";

/// What the controller knows.
pub const FACTS: &[Fact] = &[
    Fact {
        name: CERTIFICATE_REMAINING,
        aliases: &[],
        is_of_servers: true,
        unit: "percent",
        help: "How much of the life of the certificate of the server's agent is left",
    },
    Fact {
        name: CLOCK_SKEW,
        aliases: &["clock_skew"],
        is_of_servers: true,
        unit: "seconds",
        help: "How far the server's clock is from the controller's, either way",
    },
    Fact {
        name: HEALTH,
        aliases: &["smart_status", "health_status"],
        is_of_servers: false,
        unit: "",
        help: "The health of a resource: 0 healthy, 1 warning, 2 critical, 3 failed; unknown has no number",
    },
    Fact {
        name: IS_CONNECTED,
        aliases: &[],
        is_of_servers: true,
        unit: "",
        help: "1 while the controller hears from the server, else 0",
    },
];

/// How a number is made of its series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Formula {
    /// The largest, divided by this.
    Value(f64),
    /// How much a counter grows in a second.
    Rate,
    /// Seconds since the time that the number is.
    Age,
    /// 100 × (1 − role 0 ÷ role 1).
    PercentUsed,
    /// 100 × (1 − mean growth in a second).
    PercentBusy,
    /// Role 0 ÷ how many series role 1 has.
    PerCount,
    /// The largest of role 0 as it is, and of the seconds since the times of role 1.
    OldestOf,
}

/// A metric, labels that its series must have, and its part in the formula.
type Part = (&'static str, &'static [(&'static str, &'static str)], usize);

/// A number that is made of series and that neither a series nor an alias is.
struct Derived {
    name: &'static str,
    subject: ResourceKind,
    unit: &'static str,
    formula: Formula,
    grouping: Grouping,
    parts: &'static [Part],
}

const DERIVED: &[Derived] = &[
    Derived {
        name: "inodes_percent",
        subject: ResourceKind::Filesystem,
        unit: "percent",
        formula: Formula::PercentUsed,
        grouping: Grouping::Series,
        parts: &[
            ("node_filesystem_files_free", &[], 0),
            ("node_filesystem_files", &[], 1),
        ],
    },
    Derived {
        name: "load_per_cpu",
        subject: ResourceKind::Server,
        unit: "",
        formula: Formula::PerCount,
        grouping: Grouping::Resource,
        parts: &[
            ("node_load5", &[], 0),
            ("node_cpu_seconds_total", &[("mode", "idle")], 1),
        ],
    },
    Derived {
        name: "scrub_age_seconds",
        subject: ResourceKind::Pool,
        unit: "seconds",
        formula: Formula::OldestOf,
        grouping: Grouping::Resource,
        parts: &[
            ("muster_btrfs_scrub_age_seconds", &[], 0),
            ("muster_zfs_pool_scan_end_seconds", &[], 1),
        ],
    },
];

/// What a number is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// One for each set of labels of a resource.
    Series,
    /// One for each resource.
    Resource,
}

/// Series of one part of a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Name of the metric.
    pub metric: String,
    /// Labels that must have these values.
    pub labels: Vec<(String, String)>,
    /// Which part of the formula it is.
    pub role: usize,
}

/// Which series make a metric's number, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// How.
    pub formula: Formula,
    /// Which.
    pub patterns: Vec<Pattern>,
    /// What a number is one of.
    pub grouping: Grouping,
    /// Unit of the number; empty if it has none.
    pub unit: String,
    /// Whether it is one of [`FACTS`].
    pub is_fact: bool,
    /// What it is of, if that is fixed.
    pub subject: Option<ResourceKind>,
    /// Whether the number only goes up until what is counted starts anew.
    pub is_counter: bool,
}

impl Plan {
    /// The plan of a name.
    ///
    /// # Errors
    /// That nobody knows it, with the nearest names.
    pub fn of(name: &str) -> Result<Self, String> {
        if let Some(fact) = FACTS
            .iter()
            .find(|fact| fact.name == name || fact.aliases.contains(&name))
        {
            return Ok(Self::of_fact(fact));
        }
        if let Some(derived) = DERIVED.iter().find(|derived| derived.name == name) {
            return Ok(Self::of_derived(derived));
        }
        match alias::resolve(name) {
            Ok(Named::Alias(alias)) => Ok(Self::of_alias(alias)),
            Ok(Named::Metric) => Ok(Self::of_metric(name)),
            Err(unknown) => {
                let mut near: Vec<&str> = FACTS
                    .iter()
                    .map(|fact| fact.name)
                    .chain(DERIVED.iter().map(|derived| derived.name))
                    .filter(|known| 0.85 <= strsim::jaro_winkler(known, name))
                    .collect();
                near.extend(unknown.nearest.iter().map(String::as_str));
                let mut message = format!("no metric is called {}", crate::fields::quoted(name));
                if !near.is_empty() {
                    message.push_str("; the nearest are ");
                    message.push_str(&near.join(", "));
                }
                Err(message)
            }
        }
    }

    fn of_fact(fact: &Fact) -> Self {
        Self {
            formula: Formula::Value(1.0),
            patterns: vec![Pattern {
                metric: fact.name.to_owned(),
                labels: Vec::new(),
                role: 0,
            }],
            grouping: Grouping::Resource,
            unit: fact.unit.to_owned(),
            is_fact: true,
            subject: fact.is_of_servers.then_some(ResourceKind::Server),
            is_counter: false,
        }
    }

    fn of_derived(derived: &Derived) -> Self {
        let pattern = |(metric, labels, role): &Part| Pattern {
            metric: (*metric).to_owned(),
            labels: labels
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            role: *role,
        };
        Self {
            formula: derived.formula,
            patterns: derived.parts.iter().map(pattern).collect(),
            grouping: derived.grouping,
            unit: derived.unit.to_owned(),
            is_fact: false,
            subject: Some(derived.subject),
            is_counter: false,
        }
    }

    fn of_metric(name: &str) -> Self {
        let known = muster_catalogue::lookup(name);
        Self {
            formula: Formula::Value(1.0),
            patterns: vec![Pattern {
                metric: name.to_owned(),
                labels: Vec::new(),
                role: 0,
            }],
            grouping: Grouping::Series,
            unit: known.map(|known| known.unit.to_owned()).unwrap_or_default(),
            is_fact: false,
            subject: None,
            is_counter: known.is_some_and(|known| known.metric_type == MetricType::Counter),
        }
    }

    fn of_alias(alias: &alias::Alias) -> Self {
        let (formula, grouping, picks): (_, _, Vec<(Pick, usize)>) = match alias.meaning {
            Meaning::Value { picks, divisor } => (
                Formula::Value(divisor),
                Grouping::Resource,
                picks.iter().map(|pick| (*pick, 0)).collect(),
            ),
            Meaning::Rate(pick) => (Formula::Rate, Grouping::Series, vec![(pick, 0)]),
            Meaning::Age(pick) => (Formula::Age, Grouping::Series, vec![(pick, 0)]),
            Meaning::PercentUsed { left, whole } => (
                Formula::PercentUsed,
                Grouping::Series,
                vec![(left, 0), (whole, 1)],
            ),
            Meaning::PercentBusy(pick) => (Formula::PercentBusy, Grouping::Resource, vec![(pick, 0)]),
            // Is one of the facts, which come first.
            Meaning::Connected => (Formula::Value(1.0), Grouping::Resource, Vec::new()),
        };
        let pattern = |(pick, role): (Pick, usize)| Pattern {
            metric: pick.metric.to_owned(),
            labels: pick
                .labels
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            role,
        };
        Self {
            formula,
            grouping,
            patterns: picks.into_iter().map(pattern).collect(),
            unit: alias.unit.to_owned(),
            is_fact: false,
            subject: Some(kind_of(alias.subject)),
            is_counter: false,
        }
    }

    /// Names of the series it is made of.
    pub fn metrics(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().map(|pattern| pattern.metric.as_str())
    }

    /// Which part of the formula a series is, if it is one.
    #[must_use]
    pub fn role(&self, candidate: &Candidate<'_>) -> Option<usize> {
        if self.is_fact != candidate.is_fact {
            return None;
        }
        let pattern = self.patterns.iter().find(|pattern| {
            pattern.metric == candidate.name
                && pattern
                    .labels
                    .iter()
                    .all(|(name, value)| candidate.labels.get(name) == Some(value))
        })?;
        Some(pattern.role)
    }
}

/// The kind of resource that what an alias speaks of belongs to.
const fn kind_of(subject: Subject) -> ResourceKind {
    match subject {
        Subject::Device => ResourceKind::Device,
        Subject::Filesystem => ResourceKind::Filesystem,
        Subject::Server | Subject::Interface => ResourceKind::Server,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alias_and_every_fact_has_a_plan_with_series() {
        for alias in alias::ALIASES {
            let plan = Plan::of(alias.name).unwrap();
            assert!(!plan.patterns.is_empty(), "{}", alias.name);
        }
        for fact in FACTS {
            for name in fact.aliases.iter().chain([&fact.name]) {
                let plan = Plan::of(name).unwrap();
                assert!(plan.is_fact && plan.patterns[0].metric == fact.name, "{name}");
            }
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest() {
        let message = Plan::of("temperature_selsius").unwrap_err();
        assert!(message.contains("temperature_celsius"), "{message}");
        let message = Plan::of("is_konnected").unwrap_err();
        assert!(message.contains("is_connected"), "{message}");
        assert!(!Plan::of("zzz").unwrap_err().contains("nearest"));
    }
}
