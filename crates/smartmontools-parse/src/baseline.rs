//! Damage somebody has seen and accepted, so that only its growth is news.

use std::collections::{BTreeMap, BTreeSet};

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
    /// Starts of the spindle that needed another try: ATA attribute 10.
    SpinRetry,
    /// Attempts to replace a sector, good or not: ATA attribute 196.
    ReallocationEvents,
    /// Reads that succeeded only off track: ATA attribute 201.
    SoftReadErrors,
}

impl Counter {
    /// Every counter.
    pub const ALL: [Self; 12] = [
        Self::Reallocated,
        Self::Pending,
        Self::OfflineUncorrectable,
        Self::ReportedUncorrectable,
        Self::EndToEnd,
        Self::CommandTimeout,
        Self::Crc,
        Self::MediaErrors,
        Self::ScsiUncorrected,
        Self::SpinRetry,
        Self::ReallocationEvents,
        Self::SoftReadErrors,
    ];

    /// The ATA attribute that keeps the count; `None` for counts that only other protocols have.
    pub const fn attribute(self) -> Option<u8> {
        match self {
            Self::Reallocated => Some(5),
            Self::Pending => Some(197),
            Self::OfflineUncorrectable => Some(198),
            Self::ReportedUncorrectable => Some(187),
            Self::EndToEnd => Some(184),
            Self::CommandTimeout => Some(188),
            Self::Crc => Some(199),
            Self::SpinRetry => Some(10),
            Self::ReallocationEvents => Some(196),
            Self::SoftReadErrors => Some(201),
            Self::MediaErrors | Self::ScsiUncorrected => None,
        }
    }
}

/// Counts as they were when somebody accepted them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// The counts; one that is missing was not accepted.
    pub counts: BTreeMap<Counter, u64>,
    /// ATA attributes that had been at or below their threshold in the past.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub failed_before: BTreeSet<u8>,
    /// Self-tests that had failed and that no newer one outdated.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub self_test_errors: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Baseline {
    /// Accepts everything a report counts.
    pub fn of(report: &Report) -> Self {
        let counts = Counter::ALL
            .into_iter()
            .filter_map(|counter| Some((counter, report.counter(counter)?)));
        let past = |when: &Option<String>| when.as_deref() == Some("past");
        let failed_before = report
            .ata
            .attributes
            .iter()
            .filter(|attribute| past(&attribute.when_failed))
            .map(|attribute| attribute.id);
        Self {
            counts: counts.collect(),
            failed_before: failed_before.collect(),
            self_test_errors: report.self_test_errors().unwrap_or(0),
        }
    }

    /// The accepted count, 0 when none was.
    pub fn get(&self, counter: Counter) -> u64 {
        self.counts.get(&counter).copied().unwrap_or(0)
    }
}
