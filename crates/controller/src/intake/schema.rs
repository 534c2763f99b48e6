//! The intake's tables and how its connections are set up.
//!
//! Numbers of epochs and sequences are unsigned; SQLite's integers are not, so they are stored by their bits.

use camino::Utf8Path;
use rusqlite::{Connection, OpenFlags};

use super::IntakeError;

/// The schema that this version makes, kept in `PRAGMA user_version`.
const SCHEMA_VERSION: i64 = 1;
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

/// Refuses a file of a newer version, and one that is not ours. Writes nothing; a file that is not there is fine.
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
    let found: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(open_error)?;
    if SCHEMA_VERSION < found {
        return Err(IntakeError::TooNew {
            path: path.to_owned(),
            found,
            known: SCHEMA_VERSION,
        });
    }
    Ok(())
}

/// Opens the file for reading beside the writer.
pub(super) fn open_reader(path: &Utf8Path) -> Result<Connection, IntakeError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open_error = |source| IntakeError::Open {
        path: path.to_owned(),
        source,
    };
    let connection = Connection::open_with_flags(path, flags).map_err(open_error)?;
    connection
        .busy_timeout(std::time::Duration::from_secs(10))
        .map_err(open_error)?;
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
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    // Both take effect only before the first table is made.
    connection.pragma_update(None, "page_size", 8192)?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // 16 MiB: checkpoints are rarer, and none has so much to copy that agents would notice.
    connection.pragma_update(None, "wal_autocheckpoint", 2048)?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    connection.set_prepared_statement_cache_capacity(32);
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found == 0 {
        let transaction = connection.transaction()?;
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        transaction.commit()?;
    }
    Ok(())
}
