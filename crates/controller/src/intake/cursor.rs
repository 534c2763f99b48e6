//! Delivery cursors: which numbers of an epoch are stored, and how many definitions.
//!
//! The writing thread keeps those in use in memory and writes the changed ones in the transaction of the reports
//! that changed them. After a failed transaction all of them are forgotten and read again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use muster_base::id::AgentId;
use muster_model::{RangeSet, SequenceRange};
use rusqlite::{Connection, OptionalExtension as _, params};

/// Most cursors held in memory; beyond it those not used lately are let go.
const CACHED_MAX: usize = 50_000;

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

    /// Writes what was changed.
    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql =
            "INSERT INTO cursor (agent, epoch, ranges, definitions, last_ms) VALUES (?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT (agent, epoch) DO UPDATE SET ranges = ?3, definitions = ?4, last_ms = ?5";
        let mut statement = connection.prepare_cached(sql)?;
        for key in &self.changed {
            if let Some(cursor) = self.cached.get(key) {
                let (agent, epoch) = key;
                let ranges = to_bytes(&cursor.ranges);
                let values = params![
                    agent.0.as_bytes(),
                    epoch.cast_signed(),
                    ranges,
                    cursor.definitions,
                    cursor.last_ms
                ];
                statement.execute(values)?;
            }
        }
        Ok(())
    }

    /// What was written is durable.
    pub(super) fn committed(&mut self) {
        for key in self.changed.drain(..) {
            if let Some(cursor) = self.cached.get_mut(&key) {
                cursor.changed = false;
            }
        }
        self.batch += 1;
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
    let sql = "SELECT ranges, definitions, last_ms FROM cursor WHERE agent = ?1 AND epoch = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement
        .query_row(params![agent.0.as_bytes(), epoch.cast_signed()], |row| {
            let ranges: Vec<u8> = row.get(0)?;
            Ok(Cursor {
                ranges: from_bytes(&ranges),
                definitions: row.get(1)?,
                last_ms: row.get(2)?,
                ..Cursor::default()
            })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

fn to_bytes(ranges: &RangeSet) -> Vec<u8> {
    ranges
        .iter()
        .flat_map(|range| [range.first, range.last])
        .flat_map(u64::to_le_bytes)
        .collect()
}

/// A torn pair at the end can't happen in a committed row; it would be ignored, which means "send again".
fn from_bytes(bytes: &[u8]) -> RangeSet {
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).unwrap_or_default();
    bytes
        .chunks_exact(16)
        .map(|pair| SequenceRange {
            first: number(&pair[..8]),
            last: number(&pair[8..]),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_survive_being_written() {
        let mut set = RangeSet::default();
        for number in [1, 2, 3, 9, u64::MAX] {
            set.insert(number).unwrap();
        }
        assert_eq!(from_bytes(&to_bytes(&set)), set);
    }
}
