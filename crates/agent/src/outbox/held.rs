//! Held reports in order of their numbers, and which of them are on their way.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use muster_model::{RangeSet, Report, limits};
use muster_proto::framing;
use tokio::time::Instant;

use super::{Acked, Outgoing};
use crate::spool::{PastReport, Record};

/// What a report takes beside its bytes, so that many small reports count for what they are.
const OVERHEAD_BYTES: usize = 128;

/// A report that is not acknowledged.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) sequence: u64,
    pub(super) sample_count: u32,
    /// In memory; not there while it is only on disk.
    message: Option<Arc<[u8]>>,
    message_bytes: usize,
    /// Whether the spool has it.
    is_kept: bool,
    /// Alert-relevant.
    is_urgent: bool,
    definitions: u32,
    first_ms: i64,
    last_ms: i64,
    wall_ms: i64,
    boottime_ms: i64,
    made: Instant,
    refusals: u8,
    /// On its way, and whether as backlog.
    sent: Option<Way>,
}

/// How a report travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Among those of now.
    Live,
    /// Among those of before, which have a share of the credit.
    Backlog,
}

/// Which unsent report is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    /// The oldest.
    Oldest,
    /// The newest, if it is of now.
    NewestLive,
    /// The oldest, unless it is of now.
    OldestLate,
}

impl Held {
    /// Encodes `report`, which uses series up to id `definitions`.
    pub(super) fn new(report: Report, definitions: u32) -> Self {
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
    pub(super) fn urgent(self) -> Self {
        Self {
            is_urgent: true,
            ..self
        }
    }

    /// A report of an earlier epoch that is on disk.
    pub(super) fn past(report: PastReport) -> Self {
        Self {
            sequence: report.sequence,
            sample_count: report.sample_count,
            message: None,
            message_bytes: report.plain_bytes,
            is_kept: true,
            definitions: report.definitions,
            is_urgent: false,
            first_ms: 0,
            last_ms: 0,
            wall_ms: 0,
            boottime_ms: 0,
            made: Instant::now(),
            refusals: 0,
            sent: None,
        }
    }

    /// What it takes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.len()) + OVERHEAD_BYTES
    }

    fn is_live(&self) -> bool {
        self.made.elapsed().as_millis() <= u128::from(limits::LIVE_MS)
    }

    fn acked(&self, now: Instant) -> Acked {
        Acked {
            sequence: self.sequence,
            sample_count: self.sample_count,
            first_ms: self.first_ms,
            last_ms: self.last_ms,
            latency: now - self.made,
        }
    }
}

/// What is to be sent next.
#[derive(Debug)]
pub(super) enum Next {
    /// Nothing is left.
    None,
    /// There is something, but not within the credit.
    Later,
    /// It has to be read first.
    OnDisk,
    /// This.
    Ready(Outgoing),
}

/// Held reports by ascending number.
#[derive(Debug, Default)]
pub(super) struct HeldReports {
    reports: VecDeque<Held>,
    bytes: usize,
    /// Numbers of those that are not on their way.
    unsent: BTreeSet<u64>,
    sent_bytes: u64,
    /// What of `sent_bytes` is backlog.
    backlog_bytes: u64,
    /// Kept by the spool, and not needed any more.
    released: Vec<u64>,
}

impl HeldReports {
    pub(super) fn len(&self) -> usize {
        self.reports.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a report with a number above all others.
    pub(super) fn push(&mut self, held: Held) {
        self.bytes += held.bytes();
        self.unsent.insert(held.sequence);
        self.reports.push_back(held);
    }

    /// Everything is to be sent again.
    pub(super) fn rewind(&mut self) {
        for held in &mut self.reports {
            if held.sent.take().is_some() {
                self.unsent.insert(held.sequence);
            }
        }
        self.sent_bytes = 0;
        self.backlog_bytes = 0;
    }

    pub(super) const fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    pub(super) const fn backlog_bytes(&self) -> u64 {
        self.backlog_bytes
    }

    /// The next to be sent, if `has_credit` for its bytes.
    pub(super) fn next_unsent(&mut self, pick: Pick, way: Way, has_credit: impl Fn(u64) -> bool) -> Next {
        let Some(index) = self.pick(pick) else {
            return Next::None;
        };
        let next = &mut self.reports[index];
        let bytes = next.message_bytes as u64;
        if !has_credit(bytes) {
            return Next::Later;
        }
        let Some(message) = &next.message else {
            return Next::OnDisk;
        };
        next.sent = Some(way);
        self.unsent.remove(&next.sequence);
        self.sent_bytes += bytes;
        if way == Way::Backlog {
            self.backlog_bytes += bytes;
        }
        Next::Ready(Outgoing {
            epoch: 0,
            sequence: next.sequence,
            bytes: Arc::clone(message),
            definitions: next.definitions,
        })
    }

    /// Numbers of the next unsent reports that are only on disk, up to `bytes_max` of them and at least one. What
    /// is in memory counts, so that it is read only as far ahead as it is sent.
    pub(super) fn wanted(&self, bytes_max: usize) -> Vec<u64> {
        let (mut wanted, mut bytes) = (Vec::new(), 0);
        let newest = self.pick(Pick::NewestLive).map(|index| &self.reports[index]);
        if let Some(newest) = newest.filter(|held| held.message.is_none()) {
            wanted.push(newest.sequence);
        }
        for &sequence in &self.unsent {
            let Some(held) = self.index_of(sequence).map(|index| &self.reports[index]) else {
                continue;
            };
            bytes += held.message_bytes;
            if bytes_max < bytes && !wanted.is_empty() {
                break;
            }
            if held.message.is_none() && wanted.first() != Some(&held.sequence) {
                wanted.push(held.sequence);
            }
            if bytes_max < bytes {
                break;
            }
        }
        wanted
    }

    /// Takes a message that was read from disk.
    pub(super) fn loaded(&mut self, sequence: u64, message: Vec<u8>) {
        let Some(index) = self.index_of(sequence) else {
            return;
        };
        let held = &mut self.reports[index];
        if held.message.is_none() {
            self.bytes += message.len();
            held.message = Some(message.into());
        }
    }

    /// Reports that are not on disk: all, or those made before `until`.
    pub(super) fn to_keep(&self, until: Option<Instant>) -> Vec<Record> {
        let due = |held: &&Held| !held.is_kept && until.is_none_or(|until| held.made <= until);
        let records = self.reports.iter().filter(due).filter_map(|held| {
            Some(Record {
                sequence: held.sequence,
                definitions: held.definitions,
                sample_count: held.sample_count,
                wall_ms: held.wall_ms,
                boottime_ms: held.boottime_ms,
                is_urgent: held.is_urgent,
                message: Arc::clone(held.message.as_ref()?),
            })
        });
        records.collect()
    }

    /// Bytes of messages that are only in memory.
    pub(super) fn unkept_bytes(&self) -> usize {
        let unkept = self.reports.iter().filter(|held| !held.is_kept);
        unkept.map(|held| held.message_bytes).sum()
    }

    /// When the oldest was made; `None` if nothing is held.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.reports.front().map(|held| held.made)
    }

    /// Notes that the spool has a report.
    pub(super) fn kept(&mut self, sequence: u64) {
        match self.index_of(sequence) {
            Some(index) => self.reports[index].is_kept = true,
            None => self.released.push(sequence),
        }
    }

    /// Lets messages that are on disk go from memory, the last to be sent first, until at most `bytes_max` are left.
    pub(super) fn evict(&mut self, bytes_max: usize) {
        for held in self.reports.iter_mut().rev() {
            if self.bytes <= bytes_max {
                return;
            }
            if held.is_kept
                && let Some(message) = held.message.take()
            {
                self.bytes -= message.len();
            }
        }
    }

    /// Whether everything is on disk.
    pub(super) fn is_kept(&self) -> bool {
        self.reports.iter().all(|held| held.is_kept)
    }

    /// What the spool need not keep any more.
    pub(super) fn take_released(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.released)
    }

    /// Removes the reports with numbers in `stored`.
    pub(super) fn remove(&mut self, stored: &RangeSet) -> Vec<Acked> {
        let now = Instant::now();
        let mut acked = Vec::new();
        for range in stored.iter() {
            let start = self.reports.partition_point(|held| held.sequence < range.first);
            let end = self.reports.partition_point(|held| held.sequence <= range.last);
            for held in self.reports.drain(start..end) {
                acked.push(held.acked(now));
                self.bytes -= held.bytes();
                self.unsent.remove(&held.sequence);
                if let Some(way) = held.sent {
                    landed(&mut self.sent_bytes, &mut self.backlog_bytes, &held, way);
                }
                if held.is_kept {
                    self.released.push(held.sequence);
                }
            }
        }
        acked
    }

    /// Removes one report.
    pub(super) fn take(&mut self, sequence: u64) -> Option<Held> {
        let index = self.index_of(sequence)?;
        self.take_at(index)
    }

    /// Removes the oldest report that is only in memory and not on its way; if there is none, the oldest.
    pub(super) fn drop_oldest(&mut self) -> Option<Held> {
        let mut unsent = self.unsent.iter().filter_map(|&sequence| self.index_of(sequence));
        let oldest = unsent.clone().next().unwrap_or(0);
        let in_memory = unsent.find(|&index| !self.reports[index].is_kept);
        self.take_at(in_memory.unwrap_or(oldest))
    }

    /// Whether a report is on its way.
    pub(super) fn was_sent(&self, sequence: u64) -> bool {
        self.index_of(sequence)
            .is_some_and(|index| self.reports[index].sent.is_some())
    }

    /// Counts a refusal; returns how many there were.
    pub(super) fn count_refusal(&mut self, sequence: u64) -> Option<u8> {
        let index = self.index_of(sequence)?;
        let held = &mut self.reports[index];
        held.refusals = held.refusals.saturating_add(1);
        Some(held.refusals)
    }

    /// The numbers that are held.
    pub(super) fn numbers(&self) -> RangeSet {
        let mut numbers = RangeSet::default();
        for held in &self.reports {
            // Beyond the bound of a set the rest is left out of the list; it is sent all the same.
            if numbers.insert(held.sequence).is_err() {
                break;
            }
        }
        numbers
    }

    fn pick(&self, pick: Pick) -> Option<usize> {
        let sequence = match pick {
            Pick::Oldest | Pick::OldestLate => self.unsent.first(),
            Pick::NewestLive => self.unsent.last(),
        };
        let index = self.index_of(*sequence?)?;
        let is_wanted = match pick {
            Pick::Oldest => true,
            Pick::NewestLive => self.reports[index].is_live(),
            Pick::OldestLate => !self.reports[index].is_live(),
        };
        is_wanted.then_some(index)
    }

    fn index_of(&self, sequence: u64) -> Option<usize> {
        self.reports
            .binary_search_by_key(&sequence, |held| held.sequence)
            .ok()
    }

    fn take_at(&mut self, index: usize) -> Option<Held> {
        let held = self.reports.remove(index)?;
        self.bytes -= held.bytes();
        self.unsent.remove(&held.sequence);
        if let Some(way) = held.sent {
            landed(&mut self.sent_bytes, &mut self.backlog_bytes, &held, way);
        }
        if held.is_kept {
            self.released.push(held.sequence);
        }
        Some(held)
    }
}

/// Counts a report as on its way no more.
fn landed(sent_bytes: &mut u64, backlog_bytes: &mut u64, held: &Held, way: Way) {
    let bytes = held.message_bytes as u64;
    *sent_bytes = sent_bytes.saturating_sub(bytes);
    if way == Way::Backlog {
        *backlog_bytes = backlog_bytes.saturating_sub(bytes);
    }
}
