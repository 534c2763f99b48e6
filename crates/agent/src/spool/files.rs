//! What the spool asks of a file system, so that tests can let any of it fail.
//!
//! Every call that makes or removes a name returns only when the name is on disk as well.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};

use camino::Utf8Path;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use crate::durable;

/// Room of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What the agent may still take.
    pub free_bytes: u64,
    /// All there is.
    pub total_bytes: u64,
}

/// File operations of the spool.
pub trait Files: Send + Sync + Debug {
    /// Names in a folder; none if there is no such folder.
    ///
    /// # Errors
    /// As the system says.
    fn list(&self, dir: &Utf8Path) -> io::Result<Vec<String>>;
    /// A whole file.
    ///
    /// # Errors
    /// As the system says.
    fn read(&self, path: &Utf8Path) -> io::Result<Vec<u8>>;
    /// `length` bytes from `offset` on.
    ///
    /// # Errors
    /// As the system says; `UnexpectedEof` if the file is shorter.
    fn read_at(&self, path: &Utf8Path, offset: u64, length: usize) -> io::Result<Vec<u8>>;
    /// Makes a folder, and those above it that are missing.
    ///
    /// # Errors
    /// As the system says.
    fn create_dir(&self, dir: &Utf8Path) -> io::Result<()>;
    /// Makes a file that begins with `head` and has `reserve_bytes` allocated. It gets its name when that is on disk.
    ///
    /// # Errors
    /// As the system says; there is no file then.
    fn create(&self, path: &Utf8Path, reserve_bytes: u64, head: &[u8]) -> io::Result<Box<dyn OpenFile>>;
    /// Gives an existing file another name and beginning; what was allocated for it stays allocated.
    ///
    /// # Errors
    /// As the system says; the file may then be under either name.
    fn recycle(&self, from: &Utf8Path, to: &Utf8Path, head: &[u8]) -> io::Result<Box<dyn OpenFile>>;
    /// Gives a file new content, all of it or none.
    ///
    /// # Errors
    /// As the system says.
    fn replace(&self, path: &Utf8Path, bytes: &[u8]) -> io::Result<()>;
    /// Cuts a file.
    ///
    /// # Errors
    /// As the system says.
    fn truncate(&self, path: &Utf8Path, length: u64) -> io::Result<()>;
    /// Removes a file; a missing one is removed already.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, path: &Utf8Path) -> io::Result<()>;
    /// Removes a folder with all that is in it.
    ///
    /// # Errors
    /// As the system says.
    fn remove_dir(&self, dir: &Utf8Path) -> io::Result<()>;
    /// Room where `dir` lies.
    ///
    /// # Errors
    /// As the system says.
    fn space(&self, dir: &Utf8Path) -> io::Result<Space>;
}

/// A file that is being written.
pub trait OpenFile: Send + Debug {
    /// Writes at an offset.
    ///
    /// # Errors
    /// As the system says; what of it is written is unknown then.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Waits until everything written is on disk.
    ///
    /// # Errors
    /// As the system says; the file must not be trusted with anything new then.
    fn sync(&mut self) -> io::Result<()>;
}

/// The real file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Files for Disk {
    fn list(&self, dir: &Utf8Path) -> io::Result<Vec<String>> {
        let entries = match dir.read_dir_utf8() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names: Vec<String> = entries
            .map(|entry| Ok(entry?.file_name().to_owned()))
            .collect::<io::Result<_>>()?;
        names.sort();
        Ok(names)
    }

    fn read(&self, path: &Utf8Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn read_at(&self, path: &Utf8Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        File::open(path)?.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn create_dir(&self, dir: &Utf8Path) -> io::Result<()> {
        durable::create_dir(dir)
    }

    fn create(&self, path: &Utf8Path, reserve_bytes: u64, head: &[u8]) -> io::Result<Box<dyn OpenFile>> {
        let temporary = path.with_extension("new");
        self.remove(&temporary)?;
        let made = make(&temporary, reserve_bytes, head).and_then(|file| {
            std::fs::rename(&temporary, path)?;
            durable::sync_parent(path)?;
            Ok(file)
        });
        if made.is_err() {
            // Half a file is of no use to anyone; if it can't be removed now, the next try does it.
            let _ = std::fs::remove_file(&temporary);
        }
        Ok(Box::new(made?))
    }

    fn recycle(&self, from: &Utf8Path, to: &Utf8Path, head: &[u8]) -> io::Result<Box<dyn OpenFile>> {
        let file = OpenOptions::new().write(true).open(from)?;
        // First the beginning: what stands behind it belongs to another file then, whatever the name.
        file.write_all_at(head, 0)?;
        file.sync_data()?;
        std::fs::rename(from, to)?;
        durable::sync_parent(to)?;
        if from.parent() != to.parent() {
            durable::sync_parent(from)?;
        }
        Ok(Box::new(file))
    }

    fn replace(&self, path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
        durable::write(path, bytes, durable::SECRET)
    }

    fn truncate(&self, path: &Utf8Path, length: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(path)?.set_len(length)
    }

    fn remove(&self, path: &Utf8Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Ok(()) => durable::sync_parent(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn remove_dir(&self, dir: &Utf8Path) -> io::Result<()> {
        match std::fs::remove_dir_all(dir) {
            Ok(()) => durable::sync_parent(dir),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn space(&self, dir: &Utf8Path) -> io::Result<Space> {
        let found = nix::sys::statvfs::statvfs(dir.as_std_path())?;
        let fragment_bytes = found.fragment_size();
        Ok(Space {
            free_bytes: found.blocks_available().saturating_mul(fragment_bytes),
            total_bytes: found.blocks().saturating_mul(fragment_bytes),
        })
    }
}

fn make(path: &Utf8Path, reserve_bytes: u64, head: &[u8]) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(durable::SECRET)
        .open(path)?;
    let length = i64::try_from(reserve_bytes).map_err(io::Error::other)?;
    if 0 < length {
        match fallocate(&file, FallocateFlags::empty(), 0, length) {
            Ok(()) => {}
            // Some file systems can't; then the room is not promised, and a write may fail, which is handled.
            Err(Errno::EOPNOTSUPP) => file.set_len(reserve_bytes)?,
            Err(error) => return Err(error.into()),
        }
    }
    file.write_all_at(head, 0)?;
    file.sync_all()?;
    Ok(file)
}

impl OpenFile for File {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
