//! What the keeper does with acknowledged reports: it has them written once a minute, and sent again where a
//! controller has lost them.
//!
//! None of that holds up anything else: where acknowledged reports can't be kept they are not, and a controller that
//! then misses them is told of a gap.

use std::io;
use std::time::Duration;

use muster_model::RangeSet;
use tokio::time::Instant;
use tracing::{info, warn};

use super::Keeper;
use crate::outbox::Released;

/// Acknowledged reports wait in memory this long before they are written.
const EVERY: Duration = Duration::from_mins(1);
/// Reports that are sent again at once, and below how many the next are read.
const BATCH: usize = 512;
const BATCH_LOW: usize = 64;

/// What is remembered between rounds.
#[derive(Debug, Default)]
pub(super) struct Archiving {
    written_at: Option<Instant>,
    /// After a failure nothing is tried before this.
    retry_at: Option<Instant>,
    has_failed: bool,
}

impl Keeper {
    /// Keeps acknowledged reports that are in the spool, before it forgets them.
    pub(super) fn archive_kept(&mut self, released: &Released) {
        if released.acked.is_empty() || !self.may_archive() {
            return;
        }
        let outbox = std::sync::Arc::clone(&self.outbox);
        let define = |first, last| outbox.definitions_of(released.epoch, first, last);
        let now = self.clocks.now();
        let archived = self
            .spool
            .archive_kept(released.epoch, &released.acked, &now, &define);
        self.judge(archived);
    }

    /// Keeps acknowledged reports that are only in memory, once a minute, when there are many, or if `all`.
    pub(super) fn archive(&mut self, all: bool) {
        let now = Instant::now();
        let is_due = self.archiving.written_at.is_none_or(|at| at + EVERY <= now);
        let records = self.outbox.take_acked(all || is_due);
        if is_due || all {
            self.archiving.written_at = Some(now);
        }
        if !records.is_empty() && self.may_archive() {
            let outbox = std::sync::Arc::clone(&self.outbox);
            let define = |first, last| outbox.definitions(first, last);
            let archived =
                self.spool
                    .archive_made(self.outbox.epoch(), &records, &self.clocks.now(), &define);
            self.judge(archived);
        }
        self.tell_archived();
    }

    /// Has sent again what the controller has lost although it had acknowledged it.
    pub(super) fn refill(&mut self) {
        let missing = self.outbox.take_missing();
        if !missing.is_empty() {
            // What was acknowledged on the last stream is asked for too.
            self.archive(true);
        }
        for (epoch, ranges) in missing {
            let numbers: RangeSet = ranges.into_iter().collect();
            info!(
                epoch,
                "the controller has lost acknowledged reports, what is kept of them is sent again"
            );
            self.spool.want(epoch, &numbers);
        }
        if BATCH_LOW < self.outbox.refilling() {
            return;
        }
        if let Some(refill) = self.spool.next_refill(BATCH) {
            if !refill.lost.is_empty() {
                self.outbox.lost_for_good(refill.epoch, refill.lost.clone());
                self.outbox.push_gaps(self.clocks.now());
            }
            self.outbox.refill(refill);
        } else {
            self.note_store();
        }
    }

    /// Notes which store acknowledges from now on, once nothing of the one before it is left to be told.
    fn note_store(&mut self) {
        let Some(store) = self.outbox.store() else { return };
        let is_known = self.spool.archive_store() == Some(store);
        if is_known || !self.outbox.is_connected() || 0 < self.outbox.stats().gaps || !self.may_archive() {
            return;
        }
        let noted = self.spool.set_archive_store(store);
        self.judge(noted);
        self.tell_archived();
    }

    pub(super) fn tell_archived(&mut self) {
        if let Some(archived) = self.spool.take_archived() {
            self.outbox.set_archived(archived, self.spool.archive_store());
        }
    }

    fn may_archive(&mut self) -> bool {
        let is_pausing = self.archiving.retry_at.is_some_and(|at| Instant::now() < at);
        !is_pausing && self.spool.may_archive(&self.clocks.now())
    }

    fn judge(&mut self, archived: io::Result<()>) {
        match archived {
            Ok(()) => {
                self.archiving.retry_at = None;
                self.archiving.has_failed = false;
            }
            Err(error) => {
                self.archiving.retry_at = Some(Instant::now() + EVERY);
                if !std::mem::replace(&mut self.archiving.has_failed, true) {
                    warn!(error = %error, "acknowledged reports can't be kept for a controller that loses them");
                }
            }
        }
    }
}
