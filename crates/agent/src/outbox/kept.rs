//! The outbox as the spool sees it: what is to be written, read, or not needed any more; and earlier epochs.
//!
//! Reports of earlier epochs are sent when nothing of the running one is left to send. What was lost of them is told
//! once the controller has said what it has.

use std::sync::Arc;
use std::time::Duration;

use muster_model::{Clock, Gap, GapReason, RangeSet, SeriesDef};
use tokio::time::Instant;

use super::definitions::places;
use super::held::{Held, HeldReports};
use super::state::State;
use super::{Acked, HeldEpoch, Outbox, gaps};
use crate::spool::{Past, Record};

/// An unacknowledged report is written to disk after this long, even while connected.
const KEEP_AFTER: Duration = Duration::from_secs(10);
/// As much may be in memory only while connected.
pub(super) const UNKEPT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Messages that are on disk stay in memory below this.
const CACHE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Read ahead of being sent.
const READ_AHEAD_BYTES: usize = 1024 * 1024;

/// What is on disk of an epoch and need not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// The epoch.
    pub epoch: u64,
    /// Numbers that were acknowledged.
    pub acked: Vec<u64>,
    /// Numbers that were given up, or are somewhere else.
    pub given_up: Vec<u64>,
}

/// What is held of an earlier epoch.
#[derive(Debug)]
pub(super) struct PastEpoch {
    pub(super) epoch: u64,
    pub(super) definitions: Vec<Arc<SeriesDef>>,
    pub(super) held: HeldReports,
    pub(super) last_clock: Option<Clock>,
    /// Losses that the controller has not been asked about.
    lost: Vec<Gap>,
}

impl PastEpoch {
    pub(super) fn new(past: Past) -> Self {
        let mut held = HeldReports::default();
        for report in past.reports {
            held.push(Held::past(report));
        }
        Self {
            epoch: past.epoch,
            definitions: past.definitions,
            last_clock: past.last_clock,
            held,
            lost: past.lost,
        }
    }
}

impl State {
    pub(super) fn past_mut(&mut self, epoch: u64) -> Option<&mut PastEpoch> {
        self.past.iter_mut().find(|past| past.epoch == epoch)
    }

    fn take_past(&mut self, epoch: u64, stored: &RangeSet) -> Vec<Acked> {
        let Some(past) = self.past_mut(epoch) else {
            return Vec::new();
        };
        let acked = past.held.remove(stored);
        for gap in std::mem::take(&mut past.lost) {
            let range: RangeSet = std::iter::once(gap.range).collect();
            let missing = gaps::difference(&range, stored);
            let is_whole = missing == [gap.range];
            for range in missing {
                self.gaps.add(Gap {
                    range,
                    sample_count: gap.sample_count.filter(|_| is_whole),
                    ..gap.clone()
                });
            }
        }
        self.gaps.forget(epoch, stored);
        acked
    }

    fn reports_of(&mut self, running: u64, epoch: u64) -> Option<&mut HeldReports> {
        if epoch == running {
            return Some(&mut self.held);
        }
        self.past_mut(epoch).map(|past| &mut past.held)
    }
}

impl Outbox {
    /// Adds what earlier epochs have left on disk.
    #[must_use]
    pub fn with_past(self, past: Vec<Past>) -> Self {
        self.lock().past = past.into_iter().map(PastEpoch::new).collect();
        self
    }

    /// Every epoch that is held, the running one first.
    #[must_use]
    pub fn epochs(&self) -> Vec<HeldEpoch> {
        let state = self.lock();
        let running = HeldEpoch {
            epoch: self.epoch,
            held: state.held.numbers(),
            definitions: state.defined(),
            // Of the running boot, whose clocks go with the list.
            last_clock: None,
        };
        let past = state.past.iter().map(|past| HeldEpoch {
            epoch: past.epoch,
            held: past.held.numbers(),
            definitions: u32::try_from(past.definitions.len()).unwrap_or(u32::MAX),
            last_clock: past.last_clock.clone(),
        });
        std::iter::once(running).chain(past).collect()
    }

    /// Definitions of any held epoch from id `first` to id `last`, as many of them as exist.
    #[must_use]
    pub fn definitions_of(&self, epoch: u64, first: u32, last: u32) -> Vec<Arc<SeriesDef>> {
        let mut state = self.lock();
        if epoch == self.epoch {
            return state.definitions.between(first, last);
        }
        match state.past_mut(epoch) {
            Some(past) => past.definitions[places(first, last, past.definitions.len())].to_vec(),
            None => Vec::new(),
        }
    }

    /// Takes the controller's list of an earlier epoch: what it has is acknowledged, and what is neither there nor
    /// here any more is a gap.
    pub fn welcome_past(&self, epoch: u64, stored: &RangeSet) -> Vec<Acked> {
        let mut state = self.lock();
        let acked = state.take_past(epoch, stored);
        state.look_for_missing_past(epoch, stored);
        drop(state);
        self.changed.notify_one();
        self.spool_needed.notify_one();
        acked
    }

    /// Notes that there is no stream: everything is now to be kept on disk.
    pub fn disconnected(&self) {
        self.lock().is_connected = false;
        self.spool_needed.notify_one();
    }

    /// Waits until the spool has something to do before its next round. For one waiter.
    pub async fn spool_needed(&self) {
        self.spool_needed.notified().await;
    }

    /// Reports that belong on disk now; all that are not there if `all`.
    #[must_use]
    pub fn to_keep(&self, all: bool) -> Vec<Record> {
        let state = self.lock();
        if all || !state.is_connected || UNKEPT_BYTES_MAX <= state.held.unkept_bytes() {
            return state.held.to_keep(None);
        }
        match Instant::now().checked_sub(KEEP_AFTER) {
            Some(until) => state.held.to_keep(Some(until)),
            None => Vec::new(),
        }
    }

    /// How long the spool has nothing to do if nothing new happens; `None` if it has, or there is no stream.
    #[must_use]
    pub fn calm_for(&self) -> Option<Duration> {
        let state = self.lock();
        let held = &state.held;
        let is_calm = state.is_connected
            && state.past.is_empty()
            && state.gaps.is_empty()
            && state.is_refill_calm()
            && held.is_calm()
            && held.unkept_bytes() < UNKEPT_BYTES_MAX;
        let age = held.oldest().map_or(Duration::ZERO, |made| made.elapsed());
        KEEP_AFTER
            .checked_sub(age)
            .filter(|left| is_calm && !left.is_zero())
    }

    /// Notes that the spool has these reports of the running epoch, and lets memory go that they no longer need.
    pub fn kept(&self, sequences: &[u64]) {
        let mut state = self.lock();
        for &sequence in sequences {
            state.held.kept(sequence);
        }
        state.held.evict(CACHE_BYTES_MAX);
    }

    /// Whether all that is held of the running epoch is on disk, and no loss waits to be told.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        let state = self.lock();
        state.held.is_kept() && !state.gaps.is_waiting()
    }

    /// Reports to be read from disk because they are sent next.
    #[must_use]
    pub fn to_read(&self) -> Vec<(u64, u64)> {
        let state = self.lock();
        let live = state.held.wanted(READ_AHEAD_BYTES);
        if !live.is_empty() {
            return live.into_iter().map(|sequence| (self.epoch, sequence)).collect();
        }
        let wanted = state.past.iter().find_map(|past| {
            let wanted = past.held.wanted(READ_AHEAD_BYTES);
            (!wanted.is_empty()).then_some((past.epoch, wanted))
        });
        let Some((epoch, wanted)) = wanted else {
            return Vec::new();
        };
        wanted.into_iter().map(|sequence| (epoch, sequence)).collect()
    }

    /// Takes a report that was read.
    pub fn loaded(&self, epoch: u64, sequence: u64, message: Vec<u8>) {
        if let Some(reports) = self.lock().reports_of(self.epoch, epoch) {
            reports.loaded(sequence, message);
        }
        self.changed.notify_one();
    }

    /// Notes that reports are on disk no more although they were not acknowledged.
    pub fn lost(&self, epoch: u64, sequences: &[u64], reason: GapReason) {
        let mut state = self.lock();
        let running = self.epoch;
        for &sequence in sequences {
            let Some(held) = state
                .reports_of(running, epoch)
                .and_then(|reports| reports.take(sequence))
            else {
                continue;
            };
            match reason {
                GapReason::BufferFull => {
                    state.dropped_reports += 1;
                    state.dropped_samples += u64::from(held.sample_count);
                }
                GapReason::Damaged => state.damaged_reports += 1,
                GapReason::UncleanEnd | GapReason::Refused | GapReason::Thinned | GapReason::Other => {}
            }
            state.lose(epoch, &held, reason, epoch == running);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// What the spool need not keep any more.
    #[must_use]
    pub fn take_released(&self) -> Vec<Released> {
        let mut state = self.lock();
        let State { past, held, .. } = &mut *state;
        let past = past.iter_mut().map(|past| (past.epoch, &mut past.held));
        let all = past.chain(std::iter::once((self.epoch, held)));
        let released = all.map(|(epoch, held)| {
            let (acked, given_up) = held.take_released();
            Released {
                epoch,
                acked,
                given_up,
            }
        });
        released
            .filter(|released| !released.acked.is_empty() || !released.given_up.is_empty())
            .collect()
    }

    /// Earlier epochs of which everything was delivered or told as lost; they are forgotten here.
    #[must_use]
    pub fn take_finished(&self) -> Vec<u64> {
        let mut state = self.lock();
        let State { past, gaps, .. } = &mut *state;
        let mut finished = Vec::new();
        past.retain(|past| {
            let is_needed = 0 < past.held.len() || !past.lost.is_empty() || gaps.has_of(past.epoch);
            if !is_needed {
                finished.push(past.epoch);
            }
            is_needed
        });
        finished
    }
}

#[cfg(test)]
mod tests;
