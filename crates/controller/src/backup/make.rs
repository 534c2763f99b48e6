//! Making a backup.

use std::fs;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use tokio::runtime::Handle;

use super::archive::ArchiveWriter;
use super::copy::{copy_database, is_damage};
use super::manifest::{FORMAT, Manifest};
use super::{BackupError, SAMPLES_DIR};
use crate::intake;
use crate::run::STATE_FILE;
use crate::store;

/// Where copies are made, in the data folder; nothing of value is ever in it.
const STAGING: &str = "backup.partial";
/// Index of the sample store: copied after the files whose series it names.
const SAMPLES_INDEX: &str = "index.db";
/// What has to stay free beyond a copy, in bytes.
const SPARE_BYTES: u64 = 64 * 1024 * 1024;

/// Writes a backup of a data folder to `out`; returns it with what is in it. `progress` gets a line for people now and
/// then. Deletion has to be held by the caller, or the folder's lock. Blocks; to be called on a thread of a runtime that
/// may block.
///
/// # Errors
/// [`BackupError`]; what was written so far is worth nothing then.
pub fn make<W: Write>(
    data_dir: &Utf8Path,
    out: W,
    now_ms: i64,
    mut progress: impl FnMut(&str),
) -> Result<(W, Manifest), BackupError> {
    clear_leftovers(data_dir)?;
    let staging = data_dir.join(STAGING);
    let making = BackupError::io("make", &staging);
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&staging)
        .map_err(making)?;
    let mut copier = Copier {
        data_dir,
        copy: staging.join("copy.db"),
        archive: ArchiveWriter::new(out).map_err(BackupError::Write)?,
        progress: &mut progress,
    };
    // The order is what makes the copies fit: see the module's description.
    let manifest = copier.state(now_ms)?;
    for name in sample_files(data_dir)? {
        copier.add(&name)?;
    }
    copier.add(intake::FILE_NAME)?;
    let finished = copier.archive.finish(manifest).map_err(BackupError::Write)?;
    clear_leftovers(data_dir)?;
    Ok(finished)
}

/// Removes what a backup that was cut short has left in the data folder.
///
/// # Errors
/// [`BackupError::Io`].
pub fn clear_leftovers(data_dir: &Utf8Path) -> Result<(), BackupError> {
    let staging = data_dir.join(STAGING);
    match fs::remove_dir_all(&staging) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(BackupError::io("remove", staging)(error))
        }
        _ => Ok(()),
    }
}

struct Copier<'a, W: Write> {
    data_dir: &'a Utf8Path,
    copy: Utf8PathBuf,
    archive: ArchiveWriter<W>,
    progress: &'a mut dyn FnMut(&str),
}

impl<W: Write> Copier<'_, W> {
    /// Copies the state, and begins the manifest with what it says.
    fn state(&mut self, now_ms: i64) -> Result<Manifest, BackupError> {
        self.copy(STATE_FILE)?;
        let described = Handle::current().block_on(store::describe(&self.copy))?;
        self.take(STATE_FILE, &self.copy.clone(), false)?;
        Ok(Manifest {
            format: FORMAT,
            controller_version: env!("CARGO_PKG_VERSION").to_owned(),
            made_ms: now_ms,
            installation: described.installation.uuid,
            store_id: described.installation.store_id,
            store_epoch: described.installation.store_epoch,
            schema_step: described.schema_step,
            files: Vec::new(),
        })
    }

    /// Copies a database into the archive. One that is damaged is taken as it is: it is still worth something to
    /// whoever can read what is left of it.
    fn add(&mut self, name: &str) -> Result<(), BackupError> {
        let path = self.data_dir.join(name);
        if !path.exists() {
            return Ok(());
        }
        match self.copy(name) {
            Ok(()) => self.take(name, &self.copy.clone(), false),
            Err(BackupError::Copy { source, .. }) if is_damage(&source) => self.take(name, &path, true),
            Err(error) => Err(error),
        }
    }

    fn copy(&self, name: &str) -> Result<(), BackupError> {
        let path = self.data_dir.join(name);
        self.check_room(name, &path)?;
        remove_if_there(&self.copy)?;
        copy_database(&path, &self.copy).map_err(|source| BackupError::Copy { path, source })
    }

    fn take(&mut self, name: &str, path: &Utf8Path, is_damaged: bool) -> Result<(), BackupError> {
        let entry = self
            .archive
            .add(name, path, is_damaged)
            .map_err(BackupError::Write)?;
        let note = if is_damaged {
            ", damaged and taken as it is"
        } else {
            ""
        };
        (self.progress)(&format!("{name}: {} bytes{note}", entry.size_bytes));
        remove_if_there(&self.copy)
    }

    fn check_room(&self, name: &str, path: &Utf8Path) -> Result<(), BackupError> {
        let size = |path: &Utf8Path| path.metadata().map_or(0, |metadata| metadata.len());
        let needed_bytes = size(path) + size(&Utf8PathBuf::from(format!("{path}-wal"))) + SPARE_BYTES;
        let stat = nix::sys::statvfs::statvfs(self.data_dir.as_std_path())
            .map_err(|errno| BackupError::io("look at the room of", self.data_dir)(errno.into()))?;
        let free_bytes = stat.blocks_available().saturating_mul(stat.fragment_size());
        if free_bytes < needed_bytes {
            return Err(BackupError::NoRoom {
                folder: self.data_dir.to_owned(),
                name: name.to_owned(),
                needed_bytes,
                free_bytes,
            });
        }
        Ok(())
    }
}

/// The databases of the sample store, its index last.
fn sample_files(data_dir: &Utf8Path) -> Result<Vec<String>, BackupError> {
    let folder = data_dir.join(SAMPLES_DIR);
    let entries = match folder.read_dir_utf8() {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(BackupError::io("list", folder)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(BackupError::io("list", &folder))?;
        if entry.file_name().ends_with(".db") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort_by_key(|name| (name == SAMPLES_INDEX, name.clone()));
    Ok(names
        .into_iter()
        .map(|name| format!("{SAMPLES_DIR}/{name}"))
        .collect())
}

fn remove_if_there(path: &Utf8Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(BackupError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
