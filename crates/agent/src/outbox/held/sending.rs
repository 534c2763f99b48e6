//! Which held report is sent next, and which must be read from disk for that.

use std::sync::Arc;

use super::{HeldReports, Way};
use crate::outbox::Outgoing;

/// Which unsent report is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::outbox) enum Pick {
    /// The oldest.
    Oldest,
    /// The newest that alerts depend on.
    NewestUrgent,
    /// The newest of all others, if it is of now.
    NewestLive,
    /// The oldest that no alert depends on, unless it is of now.
    OldestLate,
}

/// What is to be sent next.
#[derive(Debug)]
pub(in crate::outbox) enum Next {
    /// Nothing is left.
    None,
    /// There is something, but not within the credit.
    Later,
    /// It has to be read first.
    OnDisk,
    /// This.
    Ready(Outgoing),
}

impl HeldReports {
    /// The next to be sent, if `has_credit` for its bytes.
    pub(in crate::outbox) fn next_unsent(
        &mut self,
        pick: Pick,
        way: Way,
        has_credit: impl Fn(u64) -> bool,
    ) -> Next {
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
        let outgoing = Outgoing {
            epoch: 0,
            sequence: next.sequence,
            bytes: Arc::clone(message),
            definitions: next.definitions,
        };
        next.sent = Some(way);
        let is_urgent = next.is_urgent;
        self.unsent_of(is_urgent).remove(&outgoing.sequence);
        match way {
            Way::Alert => self.alert_bytes += bytes,
            Way::Live => self.sent_bytes += bytes,
            Way::Backlog => {
                self.sent_bytes += bytes;
                self.backlog_bytes += bytes;
            }
        }
        Next::Ready(outgoing)
    }

    /// Numbers of the next unsent reports that are only on disk, up to `bytes_max` of them and at least one. What
    /// is in memory counts, so that it is read only as far ahead as it is sent.
    pub(in crate::outbox) fn wanted(&self, bytes_max: usize) -> Vec<u64> {
        let (mut wanted, mut bytes) = (Vec::new(), 0);
        let newest = self.pick(Pick::NewestLive).map(|index| &self.reports[index]);
        if let Some(newest) = newest.filter(|held| held.message.is_none()) {
            wanted.push(newest.sequence);
        }
        for &sequence in self.unsent_urgent.iter().rev().chain(&self.unsent) {
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
    pub(in crate::outbox) fn loaded(&mut self, sequence: u64, message: Vec<u8>) {
        let Some(index) = self.index_of(sequence) else {
            return;
        };
        let held = &mut self.reports[index];
        if held.message.is_none() {
            self.bytes += message.len();
            // What was thinned on disk is shorter than what was made. What is on its way counts as it was sent.
            if held.sent.is_none() {
                held.message_bytes = message.len();
            }
            held.message = Some(message.into());
        }
    }

    /// Whether a report is on its way.
    pub(in crate::outbox) fn was_sent(&self, sequence: u64) -> bool {
        self.index_of(sequence)
            .is_some_and(|index| self.reports[index].sent.is_some())
    }

    fn pick(&self, pick: Pick) -> Option<usize> {
        let sequence = match pick {
            Pick::Oldest => {
                let firsts = self.unsent.first().into_iter().chain(self.unsent_urgent.first());
                firsts.min()
            }
            Pick::OldestLate => self.unsent.first(),
            Pick::NewestUrgent => self.unsent_urgent.last(),
            Pick::NewestLive => self.unsent.last(),
        };
        let index = self.index_of(*sequence?)?;
        let is_wanted = match pick {
            Pick::Oldest | Pick::NewestUrgent => true,
            Pick::NewestLive => self.reports[index].is_live(),
            Pick::OldestLate => !self.reports[index].is_live(),
        };
        is_wanted.then_some(index)
    }
}
