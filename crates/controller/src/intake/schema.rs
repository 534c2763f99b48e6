//! The intake's tables and how its connections are set up.
//!
//! Numbers of epochs and sequences are unsigned; SQLite's integers are not, so they are stored by their bits. What a row
//! says is said again in its envelope. The version stands in the header twice, so that a flipped bit is not taken for a
//! newer version.

mod upgrade;

use std::time::Duration;

use camino::Utf8Path;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

use super::IntakeError;
use super::envelope::{self, CursorBody, DefinitionsHead, LedgerBody, RecordHead};

/// The schema that this version makes, kept in `PRAGMA user_version`.
pub(super) const SCHEMA_VERSION: i64 = 2;
/// Size of a page.
pub(super) const PAGE_BYTES: usize = 8192;
/// How long one connection waits for another, such as a backup's.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// In `PRAGMA application_id`, with the version in the lowest byte.
const APPLICATION_ID: i64 = 0x4d49_4e00;
/// Older libraries can lose a WAL that is reset at the wrong moment.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

const SCHEMA: &str = "
CREATE TABLE record (
    position    INTEGER PRIMARY KEY AUTOINCREMENT,
    agent       BLOB    NOT NULL,
    server      INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    sequence    INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    kind        INTEGER NOT NULL,
    size_bytes  INTEGER NOT NULL,
    payload     BLOB    NOT NULL
);
CREATE TABLE definition (
    id       INTEGER PRIMARY KEY,
    agent    BLOB    NOT NULL,
    epoch    INTEGER NOT NULL,
    first_id INTEGER NOT NULL,
    last_id  INTEGER NOT NULL,
    payload  BLOB    NOT NULL
);
CREATE INDEX definition_of_epoch ON definition (agent, epoch, id);
CREATE TABLE cursor (
    agent       BLOB    NOT NULL,
    epoch       INTEGER NOT NULL,
    ranges      BLOB    NOT NULL,
    definitions INTEGER NOT NULL,
    last_ms     INTEGER NOT NULL,
    PRIMARY KEY (agent, epoch)
) WITHOUT ROWID;
CREATE INDEX cursor_by_age ON cursor (last_ms);
CREATE TABLE set_aside (
    position    INTEGER NOT NULL,
    consumer    TEXT    NOT NULL,
    at_ms       INTEGER NOT NULL,
    error       TEXT    NOT NULL,
    agent       BLOB,
    server      INTEGER,
    received_ms INTEGER,
    kind        INTEGER,
    payload     BLOB,
    PRIMARY KEY (position, consumer)
);
";

/// What the second version added: another account of what is stored, in pages of its own.
const SCHEMA_2: &str = "
CREATE TABLE definition_copy (
    id       INTEGER PRIMARY KEY,
    agent    BLOB    NOT NULL,
    epoch    INTEGER NOT NULL,
    first_id INTEGER NOT NULL,
    last_id  INTEGER NOT NULL,
    payload  BLOB    NOT NULL
);
CREATE INDEX definition_copy_of_epoch ON definition_copy (agent, epoch);
CREATE TABLE ledger (
    first INTEGER PRIMARY KEY,
    last  INTEGER NOT NULL,
    body  BLOB    NOT NULL
);
";

/// Opens the file for writing and makes its tables if it is new.
pub(super) fn open(path: &Utf8Path) -> Result<Connection, IntakeError> {
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        return Err(IntakeError::OldSqlite {
            found: rusqlite::version(),
        });
    }
    let open_error = |source| IntakeError::Open {
        path: path.to_owned(),
        source,
    };
    check_version(path)?;
    let mut connection = Connection::open(path).map_err(open_error)?;
    prepare(&mut connection).map_err(open_error)?;
    Ok(connection)
}

/// Makes the tables in a file that is new.
pub(super) fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    prepare(connection)
}

/// Refuses a file of a newer version. Writes nothing; a file that is not there is fine.
///
/// # Errors
/// [`IntakeError::TooNew`], or [`IntakeError::Open`] if it cannot be read.
pub fn check_version(path: &Utf8Path) -> Result<(), IntakeError> {
    if !path.exists() {
        return Ok(());
    }
    let open_error = |source| IntakeError::Open {
        path: path.to_owned(),
        source,
    };
    let connection = open_reader(path)?;
    let found = version(&connection).map_err(open_error)?;
    let mark: i64 = number(&connection, "application_id").map_err(open_error)?;
    // What says so only once was damaged.
    if SCHEMA_VERSION < found && mark == APPLICATION_ID + found {
        return Err(IntakeError::TooNew {
            path: path.to_owned(),
            found,
            known: SCHEMA_VERSION,
        });
    }
    Ok(())
}

/// The version in the header; 0 for a new file.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    number(connection, "user_version")
}

/// Whether a file has no table.
pub(super) fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM sqlite_schema";
    connection.query_row(sql, [], |row| Ok(row.get::<_, i64>(0)? == 0))
}

/// Whether tables and marks are those that this version makes.
pub(super) fn is_as_made(connection: &Connection) -> rusqlite::Result<bool> {
    let described = |connection: &Connection| {
        let sql = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name";
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, Option<String>>(3)?,
            ))
        })?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    };
    let fresh = Connection::open_in_memory()?;
    fresh.execute_batch(SCHEMA)?;
    fresh.execute_batch(SCHEMA_2)?;
    let marks = [
        number(connection, "user_version")? == SCHEMA_VERSION,
        number(connection, "application_id")? == APPLICATION_ID + SCHEMA_VERSION,
        number(connection, "page_size")? == PAGE_BYTES as i64,
        // Incremental.
        number(connection, "auto_vacuum")? == 2,
    ];
    Ok(marks.into_iter().all(|mark| mark) && described(connection)? == described(&fresh)?)
}

fn number(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// Stores a record under its position.
pub(super) fn insert_record(
    connection: &Connection,
    head: &RecordHead,
    packed: &[u8],
) -> rusqlite::Result<usize> {
    let payload = envelope::seal_record(head, packed);
    let sql = "INSERT INTO record (position, agent, server, epoch, sequence, received_ms, kind, size_bytes, payload)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    connection.prepare_cached(sql)?.execute(params![
        head.position,
        head.agent.0.as_bytes(),
        head.server.0,
        head.epoch.cast_signed(),
        head.sequence.cast_signed(),
        head.received_ms,
        head.kind,
        head.size_bytes,
        payload,
    ])?;
    Ok(payload.len())
}

/// Stores definitions, twice.
pub(super) fn insert_definitions(
    connection: &Connection,
    head: &DefinitionsHead,
    packed: &[u8],
) -> rusqlite::Result<usize> {
    let payload = envelope::seal_definitions(head, packed);
    for sql in [
        "INSERT INTO definition (agent, epoch, first_id, last_id, payload) VALUES (?1, ?2, ?3, ?4, ?5)",
        "INSERT INTO definition_copy (agent, epoch, first_id, last_id, payload) VALUES (?1, ?2, ?3, ?4, ?5)",
    ] {
        connection.prepare_cached(sql)?.execute(params![
            head.agent.0.as_bytes(),
            head.epoch.cast_signed(),
            head.first_id,
            head.last_id,
            payload,
        ])?;
    }
    Ok(payload.len())
}

/// Stores what is durable of an epoch.
pub(super) fn put_cursor(connection: &Connection, cursor: &CursorBody) -> rusqlite::Result<()> {
    let sql = "INSERT INTO cursor (agent, epoch, ranges, definitions, last_ms) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (agent, epoch) DO UPDATE SET ranges = ?3, definitions = ?4, last_ms = ?5";
    connection.prepare_cached(sql)?.execute(params![
        cursor.agent.0.as_bytes(),
        cursor.epoch.cast_signed(),
        envelope::seal_cursor(cursor),
        cursor.definitions,
        cursor.last_ms,
    ])?;
    Ok(())
}

/// Stores which records a commit has; nothing if it has none.
pub(super) fn insert_ledger(connection: &Connection, ledger: &LedgerBody) -> rusqlite::Result<()> {
    let (Some(first), Some(last)) = (ledger.entries.first(), ledger.entries.last()) else {
        return Ok(());
    };
    let sql = "INSERT INTO ledger (first, last, body) VALUES (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute(params![
        first.position,
        last.position,
        envelope::seal_ledger(ledger)
    ])?;
    Ok(())
}

/// Says that records below `floor` are deleted, and forgets the accounts of them.
pub(super) fn raise_floor(connection: &Connection, floor: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM ledger WHERE last < ?1")?
        .execute([floor])?;
    let ledger = LedgerBody {
        floor,
        entries: Vec::new(),
    };
    // Position 0 is never given.
    connection
        .prepare_cached("INSERT OR REPLACE INTO ledger (first, last, body) VALUES (0, ?1, ?2)")?
        .execute(params![i64::MAX, envelope::seal_ledger(&ledger)])?;
    Ok(())
}

/// The lowest position that is not deleted.
pub(super) fn floor(connection: &Connection) -> rusqlite::Result<i64> {
    let lowest: Option<i64> = connection
        .prepare_cached("SELECT position FROM record ORDER BY position LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    match lowest {
        Some(position) => Ok(position),
        None => Ok(last_position(connection)? + 1),
    }
}

/// Opens the file for reading beside the writer.
pub(super) fn open_reader(path: &Utf8Path) -> Result<Connection, IntakeError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open_error = |source| IntakeError::Open {
        path: path.to_owned(),
        source,
    };
    let connection = Connection::open_with_flags(path, flags).map_err(open_error)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(open_error)?;
    Ok(connection)
}

/// The last position ever given, also if its record is deleted.
pub(super) fn last_position(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'record'";
    connection.query_row(sql, [], |row| row.get(0))
}

/// Sees to it that the next position is beyond `position`, and returns the last position given by then.
pub(super) fn raise_position(connection: &Connection, position: i64) -> rusqlite::Result<i64> {
    let last = last_position(connection)?;
    if position <= last {
        return Ok(last);
    }
    let sql = "UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'record'";
    if connection.execute(sql, [position])? == 0 {
        // Nothing was ever stored in this file.
        connection.execute(
            "INSERT INTO sqlite_sequence (name, seq) VALUES ('record', ?1)",
            [position],
        )?;
    }
    Ok(position)
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Both take effect only before the first table is made.
    connection.pragma_update(None, "page_size", PAGE_BYTES as i64)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // 16 MiB: checkpoints are rarer, and none has so much to copy that agents would notice.
    connection.pragma_update(None, "wal_autocheckpoint", 2048)?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    connection.set_prepared_statement_cache_capacity(32);
    let found = version(connection)?;
    if found == SCHEMA_VERSION {
        return Ok(());
    }
    // One transaction: an upgrade that is cut short has not begun.
    let transaction = connection.transaction()?;
    if found == 0 {
        transaction.execute_batch(SCHEMA)?;
    }
    transaction.execute_batch(SCHEMA_2)?;
    if found == 1 {
        upgrade::seal_all(&transaction)?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID + SCHEMA_VERSION)?;
    transaction.commit()
}
