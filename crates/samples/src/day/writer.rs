//! Writing day files: one transaction for many chunks, synced when it returns.

use std::ops::RangeInclusive;

use rusqlite::{Connection, params};

use super::{DayFile, Days, FileKey, SCHEMA};
use crate::chunk::ChunkKey;
use crate::error::StoreError;
use crate::sqlite;

/// Files kept open for writing: today's, and those of late samples.
const OPEN_MAX: usize = 4;
/// Files of a day that are tried before giving up: a disk that damages new files at once is beyond help.
const ATTEMPTS_MAX: usize = 3;

/// A chunk to be written.
#[derive(Debug)]
pub(crate) struct ChunkRow {
    /// Which chunk it is.
    pub(crate) key: ChunkKey,
    /// The first and last time in it, Unix milliseconds.
    pub(crate) times: RangeInclusive<i64>,
    /// How many samples are in it.
    pub(crate) samples: u64,
    /// The chunk.
    pub(crate) data: Vec<u8>,
}

/// The one writer of all day files.
#[derive(Debug, Default)]
pub(crate) struct DayWriter {
    open: Vec<(FileKey, Connection)>,
}

impl DayWriter {
    /// Writes chunks of one day; they are synced when this returns.
    ///
    /// A file that turns out damaged is written no more, and the chunks go to a new one.
    pub(crate) fn write(&mut self, days: &Days, day: i64, rows: &[ChunkRow]) -> Result<(), StoreError> {
        let mut attempt = 1;
        loop {
            let file = days.writable(day)?;
            match self.try_write(&file, rows) {
                Err(error) if error.is_damage() && attempt < ATTEMPTS_MAX => {
                    self.open.retain(|(key, _)| *key != file.key);
                    days.note_damaged(&file, "it could not be written");
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Moves what the logs hold into the files.
    pub(crate) fn checkpoint(&self) {
        for (_, connection) in &self.open {
            // Best effort: a reader may hold it up, and the log is as durable as the file.
            let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }

    /// Closes the files of days before `day`.
    pub(crate) fn close_before(&mut self, day: i64) {
        self.open.retain(|(key, _)| day <= key.0);
    }

    fn try_write(&mut self, file: &DayFile, rows: &[ChunkRow]) -> Result<(), StoreError> {
        let connection = self.connection(file)?;
        insert(connection, rows).map_err(|source| StoreError::database("write", &file.path, source))
    }

    fn connection(&mut self, file: &DayFile) -> Result<&mut Connection, StoreError> {
        if let Some(index) = self.open.iter().position(|(key, _)| *key == file.key) {
            return Ok(&mut self.open[index].1);
        }
        let connection = sqlite::open(&file.path, &SCHEMA)?;
        if self.open.len() == OPEN_MAX {
            self.open.remove(0);
        }
        Ok(&mut self.open.push_mut((file.key, connection)).1)
    }
}

fn insert(connection: &mut Connection, rows: &[ChunkRow]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut statement = transaction.prepare_cached(
            "INSERT INTO chunk (group_id, start_ms, first_ms, last_ms, data) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for ChunkRow { key, times, data, .. } in rows {
            statement.execute(params![key.group, key.start_ms, times.start(), times.end(), data])?;
        }
    }
    transaction.commit()
}
