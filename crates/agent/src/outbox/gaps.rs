//! Losses that the controller does not know of yet.

use muster_model::{Gap, RangeSet, SequenceRange};

/// Most gaps that one report carries; the rest waits for the next.
const GAPS_PER_REPORT_MAX: usize = 64;

/// Gaps that wait, by ascending number, and those that are on their way in one report.
#[derive(Debug, Default)]
pub(super) struct PendingGaps {
    waiting: Vec<Gap>,
    carried: Vec<Gap>,
    carrier: Option<u64>,
}

impl PendingGaps {
    /// How many the controller does not know of.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.carried.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.carried.is_empty()
    }

    /// Whether gaps wait that no report carries.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether a new report would carry gaps.
    pub(super) fn may_be_carried(&self) -> bool {
        self.carrier.is_none() && !self.waiting.is_empty()
    }

    /// Hands over what the report with number `sequence` is to carry.
    pub(super) fn carry_by(&mut self, sequence: u64) -> Vec<Gap> {
        if !self.may_be_carried() {
            return Vec::new();
        }
        let count = self.waiting.len().min(GAPS_PER_REPORT_MAX);
        self.carried = self.waiting.drain(..count).collect();
        self.carrier = Some(sequence);
        self.carried.clone()
    }

    /// Whether `sequence` carried gaps, which the controller now knows.
    pub(super) fn carrier_is_acked(&mut self, sequence: u64) -> bool {
        if self.carrier != Some(sequence) {
            return false;
        }
        self.carrier = None;
        self.carried.clear();
        true
    }

    /// If `sequence` carried gaps, they wait again.
    pub(super) fn carrier_is_lost(&mut self, sequence: u64) {
        if self.carrier == Some(sequence) {
            self.carrier = None;
            for gap in std::mem::take(&mut self.carried) {
                self.add(gap);
            }
        }
    }

    /// Adds a gap; it grows together with a neighbour of the same reason.
    pub(super) fn add(&mut self, gap: Gap) {
        let index = self
            .waiting
            .partition_point(|other| (other.epoch, other.range.first) < (gap.epoch, gap.range.first));
        self.waiting.insert(index, gap);
        self.join(index);
        if 0 < index {
            self.join(index - 1);
        }
    }

    /// Drops gaps of `epoch` that lie wholly within what the controller has after all.
    pub(super) fn forget(&mut self, epoch: u64, stored: &RangeSet) {
        self.waiting.retain(|gap| {
            gap.epoch != epoch
                || !stored
                    .iter()
                    .any(|range| range.first <= gap.range.first && gap.range.last <= range.last)
        });
    }

    /// Numbers of `epoch` that gaps name which wait or are on their way.
    pub(super) fn numbers_of(&self, epoch: u64) -> impl Iterator<Item = SequenceRange> + '_ {
        let all = self.waiting.iter().chain(&self.carried);
        all.filter(move |gap| gap.epoch == epoch).map(|gap| gap.range)
    }

    /// Whether a gap of `epoch` waits or is on its way.
    pub(super) fn has_of(&self, epoch: u64) -> bool {
        self.waiting
            .iter()
            .chain(&self.carried)
            .any(|gap| gap.epoch == epoch)
    }

    /// Joins the gap at `index` with the one after it if they touch.
    fn join(&mut self, index: usize) {
        let [left, right] = &self.waiting[index..self.waiting.len().min(index + 2)] else {
            return;
        };
        let touches = right.range.first <= left.range.last.saturating_add(1);
        if !touches || left.reason != right.reason || left.epoch != right.epoch {
            return;
        }
        let last = left.range.last.max(right.range.last);
        let sample_count = left.sample_count.zip(right.sample_count).map(|(a, b)| a + b);
        self.waiting[index].range.last = last;
        self.waiting[index].sample_count = sample_count;
        self.waiting.remove(index + 1);
    }
}

/// The numbers of `all` that are not in `without`, as ranges.
pub(super) fn difference(all: &RangeSet, without: &RangeSet) -> Vec<SequenceRange> {
    let mut left = Vec::new();
    for range in all.iter() {
        let mut next = range.first;
        for hole in without
            .iter()
            .filter(|hole| range.first <= hole.last && hole.first <= range.last)
        {
            if next < hole.first {
                left.push(SequenceRange {
                    first: next,
                    last: hole.first - 1,
                });
            }
            next = hole.last.saturating_add(1);
        }
        if next <= range.last {
            left.push(SequenceRange {
                first: next,
                last: range.last,
            });
        }
    }
    left
}
