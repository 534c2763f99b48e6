//! Restoring a backup into a data folder that no controller uses.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};

use camino::Utf8Path;

use super::manifest::Manifest;
use super::{BackupError, SAMPLES_DIR, archive, swap};
use crate::identity::Seal;
use crate::intake;
use crate::run::STATE_FILE;
use crate::store::{Renewed, Store};

/// What every SQLite database begins with.
const SQLITE_MAGIC: &[u8] = b"SQLite format 3\0";

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What was restored; `None` for a snapshot of the state alone.
    pub manifest: Option<Manifest>,
    /// The epoch of the store from now on.
    pub store_epoch: u64,
    /// Enrolment tokens that were valid and are void.
    pub tokens_void: u64,
    /// Sessions that were open and are void.
    pub sessions_void: u64,
    /// Whether there was data in the folder, which is now in `DIR/replaced`.
    pub has_replaced: bool,
}

/// Restores a backup, or a snapshot that was made before the state's schema was changed. To be called with the folder's
/// lock held. Nothing in the folder is touched before all of the backup is checked and ready.
///
/// # Errors
/// [`BackupError`]; the folder is as it was, unless the failure came with the last step, the swap: that is finished by
/// the next start.
pub async fn restore(
    file: &Utf8Path,
    data_dir: &Utf8Path,
    secret_key_file: &Utf8Path,
    now_ms: i64,
    mut progress: impl FnMut(&str) + Send + 'static,
) -> Result<Restored, BackupError> {
    swap::finish(data_dir)?;
    let staging = data_dir.join(swap::PARTIAL);
    let (from, into) = (file.to_owned(), staging.clone());
    let unpacked = tokio::task::spawn_blocking(move || unpack(&from, &into, &mut progress)).await;
    let prepared = match unpacked {
        Ok(Ok(manifest)) => prepare(&staging, secret_key_file, now_ms)
            .await
            .map(|renewed| (manifest, renewed)),
        Ok(Err(error)) => Err(error),
        Err(panicked) => Err(BackupError::Unreadable(io::Error::other(panicked))),
    };
    let (manifest, renewed) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            // What is left of it is removed by the next try, if not now.
            let _ = swap::remove_tree(&staging);
            return Err(error);
        }
    };
    let has_replaced = data_dir.join(STATE_FILE).exists();
    // Only what the last restore has replaced is kept, or the folder would grow with each.
    swap::remove_tree(&data_dir.join(swap::REPLACED))?;
    swap::commit(data_dir)?;
    swap::finish(data_dir)?;
    Ok(Restored {
        manifest,
        store_epoch: renewed.store_epoch,
        tokens_void: renewed.tokens_void,
        sessions_void: renewed.sessions_void,
        has_replaced,
    })
}

/// Writes what the file holds into a fresh folder; all of it is checked and on disk when this returns.
fn unpack(
    file: &Utf8Path,
    staging: &Utf8Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Option<Manifest>, BackupError> {
    let samples = staging.join(SAMPLES_DIR);
    swap::remove_tree(staging)?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(staging)
        .map_err(BackupError::io("make", staging))?;
    if is_database(file)? {
        progress(&format!("{STATE_FILE}: a snapshot of the state alone"));
        let mut source = fs::File::open(file).map_err(BackupError::io("open", file))?;
        let to = staging.join(STATE_FILE);
        write(&to, &mut source).map_err(BackupError::io("write", to))?;
        return Ok(None);
    }
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&samples)
        .map_err(BackupError::io("make", &samples))?;
    let manifest = archive::read(file, |name, content| {
        let size_bytes = write(&staging.join(name), content)?;
        progress(&format!("{name}: {size_bytes} bytes"));
        Ok(())
    })?;
    swap::sync_folder(&samples)?;
    Ok(Some(manifest))
}

/// Brings the unpacked data up to date and makes it a store of its own. All of it is opened once: what this version
/// cannot use is refused now.
async fn prepare(
    staging: &Utf8Path,
    secret_key_file: &Utf8Path,
    now_ms: i64,
) -> Result<Renewed, BackupError> {
    let store = Store::open_copy(&staging.join(STATE_FILE)).await?;
    let outcome = prepare_state(&store, secret_key_file, now_ms).await;
    store.close().await?;
    let renewed = outcome?;
    let intake_file = staging.join(intake::FILE_NAME);
    if intake_file.exists() {
        intake::check_version(&intake_file)?;
    }
    let samples = staging.join(SAMPLES_DIR);
    if samples.exists() {
        let opening =
            move || muster_samples::Store::open(&samples, muster_samples::Options::default()).map(drop);
        match tokio::task::spawn_blocking(opening).await {
            Ok(opened) => opened?,
            Err(panicked) => return Err(BackupError::Unreadable(io::Error::other(panicked))),
        }
    }
    Ok(renewed)
}

async fn prepare_state(
    store: &Store,
    secret_key_file: &Utf8Path,
    now_ms: i64,
) -> Result<Renewed, BackupError> {
    let sealed = store.secrets().await?;
    let seal = Seal::load_or_make(secret_key_file, true)?;
    for (name, bytes) in &sealed {
        seal.open(name, bytes)?;
    }
    let store_epoch = u64::from_le_bytes(crate::identity::random()?);
    Ok(store.begin_restored(store_epoch, now_ms).await?)
}

fn is_database(file: &Utf8Path) -> Result<bool, BackupError> {
    let mut source = fs::File::open(file).map_err(BackupError::io("open", file))?;
    let mut begin = [0; SQLITE_MAGIC.len()];
    Ok(source.read_exact(&mut begin).is_ok() && begin == SQLITE_MAGIC)
}

/// Writes a new file for its owner alone, synced when this returns; returns its size.
fn write(path: &Utf8Path, content: &mut dyn Read) -> io::Result<u64> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let size_bytes = io::copy(content, &mut file)?;
    file.sync_all()?;
    Ok(size_bytes)
}
