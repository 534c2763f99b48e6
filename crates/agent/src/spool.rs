//! The spool: unacknowledged reports on disk, so that they outlive the process and a long absence of the controller.
//!
//! One folder per epoch below `DIR/spool`: preallocated segments with records, the dictionary with the epoch's series
//! definitions (which also stand in each segment before the first record that needs them, so that either copy alone
//! is enough), the cursor (what is settled or lost) and the mark (the highest number written). ADR 0009 has the
//! bytes.
//!
//! Invariants: a report counts as kept only after its segment was synced, and its definitions were synced before it
//! was written. A file that failed once is never written again. The cursor is on disk before what it settles is
//! removed. What is lost, by damage or for want of room, is a gap with its numbers.
//!
//! Must not know when reports are written (that is [`Keeper`]) or what they say. All calls block.

mod archive;
mod files;
mod format;
mod keeper;
#[cfg(test)]
pub(crate) mod memory;
mod recover;
mod refill;
mod reserve;
mod room;
mod shelf;
mod thin;
mod write;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use muster_base::id::AgentId;
use muster_model::{Clock, Gap, GapReason, SeriesDef};
use thiserror::Error;
use tracing::warn;

use self::archive::Archive;
use self::format::FileId;
use self::recover::Recovered;
use self::reserve::Reserve;
use self::shelf::Shelf;
use self::write::Writer;

pub use self::archive::Archived;
pub use self::files::{Disk, Files, OpenFile, Space};
pub use self::keeper::{Figures, Keeper};
pub use self::refill::Refill;
pub use self::thin::{Thinnable, Thinned};

/// Most epochs that are held: a controller takes 64 in one Hello, and one of them is the running one.
const EPOCHS_MAX: usize = 60;

/// The folder of acknowledged reports.
const ACKED: &str = "acked";

/// Bounds of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Length of a segment.
    pub segment_bytes: u64,
    /// Most bytes on disk.
    pub size_bytes_max: u64,
    /// Reports older than this are dropped, ms.
    pub age_ms_max: i64,
    /// The file system keeps at least this much free, per cent.
    pub free_percent_min: u64,
    /// What is allocated for urgent reports, on top of everything else.
    pub lane_bytes: u64,
    /// Most bytes of acknowledged reports, on top of everything else; 0 keeps none.
    pub acked_bytes_max: u64,
    /// For how long acknowledged reports are kept, ms.
    pub acked_age_ms_max: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 8 * 1024 * 1024,
            size_bytes_max: 256 * 1024 * 1024,
            age_ms_max: 72 * 3600 * 1000,
            free_percent_min: 5,
            lane_bytes: Reserve::lane_bytes(),
            acked_bytes_max: 64 * 1024 * 1024,
            acked_age_ms_max: 24 * 3600 * 1000,
        }
    }
}

/// Why something was not written.
#[derive(Debug, Error)]
pub enum SpoolError {
    /// The disk refused.
    #[error("write {path}")]
    Write {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is as much on disk as may be.
    #[error("the spool may take no more room")]
    Full,
    /// The folder could not be read.
    #[error("read {path}")]
    Read {
        /// The folder.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A report to be kept.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its number.
    pub sequence: u64,
    /// It uses series up to this id.
    pub definitions: u32,
    /// How many samples it carries.
    pub sample_count: u32,
    /// When it was made, Unix milliseconds.
    pub wall_ms: i64,
    /// When it was made, milliseconds since boot.
    pub boottime_ms: i64,
    /// It is alert-relevant: it goes to the lane that has room of its own.
    pub is_urgent: bool,
    /// The encoded message.
    pub message: Arc<[u8]>,
}

/// A report that is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastReport {
    /// Its number.
    pub sequence: u64,
    /// It uses series up to this id.
    pub definitions: u32,
    /// How many samples it carries.
    pub sample_count: u32,
    /// Length of its message.
    pub plain_bytes: usize,
}

/// What is held of an earlier epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past {
    /// The epoch.
    pub epoch: u64,
    /// Its reports, by ascending number.
    pub reports: Vec<PastReport>,
    /// Its definitions, from id 1 on.
    pub definitions: Vec<Arc<SeriesDef>>,
    /// The clocks when the last of its reports was made, if that is known.
    pub last_clock: Option<Clock>,
    /// Reports that were there and are not any more, unless the controller has them.
    pub lost: Vec<Gap>,
}

/// Gives definitions from one id to another.
pub type Define<'a> = &'a dyn Fn(u32, u32) -> Vec<Arc<SeriesDef>>;

/// Reports that were dropped for want of room or for their age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Their epoch.
    pub epoch: u64,
    /// Their numbers.
    pub sequences: Vec<u64>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Spool {
    files: Arc<dyn Files>,
    dir: Utf8PathBuf,
    options: Options,
    agent: AgentId,
    /// Epochs by age: folders are numbered.
    shelves: BTreeMap<u64, Shelf>,
    reserve: Reserve,
    writer: Writer,
    archive: Archive,
    /// What is to be sent again of which epoch.
    wanted: Vec<refill::Wanted>,
    /// How long the last sync took.
    sync_took: Duration,
}

impl Spool {
    /// Opens the spool in `dir` for a new `epoch` and reads what earlier epochs left.
    ///
    /// # Errors
    /// [`SpoolError::Read`] if the folder can't be listed. What is damaged in it is no error.
    pub fn open(
        files: Arc<dyn Files>,
        dir: &Utf8Path,
        options: Options,
        agent: AgentId,
        epoch: u64,
        clock: &Clock,
    ) -> Result<(Self, Vec<Past>), SpoolError> {
        let names = files.list(dir).map_err(|source| SpoolError::Read {
            path: dir.to_owned(),
            source,
        })?;
        let (mut shelves, mut pasts, mut last) = (BTreeMap::new(), Vec::new(), 0);
        let mut known = HashSet::new();
        let mut reserve = Reserve::new(dir, &names, options.lane_bytes);
        for name in names {
            let Some((ordinal, past_epoch)) = parse_name(&name) else {
                continue;
            };
            last = last.max(ordinal);
            let path = dir.join(&name);
            match recover::recover(files.as_ref(), &path, agent, past_epoch, &mut known) {
                Ok(Recovered::Held(mut shelf, past)) => {
                    // Not being able to only means finding the same losses again.
                    let _ = shelf.write_cursor(files.as_ref());
                    shelves.insert(ordinal, *shelf);
                    pasts.push(past);
                }
                Ok(Recovered::Empty) => remove_folder(files.as_ref(), &mut reserve, &path),
                Ok(Recovered::Foreign) => {
                    warn!(path = %path, "reports kept by another identity are removed");
                    remove_folder(files.as_ref(), &mut reserve, &path);
                }
                Err(error) => {
                    warn!(path = %path, error = %error, "kept reports can't be read, they stay for the next start");
                }
            }
        }
        let writer = Writer::new(last + 1, epoch, clock);
        let bounds = archive::Bounds {
            size_bytes_max: options.acked_bytes_max,
            age_ms_max: options.acked_age_ms_max,
        };
        let archive = Archive::open(Arc::clone(&files), &dir.join(ACKED), agent, bounds);
        let mut spool = Self {
            files,
            dir: dir.to_owned(),
            options,
            agent,
            shelves,
            reserve,
            writer,
            archive,
            wanted: Vec::new(),
            sync_took: Duration::ZERO,
        };
        spool.forget_oldest(&mut pasts);
        Ok((spool, pasts))
    }

    /// Keeps only as many epochs as a controller hears of; the oldest become losses as a whole.
    fn forget_oldest(&mut self, pasts: &mut [Past]) {
        while EPOCHS_MAX
            < self
                .shelves
                .values()
                .filter(|shelf| !shelf.records.is_empty())
                .count()
        {
            let oldest = self.shelves.values_mut().find(|shelf| !shelf.records.is_empty());
            let Some(shelf) = oldest else { return };
            for (sequence, place) in shelf.records.clone() {
                shelf.lose(sequence, Some(place.sample_count), GapReason::BufferFull);
            }
            if let Some(past) = pasts.iter_mut().find(|past| past.epoch == shelf.epoch) {
                past.reports.clear();
                past.lost.clone_from(&shelf.lost);
            }
            if shelf
                .remove_settled(self.files.as_ref(), &[], &mut self.reserve)
                .is_err()
            {
                return;
            }
        }
    }

    /// Bytes on disk, with what is allocated for urgent reports.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        let shelf = |shelf: &Shelf| {
            shelf.size_bytes() + shelf.urgent_segments() as u64 * self.reserve.segment_bytes()
        };
        self.reserve.size_bytes() + self.shelves.values().map(shelf).sum::<u64>()
    }

    /// How long the last successful sync took.
    #[must_use]
    pub const fn sync_took(&self) -> Duration {
        self.sync_took
    }

    /// Reads a report back. `None` if it is not here or can't be read any more; then it is noted as lost.
    pub fn read(&mut self, epoch: u64, sequence: u64) -> Option<Vec<u8>> {
        let (files, agent) = (Arc::clone(&self.files), self.agent);
        let place = self
            .shelf(epoch)
            .and_then(|shelf| shelf.records.get(&sequence).copied());
        let Some(place) = place else {
            return self.archive.read(epoch, sequence);
        };
        let shelf = self.shelf(epoch)?;
        let id = FileId {
            agent,
            epoch,
            segment: place.segment,
        };
        let read = shelf
            .segments
            .get(&place.segment)
            .and_then(|segment| {
                files
                    .read_at(&segment.path, place.offset, place.stored_bytes)
                    .ok()
            })
            .and_then(|bytes| format::decode(id, &bytes))
            .filter(|(head, _)| head.sequence == sequence);
        let Some((_, plain)) = read else {
            shelf.lose(sequence, Some(place.sample_count), GapReason::Damaged);
            return None;
        };
        Some(plain)
    }

    /// Notes that reports need not be kept any more.
    pub fn settle(&mut self, epoch: u64, sequences: &[u64]) {
        for &sequence in sequences {
            self.archive.release(epoch, sequence);
        }
        if let Some(shelf) = self.shelf(epoch) {
            for &sequence in sequences {
                shelf.settle(sequence);
            }
        }
    }

    /// Forgets an earlier epoch, of which everything was delivered.
    pub fn forget(&mut self, epoch: u64) {
        let ordinal = self.shelves.iter().find(|(_, shelf)| shelf.epoch == epoch);
        if let Some(ordinal) = ordinal.map(|(ordinal, _)| *ordinal)
            && ordinal != self.writer.ordinal
            && let Some(shelf) = self.shelves.remove(&ordinal)
        {
            remove_folder(self.files.as_ref(), &mut self.reserve, &shelf.dir);
        }
    }

    /// Writes down what is settled and removes segments that nothing needs any more.
    ///
    /// # Errors
    /// [`SpoolError::Write`] if the disk refuses; nothing is lost by that.
    pub fn clean(&mut self) -> Result<(), SpoolError> {
        let (files, open) = (Arc::clone(&self.files), self.writer.open_segments());
        for (ordinal, shelf) in &mut self.shelves {
            let open = if *ordinal == self.writer.ordinal {
                &open[..]
            } else {
                &[]
            };
            shelf.remove_settled(files.as_ref(), open, &mut self.reserve)?;
            shelf.write_cursor(files.as_ref())?;
        }
        Ok(())
    }

    fn shelf(&mut self, epoch: u64) -> Option<&mut Shelf> {
        self.shelves.values_mut().find(|shelf| shelf.epoch == epoch)
    }
}

fn remove_folder(files: &dyn Files, reserve: &mut Reserve, path: &Utf8Path) {
    reserve.reclaim(files, path);
    if let Err(error) = files.remove_dir(path) {
        warn!(path = %path, error = %error, "kept reports that nobody needs can't be removed");
    }
}

/// A folder's name: its number and its epoch.
fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (ordinal, epoch) = name.split_once('-')?;
    Some((ordinal.parse().ok()?, u64::from_str_radix(epoch, 16).ok()?))
}

#[cfg(test)]
mod tests;
