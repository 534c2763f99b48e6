//! The epoch of this start of the agent, and how the one before ended.
//!
//! `DIR/epoch` holds the epoch that runs or ran last and whether it ended with everything delivered. It is on disk
//! before the epoch's first report is made.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use muster_base::ErrorChain;
use muster_model::PreviousEpoch;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::warn;

use crate::durable;

/// Why an epoch could not be begun or ended.
#[derive(Debug, Error)]
pub enum EpochError {
    /// The file could not be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file could not be written.
    #[error("write {path}")]
    Write {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

#[derive(Debug, Serialize, Deserialize)]
struct EpochFile {
    epoch: u64,
    ended_cleanly: bool,
}

/// The running epoch.
#[derive(Debug)]
pub struct Epoch {
    path: Utf8PathBuf,
    number: u64,
    previous: Option<PreviousEpoch>,
}

impl Epoch {
    /// Begins a new epoch in the agent's folder.
    ///
    /// # Errors
    /// [`EpochError`] if the file can't be read or written, or there are no random numbers.
    pub fn begin(data_dir: &Utf8Path) -> Result<Self, EpochError> {
        let path = data_dir.join("epoch");
        let previous = read(&path)?;
        let epoch = Self {
            path,
            number: random_number()?,
            previous,
        };
        match epoch.write(false) {
            Err(EpochError::Write { path, source }) if is_the_disk(&source) => {
                // A full or failing disk must not keep anyone from watching the server.
                warn!(path = %path, error = %source, "epoch can't be kept, the next start will not name this one");
            }
            written => written?,
        }
        Ok(epoch)
    }

    /// Its number; random, never 0.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The epoch before, if there was one that is known.
    #[must_use]
    pub const fn previous(&self) -> Option<PreviousEpoch> {
        self.previous
    }

    /// Notes that everything of this epoch was delivered or kept. Where that can't be written down the epoch counts
    /// as ended uncleanly.
    pub fn end_cleanly(self) {
        if let Err(error) = self.write(true) {
            warn!(error = %ErrorChain(&error), "the end of the epoch can't be kept");
        }
    }

    fn write(&self, ended_cleanly: bool) -> Result<(), EpochError> {
        let file = EpochFile {
            epoch: self.number,
            ended_cleanly,
        };
        let json = serde_json::to_vec(&file).expect("an epoch is plain data");
        durable::write(&self.path, &json, durable::PUBLIC).map_err(|source| EpochError::Write {
            path: self.path.clone(),
            source,
        })
    }
}

/// Whether it is the disk's fault, and not that of whoever set the agent up.
fn is_the_disk(error: &io::Error) -> bool {
    let kinds = [
        io::ErrorKind::StorageFull,
        io::ErrorKind::QuotaExceeded,
        io::ErrorKind::ReadOnlyFilesystem,
    ];
    kinds.contains(&error.kind()) || error.raw_os_error() == Some(nix::libc::EIO)
}

/// A number for an epoch: random, never 0.
///
/// # Errors
/// [`EpochError::Random`] if the system gives none.
pub fn random_number() -> Result<u64, EpochError> {
    let mut bytes = [0_u8; 8];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| EpochError::Random)?;
    Ok(u64::from_le_bytes(bytes).max(1))
}

fn read(path: &Utf8Path) -> Result<Option<PreviousEpoch>, EpochError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(EpochError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    match serde_json::from_slice::<EpochFile>(&bytes) {
        Ok(file) => Ok(Some(PreviousEpoch {
            epoch: file.epoch,
            ended_cleanly: file.ended_cleanly,
        })),
        Err(error) => {
            // Better to go on without naming the epoch before than not to watch the server.
            warn!(path = %path, error = %error, "epoch file is damaged, the previous epoch is not known");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        (dir, path)
    }

    #[test]
    fn the_first_epoch_has_no_predecessor() {
        let (_dir, path) = folder();
        let epoch = Epoch::begin(&path).unwrap();
        assert_eq!(epoch.previous(), None);
        assert_ne!(epoch.number(), 0);
    }

    #[test]
    fn an_epoch_that_was_not_ended_ended_uncleanly() {
        let (_dir, path) = folder();
        let first = Epoch::begin(&path).unwrap().number();
        let second = Epoch::begin(&path).unwrap();
        assert_eq!(
            second.previous(),
            Some(PreviousEpoch {
                epoch: first,
                ended_cleanly: false
            })
        );
        let number = second.number();
        second.end_cleanly();
        let third = Epoch::begin(&path).unwrap();
        assert_eq!(
            third.previous(),
            Some(PreviousEpoch {
                epoch: number,
                ended_cleanly: true
            })
        );
    }

    #[test]
    fn a_damaged_file_does_not_keep_the_agent_from_starting() {
        let (_dir, path) = folder();
        std::fs::write(path.join("epoch"), b"{\"epoch\":").unwrap();
        assert_eq!(Epoch::begin(&path).unwrap().previous(), None);
    }
}
