//! What a damaged file holds, sorted out.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use muster_base::id::AgentId;

use super::scan::{At, Sound};
use crate::intake::envelope::{CursorBody, DefinitionsHead, LedgerEntry, RecordHead};

/// An epoch of an agent.
pub(super) type Key = (AgentId, u64);
/// A report.
pub(super) type Number = (AgentId, u64, u64);

/// A record, where it lies, and the highest series that it names; `None` if it can't be read.
type FoundRecord = (RecordHead, At, Option<u32>);

/// What was found, sorted out.
#[derive(Default)]
pub(super) struct Found {
    records: BTreeMap<i64, Vec<FoundRecord>>,
    pub(super) definitions: BTreeMap<(AgentId, u64, u32), (DefinitionsHead, At)>,
    pub(super) cursors: HashMap<Key, CursorBody>,
    pub(super) ledger: BTreeMap<i64, LedgerEntry>,
    pub(super) floor: i64,
    pub(super) last_position: i64,
}

impl Found {
    pub(super) fn add(&mut self, sound: Sound) {
        match sound {
            Sound::Record(head, at, highest) => {
                self.last_position = self.last_position.max(head.position);
                let same_place = self.records.entry(head.position).or_default();
                if !same_place
                    .iter()
                    .any(|(known, ..)| number(known) == number(&head))
                {
                    same_place.push((head, at, highest));
                }
            }
            Sound::Definitions(head, at) => {
                self.definitions
                    .entry((head.agent, head.epoch, head.first_id))
                    .and_modify(|known| {
                        if known.0.last_id < head.last_id {
                            *known = (head, at);
                        }
                    })
                    .or_insert((head, at));
            }
            Sound::Cursor(cursor) => {
                self.last_position = self.last_position.max(cursor.written_at);
                match self.cursors.get_mut(&(cursor.agent, cursor.epoch)) {
                    Some(known) if known.is_newer_than(&cursor) => {}
                    Some(known) => *known = cursor,
                    None => {
                        self.cursors.insert((cursor.agent, cursor.epoch), cursor);
                    }
                }
            }
            Sound::Ledger(ledger) => {
                self.floor = self.floor.max(ledger.floor);
                for entry in ledger.entries {
                    self.last_position = self.last_position.max(entry.position);
                    self.ledger.insert(entry.position, entry);
                }
            }
        }
    }

    /// How many definitions of each epoch are there without a hole.
    pub(super) fn defined(&self) -> HashMap<Key, u32> {
        let mut defined: HashMap<Key, u32> = HashMap::new();
        for ((agent, epoch, first_id), (head, _)) in &self.definitions {
            let known = defined.entry((*agent, *epoch)).or_default();
            if *first_id <= known.saturating_add(1) {
                *known = (*known).max(head.last_id);
            }
        }
        defined
    }

    /// The records that are needed and can be used, and the numbers of those whose definitions are lost.
    pub(super) fn keep(
        &self,
        needed_from: i64,
        defined: &HashMap<Key, u32>,
    ) -> (Vec<(RecordHead, At)>, BTreeSet<Number>) {
        let mut kept = Vec::new();
        let mut undefined = BTreeSet::new();
        let mut seen = HashSet::new();
        for (head, at, highest) in self.records.range(needed_from..).flat_map(|(_, same)| same) {
            let known = defined.get(&(head.agent, head.epoch)).copied().unwrap_or(0);
            // It can't be read: the ledger has it, and it becomes a gap.
            let Some(highest) = highest else { continue };
            if known < *highest {
                // Its agent sends it again, with the definitions.
                undefined.insert(number(head));
            } else if seen.insert(number(head)) {
                kept.push((*head, *at));
            }
        }
        (kept, undefined)
    }

    /// Positions that were given and of which nothing is known.
    pub(super) fn unknown(&self, needed_from: i64) -> u64 {
        let known: BTreeSet<i64> = self
            .ledger
            .range(needed_from..)
            .map(|(position, _)| *position)
            .chain(self.records.range(needed_from..).map(|(position, _)| *position))
            .collect();
        let given = self.last_position.saturating_sub(needed_from.saturating_sub(1));
        u64::try_from(given)
            .unwrap_or(0)
            .saturating_sub(known.len() as u64)
    }
}

pub(super) fn number(head: &RecordHead) -> Number {
    (head.agent, head.epoch, head.sequence)
}
