//! Acknowledged reports of the last day, so that a controller that was restored from a backup can be refilled.
//!
//! A ring of files in `DIR/spool/acked`, each with reports of one epoch and, before the first that uses them, their
//! definitions: any file alone can be read. Nothing is synced: what a power cut takes of it is not there, and what
//! can't be read is not either. It takes only room that nobody else needs.
//!
//! In memory are the numbers in each file, and the places of what is being sent again. Must not know why a report is
//! asked for.

mod file;
mod store;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use muster_base::id::AgentId;
use muster_model::{Clock, RangeSet, SeriesDef};
use tracing::warn;

use self::file::{Open, Stored};
use super::files::Files;
use super::format::{self, FileId, Head};
use super::{Define, PastReport, Record};
use crate::outbox::StoreMark;

/// The file that names the store.
const STORE: &str = "store";
/// Length of a file.
const FILE_BYTES: u64 = 2 * 1024 * 1024;
/// A file is begun anew after this long, so that what is too old can go without what is not.
const FILE_MS: i64 = 3_600_000;
/// Most files, however often the agent starts.
const FILES_MAX: usize = 256;
/// Ranges of numbers in one file: reports arrive nearly in order, so more are a sign of trouble.
const FILE_RANGES_MAX: usize = 512;
/// Files that are written to: one of the running epoch, one of an earlier one that is being delivered.
const OPEN_MAX: usize = 2;

/// What is kept of an epoch although it was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// The epoch.
    pub epoch: u64,
    /// Its numbers that are here.
    pub numbers: RangeSet,
    /// How many series they use.
    pub definitions: u32,
    /// The clocks when the last of them was made, if that is known.
    pub last_clock: Option<Clock>,
}

/// Bounds of the archive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) size_bytes_max: u64,
    pub(super) age_ms_max: i64,
}

/// A report to be taken: as it was made, or as the spool has it.
#[derive(Debug)]
pub(super) enum Entry<'a> {
    Made(&'a Record),
    Kept { head: Head, id: FileId, bytes: &'a [u8] },
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Archive {
    files: Arc<dyn Files>,
    dir: Utf8PathBuf,
    agent: AgentId,
    bounds: Bounds,
    stored: BTreeMap<u32, Stored>,
    open: Vec<Open>,
    made: u32,
    /// Where reports lie that are being sent again.
    places: BTreeMap<(u64, u64), Place>,
    is_changed: bool,
    /// Which store acknowledged all this.
    store: Option<StoreMark>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    number: u32,
    offset: u64,
    stored_bytes: usize,
}

impl Archive {
    /// Reads what is there. What can't be read is left out.
    pub(super) fn open(files: Arc<dyn Files>, dir: &Utf8Path, agent: AgentId, bounds: Bounds) -> Self {
        let mut archive = Self {
            dir: dir.to_owned(),
            agent,
            bounds,
            stored: BTreeMap::new(),
            open: Vec::new(),
            made: 0,
            places: BTreeMap::new(),
            is_changed: true,
            store: None,
            files,
        };
        for name in archive.files.list(dir).unwrap_or_default() {
            let path = dir.join(&name);
            let number = name
                .strip_suffix(".seg")
                .and_then(|number| number.parse::<u32>().ok());
            // One that can't be read now may be read at the next start.
            let Ok(bytes) = archive.files.read(&path) else {
                archive.made = archive.made.max(number.unwrap_or(0));
                continue;
            };
            match number.and_then(|number| Some((number, Stored::read(agent, number, &path, &bytes)?))) {
                Some((number, stored)) => {
                    archive.made = archive.made.max(number);
                    archive.stored.insert(number, stored);
                }
                None if name == STORE => archive.store = store::decode(&bytes),
                None => remove(archive.files.as_ref(), &path),
            }
        }
        archive.keep_bounds();
        archive
    }

    /// Takes a report of `epoch`, which ran in the boot `boot_id` (empty: unknown), acknowledged `now`. One that is
    /// here already is left as it is.
    ///
    /// # Errors
    /// As the system says; then it is not here.
    pub(super) fn add(
        &mut self,
        (epoch, boot_id): (u64, &str),
        now: &Clock,
        entry: &Entry<'_>,
        define: Define<'_>,
    ) -> io::Result<()> {
        let sequence = entry.sequence();
        if self.bounds.size_bytes_max == 0 || self.has(epoch, sequence) {
            return Ok(());
        }
        let index = self.open_for((epoch, boot_id), now)?;
        let open = &mut self.open[index];
        let number = open.number;
        let written = open.write(entry, define);
        let (size_bytes, defined) = (open.size_bytes(), open.defined());
        let stored = self.stored.get_mut(&number).expect("opened above");
        stored.size_bytes = size_bytes;
        let (wall_ms, boottime_ms) = match written {
            Ok(clocks) => clocks,
            Err(error) => {
                // What was written before the failure counts; the file takes nothing more.
                self.open.remove(index);
                return Err(error);
            }
        };
        stored.definitions = stored.definitions.max(defined);
        if let Some(last) = &mut stored.last_clock
            && last.boottime_ms <= boottime_ms
        {
            (last.wall_ms, last.boottime_ms) = (wall_ms, boottime_ms);
        }
        if stored.numbers.insert(sequence).is_err() || FILE_RANGES_MAX <= stored.numbers.len() {
            self.open.remove(index);
        }
        self.is_changed = true;
        self.keep_bounds();
        Ok(())
    }

    /// Removes what is older than anything may be.
    pub(super) fn drop_aged(&mut self, now: &Clock) {
        let (age_ms_max, open) = (self.bounds.age_ms_max, &self.open);
        let aged: Vec<u32> = self
            .stored
            .iter()
            .filter(|(number, stored)| {
                !open.iter().any(|open| open.number == **number) && age_ms_max < stored.age_ms(now)
            })
            .map(|(number, _)| *number)
            .collect();
        for number in aged {
            self.drop_file(number);
        }
    }

    /// Gives room back, the oldest first, until that is `bytes` or nothing is left. Returns whether it gave any.
    pub(super) fn shrink_by(&mut self, bytes: u64) -> bool {
        let mut given = 0;
        while given < bytes {
            let Some((&number, stored)) = self.stored.first_key_value() else {
                break;
            };
            given += stored.size_bytes;
            self.drop_file(number);
        }
        0 < given
    }

    /// What is here, the youngest epoch first.
    pub(super) fn archived(&self) -> Vec<Archived> {
        let mut epochs: Vec<Archived> = Vec::new();
        for stored in self.stored.values().rev() {
            if stored.numbers.is_empty() {
                continue;
            }
            let known = epochs.iter_mut().find(|known| known.epoch == stored.epoch);
            let Some(known) = known else {
                epochs.push(Archived {
                    epoch: stored.epoch,
                    numbers: stored.numbers.clone(),
                    definitions: stored.definitions,
                    last_clock: stored.last_clock.clone(),
                });
                continue;
            };
            known.definitions = known.definitions.max(stored.definitions);
            for range in stored.numbers.iter() {
                // A set at its bound leaves some out; those are not offered.
                let _ = known.numbers.insert_range(range);
            }
        }
        epochs
    }

    /// Whether what is here has changed since the last call.
    pub(super) const fn take_changed(&mut self) -> bool {
        std::mem::replace(&mut self.is_changed, false)
    }

    /// Reports of `epoch` with numbers in `wanted`, by ascending number and at most `count_max`.
    pub(super) fn find(&mut self, epoch: u64, wanted: &RangeSet, count_max: usize) -> Vec<PastReport> {
        let mut found: BTreeMap<u64, (PastReport, Place)> = BTreeMap::new();
        for (&number, stored) in &self.stored {
            let is_wanted = |range| wanted.missing_of(range) != [range];
            if stored.epoch != epoch || !stored.numbers.iter().any(is_wanted) {
                continue;
            }
            let Ok(bytes) = self.files.read(&stored.path) else {
                continue;
            };
            for (offset, head) in format::scan_heads(file::id(self.agent, epoch, number), &bytes) {
                if head.kind != format::Kind::Report || !wanted.contains(head.sequence) {
                    continue;
                }
                let report = PastReport {
                    sequence: head.sequence,
                    definitions: head.definitions,
                    sample_count: head.sample_count,
                    plain_bytes: head.plain_bytes as usize,
                };
                let place = Place {
                    number,
                    offset: offset as u64,
                    stored_bytes: head.stored_bytes(),
                };
                found.insert(head.sequence, (report, place));
                if count_max < found.len() {
                    found.pop_last();
                }
            }
        }
        let places = found
            .iter()
            .map(|(&sequence, &(_, place))| ((epoch, sequence), place));
        self.places.extend(places);
        found.into_values().map(|(report, _)| report).collect()
    }

    /// Definitions of `epoch` from id 1 on, as many as are here without a hole.
    pub(super) fn definitions(&self, epoch: u64) -> Vec<Arc<SeriesDef>> {
        let mut definitions = BTreeMap::new();
        let mut files: Vec<_> = self.stored.iter().collect();
        files.retain(|(_, stored)| stored.epoch == epoch);
        files.sort_by_key(|(_, stored)| std::cmp::Reverse(stored.definitions));
        let wanted = files.first().map_or(0, |(_, stored)| stored.definitions) as usize;
        for (&number, stored) in files {
            if wanted <= definitions.len() {
                break;
            }
            if let Ok(bytes) = self.files.read(&stored.path) {
                file::read_definitions(file::id(self.agent, epoch, number), &bytes, &mut definitions);
            }
        }
        let known = (1..).zip(definitions).take_while(|(n, (id, _))| n == id);
        known.map(|(_, (_, series))| series).collect()
    }

    /// Reads a report that was found.
    pub(super) fn read(&self, epoch: u64, sequence: u64) -> Option<Vec<u8>> {
        let place = self.places.get(&(epoch, sequence))?;
        let stored = self.stored.get(&place.number)?;
        let bytes = self
            .files
            .read_at(&stored.path, place.offset, place.stored_bytes)
            .ok()?;
        let (head, plain) = format::decode(file::id(self.agent, epoch, place.number), &bytes)?;
        (head.sequence == sequence).then_some(plain)
    }

    /// Forgets where a report lies: it is not asked for any more.
    pub(super) fn release(&mut self, epoch: u64, sequence: u64) {
        self.places.remove(&(epoch, sequence));
    }

    /// The store that acknowledged what is here, if that is known.
    pub(super) const fn store(&self) -> Option<StoreMark> {
        self.store
    }

    /// Notes which store acknowledges from now on, on disk too.
    ///
    /// # Errors
    /// As the system says; then it is asked for again.
    pub(super) fn set_store(&mut self, store: StoreMark) -> io::Result<()> {
        if self.store == Some(store) || self.bounds.size_bytes_max == 0 {
            return Ok(());
        }
        self.files.create_dir(&self.dir)?;
        self.files.replace(&self.dir.join(STORE), &store::encode(store))?;
        self.store = Some(store);
        self.is_changed = true;
        Ok(())
    }

    fn has(&self, epoch: u64, sequence: u64) -> bool {
        let mut stored = self.stored.values().rev();
        stored.any(|stored| stored.epoch == epoch && stored.numbers.contains(sequence))
    }

    fn open_for(&mut self, (epoch, boot_id): (u64, &str), now: &Clock) -> io::Result<usize> {
        let known = self.open.iter().position(|open| open.epoch == epoch);
        if let Some(index) = known {
            let open = &self.open[index];
            let stored = &self.stored[&open.number];
            if stored.size_bytes < FILE_BYTES && stored.age_ms(now).abs() < FILE_MS {
                return Ok(index);
            }
            self.open.remove(index);
        }
        if OPEN_MAX <= self.open.len() {
            self.open.remove(0);
        }
        if self.stored.is_empty() {
            self.files.create_dir(&self.dir)?;
        }
        self.made += 1;
        let id = file::id(self.agent, epoch, self.made);
        let (open, stored) = Open::create(self.files.as_ref(), &self.dir, id, boot_id, now)?;
        self.stored.insert(self.made, stored);
        self.open.push(open);
        Ok(self.open.len() - 1)
    }

    fn keep_bounds(&mut self) {
        let size_bytes = |archive: &Self| {
            archive
                .stored
                .values()
                .map(|stored| stored.size_bytes)
                .sum::<u64>()
        };
        while self.bounds.size_bytes_max < size_bytes(self) || FILES_MAX < self.stored.len() {
            let Some((&number, _)) = self.stored.first_key_value() else {
                return;
            };
            self.drop_file(number);
        }
    }

    fn drop_file(&mut self, number: u32) {
        self.open.retain(|open| open.number != number);
        if let Some(stored) = self.stored.remove(&number) {
            remove(self.files.as_ref(), &stored.path);
            self.is_changed = true;
        }
    }
}

impl Entry<'_> {
    const fn sequence(&self) -> u64 {
        match self {
            Self::Made(record) => record.sequence,
            Self::Kept { head, .. } => head.sequence,
        }
    }

    const fn definitions(&self) -> u32 {
        match self {
            Self::Made(record) => record.definitions,
            Self::Kept { head, .. } => head.definitions,
        }
    }
}

fn remove(files: &dyn Files, path: &Utf8Path) {
    if let Err(error) = files.remove(path) {
        warn!(path = %path, error = %error, "acknowledged reports that are not kept any more can't be removed");
    }
}
