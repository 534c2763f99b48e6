//! Reading files: each in one transaction, so that what is replaced meanwhile is seen whole, before or after.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::{ChunkKey, Damage, DamageKind, File, Files, Found, IDLE_MAX, Period, RowRef, State, Wanted};
use super::{StoreError, is_damage, sqlite};

/// How often a period is read anew because its files were rewritten in between.
const ATTEMPTS_MAX: usize = 5;

/// A row before its data is read.
struct Row {
    id: i64,
    key: ChunkKey,
    first_series: u32,
    last_series: u32,
}

impl Row {
    fn found(&self, file: &File) -> Found {
        Found {
            place: RowRef {
                file: file.name.number,
                row: self.id,
            },
            key: self.key,
        }
    }

    /// Whether it may have one of the series (ascending).
    fn meets(&self, series: Option<&[u32]>) -> bool {
        series.is_none_or(|series| {
            let next = series.partition_point(|number| *number < self.first_series);
            series.get(next).is_some_and(|number| *number <= self.last_series)
        })
    }
}

const COLUMNS: &str = "id, group_id, start_ms, first_series, last_series";

impl Files {
    pub(super) fn read_period(
        &self,
        period: Period,
        wanted: &Wanted<'_>,
        damaged: &mut Vec<Damage>,
        each: &mut dyn FnMut(Found, &[u8]) -> bool,
    ) {
        for _ in 0..ATTEMPTS_MAX {
            let mut of_attempt = Vec::new();
            let mut was_removed = false;
            for file in self.of(period) {
                let outcome = self.with_reader(&file, |connection| {
                    let rows = find(connection, period, wanted)?;
                    self.read_rows(&file, connection, &rows, &mut of_attempt, each)
                });
                if let Err(error) = outcome {
                    was_removed |= file.is_removed();
                    of_attempt.extend(self.note_failure(&file, &error));
                }
            }
            if !was_removed {
                damaged.append(&mut of_attempt);
                return;
            }
        }
        let path = self.dir.join(period.name());
        let reason = "its files changed too often to be read".to_owned();
        damaged.push(self.note(&path, DamageKind::File { reason }));
    }

    /// Reads rows and hands them over; damage of one does not keep from the others.
    fn read_rows(
        &self,
        file: &Arc<File>,
        connection: &Connection,
        rows: &[Row],
        damaged: &mut Vec<Damage>,
        each: &mut dyn FnMut(Found, &[u8]) -> bool,
    ) -> rusqlite::Result<()> {
        for row in rows {
            match with_data(connection, row.id, |data| each(row.found(file), data)) {
                Ok(true) => {}
                Ok(false) => damaged.push(self.note_chunk(file, row)),
                Err(error) if is_damage(&error) => {
                    self.note_damaged(file, &error.to_string());
                    damaged.push(self.note_chunk(file, row));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) fn verify_period(
        &self,
        period: Period,
        is_sound: &dyn Fn(ChunkKey, &[u8]) -> bool,
    ) -> Vec<Damage> {
        let mut damaged = Vec::new();
        for file in self.of(period) {
            let outcome = self.with_reader(&file, |connection| {
                let report: String =
                    connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
                if report != "ok" {
                    damaged.push(self.note_damaged(&file, "its structure is inconsistent"));
                }
                let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM chunk"))?;
                let rows: Vec<Row> = statement
                    .query_map([], |found| row(found, period))?
                    .collect::<Result<_, _>>()?;
                let mut each = |found: Found, data: &[u8]| is_sound(found.key, data);
                self.read_rows(&file, connection, &rows, &mut damaged, &mut each)
            });
            if let Err(error) = outcome {
                damaged.extend(self.note_failure(&file, &error));
            }
        }
        damaged
    }

    pub(super) fn read_state(&self, period: Period) -> Result<State, StoreError> {
        let files = self.of(period);
        let mut groups = std::collections::BTreeMap::new();
        for file in &files {
            let outcome = self.with_reader(file, |connection| {
                let mut statement = connection
                    .prepare_cached("SELECT group_id, min(is_final) FROM chunk GROUP BY group_id")?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    *groups.entry(row.get(0)?).or_insert(true) &= row.get::<_, bool>(1)?;
                }
                Ok(())
            });
            match outcome {
                Ok(()) => {}
                // What can be found of its groups is rewritten.
                Err(error) if is_damage(&error) => drop(self.note_damaged(file, &error.to_string())),
                Err(source) => return Err(StoreError::database("read", &file.path, source)),
            }
        }
        let is_rewritten = matches!(&files[..], [file] if file.name.is_rewritten && !file.is_damaged());
        Ok(State {
            groups: groups.into_iter().collect(),
            is_rewritten,
        })
    }

    pub(super) fn group_is_final(&self, period: Period, group: u32) -> bool {
        let files = self.of(period);
        let is_final = |file: &Arc<File>| {
            self.with_reader(file, |connection| {
                let sql = "SELECT min(is_final) FROM chunk WHERE group_id = ?1";
                let mut statement = connection.prepare_cached(sql)?;
                statement.query_row([group], |row| row.get::<_, Option<bool>>(0))
            })
        };
        let mut has_any = false;
        for file in &files {
            match is_final(file) {
                Ok(Some(true)) => has_any = true,
                Ok(None) => {}
                Ok(Some(false)) | Err(_) => return false,
            }
        }
        has_any
    }

    fn note_chunk(&self, file: &File, row: &Row) -> Damage {
        self.note(
            &file.path,
            DamageKind::Chunk {
                row: row.id,
                start_ms: row.key.start_ms,
            },
        )
    }

    /// A failure of a file that was removed meanwhile is none.
    fn note_failure(&self, file: &File, error: &rusqlite::Error) -> Option<Damage> {
        if file.is_removed() {
            return None;
        }
        if is_damage(error) {
            return Some(self.note_damaged(file, &error.to_string()));
        }
        // Not the file's fault, perhaps gone the next time; but this time it was not read.
        let reason = error.to_string();
        Some(self.note(&file.path, DamageKind::File { reason }))
    }

    pub(super) fn with_reader<T>(
        &self,
        file: &File,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let idle = {
            let mut idle = self.idle.lock();
            let index = idle.iter().rposition(|(name, _)| *name == file.name);
            index.and_then(|index| idle.remove(index))
        };
        let connection = match idle {
            Some((_, connection)) => connection,
            None => sqlite::open_reader(&file.path)?,
        };
        let outcome = {
            let transaction = connection.unchecked_transaction()?;
            read(&transaction)
        };
        // The system caches the file too; pages kept by each connection that rests would be memory for nothing.
        if !file.is_removed() && connection.execute_batch("PRAGMA shrink_memory;").is_ok() {
            let mut idle = self.idle.lock();
            idle.push_back((file.name, connection));
            if IDLE_MAX < idle.len() {
                idle.pop_front();
            }
        }
        outcome
    }
}

/// The rows that are wanted, in the order of adding.
fn find(connection: &Connection, period: Period, wanted: &Wanted<'_>) -> rusqlite::Result<Vec<Row>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM chunk WHERE group_id = ?1 AND ?2 <= last_ms AND first_ms <= ?3 ORDER BY id"
    ))?;
    let times = &wanted.times;
    let rows = statement.query_map(params![wanted.group, times.start(), times.end()], |found| {
        row(found, period)
    })?;
    rows.filter(|row| row.as_ref().map_or(true, |row| row.meets(wanted.series)))
        .collect()
}

fn row(row: &rusqlite::Row<'_>, period: Period) -> rusqlite::Result<Row> {
    Ok(Row {
        id: row.get(0)?,
        key: ChunkKey {
            tier: period.tier,
            group: row.get(1)?,
            start_ms: row.get(2)?,
        },
        first_series: row.get(3)?,
        last_series: row.get(4)?,
    })
}

fn with_data<T>(connection: &Connection, id: i64, read: impl FnOnce(&[u8]) -> T) -> rusqlite::Result<T> {
    let mut statement = connection.prepare_cached("SELECT data FROM chunk WHERE id = ?1")?;
    statement.query_row([id], |row| Ok(read(row.get_ref(0)?.as_blob()?)))
}
