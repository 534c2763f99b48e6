//! Acknowledged reports: taken when they are, found again when a controller turns out to have lost them.

use std::io;
use std::sync::Arc;

use muster_model::{Clock, RangeSet, SequenceRange, SeriesDef};

use super::archive::{Archived, Entry};
use super::format::{self, FileId};
use super::{Define, PastReport, Record, Spool};
use crate::outbox::StoreMark;

/// Room that must be there before anything is taken.
const MARGIN_BYTES: u64 = 4 * 1024 * 1024;

/// What is still to be sent again of an epoch.
#[derive(Debug)]
pub(super) struct Wanted {
    epoch: u64,
    numbers: RangeSet,
}

/// Reports that are to be sent again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refill {
    /// Their epoch.
    pub epoch: u64,
    /// By ascending number.
    pub reports: Vec<PastReport>,
    /// The epoch's definitions, from id 1 on.
    pub definitions: Vec<Arc<SeriesDef>>,
    /// The clocks when the last report of the epoch was made, if that is known.
    pub last_clock: Option<Clock>,
    /// Numbers that were here and can't be read.
    pub lost: Vec<SequenceRange>,
}

impl Spool {
    /// What is here although it was acknowledged, the youngest epoch first; `None` if that is as before.
    pub fn take_archived(&mut self) -> Option<Vec<Archived>> {
        self.archive.take_changed().then(|| self.archive.archived())
    }

    /// The store that acknowledged what is here, if that is known.
    #[must_use]
    pub const fn archive_store(&self) -> Option<StoreMark> {
        self.archive.store()
    }

    /// Notes which store acknowledges from now on.
    ///
    /// # Errors
    /// As the system says.
    pub fn set_archive_store(&mut self, store: StoreMark) -> io::Result<()> {
        self.archive.set_store(store)
    }

    /// Whether there is room for acknowledged reports. What is too old goes first.
    pub fn may_archive(&mut self, now: &Clock) -> bool {
        self.archive.drop_aged(now);
        self.has_room_for(MARGIN_BYTES).is_ok()
    }

    /// Takes acknowledged reports that were never on disk.
    ///
    /// # Errors
    /// As the system says; the rest is not taken then.
    pub fn archive_made(
        &mut self,
        epoch: u64,
        records: &[Record],
        now: &Clock,
        define: Define<'_>,
    ) -> io::Result<()> {
        for record in records {
            self.archive
                .add((epoch, &now.boot_id), now, &Entry::Made(record), define)?;
        }
        Ok(())
    }

    /// Takes acknowledged reports that are on disk, before they are settled.
    ///
    /// # Errors
    /// As the system says; the rest is not taken then.
    pub fn archive_kept(
        &mut self,
        epoch: u64,
        sequences: &[u64],
        now: &Clock,
        define: Define<'_>,
    ) -> io::Result<()> {
        let Some(shelf) = self.shelves.values().find(|shelf| shelf.epoch == epoch) else {
            return Ok(());
        };
        for &sequence in sequences {
            let Some(place) = shelf.records.get(&sequence) else {
                continue;
            };
            let Some(segment) = shelf.segments.get(&place.segment) else {
                continue;
            };
            let bytes = self
                .files
                .read_at(&segment.path, place.offset, place.stored_bytes)?;
            let id = FileId {
                agent: self.agent,
                epoch,
                segment: place.segment,
            };
            // Damaged or another's: the controller has it, and nobody else will.
            let Some(head) = format::head(id, &bytes).filter(|head| head.sequence == sequence) else {
                continue;
            };
            let entry = Entry::Kept {
                head,
                id,
                bytes: &bytes,
            };
            let boot_id = segment.boot_id.clone();
            self.archive.add((epoch, &boot_id), now, &entry, define)?;
        }
        Ok(())
    }

    /// Says which reports of `epoch` are to be sent again.
    pub fn want(&mut self, epoch: u64, numbers: &RangeSet) {
        let known = self.wanted.iter().position(|wanted| wanted.epoch == epoch);
        let index = known.unwrap_or(self.wanted.len());
        if known.is_none() {
            let numbers = RangeSet::default();
            self.wanted.push(Wanted { epoch, numbers });
        }
        for range in numbers.iter() {
            // Beyond the bound they are asked for by the next stream.
            let _ = self.wanted[index].numbers.insert_range(range);
        }
    }

    /// Whether reports are still to be sent again.
    #[must_use]
    pub const fn is_refilling(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// The next reports to be sent again, at most `count_max`; `None` if there are none left.
    pub fn next_refill(&mut self, count_max: usize) -> Option<Refill> {
        let wanted = self.wanted.first()?;
        let (epoch, numbers) = (wanted.epoch, wanted.numbers.clone());
        let definitions = self.archive.definitions(epoch);
        let found = self.archive.find(epoch, &numbers, count_max);
        let reach = match found.last() {
            Some(last) if found.len() == count_max => last.sequence,
            _ => u64::MAX,
        };
        // A report whose definitions are gone can't be read by anyone.
        let defined = u32::try_from(definitions.len()).unwrap_or(u32::MAX);
        let reports: Vec<_> = found
            .into_iter()
            .filter(|report| report.definitions <= defined)
            .collect();
        let here: RangeSet = reports.iter().map(|report| single(report.sequence)).collect();
        let (mut lost, mut left) = (Vec::new(), RangeSet::default());
        for range in numbers.iter() {
            let (first, last) = (range.first, range.last);
            if first <= reach {
                let last = last.min(reach);
                lost.extend(here.missing_of(SequenceRange { first, last }));
            }
            if reach < last {
                let first = first.max(reach + 1);
                // Fewer ranges than there were.
                let _ = left.insert_range(SequenceRange { first, last });
            }
        }
        let last_clock = self.archive.archived().into_iter();
        let last_clock = last_clock.filter(|archived| archived.epoch == epoch);
        let last_clock = last_clock.filter_map(|archived| archived.last_clock).next();
        self.want_rest(epoch, left);
        Some(Refill {
            epoch,
            reports,
            definitions,
            last_clock,
            lost,
        })
    }

    fn want_rest(&mut self, epoch: u64, left: RangeSet) {
        if left.is_empty() {
            self.wanted.retain(|wanted| wanted.epoch != epoch);
        } else if let Some(wanted) = self.wanted.first_mut() {
            wanted.numbers = left;
        }
    }
}

const fn single(sequence: u64) -> SequenceRange {
    SequenceRange {
        first: sequence,
        last: sequence,
    }
}
