//! Files that stay open between collections, because the kernel says anew what is in them whenever they are read from
//! their beginning: opening one takes many times as long as reading it.
//!
//! Only files of procfs and sysfs themselves are kept, for those promise it (sysfs.rst: a `pread` at 0 asks the driver
//! again); what another filesystem shows in their place may remember what it said. A few of both are there as long as the
//! kernel runs. Any other file of sysfs is used again only where its path still leads to the same folder: an interface or
//! disk that got another's name has another one. Whoever reads a file has it alone meanwhile, and one that can't be read is
//! closed, so that its path is asked.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use nix::sys::stat::FileStat;
use nix::sys::statfs::{FsType, PROC_SUPER_MAGIC, SYSFS_MAGIC, fstatfs};

/// Most files of sysfs that are open: some thirty of each network interface are read. A service may usually have 1,024.
const FILES_MAX: usize = 512;
/// A file that was not used for so long makes room for another.
const UNUSED_MAX: Duration = Duration::from_secs(120);
/// How often room is looked for at most: to look through all files for each that is offered costs more than it gives.
const ROOM_EVERY: Duration = Duration::from_secs(10);

/// Files that are kept and are there as long as the kernel runs, sorted.
const LASTING: [&str; 19] = [
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/net/netstat",
    "/proc/net/snmp",
    "/proc/net/snmp6",
    "/proc/net/sockstat",
    "/proc/net/sockstat6",
    "/proc/net/softnet_stat",
    "/proc/partitions",
    "/proc/pressure/cpu",
    "/proc/pressure/io",
    "/proc/pressure/memory",
    "/proc/stat",
    "/proc/sys/fs/file-nr",
    "/proc/sys/kernel/hostname",
    "/proc/vmstat",
    "/sys/kernel/uevent_seqnum",
];

/// What tells one folder from another as long as the machine runs: number of its filesystem, and its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FolderId(u64, u64);

impl FolderId {
    #[expect(
        clippy::useless_conversion,
        reason = "these are narrower types on other architectures"
    )]
    pub(super) fn of(found: &FileStat) -> Self {
        Self(u64::from(found.st_dev), u64::from(found.st_ino))
    }
}

/// A file that nobody reads just now.
#[derive(Debug)]
pub(super) struct KeptFile {
    pub(super) file: File,
    folder: Option<FolderId>,
    used: Instant,
}

/// The files.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Files>);

#[derive(Debug, Default)]
struct Files {
    by_path: HashMap<String, KeptFile, RandomState>,
    /// When room was last looked for.
    looked: Option<Instant>,
}

impl Files {
    /// Whether one more may be kept. Those that last are few, are read most often and take long to make: there is always
    /// room for them.
    fn has_room(&self, folder: Option<FolderId>) -> bool {
        folder.is_none() || self.by_path.len() < FILES_MAX + LASTING.len()
    }

    /// Closes what was not used for long, if that has not been looked for a moment ago.
    fn make_room(&mut self, now: Instant) {
        let since = |then| now.saturating_duration_since(then);
        if self.looked.is_some_and(|looked| since(looked) < ROOM_EVERY) {
            return;
        }
        self.looked = Some(now);
        self.by_path.retain(|_, file| since(file.used) < UNUSED_MAX);
    }
}

impl Kept {
    /// Whether a file is one of those that are kept whatever folder its path leads to.
    pub(super) fn is_lasting(path: &str) -> bool {
        LASTING.binary_search(&path).is_ok()
    }

    /// Takes the file of this path, which is in this folder; it is closed unless it is given back.
    pub(super) fn take(&self, path: &str, folder: Option<FolderId>) -> Option<(String, KeptFile)> {
        let found = self.lock().by_path.remove_entry(path)?;
        (found.1.folder == folder).then_some(found)
    }

    /// Gives back a file that was taken.
    pub(super) fn give_back(&self, path: String, mut file: KeptFile) {
        file.used = Instant::now();
        self.lock().by_path.insert(path, file);
    }

    /// Offers a file that was opened and read.
    pub(super) fn offer(&self, path: &str, folder: Option<FolderId>, file: File) {
        let used = Instant::now();
        {
            let mut files = self.lock();
            if !files.has_room(folder) {
                files.make_room(used);
            }
            if !files.has_room(folder) {
                return;
            }
        }
        let kind = fstatfs(&file).map(|found| found.filesystem_type());
        let wanted: FsType = match path.starts_with("/sys/") {
            true => SYSFS_MAGIC,
            false => PROC_SUPER_MAGIC,
        };
        if kind != Ok(wanted) {
            return;
        }
        let mut files = self.lock();
        // Another may have taken the room meanwhile.
        if files.has_room(folder) {
            files
                .by_path
                .insert(path.to_owned(), KeptFile { file, folder, used });
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().by_path.len()
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        // No code panics between two states that do not fit each other.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted() {
        assert!(LASTING.is_sorted());
        assert!(Kept::is_lasting("/proc/vmstat") && !Kept::is_lasting("/proc/1/mountinfo"));
    }

    #[test]
    fn a_file_is_used_again_only_in_the_folder_it_was_found_in() {
        let kept = Kept::default();
        let (first, other) = (Some(FolderId(1, 1)), Some(FolderId(1, 2)));
        let offer = || {
            let file = File::open("/sys/class/net/lo/mtu").unwrap();
            kept.offer("/sys/class/net/lo/mtu", first, file);
        };
        offer();
        let (path, file) = kept.take("/sys/class/net/lo/mtu", first).unwrap();
        assert!(
            kept.take("/sys/class/net/lo/mtu", first).is_none(),
            "it is in use"
        );
        kept.give_back(path, file);
        assert!(kept.take("/sys/class/net/lo/mtu", other).is_none());
        assert_eq!(kept.len(), 0, "it is closed");
    }

    #[test]
    fn no_more_files_are_kept_than_may_be_and_none_of_another_filesystem() {
        let kept = Kept::default();
        for number in 0..FILES_MAX + LASTING.len() + 10 {
            let file = File::open("/sys/class/net/lo/mtu").unwrap();
            kept.offer(&format!("/sys/{number}"), Some(FolderId(1, 1)), file);
        }
        assert_eq!(kept.len(), FILES_MAX + LASTING.len());
        // For the few that last there is room all the same.
        kept.offer("/proc/stat", None, File::open("/proc/stat").unwrap());
        assert!(kept.take("/proc/stat", None).is_some());
        let kept = Kept::default();
        let events = "/sys/kernel/uevent_seqnum";
        for (path, file) in [
            ("/proc/stat", tempfile::tempfile().unwrap()),
            (events, File::open("/proc/stat").unwrap()),
            ("/proc/stat", File::open(events).unwrap()),
        ] {
            kept.offer(path, None, file);
            assert_eq!(kept.len(), 0, "{path}");
        }
        kept.offer(events, None, File::open(events).unwrap());
        assert!(kept.take(events, None).is_some());
    }
}
