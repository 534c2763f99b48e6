//! What was begun and has no entry yet: a file each, so that a crash between an effect and its entry is not silent.
//!
//! The file is synced before anything is done and removed once the entry is on disk. It gets its name when it is whole, so
//! that one that a crash cut short, when nothing was done yet, is not told. What is left of them is told by an
//! entry at the next start: that it was begun, by whom, and that nobody knows whether it was done. There are as many
//! files as changes under way.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use camino::{Utf8Path, Utf8PathBuf};

use super::chain;
use super::{Actor, Entry, Outcome};

/// The folder in the data folder.
pub(super) const FOLDER: &str = "audit-begun";
/// The action of the entry that tells of one.
pub(super) const INTERRUPTED: &str = "audit.interrupted";
/// What the name of one ends in that is being written.
const UNFINISHED: &str = ".new";
/// More than a file of ours can hold.
const FILE_BYTES_MAX: usize = 8 * 1024;

/// Something that is under way; to be handed to [`super::Audit::conclude`] or [`super::Audit::end`].
#[derive(Debug)]
#[must_use = "what is not ended is told as interrupted by the next start"]
pub struct Begun {
    pub(super) file: Option<Utf8PathBuf>,
    /// How many entries had been lost when it began.
    pub(super) lost: u64,
}

/// The files.
pub(super) struct BegunFiles {
    folder: Utf8PathBuf,
    next: AtomicU64,
}

impl BegunFiles {
    pub(super) const fn new(folder: Utf8PathBuf) -> Self {
        Self {
            folder,
            next: AtomicU64::new(0),
        }
    }

    /// Notes on disk that this is about to be tried.
    pub(super) async fn begin(&self, entry: &Entry, time_ms: i64) -> io::Result<Begun> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("{time_ms}-{number}"));
        let (folder, text) = (self.folder.clone(), describe(entry, time_ms));
        let written = path.clone();
        blocking(move || {
            fs::create_dir_all(&folder)?;
            let unfinished = Utf8PathBuf::from(format!("{written}{UNFINISHED}"));
            let mut file = File::create_new(&unfinished)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&unfinished, &written)?;
            sync_folder(&folder)
        })
        .await?;
        Ok(Begun {
            file: Some(path),
            lost: 0,
        })
    }

    /// Forgets it.
    pub(super) async fn end(&self, begun: Begun) -> io::Result<()> {
        match begun.file {
            // Not synced: one that comes back is told although it has an entry, which does no harm.
            Some(path) => blocking(move || fs::remove_file(path)).await,
            None => Ok(()),
        }
    }

    /// What a former process has left: its file, and the entry that tells of it; the oldest first.
    pub(super) fn left(&self) -> io::Result<Vec<(Utf8PathBuf, Entry)>> {
        let mut left = Vec::new();
        let files = match self.folder.read_dir_utf8() {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(left),
            Err(error) => return Err(error),
        };
        for file in files {
            let path = file?.into_path();
            if path.as_str().ends_with(UNFINISHED) {
                fs::remove_file(&path)?;
                continue;
            }
            let mut text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
            if text.is_empty() || FILE_BYTES_MAX < text.len() {
                // No version of ours leaves such a file where files keep what they have.
                "what it was cannot be read".clone_into(&mut text);
            }
            let (target, by) = text.split_once('\n').unwrap_or((&text, ""));
            let entry = Entry {
                outcome: Outcome::Unknown {
                    reason: "controller_ended",
                },
                ..Entry::allowed(Actor::System, INTERRUPTED, target)
            };
            let detail = format!("intended {by}; outcome unknown");
            left.push((path, entry.with_detail(detail)));
        }
        left.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(left)
    }
}

impl Begun {
    /// Nothing that could be noted.
    pub(super) const fn none() -> Self {
        Self { file: None, lost: 0 }
    }
}

/// Two lines: what, and by whom. What comes from outside brings no lines of its own.
fn describe(entry: &Entry, time_ms: i64) -> String {
    let (kind, id, name) = chain::actor(&entry.actor);
    let peer = entry.peer.map(|peer| format!(" from {peer}")).unwrap_or_default();
    let what = chain::cut(&format!("{} {}", entry.action, entry.target), FILE_BYTES_MAX / 4);
    let by = chain::cut(&format!("{kind} {id} {name}{peer}"), FILE_BYTES_MAX / 4);
    let one_line = |text: String| text.replace(['\n', '\r'], " ");
    let begun = jiff::Timestamp::from_millisecond(time_ms)
        .map_or_else(|_| time_ms.to_string(), |time| time.to_string());
    format!("{}\nby {}, begun {begun}", one_line(what), one_line(by))
}

fn sync_folder(folder: &Utf8Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
}
