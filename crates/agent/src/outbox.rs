//! The outbox: every report that is made and not yet acknowledged, with the series definitions of the epoch.
//!
//! It alone gives sequence numbers: each report gets one when it is pushed and keeps it. It lives in memory and is
//! bounded by bytes; what the [spool](crate::spool) has on disk may leave memory until it is sent. At the bound whole
//! reports are dropped, the oldest that is neither on disk nor on its way first, and each loss becomes a [`Gap`](muster_model::Gap) in a later report, so that the controller can tell "lost" from "still to come".
//!
//! At most one unacknowledged report carries gaps; further gaps wait and grow together with their neighbours. So
//! their number is bounded by the number of holes between what is held and what is acknowledged, however long the
//! controller is away.
//!
//! It knows neither the stream nor TLS (that is `uplink`), nor what a report says (that is `report`).

mod definitions;
mod ends;
mod gaps;
mod held;
mod kept;
mod lanes;
mod refill;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_model::{Clock, GapReason, PreviousEpoch, RangeSet, Report, SeriesDef};
use tokio::sync::Notify;

use self::ends::Ends;
use self::state::State;

pub(crate) use self::definitions::Definitions;
pub use self::definitions::{Metric, Series};
pub use self::kept::Released;
pub use self::lanes::{Credit, Wanted};

/// How many bytes an agent holds by default.
pub const BYTES_MAX_DEFAULT: usize = 64 * 1024 * 1024;

/// A report on its way.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Its epoch.
    pub epoch: u64,
    /// Its number.
    pub sequence: u64,
    /// The encoded message.
    pub bytes: Arc<[u8]>,
    /// How many series had been defined when it was made: definitions up to this id go before it.
    pub definitions: u32,
}

/// An epoch as the agent lists it to the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldEpoch {
    /// The epoch.
    pub epoch: u64,
    /// Numbers that are held.
    pub held: RangeSet,
    /// How many series it has defined.
    pub definitions: u32,
    /// The clocks when its last report was made, if that is known.
    pub last_clock: Option<Clock>,
}

/// A report that the controller has stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acked {
    /// Its number.
    pub sequence: u64,
    /// How many samples it carried.
    pub sample_count: u32,
    /// Time of its first sample, Unix milliseconds; 0 if it had none.
    pub first_ms: i64,
    /// Time of its last sample, Unix milliseconds; 0 if it had none.
    pub last_ms: i64,
    /// Time between the making of the report and its acknowledgement.
    pub latency: Duration,
}

/// What becomes of a report that the controller could not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is sent once more.
    SentAgain,
    /// It was refused before and is now a gap.
    ReplacedByGap,
    /// It is not held (any more).
    NotHeld,
}

/// Which store acknowledged last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreMark {
    /// The store.
    pub id: uuid::Uuid,
    /// New at its creation and at each restore.
    pub epoch: u64,
}

/// Figures for the agent's own metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Memory that unacknowledged reports take.
    pub held_bytes: usize,
    /// Unacknowledged reports.
    pub held_reports: usize,
    /// Reports dropped because the outbox was full, since the start.
    pub dropped_reports: u64,
    /// Samples dropped with them.
    pub dropped_samples: u64,
    /// Highest sequence number given; 0 before the first report.
    pub last_sequence: u64,
    /// Reports that can't be read from disk any more, since the start.
    pub damaged_reports: u64,
    /// Gaps that the controller does not know of yet.
    pub gaps: usize,
    /// Reports of earlier epochs that are not acknowledged.
    pub past_reports: usize,
    /// Since when the oldest unacknowledged report waits; of an earlier epoch since this start.
    pub oldest_age: Duration,
}

/// Unacknowledged reports of one epoch; see the module's documentation.
#[derive(Debug)]
pub struct Outbox {
    epoch: u64,
    state: Mutex<State>,
    /// Something may be sent.
    changed: Notify,
    /// Everything is acknowledged.
    settled: Notify,
    /// The spool has something to do.
    spool_needed: Notify,
    /// There is a stream.
    connected: Notify,
    /// The controller knows how every earlier epoch ended.
    ends_told: Notify,
}

impl Outbox {
    /// An empty outbox for `epoch`. Its first report names `previous`.
    #[must_use]
    pub fn new(epoch: u64, previous: Option<PreviousEpoch>, bytes_max: usize) -> Self {
        let state = State {
            bytes_max,
            ends: Ends::new(previous),
            ..State::default()
        };
        Self {
            epoch,
            state: Mutex::new(state),
            changed: Notify::new(),
            settled: Notify::new(),
            spool_needed: Notify::new(),
            connected: Notify::new(),
            ends_told: Notify::new(),
        }
    }

    /// Has reports after the first tell how epochs before the previous one ended, of which the controller may not
    /// know.
    #[must_use]
    pub fn with_earlier(self, earlier: impl IntoIterator<Item = PreviousEpoch>) -> Self {
        {
            let mut state = self.lock();
            let ends = std::mem::take(&mut state.ends);
            state.ends = ends.and(earlier);
        }
        self
    }

    /// Whether the controller knows how every earlier epoch ended.
    #[must_use]
    pub fn has_told_ends(&self) -> bool {
        self.lock().ends.is_told()
    }

    /// Waits until the controller knows how every earlier epoch ended. For one waiter.
    pub async fn ends_told(&self) {
        while !self.has_told_ends() {
            self.ends_told.notified().await;
        }
    }

    /// The epoch of every report in here.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Defines a series and returns its id, which belongs to this epoch and is never reused. `None` when the epoch
    /// has as many series as it may have.
    pub fn define(&self, series: Series) -> Option<u32> {
        self.lock().definitions.define(series)
    }

    /// Has `work` look at series and define some, while nothing else is done with the outbox.
    pub(crate) fn defining<T>(&self, work: impl FnOnce(&mut Definitions) -> T) -> T {
        work(&mut self.lock().definitions)
    }

    /// How many series are defined.
    #[must_use]
    pub fn defined(&self) -> u32 {
        self.lock().defined()
    }

    /// Definitions from id `first` to id `last`, as many of them as exist.
    #[must_use]
    pub fn definitions(&self, first: u32, last: u32) -> Vec<Arc<SeriesDef>> {
        self.lock().definitions.between(first, last)
    }

    /// Takes a report and gives it its number. Its epoch, number, previous epoch and gaps are set here, whatever
    /// they were. Where it does not fit, older reports are dropped for it.
    pub fn push(&self, report: Report) -> u64 {
        let (sequence, bytes) = {
            let mut state = self.lock();
            (state.push(self.epoch, report, false), state.held.bytes())
        };
        self.changed.notify_one();
        if kept::UNKEPT_BYTES_MAX <= bytes {
            self.spool_needed.notify_one();
        }
        sequence
    }

    /// As [`Outbox::push`], for a report that alerts depend on: without a controller it is on disk at once, where
    /// room is kept for it.
    pub fn push_urgent(&self, report: Report) -> u64 {
        let sequence = self.lock().push(self.epoch, report, true);
        self.changed.notify_one();
        self.spool_needed.notify_one();
        sequence
    }

    /// Whether there is a stream.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.lock().is_connected
    }

    /// Waits until there may be a stream again. For one waiter.
    pub async fn connected(&self) {
        self.connected.notified().await;
    }

    /// Makes a report of its own for gaps that wait, if there are any and none is on its way. Returns its number.
    pub fn push_gaps(&self, clock: Clock) -> Option<u64> {
        let sequence = {
            let mut state = self.lock();
            if !state.gaps.may_be_carried() {
                return None;
            }
            state.push(self.epoch, Report::empty(self.epoch, 0, clock), false)
        };
        self.changed.notify_one();
        Some(sequence)
    }

    /// Starts over after a reconnect or a request for definitions: everything that is held is to be sent again.
    pub fn rewind(&self) {
        self.lock().rewind();
        self.changed.notify_one();
    }

    /// Removes what the controller has stored. Numbers and epochs that are not held are ignored.
    pub fn ack(&self, epoch: u64, stored: &RangeSet) -> Vec<Acked> {
        let (acked, settled) = {
            let mut state = self.lock();
            let acked = if epoch == self.epoch {
                state.ack(epoch, stored)
            } else {
                let past = state.past_mut(epoch);
                past.map(|past| past.held.remove(stored)).unwrap_or_default()
            };
            (acked, state.is_settled())
        };
        self.announce(settled);
        acked
    }

    /// Takes the controller's list at the start of a stream: what it has is acknowledged, everything else is to be
    /// sent again, and what it lost although it had acknowledged it is asked of whoever keeps it, else it is a gap.
    pub fn welcome(&self, stored: &RangeSet, store: StoreMark) -> Vec<Acked> {
        let (acked, settled) = {
            let mut state = self.lock();
            let acked = state.ack(self.epoch, stored);
            state.refill.begin(store);
            state.look_for_missing(self.epoch, stored);
            state.note_store(store);
            state.rewind();
            state.is_connected = true;
            (acked, state.is_settled())
        };
        self.announce(settled);
        self.connected.notify_one();
        self.spool_needed.notify_one();
        acked
    }

    /// Notes that the controller could not read a report.
    pub fn refused(&self, sequence: u64) -> Refusal {
        self.lock().refused(self.epoch, sequence)
    }

    /// Replaces a report that can't be sent by a gap.
    pub fn give_up(&self, epoch: u64, sequence: u64) {
        self.lost(epoch, &[sequence], GapReason::Refused);
    }

    /// The numbers that are held.
    #[must_use]
    pub fn held(&self) -> RangeSet {
        self.lock().held.numbers()
    }

    /// The store of the last stream.
    #[must_use]
    pub fn store(&self) -> Option<StoreMark> {
        self.lock().store
    }

    /// Rises whenever the controller may have missed reports for good: whoever sends only changes must then send
    /// everything once.
    #[must_use]
    pub fn resyncs(&self) -> u64 {
        self.lock().resyncs
    }

    /// Figures for the agent's own metrics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let state = self.lock();
        Stats {
            held_bytes: state.held.bytes(),
            held_reports: state.held.len(),
            dropped_reports: state.dropped_reports,
            dropped_samples: state.dropped_samples,
            last_sequence: state.last_sequence,
            damaged_reports: state.damaged_reports,
            gaps: state.gaps.len(),
            past_reports: state.past.iter().map(|past| past.held.len()).sum(),
            oldest_age: state.oldest().map_or(Duration::ZERO, |made| made.elapsed()),
        }
    }

    /// Whether everything is acknowledged and no gap waits to be told.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.lock().is_settled()
    }

    /// Waits until there may be something to send. For one waiter.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits until everything is acknowledged. For one waiter.
    pub async fn settled(&self) {
        while !self.is_settled() {
            self.settled.notified().await;
        }
    }

    fn announce(&self, settled: bool) {
        // An ack frees credit, so there may be something to send as well.
        self.changed.notify_one();
        self.ends_told.notify_one();
        if settled {
            self.settled.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics between two states that do not fit each other; what is in there is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
