//! Writing: the open segments of both lanes, the dictionary and the mark of the running epoch.
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
use super::thin::Grade;
use super::{Define, Record, Spool, SpoolError};

/// Definitions of one record.
pub(super) const DEFINITIONS_PER_RECORD: u32 = 64;

/// What is being written.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) ordinal: u64,
    epoch: u64,
    boot_id: String,
    wall_ms: i64,
    segments: u32,
    open: [Option<OpenSegment>; 2],
    dictionary: Option<Dictionary>,
    mark: Option<Box<dyn OpenFile>>,
    /// The number that was written last, and whether the next mark goes into the second place.
    last: u64,
    mark_is_odd: bool,
    /// On disk, and not told yet.
    synced: Vec<u64>,
}

/// Two kinds of reports never share a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Bulk,
    /// Alert-relevant reports, with room of their own.
    Urgent,
}

impl Lane {
    const fn of(record: &Record) -> Self {
        if record.is_urgent {
            Self::Urgent
        } else {
            Self::Bulk
        }
    }
}

#[derive(Debug)]
struct OpenSegment {
    id: FileId,
    path: Utf8PathBuf,
    file: Box<dyn OpenFile>,
    offset: u64,
    defined: u32,
    waiting: Vec<(u64, Place)>,
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
            open: [None, None],
            dictionary: None,
            mark: None,
            last: 0,
            mark_is_odd: false,
            synced: Vec::new(),
        }
    }

    /// Numbers of the segments that are written to.
    pub(super) fn open_segments(&self) -> Vec<u32> {
        self.open.iter().flatten().map(|open| open.id.segment).collect()
    }

    const fn slot(&mut self, lane: Lane) -> &mut Option<OpenSegment> {
        &mut self.open[lane as usize]
    }
}

impl Spool {
    /// Makes what urgent reports need to be kept whatever happens to the disk later: the folder, and allocated room.
    ///
    /// # Errors
    /// [`SpoolError`] if that can't be had; it may be asked for again.
    pub fn prepare(&mut self) -> Result<(), SpoolError> {
        if self.writer.slot(Lane::Urgent).is_some() && self.reserve_is_full() {
            return Ok(());
        }
        if let Err(error) = self.open_folder() {
            // A start on a full disk: a quarter of the lane is worth the folder that the rest needs.
            let is_full = matches!(&error, SpoolError::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull);
            if !is_full || !self.reserve.shrink(self.files.as_ref()) {
                return Err(error);
            }
            self.open_folder()?;
        }
        let stocked = self.restock();
        if self.writer.slot(Lane::Urgent).is_none() {
            self.open_segment(Lane::Urgent, self.writer.last + 1)?;
        }
        stocked
    }

    /// Allocates what the lane lacks, if there is room for it.
    fn restock(&mut self) -> Result<(), SpoolError> {
        if self.reserve_is_full() {
            return Ok(());
        }
        self.has_room_for(self.reserve.segment_bytes())?;
        let in_use: usize = self.shelves.values().map(Shelf::urgent_segments).sum();
        let restocked = self.reserve.restock(self.files.as_ref(), in_use);
        restocked.map_err(|source| SpoolError::Write {
            path: self.dir.clone(),
            source,
        })
    }

    fn reserve_is_full(&self) -> bool {
        let in_use: usize = self.shelves.values().map(Shelf::urgent_segments).sum();
        self.reserve.is_full(in_use)
    }

    /// Writes a report. It counts as kept only once [`Self::sync`] names it.
    ///
    /// # Errors
    /// [`SpoolError`]: it is not written; with [`SpoolError::Write`] what was not synced yet is not either.
    pub fn append(&mut self, record: &Record, define: Define<'_>) -> Result<(), SpoolError> {
        let lane = Lane::of(record);
        let written = self.try_append(lane, record, define);
        if let Err(SpoolError::Write { .. }) = &written {
            self.give_up(lane);
        }
        written
    }

    /// Waits until what was appended is on disk; returns the numbers.
    ///
    /// # Errors
    /// [`SpoolError::Write`]: what was appended to the file that failed since the last sync is not kept.
    pub fn sync(&mut self) -> Result<Vec<u64>, SpoolError> {
        let urgent = self.sync_open(Lane::Urgent);
        self.sync_open(Lane::Bulk)?;
        urgent?;
        Ok(std::mem::take(&mut self.writer.synced))
    }

    fn sync_open(&mut self, lane: Lane) -> Result<(), SpoolError> {
        let open = self.writer.slot(lane).as_mut();
        let Some(open) = open.filter(|open| !open.waiting.is_empty()) else {
            return Ok(());
        };
        let began = std::time::Instant::now();
        if let Err(source) = open.file.sync() {
            let path = open.path.clone();
            self.give_up(lane);
            return Err(SpoolError::Write { path, source });
        }
        self.sync_took = began.elapsed();
        let waiting = std::mem::take(&mut open.waiting);
        let (number, newest, offset) = (open.id.segment, open.newest, open.offset);
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

    fn try_append(&mut self, lane: Lane, record: &Record, define: Define<'_>) -> Result<(), SpoolError> {
        let segment_bytes = match lane {
            Lane::Bulk => self.options.segment_bytes,
            Lane::Urgent => self.reserve.segment_bytes(),
        };
        let is_full = self.writer.slot(lane).as_ref().is_some_and(|open| {
            // Compressed it will be shorter; what is asked here is only when to begin a new file.
            let needed = record.message.len() as u64 / 2 + 2 * ALIGN as u64;
            segment_bytes < open.offset + needed && HEADER_BYTES as u64 != open.offset
        });
        if is_full {
            // What it holds must be kept before the next one is begun, so that a failure costs one file only.
            self.sync_open(lane)?;
            *self.writer.slot(lane) = None;
        }
        if self.writer.slot(lane).is_none() {
            self.open_segment(lane, record.sequence)?;
        }
        self.define(lane, record.definitions, define)?;
        let previous = self.writer.last;
        let open = self.writer.slot(lane).as_mut().expect("opened above");
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
        open.newest = (record.wall_ms, record.boottime_ms);
        self.writer.last = record.sequence;
        Ok(())
    }

    fn give_up(&mut self, lane: Lane) {
        let Some(open) = self.writer.slot(lane).take() else {
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

    /// The folder of the running epoch, with the mark in it.
    fn open_folder(&mut self) -> Result<Utf8PathBuf, SpoolError> {
        let writer = &mut self.writer;
        let dir = self
            .dir
            .join(format!("{:08}-{:016x}", writer.ordinal, writer.epoch));
        let failed = |path: &Utf8Path| {
            let path = path.to_owned();
            move |source| SpoolError::Write { path, source }
        };
        if let std::collections::btree_map::Entry::Vacant(entry) = self.shelves.entry(writer.ordinal) {
            self.files.create_dir(&dir).map_err(failed(&dir))?;
            entry.insert(Shelf {
                epoch: writer.epoch,
                dir: dir.clone(),
                ..Shelf::default()
            });
        }
        if writer.mark.is_none() {
            let path = dir.join("mark");
            let mark = self.files.create(&path, 2 * ALIGN as u64, &[]);
            writer.mark = Some(mark.map_err(failed(&path))?);
        }
        Ok(dir)
    }

    fn open_segment(&mut self, lane: Lane, first_sequence: u64) -> Result<(), SpoolError> {
        if lane == Lane::Bulk {
            self.has_room()?;
        }
        let dir = self.open_folder()?;
        let writer = &mut self.writer;
        writer.segments += 1;
        let id = FileId {
            agent: self.agent,
            epoch: writer.epoch,
            segment: match lane {
                Lane::Bulk => writer.segments,
                Lane::Urgent => format::urgent_segment(writer.segments),
            },
        };
        let header = Header {
            id,
            first_sequence,
            boot_id: writer.boot_id.clone(),
            wall_ms: writer.wall_ms,
        };
        let path = format::segment_path(&dir, id.segment);
        let (file, size_bytes) = self.segment_file(lane, &path, &header.encode())?;
        let writer = &mut self.writer;
        let segment = Segment {
            path: path.clone(),
            size_bytes,
            live: 0,
            newest_wall_ms: writer.wall_ms,
            newest_boottime_ms: 0,
            boot_id: writer.boot_id.clone(),
            grade: Grade::default(),
        };
        let shelf = self.shelves.get_mut(&writer.ordinal).expect("opened above");
        shelf.segments.insert(id.segment, segment);
        *writer.slot(lane) = Some(OpenSegment {
            id,
            path,
            file,
            offset: HEADER_BYTES as u64,
            defined: 0,
            waiting: Vec::new(),
            newest: (0, 0),
        });
        Ok(())
    }

    /// A new file with room allocated, or one of the reserve.
    fn segment_file(
        &mut self,
        lane: Lane,
        path: &Utf8Path,
        header: &[u8],
    ) -> Result<(Box<dyn OpenFile>, u64), SpoolError> {
        let (opened, size_bytes) = match lane {
            Lane::Bulk => {
                let size_bytes = self.options.segment_bytes;
                (self.files.create(path, size_bytes, header), size_bytes)
            }
            Lane::Urgent => {
                let spare = self.reserve.take().ok_or(SpoolError::Full)?;
                let opened = self.files.recycle(&spare, path, header);
                (opened, self.reserve.segment_bytes())
            }
        };
        let opened = opened.map_err(|source| SpoolError::Write {
            path: path.to_owned(),
            source,
        });
        Ok((opened?, size_bytes))
    }

    /// Writes the definitions up to `last` that are missing: first the dictionary, synced, then the segment.
    fn define(&mut self, lane: Lane, last: u32, define: Define<'_>) -> Result<(), SpoolError> {
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
        let open = self.writer.slot(lane).as_mut();
        let open = open.expect("called with an open segment");
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

pub(super) fn definitions(epoch: u64, first: u32, last: u32, define: Define<'_>) -> (Head, Vec<u8>) {
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
