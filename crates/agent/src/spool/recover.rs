//! Reading what an earlier start has left.
//!
//! Never fails for what is damaged: each record that can be read is kept, and each that was there and can't be is a
//! loss. That one was there is known from its own head, from the record written after it, which names it, and at the
//! end from the mark.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use camino::Utf8Path;
use muster_base::id::AgentId;
use muster_model::{Clock, GapReason, SequenceRange, SeriesDef};
use muster_proto::framing;

use super::files::Files;
use super::format::{self, FileId, Found, HEADER_BYTES, Header, Kind};
use super::shelf::{Cursor, Place, Segment, Shelf};
use super::thin::Grade;
use super::{Past, PastReport};

/// How names of files end that are not whole yet.
const UNFINISHED: &str = ".new";

/// What a folder holds.
pub(super) enum Recovered {
    /// Reports, losses or both.
    Held(Box<Shelf>, Past),
    /// Nothing that is still needed.
    Empty,
    /// It belongs to another identity.
    Foreign,
}

struct Reading<'a> {
    files: &'a dyn Files,
    agent: AgentId,
    shelf: Shelf,
    definitions: BTreeMap<u32, Arc<SeriesDef>>,
    known: &'a mut HashSet<Arc<SeriesDef>>,
    reports: BTreeMap<u64, Entry>,
    foreign: bool,
}

/// A report that was found; without a place it is damaged.
struct Entry {
    previous: u64,
    definitions: u32,
    plain_bytes: usize,
    sample_count: u32,
    place: Option<Place>,
}

/// Reads the folder of `epoch`. Equal definitions of several epochs are `known` once.
pub(super) fn recover(
    files: &dyn Files,
    dir: &Utf8Path,
    agent: AgentId,
    epoch: u64,
    known: &mut HashSet<Arc<SeriesDef>>,
) -> std::io::Result<Recovered> {
    let shelf = Shelf {
        epoch,
        dir: dir.to_owned(),
        ..Shelf::default()
    };
    let mut reading = Reading {
        files,
        agent,
        shelf,
        definitions: BTreeMap::new(),
        known,
        reports: BTreeMap::new(),
        foreign: false,
    };
    let mut mark = 0;
    for name in files.list(dir)? {
        let path = dir.join(&name);
        if name.ends_with(UNFINISHED) {
            // A write that a crash cut short. If it can't be removed, it only takes room.
            let _ = files.remove(&path);
            continue;
        }
        // A file that can't be read is a loss like any other damage; what it held is known from the others.
        let bytes = files.read(&path).unwrap_or_default();
        match name.strip_suffix(".seg").and_then(|number| number.parse().ok()) {
            Some(number) => reading.segment(&path, number, &bytes),
            None if name == "dictionary" => reading.dictionary(&bytes),
            None if name == "mark" => mark = format::decode_marks(&bytes),
            None if name == "cursor" => {
                let cursor = Cursor::decode(&bytes);
                reading.shelf.settled = cursor.settled;
                reading.shelf.lost = cursor.lost;
            }
            None => {}
        }
    }
    Ok(reading.into_recovered(mark))
}

impl Reading<'_> {
    fn segment(&mut self, path: &Utf8Path, number: u32, bytes: &[u8]) {
        let header = Header::decode(bytes);
        if header
            .as_ref()
            .is_some_and(|header| header.id.agent != self.agent)
        {
            self.foreign = true;
            return;
        }
        let id = FileId {
            agent: self.agent,
            epoch: self.shelf.epoch,
            // A file under another's name still says itself which one it is.
            segment: header.as_ref().map_or(number, |header| header.id.segment),
        };
        let found = format::scan(id, bytes, HEADER_BYTES);
        let used = found
            .last()
            .map_or(HEADER_BYTES, |last| last.offset + last.head.stored_bytes());
        let newest = found.iter().rfind(|record| record.head.kind == Kind::Report);
        let segment = Segment {
            path: path.to_owned(),
            size_bytes: bytes.len().min(used) as u64,
            live: 0,
            newest_wall_ms: newest.map_or(0, |record| record.head.wall_ms),
            newest_boottime_ms: newest.map_or(0, |record| record.head.boottime_ms),
            boot_id: header.map(|header| header.boot_id).unwrap_or_default(),
            // What was thinned before is tried once more, which changes nothing.
            grade: Grade::default(),
        };
        // By the number that its checksums begin with, which is what reading needs.
        self.shelf.segments.insert(id.segment, segment);
        for record in found {
            match record.head.kind {
                Kind::Definitions => self.define(&record),
                Kind::Report => self.report(id.segment, &record),
            }
        }
        // What is allocated for urgent reports stays allocated.
        if used < bytes.len() && !format::is_urgent(number) {
            // Nothing can be read there, and nothing will be written. If it can't be cut, it only takes room.
            let _ = self.files.truncate(path, used as u64);
        }
    }

    fn dictionary(&mut self, bytes: &[u8]) {
        let id = FileId {
            agent: self.agent,
            epoch: self.shelf.epoch,
            segment: 0,
        };
        if Header::decode(bytes).is_some_and(|header| header.id.agent != self.agent) {
            self.foreign = true;
            return;
        }
        for record in format::scan(id, bytes, HEADER_BYTES) {
            self.define(&record);
        }
    }

    fn define(&mut self, record: &Found) {
        let Some(plain) = &record.plain else { return };
        let Ok((first, series)) = framing::read_definitions(plain) else {
            return;
        };
        for (id, series) in (first..).zip(series) {
            let series = match self.known.get(&series) {
                Some(known) => Arc::clone(known),
                None => {
                    let series = Arc::new(series);
                    self.known.insert(Arc::clone(&series));
                    series
                }
            };
            self.definitions.insert(id, series);
        }
    }

    fn report(&mut self, segment: u32, record: &Found) {
        let head = record.head;
        let place = record.plain.is_some().then(|| Place {
            segment,
            offset: record.offset as u64,
            stored_bytes: head.stored_bytes(),
            sample_count: head.sample_count,
        });
        let entry = Entry {
            previous: head.previous,
            definitions: head.definitions,
            plain_bytes: head.plain_bytes as usize,
            sample_count: head.sample_count,
            place,
        };
        // Written twice if the first file failed: either copy does.
        let known = self.reports.get(&head.sequence);
        if known.is_none_or(|known| known.place.is_none()) {
            self.reports.insert(head.sequence, entry);
        }
    }

    fn into_recovered(mut self, mark: u64) -> Recovered {
        if self.foreign {
            return Recovered::Foreign;
        }
        let defined = (1..)
            .zip(self.definitions.keys())
            .take_while(|(n, id)| n == *id)
            .count();
        let defined = u32::try_from(defined).unwrap_or(u32::MAX);
        self.lose_what_is_named(mark);
        let mut reports = Vec::new();
        for (sequence, entry) in std::mem::take(&mut self.reports) {
            if self.shelf.settled.contains(sequence) {
                continue;
            }
            match entry.place {
                Some(place) if entry.definitions <= defined => {
                    self.shelf.add(sequence, place);
                    reports.push(PastReport {
                        sequence,
                        definitions: entry.definitions,
                        sample_count: entry.sample_count,
                        plain_bytes: entry.plain_bytes,
                    });
                }
                _ => self.shelf.lost_once(sequence, sequence, Some(entry.sample_count)),
            }
        }
        if reports.is_empty() && self.shelf.lost.is_empty() {
            return Recovered::Empty;
        }
        let known = self
            .shelf
            .segments
            .values()
            .filter(|segment| !segment.boot_id.is_empty());
        let last = known.max_by_key(|segment| segment.newest_boottime_ms);
        let past = Past {
            epoch: self.shelf.epoch,
            last_clock: last.map(|segment| Clock {
                wall_ms: segment.newest_wall_ms,
                boottime_ms: segment.newest_boottime_ms,
                boot_id: segment.boot_id.clone(),
            }),
            reports,
            definitions: self.definitions.into_values().take(defined as usize).collect(),
            lost: self.shelf.lost.clone(),
        };
        Recovered::Held(Box::new(self.shelf), past)
    }

    /// Each record names the one that was written before it, and the mark the last one. What is named and not here is
    /// lost unless it was settled, and so is everything between it and the next lower number that is here: several
    /// records in a row that are gone have nobody to name the others.
    fn lose_what_is_named(&mut self, mark: u64) {
        let named = self.reports.values().map(|entry| entry.previous).chain([mark]);
        let missing: BTreeSet<u64> = named
            .filter(|number| !self.reports.contains_key(number))
            .collect();
        // From above, so that the widest range comes first and those within it are covered.
        for last in missing.into_iter().rev() {
            let below = self.reports.range(..last).next_back();
            self.lose_between(below.map_or(0, |(number, _)| *number), last);
        }
    }

    /// Everything after `seen` up to `until` was there and is not, but for what is settled or known to be lost.
    fn lose_between(&mut self, seen: u64, until: u64) {
        let lost = self.shelf.lost.iter().map(|gap| gap.range);
        let mut covered: Vec<SequenceRange> = self.shelf.settled.iter().chain(lost).collect();
        covered.sort_unstable();
        let mut first = seen + 1;
        for range in covered {
            if until < range.first {
                break;
            }
            if first < range.first {
                self.shelf
                    .lost_range(first, range.first - 1, None, GapReason::Damaged);
            }
            first = first.max(range.last.saturating_add(1));
        }
        if first <= until {
            self.shelf.lost_range(first, until, None, GapReason::Damaged);
        }
    }
}

impl Shelf {
    /// Notes a loss that may have been noted at an earlier start.
    fn lost_once(&mut self, first: u64, last: u64, sample_count: Option<u32>) {
        let is_known = self
            .lost
            .iter()
            .any(|gap| gap.range.first <= first && last <= gap.range.last);
        if !is_known {
            self.lost_range(first, last, sample_count, GapReason::Damaged);
        }
    }
}
