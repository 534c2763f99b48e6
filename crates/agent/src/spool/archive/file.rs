//! One file of the archive, being written or as it was left.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use muster_base::id::AgentId;
use muster_model::{Clock, RangeSet, SeriesDef};
use muster_proto::framing;

use super::Entry;
use crate::spool::Define;
use crate::spool::files::{Files, OpenFile};
use crate::spool::format::{self, FileId, HEADER_BYTES, Head, Header, Kind};
use crate::spool::write::{self, DEFINITIONS_PER_RECORD};

/// Set in the numbers that checksums begin with, so that no file of the spool is taken for one of these.
const ARCHIVED: u32 = 1 << 30;

/// What the checksums of file `number` begin with.
pub(super) const fn id(agent: AgentId, epoch: u64, number: u32) -> FileId {
    FileId {
        agent,
        epoch,
        segment: number | ARCHIVED,
    }
}

/// What is known of a file.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) epoch: u64,
    pub(super) path: Utf8PathBuf,
    pub(super) size_bytes: u64,
    /// The reports in it.
    pub(super) numbers: RangeSet,
    /// They use series up to this id.
    pub(super) definitions: u32,
    /// The clocks when the last of them was made, if the boot is known.
    pub(super) last_clock: Option<Clock>,
    /// When it was begun, by the wall clock.
    begun_wall_ms: i64,
    /// When it was begun, if in this boot: this clock is not set.
    begun: Option<(String, i64)>,
}

impl Stored {
    /// What the bytes of a file say; `None` if it is not ours or holds nothing.
    pub(super) fn read(agent: AgentId, number: u32, path: &Utf8Path, bytes: &[u8]) -> Option<Self> {
        let header = Header::decode(bytes)?;
        if header.id != id(agent, header.id.epoch, number) {
            return None;
        }
        let (mut numbers, mut definitions, mut newest) = (RangeSet::default(), 0, None);
        for (_, head) in format::scan_heads(header.id, bytes) {
            if head.kind == Kind::Report && numbers.insert(head.sequence).is_ok() {
                definitions = head.definitions.max(definitions);
                newest = newest.max(Some((head.boottime_ms, head.wall_ms)));
            }
        }
        let (boottime_ms, wall_ms) = newest?;
        Some(Self {
            epoch: header.id.epoch,
            path: path.to_owned(),
            size_bytes: bytes.len() as u64,
            numbers,
            definitions,
            last_clock: (!header.boot_id.is_empty()).then_some(Clock {
                wall_ms,
                boottime_ms,
                boot_id: header.boot_id,
            }),
            begun_wall_ms: header.wall_ms,
            begun: None,
        })
    }

    /// How long ago it was begun, ms.
    pub(super) fn age_ms(&self, now: &Clock) -> i64 {
        match &self.begun {
            Some((boot_id, begun_ms)) if *boot_id == now.boot_id => now.boottime_ms.saturating_sub(*begun_ms),
            _ => now.wall_ms.saturating_sub(self.begun_wall_ms),
        }
    }
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) number: u32,
    pub(super) epoch: u64,
    id: FileId,
    file: Box<dyn OpenFile>,
    offset: u64,
    defined: u32,
}

impl Open {
    /// Begins a file for reports that were made in the boot `boot_id`.
    pub(super) fn create(
        files: &dyn Files,
        dir: &Utf8Path,
        id: FileId,
        boot_id: &str,
        now: &Clock,
    ) -> io::Result<(Self, Stored)> {
        let number = id.segment & !ARCHIVED;
        let header = Header {
            id,
            first_sequence: 0,
            boot_id: boot_id.to_owned(),
            wall_ms: now.wall_ms,
        };
        let path = format::segment_path(dir, number);
        let open = Self {
            number,
            epoch: id.epoch,
            id,
            file: files.create(&path, 0, &header.encode())?,
            offset: HEADER_BYTES as u64,
            defined: 0,
        };
        let stored = Stored {
            epoch: id.epoch,
            path,
            size_bytes: open.offset,
            numbers: RangeSet::default(),
            definitions: 0,
            last_clock: (!boot_id.is_empty()).then(|| Clock {
                wall_ms: now.wall_ms,
                boottime_ms: 0,
                boot_id: boot_id.to_owned(),
            }),
            begun_wall_ms: now.wall_ms,
            begun: Some((now.boot_id.clone(), now.boottime_ms)),
        };
        Ok((open, stored))
    }

    pub(super) const fn size_bytes(&self) -> u64 {
        self.offset
    }

    pub(super) const fn defined(&self) -> u32 {
        self.defined
    }

    /// Writes a report after the definitions it uses; returns when it was made, by both clocks.
    pub(super) fn write(&mut self, entry: &Entry<'_>, define: Define<'_>) -> io::Result<(i64, i64)> {
        let last = entry.definitions();
        while self.defined < last {
            let end = last.min(self.defined + DEFINITIONS_PER_RECORD);
            let (head, plain) = write::definitions(self.epoch, self.defined + 1, end, define);
            let (_, bytes) = format::encode(self.id, head, &plain)?;
            self.append(&bytes)?;
            self.defined = end;
        }
        let (head, bytes) = match entry {
            Entry::Made(record) => {
                let head = Head {
                    kind: Kind::Report,
                    payload_bytes: 0,
                    plain_bytes: 0,
                    sequence: record.sequence,
                    previous: 0,
                    definitions: record.definitions,
                    sample_count: record.sample_count,
                    wall_ms: record.wall_ms,
                    boottime_ms: record.boottime_ms,
                };
                format::encode(self.id, head, &record.message)?
            }
            Entry::Kept { id, bytes, .. } => {
                format::reseal(*id, self.id, bytes).ok_or(io::ErrorKind::InvalidData)?
            }
        };
        self.append(&bytes)?;
        Ok((head.wall_ms, head.boottime_ms))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(self.offset, bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

/// Adds the definitions that a file holds.
pub(super) fn read_definitions(id: FileId, bytes: &[u8], into: &mut BTreeMap<u32, Arc<SeriesDef>>) {
    for (offset, head) in format::scan_heads(id, bytes) {
        if head.kind != Kind::Definitions {
            continue;
        }
        let Some((_, plain)) = format::decode(id, &bytes[offset..]) else {
            continue;
        };
        let Ok((first, series)) = framing::read_definitions(&plain) else {
            continue;
        };
        into.extend((first..).zip(series.into_iter().map(Arc::new)));
    }
}
