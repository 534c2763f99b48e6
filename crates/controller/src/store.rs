//! The state database: servers, resources, identities, people, and how far consumers have come.
//!
//! The only module that knows sea-orm. Owns the tables and what must happen in one transaction; must not know HTTP,
//! gRPC, certificates or the clock (callers bring times). Rows go in and out as plain types of this module or of
//! `app`.
//!
//! Invariants: one connection writes, so that writers queue instead of failing; a commit is on disk when it returns
//! (WAL with `synchronous=FULL`); a database of a newer version is refused untouched.

mod alerts;
pub mod apply;
mod audit;
mod channels;
mod collections;
mod commands;
pub(crate) mod deliveries;
mod entity;
mod held;
mod identities;
mod images;
mod installation;
mod judgements;
mod links;
mod notes;
mod people;
mod positions;
mod registries;
mod resources;
mod restored;
mod schema;
mod servers;
mod tokens;
mod updates;

use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use sea_orm::sqlx::Connection as _;
use sea_orm::{
    ConnectOptions, Database, DatabaseConnection, DatabaseTransaction, DbErr, RuntimeErr,
    TransactionTrait as _,
};
use thiserror::Error;
use tokio::sync::Notify;

pub(crate) use alerts::{AlertCounts, AlertFilter, AlertWrite, EstateRow, MuteRow, RuleRow};
pub(crate) use audit::{AuditQuery, AuditRow, AuditStart};
pub(crate) use channels::{ChannelRow, Kept};
pub use commands::CommandRow;
pub(crate) use commands::{CommandFilter, Draft, Issued, PENDING_MAX, Said};
pub(crate) use identities::{
    AdoptOutcome, Adoption, AgentRow, CaughtUp, HeldRow, IdentityRow, ListedToken, NewIdentity, QUARANTINED,
    REVOKED, Redeem, Redeemed, Renewal, RenewalOutcome, Standing, TokenRow,
};
pub(crate) use images::{CheckRow, DigestRow, TagsRow};
pub(crate) use people::{AccountChange, AccountRow, Changed, NewSession};
pub(crate) use registries::{RegistryKept, RegistryRow};
pub(crate) use restored::{Renewed, describe};
pub(crate) use servers::{ServerFields, ServerRow};
pub(crate) use tokens::{ApiTokenRow, NewApiToken};
pub(crate) use updates::{
    BadDigestRow, DocumentKind, DocumentRow, FREEZE, HistoryQuery, HistoryRow, NoticeRow, RolloutRow,
    UpdateQuery, UpdateRow, UpdateWrite,
};

/// Connections that only read.
const READERS: u32 = 4;
/// Rows of one statement; SQLite takes 32,766 values a statement, the widest table has 16 columns.
const ROWS_PER_STATEMENT: usize = 500;
/// Prepared statements that a connection keeps.
const STATEMENTS_KEPT: usize = 48;
/// Page cache of a connection, in KiB: the system caches the file as well.
const CACHE_KIB: u32 = 1_024;
/// Milliseconds that a statement waits for another process that holds the database, such as `sqlite3` at a prompt.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A failure of the state database.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It could not be opened.
    #[error("open the state database {path}")]
    Open {
        /// Its file.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: DbErr,
    },
    /// A newer controller has changed it.
    #[error(
        "the state database was last used by a newer controller (it has step {step}, which this one does not know): \
         {way_back}"
    )]
    TooNew {
        /// The unknown migration.
        step: String,
        /// What can be done, with the copy that was made before the upgrade if there is one.
        way_back: String,
    },
    /// It is damaged.
    #[error(
        "the state database {path} is damaged ({what}): restore a backup with `muster-controller restore FILE`; agents \
         keep their reports meanwhile"
    )]
    Damaged {
        /// Its file.
        path: Utf8PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// It could not be copied before its schema is changed; it is as it was.
    #[error("copy the state database to {path} before bringing it up to date")]
    Snapshot {
        /// The copy.
        path: Utf8PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Its schema could not be brought up to date; it is as it was before.
    #[error("bring the state database up to date")]
    Migrate(#[source] DbErr),
    /// A query or change failed.
    #[error("{doing}")]
    Query {
        /// What was attempted.
        doing: &'static str,
        /// Why.
        #[source]
        source: DbErr,
    },
    /// A row holds what no row may hold.
    #[error("{what} in the state database cannot be read: {value:?}")]
    Corrupt {
        /// The column.
        what: &'static str,
        /// What it holds.
        value: String,
    },
}

impl StoreError {
    /// Whether the same may succeed later without anybody changing what was asked: the database is busy, its disk is
    /// full or does not answer, its file is damaged.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        let Self::Query { source, .. } = self else {
            return false;
        };
        match source {
            DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => true,
            DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => {
                match error.as_database_error() {
                    Some(told) => told.code().is_some_and(|code| is_transient_code(&code)),
                    // Not the database itself, but the way to it.
                    None => true,
                }
            }
            _ => false,
        }
    }
}

/// SQLITE_BUSY, LOCKED, NOMEM, READONLY, IOERR, CORRUPT, FULL, CANTOPEN and NOTADB; the low byte of an extended code is
/// the code. A damaged database is no fault of what was to be stored: that has to wait until it is restored.
fn is_transient_code(code: &str) -> bool {
    code.parse::<u32>()
        .is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 7 | 8 | 10 | 11 | 13 | 14 | 26))
}

/// Names what a query was for.
trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for Result<T, DbErr> {
    fn doing(self, doing: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Query { doing, source })
    }
}

/// The state database. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Store {
    writer: DatabaseConnection,
    reader: DatabaseConnection,
    notes: Arc<notes::Notes>,
    outbox_wake: Arc<Notify>,
}

impl Store {
    /// Opens the database file, makes it if there is none, and brings its schema up to date, after a copy of it.
    ///
    /// # Errors
    /// [`StoreError::Open`], [`StoreError::TooNew`], [`StoreError::Snapshot`] or [`StoreError::Migrate`].
    pub async fn open(path: &Utf8Path) -> Result<Self, StoreError> {
        Self::open_with(path, true).await
    }

    /// The same for a file that is a copy itself: none is made of it.
    pub(crate) async fn open_copy(path: &Utf8Path) -> Result<Self, StoreError> {
        Self::open_with(path, false).await
    }

    async fn open_with(path: &Utf8Path, keeps_snapshot: bool) -> Result<Self, StoreError> {
        let open = |source| StoreError::Open {
            path: path.to_owned(),
            source,
        };
        schema::check(path).await?;
        schema::check_structure(path).await?;
        let writer = Database::connect(options(path, 1, Access::Write))
            .await
            .map_err(open)?;
        schema::migrate(&writer, path, keeps_snapshot).await?;
        let reader = Database::connect(options(path, READERS, Access::Read))
            .await
            .map_err(open)?;
        Ok(Self {
            writer,
            reader,
            notes: Arc::default(),
            outbox_wake: Arc::default(),
        })
    }

    /// Opens the database file of a controller that may be running, for reading alone. It must exist and be of this
    /// version.
    ///
    /// # Errors
    /// [`StoreError::Open`] or [`StoreError::TooNew`].
    pub async fn open_read_only(path: &Utf8Path) -> Result<Self, StoreError> {
        let open = |source| StoreError::Open {
            path: path.to_owned(),
            source,
        };
        schema::check(path).await?;
        let reader = Database::connect(options(path, READERS, Access::Read))
            .await
            .map_err(open)?;
        Ok(Self {
            writer: reader.clone(),
            reader,
            notes: Arc::default(),
            outbox_wake: Arc::default(),
        })
    }

    /// Told after each commit that has news for channels.
    pub(crate) const fn outbox_wake(&self) -> &Arc<Notify> {
        &self.outbox_wake
    }

    /// Closes all connections, after the changes under way. Clones are of no use afterwards.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.reader
            .close_by_ref()
            .await
            .doing("close the state database")?;
        self.writer.close_by_ref().await.doing("close the state database")
    }

    async fn begin(&self, doing: &'static str) -> Result<DatabaseTransaction, StoreError> {
        self.writer.begin().await.doing(doing)
    }
}

async fn commit(transaction: DatabaseTransaction, doing: &'static str) -> Result<(), StoreError> {
    transaction.commit().await.doing(doing)
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Write,
    Read,
    /// Reading a file that must stay as it is to the last byte.
    Look,
}

fn options(path: &Utf8Path, connections: u32, access: Access) -> ConnectOptions {
    let path = path.to_owned();
    let mut options = ConnectOptions::new("sqlite::memory:");
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(Duration::from_secs(30))
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(move |sqlite| {
            let sqlite = sqlite
                .in_memory(false)
                .shared_cache(false)
                .filename(&path)
                .create_if_missing(access == Access::Write)
                .busy_timeout(BUSY_TIMEOUT);
            if access == Access::Look {
                return sqlite.read_only(true);
            }
            sqlite
                .foreign_keys(true)
                .statement_cache_capacity(STATEMENTS_KEPT)
                .pragma("cache_size", format!("-{CACHE_KIB}"))
                .pragma("journal_mode", "WAL")
                .pragma("synchronous", "FULL")
                .pragma("query_only", if access == Access::Read { "ON" } else { "OFF" })
        })
        .map_sqlx_sqlite_before_acquire(|connection, _| {
            // SQLite itself takes a transaction back when its disk is full or fails. The driver goes on to think that one
            // is open, and would begin the next ones inside of it: they would be answered as done and be in no file.
            let is_sound = !connection.is_in_transaction();
            Box::pin(async move { Ok(is_sound) })
        });
    options
}

/// A column whose value no version of ours has written.
fn corrupt(what: &'static str, value: impl Into<String>) -> StoreError {
    StoreError::Corrupt {
        what,
        value: value.into(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
