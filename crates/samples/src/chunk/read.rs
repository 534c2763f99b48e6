//! Reading chunks: the directory first, then only the parts that hold what is wanted.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::pages::PagesView;
use super::{ChunkKey, FORMAT, FORMAT_OF_SAMPLES, FORMAT_WITHOUT_PAGES};
use crate::bytes::Cursor;
use crate::codec;
use crate::run::Run;
use crate::tier::Tier;
use crate::zstd_pool::ZstdPool;

/// No part becomes longer than this once decompressed; what claims to is damaged.
const PART_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A series with its times.
pub(crate) type SeriesTimes = (u32, Arc<[i64]>);

/// Some of a chunk, or all of it, cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// A chunk whose directory was read and is sound.
#[derive(Debug)]
pub(crate) struct Chunk<'a> {
    columns: Vec<ColumnView<'a>>,
}

#[derive(Debug)]
struct ColumnView<'a> {
    format: u8,
    points: usize,
    times: Part<'a>,
    series: Vec<u32>,
    values: ValuesView<'a>,
}

#[derive(Debug)]
enum ValuesView<'a> {
    Segments {
        per_segment: usize,
        parts: Vec<Part<'a>>,
    },
    Pages(PagesView<'a>),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    stored: &'a [u8],
    raw_length: usize,
    crc: u32,
}

impl<'a> Chunk<'a> {
    /// Reads the directory of what must be the chunk `key`.
    pub(crate) fn parse(bytes: &'a [u8], key: ChunkKey) -> Result<Self, Unreadable> {
        Self::try_parse(bytes, key).ok_or(Unreadable)
    }

    fn try_parse(bytes: &'a [u8], key: ChunkKey) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let format = cursor.byte()?;
        if !(FORMAT_OF_SAMPLES..=FORMAT).contains(&format) {
            return None;
        }
        let length = usize::try_from(cursor.u32()?).ok()?;
        let crc = cursor.u32()?;
        let directory = cursor.take(length)?;
        if crc32fast::hash(directory) != crc {
            return None;
        }
        let mut parts = cursor;
        let mut directory = Cursor::new(directory);
        let tier = match format {
            FORMAT_OF_SAMPLES => Tier::Raw.code(),
            _ => directory.byte()?,
        };
        let found = ChunkKey {
            tier: key.tier,
            group: u32::try_from(directory.varint()?).ok()?,
            start_ms: directory.signed()?,
        };
        if tier != key.tier.code() || found != key {
            return None;
        }
        let count = directory.length()?;
        let mut columns = Vec::new();
        for _ in 0..count {
            columns.push(ColumnView::parse(format, key, &mut directory, &mut parts)?);
        }
        (directory.is_empty() && parts.is_empty()).then_some(Self { columns })
    }

    /// Every series of the chunk.
    pub(crate) fn series(&self) -> impl Iterator<Item = u32> + '_ {
        self.columns
            .iter()
            .flat_map(|column| column.series.iter().copied())
    }

    /// Appends a run for each series of `wanted` (ascending) that the chunk has, with its samples of a closed range of
    /// time at least; more come where they cannot be had alone.
    ///
    /// # Errors
    /// [`Unreadable`] if a part that was needed is damaged; what could be read was appended all the same.
    pub(crate) fn read(
        &self,
        wanted: &[u32],
        times_ms: &RangeInclusive<i64>,
        pool: &ZstdPool,
        runs: &mut Vec<Run>,
    ) -> Result<(), Unreadable> {
        let mut outcome = Ok(());
        for column in &self.columns {
            outcome = outcome.and(column.read(wanted, times_ms, pool, runs));
        }
        outcome
    }

    /// The times of each series whose values are sound.
    /// Comes with [`Unreadable`] if there are others.
    pub(crate) fn times(&self, pool: &ZstdPool) -> (Vec<SeriesTimes>, Result<(), Unreadable>) {
        let mut all = Vec::new();
        let mut outcome = Ok(());
        for column in &self.columns {
            let Some(times) = column.times(pool) else {
                outcome = Err(Unreadable);
                continue;
            };
            let mut add = |series: &[u32], is_sound: bool| {
                if is_sound {
                    all.extend(series.iter().map(|series| (*series, Arc::clone(&times))));
                } else {
                    outcome = Err(Unreadable);
                }
            };
            match &column.values {
                ValuesView::Segments { per_segment, parts } => {
                    for (series, part) in column.series.chunks(*per_segment).zip(parts) {
                        add(series, part.is_sound());
                    }
                }
                ValuesView::Pages(pages) => add(&column.series, pages.is_sound()),
            }
        }
        (all, outcome)
    }
}

impl<'a> ColumnView<'a> {
    fn parse(format: u8, key: ChunkKey, directory: &mut Cursor<'a>, parts: &mut Cursor<'a>) -> Option<Self> {
        let points = directory.length()?;
        let times = Part::parse(directory, parts)?;
        let count = directory.length()?;
        let mut series = Vec::new();
        let mut id = 0_u32;
        for _ in 0..count {
            id = id.checked_add(u32::try_from(directory.varint()?).ok()?)?;
            series.push(id);
        }
        if points == 0 {
            return None;
        }
        let page_points = if format == FORMAT { directory.length()? } else { 0 };
        let values = if page_points == 0 {
            let per_segment = directory.length()?;
            if per_segment == 0 {
                return None;
            }
            let parts = (0..count.div_ceil(per_segment))
                .map(|_| Part::parse(directory, parts))
                .collect::<Option<_>>()?;
            ValuesView::Segments { per_segment, parts }
        } else {
            ValuesView::Pages(PagesView::parse(
                (points, page_points),
                count,
                key,
                directory,
                parts,
            )?)
        };
        Some(Self {
            format,
            points,
            times,
            series,
            values,
        })
    }

    fn times(&self, pool: &ZstdPool) -> Option<Arc<[i64]>> {
        let raw = self.times.open(pool)?;
        let times = match self.format {
            FORMAT_OF_SAMPLES => codec::times::decode(&raw, self.points),
            FORMAT_WITHOUT_PAGES.. => codec::times::decode_tagged(&raw, self.points),
            _ => None,
        };
        times.map(Arc::from)
    }

    fn read(
        &self,
        wanted: &[u32],
        times_ms: &RangeInclusive<i64>,
        pool: &ZstdPool,
        runs: &mut Vec<Run>,
    ) -> Result<(), Unreadable> {
        let is_wanted = |series: &u32| wanted.binary_search(series).is_ok();
        let (per_segment, parts) = match &self.values {
            ValuesView::Segments { per_segment, parts } => (*per_segment, parts),
            ValuesView::Pages(pages) => {
                let places = self.series.iter().enumerate();
                let places: Vec<(usize, u32)> = places
                    .filter(|(_, series)| is_wanted(series))
                    .map(|(place, series)| (place, *series))
                    .collect();
                return pages.read(&places, times_ms, || self.times(pool), pool, runs);
            }
        };
        let mut times = None;
        let mut outcome = Ok(());
        for (series, part) in self.series.chunks(per_segment).zip(parts) {
            if !series.iter().any(is_wanted) {
                continue;
            }
            if times.is_none() {
                times = Some(self.times(pool).ok_or(Unreadable)?);
            }
            let Some(times) = &times else { continue };
            if self
                .read_segment(series, *part, pool, times, is_wanted, runs)
                .is_none()
            {
                outcome = Err(Unreadable);
            }
        }
        outcome
    }

    fn read_segment(
        &self,
        series: &[u32],
        part: Part<'_>,
        pool: &ZstdPool,
        times_ms: &Arc<[i64]>,
        is_wanted: impl Fn(&u32) -> bool,
        runs: &mut Vec<Run>,
    ) -> Option<()> {
        let raw = part.open(pool)?;
        let mut payload = Cursor::new(&raw);
        let lengths: Vec<usize> = series.iter().map(|_| payload.length()).collect::<Option<_>>()?;
        for (id, length) in series.iter().zip(lengths) {
            let bytes = payload.take(length)?;
            if is_wanted(id) {
                let values = codec::decode(bytes, self.points)?;
                runs.push(Run {
                    series: *id,
                    times_ms: Arc::clone(times_ms),
                    values,
                });
            }
        }
        Some(())
    }
}

impl<'a> Part<'a> {
    pub(super) fn parse(directory: &mut Cursor<'a>, parts: &mut Cursor<'a>) -> Option<Self> {
        let stored_length = directory.length()?;
        let raw_length = directory.length()?;
        let crc = directory.u32()?;
        Some(Self {
            stored: parts.take(stored_length)?,
            raw_length,
            crc,
        })
    }

    pub(super) fn is_sound(&self) -> bool {
        crc32fast::hash(self.stored) == self.crc && self.raw_length <= PART_BYTES_MAX
    }

    /// Its bytes, which must not be compressed.
    pub(super) fn plain(&self) -> Option<&'a [u8]> {
        (self.raw_length == 0 && self.is_sound()).then_some(self.stored)
    }

    pub(super) fn open(&self, pool: &ZstdPool) -> Option<Cow<'a, [u8]>> {
        if !self.is_sound() {
            return None;
        }
        if self.raw_length == 0 {
            return Some(self.stored.into());
        }
        pool.decompress(self.stored, self.raw_length).map(Into::into)
    }
}
