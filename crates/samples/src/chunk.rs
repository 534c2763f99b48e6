//! Chunks: the sealed samples of one group in one window, as one run of bytes.
//!
//! ```text
//! format u8 · directory length u32 · directory CRC u32 · directory · parts
//! directory: tier u8 · group · window start · columns
//! column:    points · times part · series ids (ascending, as differences) · points per page · values
//! values:    series per segment · segment parts               (if points per page is 0)
//!            first time of each page · common part · page parts  (else)
//! part:      stored length · length once decompressed (0: stored plain) · CRC u32 of the stored bytes
//! ```
//!
//! Series with the same times form a column and share them. Their values are compressed some series together
//! (a *segment*): enough for `zstd` to find what is alike, few enough that reading one series stays cheap. Long
//! columns of chunks that stay are cut into *pages* of some hours instead, see [`pages`].
//!
//! The directory repeats tier, group and window, so that a row of a damaged file cannot pass for another. Nothing is
//! decoded before its CRC was checked; a damaged segment loses its series and no others,
//! a damaged page its hours.

mod pages;
mod read;

use std::collections::HashMap;
use std::ops::RangeInclusive;

use crate::bytes::{put_varint, zigzag};
use crate::codec;
use crate::run::Run;
use crate::tier::Tier;
use crate::zstd_pool::ZstdPool;

pub(crate) use read::{Chunk, Unreadable};

/// The format that is written.
const FORMAT: u8 = 3;
/// Without pages. Only read.
const FORMAT_WITHOUT_PAGES: u8 = 2;
/// Without the tier, and with times that do not say how they are written. Only read.
const FORMAT_OF_SAMPLES: u8 = 1;
/// Bytes before the directory.
const HEAD_BYTES: usize = 9;
/// Samples that are compressed together, if a single series has not more.
const SEGMENT_SAMPLES: usize = 16_384;
/// Columns that are long enough for each series to have statistics of its own.
const PACKED_POINTS_MIN: usize = 512;
/// Points of a page: four hours at the usual 15 s. Each page of a series costs some 10 bytes.
const PAGE_POINTS: usize = 960;

/// No bound on time.
pub(crate) const ALL_TIMES: RangeInclusive<i64> = i64::MIN..=i64::MAX;

/// How much work is put into a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For one that will be joined with others.
    Quick,
    /// For one that stays.
    Dense,
}

/// Which chunk it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkKey {
    /// How fine its numbers are.
    pub(crate) tier: Tier,
    /// The group's id.
    pub(crate) group: u32,
    /// Begin of the window.
    pub(crate) start_ms: i64,
}

/// Makes a chunk of runs that are ascending in time, at most one a series, none empty.
pub(crate) fn encode(key: ChunkKey, runs: &[Run], pool: &ZstdPool, form: Form) -> Vec<u8> {
    let mut writer = Writer {
        pool,
        form,
        directory: Vec::new(),
        parts: Vec::new(),
    };
    let columns = columns(runs);
    writer.directory.push(key.tier.code());
    put_varint(&mut writer.directory, key.group.into());
    put_varint(&mut writer.directory, zigzag(key.start_ms));
    put_varint(&mut writer.directory, columns.len() as u64);
    let mut scratch = codec::Scratch::default();
    for column in &columns {
        writer.column(key, column, &mut scratch);
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
    form: Form,
    directory: Vec<u8>,
    parts: Vec<u8>,
}

impl Writer<'_> {
    fn column(&mut self, key: ChunkKey, runs: &[&Run], scratch: &mut codec::Scratch) {
        let points = runs[0].times_ms.len();
        put_varint(&mut self.directory, points as u64);
        let is_packed = self.form == Form::Dense && PACKED_POINTS_MIN <= points;
        self.times(&runs[0].times_ms, is_packed);
        put_varint(&mut self.directory, runs.len() as u64);
        let mut previous = 0;
        for run in runs {
            put_varint(&mut self.directory, u64::from(run.series - previous));
            previous = run.series;
        }
        if is_packed {
            put_varint(&mut self.directory, PAGE_POINTS as u64);
            self.pages(key, runs, scratch);
        } else {
            put_varint(&mut self.directory, 0);
            self.segments(runs, scratch);
        }
    }

    fn segments(&mut self, runs: &[&Run], scratch: &mut codec::Scratch) {
        let per_segment = (SEGMENT_SAMPLES / runs[0].times_ms.len()).max(1);
        put_varint(&mut self.directory, per_segment as u64);
        let mut raw = Vec::new();
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
            self.shortest_part(&raw, None);
        }
    }

    fn times(&mut self, times_ms: &[i64], is_packed: bool) {
        let mut raw = Vec::new();
        codec::times::encode_tagged(times_ms, &mut raw);
        let packed = if is_packed {
            codec::times::encode_packed(times_ms)
        } else {
            None
        };
        self.shortest_part(&raw, packed);
    }

    /// Writes what may be compressed, or the same in a form that need not be, whichever is shorter.
    fn shortest_part(&mut self, raw: &[u8], packed: Option<Vec<u8>>) {
        let compressed = self.pool.compress(raw);
        let length = compressed.as_deref().map_or(raw.len(), <[u8]>::len);
        match (packed.filter(|packed| packed.len() < length), compressed) {
            (Some(packed), _) => self.part(&packed, 0),
            (None, Some(short)) => self.part(&short, raw.len()),
            (None, None) => self.part(raw, 0),
        }
    }

    fn part(&mut self, stored: &[u8], raw_length: usize) {
        put_varint(&mut self.directory, stored.len() as u64);
        put_varint(&mut self.directory, raw_length as u64);
        self.directory
            .extend_from_slice(&crc32fast::hash(stored).to_le_bytes());
        self.parts.extend_from_slice(stored);
    }
}

#[cfg(test)]
mod tests;
