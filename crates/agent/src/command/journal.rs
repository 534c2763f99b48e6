//! What was taken of a controller and how far it came, on disk before it has an effect.
//!
//! One file, a line a record: CRC-32 of the rest in hexadecimal, a space, JSON. Each append is on disk when it returns.
//! A last line that is cut off was never acted on and is taken away; damage anywhere else is told, and then nothing is
//! done any more, because nobody knows what was done already.
//!
//! Bounds: [`OPEN_MAX`] commands that are not over, or whose end the controller does not know yet; more are refused
//! until it does. Ids of commands that are over are kept for `IDS_KEPT_MS`, `IDS_MAX` of them; an older one is still
//! refused by its counter, which is kept for ever. The file is written anew, with what counts alone, at each start and
//! beyond `FILE_BYTES_MAX`.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use muster_model::{CommandState, Verb};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use uuid::Uuid;

use crate::durable;

/// Most commands that are not over, or not known to be.
pub const OPEN_MAX: usize = 128;
/// How long ids of commands that are over are kept, ms.
const IDS_KEPT_MS: i64 = 31 * 86_400_000;
/// Most such ids.
const IDS_MAX: usize = 20_000;
/// Size beyond which the file is written anew.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why nothing can be written down, so that nothing may be done.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The file can't be used.
    #[error("write the journal of commands {path}")]
    File {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is damaged.
    #[error(
        "line {line} of the journal of commands {path} is damaged, so nobody knows what was done already: move it away, \
         look at what is said in the audit log, and start the agent again"
    )]
    Damaged {
        /// The file.
        path: Utf8PathBuf,
        /// Where.
        line: usize,
    },
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Its last state.
    pub state: CommandState,
    /// A stable word for why; empty: it succeeded.
    pub reason: String,
    /// For people.
    pub message: String,
    /// What came of it.
    pub result: Option<Value>,
    /// When, Unix ms.
    pub at_ms: i64,
}

/// A command that is under way, or whose end the controller does not know yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Open {
    /// What is to be done.
    pub verb: Verb,
    /// Who asked.
    pub issuer: String,
    /// SHA-256 of the signed bytes.
    pub bytes_sha256: String,
    /// When it was written down, Unix ms.
    pub received_ms: i64,
    /// When the policy had allowed it.
    pub validated_ms: Option<i64>,
    /// When it was begun.
    pub started_ms: Option<i64>,
    /// How it ended.
    pub ended: Option<Ended>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
enum Record {
    Counter {
        controller: Uuid,
        counter: u64,
    },
    Received {
        id: Uuid,
        controller: Uuid,
        counter: u64,
        open: Box<Open>,
    },
    Validated {
        id: Uuid,
        at_ms: i64,
    },
    Started {
        id: Uuid,
        at_ms: i64,
    },
    Finished {
        id: Uuid,
        ended: Box<Ended>,
    },
    /// The controller knows the end.
    Reported {
        id: Uuid,
        at_ms: i64,
    },
}

/// The journal.
#[derive(Debug)]
pub struct Journal {
    path: Utf8PathBuf,
    #[expect(dead_code, reason = "holding it is what it is for")]
    lock: Flock<File>,
    bytes: u64,
    open: BTreeMap<Uuid, Open>,
    counters: BTreeMap<Uuid, u64>,
    over: BTreeMap<Uuid, i64>,
    /// How many more records are written, as if the process were killed then.
    #[cfg(test)]
    pub(super) lives: Option<usize>,
}

impl Journal {
    /// Opens the journal in `dir`, which is made if need be. Waits for a process that has it: that is ending.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(dir: &Utf8Path, now_ms: i64) -> Result<Self, JournalError> {
        let path = dir.join("journal");
        let failed = |source| JournalError::File {
            path: path.clone(),
            source,
        };
        durable::create_dir(dir).map_err(failed)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(durable::SECRET)
            .open(dir.join("lock"))
            .map_err(failed)?;
        let lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))?;
        let mut journal = Self {
            path: path.clone(),
            lock,
            bytes: 0,
            open: BTreeMap::new(),
            counters: BTreeMap::new(),
            over: BTreeMap::new(),
            #[cfg(test)]
            lives: None,
        };
        match std::fs::read(&path) {
            Ok(bytes) => journal.replay(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        journal.rewrite(now_ms)?;
        Ok(journal)
    }

    fn replay(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        let whole = bytes
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        let lines: Vec<&[u8]> = bytes[..whole].split(|&byte| byte == b'\n').collect();
        let count = lines.len();
        for (index, line) in lines.into_iter().enumerate().filter(|(_, line)| !line.is_empty()) {
            match read(line) {
                Some(record) => self.apply(record),
                // Written in one piece and not whole: the last one before a power cut.
                None if index + 2 == count && whole == bytes.len() => return Ok(()),
                None => {
                    return Err(JournalError::Damaged {
                        path: self.path.clone(),
                        line: index + 1,
                    });
                }
            }
        }
        Ok(())
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Counter { controller, counter } => self.raise(controller, counter),
            Record::Received {
                id,
                controller,
                counter,
                open,
            } => {
                self.raise(controller, counter);
                self.open.insert(id, *open);
            }
            Record::Validated { id, at_ms } => {
                if let Some(open) = self.open.get_mut(&id) {
                    open.validated_ms = Some(at_ms);
                }
            }
            Record::Started { id, at_ms } => {
                if let Some(open) = self.open.get_mut(&id) {
                    open.started_ms = Some(at_ms);
                }
            }
            Record::Finished { id, ended } => {
                if let Some(open) = self.open.get_mut(&id) {
                    open.ended = Some(*ended);
                }
            }
            Record::Reported { id, at_ms } => {
                self.open.remove(&id);
                self.over.insert(id, at_ms);
            }
        }
    }

    fn raise(&mut self, controller: Uuid, counter: u64) {
        let known = self.counters.entry(controller).or_default();
        *known = counter.max(*known);
    }

    /// Writes the file anew, with what still counts alone.
    fn rewrite(&mut self, now_ms: i64) -> Result<(), JournalError> {
        self.over
            .retain(|_, at_ms| now_ms.saturating_sub(*at_ms) < IDS_KEPT_MS);
        while IDS_MAX < self.over.len() {
            let oldest = self
                .over
                .iter()
                .min_by_key(|(_, at_ms)| **at_ms)
                .map(|(id, _)| *id);
            if let Some(oldest) = oldest {
                self.over.remove(&oldest);
            }
        }
        let mut text = Vec::new();
        let counters = self.counters.iter();
        let counters = counters.map(|(&controller, &counter)| Record::Counter { controller, counter });
        let over = self
            .over
            .iter()
            .map(|(&id, &at_ms)| Record::Reported { id, at_ms });
        let open = self.open.iter().map(|(&id, open)| Record::Received {
            id,
            controller: Uuid::nil(),
            counter: 0,
            open: Box::new(open.clone()),
        });
        for record in counters.chain(over).chain(open) {
            text.extend(line_of(&record));
        }
        durable::write(&self.path, &text, durable::SECRET).map_err(|source| self.failed(source))?;
        self.bytes = text.len() as u64;
        Ok(())
    }

    fn failed(&self, source: io::Error) -> JournalError {
        JournalError::File {
            path: self.path.clone(),
            source,
        }
    }

    fn append(&mut self, record: Record, now_ms: i64) -> Result<(), JournalError> {
        #[cfg(test)]
        if let Some(lives) = &mut self.lives {
            if *lives == 0 {
                return Err(self.failed(io::ErrorKind::Interrupted.into()));
            }
            *lives -= 1;
        }
        let line = line_of(&record);
        let written = OpenOptions::new()
            .append(true)
            .open(&self.path)
            .and_then(|mut file| {
                let done = file.write_all(&line).and_then(|()| file.sync_data());
                if done.is_err() {
                    // Half a line must not stand before the next one.
                    let _ = file.set_len(self.bytes);
                }
                done
            });
        written.map_err(|source| self.failed(source))?;
        self.bytes += line.len() as u64;
        self.apply(record);
        if FILE_BYTES_MAX < self.bytes {
            self.rewrite(now_ms)?;
        }
        Ok(())
    }

    /// Highest counter of a controller that was written down.
    #[must_use]
    pub fn counter(&self, controller: Uuid) -> u64 {
        self.counters.get(&controller).copied().unwrap_or(0)
    }

    /// Commands that are under way, or whose end the controller does not know yet.
    #[must_use]
    pub const fn open_commands(&self) -> &BTreeMap<Uuid, Open> {
        &self.open
    }

    /// Whether a command was seen before.
    #[must_use]
    pub fn knows(&self, id: Uuid) -> bool {
        self.open.contains_key(&id) || self.over.contains_key(&id)
    }

    /// Whether another command can be taken.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.open.len() < OPEN_MAX
    }

    /// Writes down that a command came.
    ///
    /// # Errors
    /// [`JournalError`]; then it did not.
    pub fn received(
        &mut self,
        id: Uuid,
        controller: Uuid,
        counter: u64,
        open: Open,
    ) -> Result<(), JournalError> {
        let now_ms = open.received_ms;
        let record = Record::Received {
            id,
            controller,
            counter,
            open: Box::new(open),
        };
        self.append(record, now_ms)
    }

    /// Writes down that the policy allows it.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn validated(&mut self, id: Uuid, at_ms: i64) -> Result<(), JournalError> {
        self.append(Record::Validated { id, at_ms }, at_ms)
    }

    /// Writes down that it is being done from now on. Only when this has returned may anything be done.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn started(&mut self, id: Uuid, at_ms: i64) -> Result<(), JournalError> {
        self.append(Record::Started { id, at_ms }, at_ms)
    }

    /// Writes down how it ended.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn finished(&mut self, id: Uuid, ended: Ended) -> Result<(), JournalError> {
        let at_ms = ended.at_ms;
        let ended = Box::new(ended);
        self.append(Record::Finished { id, ended }, at_ms)
    }

    /// Writes down that the controller knows the end: it is not told again.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn reported(&mut self, id: Uuid, at_ms: i64) -> Result<(), JournalError> {
        self.append(Record::Reported { id, at_ms }, at_ms)
    }
}

fn line_of(record: &Record) -> Vec<u8> {
    let json = serde_json::to_string(record).expect("a record is plain data");
    format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())).into_bytes()
}

fn read(line: &[u8]) -> Option<Record> {
    let text = std::str::from_utf8(line).ok()?;
    let (crc, json) = text.split_once(' ')?;
    let is_whole = u32::from_str_radix(crc, 16).ok()? == crc32fast::hash(json.as_bytes());
    is_whole.then(|| serde_json::from_str(json).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_model::ResourceKey;

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().join("commands")).unwrap();
        (folder, path)
    }

    fn open() -> Open {
        Open {
            verb: Verb::PoolScrub {
                pool: ResourceKey::new("pool:md0"),
            },
            issuer: "ada".to_owned(),
            bytes_sha256: String::new(),
            received_ms: 1,
            validated_ms: None,
            started_ms: None,
            ended: None,
        }
    }

    const CONTROLLER: Uuid = Uuid::from_u128(7);

    #[test]
    fn what_was_written_is_there_after_a_restart_and_counters_for_ever() {
        let (_folder, dir) = folder();
        let id = Uuid::from_u128(1);
        {
            let mut journal = Journal::open(&dir, 0).unwrap();
            journal.received(id, CONTROLLER, 5, open()).unwrap();
            journal.started(id, 2).unwrap();
        }
        {
            let mut journal = Journal::open(&dir, 0).unwrap();
            assert_eq!(journal.open_commands()[&id].started_ms, Some(2));
            journal.reported(id, 3).unwrap();
        }
        let journal = Journal::open(&dir, 30 * 86_400_000).unwrap();
        assert!(journal.knows(id) && journal.open_commands().is_empty());
        drop(journal);
        let journal = Journal::open(&dir, 40 * 86_400_000).unwrap();
        assert!(!journal.knows(id));
        assert_eq!(journal.counter(CONTROLLER), 5);
    }

    #[test]
    fn a_line_cut_off_at_any_byte_costs_that_line_alone_and_other_damage_is_told() {
        let (_folder, dir) = folder();
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        {
            let mut journal = Journal::open(&dir, 0).unwrap();
            journal.received(one, CONTROLLER, 5, open()).unwrap();
            journal.received(two, CONTROLLER, 6, open()).unwrap();
        }
        let path = dir.join("journal");
        let whole = std::fs::read(&path).unwrap();
        let first = whole.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        for length in first..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let journal = Journal::open(&dir, 0).unwrap();
            assert!(journal.knows(one) && !journal.knows(two), "cut at {length}");
        }
        let mut damaged = whole.clone();
        damaged[first / 2] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        let error = Journal::open(&dir, 0).unwrap_err();
        assert!(matches!(error, JournalError::Damaged { line: 1, .. }), "{error}");
        println!("cut at {} bytes, each time one line lost", whole.len() - first);
    }

    #[test]
    fn the_file_does_not_grow_with_what_is_over() {
        let (_folder, dir) = folder();
        let mut journal = Journal::open(&dir, 0).unwrap();
        for n in 0..200_u64 {
            let id = Uuid::from_u128(n.into());
            journal.received(id, CONTROLLER, n, open()).unwrap();
            let ended = Ended {
                state: CommandState::Succeeded,
                reason: String::new(),
                message: "x".repeat(50_000),
                result: None,
                at_ms: 1,
            };
            journal.finished(id, ended).unwrap();
            journal.reported(id, 1).unwrap();
        }
        let bytes = std::fs::metadata(dir.join("journal")).unwrap().len();
        println!("200 commands of 50 kB each leave {bytes} bytes");
        assert!(bytes <= FILE_BYTES_MAX, "{bytes}");
        assert!(journal.knows(Uuid::from_u128(3)));
    }
}
