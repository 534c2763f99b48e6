//! What `zpool status`, `zpool list` and their kin say: pools, their vdevs, and what is being done to them.
//!
//! zpool-status(8), zpool-list(8) and `cmd/zpool/zpool_main.c` of OpenZFS 0.7 to 2.3. The text is made for people, so
//! that every release words something differently; what is not understood is a problem, and a state word that is
//! unknown stays unknown. Numbers may be plain (`-p`) or rounded (`1.12K`, powers of 1,024).

use serde::Serialize;

mod config;
pub mod json;
pub mod list;
mod number;
pub mod scan;
pub mod status;

pub use number::{nice_number, seconds};
pub use scan::{Scan, ScanKind, ScanState, Time};

/// Most pools that are read of one input.
pub const POOLS_MAX: usize = 256;
/// Most vdevs of one pool that are read.
pub const VDEVS_MAX: usize = 4_096;
/// Most names of damaged files that are kept of a pool; all are counted.
pub const FILES_MAX: usize = 64;

/// The state of a pool or vdev (zpoolconcepts(7), "Device Failure and Recovery").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Works.
    Online,
    /// A spare that is ready.
    Avail,
    /// A spare that stands in for another.
    Inuse,
    /// Works with less than it should have.
    Degraded,
    /// Taken out by the administrator.
    Offline,
    /// Pulled out while the system ran.
    Removed,
    /// Cannot be opened.
    Unavail,
    /// Unusable for what it answered.
    Faulted,
    /// All reading and writing stands still until someone acts.
    Suspended,
}

impl State {
    /// Every state, from best to worst.
    pub const ALL: [Self; 9] = [
        Self::Online,
        Self::Avail,
        Self::Inuse,
        Self::Degraded,
        Self::Offline,
        Self::Removed,
        Self::Unavail,
        Self::Faulted,
        Self::Suspended,
    ];

    /// The state that a word names, as zpool prints it.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// The word that zpool prints.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Online => "ONLINE",
            Self::Avail => "AVAIL",
            Self::Inuse => "INUSE",
            Self::Degraded => "DEGRADED",
            Self::Offline => "OFFLINE",
            Self::Removed => "REMOVED",
            Self::Unavail => "UNAVAIL",
            Self::Faulted => "FAULTED",
            Self::Suspended => "SUSPENDED",
        }
    }
}

/// What a vdev is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The data itself.
    Data,
    /// Metadata and small blocks, which the pool cannot do without.
    Special,
    /// The table of deduplication, which the pool cannot do without.
    Dedup,
    /// The intent log.
    Log,
    /// A cache of reads, which may be lost.
    Cache,
    /// A spare.
    Spare,
}

impl Class {
    /// The lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Special => "special",
            Self::Dedup => "dedup",
            Self::Log => "log",
            Self::Cache => "cache",
            Self::Spare => "spare",
        }
    }

    /// The class whose heading this is.
    fn from_heading(word: &str) -> Option<Self> {
        match word {
            "logs" | "log" => Some(Self::Log),
            "cache" | "l2cache" => Some(Self::Cache),
            "spares" | "spare" => Some(Self::Spare),
            "special" => Some(Self::Special),
            "dedup" => Some(Self::Dedup),
            _ => None,
        }
    }
}

/// One line of the tree of vdevs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vdev {
    /// Its name: a device, a path, or `mirror-0`, `raidz1-0`, `spare-2`, …
    pub name: String,
    /// What it is there for.
    pub class: Class,
    /// Place of the one above in the list; the pool itself has none, and neither has the first of another class.
    pub parent: Option<usize>,
    /// Whether others are below it.
    pub is_group: bool,
    /// Its state; `None` if the word is unknown.
    pub state: Option<State>,
    /// The word of the state.
    pub state_word: String,
    /// Errors while reading.
    pub read_errors: Option<u64>,
    /// Errors while writing.
    pub write_errors: Option<u64>,
    /// Checksums that were wrong.
    pub checksum_errors: Option<u64>,
    /// Requests that took too long, where told.
    pub slow_ios: Option<u64>,
    /// What is written behind the numbers: `was /dev/sdb1`, `(resilvering)`, …
    pub note: Option<String>,
    /// Where it is, where that is told beside the name.
    pub path: Option<String>,
    /// Its id, where told.
    pub guid: Option<u64>,
}

impl Vdev {
    /// What kind of group it is: `mirror`, `raidz2`, `draid1`, `spare`, `replacing`, `indirect`, `missing`; `None` for a
    /// single device.
    #[must_use]
    pub fn group_kind(&self) -> Option<&str> {
        let stem = self.name.split(['-', ':']).next().unwrap_or(&self.name);
        let is_kind = matches!(
            stem,
            "mirror" | "spare" | "replacing" | "indirect" | "missing" | "hole" | "root"
        ) || is_parity(stem);
        let is_numbered = self
            .name
            .rsplit('-')
            .next()
            .is_some_and(|end| !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit()));
        // `draid1-0-1` is a spare that the group keeps within itself; a group is `draid1:4d:11c:1s-0`.
        let is_spare_within = stem.starts_with("draid")
            && !self.name.contains(':')
            && 1 < self.name.bytes().filter(|byte| *byte == b'-').count();
        let is_group_name = is_kind && (self.is_group || is_numbered) && !is_spare_within;
        (is_group_name && self.class != Class::Spare).then_some(stem)
    }

    /// Whether it is a device or file of its own, not a group and nothing that is gone for good.
    #[must_use]
    pub fn is_leaf(&self) -> bool {
        !self.is_group && self.group_kind().is_none()
    }

    /// How many of its own members a group may lose: a mirror all but one.
    #[must_use]
    pub fn parity(&self) -> Option<usize> {
        let stem = self.group_kind()?;
        let digits = stem
            .strip_prefix("raidz")
            .or_else(|| stem.strip_prefix("draid"))?;
        if digits.is_empty() {
            return Some(1);
        }
        digits.parse().ok()
    }

    /// Whether the note says this, in parentheses or not.
    #[must_use]
    pub fn notes(&self, words: &str) -> bool {
        self.note.as_deref().is_some_and(|note| note.contains(words))
    }
}

fn is_parity(stem: &str) -> bool {
    let digits = stem.strip_prefix("raidz").or_else(|| stem.strip_prefix("draid"));
    digits.is_some_and(|digits| matches!(digits, "" | "1" | "2" | "3"))
}

/// What is known of damaged data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Errors {
    /// How many errors there are; `Some(0)` only if the tool says that it knows of none.
    pub count: Option<u64>,
    /// Whether the tool says that there are some and begins to name them.
    pub is_listed: bool,
    /// The files, as far as they are named and kept.
    pub files: Vec<String>,
    /// Why the list is not to be had.
    pub unavailable: Option<String>,
}

/// One pool of `zpool status`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its id, where told.
    pub guid: Option<u64>,
    /// Its state; `None` if there is none or the word is unknown.
    pub state: Option<State>,
    /// The word of the state.
    pub state_word: Option<String>,
    /// What is wrong with it, in the tool's words.
    pub status: Option<String>,
    /// What to do about it.
    pub action: Option<String>,
    /// Where more is written.
    pub see: Option<String>,
    /// What was or is being read over: the last scrub or resilver, and rebuilds of single vdevs.
    pub scans: Vec<Scan>,
    /// How a removal of a vdev goes, in the tool's words.
    pub removal: Option<String>,
    /// The checkpoint there is, in the tool's words.
    pub checkpoint: Option<String>,
    /// How an expansion of a raidz goes, in the tool's words.
    pub expansion: Option<String>,
    /// The pool itself first, then what is below it, each before what is below that.
    pub vdevs: Vec<Vdev>,
    /// What is known of damaged data.
    pub errors: Errors,
    /// Whether this is a pool that could be imported and is not.
    pub is_importable: bool,
    /// Whether something of what is said of it was not understood.
    pub is_odd: bool,
}

impl Pool {
    /// The pool's own line in the tree.
    #[must_use]
    pub fn root(&self) -> Option<&Vdev> {
        self.vdevs.first().filter(|vdev| vdev.parent.is_none())
    }

    /// The places of what is directly below a vdev.
    pub fn children(&self, parent: usize) -> impl Iterator<Item = usize> + '_ {
        (parent + 1..self.vdevs.len()).filter(move |&place| self.vdevs[place].parent == Some(parent))
    }

    /// The places of the vdevs that data is spread over: directly below the pool, or the first of another class.
    pub fn tops(&self) -> impl Iterator<Item = usize> + '_ {
        (1..self.vdevs.len()).filter(|&place| matches!(self.vdevs[place].parent, None | Some(0)))
    }

    /// The devices and files it is made of; spares and caches are among them.
    pub fn leaves(&self) -> impl Iterator<Item = &Vdev> {
        self.vdevs.iter().skip(1).filter(|vdev| vdev.is_leaf())
    }
}
