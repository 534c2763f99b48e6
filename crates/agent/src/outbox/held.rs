//! Held reports in order of their numbers, and which of them are on their way.

mod report;
mod sending;

use std::collections::{BTreeSet, VecDeque};

use muster_model::RangeSet;
use tokio::time::Instant;

use super::Acked;
use crate::spool::{PastReport, Record};

pub(super) use self::report::{Held, Way};
pub(super) use self::sending::{Next, Pick};

/// Held reports by ascending number.
#[derive(Debug, Default)]
pub(super) struct HeldReports {
    reports: VecDeque<Held>,
    bytes: usize,
    /// Numbers of those that are not on their way, the alert-relevant ones apart.
    unsent: BTreeSet<u64>,
    unsent_urgent: BTreeSet<u64>,
    sent_bytes: u64,
    /// Of the alert lane, which has credit of its own: not part of `sent_bytes`.
    alert_bytes: u64,
    /// What of `sent_bytes` is backlog.
    backlog_bytes: u64,
    /// Kept by the spool, and not needed any more: given up, or acknowledged.
    released: Vec<u64>,
    acked: Vec<u64>,
    /// Acknowledged and only in memory, as far as there is room for them.
    unkept: Vec<Record>,
    unkept_bytes: usize,
    unkept_bytes_max: usize,
    /// How many are sent again although they were acknowledged.
    again: usize,
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
        self.unsent_of(held.is_urgent).insert(held.sequence);
        self.reports.push_back(held);
    }

    /// Adds a report that was acknowledged before, unless it is here.
    pub(super) fn add_again(&mut self, report: PastReport) {
        let held = Held::again(report);
        let place = self
            .reports
            .binary_search_by_key(&held.sequence, |held| held.sequence);
        if let Err(index) = place {
            self.bytes += held.bytes();
            self.again += 1;
            self.unsent.insert(held.sequence);
            self.reports.insert(index, held);
        }
    }

    /// How many are sent again although they were acknowledged.
    pub(super) const fn again(&self) -> usize {
        self.again
    }

    /// Has acknowledged reports that are only in memory kept until they are taken, up to as many bytes.
    pub(super) const fn keep_acked(&mut self, bytes_max: usize) {
        self.unkept_bytes_max = bytes_max;
    }

    /// Bytes of acknowledged reports that wait to be taken.
    pub(super) const fn acked_bytes(&self) -> usize {
        self.unkept_bytes
    }

    /// Acknowledged reports that the spool does not have.
    pub(super) fn take_unkept(&mut self) -> Vec<Record> {
        self.unkept_bytes = 0;
        std::mem::take(&mut self.unkept)
    }

    /// Everything is to be sent again.
    pub(super) fn rewind(&mut self) {
        for held in &mut self.reports {
            if held.sent.take().is_some() {
                let unsent = match held.is_urgent {
                    true => &mut self.unsent_urgent,
                    false => &mut self.unsent,
                };
                unsent.insert(held.sequence);
            }
        }
        self.alert_bytes = 0;
        self.sent_bytes = 0;
        self.backlog_bytes = 0;
    }

    pub(super) const fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    pub(super) const fn alert_bytes(&self) -> u64 {
        self.alert_bytes
    }

    const fn unsent_of(&mut self, is_urgent: bool) -> &mut BTreeSet<u64> {
        match is_urgent {
            true => &mut self.unsent_urgent,
            false => &mut self.unsent,
        }
    }

    pub(super) const fn backlog_bytes(&self) -> u64 {
        self.backlog_bytes
    }

    /// Reports that are not on disk: all, or those made before `until`.
    pub(super) fn to_keep(&self, until: Option<Instant>) -> Vec<Record> {
        let due = |held: &&Held| !held.is_kept && until.is_none_or(|until| held.made <= until);
        self.reports.iter().filter(due).filter_map(Held::record).collect()
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

    /// Whether the spool has nothing to do for any of these: all are in memory and on their way for the first time, and
    /// nothing waits to be taken.
    pub(super) fn is_calm(&self) -> bool {
        let nothing_waits = self.released.is_empty() && self.acked.is_empty() && self.again == 0;
        nothing_waits && self.reports.iter().all(|held| held.message.is_some())
    }

    /// What the spool need not keep any more: acknowledged, and given up.
    pub(super) fn take_released(&mut self) -> (Vec<u64>, Vec<u64>) {
        (
            std::mem::take(&mut self.acked),
            std::mem::take(&mut self.released),
        )
    }

    /// Numbers that were acknowledged and are on disk until they are taken.
    pub(super) fn released(&self) -> impl Iterator<Item = u64> + '_ {
        self.acked.iter().copied()
    }

    /// Removes the reports with numbers in `stored`.
    pub(super) fn remove(&mut self, stored: &RangeSet) -> Vec<Acked> {
        let now = Instant::now();
        let mut acked = Vec::new();
        for range in stored.iter() {
            let start = self.reports.partition_point(|held| held.sequence < range.first);
            let end = self.reports.partition_point(|held| held.sequence <= range.last);
            let landed: Vec<Held> = self.reports.drain(start..end).collect();
            for held in landed {
                acked.push(held.acked(now));
                self.forget(&held);
                self.keep_landed(&held);
            }
        }
        acked
    }

    /// Removes one report.
    pub(super) fn take(&mut self, sequence: u64) -> Option<Held> {
        let index = self.index_of(sequence)?;
        self.take_at(index)
    }

    /// Removes the oldest report that is only in memory and not on its way; if there is none, the oldest. One that
    /// alerts depend on goes only when there is no other.
    pub(super) fn drop_oldest(&mut self) -> Option<Held> {
        let all = self.unsent.iter().chain(&self.unsent_urgent);
        let mut unsent = all.filter_map(|&sequence| self.index_of(sequence));
        let oldest = unsent.clone().next().unwrap_or(0);
        let in_memory = unsent.find(|&index| !self.reports[index].is_kept);
        self.take_at(in_memory.unwrap_or(oldest))
    }

    /// Counts a refusal; returns how many there were.
    pub(super) fn count_refusal(&mut self, sequence: u64) -> Option<u8> {
        let index = self.index_of(sequence)?;
        let held = &mut self.reports[index];
        held.refusals = held.refusals.saturating_add(1);
        Some(held.refusals)
    }

    /// The numbers that are held and were never acknowledged.
    pub(super) fn numbers(&self) -> RangeSet {
        let mut numbers = RangeSet::default();
        for held in self.reports.iter().filter(|held| !held.is_again) {
            // Beyond the bound of a set the rest is left out of the list; it is sent all the same.
            if numbers.insert(held.sequence).is_err() {
                break;
            }
        }
        numbers
    }

    fn index_of(&self, sequence: u64) -> Option<usize> {
        self.reports
            .binary_search_by_key(&sequence, |held| held.sequence)
            .ok()
    }

    fn take_at(&mut self, index: usize) -> Option<Held> {
        let held = self.reports.remove(index)?;
        self.forget(&held);
        if held.is_kept {
            self.released.push(held.sequence);
        }
        Some(held)
    }

    /// Counts a report that is here no more.
    fn forget(&mut self, held: &Held) {
        self.bytes -= held.bytes();
        self.again -= usize::from(held.is_again);
        self.unsent_of(held.is_urgent).remove(&held.sequence);
        let Some(way) = held.sent else { return };
        let bytes = held.message_bytes as u64;
        if way == Way::Alert {
            self.alert_bytes = self.alert_bytes.saturating_sub(bytes);
            return;
        }
        self.sent_bytes = self.sent_bytes.saturating_sub(bytes);
        if way == Way::Backlog {
            self.backlog_bytes = self.backlog_bytes.saturating_sub(bytes);
        }
    }

    /// Has an acknowledged report kept for a controller that loses it. Beyond the bound it is not.
    fn keep_landed(&mut self, held: &Held) {
        if held.is_again {
            self.released.push(held.sequence);
        } else if held.is_kept {
            self.acked.push(held.sequence);
        } else if let Some(record) = held.record()
            && self.unkept_bytes + record.message.len() <= self.unkept_bytes_max
        {
            self.unkept_bytes += record.message.len();
            self.unkept.push(record);
        }
    }
}
