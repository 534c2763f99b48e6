//! Sizes of mounted filesystems, asked on threads of their own because an answer may never come.
//!
//! A dead NFS server makes statfs(2) sleep unkillably. So questions have threads of their own, of which one answers all
//! that do not sleep, and each has a watchdog; a mount that did not answer is not asked again while its thread sleeps, at
//! most [`WORKERS`] questions run at once, and with [`STUCK_MAX`] sleeping threads no further mount is asked at all.
//! Threads and not the runtime's blocking pool, because that waits for them when the agent ends.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8Path;
use nix::sys::statvfs::{FsFlags, statvfs};
use serde::Deserialize;
use thiserror::Error;
use tokio::sync::Semaphore;

use super::outstanding::Outstanding;
use super::readers::{Readers, Unread};
use super::{Files, HostError};

/// Questions asked at once: as many as a thread's answers are told together, and one thread answers all that do not
/// sleep.
const WORKERS: usize = 16;
/// Most mounts that may hang before none is asked any more.
const STUCK_MAX: usize = 64;
/// When a question is given up.
const WATCHDOG: Duration = Duration::from_secs(5);
/// The part of that after which another thread asks what waits behind a question.
const PATIENCE_PART: u32 = 50;
/// The recorded answers, below a root.
const TABLE_PATH: &str = "muster/statfs.json";

/// Sizes of a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statfs {
    /// The unit of the block counts, in bytes.
    pub block_bytes: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks that are free, what is kept for root included.
    pub blocks_free: u64,
    /// Blocks that a normal user may still fill.
    pub blocks_available: u64,
    /// Inodes in all; 0 if the filesystem does not count them.
    pub files: u64,
    /// Inodes still free.
    pub files_free: u64,
    /// Whether writing is refused.
    pub is_read_only: bool,
}

/// Why there are no sizes.
#[derive(Debug, Error)]
pub enum StatfsError {
    /// It did not answer, now or at an earlier time.
    #[error("the filesystem does not answer")]
    Stuck,
    /// Nothing is recorded for it.
    #[error("nothing is recorded for this mount point")]
    NotRecorded,
    /// It refused.
    #[error("ask the filesystem for its size")]
    Refused {
        /// Why.
        source: io::Error,
    },
}

type Answer = dyn Fn(&str) -> io::Result<Option<Statfs>> + Send + Sync;

/// The threads that ask.
pub(super) struct StatfsWorkers {
    answer: Arc<Answer>,
    watchdog: Duration,
    slots: Semaphore,
    threads: Readers,
    outstanding: Outstanding,
}

impl StatfsWorkers {
    pub(super) fn new(answer: Arc<Answer>, watchdog: Duration) -> Self {
        Self {
            answer,
            watchdog,
            slots: Semaphore::new(WORKERS),
            threads: Readers::new("statfs", watchdog / PATIENCE_PART),
            outstanding: Outstanding::new(STUCK_MAX),
        }
    }

    /// Asks this machine.
    pub(super) fn system() -> Self {
        Self::new(
            Arc::new(|mount_point| ask_kernel(mount_point).map(Some)),
            WATCHDOG,
        )
    }

    /// Answers from the table below `root`, whose files these are.
    pub(super) fn recorded(files: &Files, root: &Utf8Path) -> Result<Self, HostError> {
        let table: BTreeMap<String, Recorded> = match files.bytes(&format!("/{TABLE_PATH}"))? {
            None => BTreeMap::new(),
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|source| HostError::StatfsTable {
                path: root.join(TABLE_PATH),
                source,
            })?,
        };
        let answer = move |mount_point: &str| Ok(table.get(mount_point).map(Recorded::statfs));
        Ok(Self::new(Arc::new(answer), WATCHDOG))
    }

    /// Asks one mount, waiting for a free slot and then for the watchdog at most.
    pub(super) async fn ask(&self, mount_point: &str) -> Result<Statfs, StatfsError> {
        // The slot is given back when the watchdog barks: a sleeping thread must not keep others from being asked.
        let _slot = self.slots.acquire().await.map_err(|_| StatfsError::Stuck)?;
        let entered = self
            .outstanding
            .enter(mount_point, Duration::ZERO)
            .ok_or(StatfsError::Stuck)?;
        let (answer, asked) = (Arc::clone(&self.answer), mount_point.to_owned());
        let asking = self.threads.run(move || {
            let answered = answer(&asked);
            drop(entered);
            answered
        });
        match tokio::time::timeout(self.watchdog, asking).await {
            Err(_) | Ok(Err(Unread::Panicked)) => Err(StatfsError::Stuck),
            Ok(Err(Unread::NoThread(source)) | Ok(Err(source))) => Err(StatfsError::Refused { source }),
            Ok(Ok(Ok(None))) => Err(StatfsError::NotRecorded),
            Ok(Ok(Ok(Some(sizes)))) => Ok(sizes),
        }
    }
}

impl fmt::Debug for StatfsWorkers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatfsWorkers")
            .field("watchdog", &self.watchdog)
            .finish_non_exhaustive()
    }
}

/// Counts are in units of the fragment size, as statvfs(3) says and df(1) does.
#[expect(
    clippy::useless_conversion,
    reason = "these are narrower types on other architectures"
)]
fn ask_kernel(mount_point: &str) -> io::Result<Statfs> {
    let answered = statvfs(mount_point)?;
    Ok(Statfs {
        block_bytes: u64::from(answered.fragment_size()),
        blocks: u64::from(answered.blocks()),
        blocks_free: u64::from(answered.blocks_free()),
        blocks_available: u64::from(answered.blocks_available()),
        files: u64::from(answered.files()),
        files_free: u64::from(answered.files_free()),
        is_read_only: answered.flags().contains(FsFlags::ST_RDONLY),
    })
}

/// One answer of the table, under the names of statfs(2).
#[derive(Debug, Deserialize)]
struct Recorded {
    bsize: u64,
    blocks: u64,
    bfree: u64,
    bavail: u64,
    #[serde(default)]
    files: u64,
    #[serde(default)]
    ffree: u64,
    #[serde(default)]
    readonly: bool,
}

impl Recorded {
    fn statfs(&self) -> Statfs {
        Statfs {
            block_bytes: self.bsize,
            blocks: self.blocks,
            blocks_free: self.bfree,
            blocks_available: self.bavail,
            files: self.files,
            files_free: self.ffree,
            is_read_only: self.readonly,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    const SIZES: Statfs = Statfs {
        block_bytes: 1,
        blocks: 2,
        blocks_free: 1,
        blocks_available: 1,
        files: 0,
        files_free: 0,
        is_read_only: false,
    };

    #[tokio::test]
    async fn a_hung_mount_is_asked_once_and_delays_no_other() {
        let (release_tx, release_rx) = mpsc::channel::<()>();
        let release_rx = std::sync::Mutex::new(release_rx);
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let answer = move |mount_point: &str| {
            if mount_point == "/hung" {
                counter.fetch_add(1, Ordering::SeqCst);
                let _ = release_rx.lock().unwrap().recv();
            }
            Ok(Some(SIZES))
        };
        let workers = StatfsWorkers::new(Arc::new(answer), Duration::from_millis(500));
        assert!(matches!(workers.ask("/hung").await, Err(StatfsError::Stuck)));
        assert!(matches!(workers.ask("/hung").await, Err(StatfsError::Stuck)));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert!(workers.ask("/").await.is_ok());
        drop(release_tx);
        while workers.ask("/hung").await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn this_machines_root_has_a_size() {
        let sizes = ask_kernel("/").unwrap();
        assert!(0 < sizes.blocks && 0 < sizes.block_bytes);
    }
}
