//! A disk in memory that forgets what was not synced when its power goes, and fails when it is told to.
//!
//! Names are durable when the call that made them returns, which is what the seam promises. Content is durable after
//! a sync that succeeded; a sync that fails loses what it was for, and a later one does not bring it back.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use muster_agent::spool::{Files, OpenFile, Space};
use nix::errno::Errno;

use crate::sabotage::Sabotage;
use crate::trace::Trace;

/// The unit that a disk writes whole.
const SECTOR_BYTES: usize = 512;
const TOTAL_BYTES: u64 = 1 << 30;

/// What fails now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) write: Option<Errno>,
    pub(crate) sync: Option<Errno>,
    pub(crate) create: Option<Errno>,
    pub(crate) read: Option<Errno>,
    /// The file system has no room left.
    pub(crate) is_full: bool,
}

#[derive(Debug, Default)]
struct FileState {
    /// What the system shows.
    now: Vec<u8>,
    /// What is on the platter.
    durable: Vec<u8>,
    /// Written since the last sync: where, and how long.
    unsynced: Vec<(usize, usize)>,
}

struct Inner {
    files: BTreeMap<Utf8PathBuf, Arc<Mutex<FileState>>>,
    faults: Faults,
    /// Operations until the power goes.
    ops_left: Option<u32>,
    is_dead: bool,
    sabotage: Option<Sabotage>,
    random: fastrand::Rng,
    trace: Trace,
}

/// Clones share one disk.
#[derive(Clone)]
pub(crate) struct SimDisk(Arc<Mutex<Inner>>);

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimDisk")
    }
}

impl SimDisk {
    pub(crate) fn new(seed: u64, trace: Trace, sabotage: Option<Sabotage>) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            files: BTreeMap::new(),
            faults: Faults::default(),
            ops_left: None,
            is_dead: false,
            sabotage,
            random: fastrand::Rng::with_seed(seed),
            trace,
        })))
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
    }

    /// The power goes in the middle of the operation after `ops` more.
    pub(crate) fn die_after(&self, ops: u32) {
        self.lock().ops_left = Some(ops);
    }

    /// The power stays on.
    pub(crate) fn die_never(&self) {
        self.lock().ops_left = None;
    }

    /// Whether the power went; it stays off until [`SimDisk::power_loss`] was called.
    pub(crate) fn is_dead(&self) -> bool {
        self.lock().is_dead
    }

    /// Forgets what was not synced, or a part of it, as disks do, and is there again.
    pub(crate) fn power_loss(&self) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.is_dead = false;
        inner.ops_left = None;
        for file in inner.files.values() {
            let mut file = lock(file);
            let mut content = std::mem::take(&mut file.durable);
            for (start, length) in std::mem::take(&mut file.unsynced) {
                let chance = inner.random.u8(..4);
                // Lost, kept, or kept in part: whole sectors, in any order.
                for sector in (start / SECTOR_BYTES)..=((start + length) / SECTOR_BYTES) {
                    let is_kept = match chance {
                        0 => false,
                        1 => true,
                        _ => inner.random.bool(),
                    };
                    let from = start.max(sector * SECTOR_BYTES);
                    let to = (start + length)
                        .min((sector + 1) * SECTOR_BYTES)
                        .min(file.now.len());
                    if is_kept && from < to {
                        let grown = content.len().max(to);
                        content.resize(grown, 0);
                        content[from..to].copy_from_slice(&file.now[from..to]);
                    }
                }
            }
            file.now.clone_from(&content);
            file.durable = content;
        }
    }

    /// Flips one bit somewhere in the files whose name satisfies `is_wanted`. Returns whether there was any.
    pub(crate) fn flip(&self, is_wanted: impl Fn(&Utf8Path) -> bool) -> bool {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let wanted: Vec<_> = inner
            .files
            .iter()
            .filter(|(path, file)| is_wanted(path) && !lock(file).now.is_empty())
            .map(|(_, file)| Arc::clone(file))
            .collect();
        if wanted.is_empty() {
            return false;
        }
        let mut file = lock(&wanted[inner.random.usize(..wanted.len())]);
        let used = file.now.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
        let (at, bit) = (inner.random.usize(..used), inner.random.u8(..8));
        file.now[at] ^= 1 << bit;
        if let Some(byte) = file.durable.get_mut(at) {
            *byte ^= 1 << bit;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.0)
    }

    /// Counts an operation that changes the disk; an error if the power goes with it.
    fn op(&self, what: &str, path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.lock();
        inner.trace.bytes(what.as_bytes());
        inner.trace.bytes(path.as_str().as_bytes());
        inner.trace.bytes(bytes);
        inner
            .trace
            .detail(format_args!("{what} {path}, {} bytes", bytes.len()));
        if let Some(left) = inner.ops_left.as_mut() {
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                None => inner.is_dead = true,
            }
        }
        inner.alive()
    }

    fn file(&self, path: &Utf8Path) -> io::Result<Arc<Mutex<FileState>>> {
        let inner = self.lock();
        let file = inner.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::clone(file))
    }

    fn put(&self, path: &Utf8Path, content: Vec<u8>) -> Arc<Mutex<FileState>> {
        let file = Arc::new(Mutex::new(FileState {
            durable: content.clone(),
            now: content,
            unsynced: Vec::new(),
        }));
        self.lock().files.insert(path.to_owned(), Arc::clone(&file));
        file
    }
}

impl Inner {
    fn alive(&self) -> io::Result<()> {
        match self.is_dead {
            true => Err(Errno::EIO.into()),
            false => Ok(()),
        }
    }

    fn check(&self, fault: Option<Errno>) -> io::Result<()> {
        self.alive()?;
        fault.map_or(Ok(()), |errno| Err(errno.into()))
    }

    fn free_bytes(&self) -> u64 {
        let used: usize = self.files.values().map(|file| lock(file).now.len()).sum();
        if self.faults.is_full {
            return 0;
        }
        TOTAL_BYTES.saturating_sub(used as u64)
    }

    fn room(&self) -> io::Result<()> {
        match self.faults.is_full {
            true => Err(Errno::ENOSPC.into()),
            false => Ok(()),
        }
    }
}

impl Files for SimDisk {
    fn list(&self, dir: &Utf8Path) -> io::Result<Vec<String>> {
        let inner = self.lock();
        inner.check(None)?;
        if inner.sabotage == Some(Sabotage::ForgetSpool) {
            return Ok(Vec::new());
        }
        let below = inner.files.keys().filter_map(|path| path.strip_prefix(dir).ok());
        let mut names: Vec<String> = below
            .filter_map(|path| Some(path.components().next()?.as_str().to_owned()))
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn read(&self, path: &Utf8Path) -> io::Result<Vec<u8>> {
        let inner = self.lock();
        inner.check(inner.faults.read)?;
        drop(inner);
        let file = self.file(path)?;
        let now = lock(&file).now.clone();
        Ok(now)
    }

    fn read_at(&self, path: &Utf8Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let (bytes, start) = (self.read(path)?, usize::try_from(offset).unwrap());
        let part = start.checked_add(length).and_then(|end| bytes.get(start..end));
        Ok(part.ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
    }

    fn create_dir(&self, dir: &Utf8Path) -> io::Result<()> {
        self.op("mkdir", dir, &[])?;
        let inner = self.lock();
        inner.room()?;
        inner.check(inner.faults.create)
    }

    fn create(&self, path: &Utf8Path, reserve_bytes: u64, head: &[u8]) -> io::Result<Box<dyn OpenFile>> {
        self.op("create", path, head)?;
        let inner = self.lock();
        inner.room()?;
        inner.check(inner.faults.create)?;
        drop(inner);
        let mut content = head.to_vec();
        content.resize(content.len().max(usize::try_from(reserve_bytes).unwrap()), 0);
        Ok(Box::new(SimFile {
            disk: self.clone(),
            path: path.to_owned(),
            file: self.put(path, content),
        }))
    }

    fn recycle(&self, from: &Utf8Path, to: &Utf8Path, head: &[u8]) -> io::Result<Box<dyn OpenFile>> {
        self.op("recycle", from, head)?;
        let inner = self.lock();
        inner.check(inner.faults.create)?;
        drop(inner);
        let file = self.file(from)?;
        {
            let mut file = lock(&file);
            let file = &mut *file;
            for content in [&mut file.now, &mut file.durable] {
                let grown = content.len().max(head.len());
                content.resize(grown, 0);
                content[..head.len()].copy_from_slice(head);
            }
        }
        // The power may go when the beginning is new and the name is not.
        self.op("rename", to, &[])?;
        let mut inner = self.lock();
        inner.files.remove(from);
        inner.files.insert(to.to_owned(), Arc::clone(&file));
        drop(inner);
        Ok(Box::new(SimFile {
            disk: self.clone(),
            path: to.to_owned(),
            file,
        }))
    }

    fn replace(&self, path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
        self.op("replace", path, bytes)?;
        let inner = self.lock();
        inner.room()?;
        inner.check(inner.faults.create)?;
        drop(inner);
        self.put(path, bytes.to_vec());
        Ok(())
    }

    fn truncate(&self, path: &Utf8Path, length: u64) -> io::Result<()> {
        self.op("truncate", path, &length.to_le_bytes())?;
        let file = self.file(path)?;
        let (mut file, length) = (lock(&file), usize::try_from(length).unwrap());
        file.now.truncate(length);
        // Nobody waits for it, so it may be undone by a power loss: then the rest is there again.
        if self.lock().random.bool() {
            file.durable.truncate(length);
        }
        Ok(())
    }

    fn remove(&self, path: &Utf8Path) -> io::Result<()> {
        self.op("remove", path, &[])?;
        self.lock().files.remove(path);
        Ok(())
    }

    fn remove_dir(&self, dir: &Utf8Path) -> io::Result<()> {
        let doomed: Vec<_> = {
            let inner = self.lock();
            let below = inner.files.keys().filter(|path| path.starts_with(dir));
            below.cloned().collect()
        };
        // One by one, so that the power may go half way.
        for path in doomed {
            self.remove(&path)?;
        }
        self.op("rmdir", dir, &[])
    }

    fn space(&self, _dir: &Utf8Path) -> io::Result<Space> {
        Ok(Space {
            free_bytes: self.lock().free_bytes(),
            total_bytes: TOTAL_BYTES,
        })
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    path: Utf8PathBuf,
    file: Arc<Mutex<FileState>>,
}

impl OpenFile for SimFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let alive = self.disk.op("write", &self.path, bytes);
        let (fault, part) = {
            let mut inner = self.disk.lock();
            let grows = lock(&self.file).now.len() < start + bytes.len();
            let full = (inner.faults.is_full && grows).then_some(Errno::ENOSPC);
            (inner.faults.write.or(full), inner.random.usize(..=bytes.len()))
        };
        let failed = alive.and(fault.map_or(Ok(()), |errno| Err(io::Error::from(errno))));
        // A write that fails may have written a part all the same.
        let written = if failed.is_err() { part } else { bytes.len() };
        let mut file = lock(&self.file);
        let grown = file.now.len().max(start + written);
        file.now.resize(grown, 0);
        file.now[start..start + written].copy_from_slice(&bytes[..written]);
        file.unsynced.push((start, written));
        failed
    }

    fn sync(&mut self) -> io::Result<()> {
        let alive = self.disk.op("sync", &self.path, &[]);
        let (fault, sabotage) = {
            let inner = self.disk.lock();
            (inner.faults.sync, inner.sabotage)
        };
        let mut file = lock(&self.file);
        alive?;
        if sabotage == Some(Sabotage::SyncNothing) {
            return Ok(());
        }
        if let Some(errno) = fault {
            // The system has told of it once; what was to be written is clean for it now, and will never be.
            file.unsynced.clear();
            return Err(errno.into());
        }
        for (start, length) in std::mem::take(&mut file.unsynced) {
            let end = (start + length).min(file.now.len());
            let grown = file.durable.len().max(end);
            file.durable.resize(grown, 0);
            let part = file.now[start..end].to_vec();
            file.durable[start..end].copy_from_slice(&part);
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
