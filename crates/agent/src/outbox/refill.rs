//! Reports that were acknowledged and are missed by a controller that was restored from an older backup.
//!
//! What is kept of them is on disk; here is only what of it there is, and which of it is asked for. Without anyone
//! who keeps them ([`Outbox::set_archived`] was never called) what was acknowledged and lost becomes a gap at once.

use std::sync::Arc;

use muster_model::{Clock, RangeSet, SequenceRange, SeriesDef};

use super::kept::PastEpoch;
use super::state::State;
use super::{HeldEpoch, Outbox, StoreMark, gaps};
use crate::spool::{Archived, Past, PastReport, Record, Refill};

/// Epochs that a controller hears of in one Hello.
const EPOCHS_MAX: usize = 64;
/// Acknowledged reports wait in memory for the spool up to this many bytes; beyond them they are not kept.
const ACKED_BYTES_MAX: usize = 1024 * 1024;
/// From this many on they are not left to wait.
const ACKED_BYTES_MANY: usize = 256 * 1024;

/// What is asked for, and from what.
#[derive(Debug, Default)]
pub(super) struct Refilling {
    /// Somebody keeps acknowledged reports.
    pub(super) is_kept: bool,
    archived: Vec<Archived>,
    /// Which store acknowledged them, as far as that is known.
    store: Option<StoreMark>,
    /// The store of the stream is another.
    is_restored: bool,
    /// What the controller misses, per epoch.
    missing: Vec<(u64, Vec<SequenceRange>)>,
}

impl Refilling {
    pub(super) fn ask(&mut self, epoch: u64, missing: Vec<SequenceRange>) {
        self.missing.retain(|(known, _)| *known != epoch);
        if !missing.is_empty() {
            self.missing.push((epoch, missing));
        }
    }

    /// A stream to a store begins.
    pub(super) fn begin(&mut self, store: StoreMark) {
        self.missing.clear();
        self.is_restored = self.store.is_some_and(|before| before != store);
    }
}

impl State {
    /// Whether nothing is asked for, and few acknowledged reports wait.
    pub(super) fn is_refill_calm(&self) -> bool {
        self.refill.missing.is_empty() && self.held.acked_bytes() < ACKED_BYTES_MANY
    }

    /// Looks for what the controller has lost of an earlier epoch.
    pub(super) fn look_for_missing_past(&mut self, epoch: u64, stored: &RangeSet) {
        let archived = self.refill.archived.iter().find(|known| known.epoch == epoch);
        let mut kept = archived.map(|known| known.numbers.clone()).unwrap_or_default();
        let past = self.past.iter().find(|past| past.epoch == epoch);
        // Acknowledged a moment ago, and on its way there.
        for sequence in past.into_iter().flat_map(|past| past.held.released()) {
            let _ = kept.insert(sequence);
        }
        let Some(last) = kept.iter().last().map(|range| range.last) else {
            return;
        };
        let missing = gaps::difference(&kept, stored);
        self.refill.ask(epoch, missing);
        if !self.refill.is_restored {
            return;
        }
        // All numbers below one that was acknowledged were given. What is neither here nor there nor told is gone.
        let held = self.past.iter().find(|past| past.epoch == epoch);
        let held = held.map(|past| past.held.numbers()).unwrap_or_default();
        let known = stored.iter().chain(kept.iter()).chain(held.iter());
        let mut accounted: Vec<SequenceRange> = known.chain(self.gaps.numbers_of(epoch)).collect();
        accounted.sort_unstable();
        self.lose_for_good(epoch, holes(&accounted, last));
    }
}

/// Numbers from 1 to `last` that are in none of `ranges`, which ascend.
fn holes(ranges: &[SequenceRange], last: u64) -> Vec<SequenceRange> {
    let (mut holes, mut next) = (Vec::new(), 1);
    for range in ranges {
        if next < range.first && next <= last {
            holes.push(SequenceRange {
                first: next,
                last: last.min(range.first - 1),
            });
        }
        next = next.max(range.last.saturating_add(1));
    }
    holes
}

impl Outbox {
    /// Says what acknowledged reports are kept, and which store acknowledged them. From the first call on they are
    /// left to whoever keeps them.
    pub fn set_archived(&self, archived: Vec<Archived>, store: Option<StoreMark>) {
        let mut state = self.lock();
        state.refill.is_kept = true;
        state.refill.archived = archived;
        state.refill.store = store;
        state.held.keep_acked(ACKED_BYTES_MAX);
    }

    /// Every epoch that a controller is to be asked about: those that are held, the running one first, and those of
    /// which acknowledged reports are kept, the youngest first.
    #[must_use]
    pub fn listed(&self) -> Vec<HeldEpoch> {
        let mut listed = self.epochs();
        for archived in &self.lock().refill.archived {
            let Some(held) = listed.iter_mut().find(|held| held.epoch == archived.epoch) else {
                if listed.len() < EPOCHS_MAX {
                    listed.push(HeldEpoch {
                        epoch: archived.epoch,
                        held: archived.numbers.clone(),
                        definitions: archived.definitions,
                        last_clock: archived.last_clock.clone(),
                    });
                }
                continue;
            };
            held.definitions = held.definitions.max(archived.definitions);
            for range in archived.numbers.iter() {
                // A list at its bound leaves some out.
                let _ = held.held.insert_range(range);
            }
        }
        listed
    }

    /// Acknowledged reports of the running epoch that are only in memory, once there are many or if `all`.
    #[must_use]
    pub fn take_acked(&self, all: bool) -> Vec<Record> {
        let mut state = self.lock();
        if all || ACKED_BYTES_MANY <= state.held.acked_bytes() {
            return state.held.take_unkept();
        }
        Vec::new()
    }

    /// What the controller has lost although it had acknowledged it, per epoch.
    #[must_use]
    pub fn take_missing(&self) -> Vec<(u64, Vec<SequenceRange>)> {
        std::mem::take(&mut self.lock().refill.missing)
    }

    /// How many reports are sent again although they were acknowledged.
    #[must_use]
    pub fn refilling(&self) -> usize {
        let state = self.lock();
        let past: usize = state.past.iter().map(|past| past.held.again()).sum();
        past + state.held.again()
    }

    /// Has reports sent again that were acknowledged; they are on disk.
    pub fn refill(&self, refill: Refill) {
        let mut state = self.lock();
        if refill.epoch == self.epoch {
            refill
                .reports
                .into_iter()
                .for_each(|report| state.held.add_again(report));
        } else if !refill.reports.is_empty() {
            state.refill_past(
                refill.epoch,
                refill.reports,
                refill.definitions,
                refill.last_clock,
            );
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Notes that acknowledged reports which the controller lost are not kept any more either.
    pub fn lost_for_good(&self, epoch: u64, ranges: Vec<SequenceRange>) {
        self.lock().lose_for_good(epoch, ranges);
    }
}

impl State {
    fn refill_past(
        &mut self,
        epoch: u64,
        reports: Vec<PastReport>,
        definitions: Vec<Arc<SeriesDef>>,
        last_clock: Option<Clock>,
    ) {
        if self.past_mut(epoch).is_none() {
            let past = Past {
                epoch,
                last_clock,
                ..Past::default()
            };
            self.past.insert(0, PastEpoch::new(past));
        }
        let past = self.past_mut(epoch).expect("made above");
        if past.definitions.len() < definitions.len() {
            past.definitions = definitions;
        }
        reports.into_iter().for_each(|report| past.held.add_again(report));
    }
}
