//! One running agent per data folder: two would number reports of their own under one identity.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;

use crate::durable;

/// Why the data folder can't be had.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another agent has it.
    #[error("another muster-agent (process {holder}) runs on {dir}: end it, or give each its own --data-dir")]
    Held {
        /// The folder.
        dir: Utf8PathBuf,
        /// The other's process id, as far as it is known.
        holder: String,
    },
    /// The file can't be used.
    #[error("lock {path}")]
    File {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Held while the agent runs; the system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct DataLock(#[expect(dead_code, reason = "holding it is what it is for")] Flock<File>);

impl DataLock {
    /// Takes the lock of `dir`, or says who has it.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn take(dir: &Utf8Path) -> Result<Self, LockError> {
        let path = dir.join("lock");
        let failed = |source| LockError::File {
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(durable::SECRET)
            .open(&path)
            .map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                // For whoever meets the lock; without room for it they are told a little less.
                let _ = file.set_len(0).and_then(|()| {
                    file.rewind()?;
                    write!(file, "{}", std::process::id())
                });
                Ok(Self(file))
            }
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut holder = String::new();
                let read = file.read_to_string(&mut holder);
                if read.is_err() || holder.is_empty() {
                    "unknown".clone_into(&mut holder);
                }
                Err(LockError::Held {
                    dir: dir.to_owned(),
                    holder,
                })
            }
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_agent_at_a_time_and_is_free_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        let held = DataLock::take(dir).unwrap();
        let refused = DataLock::take(dir).unwrap_err().to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        assert!(refused.contains(dir.as_str()), "{refused}");
        drop(held);
        DataLock::take(dir).unwrap();
        DataLock::take(&dir.join("missing")).unwrap_err();
    }
}
