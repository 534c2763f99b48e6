//! Rewriting a period: a new file beside the old ones, which takes their place when it has its name.
//!
//! The steps: write the new file under a passing name, sync it, add what came meanwhile, give it its name, sync the
//! folder, remove the old ones. A crash before the name leaves a file that the next rewriting overwrites; after it,
//! the next start removes what is left of the old ones.

use std::sync::Arc;

use camino::Utf8PathBuf;
use rusqlite::Connection;

use super::{File, FileName, Files, Period, Rewritten, SCHEMA, Sink, StoreError, is_damage, sqlite, writer};
use crate::aside;
use crate::steps;

/// Rows are long and only read: with pages this small little room is left over at their ends.
const PAGE_BYTES: u32 = 4_096;

/// A file that is to be replaced, and the last row that was there when the rewriting began.
struct Old {
    file: Arc<File>,
    last_row: i64,
}

impl Files {
    pub(super) fn rewrite_period(
        &self,
        period: Period,
        fill: &mut dyn FnMut(Sink<'_>) -> Result<Rewritten, StoreError>,
    ) -> Result<(), StoreError> {
        let old = self.old(period)?;
        let number = old.last().map_or(0, |old| old.file.name.number + 1);
        let file = File::new(
            &self.dir,
            FileName {
                period,
                number,
                is_rewritten: true,
            },
        );
        let unfinished = Utf8PathBuf::from(format!("{}.new", file.path));
        let outcome = self.write_and_swap(&unfinished, file, &old, fill);
        if outcome.is_err() {
            // It takes room, perhaps on a full disk; that it is there is no failure of its own.
            let _ = sqlite::remove(&unfinished);
        }
        outcome
    }

    fn write_and_swap(
        &self,
        unfinished: &Utf8PathBuf,
        file: File,
        old: &[Old],
        fill: &mut dyn FnMut(Sink<'_>) -> Result<Rewritten, StoreError>,
    ) -> Result<(), StoreError> {
        let failed = |source| StoreError::database("write", unfinished, source);
        let connection = sqlite::begin(unfinished, &SCHEMA, PAGE_BYTES)?;
        connection.execute_batch("BEGIN").map_err(failed)?;
        let mut rewritten = fill(&mut |rows| writer::insert(&connection, &rows).map_err(failed))?;
        steps::done("filled");
        // From here on nothing is added to the old ones.
        let mut writer = self.writer.lock();
        // What is damaged is not written any more, so nothing came to it.
        for old in old.iter().filter(|old| !old.file.is_damaged()) {
            match self.copy_later_rows(old, &connection) {
                Ok(()) => {}
                Err(error) if is_damage(&error) => {
                    self.note_damaged(&old.file, &error.to_string());
                    rewritten = Rewritten::Partly;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        connection.execute_batch("COMMIT").map_err(failed)?;
        sqlite::finish(connection, unfinished)?;
        steps::done("synced");
        std::fs::rename(unfinished, &file.path)
            .map_err(|source| StoreError::io("rename", unfinished, source))?;
        sqlite::sync_folder_of(&file.path)?;
        steps::done("renamed");
        self.files.lock().insert(file.name, Arc::new(file));
        for old in old {
            writer.close(old.file.name);
            self.forget(&old.file);
            if rewritten == Rewritten::Partly || old.file.is_damaged() {
                aside::set_aside(&old.file.path, &self.damages)?;
            } else {
                sqlite::remove(&old.file.path)?;
            }
            steps::done("removed");
        }
        Ok(())
    }

    fn old(&self, period: Period) -> Result<Vec<Old>, StoreError> {
        let mut all = Vec::new();
        for file in self.of(period) {
            let outcome = self.with_reader(&file, |connection| {
                connection.query_row("SELECT max(id) FROM chunk", [], |row| {
                    row.get::<_, Option<i64>>(0)
                })
            });
            let last_row = match outcome {
                Ok(last_row) => last_row.unwrap_or(0),
                Err(error) if is_damage(&error) => {
                    self.note_damaged(&file, &error.to_string());
                    i64::MAX
                }
                Err(source) => return Err(StoreError::database("read", &file.path, source)),
            };
            all.push(Old { file, last_row });
        }
        Ok(all)
    }

    /// What was added after the rewriting began.
    fn copy_later_rows(&self, old: &Old, to: &Connection) -> rusqlite::Result<()> {
        const COLUMNS: &str =
            "group_id, start_ms, first_ms, last_ms, first_series, last_series, is_final, data";
        self.with_reader(&old.file, |from| {
            let mut select =
                from.prepare(&format!("SELECT {COLUMNS} FROM chunk WHERE ?1 < id ORDER BY id"))?;
            let mut insert = to.prepare_cached(&format!(
                "INSERT INTO chunk ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
            ))?;
            let mut rows = select.query([old.last_row])?;
            while let Some(row) = rows.next()? {
                // Read as what they must be, so that damage is not taken along.
                for column in 0..7 {
                    insert.raw_bind_parameter(column + 1, row.get::<_, i64>(column)?)?;
                }
                insert.raw_bind_parameter(8, row.get::<_, Vec<u8>>(7)?)?;
                insert.raw_execute()?;
            }
            Ok(())
        })
    }
}
