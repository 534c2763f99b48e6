//! The agent's own log of what it was asked and what it did, in a chain that shows when somebody changed it.
//!
//! JSON lines; each holds the hash of the one before and its own. The head goes to the controller with each word of a
//! command, where whoever cuts this file off cannot take it back. Beyond `FILE_BYTES_MAX` the file becomes `audit.1`
//! and another begins, which goes on with the chain; the one before that is gone. Refusals of what was not signed cost
//! their maker nothing, so only `UNSIGNED_PER_MIN` a minute get an entry and the rest is counted.

use std::fs::OpenOptions;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use muster_proto::convert::AuditHead;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::sha256_hex;
use crate::durable;

/// Size beyond which another file begins.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Entries a minute about what was not signed.
const UNSIGNED_PER_MIN: u32 = 30;
/// Longest text in an entry.
const TEXT_BYTES_MAX: usize = 1_024;

/// Why the log cannot be written or read.
#[derive(Debug, Error)]
pub enum AuditError {
    /// A file can't be used.
    #[error("use the audit log {path}")]
    File {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It was changed.
    #[error("the audit log {path} was changed: line {line} {what}")]
    Changed {
        /// The file.
        path: Utf8PathBuf,
        /// Where.
        line: usize,
        /// How it shows.
        what: String,
    },
}

/// What happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Who asked, as the command says.
    pub who: String,
    /// Id of the command, as far as it is known.
    pub command: String,
    /// What was asked: a verb, and on what.
    pub what: String,
    /// SHA-256 of the signed bytes.
    pub bytes: String,
    /// SHA-256 of the policy that decided.
    pub policy: String,
    /// `refused`, `allowed`, `started`, or a command's last state.
    pub decision: String,
    /// A stable word for why.
    pub reason: String,
    /// For people.
    pub detail: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    n: u64,
    time_ms: i64,
    #[serde(flatten)]
    event: Event,
    /// Events of its kind that got no entry before this one.
    left_out: u32,
    previous: String,
    hash: String,
}

impl Entry {
    fn sum(&self) -> String {
        let bare = Self {
            hash: String::new(),
            ..self.clone()
        };
        sha256_hex(&serde_json::to_vec(&bare).expect("an entry is plain data"))
    }
}

/// The log.
#[derive(Debug)]
pub struct AuditLog {
    path: Utf8PathBuf,
    entries: u64,
    head: String,
    bytes: u64,
    minute: i64,
    unsigned: u32,
    left_out: u32,
}

impl AuditLog {
    /// Opens the log in `dir` and reads it to its end.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn open(dir: &Utf8Path) -> Result<Self, AuditError> {
        let path = dir.join("audit");
        let (head, whole) = last_of(dir)?;
        if let Some(whole) = whole {
            // A last line that was cut off tells of nothing that was done.
            let file = OpenOptions::new().write(true).open(&path);
            let cut = file.and_then(|file| file.set_len(whole));
            cut.map_err(|source| AuditError::File {
                path: path.clone(),
                source,
            })?;
        }
        let bytes = std::fs::metadata(&path).map_or(0, |found| found.len());
        Ok(Self {
            path,
            entries: head.as_ref().map_or(0, |entry| entry.n),
            head: head.map(|entry| entry.hash).unwrap_or_default(),
            bytes,
            minute: 0,
            unsigned: 0,
            left_out: 0,
        })
    }

    /// The newest entry; `None` if there is none.
    #[must_use]
    pub fn head(&self) -> Option<AuditHead> {
        let mut hash = [0; 32];
        if self.head.len() != 64 {
            return None;
        }
        for (index, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(self.head.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(AuditHead {
            entries: self.entries,
            hash,
        })
    }

    /// Writes an entry; it is on disk when this returns.
    ///
    /// # Errors
    /// [`AuditError`]; then it is not there.
    pub fn record(&mut self, event: Event, now_ms: i64) -> Result<(), AuditError> {
        let failed = |path: &Utf8Path, source| AuditError::File {
            path: path.to_owned(),
            source,
        };
        if FILE_BYTES_MAX < self.bytes {
            let older = self.path.with_extension("1");
            std::fs::rename(&self.path, &older).map_err(|source| failed(&older, source))?;
            self.bytes = 0;
        }
        let mut entry = Entry {
            n: self.entries + 1,
            time_ms: now_ms,
            event: shortened(event),
            left_out: self.left_out,
            previous: self.head.clone(),
            hash: String::new(),
        };
        entry.hash = entry.sum();
        let mut line = serde_json::to_vec(&entry).expect("an entry is plain data");
        line.push(b'\n');
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(durable::SECRET)
            .open(&self.path)
            .map_err(|source| failed(&self.path, source))?;
        if let Err(source) = file.write_all(&line).and_then(|()| file.sync_data()) {
            // Half a line must not stand before the next one.
            let _ = file.set_len(self.bytes);
            return Err(failed(&self.path, source));
        }
        self.bytes += line.len() as u64;
        self.entries = entry.n;
        self.head = entry.hash;
        self.left_out = 0;
        Ok(())
    }

    /// The same for what was not signed: of many a minute only some get an entry.
    ///
    /// # Errors
    /// [`AuditError`].
    pub fn record_unsigned(&mut self, event: Event, now_ms: i64) -> Result<(), AuditError> {
        let minute = now_ms.div_euclid(60_000);
        if minute != self.minute {
            (self.minute, self.unsigned) = (minute, 0);
        }
        self.unsigned = self.unsigned.saturating_add(1);
        if UNSIGNED_PER_MIN < self.unsigned {
            self.left_out = self.left_out.saturating_add(1);
            return Ok(());
        }
        self.record(event, now_ms)
    }
}

fn shortened(event: Event) -> Event {
    let cut = |mut text: String| {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text
    };
    Event {
        who: cut(event.who),
        what: cut(event.what),
        detail: cut(event.detail),
        ..event
    }
}

/// What was found of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Entries that are there.
    pub there: u64,
    /// How many there have ever been.
    pub entries: u64,
    /// Hash of the newest.
    pub head: String,
}

/// Reads the whole log in `dir` and checks each link. `take` gets each entry as one line of JSON.
///
/// # Errors
/// [`AuditError::Changed`] with the first line that does not fit, or a file that cannot be read.
pub fn verify(dir: &Utf8Path, mut take: impl FnMut(&str)) -> Result<Verified, AuditError> {
    let mut found = Verified {
        there: 0,
        entries: 0,
        head: String::new(),
    };
    for name in ["audit.1", "audit"] {
        let path = dir.join(name);
        each(&path, |line, entry, text| {
            let changed = |what: String| AuditError::Changed {
                path: path.clone(),
                line,
                what,
            };
            let entry = entry.ok_or_else(|| changed("is no entry".to_owned()))?;
            if entry.sum() != entry.hash {
                return Err(changed(format!("(entry {}) does not have its hash", entry.n)));
            }
            let is_first = found.there == 0;
            let is_next = entry.n == found.entries + 1 && entry.previous == found.head;
            // What went before the oldest file that is kept is gone; with one file alone, nothing went before.
            let is_cut = name == "audit.1" && 1 < entry.n && !entry.previous.is_empty();
            let is_begin = is_first && is_cut;
            if !is_next && !is_begin {
                return Err(changed(format!(
                    "(entry {}) does not follow entry {}",
                    entry.n, found.entries
                )));
            }
            found.there += 1;
            found.entries = entry.n;
            found.head.clone_from(&entry.hash);
            take(text);
            Ok(())
        })?;
    }
    Ok(found)
}

fn each(
    path: &Utf8Path,
    mut take: impl FnMut(usize, Option<Entry>, &str) -> Result<(), AuditError>,
) -> Result<(), AuditError> {
    let failed = |source| AuditError::File {
        path: path.to_owned(),
        source,
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(failed)?;
        take(index + 1, serde_json::from_str(&line).ok(), &line)?;
    }
    Ok(())
}

/// The newest entry, and how long the file is without a last line that was cut off.
fn last_of(dir: &Utf8Path) -> Result<(Option<Entry>, Option<u64>), AuditError> {
    let path = dir.join("audit");
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(AuditError::File { path, source }),
    };
    let whole = bytes
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    let cut = (whole < bytes.len()).then_some(whole as u64);
    let mut last: Option<Entry> = None;
    let mut lines = bytes[..whole]
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty());
    if let Some(line) = lines.next_back() {
        let entry = serde_json::from_slice(line);
        last = Some(entry.map_err(|_| AuditError::Changed {
            path: path.clone(),
            line: bytes[..whole].iter().filter(|&&byte| byte == b'\n').count(),
            what: "is no entry".to_owned(),
        })?);
    } else {
        each(&dir.join("audit.1"), |_, entry, _| {
            last = entry;
            Ok(())
        })?;
    }
    Ok((last, cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        (folder, path)
    }

    fn event(n: usize) -> Event {
        Event {
            who: "ada".to_owned(),
            command: n.to_string(),
            decision: "allowed".to_owned(),
            ..Event::default()
        }
    }

    /// S27
    #[test]
    fn any_entry_changed_removed_or_moved_is_found() {
        let (_folder, dir) = folder();
        let mut log = AuditLog::open(&dir).unwrap();
        for n in 0..20 {
            log.record(event(n), 1_000).unwrap();
        }
        let head = log.head().unwrap();
        assert_eq!(head.entries, 20);
        let path = dir.join("audit");
        let whole = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = whole.lines().collect();
        let mut tried = 0;
        let mut found_out = |lines: Vec<String>| {
            tried += 1;
            std::fs::write(&path, lines.join("\n") + "\n").unwrap();
            assert!(verify(&dir, |_| {}).is_err(), "{lines:?}");
        };
        for index in 0..20 {
            let mut changed: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
            changed[index] = changed[index].replace("\"allowed\"", "\"refused\"");
            found_out(changed.clone());
            if index < 19 {
                changed = lines.iter().map(|&line| line.to_owned()).collect();
                changed.remove(index);
                found_out(changed);
                let mut changed: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
                changed.swap(index, index + 1);
                found_out(changed);
            }
        }
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(verify(&dir, |_| {}).unwrap().there, 20);
        // Cut off at the end, it fits; the head that the controller knows says otherwise.
        std::fs::write(&path, lines[..10].join("\n") + "\n").unwrap();
        let cut = verify(&dir, |_| {}).unwrap();
        assert!(cut.entries < head.entries);
        println!(
            "{tried} ways of changing the log, all found; cut off at the end it is shorter than its head says"
        );
    }

    #[test]
    fn the_chain_goes_on_over_restarts_half_lines_and_files() {
        let (_folder, dir) = folder();
        let mut log = AuditLog::open(&dir).unwrap();
        log.record(event(1), 0).unwrap();
        let path = dir.join("audit");
        let mut half = std::fs::read(&path).unwrap();
        half.extend(b"{\"n\":2,\"ti");
        std::fs::write(&path, half).unwrap();
        let mut log = AuditLog::open(&dir).unwrap();
        log.record(event(2), 0).unwrap();
        for _ in 0..100 {
            let long = Event {
                detail: "x".repeat(5_000),
                ..event(3)
            };
            log.bytes += 200_000;
            log.record(long, 0).unwrap();
        }
        assert!(dir.join("audit.1").exists());
        let mut shown = 0;
        let found = verify(&dir, |_| shown += 1).unwrap();
        assert_eq!((found.entries, found.there), (102, shown));
        assert!(found.there < 102);
    }

    #[test]
    fn what_nobody_signed_cannot_fill_the_log() {
        let (_folder, dir) = folder();
        let mut log = AuditLog::open(&dir).unwrap();
        for n in 0..1_000 {
            log.record_unsigned(event(n), 5).unwrap();
        }
        assert_eq!(log.head().unwrap().entries, u64::from(UNSIGNED_PER_MIN));
        log.record(event(0), 60_000).unwrap();
        let mut last = String::new();
        verify(&dir, |line| line.clone_into(&mut last)).unwrap();
        assert!(last.contains("\"left_out\":970"), "{last}");
    }
}
