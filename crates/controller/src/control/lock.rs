//! `DIR/lock`: who may write in the data folder.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;
use tokio::time::Instant;

/// The lock's name in the data folder.
const NAME: &str = "lock";
/// Between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// Why there is no lock.
#[derive(Debug, Error)]
pub enum LockError {
    /// The file cannot be made or locked.
    #[error("lock {path}")]
    Io {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process holds it.
    #[error("{path} is held by another process: a controller is running on this data, or starting or ending")]
    Held {
        /// The file.
        path: Utf8PathBuf,
    },
}

/// The right to write in a data folder; given up when dropped, or when the process ends in whatever way.
#[derive(Debug)]
pub struct DataLock {
    _file: Flock<File>,
}

impl DataLock {
    /// Takes the lock, waiting at most `wait_max` for another process to give it up.
    ///
    /// # Errors
    /// [`LockError`].
    pub async fn take(data_dir: &Utf8Path, wait_max: Duration) -> Result<Self, LockError> {
        let path = data_dir.join(NAME);
        let deadline = Instant::now() + wait_max;
        let failed = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(locked) => return Ok(Self { _file: locked }),
                Err((unlocked, Errno::EWOULDBLOCK)) if Instant::now() < deadline => file = unlocked,
                Err((_, Errno::EWOULDBLOCK)) => return Err(LockError::Held { path }),
                Err((_, errno)) => return Err(failed(errno.into())),
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }
}
