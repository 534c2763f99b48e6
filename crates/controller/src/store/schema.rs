//! The schema of the state database: whether this version knows it, and bringing it up to date.
//!
//! All steps are one transaction, so that an upgrade that is cut short has not begun. Before it, the database is copied
//! to `snapshots/` beside it; the latest three copies are kept. A database of a newer version is refused before anything
//! is written, with the name of the copy that this version can use.

use std::fs;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use muster_migrations::{Migrator, MigratorTrait as _};
use sea_orm::{
    ConnectionTrait as _, Database, DatabaseConnection, DbErr, RuntimeErr, Statement, TransactionTrait as _,
};

use super::{Access, StoreError, options};

/// The folder of copies, beside the database.
const SNAPSHOTS_DIR: &str = "snapshots";
/// Copies kept; the oldest go.
const SNAPSHOTS_MAX: usize = 3;
/// What the name of a copy begins with; the newest step in it follows.
const SNAPSHOT_PREFIX: &str = "state-";

/// Names of all steps that this version knows, in order.
fn known() -> Vec<String> {
    Migrator::migrations()
        .iter()
        .map(|step| step.name().to_owned())
        .collect()
}

/// Refuses a database with a step that this version does not know. Writes nothing.
pub(super) async fn check(path: &Utf8Path) -> Result<(), StoreError> {
    // What has no content yet will be made.
    if path.metadata().map_or(0, |metadata| metadata.len()) == 0 {
        return Ok(());
    }
    let known = known();
    let found = match applied_in(path).await {
        Err(StoreError::Open { source, .. }) if is_damage(&source) => {
            return Err(StoreError::Damaged {
                path: path.to_owned(),
                what: source.to_string(),
            });
        }
        found => found?,
    };
    match found.into_iter().find(|step| !known.contains(step)) {
        None => Ok(()),
        Some(step) => Err(StoreError::TooNew {
            step,
            way_back: way_back(path, &known),
        }),
    }
}

/// Refuses a database whose structure is damaged, before it gives wrong answers. Reads all of it.
pub(super) async fn check_structure(path: &Utf8Path) -> Result<(), StoreError> {
    if path.metadata().map_or(0, |metadata| metadata.len()) == 0 {
        return Ok(());
    }
    let look = async {
        let database = Database::connect(options(path, 1, Access::Look)).await?;
        let backend = database.get_database_backend();
        let check = "SELECT integrity_check AS found FROM pragma_integrity_check LIMIT 1";
        let row = database
            .query_one_raw(Statement::from_string(backend, check))
            .await;
        database.close().await?;
        row?.map_or(Ok(String::new()), |row| row.try_get("", "found"))
    };
    let damaged = |what: String| StoreError::Damaged {
        path: path.to_owned(),
        what,
    };
    match look.await {
        Ok(found) if found == "ok" => Ok(()),
        Ok(found) => Err(damaged(found)),
        Err(source) if is_damage(&source) => Err(damaged(source.to_string())),
        Err(source) => Err(StoreError::Open {
            path: path.to_owned(),
            source,
        }),
    }
}

/// SQLITE_CORRUPT and NOTADB.
fn is_damage(error: &DbErr) -> bool {
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return false;
    };
    let told = error.as_database_error().and_then(|told| told.code());
    told.and_then(|code| code.parse::<u32>().ok())
        .is_some_and(|code| matches!(code & 0xff, 11 | 26))
}

/// The steps that a database has, in order; nothing of it is written.
pub(super) async fn applied_in(path: &Utf8Path) -> Result<Vec<String>, StoreError> {
    let failed = |source| StoreError::Open {
        path: path.to_owned(),
        source,
    };
    let database = Database::connect(options(path, 1, Access::Look))
        .await
        .map_err(failed)?;
    let applied = applied(&database).await;
    database.close().await.map_err(failed)?;
    applied.map_err(failed)
}

async fn applied(database: &DatabaseConnection) -> Result<Vec<String>, DbErr> {
    let has_table = "SELECT count(*) AS found FROM sqlite_schema WHERE name = 'seaql_migrations'";
    let backend = database.get_database_backend();
    let row = database
        .query_one_raw(Statement::from_string(backend, has_table))
        .await?;
    if row.map_or(Ok(0), |row| row.try_get::<i64>("", "found"))? == 0 {
        return Ok(Vec::new());
    }
    let steps = "SELECT version FROM seaql_migrations ORDER BY version";
    let rows = database
        .query_all_raw(Statement::from_string(backend, steps))
        .await?;
    rows.iter().map(|row| row.try_get("", "version")).collect()
}

/// Brings an open database up to date. What it was before is in the folder of copies then, unless `keeps_snapshot` says
/// that there is another one.
pub(super) async fn migrate(
    writer: &DatabaseConnection,
    path: &Utf8Path,
    keeps_snapshot: bool,
) -> Result<(), StoreError> {
    let known = known();
    let applied = applied(writer).await.map_err(StoreError::Migrate)?;
    if applied.len() == known.len() {
        return Ok(());
    }
    if let Some(last) = applied.last() {
        let snapshot = if keeps_snapshot {
            Some(take_snapshot(writer, path, last).await?)
        } else {
            None
        };
        tracing::info!(
            from = last,
            to = known.last(),
            snapshot = snapshot.as_ref().map(tracing::field::display),
            "bringing the state database up to date"
        );
    }
    let transaction = writer.begin().await.map_err(StoreError::Migrate)?;
    Migrator::up(&transaction, None)
        .await
        .map_err(StoreError::Migrate)?;
    transaction.commit().await.map_err(StoreError::Migrate)
}

async fn take_snapshot(
    writer: &DatabaseConnection,
    path: &Utf8Path,
    last: &str,
) -> Result<Utf8PathBuf, StoreError> {
    let folder = snapshots_of(path);
    let snapshot = folder.join(format!("{SNAPSHOT_PREFIX}{last}.db"));
    let partial = folder.join("partial");
    let failed = |source: io::Error| StoreError::Snapshot {
        path: snapshot.clone(),
        source: Box::new(source),
    };
    fs::create_dir_all(&folder).map_err(failed)?;
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    copy_to(writer, &partial)
        .await
        .map_err(|source| StoreError::Snapshot {
            path: snapshot.clone(),
            source: Box::new(source),
        })?;
    let keep = || {
        fs::File::open(&partial)?.sync_all()?;
        fs::rename(&partial, &snapshot)?;
        fs::File::open(&folder)?.sync_all()?;
        let mut all = list(&folder)?;
        all.truncate(all.len().saturating_sub(SNAPSHOTS_MAX));
        all.iter().try_for_each(|(_, old)| fs::remove_file(old))
    };
    keep().map_err(failed)?;
    Ok(snapshot)
}

async fn copy_to(writer: &DatabaseConnection, to: &Utf8Path) -> Result<(), DbErr> {
    let values = [to.as_str().into()];
    let backend = writer.get_database_backend();
    let statement = Statement::from_sql_and_values(backend, "VACUUM INTO ?", values);
    writer.execute_raw(statement).await.map(|_| ())
}

/// What whoever wants this version back can do, in words.
fn way_back(path: &Utf8Path, known: &[String]) -> String {
    let all = list(&snapshots_of(path)).unwrap_or_default();
    match all.iter().rev().find(|(step, _)| known.contains(step)) {
        Some((_, snapshot)) => format!(
            "run that version; or, giving up what was changed since, go back to the state of before the upgrade with \
             `muster-controller restore {snapshot}`"
        ),
        None => "run that version, or restore a backup made before it".to_owned(),
    }
}

/// The copies with their newest steps, oldest first.
fn list(folder: &Utf8Path) -> io::Result<Vec<(String, Utf8PathBuf)>> {
    let mut found = Vec::new();
    for entry in folder.read_dir_utf8()? {
        let entry = entry?;
        let step = entry.file_name().strip_prefix(SNAPSHOT_PREFIX);
        if let Some(step) = step.and_then(|rest| rest.strip_suffix(".db")) {
            found.push((step.to_owned(), entry.path().to_owned()));
        }
    }
    found.sort();
    Ok(found)
}

fn snapshots_of(path: &Utf8Path) -> Utf8PathBuf {
    path.parent().unwrap_or(Utf8Path::new("")).join(SNAPSHOTS_DIR)
}

#[cfg(test)]
mod tests;
