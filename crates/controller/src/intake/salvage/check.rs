//! Whether a file is as it was written.

use std::fs::File;
use std::io::{self, Read as _};

use camino::Utf8Path;
use rusqlite::{Connection, Row};

use super::{failed, is_damage};
use crate::intake::envelope::{self, Envelope};
use crate::intake::{IntakeError, schema};

/// What is wrong with a file, in words; `None` if it is sound. Reads all of it.
pub(super) fn check(path: &Utf8Path, applied: i64) -> Result<Option<String>, IntakeError> {
    match schema::check_version(path) {
        Err(IntakeError::Open { source, .. }) if is_damage(&source) => return Ok(Some(source.to_string())),
        checked => checked?,
    }
    // SQLite takes a file whose header names a version that it does not know for one that is only to be read.
    let versions = file_versions(path).map_err(failed("read", path))?;
    if versions.is_some_and(|versions| versions != [1, 1] && versions != [2, 2]) {
        return Ok(Some("the versions in its header are none".to_owned()));
    }
    match look(path, applied) {
        Ok(found) => Ok(found),
        Err(source) if is_damage(&source) => Ok(Some(source.to_string())),
        Err(source) => Err(IntakeError::Open {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The versions of the file format for writing and reading: 1 without a log, 2 with one. `None` for a file without a
/// header.
fn file_versions(path: &Utf8Path) -> io::Result<Option<[u8; 2]>> {
    let mut header = [0; 20];
    match File::open(path)?.read_exact(&mut header) {
        Ok(()) => Ok(Some([header[18], header[19]])),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn look(path: &Utf8Path, applied: i64) -> rusqlite::Result<Option<String>> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(schema::BUSY_TIMEOUT)?;
    if schema::version(&connection)? == 0 {
        return Ok((!schema::is_empty(&connection)?).then(|| "it has no version".to_owned()));
    }
    // Files of the version before have no second account, and get one when they are opened.
    let is_old = schema::version(&connection)? < schema::SCHEMA_VERSION;
    if !is_old && !schema::is_as_made(&connection)? {
        return Ok(Some("its tables are not those that were made".to_owned()));
    }
    for sql in [
        "PRAGMA quick_check(1)",
        "PRAGMA integrity_check('definition')",
        "PRAGMA integrity_check('cursor')",
    ] {
        let found: String = connection.query_row(sql, [], |row| row.get(0))?;
        if found != "ok" {
            return Ok(Some(found));
        }
    }
    if is_old {
        return Ok(None);
    }
    let positions = match records(&connection)? {
        Ok(positions) => positions,
        Err(why) => return Ok(Some(why)),
    };
    let others = [definitions(&connection)?, cursors(&connection)?];
    if let Some(why) = others.into_iter().flatten().next() {
        return Ok(Some(why));
    }
    ledger(&connection, &positions, applied)
}

/// The positions of all records, or what is wrong with one.
fn records(connection: &Connection) -> rusqlite::Result<Result<Vec<i64>, String>> {
    let mut statement = connection.prepare(
        "SELECT position, agent, server, epoch, sequence, received_ms, kind, size_bytes, payload
         FROM record ORDER BY position",
    )?;
    let mut rows = statement.query([])?;
    let mut positions = Vec::new();
    while let Some(row) = rows.next()? {
        let position = row.get(0)?;
        if !is_record_sound(row)? {
            return Ok(Err(format!("record {position} is not as it was written")));
        }
        positions.push(position);
    }
    Ok(Ok(positions))
}

fn is_record_sound(row: &Row<'_>) -> rusqlite::Result<bool> {
    let payload = row.get_ref(8)?.as_blob()?;
    let Some(Envelope::Record(head, _)) = envelope::open(payload) else {
        return Ok(false);
    };
    let agent: [u8; 16] = row.get(1)?;
    Ok(row.get::<_, i64>(0)? == head.position
        && agent == *head.agent.0.as_bytes()
        && row.get::<_, i64>(2)? == head.server.0
        && row.get::<_, i64>(3)? == head.epoch.cast_signed()
        && row.get::<_, i64>(4)? == head.sequence.cast_signed()
        && row.get::<_, i64>(5)? == head.received_ms
        && row.get::<_, u8>(6)? == head.kind
        && row.get::<_, u32>(7)? == head.size_bytes)
}

fn definitions(connection: &Connection) -> rusqlite::Result<Option<String>> {
    for table in ["definition", "definition_copy"] {
        let mut statement = connection.prepare(&format!(
            "SELECT agent, epoch, first_id, last_id, payload FROM {table}"
        ))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let payload = row.get_ref(4)?.as_blob()?;
            let agent: [u8; 16] = row.get(0)?;
            let is_sound = matches!(envelope::open(payload), Some(Envelope::Definitions(head, _))
                if agent == *head.agent.0.as_bytes()
                    && row.get::<_, i64>(1)? == head.epoch.cast_signed()
                    && row.get::<_, u32>(2)? == head.first_id
                    && row.get::<_, u32>(3)? == head.last_id);
            if !is_sound {
                return Ok(Some("definitions are not as they were written".to_owned()));
            }
        }
    }
    Ok(None)
}

fn cursors(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let mut statement =
        connection.prepare("SELECT agent, epoch, ranges, definitions, last_ms FROM cursor")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let sealed = row.get_ref(2)?.as_blob()?;
        let agent: [u8; 16] = row.get(0)?;
        let is_sound = matches!(envelope::open(sealed), Some(Envelope::Cursor(body))
            if agent == *body.agent.0.as_bytes()
                && row.get::<_, i64>(1)? == body.epoch.cast_signed()
                && row.get::<_, u32>(3)? == body.definitions
                && row.get::<_, i64>(4)? == body.last_ms);
        if !is_sound {
            return Ok(Some("a cursor is not as it was written".to_owned()));
        }
    }
    Ok(None)
}

/// Every record that the ledger has is there, unless it may have been deleted.
fn ledger(connection: &Connection, positions: &[i64], applied: i64) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare("SELECT first, body FROM ledger ORDER BY first")?;
    let mut rows = statement.query([])?;
    let mut last = positions.last().copied().unwrap_or(0);
    let mut floor = 0;
    let mut wanted = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(Envelope::Ledger(body)) = envelope::open(row.get_ref(1)?.as_blob()?) else {
            return Ok(Some("the ledger is not as it was written".to_owned()));
        };
        floor = floor.max(body.floor);
        let first = body.entries.first().map_or(0, |entry| entry.position);
        if first != row.get::<_, i64>(0)? {
            return Ok(Some("the ledger is not as it was written".to_owned()));
        }
        wanted.extend(body.entries.iter().map(|entry| entry.position));
    }
    wanted.retain(|position| applied < *position && floor <= *position);
    last = last.max(wanted.last().copied().unwrap_or(0));
    if let Some(missing) = wanted
        .iter()
        .find(|position| positions.binary_search(position).is_err())
    {
        return Ok(Some(format!("record {missing} is missing")));
    }
    let is_accounted = |position: &i64| wanted.binary_search(position).is_ok();
    let mut needed = positions
        .iter()
        .filter(|position| applied < **position && floor <= **position);
    if let Some(position) = needed.find(|position| !is_accounted(position)) {
        return Ok(Some(format!("record {position} is not in the ledger")));
    }
    if schema::last_position(connection)? < last {
        return Ok(Some("the last position given is not known".to_owned()));
    }
    Ok(None)
}
