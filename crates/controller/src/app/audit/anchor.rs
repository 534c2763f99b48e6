//! The file in which the head of the chain is written down now and then.
//!
//! A line an anchor: `1 TIME_MS ID HASH MAC`, with hash and MAC in hexadecimal. Lines are appended and synced. A line that
//! was cut short by a crash, or that was not signed by us, counts as none and is told by `verify`. The file is cut to
//! its newest lines at 1 MiB: an anchor covers everything before it, so old ones add nothing.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use camino::Utf8PathBuf;

use super::chain::{Chain, hex};

/// Where the file is cut.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// How many lines are left then.
const LINES_KEPT: usize = 1_024;
const VERSION: &str = "1";

/// The head of the chain at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Anchor {
    /// When it was written down, Unix ms.
    pub(super) time_ms: i64,
    /// The newest entry.
    pub(super) id: i64,
    /// Its hash.
    pub(super) hash: Vec<u8>,
}

/// The file.
pub(super) struct AnchorFile {
    path: Utf8PathBuf,
}

/// What the file holds.
#[derive(Debug, Default)]
pub(super) struct Anchors {
    /// Anchors of ours, in the order of the file.
    pub(super) genuine: Vec<Anchor>,
    /// Numbers of lines, from 1, that are none.
    pub(super) unreadable: Vec<usize>,
}

impl AnchorFile {
    pub(super) const fn new(path: Utf8PathBuf) -> Self {
        Self { path }
    }

    /// Everything in the file; one that does not exist is empty.
    pub(super) fn read(&self, chain: &Chain) -> io::Result<Anchors> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Anchors::default()),
            Err(error) => return Err(error),
        };
        let mut anchors = Anchors::default();
        for (index, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
            match parse(chain, line) {
                Some(anchor) => anchors.genuine.push(anchor),
                None => anchors.unreadable.push(index + 1),
            }
        }
        Ok(anchors)
    }

    /// The newest anchor.
    pub(super) fn last(&self, chain: &Chain) -> io::Result<Option<Anchor>> {
        let anchors = self.read(chain)?.genuine;
        Ok(anchors.into_iter().max_by_key(|anchor| anchor.id))
    }

    /// Writes an anchor down; it is on disk when this returns.
    pub(super) fn append(&self, chain: &Chain, anchor: &Anchor) -> io::Result<()> {
        let is_new = !self.path.exists();
        let mut file = fs::OpenOptions::new()
            .append(true)
            .read(true)
            .create(true)
            .mode(0o600)
            .open(&self.path)?;
        let length = file.metadata()?.len();
        let text = text(anchor);
        let mac = chain.anchor_mac(&text);
        // A line that a crash cut short must not swallow this one.
        let before = if 0 < length && !ends_with_newline(&file, length)? {
            "\n"
        } else {
            ""
        };
        file.write_all(format!("{before}{text} {mac}\n").as_bytes())?;
        file.sync_all()?;
        if is_new {
            self.sync_folder()?;
        }
        if FILE_BYTES_MAX < length {
            self.cut()?;
        }
        Ok(())
    }

    /// Leaves the newest lines.
    fn cut(&self) -> io::Result<()> {
        let text = fs::read_to_string(&self.path)?;
        let lines: Vec<&str> = text.lines().collect();
        let kept = &lines[lines.len().saturating_sub(LINES_KEPT)..];
        let fresh = Utf8PathBuf::from(format!("{}.new", self.path));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all((kept.join("\n") + "\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        self.sync_folder()
    }

    fn sync_folder(&self) -> io::Result<()> {
        match self.path.parent().filter(|folder| !folder.as_str().is_empty()) {
            Some(folder) => fs::File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

fn ends_with_newline(file: &fs::File, length: u64) -> io::Result<bool> {
    use std::os::unix::fs::FileExt as _;
    let mut last = [0];
    file.read_exact_at(&mut last, length - 1)?;
    Ok(last == *b"\n")
}

fn text(anchor: &Anchor) -> String {
    format!("{VERSION} {} {} {}", anchor.time_ms, anchor.id, hex(&anchor.hash))
}

fn parse(chain: &Chain, line: &str) -> Option<Anchor> {
    let (signed, mac) = line.rsplit_once(' ')?;
    // Compared as texts: who can write here can also read here, and a MAC is no secret.
    if chain.anchor_mac(signed) != mac {
        return None;
    }
    let mut words = signed.split(' ');
    let (VERSION, time_ms, id, hash) = (words.next()?, words.next()?, words.next()?, words.next()?) else {
        return None;
    };
    Some(Anchor {
        time_ms: time_ms.parse().ok()?,
        id: id.parse().ok()?,
        hash: unhex(hash)?,
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
