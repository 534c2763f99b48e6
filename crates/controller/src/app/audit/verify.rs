//! Finding what was done to the log: every entry is checked against its signature, its neighbour and the anchors.

use std::fmt;
use std::io;

use camino::Utf8Path;

use super::anchor::{Anchor, AnchorFile};
use super::chain::{BEGINNING, Chain};
use super::{ANCHOR_FILE, AuditError, RESTORED};
use crate::store::{AuditRow, AuditStart, Store};

/// Entries read at a time.
const ENTRIES_AT_ONCE: u64 = 1_000;
/// Most findings that are told one by one; more are counted.
const DAMAGE_MAX: usize = 1_000;

/// One thing that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// The entry is not as it was written.
    Changed {
        /// Its number.
        id: i64,
    },
    /// The entry does not hang on the one before it.
    OutOfChain {
        /// Its number.
        id: i64,
    },
    /// Entries are missing.
    Missing {
        /// The first.
        from: i64,
        /// The last.
        to: i64,
    },
    /// Where the log says it starts was not written by retention.
    ForgedStart,
    /// An entry was anchored with another content.
    Replaced {
        /// Its number.
        id: i64,
    },
    /// The end is missing.
    CutOff {
        /// The newest entry there is.
        last: i64,
        /// The newest that was anchored.
        anchored: i64,
    },
    /// A line of the file of anchors was not written by us.
    ForgedAnchor {
        /// Its number, from 1.
        line: usize,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { id } => write!(f, "entry {id} was changed"),
            Self::OutOfChain { id } => write!(f, "entry {id} does not follow the one before it"),
            Self::Missing { from, to } => write!(f, "entries {from} to {to} are missing"),
            Self::ForgedStart => f.write_str("where the log starts was changed"),
            Self::Replaced { id } => write!(f, "entry {id} is not the one that was anchored"),
            Self::CutOff { last, anchored } => {
                write!(
                    f,
                    "the log ends with entry {last}, but entry {anchored} was anchored"
                )
            }
            Self::ForgedAnchor { line } => write!(f, "line {line} of {ANCHOR_FILE} is not genuine"),
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How many entries there are.
    pub entries: u64,
    /// The oldest; 0 if there is none.
    pub first_id: i64,
    /// The newest; 0 if there is none.
    pub last_id: i64,
    /// How many anchors there are.
    pub anchors: usize,
    /// The newest entry that an anchor covers; what was cut off behind it cannot be seen.
    pub anchored_id: i64,
    /// Numbers that a restore from a backup left out.
    pub lost_by_restore: i64,
    /// The first findings.
    pub damage: Vec<Damage>,
    /// How many findings there are.
    pub damage_count: usize,
}

impl Verdict {
    /// Whether everything is as it was written.
    #[must_use]
    pub const fn is_intact(&self) -> bool {
        self.damage_count == 0
    }

    fn found(&mut self, damage: Damage) {
        self.damage_count += 1;
        if self.damage.len() < DAMAGE_MAX {
            self.damage.push(damage);
        }
    }
}

/// Checks the whole log of a database against itself and the anchors in `folder`. The database may be in use.
///
/// # Errors
/// A failure of the database, or of reading the anchors.
pub async fn verify(store: &Store, key: ring::hmac::Key, folder: &Utf8Path) -> Result<Verdict, AuditError> {
    let mut start = store.audit_start().await?;
    loop {
        let verdict = walk(store, Chain::new(key.clone()), start.as_ref(), folder).await?;
        let start_now = store.audit_start().await?;
        if start_now == start {
            return Ok(verdict);
        }
        // Retention came in between, which it does once an hour.
        start = start_now;
    }
}

async fn walk(
    store: &Store,
    chain: Chain,
    start: Option<&AuditStart>,
    folder: &Utf8Path,
) -> Result<Verdict, AuditError> {
    // Before the entries: what is anchored by now must be there by then.
    let file = AnchorFile::new(folder.join(ANCHOR_FILE));
    let anchors = file
        .read(&chain)
        .map_err(|error: io::Error| AuditError::Anchor(error.into()))?;
    let mut verdict = Verdict {
        anchors: anchors.genuine.len(),
        ..Verdict::default()
    };
    for line in anchors.unreadable {
        verdict.found(Damage::ForgedAnchor { line });
    }
    let mut walk = Walk::new(chain, anchors.genuine, verdict);
    walk.start(start);
    let mut after = 0;
    loop {
        let rows = store.audit_after(after, ENTRIES_AT_ONCE).await?;
        let Some(last) = rows.last() else { break };
        after = last.id;
        for row in rows {
            walk.step(row);
        }
    }
    Ok(walk.end())
}

struct Walk {
    chain: Chain,
    /// By the number of their entry.
    anchors: Vec<Anchor>,
    next_anchor: usize,
    verdict: Verdict,
    /// Number and hash of the entry before.
    before: (i64, Vec<u8>),
}

impl Walk {
    fn new(chain: Chain, mut anchors: Vec<Anchor>, mut verdict: Verdict) -> Self {
        anchors.sort_by_key(|anchor| anchor.id);
        verdict.anchored_id = anchors.last().map_or(0, |anchor| anchor.id);
        Self {
            chain,
            anchors,
            next_anchor: 0,
            verdict,
            before: (0, BEGINNING.to_vec()),
        }
    }

    fn start(&mut self, start: Option<&AuditStart>) {
        let Some(start) = start else { return };
        if !self.chain.is_genuine_start(start) {
            self.verdict.found(Damage::ForgedStart);
            return;
        }
        self.before = (start.first_id - 1, start.previous.clone());
        // What retention removed is not missing.
        while self.next_before(start.first_id).is_some() {}
    }

    fn step(&mut self, row: AuditRow) {
        if self.verdict.entries == 0 {
            self.verdict.first_id = row.id;
        }
        self.verdict.entries += 1;
        self.verdict.last_id = row.id;
        let is_genuine = self.chain.is_genuine(&row);
        if !is_genuine {
            self.verdict.found(Damage::Changed { id: row.id });
        }
        let (before_id, before_hash) = &self.before;
        let (from, to) = (before_id.saturating_add(1), row.id.saturating_sub(1));
        let is_restored = is_genuine && row.action == RESTORED;
        if from <= to {
            if is_restored {
                self.verdict.lost_by_restore += to - from + 1;
            } else {
                self.verdict.found(Damage::Missing { from, to });
            }
        }
        // Behind a hole only a restore hangs on what is before it.
        let must_follow = to < from || is_restored;
        if must_follow && row.previous != *before_hash {
            self.verdict.found(Damage::OutOfChain { id: row.id });
        }
        while self.next_before(row.id).is_some() {} // In a hole, which was told.
        while let Some(anchor) = self.next_before(row.id.saturating_add(1)) {
            if anchor.hash != row.hash {
                self.verdict.found(Damage::Replaced { id: row.id });
            }
        }
        self.before = (row.id, row.hash);
    }

    /// The next anchor of an entry before this one.
    fn next_before(&mut self, id: i64) -> Option<Anchor> {
        let anchor = self.anchors.get(self.next_anchor)?;
        if anchor.id < id {
            self.next_anchor += 1;
            return Some(anchor.clone());
        }
        None
    }

    fn end(mut self) -> Verdict {
        if self.next_anchor < self.anchors.len() {
            let (last, anchored) = (self.verdict.last_id, self.verdict.anchored_id);
            self.verdict.found(Damage::CutOff { last, anchored });
        }
        self.verdict
    }
}
