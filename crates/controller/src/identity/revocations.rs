//! `DIR/revocations`: which identities were revoked, beside the state database, so that it outlives a restore of an
//! older one.
//!
//! One line an identity, in order of revocation: version, number from 1, time in Unix ms, agent, and an HMAC-SHA-256
//! over these with a key derived from the sealing key. A line is on disk before whoever revoked gets an answer. The
//! number tells a line that was taken out from one that never was.
//!
//! A line that does not verify is never passed over in silence. Whom it seems to name counts as revoked, but that name
//! may be the damage; so it must be one that the state database has as revoked, or stand for one that the database has
//! and no line names. Otherwise the database is older than the damaged line, nobody knows whom the line revoked, and
//! [`Revocations::open`] refuses. If all are accounted for, the file is written anew, and the damaged one is kept
//! beside it.
//!
//! Bounded by the agents that were ever revoked: about 130 bytes each. What was revoked longer ago than any
//! certificate can live is left out when the file is written anew, which an opening with [`LINES_MAX`] lines does.

mod line;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use muster_base::id::AgentId;
use ring::hmac;
use thiserror::Error;

pub use self::line::Damage;
use super::{DAY_MS, Seal};

/// The file's name in the data folder.
pub const FILE: &str = "revocations";
/// Lines beyond which revocations that can't matter any more are left out.
pub const LINES_MAX: usize = 20_000;
/// Longest file that is read: some 400,000 revocations.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// For how long a revocation may matter: certificates live for 90 days at most and are forgiven for 30 more.
const MATTERS_MS: i64 = 180 * DAY_MS;

/// Revoked identities, with the time of revocation in Unix ms.
pub type Entries = BTreeMap<AgentId, i64>;

/// Why the file could not be read or written.
#[derive(Debug, Error)]
pub enum RevocationsError {
    /// The file could not be read or written.
    #[error("{doing} {path}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is longer than any honest one.
    #[error("{path} has {bytes} bytes, more than {FILE_BYTES_MAX}")]
    TooLong {
        /// The file.
        path: Utf8PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// Lines are damaged or missing, and the state database cannot say whom they revoked.
    #[error(
        "{path} is damaged: of {damaged} lines nobody can tell whom they revoked (first: line {first}). Restore the \
         file from a copy; or find out which agents were revoked since the state database was backed up, move the \
         file away, start, and revoke them again"
    )]
    Unaccounted {
        /// The file.
        path: Utf8PathBuf,
        /// How many lines.
        damaged: usize,
        /// The number of the first.
        first: usize,
    },
}

/// Authenticates the lines.
#[derive(Debug, Clone)]
pub struct RevocationKey(hmac::Key);

impl RevocationKey {
    /// The key of the installation with this sealing key.
    #[must_use]
    pub fn of(seal: &Seal) -> Self {
        Self(seal.mac_key("revocations"))
    }
}

/// What a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Revocations that verify.
    pub entries: Entries,
    /// Lines that do not, and numbers that are missing.
    pub damaged: Vec<Damage>,
    /// How many lines there are.
    lines: usize,
    /// The number of the next line.
    next: u64,
}

impl Loaded {
    /// Everybody whom the file may revoke: also those of damaged lines, as far as they can be read.
    #[must_use]
    pub fn suspected(&self) -> Entries {
        let mut all = self.entries.clone();
        for damage in &self.damaged {
            if let Some(agent) = damage.agent {
                all.entry(agent).or_insert(damage.revoked_ms.unwrap_or(0));
            }
        }
        all
    }
}

/// What a merge did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// Revocations that the file did not have.
    pub added: usize,
    /// Damage of the file that was merged in; nothing of it is lost, but somebody should look.
    pub damaged: Vec<Damage>,
}

/// Reads a file; one that is not there says nothing.
///
/// # Errors
/// [`RevocationsError::Io`] or [`RevocationsError::TooLong`]. Damage is no error: it is in [`Loaded::damaged`].
pub fn load(path: &Utf8Path, key: &RevocationKey) -> Result<Loaded, RevocationsError> {
    let failed = io_error("read", path);
    match fs::metadata(path) {
        Ok(metadata) if FILE_BYTES_MAX < metadata.len() => {
            return Err(RevocationsError::TooLong {
                path: path.to_owned(),
                bytes: metadata.len(),
            });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(line::parse(b"", key)),
        Err(error) => return Err(failed(error)),
    }
    Ok(line::parse(&fs::read(path).map_err(failed)?, key))
}

/// Adds revocations to a file, making it if there is none. On disk before this returns; agents that are in it already
/// are left out.
///
/// # Errors
/// [`RevocationsError`].
pub fn append(
    path: &Utf8Path,
    key: &RevocationKey,
    revoked: impl IntoIterator<Item = (AgentId, i64)>,
) -> Result<usize, RevocationsError> {
    let loaded = load(path, key)?;
    let new: Entries = revoked
        .into_iter()
        .filter(|(agent, _)| !loaded.entries.contains_key(agent))
        .collect();
    write_lines(path, key, loaded.next, &new)?;
    Ok(new.len())
}

/// Adds to the file `into` what the file `from` says, as a restore does: a union, nothing is ever taken away.
///
/// # Errors
/// [`RevocationsError`]; [`RevocationsError::Unaccounted`] if `from` has damaged lines of which nobody can tell whom
/// they revoked, and `into` has fewer revocations that could be theirs. Then nothing was written.
pub fn merge(into: &Utf8Path, from: &Utf8Path, key: &RevocationKey) -> Result<Merged, RevocationsError> {
    let (ours, theirs) = (load(into, key)?, load(from, key)?);
    let suspected = theirs.suspected();
    account(from, &theirs, &ours.entries)?;
    let new: Entries = suspected
        .into_iter()
        .filter(|(agent, _)| !ours.entries.contains_key(agent))
        .collect();
    write_lines(into, key, ours.next, &new)?;
    Ok(Merged {
        added: new.len(),
        damaged: theirs.damaged,
    })
}

/// The file of a running controller, and whom it revokes.
#[derive(Debug)]
pub struct Revocations {
    path: Utf8PathBuf,
    key: RevocationKey,
    /// In the file.
    written: Entries,
    /// Revoked, but the file could not be written; tried again with the next.
    pending: Entries,
    next: u64,
}

impl Revocations {
    /// Opens the file beside a state database that knows the revocations `known`, brings it up to date with those,
    /// and mends it.
    ///
    /// # Errors
    /// [`RevocationsError`]; see the module's documentation for [`RevocationsError::Unaccounted`].
    pub fn open(
        path: &Utf8Path,
        key: RevocationKey,
        known: &Entries,
        now_ms: i64,
    ) -> Result<Self, RevocationsError> {
        let loaded = load(path, &key)?;
        account(path, &loaded, known)?;
        for damage in &loaded.damaged {
            tracing::error!(
                path = %path,
                line = damage.line,
                agent.id = damage.agent.map(|agent| agent.to_string()),
                "a line of the revocations is damaged or missing; whom it may name counts as revoked"
            );
        }
        let mut all = loaded.suspected();
        for (agent, revoked_ms) in known {
            all.entry(*agent).or_insert(*revoked_ms);
        }
        let mut revocations = Self {
            path: path.to_owned(),
            key,
            written: loaded.entries.clone(),
            pending: Entries::new(),
            next: loaded.next,
        };
        if !loaded.damaged.is_empty() {
            set_aside(path, now_ms)?;
            revocations.rewrite(all)?;
        } else if LINES_MAX < loaded.lines {
            let matters = |revoked_ms: i64| now_ms.saturating_sub(revoked_ms) < MATTERS_MS;
            all.retain(|_, revoked_ms| matters(*revoked_ms));
            revocations.rewrite(all)?;
        } else {
            revocations.add(all)?;
        }
        Ok(revocations)
    }

    /// Adds revocations; on disk when this returns without an error. With one they are kept and tried again with the
    /// next call.
    ///
    /// # Errors
    /// [`RevocationsError::Io`].
    pub fn add(&mut self, revoked: impl IntoIterator<Item = (AgentId, i64)>) -> Result<(), RevocationsError> {
        for (agent, revoked_ms) in revoked {
            if !self.written.contains_key(&agent) {
                self.pending.entry(agent).or_insert(revoked_ms);
            }
        }
        self.next = write_lines(&self.path, &self.key, self.next, &self.pending)?;
        self.written.append(&mut self.pending);
        Ok(())
    }

    /// Whom the file revokes, and whom it will.
    pub fn agents(&self) -> BTreeSet<AgentId> {
        self.written.keys().chain(self.pending.keys()).copied().collect()
    }

    /// Whom the file revokes, with the times.
    #[must_use]
    pub const fn entries(&self) -> &Entries {
        &self.written
    }

    fn rewrite(&mut self, all: Entries) -> Result<(), RevocationsError> {
        let fresh = Utf8PathBuf::from(format!("{}.new", self.path));
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &fresh)(error));
            }
            _ => {}
        }
        self.next = write_lines(&fresh, &self.key, 1, &all)?;
        if all.is_empty() {
            return fs::remove_file(&self.path).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(io_error("remove", &self.path)(error)),
            });
        }
        fs::rename(&fresh, &self.path).map_err(io_error("replace", &self.path))?;
        sync_folder(&self.path).map_err(io_error("replace", &self.path))?;
        self.written = all;
        Ok(())
    }
}

/// Each damaged line must name somebody whom `known` has, or be one of those that `known` has and no line names: a
/// name that can still be read may be the wrong one.
fn account(path: &Utf8Path, loaded: &Loaded, known: &Entries) -> Result<(), RevocationsError> {
    let named = |damage: &&Damage| damage.agent.is_some_and(|agent| known.contains_key(&agent));
    let mut unaccounted = loaded.damaged.iter().filter(|damage| !named(damage));
    let suspected = loaded.suspected();
    let unnamed = known
        .keys()
        .filter(|agent| !suspected.contains_key(agent))
        .count();
    let Some(first) = unaccounted.next() else {
        return Ok(());
    };
    let damaged = 1 + unaccounted.count();
    if damaged <= unnamed {
        return Ok(());
    }
    Err(RevocationsError::Unaccounted {
        path: path.to_owned(),
        damaged,
        first: first.line,
    })
}

/// Appends lines from number `next` on and syncs; returns the number after the last. A line that was cut short by an
/// earlier failure is ended first, so that it cannot swallow the next one.
fn write_lines(
    path: &Utf8Path,
    key: &RevocationKey,
    next: u64,
    revoked: &Entries,
) -> Result<u64, RevocationsError> {
    if revoked.is_empty() {
        return Ok(next);
    }
    let failed = io_error("write", path);
    let mut number = next;
    let mut text = String::new();
    if ends_mid_line(path).map_err(&failed)? {
        text.push('\n');
    }
    for (agent, revoked_ms) in revoked {
        text.push_str(&line::format(number, *revoked_ms, *agent, key));
        number += 1;
    }
    let is_new = !path.exists();
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(&failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(&failed)?;
    if is_new {
        sync_folder(path).map_err(&failed)?;
    }
    Ok(number)
}

fn ends_mid_line(path: &Utf8Path) -> io::Result<bool> {
    use std::io::{Read as _, Seek as _};
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(io::SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != [b'\n'])
}

fn set_aside(path: &Utf8Path, now_ms: i64) -> Result<(), RevocationsError> {
    let aside = Utf8PathBuf::from(format!("{path}.damaged-{now_ms}"));
    fs::copy(path, &aside)
        .and_then(|_| File::open(&aside)?.sync_all())
        .map_err(io_error("keep a copy of", path))?;
    tracing::warn!(path = %aside, "the damaged file of revocations is kept");
    Ok(())
}

fn sync_folder(path: &Utf8Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn io_error<'a>(doing: &'static str, path: &'a Utf8Path) -> impl Fn(io::Error) -> RevocationsError + 'a {
    move |source| RevocationsError::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
