//! A file system in memory that fails on demand.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use camino::{Utf8Path, Utf8PathBuf};
use nix::errno::Errno;

use super::files::{Files, OpenFile, Space};

type Content = Arc<Mutex<Vec<u8>>>;

/// What fails, and how.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) write: Option<Errno>,
    pub(crate) sync: Option<Errno>,
    pub(crate) create: Option<Errno>,
    pub(crate) read: Option<Errno>,
    pub(crate) free_bytes: Option<u64>,
    /// After so many changes everything fails, as if the process were gone.
    pub(crate) steps_left: Option<u32>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    files: Arc<Mutex<BTreeMap<Utf8PathBuf, Content>>>,
    pub(crate) faults: Arc<Mutex<Faults>>,
    /// What was written by giving files new content, and how much all files held at most meanwhile.
    pub(crate) replaced: Arc<Mutex<Replaced>>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Replaced {
    pub(crate) bytes: u64,
    pub(crate) peak_bytes: u64,
}

impl Faults {
    /// One change of a file.
    fn step(&mut self) -> io::Result<()> {
        match &mut self.steps_left {
            None => Ok(()),
            Some(0) => Err(Errno::EIO.into()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

impl Memory {
    pub(crate) fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.faults.lock().unwrap());
    }

    /// The same files, independent of these.
    pub(crate) fn copy(&self) -> Self {
        let files = self.files.lock().unwrap();
        let copied = files.iter().map(|(path, content)| {
            let bytes = content.lock().unwrap().clone();
            (path.clone(), Arc::new(Mutex::new(bytes)))
        });
        Self {
            files: Arc::new(Mutex::new(copied.collect())),
            ..Self::default()
        }
    }

    pub(crate) fn names(&self) -> Vec<(Utf8PathBuf, usize)> {
        let files = self.files.lock().unwrap();
        let length = |content: &Content| content.lock().unwrap().len();
        files
            .iter()
            .map(|(path, content)| (path.clone(), length(content)))
            .collect()
    }

    pub(crate) fn change(&self, path: &Utf8Path, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.files.lock().unwrap()[path].lock().unwrap());
    }

    pub(crate) fn swap(&self, one: &Utf8Path, other: &Utf8Path) {
        let mut files = self.files.lock().unwrap();
        let (a, b) = (files[one].clone(), files[other].clone());
        files.insert(one.to_owned(), b);
        files.insert(other.to_owned(), a);
    }

    fn content(&self, path: &Utf8Path) -> io::Result<Content> {
        let files = self.files.lock().unwrap();
        let content = files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::clone(content))
    }

    fn step(&self) -> io::Result<()> {
        self.faults.lock().unwrap().step()
    }

    fn fail(&self, which: impl FnOnce(&Faults) -> Option<Errno>) -> io::Result<()> {
        match which(&self.faults.lock().unwrap()) {
            Some(errno) => Err(errno.into()),
            None => Ok(()),
        }
    }
}

impl Files for Memory {
    fn list(&self, dir: &Utf8Path) -> io::Result<Vec<String>> {
        let files = self.files.lock().unwrap();
        let below = files.keys().filter_map(|path| path.strip_prefix(dir).ok());
        let mut names: Vec<String> = below
            .filter_map(|path| Some(path.components().next()?.as_str().to_owned()))
            .collect();
        names.dedup();
        Ok(names)
    }

    fn read(&self, path: &Utf8Path) -> io::Result<Vec<u8>> {
        self.fail(|faults| faults.read)?;
        Ok(self.content(path)?.lock().unwrap().clone())
    }

    fn read_at(&self, path: &Utf8Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let (bytes, start) = (self.read(path)?, usize::try_from(offset).unwrap());
        let part = bytes.get(start..start + length);
        Ok(part.ok_or(io::ErrorKind::UnexpectedEof)?.to_vec())
    }

    fn create_dir(&self, _dir: &Utf8Path) -> io::Result<()> {
        self.fail(|faults| faults.create)
    }

    fn create(&self, path: &Utf8Path, reserve_bytes: u64, head: &[u8]) -> io::Result<Box<dyn OpenFile>> {
        self.fail(|faults| faults.create)?;
        self.step()?;
        let mut bytes = head.to_vec();
        bytes.resize(bytes.len().max(usize::try_from(reserve_bytes).unwrap()), 0);
        let content = Arc::new(Mutex::new(bytes));
        self.files
            .lock()
            .unwrap()
            .insert(path.to_owned(), Arc::clone(&content));
        Ok(Box::new(MemoryFile {
            content,
            faults: Arc::clone(&self.faults),
        }))
    }

    fn recycle(&self, from: &Utf8Path, to: &Utf8Path, head: &[u8]) -> io::Result<Box<dyn OpenFile>> {
        self.fail(|faults| faults.write)?;
        self.step()?;
        let content = self.content(from)?;
        content.lock().unwrap()[..head.len()].copy_from_slice(head);
        let mut files = self.files.lock().unwrap();
        files.remove(from);
        files.insert(to.to_owned(), Arc::clone(&content));
        Ok(Box::new(MemoryFile {
            content,
            faults: Arc::clone(&self.faults),
        }))
    }

    fn replace(&self, path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
        // Old and new are there together before the one takes the other's place.
        let together =
            self.names().iter().map(|(_, length)| *length as u64).sum::<u64>() + bytes.len() as u64;
        {
            let mut replaced = self.replaced.lock().unwrap();
            replaced.bytes += bytes.len() as u64;
            replaced.peak_bytes = replaced.peak_bytes.max(together);
        }
        self.create(path, 0, bytes).map(drop)
    }

    fn truncate(&self, path: &Utf8Path, length: u64) -> io::Result<()> {
        self.step()?;
        let content = self.content(path)?;
        content.lock().unwrap().truncate(usize::try_from(length).unwrap());
        Ok(())
    }

    fn remove(&self, path: &Utf8Path) -> io::Result<()> {
        self.step()?;
        self.files.lock().unwrap().remove(path);
        Ok(())
    }

    fn remove_dir(&self, dir: &Utf8Path) -> io::Result<()> {
        self.step()?;
        self.files
            .lock()
            .unwrap()
            .retain(|path, _| !path.starts_with(dir));
        Ok(())
    }

    fn space(&self, _dir: &Utf8Path) -> io::Result<Space> {
        let free_bytes = self.faults.lock().unwrap().free_bytes.unwrap_or(1 << 40);
        Ok(Space {
            free_bytes,
            total_bytes: 1 << 40,
        })
    }
}

#[derive(Debug)]
struct MemoryFile {
    content: Content,
    faults: Arc<Mutex<Faults>>,
}

impl OpenFile for MemoryFile {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.faults.lock().unwrap().step()?;
        let fault = self.faults.lock().unwrap().write;
        // A write that fails may have written a part all the same.
        let written = if fault.is_some() {
            bytes.len() / 2
        } else {
            bytes.len()
        };
        let (mut content, start) = (self.content.lock().unwrap(), usize::try_from(offset).unwrap());
        let length = content.len().max(start + written);
        content.resize(length, 0);
        content[start..start + written].copy_from_slice(&bytes[..written]);
        fault.map_or(Ok(()), |errno| Err(errno.into()))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.faults.lock().unwrap().step()?;
        match self.faults.lock().unwrap().sync {
            Some(errno) => Err(errno.into()),
            None => Ok(()),
        }
    }
}
