//! One report that is not acknowledged.

use std::sync::Arc;

use muster_model::{Report, limits};
use muster_proto::framing;
use tokio::time::Instant;

use crate::outbox::Acked;
use crate::spool::{PastReport, Record};

/// What a report takes beside its bytes, so that many small reports count for what they are.
const OVERHEAD_BYTES: usize = 128;

/// How a report travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::outbox) enum Way {
    /// Before all others, with credit of its own.
    Alert,
    /// Among those of now.
    Live,
    /// Among those of before, which have a share of the credit.
    Backlog,
}

/// A report that is not acknowledged.
#[derive(Debug)]
pub(in crate::outbox) struct Held {
    pub(in crate::outbox) sequence: u64,
    pub(in crate::outbox) sample_count: u32,
    /// In memory; not there while it is only on disk.
    pub(super) message: Option<Arc<[u8]>>,
    pub(super) message_bytes: usize,
    /// Whether the spool has it.
    pub(super) is_kept: bool,
    /// Alert-relevant.
    pub(super) is_urgent: bool,
    /// Acknowledged before, by a controller that lost it since.
    pub(super) is_again: bool,
    pub(super) definitions: u32,
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
    pub(super) wall_ms: i64,
    pub(super) boottime_ms: i64,
    pub(super) made: Instant,
    pub(super) refusals: u8,
    /// On its way, and whether as backlog.
    pub(super) sent: Option<Way>,
}

impl Held {
    /// Encodes `report`, which uses series up to id `definitions`.
    pub(in crate::outbox) fn new(report: Report, definitions: u32) -> Self {
        let times = || {
            report
                .blocks
                .iter()
                .flat_map(|block| block.times_ms().iter().copied())
        };
        let (wall_ms, boottime_ms) = (report.clock.wall_ms, report.clock.boottime_ms);
        let mut held = Self {
            sequence: report.sequence,
            sample_count: u32::try_from(report.sample_count()).unwrap_or(u32::MAX),
            // One without samples needs no definitions, so nothing stands in its way.
            definitions: if report.blocks.is_empty() { 0 } else { definitions },
            is_urgent: false,
            is_again: false,
            first_ms: times().min().unwrap_or(0),
            last_ms: times().max().unwrap_or(0),
            wall_ms,
            boottime_ms,
            made: Instant::now(),
            refusals: 0,
            is_kept: false,
            message_bytes: 0,
            message: None,
            sent: None,
        };
        let message: Arc<[u8]> = framing::report_message(report).into();
        held.message_bytes = message.len();
        held.message = Some(message);
        held
    }

    /// The same, alert-relevant.
    pub(in crate::outbox) fn urgent(self) -> Self {
        Self {
            is_urgent: true,
            ..self
        }
    }

    /// A report of an earlier epoch that is on disk.
    pub(in crate::outbox) fn past(report: PastReport) -> Self {
        Self {
            sequence: report.sequence,
            sample_count: report.sample_count,
            message: None,
            message_bytes: report.plain_bytes,
            is_kept: true,
            definitions: report.definitions,
            is_urgent: false,
            is_again: false,
            first_ms: 0,
            last_ms: 0,
            wall_ms: 0,
            boottime_ms: 0,
            made: Instant::now(),
            refusals: 0,
            sent: None,
        }
    }

    /// A report that was acknowledged, and is to be sent again.
    pub(in crate::outbox) fn again(report: PastReport) -> Self {
        Self {
            is_again: true,
            ..Self::past(report)
        }
    }

    /// As the spool takes it, while it is in memory.
    pub(super) fn record(&self) -> Option<Record> {
        Some(Record {
            sequence: self.sequence,
            definitions: self.definitions,
            sample_count: self.sample_count,
            wall_ms: self.wall_ms,
            boottime_ms: self.boottime_ms,
            is_urgent: self.is_urgent,
            message: Arc::clone(self.message.as_ref()?),
        })
    }

    /// What it takes of memory.
    pub(in crate::outbox) fn bytes(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.len()) + OVERHEAD_BYTES
    }

    pub(super) fn is_live(&self) -> bool {
        !self.is_again && self.made.elapsed().as_millis() <= u128::from(limits::LIVE_MS)
    }

    pub(super) fn acked(&self, now: Instant) -> Acked {
        Acked {
            sequence: self.sequence,
            sample_count: self.sample_count,
            first_ms: self.first_ms,
            last_ms: self.last_ms,
            latency: now - self.made,
        }
    }
}
