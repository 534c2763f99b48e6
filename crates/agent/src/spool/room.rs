//! Room on disk: what is dropped when there is none, or when it is too old.

use muster_model::{Clock, GapReason};
use tracing::warn;

use super::shelf::Shelf;
use super::{Dropped, Spool, SpoolError, format};

impl Spool {
    /// Whether another segment fits, and after it as much as thinning one takes for a moment.
    ///
    /// # Errors
    /// [`SpoolError::Full`] if not.
    pub(super) fn has_room(&mut self) -> Result<(), SpoolError> {
        let wanted_bytes = self.wanted_bytes();
        if self.options.size_bytes_max < self.bulk_bytes() + wanted_bytes {
            return Err(SpoolError::Full);
        }
        self.has_room_for(wanted_bytes)
    }

    /// What must be free for another segment to be begun.
    const fn wanted_bytes(&self) -> u64 {
        2 * self.options.segment_bytes
    }

    /// Bytes on disk that the bound of the size counts.
    pub(super) fn bulk_bytes(&self) -> u64 {
        self.shelves.values().map(Shelf::size_bytes).sum()
    }

    /// What has to go before another segment fits.
    pub(super) fn excess_bytes(&self) -> u64 {
        let wanted_bytes = self.wanted_bytes();
        let used = (self.bulk_bytes() + wanted_bytes).saturating_sub(self.options.size_bytes_max);
        used.max(self.missing_bytes(wanted_bytes))
    }

    /// Whether the file system keeps what it must keep free with `bytes` more. Acknowledged reports give way first.
    ///
    /// # Errors
    /// [`SpoolError::Full`] if not.
    pub(super) fn has_room_for(&mut self, bytes: u64) -> Result<(), SpoolError> {
        let missing_bytes = self.missing_bytes(bytes);
        if missing_bytes == 0 {
            return Ok(());
        }
        if self.archive.shrink_by(missing_bytes) && self.missing_bytes(bytes) == 0 {
            return Ok(());
        }
        Err(SpoolError::Full)
    }

    /// What must be free and is not, with `bytes` more.
    pub(super) fn missing_bytes(&self, bytes: u64) -> u64 {
        let parent = self.dir.parent().unwrap_or(&self.dir);
        // Where the room is not known, the write will tell.
        let Ok(space) = self.files.space(parent) else {
            return 0;
        };
        let kept = u128::from(space.total_bytes) * u128::from(self.options.free_percent_min) / 100;
        let missing = (kept + u128::from(bytes)).saturating_sub(space.free_bytes.into());
        u64::try_from(missing).unwrap_or(u64::MAX)
    }

    /// Drops the oldest segment, of the urgent lane or of all others. `None` if there is none but the one being
    /// written, or if all of them together would not make room: where somebody else has filled the disk, what is kept
    /// stays.
    ///
    /// # Errors
    /// [`SpoolError::Write`] if the losses can't be written down; then nothing is dropped.
    pub fn drop_oldest(&mut self, is_urgent: bool) -> Result<Option<Dropped>, SpoolError> {
        let open = self.writer.open_segments();
        let running = self.writer.ordinal;
        let closed = self.shelves.iter().flat_map(|(ordinal, shelf)| {
            let segments = shelf.segments.iter();
            segments.map(move |(number, segment)| (*ordinal, *number, segment.size_bytes))
        });
        let closed: Vec<_> = closed
            .filter(|(ordinal, number, _)| {
                let is_open = *ordinal == running && open.contains(number);
                format::is_urgent(*number) == is_urgent && !is_open
            })
            .collect();
        let may_go: u64 = closed.iter().map(|(_, _, size_bytes)| size_bytes).sum();
        match closed.first() {
            Some((ordinal, number, _)) if is_urgent || self.excess_bytes() <= may_go => {
                self.drop_segment(*ordinal, *number).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Drops a segment whose youngest report is older than reports may be.
    ///
    /// # Errors
    /// As [`Self::drop_oldest`].
    pub fn drop_aged(&mut self, clock: &Clock) -> Result<Option<Dropped>, SpoolError> {
        let (open, running) = (self.writer.open_segments(), self.writer.ordinal);
        let aged = self.shelves.iter().find_map(|(ordinal, shelf)| {
            let is_open = |number: &u32| *ordinal == running && open.contains(number);
            let mut segments = shelf.segments.iter();
            let (number, _) = segments.find(|(number, segment)| {
                // Within a boot the boot clock knows; across boots there is only the wall clock.
                let age_ms = if segment.boot_id == clock.boot_id {
                    clock.boottime_ms.saturating_sub(segment.newest_boottime_ms)
                } else {
                    clock.wall_ms.saturating_sub(segment.newest_wall_ms)
                };
                0 < segment.live && !is_open(number) && self.options.age_ms_max < age_ms
            })?;
            Some((*ordinal, *number))
        });
        match aged {
            Some((ordinal, number)) => self.drop_segment(ordinal, number).map(Some),
            None => Ok(None),
        }
    }

    fn drop_segment(&mut self, ordinal: u64, number: u32) -> Result<Dropped, SpoolError> {
        let shelf = self.shelves.get_mut(&ordinal).expect("found a moment ago");
        let doomed: Vec<(u64, u32)> = shelf
            .records
            .iter()
            .filter(|(_, place)| place.segment == number)
            .map(|(sequence, place)| (*sequence, place.sample_count))
            .collect();
        for &(sequence, sample_count) in &doomed {
            shelf.lose(sequence, Some(sample_count), GapReason::BufferFull);
        }
        let dropped = Dropped {
            epoch: shelf.epoch,
            sequences: doomed.into_iter().map(|(sequence, _)| sequence).collect(),
        };
        let mut open = self.writer.open_segments();
        open.retain(|_| ordinal == self.writer.ordinal);
        // Where the cursor can't be written the file stays, and is tried again with the next one; that what it
        // holds is lost was decided all the same.
        if let Err(error) = shelf.remove_settled(self.files.as_ref(), &open, &mut self.reserve) {
            if dropped.sequences.is_empty() {
                return Err(error);
            }
            warn!(error = %muster_base::ErrorChain(&error), "dropped reports still take room on disk");
        }
        Ok(dropped)
    }
}
