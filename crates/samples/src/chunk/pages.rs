//! Columns in pages: all series of a column side by side, some hours at a time.
//!
//! ```text
//! common part: length of each series' common bytes · these bytes
//! page part:   length of each series' bytes · these bytes
//! ```
//!
//! The directory says when each page begins, so that reading an hour touches the page or two that have it.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use super::read::{Part, Unreadable};
use super::{ChunkKey, PAGE_POINTS, Writer};
use crate::bytes::{Cursor, put_varint, zigzag};
use crate::codec;
use crate::codec::pages::{Column, Encoded, PageScratch};
use crate::run::Run;
use crate::zstd_pool::ZstdPool;

impl Writer<'_> {
    /// Writes runs that share their times.
    pub(super) fn pages(&mut self, key: ChunkKey, runs: &[&Run], scratch: &mut codec::Scratch) {
        let times = &runs[0].times_ms;
        let mut previous = key.start_ms;
        for page in times.chunks(PAGE_POINTS) {
            put_varint(&mut self.directory, zigzag(page[0].wrapping_sub(previous)));
            previous = page[0];
        }
        let encode = |run: &&Run| codec::pages::encode(&run.values, PAGE_POINTS, scratch);
        let columns: Vec<Encoded> = runs.iter().map(encode).collect();
        let common = joined(columns.iter().map(|column| &column.common));
        self.shortest_part(&common, None);
        for index in 0..times.len().div_ceil(PAGE_POINTS) {
            let page = joined(columns.iter().map(|column| &column.pages[index]));
            // Packed already, or next to nothing.
            self.part(&page, 0);
        }
    }
}

/// The lengths, and then the bytes.
fn joined<'a>(pieces: impl Iterator<Item = &'a Vec<u8>> + Clone) -> Vec<u8> {
    let mut joined = Vec::new();
    for piece in pieces.clone() {
        put_varint(&mut joined, piece.len() as u64);
    }
    pieces.for_each(|piece| joined.extend_from_slice(piece));
    joined
}

/// What [`joined`] joined, without copying it.
struct Pieces<'a> {
    ends: Vec<usize>,
    bytes: &'a [u8],
}

impl<'a> Pieces<'a> {
    /// The pieces up to the one that is wanted last.
    fn parse(joined: &'a [u8], count: usize) -> Option<Self> {
        let mut cursor = Cursor::new(joined);
        let mut ends = Vec::with_capacity(count.min(joined.len()));
        let mut end = 0_usize;
        for _ in 0..count {
            end = end.checked_add(cursor.length()?)?;
            ends.push(end);
        }
        let bytes = cursor.rest();
        (bytes.len() == end).then_some(Self { ends, bytes })
    }

    fn get(&self, place: usize) -> Option<&'a [u8]> {
        let start = match place.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.bytes.get(start..*self.ends.get(place)?)
    }
}

/// The values of a column in pages.
#[derive(Debug)]
pub(super) struct PagesView<'a> {
    points: usize,
    page_points: usize,
    series: usize,
    /// When each page begins.
    starts_ms: Vec<i64>,
    common: Part<'a>,
    parts: Vec<Part<'a>>,
}

impl<'a> PagesView<'a> {
    /// Reads what the directory says of them.
    pub(super) fn parse(
        (points, page_points): (usize, usize),
        series: usize,
        key: ChunkKey,
        directory: &mut Cursor<'a>,
        parts: &mut Cursor<'a>,
    ) -> Option<Self> {
        let mut starts_ms = Vec::new();
        let mut start_ms = key.start_ms;
        let count = points.div_ceil(page_points);
        for _ in 0..count {
            start_ms = start_ms.wrapping_add(directory.signed()?);
            starts_ms.push(start_ms);
        }
        let common = Part::parse(directory, parts)?;
        let parts = (0..count)
            .map(|_| Part::parse(directory, parts))
            .collect::<Option<_>>()?;
        Some(Self {
            points,
            page_points,
            series,
            starts_ms,
            common,
            parts,
        })
    }

    /// Whether all of it is as it was written.
    pub(super) fn is_sound(&self) -> bool {
        self.common.is_sound() && self.parts.iter().all(Part::is_sound)
    }

    /// Appends runs of the series at some places of the column, with the pages that have a range of time.
    pub(super) fn read(
        &self,
        wanted: &[(usize, u32)],
        range_ms: &RangeInclusive<i64>,
        times_ms: impl FnOnce() -> Option<Arc<[i64]>>,
        pool: &ZstdPool,
        runs: &mut Vec<Run>,
    ) -> Result<(), Unreadable> {
        let meeting = self.meeting(range_ms);
        if wanted.is_empty() || meeting.is_empty() {
            return Ok(());
        }
        let times_ms = times_ms().ok_or(Unreadable)?;
        let common = self.common.open(pool).ok_or(Unreadable)?;
        let common = Pieces::parse(&common, self.series).ok_or(Unreadable)?;
        let mut outcome = Ok(());
        let mut pages = Vec::new();
        for index in meeting {
            let part = &self.parts[index];
            match part.plain().and_then(|page| Pieces::parse(page, self.series)) {
                Some(pieces) => pages.push((index, pieces)),
                None => outcome = Err(Unreadable),
            }
        }
        let times_ms = self.times_of(&pages, &times_ms);
        let mut scratch = PageScratch::default();
        for (place, series) in wanted {
            let values = common
                .get(*place)
                .and_then(|common| self.values(common, *place, &pages, &mut scratch))
                .filter(|values| values.len() == times_ms.len());
            match values {
                Some(values) if values.is_empty() => {}
                Some(values) => runs.push(Run {
                    series: *series,
                    times_ms: Arc::clone(&times_ms),
                    values,
                }),
                None => outcome = Err(Unreadable),
            }
        }
        outcome
    }

    /// The pages that may have samples of a range of time.
    fn meeting(&self, range_ms: &RangeInclusive<i64>) -> Range<usize> {
        let end = self.starts_ms.partition_point(|start| start <= range_ms.end());
        // A page ends before the next one begins.
        let later = self.starts_ms.partition_point(|start| start <= range_ms.start());
        later.saturating_sub(1)..end
    }

    fn times_of(&self, pages: &[(usize, Pieces<'_>)], times_ms: &Arc<[i64]>) -> Arc<[i64]> {
        if pages.len() == self.parts.len() {
            return Arc::clone(times_ms);
        }
        let mut times = Vec::with_capacity(self.points_of(pages));
        for (index, _) in pages {
            let start = index * self.page_points;
            let end = start.saturating_add(self.page_points).min(self.points);
            times.extend_from_slice(&times_ms[start..end]);
        }
        times.into()
    }

    /// How many points pages have at most.
    fn points_of(&self, pages: &[(usize, Pieces<'_>)]) -> usize {
        pages.len().saturating_mul(self.page_points).min(self.points)
    }

    fn values(
        &self,
        common: &[u8],
        place: usize,
        pages: &[(usize, Pieces<'_>)],
        scratch: &mut PageScratch,
    ) -> Option<Vec<f64>> {
        let column = Column::parse(common, self.points, self.page_points)?;
        let mut values = Vec::with_capacity(self.points_of(pages));
        for (index, pieces) in pages {
            column.read(*index, pieces.get(place)?, scratch, &mut values)?;
        }
        Some(values)
    }
}
