//! Why there is no backup, or it cannot be restored.

use std::io;

use camino::Utf8PathBuf;
use thiserror::Error;

use crate::identity::IdentityError;
use crate::intake::IntakeError;
use crate::store::StoreError;

/// Why there is no backup, or it cannot be restored.
#[derive(Debug, Error)]
pub enum BackupError {
    /// A file or folder could not be used.
    #[error("{doing} {path}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// The file or folder.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A database could not be copied.
    #[error("copy {path}")]
    Copy {
        /// The database.
        path: Utf8PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// There is no room for a copy.
    #[error(
        "there is no room in {folder} for a copy of {name}: {needed_bytes} bytes are needed and {free_bytes} are free"
    )]
    NoRoom {
        /// Where the copy would be.
        folder: Utf8PathBuf,
        /// The database.
        name: String,
        /// What it takes.
        needed_bytes: u64,
        /// What there is.
        free_bytes: u64,
    },
    /// The archive could not be written.
    #[error("write the backup")]
    Write(#[source] io::Error),
    /// The archive could not be read: it is damaged or cut.
    #[error("the backup is damaged or cut short, nothing was changed")]
    Unreadable(#[source] io::Error),
    /// The archive is not as its manifest says.
    #[error("the backup is damaged, nothing was changed: {what}")]
    Damaged {
        /// What is wrong.
        what: String,
    },
    /// It is no backup of ours.
    #[error("{path} is no backup of a controller: {what}")]
    NotABackup {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A newer controller made it.
    #[error(
        "the backup was made by version {version} of the controller, and this one knows no such form: restore it with that version"
    )]
    NewerFormat {
        /// The version that made it.
        version: String,
    },
    /// State cannot be read or changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The intake cannot be read.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The samples cannot be read.
    #[error(transparent)]
    Samples(#[from] muster_samples::StoreError),
    /// The sealing key is missing or another one.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl BackupError {
    pub(super) fn io(doing: &'static str, path: impl Into<Utf8PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}
