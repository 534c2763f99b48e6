//! Chunks in SQLite files: `raw-2026-11-22.db`, `5m-2026-11-16.db`, `1h-2026.db`.
//!
//! A period has one file, which one writer writes. If that is found damaged, it is read as far as it goes and
//! writing goes on in a further file of the period (`raw-2026-11-22.1.db`); if nothing in it can be read, it is
//! renamed. A rewritten period begins a file whose name says that it stands for all before it
//! (`raw-2026-11-22.2c.db`): giving it that name is the one step that counts, and what the others leave undone is
//! done at the next start. Retention removes whole periods. Rows stand in the order in which they were added.

mod name;
mod read;
mod rewrite;
mod writer;

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use parking_lot::Mutex;
use rusqlite::Connection;

use crate::aside;
use crate::chunk::ChunkKey;
use crate::chunks::{ChunkRow, ChunkStore, Found, Rewritten, RowRef, Sink, State, Usage, Wanted};
use crate::damage::{Damage, DamageKind, Damages};
use crate::error::{StoreError, is_damage};
use crate::sqlite::{self, Schema};
use crate::tier::{Period, Tier};

use name::FileName;
use writer::Writer;

/// Reading connections kept for later, over all files: a month of days and some roll-ups.
const IDLE_MAX: usize = 48;

/// What must be in each file.
const SCHEMA: Schema = Schema {
    application_id: 0x4d53_4459,
    version: 2,
    sql: "CREATE TABLE chunk (
              id INTEGER PRIMARY KEY, group_id INTEGER NOT NULL, start_ms INTEGER NOT NULL,
              first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, first_series INTEGER NOT NULL,
              last_series INTEGER NOT NULL, is_final INTEGER NOT NULL, data BLOB NOT NULL
          ) STRICT;
          CREATE INDEX chunk_by_group
              ON chunk (group_id, last_ms, first_ms, start_ms, first_series, last_series, is_final);",
    // To 2: without a word about series and state, a chunk may have any series and is not final.
    upgrades: &[
        "ALTER TABLE chunk ADD COLUMN first_series INTEGER NOT NULL DEFAULT 0;
          ALTER TABLE chunk ADD COLUMN last_series INTEGER NOT NULL DEFAULT 4294967295;
          ALTER TABLE chunk ADD COLUMN is_final INTEGER NOT NULL DEFAULT 0;",
    ],
};

/// One file.
#[derive(Debug)]
struct File {
    name: FileName,
    path: Utf8PathBuf,
    is_damaged: AtomicBool,
    is_removed: AtomicBool,
}

impl File {
    fn new(dir: &Utf8Path, name: FileName) -> Self {
        Self {
            name,
            path: dir.join(name.to_string()),
            is_damaged: AtomicBool::new(false),
            is_removed: AtomicBool::new(false),
        }
    }

    fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Relaxed)
    }

    fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Acquire)
    }
}

/// All files of the store, and connections to read them.
#[derive(Debug)]
pub(crate) struct Files {
    dir: Utf8PathBuf,
    files: Mutex<BTreeMap<FileName, Arc<File>>>,
    idle: Mutex<VecDeque<(FileName, Connection)>>,
    writer: Mutex<Writer>,
    damages: Arc<Damages>,
}

impl Files {
    /// Finds the files of a folder. What is damaged is noted, and renamed if nothing in it can be read.
    pub(crate) fn open(dir: &Utf8Path, damages: Arc<Damages>) -> Result<Self, StoreError> {
        let files = Self {
            dir: dir.to_owned(),
            files: Mutex::new(BTreeMap::new()),
            idle: Mutex::new(VecDeque::new()),
            writer: Mutex::new(Writer::default()),
            damages,
        };
        let names = name::list(dir)?;
        for names in names.chunk_by(|left, right| left.period == right.period) {
            files.add_period(names)?;
        }
        Ok(files)
    }

    /// Takes the files of a period in, the latest first: one that stands for those before it removes them.
    fn add_period(&self, names: &[FileName]) -> Result<(), StoreError> {
        for (index, name) in names.iter().enumerate().rev() {
            let has_successor = index + 1 < names.len();
            let is_sound = self.add_file(*name, has_successor)?;
            if name.is_rewritten && is_sound {
                for replaced in &names[..index] {
                    sqlite::remove(&self.dir.join(replaced.to_string()))?;
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes a file in; says whether it can be read and was not cut.
    fn add_file(&self, name: FileName, has_successor: bool) -> Result<bool, StoreError> {
        let file = Arc::new(File::new(&self.dir, name));
        // Before opening, because SQLite opens no file that is cut.
        let is_cut = sqlite::stretch_if_cut(&file.path)?;
        match sqlite::open(&file.path, &SCHEMA) {
            Ok(_) => {
                self.files.lock().insert(name, Arc::clone(&file));
            }
            Err(error) if error.is_damage() => {
                aside::set_aside(&file.path, &self.damages)?;
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        if is_cut {
            self.note_damaged(&file, "it is shorter than it was written");
            // At once, so that the next start still knows.
            self.writable(name.period)?;
        } else if has_successor {
            self.note_damaged(&file, "another file of the period took its place");
        }
        Ok(!is_cut)
    }

    /// The file that a period's chunks go to: its latest, or a new one if that is damaged.
    fn writable(&self, period: Period) -> Result<Arc<File>, StoreError> {
        let number = match self.of(period).pop() {
            Some(file) if !file.is_damaged() => return Ok(file),
            Some(file) => file.name.number + 1,
            None => 0,
        };
        let file = Arc::new(File::new(&self.dir, FileName::new(period, number)));
        sqlite::create(&file.path, &SCHEMA)?;
        self.files.lock().insert(file.name, Arc::clone(&file));
        Ok(file)
    }

    /// The files of a period, in the order in which they were written.
    fn of(&self, period: Period) -> Vec<Arc<File>> {
        let files = self.files.lock();
        let range = FileName::first_of(period)..=FileName::last_of(period);
        files.range(range).map(|(_, file)| Arc::clone(file)).collect()
    }

    fn all(&self) -> Vec<Arc<File>> {
        self.files.lock().values().cloned().collect()
    }

    /// Forgets a file that is removed or renamed; readers that have it open may go on.
    fn forget(&self, file: &File) {
        self.files.lock().remove(&file.name);
        file.is_removed.store(true, Ordering::Release);
        self.idle.lock().retain(|(name, _)| *name != file.name);
    }

    /// Remembers that a file is damaged: it is not written any more.
    fn note_damaged(&self, file: &File, reason: &str) -> Damage {
        file.is_damaged.store(true, Ordering::Relaxed);
        let reason = reason.to_owned();
        self.note(&file.path, DamageKind::File { reason })
    }

    fn note(&self, path: &Utf8Path, kind: DamageKind) -> Damage {
        let file = path.to_owned();
        let damage = Damage { file, kind };
        self.damages.note(&damage);
        damage
    }
}

impl ChunkStore for Files {
    fn periods(&self, tier: Tier, times: &RangeInclusive<i64>) -> Vec<Period> {
        let periods = Period::range(tier, times);
        if times.is_empty() {
            return Vec::new();
        }
        let range = FileName::first_of(*periods.start())..=FileName::last_of(*periods.end());
        let files = self.files.lock();
        let mut found: Vec<Period> = files.range(range).map(|(name, _)| name.period).collect();
        found.dedup();
        found
    }

    fn add(&self, period: Period, rows: &[ChunkRow]) -> Result<(), StoreError> {
        self.writer.lock().add(self, period, rows)
    }

    fn read(
        &self,
        period: Period,
        wanted: &Wanted<'_>,
        damaged: &mut Vec<Damage>,
        each: &mut dyn FnMut(Found, &[u8]) -> bool,
    ) {
        self.read_period(period, wanted, damaged, each);
    }

    fn state(&self, period: Period) -> Result<State, StoreError> {
        self.read_state(period)
    }

    fn is_final(&self, period: Period, group: u32) -> bool {
        self.group_is_final(period, group)
    }

    fn replace(&self, period: Period, outs: &[RowRef], ins: &[ChunkRow]) -> Result<(), StoreError> {
        self.writer.lock().replace(self, period, outs, ins)
    }

    fn rewrite(
        &self,
        period: Period,
        fill: &mut dyn FnMut(Sink<'_>) -> Result<Rewritten, StoreError>,
    ) -> Result<(), StoreError> {
        self.rewrite_period(period, fill)
    }

    fn remove_before(&self, tier: Tier, day: i64) -> Result<usize, StoreError> {
        let mut writer = self.writer.lock();
        let is_old = |file: &Arc<File>| file.name.period.tier == tier && file.name.period.last_day() < day;
        let old: Vec<Arc<File>> = self.all().into_iter().filter(is_old).collect();
        for file in &old {
            writer.close(file.name);
            self.forget(file);
            sqlite::remove(&file.path)?;
        }
        Ok(old.len())
    }

    fn verify(&self, period: Period, is_sound: &dyn Fn(ChunkKey, &[u8]) -> bool) -> Vec<Damage> {
        self.verify_period(period, is_sound)
    }

    fn copy_to(&self, dir: &Utf8Path) -> Result<(), StoreError> {
        for file in self.all() {
            sqlite::copy(&file.path, &dir.join(file.name.to_string()))?;
        }
        Ok(())
    }

    fn settle(&self, day: i64) {
        self.writer.lock().settle(day);
    }

    fn usage(&self, tier: Tier) -> Usage {
        let mut usage = Usage::default();
        for file in self.all().iter().filter(|file| file.name.period.tier == tier) {
            usage.files += 1;
            for suffix in ["", "-wal"] {
                let part = sqlite::companion(&file.path, suffix);
                usage.bytes += part.metadata().map_or(0, |metadata| metadata.len());
            }
        }
        usage
    }
}

/// Whether a folder has files of chunks.
pub(crate) fn exist(dir: &Utf8Path) -> Result<bool, StoreError> {
    Ok(!name::list(dir)?.is_empty())
}

/// Renames every file of a folder, because nobody can tell any more whose samples they hold.
pub(crate) fn set_all_aside(dir: &Utf8Path, damages: &Damages) -> Result<(), StoreError> {
    for name in name::list(dir)? {
        aside::set_aside(&dir.join(name.to_string()), damages)?;
    }
    Ok(())
}
