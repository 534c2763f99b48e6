//! Why the store as a whole cannot do what it was asked. Damage of a part is no error; see [`crate::Damage`].

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use thiserror::Error;

/// Why the store cannot be opened or written.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A file or folder cannot be made, read, renamed or removed.
    #[error("{action} {path}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file or folder.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A database refused.
    #[error("{action} database {path}")]
    Database {
        /// What was attempted.
        action: &'static str,
        /// The database.
        path: Utf8PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
    /// A file is of a later version of this program. It is left as it is.
    #[error("{path} has schema version {found}, this program knows {known}")]
    NewerSchema {
        /// The file.
        path: Utf8PathBuf,
        /// Its version.
        found: i32,
        /// The latest version this program knows.
        known: i32,
    },
    /// A file is not what its name says.
    #[error("{path} is not a database of the sample store")]
    NotOurs {
        /// The file.
        path: Utf8PathBuf,
    },
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: &Utf8Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn database(action: &'static str, path: &Utf8Path, source: rusqlite::Error) -> Self {
        Self::Database {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// Whether the file is at fault, and not the machine or a lock.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Database { source, .. } => is_damage(source),
            Self::NotOurs { .. } => true,
            Self::Io { .. } | Self::NewerSchema { .. } => false,
        }
    }
}

/// `SQLite` does not understand a statement; ours it understands if the schema is ours.
const SQLITE_ERROR: i32 = 1;

/// Whether `SQLite` found the file itself to be broken.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    match error {
        rusqlite::Error::SqliteFailure(failure, message) => {
            matches!(failure.code, DatabaseCorrupt | NotADatabase)
                // The schema was read, and something else than ours stood there: a table or column has another name.
                || failure.extended_code == SQLITE_ERROR
                || message.as_deref().is_some_and(|text| text.starts_with("no such"))
        }
        // A column does not hold what only we write.
        rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..) => true,
        _ => false,
    }
}
