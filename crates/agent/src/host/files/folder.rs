//! A folder of which many files are read once, such as a device's in sysfs.

use std::fs::File;
use std::os::fd::OwnedFd;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::{Files, READ_BYTES_FIRST, existing, names_of, read_attribute, rest, trimmed};

/// A folder and the names in it. What is not among them is not looked for: of all the attributes that a device may have,
/// most have few.
#[derive(Debug)]
pub struct Folder<'a> {
    files: &'a Files,
    path: String,
    /// Kept open, so that the way to it is walked once; not below a root, where each path has to be resolved in it.
    dir: Option<OwnedFd>,
    /// Sorted; empty if it cannot be listed.
    names: Vec<String>,
}

impl<'a> Folder<'a> {
    pub(super) fn open(files: &'a Files, path: String) -> Self {
        let dir = files.open_dir(&path).ok().flatten();
        let names = dir.as_ref().and_then(|dir| names_of(&path, dir).ok());
        Self {
            names: names.unwrap_or_default(),
            dir: dir.filter(|_| files.root.is_none()),
            files,
            path,
        }
    }

    /// Its own path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The sorted names in it.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether a file, or the folder in here that it is in, may be there.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        let first = path.split('/').next().unwrap_or(path);
        let found = self.names.binary_search_by(|known| known.as_str().cmp(first));
        // What cannot be listed may still be read.
        found.is_ok() || self.names.is_empty()
    }

    /// The sorted names in a folder in it; none if it cannot be read.
    #[must_use]
    pub fn names_in(&self, path: &str) -> Vec<String> {
        if !self.has(path) {
            return Vec::new();
        }
        let Some(dir) = &self.dir else {
            return self.files.names(&self.path_of(path));
        };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = openat(dir, path, flags, Mode::empty());
        let names = opened.ok().and_then(|opened| names_of(path, &opened).ok());
        names.unwrap_or_default()
    }

    /// As [`Files::bytes`]; what cannot be read is as absent.
    #[must_use]
    pub fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        match self.open_file(path)? {
            Some(file) => rest(path, &file, Vec::with_capacity(READ_BYTES_FIRST)).ok()?,
            None => self.files.bytes(&self.path_of(path)).ok()?,
        }
    }

    /// As [`Files::word`].
    #[must_use]
    pub fn word(&self, path: &str) -> Option<String> {
        match self.open_file(path)? {
            Some(file) => trimmed(&String::from_utf8_lossy(&read_attribute(path, &file)?.bytes)),
            None => self.files.word(&self.path_of(path)),
        }
    }

    /// As [`Files::number`].
    #[must_use]
    pub fn number(&self, path: &str) -> Option<u64> {
        self.word(path)?.parse().ok()
    }

    fn path_of(&self, path: &str) -> String {
        format!("{}/{path}", self.path)
    }

    /// The open file; `None` if it is not there, `Some(None)` if only its whole path leads to it.
    #[expect(clippy::option_option, reason = "absent, elsewhere and here are three cases")]
    fn open_file(&self, path: &str) -> Option<Option<File>> {
        if !self.has(path) {
            return None;
        }
        let Some(dir) = &self.dir else {
            return Some(None);
        };
        let opened = openat(dir, path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
        Some(Some(File::from(existing(path, opened).ok()??)))
    }
}
