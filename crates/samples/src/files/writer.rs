//! Writing files: one transaction for many chunks, synced when it returns.

use rusqlite::{Connection, params};

use super::{ChunkRow, File, FileName, Files, Period, RowRef, SCHEMA, StoreError, sqlite};

/// Files kept open for writing: today's, and those of late samples.
const OPEN_MAX: usize = 4;
/// Files of a period that are tried before giving up: a disk that damages new files at once is beyond help.
const ATTEMPTS_MAX: usize = 3;

/// The one writer of all files.
#[derive(Debug, Default)]
pub(super) struct Writer {
    open: Vec<(FileName, Connection)>,
}

impl Writer {
    /// Adds chunks to a period. A file that turns out damaged is written no more, and they go to a new one.
    pub(super) fn add(&mut self, files: &Files, period: Period, rows: &[ChunkRow]) -> Result<(), StoreError> {
        self.replace(files, period, &[], rows)
    }

    /// Takes chunks out and others in.
    pub(super) fn replace(
        &mut self,
        files: &Files,
        period: Period,
        outs: &[RowRef],
        ins: &[ChunkRow],
    ) -> Result<(), StoreError> {
        let mut attempt = 1;
        loop {
            let file = files.writable(period)?;
            match self.try_replace(&file, outs, ins) {
                Err(error) if error.is_damage() && attempt < ATTEMPTS_MAX => {
                    self.close(file.name);
                    files.note_damaged(&file, "it could not be written");
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Moves what the logs hold into the files and closes those of periods that ended before `day`.
    pub(super) fn settle(&mut self, day: i64) {
        for (_, connection) in &self.open {
            // Best effort: a reader may hold it up, and the log is as durable as the file.
            let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
        self.open.retain(|(name, _)| day <= name.period.last_day());
    }

    /// Closes a file.
    pub(super) fn close(&mut self, name: FileName) {
        self.open.retain(|(open, _)| *open != name);
    }

    fn try_replace(&mut self, file: &File, outs: &[RowRef], ins: &[ChunkRow]) -> Result<(), StoreError> {
        let failed = |source| StoreError::database("write", &file.path, source);
        let connection = self.connection(file)?;
        let transaction = connection.transaction().map_err(failed)?;
        for out in outs.iter().filter(|out| out.file == file.name.number) {
            let mut delete = transaction
                .prepare_cached("DELETE FROM chunk WHERE id = ?1")
                .map_err(failed)?;
            delete.execute([out.row]).map_err(failed)?;
        }
        insert(&transaction, ins).map_err(failed)?;
        transaction.commit().map_err(failed)
    }

    fn connection(&mut self, file: &File) -> Result<&mut Connection, StoreError> {
        if let Some(index) = self.open.iter().position(|(name, _)| *name == file.name) {
            return Ok(&mut self.open[index].1);
        }
        let connection = sqlite::open(&file.path, &SCHEMA)?;
        if self.open.len() == OPEN_MAX {
            self.open.remove(0);
        }
        Ok(&mut self.open.push_mut((file.name, connection)).1)
    }
}

/// Appends rows to the open transaction.
pub(super) fn insert(connection: &Connection, rows: &[ChunkRow]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO chunk (group_id, start_ms, first_ms, last_ms, data, first_series, last_series, is_final)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for row in rows {
        statement.execute(params![
            row.key.group,
            row.key.start_ms,
            row.times.start(),
            row.times.end(),
            row.data,
            row.series.start(),
            row.series.end(),
            row.is_final,
        ])?;
    }
    Ok(())
}
