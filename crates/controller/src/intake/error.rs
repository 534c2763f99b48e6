//! Why the intake could not do what it was asked.

use camino::Utf8PathBuf;
use thiserror::Error;

/// Why the intake could not do what it was asked.
#[derive(Debug, Error)]
pub enum IntakeError {
    /// The file could not be opened or set up.
    #[error("open intake {path}")]
    Open {
        /// The file.
        path: Utf8PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A file beside it could not be used.
    #[error("{doing} {path}")]
    File {
        /// What was attempted.
        doing: &'static str,
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file was made by a newer version.
    #[error(
        "intake {path} has schema {found}, and this version knows schemas up to {known}: run the version that used it \
         last, or restore a backup made before it"
    )]
    TooNew {
        /// The file.
        path: Utf8PathBuf,
        /// The file's schema.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// The SQLite library is one that can damage a database in WAL mode.
    #[error("sqlite {found} can damage databases: at least 3.51.3 is needed")]
    OldSqlite {
        /// The library's version.
        found: &'static str,
    },
    /// The writing thread could not be started.
    #[error("start the intake's thread")]
    Thread(#[source] std::io::Error),
    /// Records or definitions could not be read back.
    #[error("read the intake")]
    Read(#[source] rusqlite::Error),
    /// Something other than reports could not be written.
    #[error("write the intake")]
    Write(#[source] WriteError),
    /// The intake has been closed.
    #[error("the intake is closed")]
    Closed,
}

/// The transaction that something was part of failed; why is in the log, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the transaction failed")]
pub struct WriteError;
