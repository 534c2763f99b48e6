//! Day files: the chunks of a UTC day, `raw-2026-11-22.db`.
//!
//! A day has one file, which one writer writes. If that is found damaged, it is read as far as it goes and
//! writing goes on in a further file of the day (`raw-2026-11-22.1.db`); if nothing in it can be read, it is
//! renamed. Retention removes whole days. Rows of a file stand in the order in which they were sealed.
//!
//! Knows chunks only as bytes; who merges and decodes is [`crate::reader`] and [`crate::store`].

mod writer;

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::civil::Date;
use parking_lot::Mutex;
use rusqlite::{Connection, params};

use crate::aside;
use crate::chunk::ChunkKey;
use crate::damage::{Damage, DamageKind, Damages};
use crate::error::{StoreError, is_damage};
use crate::sqlite::{self, Schema};
use crate::window::DAY_MS;

pub(crate) use writer::{ChunkRow, DayWriter};

/// Reading connections kept for later, over all files.
const IDLE_MAX: usize = 16;

const SCHEMA: Schema = Schema {
    application_id: 0x4d53_4459,
    version: 1,
    sql: "CREATE TABLE chunk (
              id INTEGER PRIMARY KEY, group_id INTEGER NOT NULL, start_ms INTEGER NOT NULL,
              first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, data BLOB NOT NULL
          ) STRICT;
          CREATE INDEX chunk_by_group ON chunk (group_id, last_ms, first_ms, start_ms);",
};

/// A day and the number of the file within it.
type FileKey = (i64, u32);

/// One file.
#[derive(Debug)]
pub(crate) struct DayFile {
    key: FileKey,
    /// Where it is.
    pub(crate) path: Utf8PathBuf,
    is_damaged: AtomicBool,
    is_removed: AtomicBool,
}

impl DayFile {
    fn new(dir: &Utf8Path, key: FileKey) -> Self {
        Self {
            key,
            path: dir.join(file_name(key)),
            is_damaged: AtomicBool::new(false),
            is_removed: AtomicBool::new(false),
        }
    }

    fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Relaxed)
    }
}

/// Which chunk a row is and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChunkPlace {
    row: i64,
    key: ChunkKey,
}

/// All files of the store, and connections to read them.
#[derive(Debug)]
pub(crate) struct Days {
    dir: Utf8PathBuf,
    files: Mutex<BTreeMap<FileKey, Arc<DayFile>>>,
    idle: Mutex<VecDeque<(FileKey, Connection)>>,
    damages: Arc<Damages>,
}

impl Days {
    /// Finds the files of a folder. What is damaged is noted, and renamed if nothing in it can be read.
    pub(crate) fn open(dir: &Utf8Path, damages: Arc<Damages>) -> Result<Self, StoreError> {
        let days = Self {
            dir: dir.to_owned(),
            files: Mutex::new(BTreeMap::new()),
            idle: Mutex::new(VecDeque::new()),
            damages,
        };
        let keys = list(dir)?;
        for (index, key) in keys.iter().enumerate() {
            let has_successor = keys.get(index + 1).is_some_and(|next| next.0 == key.0);
            days.add(*key, has_successor)?;
        }
        Ok(days)
    }

    fn add(&self, key: FileKey, has_successor: bool) -> Result<(), StoreError> {
        let file = Arc::new(DayFile::new(&self.dir, key));
        // Before opening, because SQLite opens no file that is cut.
        let is_cut = sqlite::stretch_if_cut(&file.path)?;
        match sqlite::open(&file.path, &SCHEMA) {
            Ok(_) => {
                self.files.lock().insert(key, Arc::clone(&file));
            }
            Err(error) if error.is_damage() => return aside::set_aside(&file.path, &self.damages),
            Err(error) => return Err(error),
        }
        if has_successor {
            self.note_damaged(&file, "another file of the day took its place");
        } else if is_cut {
            self.note_damaged(&file, "it is shorter than it was written");
            // At once, so that the next start still knows.
            self.writable(key.0)?;
        }
        Ok(())
    }

    /// The file that a day's chunks go to: its latest, or a new one if that is damaged.
    fn writable(&self, day: i64) -> Result<Arc<DayFile>, StoreError> {
        let number = match self.files(day..=day).pop() {
            Some(file) if !file.is_damaged() => return Ok(file),
            Some(file) => file.key.1 + 1,
            None => 0,
        };
        let file = Arc::new(DayFile::new(&self.dir, (day, number)));
        sqlite::create(&file.path, &SCHEMA)?;
        self.files.lock().insert(file.key, Arc::clone(&file));
        Ok(file)
    }

    /// The files that may hold samples of these days, in the order in which they were written.
    pub(crate) fn files(&self, days: RangeInclusive<i64>) -> Vec<Arc<DayFile>> {
        if days.is_empty() {
            return Vec::new();
        }
        let range = (*days.start(), 0)..=(*days.end(), u32::MAX);
        self.files
            .lock()
            .range(range)
            .map(|(_, file)| Arc::clone(file))
            .collect()
    }

    /// Hands every chunk of a group that may hold samples of the closed range to `each`, in the order of
    /// sealing. What cannot be read is noted and added to `damaged`.
    pub(crate) fn read(
        &self,
        file: &Arc<DayFile>,
        group: u32,
        times: &RangeInclusive<i64>,
        damaged: &mut Vec<Damage>,
        mut each: impl FnMut(ChunkKey, &[u8]) -> bool,
    ) {
        let outcome = self.with_reader(file, |connection| {
            for place in find(connection, group, times)? {
                let is_sound = with_data(connection, place, |data| each(place.key, data));
                if !self.is_sound(file, is_sound)? {
                    damaged.push(self.note_chunk(file, place));
                }
            }
            Ok(())
        });
        if let Err(error) = outcome {
            damaged.extend(self.note_failure(file, &error));
        }
    }

    /// Looks at everything in a file: its structure by `SQLite`, each chunk by `is_sound`.
    pub(crate) fn verify(
        &self,
        file: &Arc<DayFile>,
        is_sound: impl Fn(ChunkKey, &[u8]) -> bool,
    ) -> Vec<Damage> {
        let mut damaged = Vec::new();
        let outcome = self.with_reader(file, |connection| {
            let report: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
            if report != "ok" {
                damaged.push(self.note_damaged(file, "its structure is inconsistent"));
            }
            let mut statement = connection.prepare("SELECT id, group_id, start_ms FROM chunk")?;
            let places: Vec<ChunkPlace> = statement.query_map([], place)?.collect::<Result<_, _>>()?;
            for place in places {
                let outcome = with_data(connection, place, |data| is_sound(place.key, data));
                if !self.is_sound(file, outcome)? {
                    damaged.push(self.note_chunk(file, place));
                }
            }
            Ok(())
        });
        if let Err(error) = outcome {
            damaged.extend(self.note_failure(file, &error));
        }
        damaged
    }

    /// Removes the files of all days before `day`; returns how many.
    pub(crate) fn remove_before(&self, day: i64) -> Result<usize, StoreError> {
        let old: Vec<Arc<DayFile>> = self.files(i64::MIN..=day.saturating_sub(1));
        for file in &old {
            self.files.lock().remove(&file.key);
            file.is_removed.store(true, Ordering::Relaxed);
            self.idle.lock().retain(|(key, _)| *key != file.key);
            sqlite::remove(&file.path)?;
        }
        Ok(old.len())
    }

    /// Copies every file into a folder. They must not be removed meanwhile.
    pub(crate) fn copy_to(&self, dir: &Utf8Path) -> Result<(), StoreError> {
        for file in self.files(i64::MIN..=i64::MAX) {
            sqlite::copy(&file.path, &dir.join(file_name(file.key)))?;
        }
        Ok(())
    }

    /// How many bytes all files have.
    pub(crate) fn byte_count(&self) -> u64 {
        let files: Vec<_> = self.files.lock().values().cloned().collect();
        files
            .iter()
            .filter_map(|file| file.path.metadata().ok())
            .map(|metadata| metadata.len())
            .sum()
    }

    /// How many files there are.
    pub(crate) fn file_count(&self) -> usize {
        self.files.lock().len()
    }

    /// Remembers that a file is damaged: it is not written any more.
    pub(crate) fn note_damaged(&self, file: &DayFile, reason: &str) -> Damage {
        file.is_damaged.store(true, Ordering::Relaxed);
        self.note(
            &file.path,
            DamageKind::File {
                reason: reason.to_owned(),
            },
        )
    }

    fn note_chunk(&self, file: &DayFile, place: ChunkPlace) -> Damage {
        self.note(
            &file.path,
            DamageKind::Chunk {
                row: place.row,
                start_ms: place.key.start_ms,
            },
        )
    }

    /// A failure of a file that retention removed meanwhile is none.
    fn note_failure(&self, file: &DayFile, error: &rusqlite::Error) -> Option<Damage> {
        if file.is_removed.load(Ordering::Relaxed) {
            return None;
        }
        if is_damage(error) {
            return Some(self.note_damaged(file, &error.to_string()));
        }
        // Not the file's fault, perhaps gone the next time; but this time it was not read.
        Some(self.note(
            &file.path,
            DamageKind::File {
                reason: error.to_string(),
            },
        ))
    }

    fn note(&self, path: &Utf8Path, kind: DamageKind) -> Damage {
        let damage = Damage {
            file: path.to_owned(),
            kind,
        };
        self.damages.note(&damage);
        damage
    }

    /// Whether a chunk was read and found sound; damage of its pages is not, any other failure is passed on.
    fn is_sound(&self, file: &DayFile, outcome: rusqlite::Result<bool>) -> rusqlite::Result<bool> {
        match outcome {
            Err(error) if is_damage(&error) => {
                self.note_damaged(file, &error.to_string());
                Ok(false)
            }
            other => other,
        }
    }

    fn with_reader<T>(
        &self,
        file: &DayFile,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let idle = {
            let mut idle = self.idle.lock();
            let index = idle.iter().rposition(|(key, _)| *key == file.key);
            index.and_then(|index| idle.remove(index))
        };
        let connection = match idle {
            Some((_, connection)) => connection,
            None => sqlite::open_reader(&file.path)?,
        };
        let outcome = read(&connection);
        if !file.is_removed.load(Ordering::Relaxed) {
            let mut idle = self.idle.lock();
            idle.push_back((file.key, connection));
            if IDLE_MAX < idle.len() {
                idle.pop_front();
            }
        }
        outcome
    }
}

/// The chunks of a group that may hold samples of the closed range, in the order of sealing.
fn find(
    connection: &Connection,
    group: u32,
    times: &RangeInclusive<i64>,
) -> rusqlite::Result<Vec<ChunkPlace>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, group_id, start_ms FROM chunk WHERE group_id = ?1 AND ?2 <= last_ms AND first_ms <= ?3 ORDER BY id",
    )?;
    statement
        .query_map(params![group, times.start(), times.end()], place)?
        .collect()
}

fn place(row: &rusqlite::Row<'_>) -> rusqlite::Result<ChunkPlace> {
    Ok(ChunkPlace {
        row: row.get(0)?,
        key: ChunkKey {
            group: row.get(1)?,
            start_ms: row.get(2)?,
        },
    })
}

fn with_data<T>(
    connection: &Connection,
    place: ChunkPlace,
    read: impl FnOnce(&[u8]) -> T,
) -> rusqlite::Result<T> {
    let mut statement = connection.prepare_cached("SELECT data FROM chunk WHERE id = ?1")?;
    statement.query_row([place.row], |row| Ok(read(row.get_ref(0)?.as_blob()?)))
}

fn file_name((day, number): FileKey) -> String {
    let date = jiff::Timestamp::from_millisecond(day.saturating_mul(DAY_MS))
        .map_or(Date::constant(1970, 1, 1), |midnight| {
            midnight.to_zoned(jiff::tz::TimeZone::UTC).date()
        });
    if number == 0 {
        format!("raw-{date}.db")
    } else {
        format!("raw-{date}.{number}.db")
    }
}

/// What [`file_name`] made the name from.
fn file_key(name: &str) -> Option<FileKey> {
    let stem = name.strip_prefix("raw-")?.strip_suffix(".db")?;
    let (date, number) = stem
        .split_once('.')
        .map_or((stem, "0"), |(date, number)| (date, number));
    let date: Date = date.parse().ok()?;
    let midnight = date
        .to_zoned(jiff::tz::TimeZone::UTC)
        .ok()?
        .timestamp()
        .as_millisecond();
    let key = (midnight.div_euclid(DAY_MS), number.parse().ok()?);
    // Whatever reads alike but is written differently is not ours.
    (file_name(key) == name).then_some(key)
}

/// Whether a folder has day files.
pub(crate) fn exist(dir: &Utf8Path) -> Result<bool, StoreError> {
    Ok(!list(dir)?.is_empty())
}

/// Renames every day file of a folder, because nobody can tell any more whose samples they hold.
pub(crate) fn set_all_aside(dir: &Utf8Path, damages: &Damages) -> Result<(), StoreError> {
    for key in list(dir)? {
        aside::set_aside(&dir.join(file_name(key)), damages)?;
    }
    Ok(())
}

fn list(dir: &Utf8Path) -> Result<Vec<FileKey>, StoreError> {
    let failed = |source| StoreError::io("list", dir, source);
    let mut keys = Vec::new();
    for entry in dir.read_dir_utf8().map_err(failed)? {
        keys.extend(file_key(entry.map_err(failed)?.file_name()));
    }
    keys.sort_unstable();
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_the_day_and_the_number() {
        for (key, name) in [
            ((0, 0), "raw-1970-01-01.db"),
            ((20_413, 2), "raw-2025-11-21.2.db"),
        ] {
            assert_eq!(file_name(key), name);
            assert_eq!(file_key(name), Some(key));
        }
        for name in [
            "raw-2025-11-21.0.db",
            "raw-2025-13-01.db",
            "raw-20251121.db",
            "raw-2025-11-21.db-wal",
            "x",
        ] {
            assert_eq!(file_key(name), None, "{name}");
        }
    }
}
