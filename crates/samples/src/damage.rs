//! What was found damaged: said to whoever reads, counted, and kept for whoever asks later.

use std::collections::BTreeSet;
use std::fmt;

use camino::Utf8PathBuf;
use parking_lot::Mutex;
use tracing::warn;

/// Different damages that are remembered; further ones are logged and counted only.
const REMEMBERED_MAX: usize = 1_000;

/// A part of the store that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Damage {
    /// The file it was found in.
    pub file: Utf8PathBuf,
    /// What is wrong.
    pub kind: DamageKind,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DamageKind {
    /// Nothing in it can be read; it was renamed and something new begun in its place.
    SetAside {
        /// Its name now.
        renamed_to: Utf8PathBuf,
    },
    /// Some of it may not be readable: it is read as far as it goes and not written any more.
    File {
        /// What showed that.
        reason: String,
    },
    /// A chunk, or some of its series, cannot be read.
    Chunk {
        /// Number of the row.
        row: i64,
        /// Begin of what it holds, Unix milliseconds.
        start_ms: i64,
    },
    /// The definition of a series cannot be read; its samples are there but not shown.
    Series {
        /// Its number.
        id: i64,
    },
    /// The definition of a server's collector cannot be read; samples of its series are there but not shown.
    Group {
        /// Its number.
        id: i64,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = &self.file;
        match &self.kind {
            DamageKind::SetAside { renamed_to } => write!(f, "{file} is unreadable, kept as {renamed_to}"),
            DamageKind::File { reason } => write!(f, "{file} is damaged: {reason}"),
            DamageKind::Chunk { row, start_ms } => {
                write!(f, "chunk {row} of {file}, from {start_ms}, is damaged")
            }
            DamageKind::Series { id } => write!(f, "series {id} of {file} is damaged"),
            DamageKind::Group { id } => write!(f, "series group {id} of {file} is damaged"),
        }
    }
}

/// All damage found since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Damages {
    found: Mutex<BTreeSet<Damage>>,
}

impl Damages {
    /// Remembers damage and logs it, once each.
    pub(crate) fn note(&self, damage: &Damage) {
        let mut found = self.found.lock();
        if REMEMBERED_MAX <= found.len() || !found.insert(damage.clone()) {
            return;
        }
        drop(found);
        warn!(damage = %damage, "sample store is damaged");
    }

    /// Everything that is remembered.
    pub(crate) fn all(&self) -> Vec<Damage> {
        self.found.lock().iter().cloned().collect()
    }
}
