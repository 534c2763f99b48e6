//! Metric types and the staleness marker.

use serde::{Deserialize, Serialize};

/// The type of a metric, as the Prometheus text format names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricType {
    /// Goes up, and back to zero only when what is counted starts anew.
    Counter,
    /// May go anywhere.
    Gauge,
    /// The source does not say.
    Untyped,
}

impl MetricType {
    /// The word of the `# TYPE` line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Untyped => "untyped",
        }
    }
}

/// The value that ends a series: from its time on the series has no value, at once and not after a timeout.
///
/// The bit pattern is the one Prometheus uses, so that remote write can pass it on.
pub const STALE_NAN: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Whether `value` is the staleness marker (and not just any NaN).
#[must_use]
pub const fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN.to_bits()
}
