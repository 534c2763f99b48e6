//! Reports: what an agent sends, each under its own sequence number.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Link, Problem, Resource, ResourceKey, SequenceRange};

/// A reading of the agent's clocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// The wall clock, Unix milliseconds; may be wrong by any amount.
    pub wall_ms: i64,
    /// Milliseconds since boot, suspend included; never goes back within a boot.
    pub boottime_ms: i64,
    /// The kernel's random id of this boot (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
}

/// Why a block of samples was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SampleBlockError {
    /// Values do not fill the rectangle of times by series.
    #[error("{values} values for {times} times of {series} series")]
    NotARectangle {
        /// Number of values.
        values: usize,
        /// Number of times.
        times: usize,
        /// Number of series.
        series: usize,
    },
    /// There are more samples than a block may have.
    #[error("{count} samples in one block")]
    TooMany {
        /// Number of samples.
        count: usize,
    },
}

/// A full rectangle of samples: every series has a value at every time.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleBlock {
    times_ms: Vec<i64>,
    series: Vec<u32>,
    values: Vec<f64>,
}

impl SampleBlock {
    /// Makes a block of `times_ms.len() * series.len()` values, those of one time together.
    ///
    /// # Errors
    /// [`SampleBlockError`] if the values do not fill the rectangle or it is over the bound.
    pub fn new(times_ms: Vec<i64>, series: Vec<u32>, values: Vec<f64>) -> Result<Self, SampleBlockError> {
        if crate::limits::SAMPLES_PER_BLOCK_MAX < values.len() {
            return Err(SampleBlockError::TooMany { count: values.len() });
        }
        if times_ms.len().checked_mul(series.len()) != Some(values.len()) {
            return Err(SampleBlockError::NotARectangle {
                values: values.len(),
                times: times_ms.len(),
                series: series.len(),
            });
        }
        Ok(Self {
            times_ms,
            series,
            values,
        })
    }

    /// The times, Unix milliseconds.
    #[must_use]
    pub fn times_ms(&self) -> &[i64] {
        &self.times_ms
    }

    /// The ids of the series, as defined in the report's epoch.
    #[must_use]
    pub fn series(&self) -> &[u32] {
        &self.series
    }

    /// All values, those of one time together.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Moves every time by `shift_ms`.
    pub fn shift(&mut self, shift_ms: i64) {
        for time in &mut self.times_ms {
            *time = time.saturating_add(shift_ms);
        }
    }

    /// All values, to be changed where they are.
    pub fn values_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }

    /// Each time with its values, which stand in the order of [`SampleBlock::series`].
    pub fn rows(&self) -> impl Iterator<Item = (i64, &[f64])> + '_ {
        // A block without series has no rows; chunks of at least one keep `chunks` from panicking.
        self.times_ms
            .iter()
            .copied()
            .zip(self.values.chunks(self.series.len().max(1)))
    }
}

/// How a collection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// Facts were read, perhaps with problems.
    Facts,
    /// The server does not have what the collector looks for.
    Absent,
    /// It could not be read.
    Failed,
    /// It took longer than it may.
    TimedOut,
    /// The collector has a defect.
    Panicked,
}

impl RunOutcome {
    /// The lower-case word used in JSON and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Facts => "facts",
            Self::Absent => "absent",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Panicked => "panicked",
        }
    }

    /// Whether the collection did what it should: absent hardware is not a failure.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Facts | Self::Absent)
    }
}

/// One run of a collector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectorRun {
    /// The collector.
    pub collector: String,
    /// When it began, Unix milliseconds.
    pub started_ms: i64,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// How it ended.
    pub outcome: RunOutcome,
    /// Why it failed or what is absent; empty for facts.
    pub message: String,
}

/// The full set of what a collector sees: what it listed before and lists no more is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// The collector.
    pub collector: String,
    /// When it looked, Unix milliseconds.
    pub observed_ms: i64,
    /// Every resource it sees.
    pub keys: Vec<ResourceKey>,
    /// Every link it sees.
    pub links: Vec<Link>,
}

/// Why reports will never come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The agent's buffer was full.
    BufferFull,
    /// The agent ended without saying goodbye; what it had not delivered is lost.
    UncleanEnd,
    /// The controller refused the report.
    Refused,
    /// The record was damaged on the agent's disk.
    Damaged,
    /// The report is there with fewer samples: the agent's disk had no room for all of them.
    Thinned,
    /// A reason of a newer peer.
    Other,
}

impl GapReason {
    /// The lower-case word used in JSON and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BufferFull => "buffer_full",
            Self::UncleanEnd => "unclean_end",
            Self::Refused => "refused",
            Self::Damaged => "damaged",
            Self::Thinned => "thinned",
            Self::Other => "other",
        }
    }
}

/// A range of sequence numbers that will never come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The epoch the numbers belong to.
    pub epoch: u64,
    /// The numbers.
    pub range: SequenceRange,
    /// How many samples are lost with them; `None` if nobody knows.
    pub sample_count: Option<u64>,
    /// Why.
    pub reason: GapReason,
}

/// What the first report of an epoch says of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousEpoch {
    /// The previous epoch.
    pub epoch: u64,
    /// Whether the agent ended it in order, with everything delivered or kept.
    pub ended_cleanly: bool,
}

/// Where the times of a report come from; decided once, when the controller takes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum TimeBasis {
    /// The agent's wall clock.
    #[default]
    Wall,
    /// The time since boot and the boot's known offset: the wall clock was wrong.
    Boot,
    /// The time since boot alone: when the boot was is not known.
    Unknown,
}

impl TimeBasis {
    /// The lower-case word used in JSON and tables; `None` where there is nothing to say.
    #[must_use]
    pub const fn as_flag(self) -> Option<&'static str> {
        match self {
            Self::Wall => None,
            Self::Boot => Some("time_rebuilt"),
            Self::Unknown => Some("time_unknown"),
        }
    }
}

/// One sequence-numbered message from agent to controller.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Random number of this start of the agent.
    pub epoch: u64,
    /// Number of the report in its epoch, from 1.
    pub sequence: u64,
    /// The agent's clocks when the report was made.
    pub clock: Clock,
    /// Set in the first report of an epoch that had a predecessor.
    pub previous_epoch: Option<PreviousEpoch>,
    /// How collections went.
    pub runs: Vec<CollectorRun>,
    /// Resources that are new or changed.
    pub resources: Vec<Resource>,
    /// When the resources were observed, Unix milliseconds; an older observation never replaces a newer one.
    pub observed_ms: i64,
    /// Full sets, after a change.
    pub inventories: Vec<Inventory>,
    /// Samples.
    pub blocks: Vec<SampleBlock>,
    /// What could not be read or understood.
    pub problems: Vec<Problem>,
    /// Reports that will never come.
    pub gaps: Vec<Gap>,
    /// Where its times come from; an agent's word on that counts for nothing.
    pub time_basis: TimeBasis,
}

impl Report {
    /// An empty report under the given number.
    #[must_use]
    pub fn empty(epoch: u64, sequence: u64, clock: Clock) -> Self {
        Self {
            epoch,
            sequence,
            observed_ms: clock.wall_ms,
            clock,
            previous_epoch: None,
            runs: Vec::new(),
            resources: Vec::new(),
            inventories: Vec::new(),
            blocks: Vec::new(),
            problems: Vec::new(),
            gaps: Vec::new(),
            time_basis: TimeBasis::Wall,
        }
    }

    /// How many samples the report carries.
    #[must_use]
    pub fn sample_count(&self) -> usize {
        self.blocks.iter().map(|block| block.values().len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_with_their_times() {
        let block = SampleBlock::new(vec![10, 20], vec![1, 2], vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        let rows: Vec<_> = block.rows().collect();
        assert_eq!(rows, [(10, &[1.0, 2.0][..]), (20, &[3.0, 4.0][..])]);
    }

    #[test]
    fn a_block_that_is_no_rectangle_or_too_big_is_refused() {
        assert!(SampleBlock::new(vec![1], vec![1, 2], vec![1.0]).is_err());
        let max = crate::limits::SAMPLES_PER_BLOCK_MAX;
        let of = |n: usize| SampleBlock::new(vec![1], (0..n as u32).collect(), vec![0.0; n]);
        assert!(of(max).is_ok());
        assert!(matches!(of(max + 1), Err(SampleBlockError::TooMany { .. })));
        assert_eq!(
            SampleBlock::new(vec![1], vec![], vec![]).unwrap().rows().count(),
            0
        );
    }
}
