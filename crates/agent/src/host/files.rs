//! Files of the server, read whole and bounded, never outside the root.
//!
//! On this machine the folders of `/sys` that were used last are kept open for as long as a collector reads: to walk a path
//! takes longer than to read what it leads to, and a collector reads many files of each folder. Files that may be read
//! again stay open for longer ([`Kept`]).
//!
//! Below a root every path, symbolic links included, is resolved as if the root were `/` (openat2(2) with
//! `RESOLVE_IN_ROOT`), so that a captured `etc/os-release -> /usr/lib/os-release` stays inside. Calls block.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::Mode;
use rustix::fs::RawDir;

use super::HostError;
use super::kept::{FolderId, Kept};

mod folder;

pub use folder::Folder;

/// Longest file that is read.
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes for which there is room before reading begins.
const READ_BYTES_FIRST: usize = 4096;
/// Longest attribute that is read from a file that stays open.
const WORD_BYTES: usize = 256;
/// What is read at once of a file that is read by lines.
const LINES_BUFFER: usize = 32 * 1024;
/// Bytes of entries of a folder that are read at once.
const NAMES_BUFFER: usize = 8 * 1024;
/// Most names of a folder that are read.
const LIST_MAX: usize = 65_536;
/// Folders that are kept open at a time: those of a device, and those above it.
const FOLDERS_MAX: usize = 4;

/// The server's files. Cheap to clone; a clone keeps no folders open before it has used them.
#[derive(Debug)]
pub struct Files {
    /// The open root folder; `None` for this machine's own.
    root: Option<Arc<OwnedFd>>,
    /// For as long as a collector reads; `None` where none are kept open.
    folders: Option<Mutex<Folders>>,
    kept: Option<Arc<Kept>>,
}

impl Clone for Files {
    fn clone(&self) -> Self {
        Self {
            root: self.root.clone(),
            folders: self.folders.as_ref().map(|_| Mutex::default()),
            kept: self.kept.clone(),
        }
    }
}

/// Folders that are open, the last used last.
#[derive(Debug, Default)]
struct Folders(Vec<(String, Option<Arc<Opened>>)>);

#[derive(Debug)]
struct Opened {
    opened: OwnedFd,
    id: FolderId,
}

impl Folders {
    /// Whether the folder of this path is open.
    fn has(&self, path: &str) -> bool {
        self.0.iter().any(|(known, _)| known == path)
    }

    /// The folder of this path; `None` if there is none.
    fn open(&mut self, path: &str) -> Result<Option<Arc<Opened>>, Errno> {
        if let Some(index) = self.0.iter().position(|(known, _)| known == path) {
            let found = self.0.remove(index);
            let folder = found.1.clone();
            self.0.push(found);
            return Ok(folder);
        }
        let above = path.rsplit_once('/').and_then(|(above, name)| {
            let (_, folder) = self.0.iter().find(|(known, _)| known == above)?;
            Some((folder.as_ref()?, name))
        });
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = match above {
            Some((above, name)) => openat(&above.opened, name, flags, Mode::empty()),
            None => openat(AT_FDCWD, path, flags, Mode::empty()),
        };
        let folder = match opened {
            Ok(opened) => {
                let id = FolderId::of(&nix::sys::stat::fstat(&opened)?);
                Some(Arc::new(Opened { opened, id }))
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) => None,
            Err(error) => return Err(error),
        };
        if FOLDERS_MAX <= self.0.len() {
            self.0.remove(0);
        }
        self.0.push((path.to_owned(), folder.clone()));
        Ok(folder)
    }
}

impl Files {
    /// This machine's files.
    pub(super) fn system() -> Self {
        Self {
            root: None,
            folders: None,
            kept: Some(Arc::default()),
        }
    }

    /// The same, for one that reads and is done soon.
    pub(super) fn for_reading(&self) -> Self {
        Self {
            root: self.root.clone(),
            folders: self.root.is_none().then(Mutex::default),
            kept: self.kept.clone(),
        }
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
            folders: None,
            kept: None,
        })
    }

    /// The bytes of a file; `None` if there is none.
    ///
    /// # Errors
    /// [`HostError`] if it is there and cannot be read, or is over the bound.
    pub fn bytes(&self, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        let kept = self.kept.as_ref().filter(|_| Kept::is_lasting(path));
        let taken = kept.and_then(|kept| Some((kept, kept.take(path, None)?)));
        if let Some((kept, (name, file))) = taken
            && let Ok(bytes) = read_again(&file.file)
        {
            kept.give_back(name, file);
            return Ok(Some(bytes));
        }
        let Some(opened) = self.open(path, OFlag::O_RDONLY)? else {
            return Ok(None);
        };
        // Room for most files of /proc and /sys at once: an empty buffer would begin with reading 32 bytes.
        let file = File::from(opened);
        let read = rest(path, &file, Vec::with_capacity(READ_BYTES_FIRST));
        if let (Some(kept), Ok(Some(_))) = (kept, &read) {
            kept.offer(path, None, file);
        }
        read
    }

    /// The text of a file, odd bytes replaced; `None` if there is none.
    ///
    /// # Errors
    /// As [`Files::bytes`].
    pub fn text(&self, path: &str) -> Result<Option<String>, HostError> {
        Ok(self.bytes(path)?.map(text_of))
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

    /// When a file was last written, or a folder last got or lost one, Unix seconds; `None` if there is none.
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
        let mut buffer = [0; WORD_BYTES];
        let (kept, folder) = match self.folder_of(path) {
            Some((mut folders, above, _)) => (self.kept.as_ref(), Some(folders.open(above).ok()??.id)),
            None => (self.kept.as_ref().filter(|_| Kept::is_lasting(path)), None),
        };
        let taken = kept.and_then(|kept| Some((kept, kept.take(path, folder)?)));
        if let Some((kept, (name, file))) = taken
            && let Ok(count) = file.file.read_at(&mut buffer, 0)
            && count < buffer.len()
        {
            kept.give_back(name, file);
            return trimmed(&String::from_utf8_lossy(&buffer[..count]));
        }
        let file = File::from(self.open(path, OFlag::O_RDONLY).ok()??);
        let read = read_attribute(path, &file)?;
        if let Some(kept) = kept.filter(|_| read.is_short) {
            kept.offer(path, folder, file);
        }
        trimmed(&String::from_utf8_lossy(&read.bytes))
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
        let folder = self.open_dir(path)?;
        folder.map(|folder| names_of(path, &folder)).transpose()
    }

    /// A folder of which many files are read once.
    #[must_use]
    pub fn folder(&self, path: String) -> Folder<'_> {
        Folder::open(self, path)
    }

    fn open_dir(&self, path: &str) -> Result<Option<OwnedFd>, HostError> {
        self.open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)
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
        let above = path.parent()?.as_str();
        let target = match self.folder_of(path.as_str()) {
            Some((mut folders, above, name)) => {
                let folder = folders.open(above).ok()??;
                readlinkat(&folder.opened, name)
            }
            None => {
                let folder = self.open(above, OFlag::O_PATH | OFlag::O_DIRECTORY).ok()??;
                readlinkat(folder, path.file_name()?)
            }
        };
        Utf8PathBuf::from_os_string(target.ok()?).ok()
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

    /// Writes a word to a file that is there; `false` if there is none.
    ///
    /// # Errors
    /// [`HostError::Read`] if it is not taken.
    pub(super) fn write(&self, path: &str, word: &str) -> Result<bool, HostError> {
        let Some(opened) = self.open(path, OFlag::O_WRONLY)? else {
            return Ok(false);
        };
        let written = File::from(opened).write_all(word.as_bytes());
        written.map_err(|source| HostError::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok(true)
    }

    /// Where to look for what is below `/sys`, if folders are kept open: in the folder `.1` under the name `.2`.
    fn folder_of<'a>(&self, path: &'a str) -> Option<(MutexGuard<'_, Folders>, &'a str, &'a str)> {
        let folders = self.folders.as_ref()?;
        let (above, name) = path.strip_prefix("/sys/").and(path.rsplit_once('/'))?;
        // Where the path ends in a slash or goes up, it is walked as it is.
        let is_plain = !name.is_empty() && name != "..";
        // No code panics between two states that do not fit each other.
        is_plain.then(|| {
            (
                folders.lock().unwrap_or_else(PoisonError::into_inner),
                above,
                name,
            )
        })
    }

    fn open(&self, path: &str, flags: OFlag) -> Result<Option<OwnedFd>, HostError> {
        let flags = flags | OFlag::O_CLOEXEC;
        let opened = match (&self.root, self.folder_of(path)) {
            (Some(root), _) => {
                let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT);
                openat2(root.as_ref(), path, how)
            }
            // For one folder in it the folder above is not worth opening.
            (None, Some((folders, above, _)))
                if flags.contains(OFlag::O_DIRECTORY) && !folders.has(above) =>
            {
                drop(folders);
                openat(AT_FDCWD, path, flags, Mode::empty())
            }
            (None, Some((mut folders, above, name))) => match folders.open(above) {
                Ok(Some(folder)) => {
                    drop(folders);
                    openat(&folder.opened, name, flags, Mode::empty())
                }
                Ok(None) => return Ok(None),
                Err(error) => Err(error),
            },
            (None, None) => openat(AT_FDCWD, path, flags, Mode::empty()),
        };
        existing(path, opened)
    }
}

fn refused(path: &str, source: impl Into<io::Error>) -> HostError {
    HostError::Read {
        path: path.to_owned(),
        source: source.into(),
    }
}

/// What was opened; nothing if it is not there.
fn existing(path: &str, opened: nix::Result<OwnedFd>) -> Result<Option<OwnedFd>, HostError> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ENODEV | Errno::ENXIO) => Ok(None),
        Err(source) => Err(refused(path, source)),
    }
}

/// The sorted names in a folder, which are read from where it was last read to.
fn names_of(path: &str, folder: &OwnedFd) -> Result<Vec<String>, HostError> {
    let mut buffer = [MaybeUninit::uninit(); NAMES_BUFFER];
    let mut entries = RawDir::new(folder, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|source| refused(path, source))?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(String::from_utf8_lossy(name).into_owned());
        }
        if LIST_MAX < names.len() {
            return Err(HostError::TooLarge {
                path: path.to_owned(),
                limit: LIST_MAX,
            });
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// What a small attribute file says when it is read once, or all of what turns out to be none
/// (Documentation/filesystems/sysfs.rst: less than there was room for is all); `None` if it cannot be read.
fn read_attribute(path: &str, file: &File) -> Option<Attribute> {
    let mut buffer = [0; READ_BYTES_FIRST];
    let mut reader = file;
    let count = loop {
        match reader.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read.ok()?,
        }
    };
    if count < buffer.len() {
        return Some(Attribute {
            bytes: buffer[..count].to_vec(),
            is_short: true,
        });
    }
    let bytes = rest(path, file, buffer.to_vec()).ok()??;
    Some(Attribute {
        bytes,
        is_short: false,
    })
}

struct Attribute {
    bytes: Vec<u8>,
    /// Whether it was read at once.
    is_short: bool,
}

/// What is still to be read of a file, after what was read.
fn rest(path: &str, file: &File, mut bytes: Vec<u8>) -> Result<Option<Vec<u8>>, HostError> {
    let limit = u64::try_from(READ_BYTES_MAX - bytes.len()).expect("a few MiB fit") + 1;
    match file.take(limit).read_to_end(&mut bytes) {
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

/// What is in a file that was read before.
fn read_again(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; READ_BYTES_FIRST];
    let mut length = 0;
    loop {
        match file.read_at(&mut bytes[length..], length as u64) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(0) => break,
            Ok(count) => length += count,
        }
        if bytes.len() == length {
            if READ_BYTES_MAX <= length {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            bytes.resize(2 * length, 0);
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Bytes as text, odd ones replaced.
pub(crate) fn text_of(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

/// Without space and NUL at its ends; `None` if nothing is left.
fn trimmed(text: &str) -> Option<String> {
    let trimmed = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
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
    fn folders_that_are_kept_open_say_what_the_paths_say() {
        let (plain, kept) = (Files::system(), Files::system().for_reading());
        let interfaces = plain.names("/sys/class/net");
        assert!(!interfaces.is_empty());
        assert_eq!(kept.names("/sys/class/net"), interfaces);
        for name in &interfaces {
            let folder = format!("/sys/class/net/{name}");
            for file in [
                "ifindex",
                "mtu",
                "address",
                "statistics/nothing",
                "nothing/at/all",
            ] {
                let path = format!("{folder}/{file}");
                assert_eq!(kept.word(&path), plain.word(&path), "{path}");
            }
            assert_eq!(kept.link(&folder), plain.link(&folder));
            assert_eq!(kept.names(&folder), plain.names(&folder));
            // As a path may be written.
            let odd = format!("{folder}/../{name}/mtu");
            assert_eq!(kept.word(&odd), plain.word(&odd));
            assert_eq!(kept.names(&format!("{folder}/")), plain.names(&folder));
        }
        // Again, from what is open by now.
        assert!(0 < kept.kept.as_ref().unwrap().len());
        let again = kept.clone();
        for path in [
            "/sys/class/net/lo/ifindex",
            "/sys/class/net/lo/mtu",
            "/proc/sys/kernel/hostname",
        ] {
            assert_eq!(again.word(path), plain.word(path), "{path}");
        }
        let lines = |files: &Files| files.text("/proc/stat").unwrap().unwrap().lines().count();
        assert_eq!((lines(&kept), lines(&kept)), (lines(&plain), lines(&plain)));
        let folders = kept.folders.as_ref().unwrap();
        assert!(folders.lock().unwrap().0.len() <= FOLDERS_MAX);
        assert!(kept.clone().folders.unwrap().lock().unwrap().0.is_empty());
    }

    #[test]
    fn a_word_longer_than_what_is_read_at_once_is_read_whole() {
        let (folder, files) = root();
        for length in [READ_BYTES_FIRST - 1, READ_BYTES_FIRST, 3 * READ_BYTES_FIRST] {
            let word = "w".repeat(length);
            std::fs::write(folder.path().join("long"), format!("{word}\n")).unwrap();
            assert_eq!(files.word("/long").unwrap().len(), length);
        }
    }

    #[test]
    fn a_folder_reads_what_is_in_it_whether_it_is_the_system_s_or_below_a_root() {
        let (folder, files) = root();
        let long = "x".repeat(READ_BYTES_FIRST + 1);
        std::fs::create_dir_all(folder.path().join("sda/queue")).unwrap();
        std::fs::write(folder.path().join("sda/size"), "16\n").unwrap();
        std::fs::write(folder.path().join("sda/long"), &long).unwrap();
        std::fs::write(folder.path().join("sda/queue/rotational"), "1\n").unwrap();
        std::os::unix::fs::symlink("/sda/size", folder.path().join("sda/inside")).unwrap();
        let system = Files::system();
        let whole_path = folder.path().join("sda").to_str().unwrap().to_owned();
        for opened in [files.folder("/sda".to_owned()), system.folder(whole_path)] {
            assert_eq!(opened.names(), ["inside", "long", "queue", "size"]);
            assert_eq!(opened.number("size"), Some(16));
            assert_eq!(opened.number("queue/rotational"), Some(1));
            assert_eq!(opened.names_in("queue"), ["rotational"]);
            assert_eq!(opened.word("long").as_deref(), Some(long.as_str()));
            assert_eq!((opened.word("device/model"), opened.word("queue")), (None, None));
            assert!(opened.names_in("device").is_empty());
        }
        assert_eq!(files.folder("/sda".to_owned()).number("inside"), Some(16));
        let absent = files.folder("/sdb".to_owned());
        assert!(absent.names().is_empty() && absent.word("size").is_none());
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
