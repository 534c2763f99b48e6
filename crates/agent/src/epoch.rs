//! The epoch of this start of the agent, and how the one before ended.
//!
//! `DIR/epoch` holds the epoch that runs or ran last, whether it ended with everything delivered or kept, and the
//! epochs before it that ended without a word as long as the controller may not know that: an agent that dies again
//! before it could tell must not forget what is to be told. It is on disk before the epoch's first report is made.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use muster_base::ErrorChain;
use muster_model::PreviousEpoch;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::warn;

use crate::durable;

/// Most unclean ends that are remembered; of a longer row of deaths without a controller the oldest are forgotten.
const UNTOLD_MAX: usize = 64;

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
    /// The youngest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    untold: Vec<u64>,
}

/// The running epoch.
#[derive(Debug)]
pub struct Epoch {
    path: Utf8PathBuf,
    number: u64,
    previous: Option<PreviousEpoch>,
    untold: Vec<u64>,
}

/// Notes on disk that the controller knows how all earlier epochs ended.
#[derive(Debug)]
pub struct Teller {
    path: Utf8PathBuf,
    number: u64,
}

impl Teller {
    /// Forgets earlier epochs. Not being able to only means that they are told once more.
    pub fn told(&self) {
        if let Err(error) = write(&self.path, self.number, false, &[]) {
            warn!(error = %ErrorChain(&error), "earlier ends can't be forgotten");
        }
    }
}

impl Epoch {
    /// Begins a new epoch in the agent's folder.
    ///
    /// # Errors
    /// [`EpochError`] if the file can't be read or written, or there are no random numbers.
    pub fn begin(data_dir: &Utf8Path) -> Result<Self, EpochError> {
        let path = data_dir.join("epoch");
        let (previous, untold) = read(&path)?;
        let epoch = Self {
            path,
            number: random_number()?,
            previous,
            untold,
        };
        // Should this epoch die before it could tell, the next one has to.
        let unclean = previous.filter(|previous| !previous.ended_cleanly);
        let unclean = unclean.map(|previous| previous.epoch);
        let untold: Vec<u64> = unclean
            .into_iter()
            .chain(epoch.untold.iter().copied())
            .take(UNTOLD_MAX)
            .collect();
        match write(&epoch.path, epoch.number, false, &untold) {
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

    /// Epochs before the previous one that ended without a word, and of which the controller may not know.
    pub fn earlier(&self) -> impl Iterator<Item = PreviousEpoch> + '_ {
        self.untold.iter().map(|epoch| PreviousEpoch {
            epoch: *epoch,
            ended_cleanly: false,
        })
    }

    /// What notes that the controller knows of all of them.
    #[must_use]
    pub fn teller(&self) -> Teller {
        Teller {
            path: self.path.clone(),
            number: self.number,
        }
    }

    /// Notes that everything of this epoch was delivered or kept. Unless `are_ends_told`, earlier epochs stay to be
    /// told. Where that can't be written down the epoch counts as ended uncleanly.
    pub fn end_cleanly(self, are_ends_told: bool) {
        let unclean = self.previous.filter(|previous| !previous.ended_cleanly);
        let untold = unclean.map(|previous| previous.epoch).into_iter();
        let untold = untold.chain(self.untold).filter(|_| !are_ends_told);
        let untold: Vec<u64> = untold.take(UNTOLD_MAX).collect();
        if let Err(error) = write(&self.path, self.number, true, &untold) {
            warn!(error = %ErrorChain(&error), "the end of the epoch can't be kept");
        }
    }
}

fn write(path: &Utf8Path, epoch: u64, ended_cleanly: bool, untold: &[u64]) -> Result<(), EpochError> {
    let file = EpochFile {
        epoch,
        ended_cleanly,
        untold: untold.to_vec(),
    };
    let json = serde_json::to_vec(&file).expect("an epoch is plain data");
    durable::write(path, &json, durable::PUBLIC).map_err(|source| EpochError::Write {
        path: path.to_owned(),
        source,
    })
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

fn read(path: &Utf8Path) -> Result<(Option<PreviousEpoch>, Vec<u64>), EpochError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, Vec::new())),
        Err(source) => {
            return Err(EpochError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    match serde_json::from_slice::<EpochFile>(&bytes) {
        Ok(file) => {
            let previous = PreviousEpoch {
                epoch: file.epoch,
                ended_cleanly: file.ended_cleanly,
            };
            Ok((Some(previous), file.untold))
        }
        Err(error) => {
            // Better to go on without naming the epoch before than not to watch the server.
            warn!(path = %path, error = %error, "epoch file is damaged, the previous epoch is not known");
            Ok((None, Vec::new()))
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
        second.end_cleanly(true);
        let third = Epoch::begin(&path).unwrap();
        assert_eq!(
            third.previous(),
            Some(PreviousEpoch {
                epoch: number,
                ended_cleanly: true
            })
        );
    }

    /// D1
    #[test]
    fn an_agent_that_dies_before_it_could_tell_of_a_death_still_tells_of_it() {
        let (_dir, path) = folder();
        let numbers: Vec<u64> = (0..3).map(|_| Epoch::begin(&path).unwrap().number()).collect();
        let fourth = Epoch::begin(&path).unwrap();
        let unclean = |epoch| PreviousEpoch {
            epoch,
            ended_cleanly: false,
        };
        assert_eq!(fourth.previous(), Some(unclean(numbers[2])));
        assert_eq!(
            fourth.earlier().collect::<Vec<_>>(),
            [unclean(numbers[1]), unclean(numbers[0])]
        );
        fourth.teller().told();
        let number = fourth.number();
        let fifth = Epoch::begin(&path).unwrap();
        assert_eq!(fifth.previous(), Some(unclean(number)));
        assert_eq!(fifth.earlier().count(), 0);
        // An end in order says nothing of those before.
        fifth.end_cleanly(false);
        let sixth = Epoch::begin(&path).unwrap();
        assert!(sixth.previous().is_some_and(|previous| previous.ended_cleanly));
        assert_eq!(sixth.earlier().collect::<Vec<_>>(), [unclean(number)]);
    }

    #[test]
    fn a_row_of_deaths_is_remembered_up_to_a_bound() {
        let (_dir, path) = folder();
        for _ in 0..UNTOLD_MAX + 10 {
            Epoch::begin(&path).unwrap();
        }
        assert_eq!(Epoch::begin(&path).unwrap().earlier().count(), UNTOLD_MAX);
    }

    #[test]
    fn a_damaged_file_does_not_keep_the_agent_from_starting() {
        let (_dir, path) = folder();
        std::fs::write(path.join("epoch"), b"{\"epoch\":").unwrap();
        assert_eq!(Epoch::begin(&path).unwrap().previous(), None);
    }
}
