//! Between outbox and spool: writes what must be on disk, reads what is to be sent, drops when there is no room.
//!
//! One round a second, far fewer while the stream keeps up and there is nothing to do, and one at once when the outbox
//! needs something. A disk that fails costs a counted problem
//! and a pause; the outbox goes on in memory, within its bound. All file work is off the runtime's threads, so that
//! a hanging disk never holds up the stream.

mod refill;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use muster_base::ErrorChain;
use muster_base::shutdown::CancellationToken;
use muster_model::GapReason;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Dropped, Record, Spool, SpoolError, Thinnable, Thinned};
use crate::clocks::ClockReader;
use crate::outbox::Outbox;

const ROUND: Duration = Duration::from_secs(1);
/// How often it is looked whether one is needed when none was, unless a report may have to be kept before.
const REST: Duration = Duration::from_secs(5);
/// Longest time without one.
const REST_MAX: Duration = Duration::from_secs(15);
/// Pause after the first failure; doubled with each further one.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// Segments that the last round thins at most; what does not fit then is dropped.
const LAST_THINNINGS: u32 = 4;

/// Figures for the agent's own metrics.
#[derive(Debug, Default)]
pub struct Figures {
    /// Bytes on disk.
    pub size_bytes: AtomicU64,
    /// How often the disk refused.
    pub failures: AtomicU64,
    /// How long the last sync took, in microseconds.
    pub sync_us: AtomicU64,
    /// Samples left out for want of room.
    pub thinned_samples: AtomicU64,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Keeper {
    spool: Spool,
    outbox: Arc<Outbox>,
    clocks: ClockReader,
    figures: Arc<Figures>,
    failed: u32,
    retry_at: Option<Instant>,
    archiving: refill::Archiving,
    /// Segments that may still be thinned in this round, and whether there is no round after it.
    thinnings_left: u32,
    is_last: bool,
    /// When the last round was, and whether all that urgent reports need is there.
    last: Option<Instant>,
    is_prepared: bool,
}

impl Keeper {
    /// A keeper that has written nothing yet. From now on acknowledged reports are left to it.
    #[must_use]
    pub fn new(spool: Spool, outbox: Arc<Outbox>, clocks: ClockReader) -> Self {
        let mut keeper = Self {
            spool,
            outbox,
            clocks,
            figures: Arc::default(),
            failed: 0,
            retry_at: None,
            archiving: refill::Archiving::default(),
            thinnings_left: 0,
            is_last: false,
            last: None,
            is_prepared: false,
        };
        keeper.tell_archived();
        keeper
    }

    /// Figures that go on being kept.
    #[must_use]
    pub fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    /// Works until `shutdown`, then writes down all that is not acknowledged. Returns whether everything is on disk.
    pub async fn run(mut self, shutdown: CancellationToken) -> bool {
        let outbox = Arc::clone(&self.outbox);
        let mut next = Instant::now();
        loop {
            let is_end = tokio::select! {
                biased;
                () = shutdown.cancelled() => true,
                () = outbox.spool_needed() => false,
                () = tokio::time::sleep_until(next) => {
                    // A round takes a thread that may block, which costs more than all else that an idle agent does.
                    if let Some(rest) = self.may_rest() {
                        next = Instant::now() + rest;
                        continue;
                    }
                    false
                }
            };
            next = Instant::now() + ROUND;
            let round = tokio::task::spawn_blocking(move || {
                if is_end {
                    self.last_round();
                } else {
                    self.round(false);
                }
                self
            });
            match round.await {
                Ok(keeper) => self = keeper,
                Err(error) => {
                    warn!(error = %error, "spool has a defect, reports are held in memory only");
                    return false;
                }
            }
            if is_end {
                return outbox.is_kept();
            }
        }
    }

    /// How long there is nothing to do that could not as well be done later; `None` if there is.
    fn may_rest(&self) -> Option<Duration> {
        let is_due = self.last.is_none_or(|last| REST_MAX <= last.elapsed());
        let is_done = self.is_prepared && self.retry_at.is_none() && self.failed == 0;
        let knows_store = self.outbox.store() == self.spool.archive_store();
        let is_idle = !is_due && is_done && knows_store && !self.spool.is_refilling();
        let calm = self.outbox.calm_for().filter(|_| is_idle)?;
        Some(calm.min(REST))
    }

    /// Writes down everything, and what it may have dropped for that.
    fn last_round(&mut self) {
        self.retry_at = None;
        self.round(true);
        self.archive(true);
        if self.outbox.push_gaps(self.clocks.now()).is_some() {
            self.round(true);
        }
    }

    /// One round: what is settled goes, what is wanted is read, what is due is written. Urgent reports are tried in
    /// every round: they have room of their own, and a disk without room for the others may have it still.
    pub fn round(&mut self, all: bool) {
        self.is_last = all;
        self.thinnings_left = if all { LAST_THINNINGS } else { 1 };
        self.last = Some(Instant::now());
        self.release();
        self.refill();
        self.read();
        let urgent = self.write_urgent(all);
        if self.retry_at.is_none_or(|retry_at| retry_at <= Instant::now()) {
            let others = self.write(all);
            match urgent.and(others) {
                Ok(()) if 0 < self.failed => {
                    info!("spool writes again");
                    self.failed = 0;
                    self.retry_at = None;
                }
                Ok(()) => self.retry_at = None,
                Err(error) => self.pause(&error),
            }
        }
        let figures = &self.figures;
        figures
            .size_bytes
            .store(self.spool.size_bytes(), Ordering::Relaxed);
        let sync_us = u64::try_from(self.spool.sync_took().as_micros()).unwrap_or(u64::MAX);
        figures.sync_us.store(sync_us, Ordering::Relaxed);
    }

    fn release(&mut self) {
        for released in self.outbox.take_released() {
            self.archive_kept(&released);
            self.spool.settle(released.epoch, &released.acked);
            self.spool.settle(released.epoch, &released.given_up);
        }
        self.archive(false);
        for epoch in self.outbox.take_finished() {
            self.spool.forget(epoch);
        }
    }

    fn read(&mut self) {
        for (epoch, sequence) in self.outbox.to_read() {
            match self.spool.read(epoch, sequence) {
                Some(message) => self.outbox.loaded(epoch, sequence, message),
                None => {
                    warn!(epoch, sequence, "a kept report can't be read and is now a gap");
                    self.outbox.lost(epoch, &[sequence], GapReason::Damaged);
                }
            }
        }
    }

    /// Each is synced before anything else is written.
    fn write_urgent(&mut self, all: bool) -> Result<(), SpoolError> {
        // Without it they are kept as soon as it can be had.
        let prepared = self.spool.prepare();
        self.is_prepared = prepared.is_ok();
        for record in self
            .outbox
            .to_keep(all)
            .into_iter()
            .filter(|record| record.is_urgent)
        {
            let written = match self.append(&record) {
                // There is no lane, and no room to make one: then these are as well off as all others.
                Err(SpoolError::Full) => self.append(&Record {
                    is_urgent: false,
                    ..record
                }),
                written => written,
            };
            match written {
                Ok(()) => {}
                Err(SpoolError::Full) => break,
                Err(error) => return Err(error),
            }
            let synced = self.spool.sync()?;
            self.outbox.kept(&synced);
        }
        match prepared {
            Err(SpoolError::Full) | Ok(()) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, all: bool) -> Result<(), SpoolError> {
        while let Some(dropped) = self.spool.drop_aged(&self.clocks.now())? {
            self.tell_dropped(&dropped, "age");
        }
        let mut written = Ok(());
        for record in self.outbox.to_keep(all) {
            written = self.append(&record);
            if written.is_err() {
                break;
            }
        }
        // What was written before the failure is kept, unless its file is the one that failed.
        let synced = self.spool.sync()?;
        self.outbox.kept(&synced);
        match written {
            // Nothing is left to drop: what is held stays in memory, within its bound, until there is room.
            Err(SpoolError::Full) | Ok(()) => self.spool.clean(),
            Err(error) => Err(error),
        }
    }

    /// Where there is no room, the oldest are thinned: a segment a round, so that no round takes long. When that is done
    /// they are dropped.
    fn append(&mut self, record: &Record) -> Result<(), SpoolError> {
        let outbox = Arc::clone(&self.outbox);
        let define = |first, last| outbox.definitions(first, last);
        loop {
            let written = self.spool.append(record, &define);
            if !matches!(written, Err(SpoolError::Full)) {
                return written;
            }
            let to_thin = self.spool.to_thin().filter(|_| !record.is_urgent);
            if let Some(what) = to_thin {
                if 0 < self.thinnings_left {
                    self.thinnings_left -= 1;
                    self.thin(what)?;
                    continue;
                }
                if !self.is_last {
                    return written;
                }
            }
            let Some(dropped) = self.spool.drop_oldest(record.is_urgent)? else {
                return written;
            };
            self.tell_dropped(&dropped, "room");
        }
    }

    fn thin(&mut self, what: Thinnable) -> Result<(), SpoolError> {
        let outbox = Arc::clone(&self.outbox);
        let define = |first, last| outbox.definitions_of(what.epoch, first, last);
        let Some(thinned) = self.spool.thin(what, &define)? else {
            return Ok(());
        };
        let Thinned { reports, samples, .. } = thinned;
        self.figures.thinned_samples.fetch_add(samples, Ordering::Relaxed);
        warn!(
            epoch = what.epoch,
            reports,
            samples,
            period_ms = thinned.period_ms,
            freed_bytes = thinned.freed_bytes,
            "oldest kept reports thinned"
        );
        Ok(())
    }

    fn tell_dropped(&self, dropped: &Dropped, for_want_of: &'static str) {
        if dropped.sequences.is_empty() {
            return;
        }
        let reports = dropped.sequences.len();
        warn!(
            epoch = dropped.epoch,
            reports, for_want_of, "oldest kept reports dropped"
        );
        self.outbox
            .lost(dropped.epoch, &dropped.sequences, GapReason::BufferFull);
    }

    fn pause(&mut self, error: &SpoolError) {
        self.figures.failures.fetch_add(1, Ordering::Relaxed);
        if self.failed == 0 {
            warn!(error = %ErrorChain(error), "reports can't be kept on disk, they are held in memory");
        }
        let pause = (PAUSE_FIRST * 2_u32.pow(self.failed.min(5))).min(PAUSE_MAX);
        self.failed = self.failed.saturating_add(1);
        self.retry_at = Some(Instant::now() + pause);
    }
}

#[cfg(test)]
mod tests;
