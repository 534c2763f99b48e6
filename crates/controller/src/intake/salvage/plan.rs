//! What goes into the new file: what is sound, gaps for what is known to be lost, and no number whose fate is unknown.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use muster_base::id::AgentId;
use muster_model::{Clock, Gap, GapReason, RangeSet, Report, SequenceRange};
use rusqlite::Connection;

use super::Salvaged;
use crate::intake::batch::highest_series;
use crate::intake::codec::{self, Packer};
use crate::intake::envelope::{CursorBody, DefinitionsHead, Envelope, LedgerBody, LedgerEntry, RecordHead};
use crate::intake::schema;

/// An epoch of an agent.
type Key = (AgentId, u64);
/// A report.
type Number = (AgentId, u64, u64);

/// Entries of one row of the ledger.
const LEDGER_ENTRIES: usize = 4_096;
/// How a record that stands for a lost one is marked: it was not stored as it came.
const KIND_REFUSED: u8 = 2;

/// What goes into the new file.
pub(super) struct Plan {
    records: Vec<(RecordHead, Vec<u8>)>,
    definitions: BTreeMap<(AgentId, u64, u32), (DefinitionsHead, Vec<u8>)>,
    cursors: Vec<CursorBody>,
    last_position: i64,
    pub(super) told: Salvaged,
}

/// What was found, sorted out.
#[derive(Default)]
struct Found {
    records: BTreeMap<i64, Vec<(RecordHead, Vec<u8>)>>,
    definitions: BTreeMap<(AgentId, u64, u32), (DefinitionsHead, Vec<u8>)>,
    cursors: HashMap<Key, CursorBody>,
    ledger: BTreeMap<i64, LedgerEntry>,
    floor: i64,
    last_position: i64,
}

impl Plan {
    pub(super) fn of(envelopes: Vec<Envelope>, applied: i64, now_ms: i64) -> Self {
        let mut found = Found::default();
        envelopes.into_iter().for_each(|envelope| found.add(envelope));
        found.last_position = found.last_position.max(applied);
        // Below, everything was passed by every consumer, or deleted because it was.
        let needed_from = (applied + 1).max(found.floor);
        let defined = found.defined();
        let (kept, undefined) = found.keep(needed_from, &defined);
        let numbers: HashSet<Number> = kept.iter().map(|(head, _)| number(head)).collect();
        let lost: Vec<LedgerEntry> = found
            .ledger
            .range(needed_from..)
            .map(|(_, entry)| *entry)
            .filter(|entry| {
                let number = (entry.agent, entry.epoch, entry.sequence);
                !numbers.contains(&number) && !undefined.contains(&number)
            })
            .collect();
        let unknown = found.unknown(needed_from);
        let mut plan = Self {
            told: Salvaged {
                kept: kept.len() as u64,
                lost: lost.len() as u64,
                unknown,
            },
            records: Vec::new(),
            cursors: Vec::new(),
            definitions: BTreeMap::new(),
            last_position: found.last_position,
        };
        plan.place(kept, &lost, now_ms);
        plan.cursors = cursors(&found, &plan.records, &undefined, unknown, &defined);
        plan.definitions = found.definitions;
        plan
    }

    /// Gives each record its place; two that claim the same one, and gaps, go to the end.
    fn place(&mut self, kept: Vec<(RecordHead, Vec<u8>)>, lost: &[LedgerEntry], now_ms: i64) {
        let mut taken = HashSet::new();
        for (mut head, packed) in kept {
            if !taken.insert(head.position) {
                self.last_position += 1;
                head.position = self.last_position;
            }
            self.records.push((head, packed));
        }
        let mut packer = Packer::new().ok();
        for entry in lost {
            let plain = codec::encode_report(&gap_of(entry, now_ms));
            let size_bytes = u32::try_from(plain.len()).unwrap_or(u32::MAX);
            let Some(packed) = packer.as_mut().and_then(|packer| packer.pack(&plain).ok()) else {
                continue;
            };
            self.last_position += 1;
            let head = RecordHead {
                position: self.last_position,
                agent: entry.agent,
                server: entry.server,
                epoch: entry.epoch,
                sequence: entry.sequence,
                received_ms: now_ms,
                kind: KIND_REFUSED,
                size_bytes,
            };
            self.records.push((head, packed));
        }
        self.records.sort_by_key(|(head, _)| head.position);
    }

    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        for (head, packed) in &self.records {
            schema::insert_record(connection, head, packed)?;
        }
        for (head, packed) in self.definitions.values() {
            schema::insert_definitions(connection, head, packed)?;
        }
        for cursor in &self.cursors {
            schema::put_cursor(connection, cursor)?;
        }
        let floor = self.records.first().map_or(0, |(head, _)| head.position);
        for chunk in self.records.chunks(LEDGER_ENTRIES) {
            let entries = chunk.iter().map(|(head, _)| head.entry()).collect();
            schema::insert_ledger(connection, &LedgerBody { floor, entries })?;
        }
        schema::raise_position(connection, self.last_position)?;
        Ok(())
    }
}

impl Found {
    fn add(&mut self, envelope: Envelope) {
        match envelope {
            Envelope::Record(head, packed) => {
                self.last_position = self.last_position.max(head.position);
                let same_place = self.records.entry(head.position).or_default();
                if !same_place.iter().any(|(known, _)| number(known) == number(&head)) {
                    same_place.push((head, packed));
                }
            }
            Envelope::Definitions(head, packed) => {
                self.definitions
                    .entry((head.agent, head.epoch, head.first_id))
                    .and_modify(|known| {
                        if known.0.last_id < head.last_id {
                            *known = (head, packed.clone());
                        }
                    })
                    .or_insert((head, packed));
            }
            Envelope::Cursor(cursor) => {
                self.last_position = self.last_position.max(cursor.written_at);
                match self.cursors.get_mut(&(cursor.agent, cursor.epoch)) {
                    Some(known) if known.is_newer_than(&cursor) => {}
                    Some(known) => *known = cursor,
                    None => {
                        self.cursors.insert((cursor.agent, cursor.epoch), cursor);
                    }
                }
            }
            Envelope::Ledger(ledger) => {
                self.floor = self.floor.max(ledger.floor);
                for entry in ledger.entries {
                    self.last_position = self.last_position.max(entry.position);
                    self.ledger.insert(entry.position, entry);
                }
            }
        }
    }

    /// How many definitions of each epoch are there without a hole.
    fn defined(&self) -> HashMap<Key, u32> {
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
    fn keep(
        &self,
        needed_from: i64,
        defined: &HashMap<Key, u32>,
    ) -> (Vec<(RecordHead, Vec<u8>)>, BTreeSet<Number>) {
        let mut kept = Vec::new();
        let mut undefined = BTreeSet::new();
        let mut seen = HashSet::new();
        for (head, packed) in self.records.range(needed_from..).flat_map(|(_, same)| same) {
            let known = defined.get(&(head.agent, head.epoch)).copied().unwrap_or(0);
            match codec::unpack_report(packed) {
                Ok(report) if highest_series(&report) <= known => {
                    if seen.insert(number(head)) {
                        kept.push((*head, packed.clone()));
                    }
                }
                // Its agent sends it again, with the definitions.
                Ok(_) => {
                    undefined.insert(number(head));
                }
                // Written so; the ledger has it, and it becomes a gap.
                Err(_) => {}
            }
        }
        (kept, undefined)
    }

    /// Positions that were given and of which nothing is known.
    fn unknown(&self, needed_from: i64) -> u64 {
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

/// What each epoch lists as stored.
fn cursors(
    found: &Found,
    records: &[(RecordHead, Vec<u8>)],
    undefined: &BTreeSet<Number>,
    unknown: u64,
    defined: &HashMap<Key, u32>,
) -> Vec<CursorBody> {
    let mut cursors: BTreeMap<Key, CursorBody> = BTreeMap::new();
    for (key, cursor) in &found.cursors {
        let mut cursor = cursor.clone();
        cursor.ranges = if unknown == 0 {
            without(&cursor.ranges, *key, undefined)
        } else {
            // Any of its numbers may be among the unknown.
            RangeSet::default()
        };
        cursors.insert(*key, cursor);
    }
    for (head, _) in records {
        let key = (head.agent, head.epoch);
        let cursor = cursors.entry(key).or_insert_with(|| CursorBody {
            agent: head.agent,
            epoch: head.epoch,
            written_at: 0,
            definitions: 0,
            last_ms: head.received_ms,
            ranges: RangeSet::default(),
        });
        // One hole too many: the number stays unlisted, and comes again.
        let _ = cursor.ranges.insert(head.sequence);
    }
    for (key, cursor) in &mut cursors {
        cursor.definitions = defined.get(key).copied().unwrap_or(0);
        cursor.written_at = found.last_position;
    }
    cursors.into_values().collect()
}

fn without(ranges: &RangeSet, (agent, epoch): Key, numbers: &BTreeSet<Number>) -> RangeSet {
    let mut left = Vec::new();
    for range in ranges.iter() {
        let mut first = range.first;
        let inner = (agent, epoch, range.first)..=(agent, epoch, range.last);
        for (_, _, number) in numbers.range(inner) {
            if first < *number {
                left.push(SequenceRange {
                    first,
                    last: number - 1,
                });
            }
            first = number.saturating_add(1);
        }
        if first <= range.last {
            left.push(SequenceRange {
                first,
                last: range.last,
            });
        }
    }
    left.into_iter().collect()
}

/// What is stored in the place of a lost record.
fn gap_of(entry: &LedgerEntry, now_ms: i64) -> Report {
    let clock = Clock {
        wall_ms: now_ms,
        boottime_ms: 0,
        boot_id: String::new(),
    };
    let mut report = Report::empty(entry.epoch, entry.sequence, clock);
    report.gaps.push(Gap {
        epoch: entry.epoch,
        range: SequenceRange {
            first: entry.sequence,
            last: entry.sequence,
        },
        sample_count: None,
        reason: GapReason::Damaged,
    });
    report
}

fn number(head: &RecordHead) -> Number {
    (head.agent, head.epoch, head.sequence)
}

impl RecordHead {
    pub(in crate::intake) fn entry(&self) -> LedgerEntry {
        LedgerEntry {
            position: self.position,
            agent: self.agent,
            server: self.server,
            epoch: self.epoch,
            sequence: self.sequence,
        }
    }
}

impl CursorBody {
    fn is_newer_than(&self, other: &Self) -> bool {
        (other.written_at, other.last_ms, count(&other.ranges))
            <= (self.written_at, self.last_ms, count(&self.ranges))
    }
}

fn count(ranges: &RangeSet) -> u64 {
    ranges
        .iter()
        .map(|range| (range.last - range.first).saturating_add(1))
        .fold(0, u64::saturating_add)
}
