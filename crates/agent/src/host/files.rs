//! Files of the server, read whole and bounded, never outside the root.
//!
//! Below a root every path, symbolic links included, is resolved as if the root were `/` (openat2(2) with
//! `RESOLVE_IN_ROOT`), so that a captured `etc/os-release -> /usr/lib/os-release` stays inside. Calls block.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::Mode;

use super::HostError;

/// Longest file that is read.
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes for which there is room before reading begins.
const READ_BYTES_FIRST: usize = 4096;
/// What is read at once of a file that is read by lines.
const LINES_BUFFER: usize = 32 * 1024;
/// Most names of a folder that are read.
const LIST_MAX: usize = 65_536;

/// The server's files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Files {
    /// The open root folder; `None` for this machine's own.
    root: Option<Arc<OwnedFd>>,
}

impl Files {
    /// This machine's files.
    pub(super) fn system() -> Self {
        Self { root: None }
    }

    /// The files below a folder.
    pub(crate) fn under(root: &Utf8Path) -> Result<Self, HostError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = openat(AT_FDCWD, root.as_std_path(), flags, Mode::empty());
        let root = opened.map_err(|source| HostError::Root {
            path: root.to_owned(),
            source: source.into(),
        })?;
        Ok(Self {
            root: Some(Arc::new(root)),
        })
    }

    /// The bytes of a file; `None` if there is none.
    ///
    /// # Errors
    /// [`HostError`] if it is there and cannot be read, or is over the bound.
    pub fn bytes(&self, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        let Some(opened) = self.open(path, OFlag::O_RDONLY)? else {
            return Ok(None);
        };
        // Room for most files of /proc and /sys at once: an empty buffer would begin with reading 32 bytes.
        let mut bytes = Vec::with_capacity(READ_BYTES_FIRST);
        let limit = u64::try_from(READ_BYTES_MAX).expect("a few MiB fit") + 1;
        match File::from(opened).take(limit).read_to_end(&mut bytes) {
            // Some files of /sys and /proc exist but are of things that went away between opening and reading.
            Err(error) if is_gone(&error) => Ok(None),
            Err(source) => Err(HostError::Read {
                path: path.to_owned(),
                source,
            }),
            Ok(_) if READ_BYTES_MAX < bytes.len() => Err(HostError::TooLarge {
                path: path.to_owned(),
                limit: READ_BYTES_MAX,
            }),
            Ok(_) => Ok(Some(bytes)),
        }
    }

    /// The text of a file, odd bytes replaced; `None` if there is none.
    ///
    /// # Errors
    /// As [`Files::bytes`].
    pub fn text(&self, path: &str) -> Result<Option<String>, HostError> {
        Ok(self.bytes(path)?.map(|bytes| match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }))
    }

    /// Gives each line of a file that may be long to `take`, without holding it whole; `false` if there is none.
    ///
    /// # Errors
    /// [`HostError`] if it is there and cannot be read, or is over `limit` bytes.
    pub fn each_line(&self, path: &str, limit: usize, mut take: impl FnMut(&str)) -> Result<bool, HostError> {
        let Some(opened) = self.open(path, OFlag::O_RDONLY)? else {
            return Ok(false);
        };
        let refused = |source| HostError::Read {
            path: path.to_owned(),
            source,
        };
        let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        let mut reader = BufReader::with_capacity(LINES_BUFFER, File::from(opened).take(bound));
        let (mut line, mut total) = (Vec::new(), 0);
        loop {
            line.clear();
            let count = reader.read_until(b'\n', &mut line).map_err(refused)?;
            total += count;
            if limit < total {
                return Err(HostError::TooLarge {
                    path: path.to_owned(),
                    limit,
                });
            }
            if count == 0 {
                return Ok(true);
            }
            take(String::from_utf8_lossy(&line).trim_end_matches('\n'));
        }
    }

    /// When a file was last written, Unix seconds; `None` if there is none.
    #[must_use]
    pub fn modified_s(&self, path: &str) -> Option<f64> {
        let opened = self.open(path, OFlag::O_PATH).ok()??;
        let found = nix::sys::stat::fstat(opened).ok()?;
        Some(found.st_mtime as f64 + found.st_mtime_nsec as f64 / 1e9)
    }

    /// The trimmed text of a small attribute file. Absent, empty and unreadable are all `None`: for attributes that
    /// drivers may or may not have.
    #[must_use]
    pub fn word(&self, path: &str) -> Option<String> {
        let text = self.text(path).ok()??;
        let trimmed = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!trimmed.is_empty()).then(|| trimmed.to_owned())
    }

    /// The number in a small attribute file; `None` if there is none.
    #[must_use]
    pub fn number(&self, path: &str) -> Option<u64> {
        self.word(path)?.parse().ok()
    }

    /// The sorted names in a folder; `None` if there is no folder.
    ///
    /// # Errors
    /// [`HostError`] if it is there and cannot be read, or is over the bound.
    pub fn list(&self, path: &str) -> Result<Option<Vec<String>>, HostError> {
        let Some(opened) = self.open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)? else {
            return Ok(None);
        };
        let refused = |source: Errno| HostError::Read {
            path: path.to_owned(),
            source: source.into(),
        };
        let mut folder = nix::dir::Dir::from_fd(opened).map_err(refused)?;
        let mut names = Vec::new();
        for entry in folder.iter() {
            let entry = entry.map_err(refused)?;
            let name = entry.file_name().to_string_lossy();
            if name != "." && name != ".." {
                names.push(name.into_owned());
            }
            if LIST_MAX < names.len() {
                return Err(HostError::TooLarge {
                    path: path.to_owned(),
                    limit: LIST_MAX,
                });
            }
        }
        names.sort_unstable();
        Ok(Some(names))
    }

    /// The names in a folder; none if it cannot be read.
    #[must_use]
    pub fn names(&self, path: &str) -> Vec<String> {
        self.list(path).ok().flatten().unwrap_or_default()
    }

    /// Where a symbolic link points, as it is written; `None` if it is no link.
    #[must_use]
    pub fn link(&self, path: &str) -> Option<Utf8PathBuf> {
        let path = Utf8Path::new(path);
        let folder = self
            .open(path.parent()?.as_str(), OFlag::O_PATH | OFlag::O_DIRECTORY)
            .ok()??;
        let target = readlinkat(folder, path.file_name()?).ok()?;
        Utf8PathBuf::from_os_string(target).ok()
    }

    /// Where a symbolic link leads, from `/` and without `..`; `None` if it is no link.
    #[must_use]
    pub fn resolve_link(&self, path: &str) -> Option<String> {
        let target = self.link(path)?;
        let from = Utf8Path::new(path).parent()?;
        let mut parts: Vec<&str> = Vec::new();
        // Joining an absolute target forgets where the link is, as it has to.
        let joined = from.join(&target);
        for part in joined.components() {
            match part {
                camino::Utf8Component::Normal(name) => parts.push(name),
                camino::Utf8Component::ParentDir => drop(parts.pop()),
                _ => {}
            }
        }
        Some(format!("/{}", parts.join("/")))
    }

    /// The same folder without a last link.
    #[must_use]
    pub fn resolve(&self, path: &str) -> String {
        self.resolve_link(path).unwrap_or_else(|| path.to_owned())
    }

    fn open(&self, path: &str, flags: OFlag) -> Result<Option<OwnedFd>, HostError> {
        let flags = flags | OFlag::O_CLOEXEC;
        let opened = match &self.root {
            None => openat(AT_FDCWD, path, flags, Mode::empty()),
            Some(root) => {
                let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT);
                openat2(root.as_ref(), path, how)
            }
        };
        match opened {
            Ok(opened) => Ok(Some(opened)),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ENODEV | Errno::ENXIO) => Ok(None),
            Err(source) => Err(HostError::Read {
                path: path.to_owned(),
                source: source.into(),
            }),
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .map(Errno::from_raw)
        .is_some_and(|errno| matches!(errno, Errno::ENODEV | Errno::ENXIO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::under(Utf8Path::from_path(folder.path()).unwrap()).unwrap();
        (folder, files)
    }

    #[test]
    fn what_is_not_there_is_absent_and_no_error() {
        let (_folder, files) = root();
        assert_eq!(files.bytes("/proc/mdstat").unwrap(), None);
        assert_eq!(files.list("/sys/block").unwrap(), None);
        assert_eq!(files.link("/sys/block/sda"), None);
    }

    #[test]
    fn links_are_resolved_inside_the_root() {
        let (folder, files) = root();
        std::fs::create_dir_all(folder.path().join("usr/lib")).unwrap();
        std::fs::create_dir_all(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("usr/lib/os-release"), "ID=inside\n").unwrap();
        std::os::unix::fs::symlink("/usr/lib/os-release", folder.path().join("etc/os-release")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("etc/outside")).unwrap();
        std::os::unix::fs::symlink("../../../../etc/passwd", folder.path().join("etc/above")).unwrap();
        assert_eq!(files.word("/etc/os-release").as_deref(), Some("ID=inside"));
        assert_eq!(files.bytes("/etc/outside").unwrap(), None);
        assert_eq!(files.bytes("/etc/above").unwrap(), None);
        assert_eq!(files.link("/etc/os-release").unwrap(), "/usr/lib/os-release");
    }

    #[test]
    fn a_file_over_the_bound_is_refused_and_one_at_the_bound_is_read() {
        let (folder, files) = root();
        std::fs::write(folder.path().join("full"), vec![b'x'; READ_BYTES_MAX]).unwrap();
        std::fs::write(folder.path().join("over"), vec![b'x'; READ_BYTES_MAX + 1]).unwrap();
        assert_eq!(files.bytes("/full").unwrap().unwrap().len(), READ_BYTES_MAX);
        assert!(matches!(files.bytes("/over"), Err(HostError::TooLarge { .. })));
    }

    #[test]
    fn names_are_sorted_and_words_trimmed() {
        let (folder, files) = root();
        for name in ["sdb", "sda"] {
            std::fs::write(folder.path().join(name), " 7\n").unwrap();
        }
        assert_eq!(files.names("/"), ["sda", "sdb"]);
        assert_eq!(files.number("/sda"), Some(7));
    }
}
