//! What goes into the new file: what is sound, gaps for what is known to be lost, and no number whose fate is unknown.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use muster_base::id::AgentId;
use muster_model::{Clock, Gap, GapReason, RangeSet, Report, SequenceRange};
use rusqlite::Connection;

use super::found::{Found, Key, Number, number};
use super::scan::{At, Pages};
use super::{Salvaged, WriteError};
use crate::intake::codec::{self, Packer};
use crate::intake::envelope::{CursorBody, DefinitionsHead, LedgerBody, LedgerEntry, RecordHead};
use crate::intake::schema;

/// Entries of one row of the ledger.
const LEDGER_ENTRIES: usize = 4_096;
/// How a record that stands for a lost one is marked: it was not stored as it came.
const KIND_REFUSED: u8 = 2;

/// What a record of the new file holds.
enum Content {
    /// What the old file has there.
    Old(At),
    /// What was made in the place of something lost.
    New(Vec<u8>),
}

/// What goes into the new file.
pub(super) struct Plan {
    records: Vec<(RecordHead, Content)>,
    definitions: BTreeMap<(AgentId, u64, u32), (DefinitionsHead, At)>,
    cursors: Vec<CursorBody>,
    last_position: i64,
    pub(super) told: Salvaged,
}

impl Plan {
    /// Positions up to `applied` are passed by every consumer.
    pub(super) fn of(mut found: Found, applied: i64, now_ms: i64) -> Self {
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
    fn place(&mut self, kept: Vec<(RecordHead, At)>, lost: &[LedgerEntry], now_ms: i64) {
        let mut taken = HashSet::new();
        for (mut head, at) in kept {
            if !taken.insert(head.position) {
                self.last_position += 1;
                head.position = self.last_position;
            }
            self.records.push((head, Content::Old(at)));
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
            self.records.push((head, Content::New(packed)));
        }
        self.records.sort_by_key(|(head, _)| head.position);
    }

    /// Writes it; `pages` are those of the old file.
    pub(super) fn write(&self, connection: &Connection, pages: &Pages) -> Result<(), WriteError> {
        for (head, content) in &self.records {
            match content {
                Content::Old(at) => schema::insert_record(connection, head, &pages.packed(*at)?)?,
                Content::New(packed) => schema::insert_record(connection, head, packed)?,
            };
        }
        for (head, at) in self.definitions.values() {
            schema::insert_definitions(connection, head, &pages.packed(*at)?)?;
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

/// What each epoch lists as stored.
fn cursors(
    found: &Found,
    records: &[(RecordHead, Content)],
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
    pub(super) fn is_newer_than(&self, other: &Self) -> bool {
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
