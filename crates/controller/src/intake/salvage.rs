//! A file that is damaged: finding out, getting out of it what is good, and saying what is not.
//!
//! [`check`] compares everything in the file with its second account: envelopes with their checksums, columns with
//! envelopes, records with the ledger. If anything differs, [`rebuild`] makes a new file from every sound envelope that
//! is anywhere in the old one, whatever its structure looks like, and keeps the old one beside it.
//!
//! What is never done: listing a number as stored whose record is neither here nor passed by all consumers. A record
//! that is known to have been stored and is gone becomes a gap; a number of which nobody can tell is not listed any
//! more, so that its agent sends it again, or says that it has it no longer.

mod check;
mod found;
mod plan;
mod scan;

use std::fs;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use rusqlite::{Connection, ErrorCode};
use thiserror::Error;

use self::found::Found;
use self::plan::Plan;
use self::scan::Pages;
use super::{IntakeError, schema};

/// What follows the name of a file that was replaced; a number follows it.
const DAMAGED_MARK: &str = ".damaged-";
/// Damaged files that are kept; the oldest go.
const DAMAGED_MAX: usize = 3;
/// What follows the name of a file that is being made from a damaged one.
const SALVAGED_MARK: &str = ".salvaged";

/// What came of a damaged file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Salvaged {
    /// Records that are in the new file.
    pub(super) kept: u64,
    /// Records that are known to be lost; each is a gap.
    pub(super) lost: u64,
    /// Positions of which nobody knows what they held; agents are asked again.
    pub(super) unknown: u64,
}

/// Why a new file can't be written.
#[derive(Debug, Error)]
enum WriteError {
    #[error("read the old file")]
    Old(#[from] io::Error),
    #[error("write the new file")]
    New(#[from] rusqlite::Error),
}

/// Makes sure that there is a sound file or none. Positions up to `applied` are passed by every consumer.
///
/// # Errors
/// [`IntakeError`] if the files can't be read or written for another reason than damage, or are of a newer version.
pub(super) fn ensure_sound(
    path: &Utf8Path,
    applied: i64,
    now_ms: i64,
) -> Result<Option<Salvaged>, IntakeError> {
    let salvaged = Utf8PathBuf::from(format!("{path}{SALVAGED_MARK}"));
    if !path.exists() {
        // Between setting aside and renaming; with a log beside it, the new file would not have been closed.
        if salvaged.exists() && !companion(&salvaged, "-wal").exists() {
            fs::rename(&salvaged, path).map_err(failed("rename", &salvaged))?;
            sync_folder_of(path)?;
        }
        return Ok(None);
    }
    let Some(why) = check::check(path, applied)? else {
        return Ok(None);
    };
    tracing::error!(path = %path, why, "intake is damaged, what is good of it is taken over");
    for suffix in ["", "-wal", "-shm", "-journal"] {
        remove(&companion(&salvaged, suffix))?;
    }
    let pages = Pages::open(path).map_err(failed("read", path))?;
    let mut found = Found::default();
    pages
        .scan(|sound| found.add(sound))
        .map_err(failed("read", path))?;
    let plan = Plan::of(found, applied, now_ms);
    let told = write(&plan, &pages, &salvaged).map_err(|error| match error {
        WriteError::Old(source) => failed("read", path)(source),
        WriteError::New(source) => IntakeError::Open {
            path: salvaged.clone(),
            source,
        },
    })?;
    set_aside(path)?;
    fs::rename(&salvaged, path).map_err(failed("rename", &salvaged))?;
    sync_folder_of(path)?;
    tracing::error!(
        kept = told.kept,
        lost = told.lost,
        unknown = told.unknown,
        "damaged intake set aside, lost records are gaps, agents are asked for what is unknown"
    );
    Ok(Some(told))
}

/// Whether an error says that the file itself is at fault, and not the way to it.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    match error.sqlite_error() {
        // SQLITE_IOERR_SHORT_READ: the file is shorter than it says.
        Some(told) if told.extended_code == 522 => true,
        Some(told) => !matches!(
            told.code,
            ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly
                | ErrorCode::OutOfMemory
        ),
        // Values of other types than were written.
        None => true,
    }
}

/// Writes the new file in one go, without a log, so that it is whole when it is closed.
fn write(plan: &Plan, pages: &Pages, path: &Utf8Path) -> Result<Salvaged, WriteError> {
    let mut connection = Connection::open(path)?;
    schema::create(&mut connection)?;
    connection.pragma_update(None, "journal_mode", "DELETE")?;
    let transaction = connection.transaction()?;
    plan.write(&transaction, pages)?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(plan.told)
}

fn set_aside(path: &Utf8Path) -> Result<(), IntakeError> {
    let name = |number: usize| Utf8PathBuf::from(format!("{path}{DAMAGED_MARK}{number}"));
    let free = (1..).find(|number| !name(*number).exists());
    let number = free.expect("there is always a next number");
    for suffix in ["-wal", "-shm", "-journal", ""] {
        let from = companion(path, suffix);
        if from.exists() {
            fs::rename(&from, companion(&name(number), suffix)).map_err(failed("rename", &from))?;
        }
    }
    if let Some(old) = number.checked_sub(DAMAGED_MAX).filter(|old| 0 < *old) {
        for suffix in ["-wal", "-shm", "-journal"] {
            remove(&companion(&name(old), suffix))?;
        }
        // The name stays, so that numbers go on.
        fs::write(name(old), "").map_err(failed("empty", path))?;
    }
    sync_folder_of(path)
}

fn companion(path: &Utf8Path, suffix: &str) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{path}{suffix}"))
}

fn remove(path: &Utf8Path) -> Result<(), IntakeError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

fn sync_folder_of(path: &Utf8Path) -> Result<(), IntakeError> {
    let folder = path.parent().unwrap_or(Utf8Path::new("."));
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("sync", folder))
}

fn failed(doing: &'static str, path: &Utf8Path) -> impl FnOnce(io::Error) -> IntakeError {
    let path = path.to_owned();
    move |source| IntakeError::File { doing, path, source }
}

#[cfg(test)]
mod tests;
