//! The only way to the server that is watched: its files, programs, filesystems and clocks.
//!
//! [`Host::system`] is this machine; [`Host::under`] is a folder that looks like one, and then no program runs and
//! no system call asks about this machine (but for the time of day). Everything here may hang on a sick server, so
//! every call is bounded, and what hangs is not tried again until it answers: the outstanding list and the readers keep
//! the number of stuck threads bounded, and a collector that is given up leaves at most one behind.
//!
//! Nothing else in the agent may open a file of the server, start a program or ask for the time.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use muster_base::clock::WallClock;
use thiserror::Error;

mod clock;
mod files;
mod kept;
mod machine;
mod outstanding;
mod program;
mod readers;
mod statfs;
mod timex;

pub(crate) use files::text_of;
pub use files::{Files, Folder};
pub use machine::Machine;
pub(crate) use program::run_own;
pub use program::{ProgramCall, ProgramError, ProgramOutput};
pub use statfs::{Statfs, StatfsError};
pub use timex::Timex;

use outstanding::Outstanding;
use program::Programs;
use readers::{Readers, Unread};
use statfs::StatfsWorkers;

/// A read that has not answered for this long counts as stuck, and is not tried a second time.
const READ_STUCK_AFTER: Duration = Duration::from_secs(5);
/// The kernel's count of events about devices.
const DEVICE_EVENTS: &str = "/sys/kernel/uevent_seqnum";
/// Most reads that may be outstanding at once.
const READS_MAX: usize = 256;

/// Why the server could not be read.
#[derive(Debug, Error)]
pub enum HostError {
    /// A file or folder could not be read; that it does not exist is no error.
    #[error("read {path}")]
    Read {
        /// Where it is.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// A file or folder is larger than anything a collector needs.
    #[error("{path} is larger than {limit} bytes or entries")]
    TooLarge {
        /// Where it is.
        path: String,
        /// The bound.
        limit: usize,
    },
    /// An earlier read has not come back.
    #[error("an earlier read of {what} has not come back")]
    Stuck {
        /// What was read.
        what: String,
    },
    /// The folder given as root cannot be used.
    #[error("open {path} as root")]
    Root {
        /// The folder.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The folder's table of filesystem sizes is not one.
    #[error("parse {path}")]
    StatfsTable {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
    /// The read itself broke off.
    #[error("the read of {what} broke off")]
    Broken {
        /// What was read.
        what: String,
    },
}

/// The server that is watched. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    files: Files,
    programs: Programs,
    statfs: StatfsWorkers,
    reads: Outstanding,
    readers: Readers,
    clock: WallClock,
    boot_id: OnceLock<String>,
    is_system: bool,
}

impl Host {
    /// This machine.
    #[must_use]
    pub fn system() -> Self {
        Self::of(Inner {
            files: Files::system(),
            programs: Programs::system(),
            statfs: StatfsWorkers::system(),
            reads: Outstanding::new(READS_MAX),
            readers: Readers::default(),
            clock: WallClock::system(),
            boot_id: OnceLock::new(),
            is_system: true,
        })
    }

    /// A folder that holds `proc`, `sys`, `run`, `etc` and recorded program outputs.
    ///
    /// # Errors
    /// [`HostError`] if it is no folder or its `muster/statfs.json` does not parse.
    pub fn under(root: &Utf8Path) -> Result<Self, HostError> {
        let files = Files::under(root)?;
        let statfs = StatfsWorkers::recorded(&files, root)?;
        Ok(Self::of(Inner {
            programs: Programs::recorded(files.clone()),
            files,
            statfs,
            reads: Outstanding::new(READS_MAX),
            readers: Readers::default(),
            clock: WallClock::system(),
            boot_id: OnceLock::new(),
            is_system: false,
        }))
    }

    fn of(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The same, with programs really run, from these folders only. For tests with programs of their own.
    ///
    /// # Panics
    /// If the host was cloned before.
    #[must_use]
    pub fn with_programs_in(self, folders: Vec<Utf8PathBuf>) -> Self {
        self.changed(|inner| inner.programs = Programs::in_folders(folders))
    }

    /// The same, with another answer to `statfs`, given up after `watchdog`. For tests.
    ///
    /// # Panics
    /// If the host was cloned before.
    #[must_use]
    pub fn with_statfs(
        self,
        answer: impl Fn(&str) -> io::Result<Option<Statfs>> + Send + Sync + 'static,
        watchdog: Duration,
    ) -> Self {
        self.changed(|inner| inner.statfs = StatfsWorkers::new(Arc::new(answer), watchdog))
    }

    /// The same, with another clock. For tests.
    ///
    /// # Panics
    /// If the host was cloned before.
    #[must_use]
    pub fn with_clock(self, clock: WallClock) -> Self {
        self.changed(|inner| inner.clock = clock)
    }

    fn changed(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::get_mut(&mut self.inner).expect("a host is changed before it is shared"));
        self
    }

    /// Whether this is the machine itself and not a folder.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.inner.is_system
    }

    /// Does file work on a thread that may block. Work of the same name is refused while an earlier one hangs.
    ///
    /// # Errors
    /// [`HostError::Stuck`] if it hangs, [`HostError::Broken`] if the work panics, [`HostError::Read`] if there is no
    /// thread for it.
    pub async fn blocking<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce(&Files) -> T + Send + 'static,
    ) -> Result<T, HostError> {
        let Some(entered) = self.inner.reads.enter(what, READ_STUCK_AFTER) else {
            return Err(HostError::Stuck {
                what: what.to_owned(),
            });
        };
        let files = self.inner.files.for_reading();
        let reading = self.inner.readers.run(move || {
            let answer = work(&files);
            drop(entered);
            answer
        });
        reading.await.map_err(|unread| match unread {
            Unread::Panicked => HostError::Broken {
                what: what.to_owned(),
            },
            Unread::NoThread(source) => HostError::Read {
                path: what.to_owned(),
                source,
            },
        })
    }

    /// The text of a file below `/proc`; `None` if there is none.
    ///
    /// # Errors
    /// [`HostError`] if it is there and cannot be read, or an earlier read of it hangs.
    pub async fn read_proc(&self, path: &str) -> Result<Option<String>, HostError> {
        self.read(format!("/proc/{path}")).await
    }

    /// The text of a file below `/sys`; `None` if there is none.
    ///
    /// # Errors
    /// As [`Host::read_proc`].
    pub async fn read_sys(&self, path: &str) -> Result<Option<String>, HostError> {
        self.read(format!("/sys/{path}")).await
    }

    /// Writes a word to a file below `/sys`, where the kernel takes it as an order; `false` if there is no such file.
    ///
    /// # Errors
    /// [`HostError::Read`] if it is not taken, [`HostError::Stuck`] while an earlier write hangs.
    pub async fn write_sys(&self, path: &str, word: &'static str) -> Result<bool, HostError> {
        let path = format!("/sys/{path}");
        let what = format!("write to {path}");
        self.blocking(&what, move |files| files.write(&path, word))
            .await?
    }

    /// The text of a file below `/etc`; `None` if there is none.
    ///
    /// # Errors
    /// As [`Host::read_proc`].
    pub async fn read_etc(&self, path: &str) -> Result<Option<String>, HostError> {
        self.read(format!("/etc/{path}")).await
    }

    async fn read(&self, path: String) -> Result<Option<String>, HostError> {
        let wanted = path.clone();
        self.blocking(&path, move |files| files.text(&wanted)).await?
    }

    /// Sizes of the filesystem mounted there.
    ///
    /// # Errors
    /// [`StatfsError`] if it does not answer in time, an earlier question hangs, or it refuses.
    pub async fn statfs(&self, mount_point: &str) -> Result<Statfs, StatfsError> {
        self.inner.statfs.ask(mount_point).await
    }

    /// Runs a program to its end or its deadline.
    ///
    /// # Errors
    /// [`ProgramError`] if it is not installed, does not start, does not end in time, or says too much.
    pub async fn run(&self, call: &ProgramCall<'_>) -> Result<ProgramOutput, ProgramError> {
        self.inner.programs.run(call).await
    }

    /// Unix milliseconds now.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.inner.clock.now_ms()
    }

    /// The server's clocks and the id of its boot; what cannot be read is 0 or empty.
    #[must_use]
    pub fn clock(&self) -> muster_model::Clock {
        clock::read(
            &self.inner.files,
            &self.inner.clock,
            self.inner.is_system,
            self.boot_id(),
        )
    }

    /// Read once on this machine: it is another one only when all that runs has ended.
    fn boot_id(&self) -> String {
        if let Some(known) = self.inner.boot_id.get() {
            return known.clone();
        }
        let boot_id = self.inner.files.word(clock::BOOT_ID).unwrap_or_default();
        if self.inner.is_system && !boot_id.is_empty() {
            // Another thread has read the same.
            let _ = self.inner.boot_id.set(boot_id.clone());
        }
        boot_id
    }

    /// How many events about devices the kernel has sent: of each that comes, goes, or gets another content
    /// (Documentation/ABI/testing/sysfs-kernel-uevents). A number in the kernel's own memory, for which no driver is asked:
    /// to have a thread read it would take longer than to read it. `None` where it is not told.
    #[must_use]
    pub fn device_events(&self) -> Option<u64> {
        self.inner.files.number(DEVICE_EVENTS)
    }

    /// How the kernel disciplines its clock; `None` for a folder, and where asking is refused.
    #[must_use]
    pub fn timex(&self) -> Option<Timex> {
        self.inner.is_system.then(timex::read)?
    }

    /// Bytes of a page of memory: asked of this machine; below a root the 4 KiB of most architectures, unless its
    /// kernel names one of those that may have others.
    pub async fn page_bytes(&self) -> Option<u64> {
        if self.inner.is_system {
            return nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
                .ok()
                .flatten()
                .and_then(|bytes| u64::try_from(bytes).ok());
        }
        let architecture = self.read_proc("sys/kernel/arch").await.ok().flatten();
        let is_uncertain = architecture.is_some_and(|name| {
            ["aarch64", "ppc64", "ppc64le", "mips64", "loongarch64"].contains(&name.trim())
        });
        (!is_uncertain).then_some(4096)
    }

    /// A moment to measure durations from.
    #[must_use]
    pub fn instant(&self) -> Instant {
        Instant::now()
    }

    /// What only system calls tell of the machine; nothing for a folder.
    pub async fn machine(&self) -> Machine {
        if !self.inner.is_system {
            return Machine::default();
        }
        self.blocking("machine facts", |_| machine::read())
            .await
            .unwrap_or_default()
    }
}
