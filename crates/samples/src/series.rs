//! What a series is: to whom it belongs, what it is called, how often it comes.

use std::sync::Arc;

use muster_base::id::{ResourceId, ServerId};
use muster_model::{Labels, MetricType};
use thiserror::Error;

/// A sample counts at least this long, in milliseconds, however short its interval is.
const STALENESS_MS_MIN: i64 = 300_000;

/// How long a sample counts when reading, in milliseconds: the greater of 5 minutes and 2.5 intervals.
///
/// A series without a cadence (interval 0) counts for 5 minutes.
#[must_use]
pub const fn staleness_ms(interval_ms: u32) -> i64 {
    let intervals = interval_ms as i64 * 5 / 2;
    if intervals < STALENESS_MS_MIN {
        STALENESS_MS_MIN
    } else {
        intervals
    }
}

/// The store's own number of a series; never that of another series while the store is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesRef(pub(crate) u32);

/// Everything that is said of a series when it is first used.
///
/// Server, resource, name and labels are its identity; the rest may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesSpec {
    /// The server it was measured on.
    pub server: ServerId,
    /// The resource it belongs to; that of the server itself if it belongs to no other.
    pub resource: ResourceId,
    /// Metric name, such as `node_load1`.
    pub name: String,
    /// Its own labels; what is joined when reading (`job`, `instance`, `server_id`) is not among them.
    pub labels: Labels,
    /// Type of the metric.
    pub metric_type: MetricType,
    /// Base unit; empty if the number has none.
    pub unit: String,
    /// The collector that reads it. Series of one collector of one server are kept together, so one that moves
    /// to another collector stays with its first.
    pub collector: String,
    /// How often a sample is expected, in milliseconds; 0 if it has no cadence.
    pub interval_ms: u32,
}

/// A series as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesMeta {
    /// Its number.
    pub id: SeriesRef,
    /// The server it was measured on.
    pub server: ServerId,
    /// The resource it belongs to.
    pub resource: ResourceId,
    /// Metric name.
    pub name: Arc<str>,
    /// Its own labels; series of other servers have the same.
    pub labels: Labels,
    /// Type of the metric.
    pub metric_type: MetricType,
    /// Base unit; empty if the number has none.
    pub unit: Arc<str>,
    /// The collector that reads it.
    pub collector: Arc<str>,
    /// How often a sample is expected, in milliseconds; 0 if it has no cadence.
    pub interval_ms: u32,
    /// The group (server and collector) whose head and chunks hold its samples.
    pub(crate) group: u32,
}

impl SeriesMeta {
    /// How long a sample of it counts, in milliseconds.
    #[must_use]
    pub const fn staleness_ms(&self) -> i64 {
        staleness_ms(self.interval_ms)
    }

    /// The value of one of its own labels, or its name for `__name__`.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        if name == crate::NAME_LABEL {
            Some(&self.name)
        } else {
            self.labels.get(name)
        }
    }

    pub(crate) fn is(&self, spec: &SeriesSpec) -> bool {
        self.server == spec.server
            && self.resource == spec.resource
            && *self.name == *spec.name
            && self.labels == spec.labels
    }
}

/// Why a series was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SeriesRefused {
    /// The server has as many series as it may have.
    #[error("server {server} has {limit} series already")]
    TooMany {
        /// The server.
        server: ServerId,
        /// How many it may have.
        limit: usize,
    },
    /// The server has as many series of this family as it may have.
    #[error("server {server} has {limit} series about {family} already")]
    FamilyFull {
        /// The server.
        server: ServerId,
        /// What they are about.
        family: crate::Family,
        /// How many it may have.
        limit: usize,
    },
    /// The store has as many series as it can number.
    #[error("no numbers for series are left")]
    Exhausted,
    /// The metric's name or a label stands for something else.
    #[error("{name:?} cannot name a metric or a label of one")]
    Name {
        /// The name.
        name: String,
    },
}

impl SeriesRefused {
    /// A word for it, for metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooMany { .. } => "server_full",
            Self::FamilyFull { .. } => "family_full",
            Self::Exhausted => "exhausted",
            Self::Name { .. } => "name",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_counts_five_minutes_or_two_and_a_half_intervals() {
        assert_eq!(staleness_ms(0), 300_000);
        assert_eq!(staleness_ms(15_000), 300_000);
        assert_eq!(staleness_ms(120_000), 300_000);
        assert_eq!(staleness_ms(1_800_000), 4_500_000);
        assert_eq!(staleness_ms(u32::MAX), 10_737_418_237);
    }
}
