//! Rows of the same series, one after another.
//!
//! The latest rows are plain numbers, so that appending is a copy. Every [`PACK_ROWS`] rows are turned into
//! columns and encoded ([`crate::codec`], without `zstd`), and every [`MERGED_PACKS`] such packs become one. Plain rows
//! take most of the memory, so there are few; short packs have much beside the numbers, so they are merged.

use std::sync::Arc;

use crate::bytes::{Cursor, put_varint};
use crate::codec;
use crate::run::Run;
use crate::series::SeriesRef;

/// Rows that are packed together.
const PACK_ROWS: usize = 8;
/// Packs that are merged into one.
const MERGED_PACKS: usize = 4;
/// Rows of a merged pack.
const MERGED_ROWS: usize = MERGED_PACKS * PACK_ROWS;
/// Rows of a block, so that looking for a time among rows out of order stays cheap.
const ROWS_MAX: usize = 4_096;

/// Rows of the same series.
#[derive(Debug)]
pub(crate) struct RowBlock {
    series: Arc<[SeriesRef]>,
    /// The time of each row, in the order of acceptance.
    times_ms: Vec<i64>,
    is_ascending: bool,
    /// Merged packs, and then fewer than [`MERGED_PACKS`] that are not.
    packs: Vec<Box<[u8]>>,
    /// The values of the rows that are not packed, those of one row together.
    tail: Vec<f64>,
}

impl RowBlock {
    /// A block without rows.
    pub(crate) const fn new(series: Arc<[SeriesRef]>) -> Self {
        Self {
            series,
            times_ms: Vec::new(),
            is_ascending: true,
            packs: Vec::new(),
            tail: Vec::new(),
        }
    }

    /// The series, in the order of the values.
    pub(crate) fn series(&self) -> &[SeriesRef] {
        &self.series
    }

    /// Whether it takes no more rows.
    pub(crate) const fn is_full(&self) -> bool {
        ROWS_MAX <= self.times_ms.len()
    }

    /// Whether it has a row for this time.
    pub(crate) fn has(&self, time_ms: i64) -> bool {
        if !self.is_ascending {
            return self.times_ms.contains(&time_ms);
        }
        let is_later = self.times_ms.last().is_none_or(|last| *last < time_ms);
        !is_later && self.times_ms.binary_search(&time_ms).is_ok()
    }

    /// Takes a row with a value for each series, unless there is one for this time; says whether it took it.
    pub(crate) fn push(&mut self, time_ms: i64, values: &[f64]) -> bool {
        debug_assert_eq!(
            values.len(),
            self.series.len(),
            "a row has a value for each series"
        );
        if self.has(time_ms) {
            return false;
        }
        self.is_ascending &= self.times_ms.last().is_none_or(|last| *last < time_ms);
        self.times_ms.push(time_ms);
        self.tail.extend_from_slice(values);
        if self.times_ms.len().is_multiple_of(PACK_ROWS) {
            self.pack();
        }
        true
    }

    fn pack(&mut self) {
        let width = self.series.len();
        let mut bytes = Vec::with_capacity(width * PACK_ROWS);
        let mut scratch = codec::Scratch::default();
        let mut column = Vec::with_capacity(PACK_ROWS);
        let mut encoded = Vec::new();
        for index in 0..width {
            column.clear();
            column.extend(self.tail.iter().skip(index).step_by(width));
            encoded.clear();
            codec::encode(&column, &mut scratch, &mut encoded);
            put_varint(&mut bytes, encoded.len() as u64);
            bytes.extend_from_slice(&encoded);
        }
        self.packs.push(bytes.into());
        self.tail.clear();
        if self.times_ms.len().is_multiple_of(MERGED_ROWS) {
            self.merge();
        }
    }

    /// Makes one of the packs that are not merged.
    fn merge(&mut self) {
        let parts = self.packs.split_off(self.packs.len() - MERGED_PACKS);
        let mut columns: Vec<_> = parts.iter().map(|pack| Columns::of(pack, PACK_ROWS)).collect();
        let mut bytes = Vec::with_capacity(parts.iter().map(|pack| pack.len()).sum());
        let mut scratch = codec::Scratch::default();
        let mut column = Vec::with_capacity(MERGED_ROWS);
        let mut encoded = Vec::new();
        for _ in 0..self.series.len() {
            column.clear();
            columns
                .iter_mut()
                .for_each(|columns| column.extend(columns.next()));
            encoded.clear();
            codec::encode(&column, &mut scratch, &mut encoded);
            put_varint(&mut bytes, encoded.len() as u64);
            bytes.extend_from_slice(&encoded);
        }
        self.packs.push(bytes.into());
    }

    /// How many packs are merged ones.
    const fn merged_count(&self) -> usize {
        self.times_ms.len() / MERGED_ROWS
    }

    /// Appends a run for each series of `wanted` (ascending; `None`: for all), with all rows from `start_ms` on and
    /// perhaps some before.
    pub(crate) fn read(&self, wanted: Option<&[u32]>, start_ms: i64, runs: &mut Vec<Run>) {
        let is_wanted =
            |series: &SeriesRef| wanted.is_none_or(|wanted| wanted.binary_search(&series.0).is_ok());
        let mut columns: Vec<(usize, Vec<f64>)> = (0..self.series.len())
            .filter(|index| is_wanted(&self.series[*index]))
            .map(|index| (index, Vec::new()))
            .collect();
        if columns.is_empty() {
            return;
        }
        let first_pack = self.first_pack(start_ms);
        let merged = self.merged_count();
        for (index, pack) in self.packs.iter().enumerate().skip(first_pack) {
            let rows = if index < merged { MERGED_ROWS } else { PACK_ROWS };
            unpack(Columns::of(pack, rows), &mut columns);
        }
        let width = self.series.len();
        let merged_before = first_pack.min(merged);
        let first_row = merged_before * MERGED_ROWS + (first_pack - merged_before) * PACK_ROWS;
        let times_ms: Arc<[i64]> = self.times_ms[first_row..].into();
        for (index, mut values) in columns {
            values.extend(self.tail.iter().skip(index).step_by(width));
            runs.push(Run {
                series: self.series[index].0,
                times_ms: Arc::clone(&times_ms),
                values,
            });
        }
    }

    /// The first pack with a row that is not before `start_ms`.
    fn first_pack(&self, start_ms: i64) -> usize {
        if !self.is_ascending {
            return 0;
        }
        let first_row = self.times_ms.partition_point(|time| *time < start_ms);
        let merged = self.merged_count();
        match first_row.checked_sub(merged * MERGED_ROWS) {
            Some(after) => (merged + after / PACK_ROWS).min(self.packs.len()),
            None => first_row / MERGED_ROWS,
        }
    }

    /// How many samples it holds.
    pub(crate) fn sample_count(&self) -> usize {
        self.times_ms.len() * self.series.len()
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn byte_count(&self) -> usize {
        let packed: usize = self.packs.iter().map(|pack| pack.len()).sum();
        packed + self.tail.capacity() * 8 + self.times_ms.capacity() * 8 + self.series.len() * 4
    }
}

/// Reads the columns of a pack one after another.
struct Columns<'a> {
    cursor: Cursor<'a>,
    rows: usize,
}

impl<'a> Columns<'a> {
    const fn of(pack: &'a [u8], rows: usize) -> Self {
        Self {
            cursor: Cursor::new(pack),
            rows,
        }
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = self.cursor.length();
        length
            .and_then(|length| self.cursor.take(length))
            .expect("a pack holds a column for each series")
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.bytes();
        }
    }

    fn next(&mut self) -> Vec<f64> {
        let bytes = self.bytes();
        codec::decode(bytes, self.rows).expect("a pack holds full columns")
    }
}

/// Appends the values of the wanted columns, which stand in ascending order.
fn unpack(mut pack: Columns<'_>, columns: &mut [(usize, Vec<f64>)]) {
    let mut next = 0;
    for (index, values) in columns {
        pack.skip(*index - next);
        values.extend(pack.next());
        next = *index + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(rows: usize, width: u32) -> RowBlock {
        let mut block = RowBlock::new((0..width).map(SeriesRef).collect());
        for row in 0..rows {
            let values: Vec<f64> = (0..width).map(|n| row as f64 * 1.5 + f64::from(n)).collect();
            assert!(block.push(row as i64 * 15_000, &values));
        }
        block
    }

    #[test]
    fn packed_and_plain_rows_read_alike() {
        for rows in [
            0,
            1,
            PACK_ROWS - 1,
            PACK_ROWS,
            3 * PACK_ROWS + 5,
            MERGED_ROWS,
            2 * MERGED_ROWS + PACK_ROWS + 1,
        ] {
            let block = filled(rows, 7);
            let mut runs = Vec::new();
            block.read(Some(&[0, 3, 6, 99]), i64::MIN, &mut runs);
            assert_eq!(runs.iter().map(|run| run.series).collect::<Vec<_>>(), [0, 3, 6]);
            let expected: Vec<f64> = (0..rows).map(|row| row as f64 * 1.5 + 3.0).collect();
            assert_eq!(runs[1].values, expected);
            assert_eq!(runs[1].times_ms.len(), rows);
        }
    }

    #[test]
    fn rows_long_before_the_start_are_not_unpacked() {
        let block = filled(2 * MERGED_ROWS + PACK_ROWS + 5, 2);
        let after_merged = 2 * MERGED_ROWS;
        for (start_row, first_row) in [
            (0, 0),
            (MERGED_ROWS - 1, 0),
            (MERGED_ROWS, MERGED_ROWS),
            (after_merged - 1, MERGED_ROWS),
            (after_merged, after_merged),
            (after_merged + PACK_ROWS, after_merged + PACK_ROWS),
            (5_000, after_merged + PACK_ROWS),
        ] {
            let mut runs = Vec::new();
            block.read(None, start_row as i64 * 15_000, &mut runs);
            assert_eq!(
                runs[0].times_ms.first(),
                Some(&(first_row as i64 * 15_000)),
                "from row {start_row}"
            );
            assert_eq!(runs[1].values.first(), Some(&(first_row as f64 * 1.5 + 1.0)));
            assert_eq!(runs[0].times_ms.len(), runs[1].values.len());
        }
    }

    #[test]
    fn an_hour_of_counters_takes_far_less_than_plain_numbers() {
        let block = filled(240, 500);
        assert!(block.byte_count() < 240 * 500 * 8 / 2, "{}", block.byte_count());
    }

    #[test]
    fn a_row_out_of_order_is_taken_once() {
        let mut block = filled(40, 1);
        assert!(block.push(7, &[1.0]));
        assert!(!block.push(7, &[2.0]));
        assert!(!block.push(15_000, &[2.0]));
        assert!(block.push(1_000_000_000, &[1.0]));
        assert_eq!(block.sample_count(), 42);
    }
}
