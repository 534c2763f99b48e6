//! Delivery cursors: which numbers of an epoch are stored, and how many definitions.
//!
//! The writing thread keeps those in use in memory and writes the changed ones in the transaction of the reports
//! that changed them. After a failed transaction all of them are forgotten and read again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use muster_base::id::AgentId;
use muster_model::RangeSet;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::envelope::{self, CursorBody, Envelope};
use super::schema;

/// Most cursors held in memory; beyond it those not used lately are let go.
const CACHED_MAX: usize = 50_000;
/// Cursors that so many batches have not used are read again when they are: of epochs that are over.
const UNUSED_BATCHES: u64 = 4_096;

/// Which epoch of which agent.
pub(super) type Key = (AgentId, u64);

/// What is known of one epoch.
#[derive(Debug, Clone, Default)]
pub(super) struct Cursor {
    pub(super) ranges: RangeSet,
    pub(super) definitions: u32,
    pub(super) last_ms: i64,
    /// Number of the batch that used it last.
    used: u64,
    changed: bool,
}

/// The cursors in use.
#[derive(Default)]
pub(super) struct Cursors {
    cached: HashMap<Key, Cursor>,
    changed: Vec<Key>,
    batch: u64,
}

impl Cursors {
    /// The cursor to read.
    pub(super) fn get(&mut self, connection: &Connection, key: Key) -> rusqlite::Result<&mut Cursor> {
        let cursor = match self.cached.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(load(connection, key)?),
        };
        cursor.used = self.batch;
        Ok(cursor)
    }

    /// The cursor to change; it is written with [`Cursors::write`].
    pub(super) fn change(
        &mut self,
        connection: &Connection,
        key: Key,
        now_ms: i64,
    ) -> rusqlite::Result<&mut Cursor> {
        let is_new_change = !std::mem::replace(&mut self.get(connection, key)?.changed, true);
        if is_new_change {
            self.changed.push(key);
        }
        let cursor = self.get(connection, key)?;
        cursor.last_ms = cursor.last_ms.max(now_ms);
        Ok(cursor)
    }

    /// Writes what was changed; `written_at` is the last position given.
    pub(super) fn write(&self, connection: &Connection, written_at: i64) -> rusqlite::Result<()> {
        for key in &self.changed {
            let Some(cursor) = self.cached.get(key) else {
                continue;
            };
            let (agent, epoch) = *key;
            let body = CursorBody {
                agent,
                epoch,
                written_at,
                definitions: cursor.definitions,
                last_ms: cursor.last_ms,
                ranges: cursor.ranges.clone(),
            };
            schema::put_cursor(connection, &body)?;
        }
        Ok(())
    }

    /// Whether anything was changed.
    pub(super) fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What was written is durable.
    pub(super) fn committed(&mut self) {
        for key in self.changed.drain(..) {
            if let Some(cursor) = self.cached.get_mut(&key) {
                cursor.changed = false;
            }
        }
        self.batch += 1;
        if self.batch.is_multiple_of(UNUSED_BATCHES) {
            let oldest_kept = self.batch - UNUSED_BATCHES;
            self.cached.retain(|_, cursor| oldest_kept <= cursor.used);
        }
        if CACHED_MAX < self.cached.len() {
            let oldest_kept = self.batch.saturating_sub(100);
            self.cached.retain(|_, cursor| oldest_kept <= cursor.used);
        }
        if CACHED_MAX < self.cached.len() {
            self.cached.clear();
        }
    }

    /// Whether the cursor was changed in this transaction.
    pub(super) fn is_changed(&self, key: Key) -> bool {
        self.cached.get(&key).is_some_and(|cursor| cursor.changed)
    }

    /// Forgets epochs that are deleted from the file.
    pub(super) fn forget(&mut self, key: Key) {
        self.cached.remove(&key);
    }
}

fn load(connection: &Connection, (agent, epoch): Key) -> rusqlite::Result<Cursor> {
    let sql = "SELECT ranges FROM cursor WHERE agent = ?1 AND epoch = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let sealed: Option<Vec<u8>> = statement
        .query_row(params![agent.0.as_bytes(), epoch.cast_signed()], |row| row.get(0))
        .optional()?;
    let Some(sealed) = sealed else {
        return Ok(Cursor::default());
    };
    match envelope::open(&sealed) {
        Some(Envelope::Cursor(body)) if (body.agent, body.epoch) == (agent, epoch) => Ok(Cursor {
            ranges: body.ranges,
            definitions: body.definitions,
            last_ms: body.last_ms,
            ..Cursor::default()
        }),
        // Nothing is listed: what the agent holds comes again, and what is stored already stays as it is.
        _ => {
            tracing::error!(agent.id = %agent, epoch, "what is stored of an epoch cannot be read, its agent is asked again");
            Ok(Cursor::default())
        }
    }
}
