//! Counts of what the intake did.

use std::sync::atomic::{AtomicU64, Ordering};

use super::salvage::Salvaged;

/// Counters since the start, and a few figures of now. Read with [`IntakeMetrics::get`].
#[derive(Debug, Default)]
pub struct IntakeMetrics {
    /// Reports stored, each once.
    pub reports_stored: AtomicU64,
    /// Reports that had been stored before and were acknowledged again.
    pub reports_duplicate: AtomicU64,
    /// Reports of which a part or all was refused, and which were stored as a gap with the reason.
    pub reports_refused: AtomicU64,
    /// Samples in stored reports.
    pub samples_stored: AtomicU64,
    /// Samples refused because their series is beyond the agent's limit.
    pub samples_refused_series: AtomicU64,
    /// Samples refused because their time is too far ahead of the time of receipt.
    pub samples_refused_ahead: AtomicU64,
    /// Samples refused because they are too old.
    pub samples_refused_old: AtomicU64,
    /// Values that are no numbers and were left out.
    pub samples_not_finite: AtomicU64,
    /// Reports that came with a wrong clock, whose times were rebuilt from the time since boot.
    pub reports_time_rebuilt: AtomicU64,
    /// Reports whose time is not known.
    pub reports_time_unknown: AtomicU64,
    /// Definitions stored.
    pub definitions_stored: AtomicU64,
    /// Definitions beyond the agent's limit.
    pub definitions_refused: AtomicU64,
    /// How often definitions had to be asked for.
    pub definitions_missing: AtomicU64,
    /// Reports not taken because their epoch has too many holes.
    pub too_many_holes: AtomicU64,
    /// Bytes of stored reports and definitions before compression.
    pub plain_bytes: AtomicU64,
    /// Bytes of stored reports and definitions as written.
    pub packed_bytes: AtomicU64,
    /// Transactions committed.
    pub commits: AtomicU64,
    /// Transactions that failed; none of their reports was acknowledged.
    pub commits_failed: AtomicU64,
    /// Time spent in transactions, microseconds.
    pub commit_us: AtomicU64,
    /// Records deleted because every consumer has passed them.
    pub records_trimmed: AtomicU64,
    /// Records that a consumer could not take, now kept aside.
    pub set_aside: AtomicU64,
    /// Times the file was found damaged and replaced by what was good of it.
    pub damaged_files: AtomicU64,
    /// Records lost with damaged files; each is a gap.
    pub records_lost: AtomicU64,
    /// Bytes that records take in the file now.
    pub used_bytes: AtomicU64,
    /// 1 while no report is taken, else 0.
    pub full: AtomicU64,
}

impl IntakeMetrics {
    /// Reads a counter.
    #[must_use]
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    /// Counts a file that was replaced, if one was.
    pub(super) fn note_salvaged(&self, salvaged: Option<Salvaged>) {
        if let Some(told) = salvaged {
            self.add(&self.damaged_files, 1);
            self.add(&self.records_lost, told.lost);
        }
    }

    /// Adds to one of the counters.
    pub(crate) fn add(&self, counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }

    /// Sets one of the figures of now.
    pub(crate) fn set(&self, figure: &AtomicU64, value: u64) {
        figure.store(value, Ordering::Relaxed);
    }
}
