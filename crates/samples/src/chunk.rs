//! Chunks: the sealed samples of one group in one window, as one run of bytes.
//!
//! ```text
//! format u8 · directory length u32 · directory CRC u32 · directory · parts
//! directory: group · window start · columns
//! column:    points · times part · series ids (ascending, as differences) · series per segment · segment parts
//! part:      stored length · length once decompressed (0: stored plain) · CRC u32 of the stored bytes
//! ```
//!
//! Series with the same times form a column and share them. Their values are compressed some series together
//! (a *segment*): enough for `zstd` to find what is alike, few enough that reading one series stays cheap.
//!
//! The directory repeats group and window, so that a row of a damaged file cannot pass for another. Nothing is
//! decoded before its CRC was checked; a damaged segment loses its series and no others.

use std::collections::HashMap;
use std::sync::Arc;

use crate::bytes::{Cursor, put_varint, zigzag};
use crate::codec;
use crate::run::Run;
use crate::zstd_pool::ZstdPool;

/// The only format so far.
const FORMAT: u8 = 1;
/// Bytes before the directory.
const HEAD_BYTES: usize = 9;
/// Samples that are compressed together, if a single series has not more.
const SEGMENT_SAMPLES: usize = 16_384;
/// No part becomes longer than this once decompressed; what claims to is damaged.
const PART_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Which chunk it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkKey {
    /// The group's id.
    pub(crate) group: u32,
    /// Begin of the window.
    pub(crate) start_ms: i64,
}

/// Makes a chunk of runs that are ascending in time, at most one a series, none empty.
pub(crate) fn encode(key: ChunkKey, runs: &[Run], pool: &ZstdPool) -> Vec<u8> {
    let mut writer = Writer {
        pool,
        directory: Vec::new(),
        parts: Vec::new(),
    };
    let columns = columns(runs);
    put_varint(&mut writer.directory, key.group.into());
    put_varint(&mut writer.directory, zigzag(key.start_ms));
    put_varint(&mut writer.directory, columns.len() as u64);
    let mut scratch = codec::Scratch::default();
    for column in &columns {
        writer.column(column, &mut scratch);
    }
    let Writer { directory, parts, .. } = writer;
    let mut out = Vec::with_capacity(HEAD_BYTES + directory.len() + parts.len());
    out.push(FORMAT);
    out.extend_from_slice(&u32::try_from(directory.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&directory).to_le_bytes());
    out.extend_from_slice(&directory);
    out.extend_from_slice(&parts);
    out
}

/// Groups runs by their times; within a column they stand by series.
fn columns(runs: &[Run]) -> Vec<Vec<&Run>> {
    let mut columns: Vec<Vec<&Run>> = Vec::new();
    let mut by_times: HashMap<&[i64], usize> = HashMap::new();
    // Hashing a column of times for each series would cost as much as encoding it.
    let mut by_address: HashMap<*const i64, usize> = HashMap::new();
    for run in runs {
        let index = *by_address.entry(run.times_ms.as_ptr()).or_insert_with(|| {
            *by_times.entry(&run.times_ms).or_insert_with(|| {
                columns.push(Vec::new());
                columns.len() - 1
            })
        });
        columns[index].push(run);
    }
    for column in &mut columns {
        column.sort_unstable_by_key(|run| run.series);
    }
    columns
}

struct Writer<'a> {
    pool: &'a ZstdPool,
    directory: Vec<u8>,
    parts: Vec<u8>,
}

impl Writer<'_> {
    fn column(&mut self, runs: &[&Run], scratch: &mut codec::Scratch) {
        let points = runs[0].times_ms.len();
        put_varint(&mut self.directory, points as u64);
        let mut raw = Vec::new();
        codec::times::encode(&runs[0].times_ms, &mut raw);
        self.part(&raw);
        put_varint(&mut self.directory, runs.len() as u64);
        let mut previous = 0;
        for run in runs {
            put_varint(&mut self.directory, u64::from(run.series - previous));
            previous = run.series;
        }
        let per_segment = (SEGMENT_SAMPLES / points).max(1);
        put_varint(&mut self.directory, per_segment as u64);
        let mut payload = Vec::new();
        for segment in runs.chunks(per_segment) {
            raw.clear();
            payload.clear();
            for run in segment {
                let start = payload.len();
                codec::encode(&run.values, scratch, &mut payload);
                put_varint(&mut raw, (payload.len() - start) as u64);
            }
            raw.extend_from_slice(&payload);
            self.part(&raw);
        }
    }

    fn part(&mut self, raw: &[u8]) {
        let compressed = self.pool.compress(raw);
        let (stored, raw_length) = compressed.as_deref().map_or((raw, 0), |short| (short, raw.len()));
        put_varint(&mut self.directory, stored.len() as u64);
        put_varint(&mut self.directory, raw_length as u64);
        self.directory
            .extend_from_slice(&crc32fast::hash(stored).to_le_bytes());
        self.parts.extend_from_slice(stored);
    }
}

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
    points: usize,
    times: Part<'a>,
    series: Vec<u32>,
    per_segment: usize,
    segments: Vec<Part<'a>>,
}

#[derive(Debug, Clone, Copy)]
struct Part<'a> {
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
        if cursor.byte()? != FORMAT {
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
        let found = ChunkKey {
            group: u32::try_from(directory.varint()?).ok()?,
            start_ms: directory.signed()?,
        };
        if found != key {
            return None;
        }
        let count = directory.length()?;
        let mut columns = Vec::new();
        for _ in 0..count {
            columns.push(ColumnView::parse(&mut directory, &mut parts)?);
        }
        (directory.is_empty() && parts.is_empty()).then_some(Self { columns })
    }

    /// Every series of the chunk.
    pub(crate) fn series(&self) -> impl Iterator<Item = u32> + '_ {
        self.columns
            .iter()
            .flat_map(|column| column.series.iter().copied())
    }

    /// Appends a run for each series of `wanted` (ascending) that the chunk has.
    ///
    /// # Errors
    /// [`Unreadable`] if a part that was needed is damaged; what could be read was appended all the same.
    pub(crate) fn read(
        &self,
        wanted: &[u32],
        pool: &ZstdPool,
        runs: &mut Vec<Run>,
    ) -> Result<(), Unreadable> {
        let mut outcome = Ok(());
        for column in &self.columns {
            outcome = outcome.and(column.read(wanted, pool, runs));
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
            for (series, part) in column.series.chunks(column.per_segment).zip(&column.segments) {
                if part.is_sound() {
                    all.extend(series.iter().map(|series| (*series, Arc::clone(&times))));
                } else {
                    outcome = Err(Unreadable);
                }
            }
        }
        (all, outcome)
    }
}

impl<'a> ColumnView<'a> {
    fn parse(directory: &mut Cursor<'a>, parts: &mut Cursor<'a>) -> Option<Self> {
        let points = directory.length()?;
        let times = Part::parse(directory, parts)?;
        let count = directory.length()?;
        let mut series = Vec::new();
        let mut id = 0_u32;
        for _ in 0..count {
            id = id.checked_add(u32::try_from(directory.varint()?).ok()?)?;
            series.push(id);
        }
        let per_segment = directory.length()?;
        if per_segment == 0 || points == 0 {
            return None;
        }
        let segments = (0..count.div_ceil(per_segment))
            .map(|_| Part::parse(directory, parts))
            .collect::<Option<_>>()?;
        Some(Self {
            points,
            times,
            series,
            per_segment,
            segments,
        })
    }

    fn times(&self, pool: &ZstdPool) -> Option<Arc<[i64]>> {
        let raw = self.times.open(pool)?;
        codec::times::decode(&raw, self.points).map(Arc::from)
    }

    fn read(&self, wanted: &[u32], pool: &ZstdPool, runs: &mut Vec<Run>) -> Result<(), Unreadable> {
        let is_wanted = |series: &u32| wanted.binary_search(series).is_ok();
        let mut times = None;
        let mut outcome = Ok(());
        for (series, part) in self.series.chunks(self.per_segment).zip(&self.segments) {
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
    fn parse(directory: &mut Cursor<'a>, parts: &mut Cursor<'a>) -> Option<Self> {
        let stored_length = directory.length()?;
        let raw_length = directory.length()?;
        let crc = directory.u32()?;
        Some(Self {
            stored: parts.take(stored_length)?,
            raw_length,
            crc,
        })
    }

    fn is_sound(&self) -> bool {
        crc32fast::hash(self.stored) == self.crc && self.raw_length <= PART_BYTES_MAX
    }

    fn open(&self, pool: &ZstdPool) -> Option<std::borrow::Cow<'a, [u8]>> {
        if !self.is_sound() {
            return None;
        }
        if self.raw_length == 0 {
            return Some(self.stored.into());
        }
        pool.decompress(self.stored, self.raw_length).map(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: ChunkKey = ChunkKey {
        group: 7,
        start_ms: 1_763_769_600_000,
    };

    fn run(series: u32, times_ms: &Arc<[i64]>, values: Vec<f64>) -> Run {
        Run {
            series,
            times_ms: Arc::clone(times_ms),
            values,
        }
    }

    fn sample_runs() -> Vec<Run> {
        let fast: Arc<[i64]> = (0..240).map(|n| KEY.start_ms + n * 15_000).collect();
        let slow: Arc<[i64]> = [KEY.start_ms + 5].into();
        let mut runs: Vec<Run> = (1..300)
            .map(|series| {
                run(
                    series,
                    &fast,
                    (0..240_u32).map(|n| f64::from(n * series)).collect(),
                )
            })
            .collect();
        runs.push(run(1_000, &slow, vec![f64::NAN]));
        runs
    }

    fn read_all(bytes: &[u8]) -> Result<Vec<Run>, Unreadable> {
        let pool = ZstdPool::default();
        let chunk = Chunk::parse(bytes, KEY)?;
        let mut wanted: Vec<u32> = chunk.series().collect();
        wanted.sort_unstable();
        let mut runs = Vec::new();
        chunk.read(&wanted, &pool, &mut runs)?;
        runs.sort_by_key(|run| run.series);
        Ok(runs)
    }

    fn same(left: &Run, right: &Run) -> bool {
        let bits = |run: &Run| run.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        (left.series, &left.times_ms, bits(left)) == (right.series, &right.times_ms, bits(right))
    }

    #[test]
    fn a_chunk_comes_back_and_only_what_is_wanted_is_decoded() {
        let runs = sample_runs();
        let pool = ZstdPool::default();
        let bytes = encode(KEY, &runs, &pool);
        let read = read_all(&bytes).unwrap();
        assert!(read.len() == runs.len() && read.iter().zip(&runs).all(|(left, right)| same(left, right)));
        let chunk = Chunk::parse(&bytes, KEY).unwrap();
        let mut some = Vec::new();
        chunk.read(&[5, 1_000, 2_000], &pool, &mut some).unwrap();
        assert_eq!(some.iter().map(|run| run.series).collect::<Vec<_>>(), [5, 1_000]);
    }

    #[test]
    fn a_chunk_cannot_pass_for_another() {
        let bytes = encode(KEY, &sample_runs(), &ZstdPool::default());
        assert!(Chunk::parse(&bytes, ChunkKey { group: 8, ..KEY }).is_err());
        assert!(Chunk::parse(&bytes, ChunkKey { start_ms: 0, ..KEY }).is_err());
    }

    #[test]
    fn a_flipped_bit_is_found_and_costs_at_most_its_segment() {
        let runs = sample_runs();
        let pool = ZstdPool::default();
        let bytes = encode(KEY, &runs, &pool);
        for place in (0..bytes.len()).step_by(61) {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << (place % 8);
            let Ok(chunk) = Chunk::parse(&damaged, KEY) else {
                continue;
            };
            let wanted: Vec<u32> = (1..=1_000).collect();
            let mut read = Vec::new();
            assert!(chunk.read(&wanted, &pool, &mut read).is_err(), "byte {place}");
            for run in &read {
                assert!(
                    runs.iter().any(|whole| same(whole, run)),
                    "wrong values after byte {place}"
                );
            }
        }
    }

    #[test]
    fn a_cut_chunk_is_refused() {
        let bytes = encode(KEY, &sample_runs(), &ZstdPool::default());
        for length in (0..bytes.len()).step_by(11) {
            assert!(read_all(&bytes[..length]).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = read_all(&bytes);
        }

        #[test]
        fn any_directory_with_a_right_crc_is_read_or_refused(directory in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut bytes = vec![FORMAT];
            let mut keyed = Vec::new();
            put_varint(&mut keyed, KEY.group.into());
            put_varint(&mut keyed, zigzag(KEY.start_ms));
            keyed.extend(directory);
            bytes.extend_from_slice(&(keyed.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&crc32fast::hash(&keyed).to_le_bytes());
            bytes.extend(keyed);
            let _ = read_all(&bytes);
        }

        #[test]
        fn any_runs_come_back(
            columns in prop::collection::vec((prop::collection::btree_set(any::<i64>(), 1..20), 1_usize..6), 1..5),
            seed in any::<u64>(),
        ) {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut runs = Vec::new();
            for (times, width) in columns {
                let times: Arc<[i64]> = times.into_iter().collect();
                for _ in 0..width {
                    let values = times.iter().map(|_| f64::from_bits(random.u64(..))).collect();
                    runs.push(run(runs.len() as u32 + 1, &times, values));
                }
            }
            let read = read_all(&encode(KEY, &runs, &ZstdPool::default())).unwrap();
            prop_assert!(read.len() == runs.len());
            prop_assert!(read.iter().zip(&runs).all(|(left, right)| same(left, right)));
        }
    }
}
