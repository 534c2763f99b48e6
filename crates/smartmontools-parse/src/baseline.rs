//! Damage somebody has seen and accepted, so that only its growth is news.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::Report;

/// A count of damage that only ever grows in a drive's life (or, for pending sectors, shrinks by being mended).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counter {
    /// Sectors replaced by spare ones: ATA attribute 5, SCSI grown defects.
    Reallocated,
    /// Sectors waiting to be mended: ATA attribute 197, SCSI pending defects.
    Pending,
    /// Sectors the drive's own scan could not read: ATA attribute 198.
    OfflineUncorrectable,
    /// Errors that could not be corrected: ATA attribute 187.
    ReportedUncorrectable,
    /// Parity errors on the way through the drive: ATA attribute 184.
    EndToEnd,
    /// Commands that took too long: ATA attribute 188.
    CommandTimeout,
    /// Errors on the cable: ATA attribute 199.
    Crc,
    /// NVMe media and data integrity errors.
    MediaErrors,
    /// Errors of reading, writing and verifying that a SCSI drive could not correct.
    ScsiUncorrected,
}

impl Counter {
    /// Every counter.
    pub const ALL: [Self; 9] = [
        Self::Reallocated,
        Self::Pending,
        Self::OfflineUncorrectable,
        Self::ReportedUncorrectable,
        Self::EndToEnd,
        Self::CommandTimeout,
        Self::Crc,
        Self::MediaErrors,
        Self::ScsiUncorrected,
    ];
}

/// Counts as they were when somebody accepted them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// The counts; one that is missing was not accepted.
    pub counts: BTreeMap<Counter, u64>,
}

impl Baseline {
    /// Accepts everything a report counts.
    pub fn of(report: &Report) -> Self {
        let counts = Counter::ALL
            .into_iter()
            .filter_map(|counter| Some((counter, report.counter(counter)?)));
        Self {
            counts: counts.collect(),
        }
    }

    /// The accepted count, 0 when none was.
    pub fn get(&self, counter: Counter) -> u64 {
        self.counts.get(&counter).copied().unwrap_or(0)
    }
}
