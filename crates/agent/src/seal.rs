//! Making a golden image: whatever makes this agent this agent goes, so that each copy of the machine enrols anew.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use thiserror::Error;

use crate::durable;
use crate::identity::IdentityDir;
use crate::run::{DataLock, LockError};

/// Why the agent was not sealed.
#[derive(Debug, Error)]
pub enum SealError {
    /// An agent runs on the folder.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Something is still there.
    #[error("remove {path}")]
    Remove {
        /// What.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Removes identity, epoch, spool and what was commanded from the agent's folder, and returns what was there of them. Whatever else is in
/// the folder stays, such as a token for the copies. May be repeated when it was interrupted.
///
/// # Errors
/// [`SealError`]; before it is repeated with success, the folder must not be copied.
pub async fn seal(data_dir: &Utf8Path) -> Result<Vec<Utf8PathBuf>, SealError> {
    let _lock = DataLock::take(data_dir)?;
    let identity = IdentityDir::below(data_dir);
    // First what makes the rest count, so that a half sealed agent is not an agent either.
    let marker = identity.path().join("identity.json");
    let removed = remove(&marker)?;
    let mut gone = Vec::new();
    for path in [
        identity.path().to_owned(),
        data_dir.join("epoch"),
        data_dir.join("spool"),
        data_dir.join("commands"),
    ] {
        if remove(&path)? {
            gone.push(path);
        }
    }
    if !removed && gone.is_empty() {
        return Ok(gone);
    }
    durable::sync_parent(identity.path()).map_err(|source| SealError::Remove {
        path: data_dir.to_owned(),
        source,
    })?;
    Ok(gone)
}

/// Removes a file, or a folder with everything in it. `false` if it was not there.
fn remove(path: &Utf8Path) -> Result<bool, SealError> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(SealError::Remove {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        (folder, path)
    }

    /// S7
    #[tokio::test]
    async fn a_sealed_folder_has_nothing_of_the_agent_and_keeps_the_rest() {
        let (_folder, dir) = folder();
        IdentityDir::below(&dir).key_or_new().unwrap();
        std::fs::write(dir.join("identity/identity.json"), "{}").unwrap();
        std::fs::write(dir.join("epoch"), "{}").unwrap();
        std::fs::create_dir_all(dir.join("spool/deep")).unwrap();
        std::fs::write(dir.join("spool/deep/segment"), "x").unwrap();
        std::fs::write(dir.join("fleet.token"), "kept").unwrap();
        let gone = seal(&dir).await.unwrap();
        assert_eq!(gone, ["identity", "epoch", "spool"].map(|name| dir.join(name)));
        let mut left: Vec<_> = dir
            .read_dir_utf8()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_owned())
            .collect();
        left.sort();
        assert_eq!(left, ["fleet.token", "lock"]);
        assert!(seal(&dir).await.unwrap().is_empty(), "and again");
    }

    #[tokio::test]
    async fn a_running_agent_is_not_sealed() {
        let (_folder, dir) = folder();
        IdentityDir::below(&dir).key_or_new().unwrap();
        let _running = DataLock::take(&dir).unwrap();
        let refused = seal(&dir).await.unwrap_err().to_string();
        assert!(!refused.is_empty());
        assert!(dir.join("identity/key.pem").exists());
    }
}
