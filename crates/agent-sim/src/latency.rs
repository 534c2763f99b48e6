//! How long acknowledgements took, to the millisecond, in memory that does not grow.

use std::time::Duration;

/// Longer times are counted as this one.
const MS_MAX: usize = 60_000;

/// Counts of times by millisecond.
#[derive(Debug)]
pub(crate) struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            counts: vec![0; MS_MAX + 1],
            total: 0,
        }
    }
}

impl Latencies {
    pub(crate) fn add(&mut self, latency: Duration) {
        let ms = usize::try_from(latency.as_millis()).unwrap_or(MS_MAX).min(MS_MAX);
        self.counts[ms] += 1;
        self.total += 1;
    }

    /// The time in milliseconds within which `percent` of all came; 0 if there were none.
    pub(crate) fn percentile_ms(&self, percent: u64) -> u64 {
        let wanted = (self.total * percent).div_ceil(100);
        let mut seen = 0;
        for (ms, count) in self.counts.iter().enumerate() {
            seen += count;
            if wanted <= seen {
                return ms as u64;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_exact_to_the_millisecond() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile_ms(99), 0);
        for ms in 1..=100 {
            latencies.add(Duration::from_millis(ms));
        }
        assert_eq!(
            (latencies.percentile_ms(50), latencies.percentile_ms(99)),
            (50, 99)
        );
        latencies.add(Duration::from_secs(3600));
        assert_eq!(latencies.percentile_ms(100), 60_000);
    }
}
