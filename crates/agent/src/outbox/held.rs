//! Held reports in order of their numbers, and which of them are on their way.

use std::collections::VecDeque;
use std::sync::Arc;

use muster_model::{RangeSet, Report};
use muster_proto::framing;
use tokio::time::Instant;

use super::{Acked, Outgoing};

/// What a report takes beside its bytes, so that many small reports count for what they are.
const OVERHEAD_BYTES: usize = 128;

/// A report that is not acknowledged.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) sequence: u64,
    pub(super) sample_count: u32,
    message: Arc<[u8]>,
    definitions: u32,
    first_ms: i64,
    last_ms: i64,
    made: Instant,
    refusals: u8,
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
        Self {
            sequence: report.sequence,
            sample_count: u32::try_from(report.sample_count()).unwrap_or(u32::MAX),
            definitions,
            first_ms: times().min().unwrap_or(0),
            last_ms: times().max().unwrap_or(0),
            made: Instant::now(),
            refusals: 0,
            message: framing::report_message(report).into(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.message.len() + OVERHEAD_BYTES
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

/// Held reports by ascending number. Those below `cursor` are on their way.
#[derive(Debug, Default)]
pub(super) struct HeldReports {
    reports: VecDeque<Held>,
    bytes: usize,
    cursor: u64,
    sent_bytes: u64,
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
        self.reports.push_back(held);
    }

    pub(super) fn rewind(&mut self) {
        self.cursor = 0;
        self.sent_bytes = 0;
    }

    pub(super) fn next_unsent(&mut self, credit_bytes: u64) -> Option<Outgoing> {
        let next = self.reports.get(self.first_unsent())?;
        let bytes = next.message.len() as u64;
        if 0 < self.sent_bytes && credit_bytes < self.sent_bytes + bytes {
            return None;
        }
        self.sent_bytes += bytes;
        self.cursor = next.sequence + 1;
        Some(Outgoing {
            sequence: next.sequence,
            bytes: Arc::clone(&next.message),
            definitions: next.definitions,
        })
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
                if held.sequence < self.cursor {
                    self.sent_bytes -= held.message.len() as u64;
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

    /// Removes the oldest report that is not on its way; if all are, the oldest.
    pub(super) fn drop_oldest(&mut self) -> Option<Held> {
        let unsent = self.first_unsent();
        let index = if unsent < self.reports.len() { unsent } else { 0 };
        self.take_at(index)
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

    fn first_unsent(&self) -> usize {
        self.reports.partition_point(|held| held.sequence < self.cursor)
    }

    fn index_of(&self, sequence: u64) -> Option<usize> {
        self.reports
            .binary_search_by_key(&sequence, |held| held.sequence)
            .ok()
    }

    fn take_at(&mut self, index: usize) -> Option<Held> {
        let held = self.reports.remove(index)?;
        self.bytes -= held.bytes();
        if held.sequence < self.cursor {
            self.sent_bytes -= held.message.len() as u64;
        }
        Some(held)
    }
}
