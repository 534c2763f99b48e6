//! How the store's SQLite files are made and opened.
//!
//! Pages of 16 KiB, write-ahead log, every commit synced. A file is made under another name and renamed when
//! its schema is in it, so that a file under its own name is never empty unless something damaged it.

use std::fs;
use std::io::Read;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use rusqlite::{Connection, OpenFlags};

use crate::error::{StoreError, is_damage};

/// Pages in the write-ahead log after which `SQLite` moves them into the file by itself (4 MiB).
const WAL_PAGES: i64 = 256;
/// Page cache of a connection, in KiB.
const CACHE_KIB: i64 = 2_048;
/// How much is added to a cut file, and eight times what is left: a header may be damaged too.
const STRETCHED_BYTES_MAX: u64 = 1 << 30;
/// How long one connection waits for another; they hold locks for milliseconds.
const BUSY_WAIT: Duration = Duration::from_secs(10);

/// What must be in a file.
#[derive(Debug)]
pub(crate) struct Schema {
    /// Says in the file's header that it is ours.
    pub(crate) application_id: i32,
    /// Version of the tables.
    pub(crate) version: i32,
    /// Makes the tables.
    pub(crate) sql: &'static str,
    /// What makes version 2 of version 1, and so on.
    pub(crate) upgrades: &'static [&'static str],
}

/// Pages of files that are written to.
const PAGE_BYTES: u32 = 16_384;

/// Makes a new file with its tables.
pub(crate) fn create(path: &Utf8Path, schema: &Schema) -> Result<(), StoreError> {
    let unfinished = Utf8PathBuf::from(format!("{path}.new"));
    let connection = begin(&unfinished, schema, PAGE_BYTES)?;
    finish(connection, &unfinished)?;
    fs::rename(&unfinished, path).map_err(|source| StoreError::io("rename", &unfinished, source))?;
    sync_folder_of(path)
}

/// Makes a file with its tables under a passing name, which [`finish`] makes durable as a whole; until then nothing
/// of it is.
pub(crate) fn begin(
    unfinished: &Utf8Path,
    schema: &Schema,
    page_bytes: u32,
) -> Result<Connection, StoreError> {
    remove(unfinished)?;
    let failed = |source| StoreError::database("create", unfinished, source);
    let connection = Connection::open(unfinished).map_err(failed)?;
    let Schema {
        application_id,
        version,
        sql,
        ..
    } = schema;
    connection
        .execute_batch(&format!(
            "PRAGMA page_size = {page_bytes}; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
             BEGIN; PRAGMA application_id = {application_id}; PRAGMA user_version = {version}; {sql} COMMIT;"
        ))
        .map_err(failed)?;
    Ok(connection)
}

/// Closes a file that [`begin`] made; it is synced when this returns.
pub(crate) fn finish(connection: Connection, unfinished: &Utf8Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::database("create", unfinished, source);
    // Said in the file's header, so that no reader opens it in another mode.
    connection
        .execute_batch("PRAGMA journal_mode = WAL;")
        .map_err(failed)?;
    connection.close().map_err(|(_, source)| failed(source))?;
    fs::File::open(unfinished)
        .and_then(|file| file.sync_all())
        .map_err(|source| StoreError::io("sync", unfinished, source))
}

/// Opens a file for reading and writing after a look at what it is.
pub(crate) fn open(path: &Utf8Path, schema: &Schema) -> Result<Connection, StoreError> {
    let failed = |source| StoreError::database("open", path, source);
    let mut connection = connect(path).map_err(failed)?;
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        .map_err(failed)?;
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let found = number("user_version").map_err(failed)?;
    if number("application_id").map_err(failed)? != schema.application_id || found < 1 {
        return Err(StoreError::NotOurs {
            path: path.to_owned(),
        });
    }
    if schema.version < found {
        return Err(StoreError::NewerSchema {
            path: path.to_owned(),
            found,
            known: schema.version,
        });
    }
    if found < schema.version {
        upgrade(&mut connection, schema, found)
            .map_err(|source| StoreError::database("upgrade", path, source))?;
    }
    Ok(connection)
}

/// Brings a file to the current version, in one transaction.
fn upgrade(connection: &mut Connection, schema: &Schema, found: i32) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for step in schema
        .upgrades
        .iter()
        .skip(usize::try_from(found - 1).unwrap_or(0))
    {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", schema.version)?;
    transaction.commit()
}

/// Opens a file that is known to be ours, for reading.
pub(crate) fn open_reader(path: &Utf8Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    connection.execute_batch("PRAGMA query_only = 1;")?;
    Ok(connection)
}

fn connect(path: &Utf8Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_WAIT)?;
    connection.execute_batch(&format!(
        "PRAGMA cell_size_check = 1; PRAGMA wal_autocheckpoint = {WAL_PAGES}; PRAGMA cache_size = -{CACHE_KIB};"
    ))?;
    Ok(connection)
}

/// Copies a database as it is at this moment, without holding up whoever writes it; the copy is synced. One that is
/// too damaged for that is copied byte by byte: then nobody must write it.
pub(crate) fn copy(from: &Utf8Path, to: &Utf8Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::io("copy", from, source);
    if to.exists() {
        return Err(StoreError::io(
            "make",
            to,
            std::io::ErrorKind::AlreadyExists.into(),
        ));
    }
    match connect(from).and_then(|connection| connection.execute("VACUUM INTO ?1", [to.as_str()])) {
        Ok(_) => {}
        Err(error) if is_damage(&error) => {
            remove(to)?;
            for suffix in ["", "-wal"] {
                let part = companion(from, suffix);
                if part.exists() {
                    fs::copy(&part, companion(to, suffix)).map_err(failed)?;
                }
            }
        }
        Err(source) => return Err(StoreError::database("copy", from, source)),
    }
    fs::File::open(to)
        .and_then(|file| file.sync_all())
        .map_err(failed)
}

/// Stretches a file that is shorter than its own header says, with zeroes: `SQLite` refuses it otherwise, and so
/// it reads what is left and finds the rest damaged. Returns whether the file was cut.
pub(crate) fn stretch_if_cut(path: &Utf8Path) -> Result<bool, StoreError> {
    let failed = |source| StoreError::io("read", path, source);
    // With a log the header may be older than the file will be; SQLite sorts that out.
    if fs::metadata(companion(path, "-wal")).is_ok_and(|wal| 0 < wal.len()) {
        return Ok(false);
    }
    let mut file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut header = [0; 32];
    // What has no header is none of our concern: SQLite will say what it thinks of it.
    if file.read_exact(&mut header).is_err() || !header.starts_with(b"SQLite format 3\0") {
        return Ok(false);
    }
    // https://www.sqlite.org/fileformat.html: page size at 16, size in pages at 28, both big-endian.
    let page_size = u64::from(u16::from_be_bytes([header[16], header[17]]));
    let pages = u64::from(u32::from_be_bytes([
        header[28], header[29], header[30], header[31],
    ]));
    let is_cut = length < page_size * pages;
    if is_cut && page_size * pages <= STRETCHED_BYTES_MAX.saturating_add(length * 8) {
        file.set_len(page_size * pages)
            .map_err(|source| StoreError::io("stretch", path, source))?;
    }
    Ok(is_cut)
}

/// Removes a file and what belongs to it; what is not there is no failure.
pub(crate) fn remove(path: &Utf8Path) -> Result<(), StoreError> {
    for path in [
        path.to_owned(),
        companion(path, "-wal"),
        companion(path, "-shm"),
        companion(path, "-journal"),
    ] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::io("remove", &path, error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The file that `SQLite` keeps beside a database.
pub(crate) fn companion(path: &Utf8Path, suffix: &str) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{path}{suffix}"))
}

/// A new name is on disk only once its folder is.
pub(crate) fn sync_folder_of(path: &Utf8Path) -> Result<(), StoreError> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_str().is_empty())
        .unwrap_or(Utf8Path::new("."));
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| StoreError::io("sync", folder, source))
}
