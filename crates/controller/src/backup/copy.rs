//! Consistent copies of SQLite databases that others write meanwhile.

use std::time::Duration;

use camino::Utf8Path;
use rusqlite::{Connection, ErrorCode, OpenFlags};

/// How long to wait for whoever holds the database; writers hold it for milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// Copies a database as it is at one moment, while others go on writing it. The copy is one file without a log.
pub(super) fn copy_database(from: &Utf8Path, to: &Utf8Path) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(from, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute("VACUUM INTO ?1", [to.as_str()])?;
    connection.close().map_err(|(_, error)| error)
}

/// Whether the database itself is at fault, and not the way to it.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}
