//! Thinning: what a spool without room does before it drops anything.
//!
//! The oldest segments first, all of them to a sample a minute, and when that is done to one in ten minutes. A segment
//! is written anew as a whole and then takes the place of the old one under the same name, so that whatever happens
//! there is one or the other, and each record keeps its number. A thinned report says itself how many of its samples are
//! gone. Urgent reports have no samples and segments of their own; definitions, runs, resources and problems stay.
//!
//! Each segment is tried once for each period, and not written unless that saves a quarter: so no byte is written more
//! than twice again, however long the spool is full. Must not know when there is time for it (that is the keeper).

mod thinner;

use muster_proto::framing;
use tracing::debug;

use self::thinner::Thinner;
use super::format::{self, FileId, HEADER_BYTES, Header};
use super::shelf::{Place, Segment};
use super::write::{self, DEFINITIONS_PER_RECORD};
use super::{Define, Spool, SpoolError};

/// How coarse the samples of a segment are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grade {
    /// As they were made.
    #[default]
    Whole,
    /// One a minute.
    Minute,
    /// One in ten minutes.
    TenMinutes,
}

impl Grade {
    /// The next coarser one, and its period in milliseconds.
    const fn next(self) -> Option<(Self, i64)> {
        match self {
            Self::Whole => Some((Self::Minute, 60_000)),
            Self::Minute => Some((Self::TenMinutes, 600_000)),
            Self::TenMinutes => None,
        }
    }
}

/// A segment that is to be thinned next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thinnable {
    /// Its epoch.
    pub epoch: u64,
    ordinal: u64,
    number: u32,
    grade: Grade,
    period_ms: i64,
    bytes_max: u64,
}

/// What thinning has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thinned {
    /// Reports that have fewer samples now.
    pub reports: u64,
    /// Samples that are gone.
    pub samples: u64,
    /// Of each series one sample was kept in so many milliseconds.
    pub period_ms: i64,
    /// Bytes that are free now.
    pub freed_bytes: u64,
}

/// A segment as it is to be written.
struct Rewritten {
    bytes: Vec<u8>,
    places: Vec<(u64, Place)>,
    reports: u64,
    samples: u64,
}

impl Spool {
    /// The segment that is to be thinned to make room, if room is needed and there is one that may still be.
    #[must_use]
    pub fn to_thin(&self) -> Option<Thinnable> {
        if self.excess_bytes() == 0 {
            return None;
        }
        let (open, running) = (self.writer.open_segments(), self.writer.ordinal);
        let closed = self.shelves.iter().flat_map(|(ordinal, shelf)| {
            let segments = shelf.segments.iter();
            segments.map(move |(number, segment)| (*ordinal, shelf.epoch, *number, segment))
        });
        let may_be = closed.filter_map(|(ordinal, epoch, number, segment)| {
            let is_open = ordinal == running && open.contains(&number);
            if is_open || format::is_urgent(number) || segment.live == 0 {
                return None;
            }
            let (grade, period_ms) = segment.grade.next()?;
            Some(Thinnable {
                epoch,
                ordinal,
                number,
                grade,
                period_ms,
                bytes_max: segment.size_bytes / 4 * 3,
            })
        });
        // Both stand beside each other for a moment.
        let fits = |one: &Thinnable| {
            self.bulk_bytes() + one.bytes_max <= self.options.size_bytes_max
                && self.missing_bytes(one.bytes_max) == 0
        };
        may_be
            .filter(fits)
            .min_by_key(|one| (one.grade, one.ordinal, one.number))
    }

    /// Thins a segment; `define` gives definitions of its epoch. `None` if that would save too little, or if something in
    /// it can't be read; it is not tried again for the same period.
    ///
    /// # Errors
    /// [`SpoolError::Write`] if the disk refuses; then everything is as it was.
    pub fn thin(&mut self, what: Thinnable, define: Define<'_>) -> Result<Option<Thinned>, SpoolError> {
        let Some(shelf) = self.shelves.get_mut(&what.ordinal) else {
            return Ok(None);
        };
        let Some(segment) = shelf.segments.get_mut(&what.number) else {
            return Ok(None);
        };
        segment.grade = what.grade;
        let segment = segment.clone();
        let mut places: Vec<(u64, Place)> = shelf
            .records
            .iter()
            .filter(|(_, place)| place.segment == what.number)
            .map(|(sequence, place)| (*sequence, *place))
            .collect();
        places.reverse();
        let Some(rewritten) = self.rewrite(what, &segment, &places, define) else {
            debug!(path = %segment.path, period_ms = what.period_ms, "thinning would save too little");
            return Ok(None);
        };
        let shelf = self.shelves.get_mut(&what.ordinal).expect("there a moment ago");
        // What is settled is not written again, so that must be known without it.
        shelf.write_cursor(self.files.as_ref())?;
        self.files
            .replace(&segment.path, &rewritten.bytes)
            .map_err(|source| SpoolError::Write {
                path: segment.path.clone(),
                source,
            })?;
        let size_bytes = rewritten.bytes.len() as u64;
        shelf.records.extend(rewritten.places);
        if let Some(segment) = shelf.segments.get_mut(&what.number) {
            segment.size_bytes = size_bytes;
        }
        Ok(Some(Thinned {
            reports: rewritten.reports,
            samples: rewritten.samples,
            period_ms: what.period_ms,
            freed_bytes: segment.size_bytes.saturating_sub(size_bytes),
        }))
    }

    /// The segment with fewer samples. `places` are those of its reports, the newest first. `None` if it would be too
    /// long, or if not all of it can be read: what is damaged is found by whoever wants to send it.
    fn rewrite(
        &self,
        what: Thinnable,
        segment: &Segment,
        places: &[(u64, Place)],
        define: Define<'_>,
    ) -> Option<Rewritten> {
        let id = FileId {
            agent: self.agent,
            epoch: what.epoch,
            segment: what.number,
        };
        let mut bytes = self.files.read_at(&segment.path, 0, HEADER_BYTES).ok()?;
        if Header::decode(&bytes)?.id != id {
            return None;
        }
        let bytes_max = usize::try_from(what.bytes_max).ok()?;
        let (mut thinner, mut records) = (Thinner::new(what.period_ms), Vec::new());
        let (mut length, mut defined, mut reports, mut samples) = (bytes.len(), 0, 0, 0);
        for (sequence, place) in places {
            let stored = self
                .files
                .read_at(&segment.path, place.offset, place.stored_bytes)
                .ok()?;
            let (head, plain) = format::decode(id, &stored).filter(|(head, _)| head.sequence == *sequence)?;
            let thinned = framing::thin_report(&plain, |blocks| thinner.thin(&blocks));
            let stored = match thinned {
                Some((plain, left_out)) => {
                    (reports, samples) = (reports + 1, samples + left_out);
                    // Its count of samples stays: should it be dropped, all of them are lost.
                    format::encode(id, head, &plain).ok()?.1
                }
                None => stored,
            };
            length += stored.len();
            defined = head.definitions.max(defined);
            if bytes_max < length {
                return None;
            }
            records.push((*sequence, *place, stored));
        }
        for first in (1..=defined).step_by(DEFINITIONS_PER_RECORD as usize) {
            let last = defined.min(first + DEFINITIONS_PER_RECORD - 1);
            let (head, plain) = write::definitions(what.epoch, first, last, define);
            bytes.extend(format::encode(id, head, &plain).ok()?.1);
        }
        let mut places = Vec::with_capacity(records.len());
        for (sequence, place, stored) in records.into_iter().rev() {
            let place = Place {
                offset: bytes.len() as u64,
                stored_bytes: stored.len(),
                ..place
            };
            places.push((sequence, place));
            bytes.extend(stored);
        }
        (0 < samples && bytes.len() <= bytes_max).then_some(Rewritten {
            bytes,
            places,
            reports,
            samples,
        })
    }
}

#[cfg(test)]
mod tests;
