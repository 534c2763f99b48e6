//! What the outbox holds, without locks and without anyone waiting: every change of it is one call here.

use muster_model::{Gap, GapReason, RangeSet, Report, SequenceRange};
use tokio::time::Instant;

use super::definitions::Definitions;
use super::ends::Ends;
use super::gaps::{self, PendingGaps};
use super::held::{Held, HeldReports};
use super::kept::PastEpoch;
use super::refill::Refilling;
use super::{Acked, Refusal, StoreMark};

/// After this many refusals of one report as unreadable it is replaced by a gap.
const REFUSALS_MAX: u8 = 2;

/// Reports, gaps and definitions of one epoch, as they fit together.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) bytes_max: usize,
    pub(super) last_sequence: u64,
    pub(super) ends: Ends,
    pub(super) held: HeldReports,
    /// Earlier epochs, the oldest first.
    pub(super) past: Vec<PastEpoch>,
    pub(super) is_connected: bool,
    pub(super) gaps: PendingGaps,
    pub(super) acked: RangeSet,
    pub(super) definitions: Definitions,
    pub(super) store: Option<StoreMark>,
    pub(super) refill: Refilling,
    pub(super) resyncs: u64,
    pub(super) dropped_reports: u64,
    pub(super) dropped_samples: u64,
    pub(super) damaged_reports: u64,
}

impl State {
    pub(super) fn defined(&self) -> u32 {
        self.definitions.count()
    }

    pub(super) fn push(&mut self, epoch: u64, mut report: Report, is_urgent: bool) -> u64 {
        self.last_sequence += 1;
        let sequence = self.last_sequence;
        report.epoch = epoch;
        report.sequence = sequence;
        report.previous_epoch = self.ends.name_by(sequence);
        report.gaps = self.gaps.carry_by(sequence);
        let held = Held::new(report, self.defined());
        let held = if is_urgent { held.urgent() } else { held };
        if self.bytes_max < self.held.bytes() + held.bytes() {
            self.held.evict(self.bytes_max.saturating_sub(held.bytes()));
        }
        while self.bytes_max < self.held.bytes() + held.bytes() {
            let Some(dropped) = self.held.drop_oldest() else {
                break;
            };
            self.dropped_reports += 1;
            self.dropped_samples += u64::from(dropped.sample_count);
            self.lose(epoch, &dropped, GapReason::BufferFull, true);
        }
        self.held.push(held);
        sequence
    }

    pub(super) fn ack(&mut self, epoch: u64, stored: &RangeSet) -> Vec<Acked> {
        let acked = self.held.remove(stored);
        for report in &acked {
            // A set at its bound forgets the number; then a later loss of it goes unnoticed, and nothing else does.
            let _ = self.acked.insert(report.sequence);
            self.ends.carrier_is_acked(report.sequence);
            if self.gaps.carrier_is_acked(report.sequence) {
                // Reports were lost, and with them perhaps the only word of a change.
                self.resyncs += 1;
            }
        }
        self.gaps.forget(epoch, stored);
        acked
    }

    /// Looks for what the controller has lost although it had acknowledged it: where nothing is kept of that, it is
    /// a gap.
    pub(super) fn look_for_missing(&mut self, epoch: u64, stored: &RangeSet) {
        let missing = gaps::difference(&self.acked, stored);
        if missing.is_empty() {
            return;
        }
        if self.refill.is_kept {
            self.refill.ask(epoch, missing);
        } else {
            self.lose_for_good(epoch, missing);
        }
        self.acked = stored
            .iter()
            .filter(|range| range.last <= self.last_sequence)
            .collect();
    }

    /// Makes gaps of what was acknowledged and is nowhere any more.
    pub(super) fn lose_for_good(&mut self, epoch: u64, ranges: Vec<SequenceRange>) {
        for range in ranges {
            self.gaps.add(Gap {
                epoch,
                range,
                sample_count: None,
                reason: GapReason::Other,
            });
        }
    }

    pub(super) fn note_store(&mut self, store: StoreMark) {
        if self.store.is_some_and(|before| before != store) {
            self.resyncs += 1;
        }
        self.store = Some(store);
    }

    /// Notes a refusal. A number may be on its way of several epochs; then the running one is meant.
    pub(super) fn refused(&mut self, epoch: u64, sequence: u64) -> Refusal {
        let past = self.past.iter().position(|past| past.held.was_sent(sequence));
        let past = past.filter(|_| !self.held.was_sent(sequence));
        let reports = past.map_or(&mut self.held, |index| &mut self.past[index].held);
        let Some(refusals) = reports.count_refusal(sequence) else {
            return Refusal::NotHeld;
        };
        if refusals < REFUSALS_MAX {
            return Refusal::SentAgain;
        }
        if let Some(report) = reports.take(sequence) {
            let epoch = past.map_or(epoch, |index| self.past[index].epoch);
            self.lose(epoch, &report, GapReason::Refused, past.is_none());
        }
        Refusal::ReplacedByGap
    }

    /// Makes a gap of a report; `is_running` if it is of the running epoch.
    pub(super) fn lose(&mut self, epoch: u64, report: &Held, reason: GapReason, is_running: bool) {
        if is_running {
            self.gaps.carrier_is_lost(report.sequence);
            self.ends.carrier_is_lost(report.sequence);
        }
        self.gaps.add(Gap {
            epoch,
            range: SequenceRange {
                first: report.sequence,
                last: report.sequence,
            },
            sample_count: Some(report.sample_count.into()),
            reason,
        });
    }

    /// When the oldest report that is not acknowledged was made, or came from disk.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let past = self.past.iter().filter_map(|past| past.held.oldest());
        past.chain(self.held.oldest()).min()
    }

    pub(super) fn rewind(&mut self) {
        self.held.rewind();
        for past in &mut self.past {
            past.held.rewind();
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.held.len() == 0 && self.gaps.is_empty()
    }
}
