//! Writing: the open segment, the dictionary and the mark of the running epoch.
//!
//! Records wait here between being written and being synced; only then are they on the shelf. After any failure the
//! file is given up with everything that was not synced, and the next record opens a new one.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use muster_model::Clock;
use muster_proto::framing;

use super::files::OpenFile;
use super::format::{self, ALIGN, FileId, HEADER_BYTES, Head, Header, Kind};
use super::shelf::{Place, Segment, Shelf};
use super::{Define, Options, Record, Spool, SpoolError};

/// Definitions of one record.
const DEFINITIONS_PER_RECORD: u32 = 64;

/// What is being written.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) ordinal: u64,
    epoch: u64,
    boot_id: String,
    wall_ms: i64,
    segments: u32,
    open: Option<OpenSegment>,
    dictionary: Option<Dictionary>,
    mark: Option<Box<dyn OpenFile>>,
    /// The last number on disk, and whether the next mark goes into the second place.
    last: u64,
    mark_is_odd: bool,
    /// On disk, and not told yet.
    synced: Vec<u64>,
}

#[derive(Debug)]
struct OpenSegment {
    id: FileId,
    path: Utf8PathBuf,
    file: Box<dyn OpenFile>,
    offset: u64,
    defined: u32,
    waiting: Vec<(u64, Place)>,
    waiting_last: u64,
    newest: (i64, i64),
}

#[derive(Debug)]
struct Dictionary {
    file: Box<dyn OpenFile>,
    offset: u64,
    defined: u32,
}

impl Writer {
    pub(super) fn new(ordinal: u64, epoch: u64, clock: &Clock) -> Self {
        Self {
            ordinal,
            epoch,
            boot_id: clock.boot_id.clone(),
            wall_ms: clock.wall_ms,
            segments: 0,
            open: None,
            dictionary: None,
            mark: None,
            last: 0,
            mark_is_odd: false,
            synced: Vec::new(),
        }
    }

    pub(super) fn open_segment(&self) -> Option<u32> {
        self.open.as_ref().map(|open| open.id.segment)
    }
}

impl Spool {
    /// Writes a report. It counts as kept only once [`Self::sync`] names it.
    ///
    /// # Errors
    /// [`SpoolError`]: it is not written; with [`SpoolError::Write`] what was not synced yet is not either.
    pub fn append(&mut self, record: &Record, define: Define<'_>) -> Result<(), SpoolError> {
        let written = self.try_append(record, define);
        if let Err(SpoolError::Write { .. }) = &written {
            self.give_up();
        }
        written
    }

    /// Waits until what was appended is on disk; returns the numbers.
    ///
    /// # Errors
    /// [`SpoolError::Write`]: nothing that was appended since the last sync is kept.
    pub fn sync(&mut self) -> Result<Vec<u64>, SpoolError> {
        self.sync_open()?;
        Ok(std::mem::take(&mut self.writer.synced))
    }

    fn sync_open(&mut self) -> Result<(), SpoolError> {
        let Some(open) = self.writer.open.as_mut().filter(|open| !open.waiting.is_empty()) else {
            return Ok(());
        };
        if let Err(source) = open.file.sync() {
            let path = open.path.clone();
            self.give_up();
            return Err(SpoolError::Write { path, source });
        }
        let waiting = std::mem::take(&mut open.waiting);
        let (number, newest, offset) = (open.id.segment, open.newest, open.offset);
        self.writer.last = open.waiting_last;
        let shelf = self.shelves.get_mut(&self.writer.ordinal);
        let shelf = shelf.expect("a segment is opened together with its shelf");
        if let Some(segment) = shelf.segments.get_mut(&number) {
            (segment.newest_wall_ms, segment.newest_boottime_ms) = newest;
            segment.size_bytes = segment.size_bytes.max(offset);
        }
        for (sequence, place) in waiting {
            shelf.add(sequence, place);
            self.writer.synced.push(sequence);
        }
        self.write_mark();
        Ok(())
    }

    fn try_append(&mut self, record: &Record, define: Define<'_>) -> Result<(), SpoolError> {
        let is_full = self.writer.open.as_ref().is_some_and(|open| {
            // Compressed it will be shorter; what is asked here is only when to begin a new file.
            let needed = record.message.len() as u64 / 2 + 2 * ALIGN as u64;
            self.options.segment_bytes < open.offset + needed && HEADER_BYTES as u64 != open.offset
        });
        if is_full {
            // What it holds must be kept before the next one is begun, so that the chain has no break.
            self.sync_open()?;
            self.writer.open = None;
        }
        if self.writer.open.is_none() {
            self.open_segment(record.sequence)?;
        }
        self.define(record.definitions, define)?;
        let last = self.writer.last;
        let open = self.writer.open.as_mut().expect("opened above");
        let previous = open.waiting.last().map_or(last, |(sequence, _)| *sequence);
        let head = Head {
            kind: Kind::Report,
            payload_bytes: 0,
            plain_bytes: 0,
            sequence: record.sequence,
            previous,
            definitions: record.definitions,
            sample_count: record.sample_count,
            wall_ms: record.wall_ms,
            boottime_ms: record.boottime_ms,
        };
        let offset = open.offset;
        let head = open.write(head, &record.message)?;
        let place = Place {
            segment: open.id.segment,
            offset,
            stored_bytes: head.stored_bytes(),
            sample_count: record.sample_count,
        };
        open.waiting.push((record.sequence, place));
        open.waiting_last = open.waiting_last.max(record.sequence);
        open.newest = (record.wall_ms, record.boottime_ms);
        Ok(())
    }

    fn give_up(&mut self) {
        let Some(open) = self.writer.open.take() else {
            return;
        };
        let Some(shelf) = self.shelves.get_mut(&self.writer.ordinal) else {
            return;
        };
        let is_empty = shelf
            .segments
            .get(&open.id.segment)
            .is_none_or(|segment| segment.live == 0);
        if is_empty {
            shelf.segments.remove(&open.id.segment);
            // If it can't be removed, recovery finds nothing in it that is not elsewhere as well.
            let _ = self.files.remove(&open.path);
        }
    }

    fn open_segment(&mut self, first_sequence: u64) -> Result<(), SpoolError> {
        self.has_room()?;
        let writer = &mut self.writer;
        let dir = self
            .dir
            .join(format!("{:08}-{:016x}", writer.ordinal, writer.epoch));
        let failed = |path: &Utf8Path| {
            let path = path.to_owned();
            move |source| SpoolError::Write { path, source }
        };
        let shelf = match self.shelves.entry(writer.ordinal) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                self.files.create_dir(&dir).map_err(failed(&dir))?;
                entry.insert(Shelf {
                    epoch: writer.epoch,
                    dir: dir.clone(),
                    ..Shelf::default()
                })
            }
        };
        if writer.mark.is_none() {
            let path = dir.join("mark");
            let mark = self.files.create(&path, 2 * ALIGN as u64, &[]);
            writer.mark = Some(mark.map_err(failed(&path))?);
        }
        writer.segments += 1;
        let id = FileId {
            agent: self.agent,
            epoch: writer.epoch,
            segment: writer.segments,
        };
        let header = Header {
            id,
            first_sequence,
            boot_id: writer.boot_id.clone(),
            wall_ms: writer.wall_ms,
        };
        let path = format::segment_path(&dir, id.segment);
        let file = self
            .files
            .create(&path, self.options.segment_bytes, &header.encode())
            .map_err(failed(&path))?;
        let segment = Segment {
            path: path.clone(),
            size_bytes: self.options.segment_bytes,
            live: 0,
            newest_wall_ms: 0,
            newest_boottime_ms: 0,
            boot_id: writer.boot_id.clone(),
        };
        shelf.segments.insert(id.segment, segment);
        writer.open = Some(OpenSegment {
            id,
            path,
            file,
            offset: HEADER_BYTES as u64,
            defined: 0,
            waiting: Vec::new(),
            waiting_last: writer.last,
            newest: (0, 0),
        });
        Ok(())
    }

    fn has_room(&self) -> Result<(), SpoolError> {
        let Options {
            segment_bytes,
            size_bytes_max,
            free_percent_min,
            ..
        } = self.options;
        if size_bytes_max < self.size_bytes() + segment_bytes {
            return Err(SpoolError::Full);
        }
        // Where the room is not known, the write will tell.
        let parent = self.dir.parent().unwrap_or(&self.dir);
        if let Ok(space) = self.files.space(parent) {
            let kept = u128::from(space.total_bytes) * u128::from(free_percent_min) / 100;
            if u128::from(space.free_bytes) < kept + u128::from(segment_bytes) {
                return Err(SpoolError::Full);
            }
        }
        Ok(())
    }

    /// Writes the definitions up to `last` that are missing: first the dictionary, synced, then the segment.
    fn define(&mut self, last: u32, define: Define<'_>) -> Result<(), SpoolError> {
        let dir = self
            .dir
            .join(format!("{:08}-{:016x}", self.writer.ordinal, self.writer.epoch));
        if self.writer.dictionary.as_ref().map_or(0, |known| known.defined) < last {
            let path = dir.join("dictionary");
            if let Err(source) = self.extend_dictionary(&path, last, define) {
                // It is written anew from the beginning next time.
                self.writer.dictionary = None;
                return Err(SpoolError::Write { path, source });
            }
        }
        let epoch = self.writer.epoch;
        let open = self.writer.open.as_mut().expect("called with an open segment");
        while open.defined < last {
            let first = open.defined + 1;
            let end = last.min(open.defined + DEFINITIONS_PER_RECORD);
            let (head, plain) = definitions(epoch, first, end, define);
            open.write(head, &plain)?;
            open.defined = end;
        }
        Ok(())
    }

    fn extend_dictionary(&mut self, path: &Utf8Path, last: u32, define: Define<'_>) -> io::Result<()> {
        let writer = &mut self.writer;
        let id = FileId {
            agent: self.agent,
            epoch: writer.epoch,
            segment: 0,
        };
        if writer.dictionary.is_none() {
            let header = Header {
                id,
                first_sequence: 0,
                boot_id: writer.boot_id.clone(),
                wall_ms: writer.wall_ms,
            };
            writer.dictionary = Some(Dictionary {
                file: self.files.create(path, 0, &header.encode())?,
                offset: HEADER_BYTES as u64,
                defined: 0,
            });
        }
        let known = writer.dictionary.as_mut().expect("made above");
        while known.defined < last {
            let first = known.defined + 1;
            let end = last.min(known.defined + DEFINITIONS_PER_RECORD);
            let (head, plain) = definitions(writer.epoch, first, end, define);
            let (_, bytes) = format::encode(id, head, &plain)?;
            known.file.write_at(known.offset, &bytes)?;
            known.offset += bytes.len() as u64;
            known.defined = end;
        }
        known.file.sync()
    }

    /// Not synced: it outlives the process, and after a power cut what was synced stands for itself.
    fn write_mark(&mut self) {
        let writer = &mut self.writer;
        let Some(mark) = &mut writer.mark else { return };
        let offset = if writer.mark_is_odd { ALIGN as u64 } else { 0 };
        writer.mark_is_odd = !writer.mark_is_odd;
        // Without it only the loss of a file's end would go unnoticed, and only if there is one.
        let _ = mark.write_at(offset, &format::encode_mark(writer.last));
    }
}

fn definitions(epoch: u64, first: u32, last: u32, define: Define<'_>) -> (Head, Vec<u8>) {
    let series = define(first, last)
        .iter()
        .map(|series| series.as_ref().clone())
        .collect();
    let plain = framing::definitions_message(epoch, first, series);
    let head = Head {
        kind: Kind::Definitions,
        payload_bytes: 0,
        plain_bytes: 0,
        sequence: first.into(),
        previous: 0,
        definitions: last,
        sample_count: 0,
        wall_ms: 0,
        boottime_ms: 0,
    };
    (head, plain)
}

impl OpenSegment {
    fn write(&mut self, head: Head, plain: &[u8]) -> Result<Head, SpoolError> {
        let written = format::encode(self.id, head, plain).and_then(|(head, bytes)| {
            self.file.write_at(self.offset, &bytes)?;
            self.offset += bytes.len() as u64;
            Ok(head)
        });
        written.map_err(|source| SpoolError::Write {
            path: self.path.clone(),
            source,
        })
    }
}
