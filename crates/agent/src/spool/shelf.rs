//! What is on disk of one epoch: which records lie where, which are settled, which are lost.
//!
//! Knows no file but the cursor, which says what is settled or lost. The cursor is on disk before a segment is
//! removed: a segment that is missing without it is a loss.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use muster_model::{Gap, GapReason, RangeSet, SequenceRange};
use serde::{Deserialize, Serialize};

use super::files::Files;
use super::reserve::Reserve;
use super::thin::Grade;
use super::{SpoolError, format};

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) offset: u64,
    pub(super) stored_bytes: usize,
    pub(super) sample_count: u32,
}

/// A segment's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) path: Utf8PathBuf,
    pub(super) size_bytes: u64,
    /// Records that are not settled.
    pub(super) live: usize,
    /// When its last record was made, by both clocks.
    pub(super) newest_wall_ms: i64,
    pub(super) newest_boottime_ms: i64,
    pub(super) boot_id: String,
    /// How far it was thinned, or tried to be, since the start.
    pub(super) grade: Grade,
}

/// One epoch's folder.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) epoch: u64,
    pub(super) dir: Utf8PathBuf,
    pub(super) segments: BTreeMap<u32, Segment>,
    pub(super) records: BTreeMap<u64, Place>,
    pub(super) settled: RangeSet,
    pub(super) lost: Vec<Gap>,
    /// The cursor on disk is behind.
    pub(super) is_dirty: bool,
}

/// The cursor's file: a checksum, a space, and this as JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub(super) settled: RangeSet,
    pub(super) lost: Vec<Gap>,
}

impl Cursor {
    fn encode(&self) -> Vec<u8> {
        let json = serde_json::to_vec(self).expect("a cursor is plain data");
        let mut bytes = format!("{:08x} ", crc32fast::hash(&json)).into_bytes();
        bytes.extend(json);
        bytes
    }

    /// An empty one if it is damaged: then more is sent again than has to be.
    pub(super) fn decode(bytes: &[u8]) -> Self {
        let Some((crc, json)) = bytes.split_at_checked(9) else {
            return Self::default();
        };
        if crc != format!("{:08x} ", crc32fast::hash(json)).as_bytes() {
            return Self::default();
        }
        serde_json::from_slice(json).unwrap_or_default()
    }
}

impl Shelf {
    /// Bytes on disk, the urgent lane's apart.
    pub(super) fn size_bytes(&self) -> u64 {
        let bulk = self
            .segments
            .iter()
            .filter(|(number, _)| !format::is_urgent(**number));
        bulk.map(|(_, segment)| segment.size_bytes).sum()
    }

    /// How many segments belong to the urgent lane.
    pub(super) fn urgent_segments(&self) -> usize {
        self.segments
            .keys()
            .filter(|number| format::is_urgent(**number))
            .count()
    }

    /// Adds a record that is on disk. One that was there before, in a file that then failed, gives way.
    pub(super) fn add(&mut self, sequence: u64, place: Place) {
        if let Some(before) = self.records.insert(sequence, place)
            && let Some(segment) = self.segments.get_mut(&before.segment)
        {
            segment.live = segment.live.saturating_sub(1);
        }
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.live += 1;
        }
    }

    /// Notes that a record is not needed any more.
    pub(super) fn settle(&mut self, sequence: u64) {
        let Some(place) = self.records.remove(&sequence) else {
            return;
        };
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.live = segment.live.saturating_sub(1);
        }
        // A set at its bound forgets the number: then the report is offered once more, and nothing else.
        let _ = self.settled.insert(sequence);
        self.is_dirty = true;
    }

    /// Notes that a record is lost.
    pub(super) fn lose(&mut self, sequence: u64, sample_count: Option<u32>, reason: GapReason) {
        self.settle(sequence);
        self.lost_range(sequence, sequence, sample_count, reason);
    }

    pub(super) fn lost_range(&mut self, first: u64, last: u64, samples: Option<u32>, reason: GapReason) {
        self.is_dirty = true;
        let sample_count = samples.map(u64::from);
        if let Some(gap) = self.lost.last_mut()
            && gap.range.last.checked_add(1) == Some(first)
            && gap.reason == reason
        {
            gap.range.last = last;
            gap.sample_count = gap.sample_count.zip(sample_count).map(|(a, b)| a + b);
            return;
        }
        self.lost.push(Gap {
            epoch: self.epoch,
            range: SequenceRange { first, last },
            sample_count,
            reason,
        });
    }

    /// Writes the cursor, durably, if it has changed.
    pub(super) fn write_cursor(&mut self, files: &dyn Files) -> Result<(), SpoolError> {
        if !self.is_dirty {
            return Ok(());
        }
        let cursor = Cursor {
            settled: self.settled.clone(),
            lost: self.lost.clone(),
        };
        let path = self.dir.join("cursor");
        files
            .replace(&path, &cursor.encode())
            .map_err(|source| SpoolError::Write { path, source })?;
        self.is_dirty = false;
        Ok(())
    }

    /// Removes segments of which everything is settled, except those that are `open`. Those of the urgent lane go
    /// back to the `reserve`.
    pub(super) fn remove_settled(
        &mut self,
        files: &dyn Files,
        open: &[u32],
        reserve: &mut Reserve,
    ) -> Result<(), SpoolError> {
        let done: Vec<u32> = self
            .segments
            .iter()
            .filter(|(number, segment)| segment.live == 0 && !open.contains(number))
            .map(|(number, _)| *number)
            .collect();
        if done.is_empty() {
            return Ok(());
        }
        let cursor = self.write_cursor(files);
        for number in done {
            // The urgent lane must go on without room for a cursor. What is then gone without it is missed at the
            // next start, and asked for.
            if cursor.is_err() && !format::is_urgent(number) {
                continue;
            }
            let path = self.segments[&number].path.clone();
            let is_spare = format::is_urgent(number) && reserve.give(files, &path).is_ok();
            let removed = if is_spare { Ok(()) } else { files.remove(&path) };
            removed.map_err(|source| SpoolError::Write { path, source })?;
            self.segments.remove(&number);
        }
        cursor
    }
}
