//! Long columns by `pco`, which finds how numbers are distributed: for chunks that are written once and stay.
//!
//! What `pco` gives back is compared with what was given before it is used, and bytes are only read where a CRC
//! vouches for them, so nothing rests on its being without defects.

use pco::data_types::Number;
use pco::standalone::{simple_compress, simple_decompress_into};
use pco::wrapped::{ChunkDecompressor, FileCompressor, FileDecompressor};
use pco::{ChunkConfig, DecompressorScratch, DeltaSpec, ModeSpec, PagingSpec};

use crate::bytes::Cursor;

/// Most numbers of one column; a wrong count costs no more memory.
const COUNT_MAX: usize = 1 << 24;
/// Higher levels gain next to nothing on a day's column.
const LEVEL: usize = 8;

/// Numbers whose differences were taken already.
pub(super) fn residuals(numbers: &[i64]) -> Option<Vec<u8>> {
    compress(numbers, &as_they_are(), |left, right| left == right)
}

/// Numbers of which `pco` finds out what is best.
#[cfg(test)]
pub(super) fn floats(values: &[f64]) -> Option<Vec<u8>> {
    let config = ChunkConfig::default().with_compression_level(LEVEL);
    compress(values, &config, |left, right| left.to_bits() == right.to_bits())
}

fn as_they_are() -> ChunkConfig {
    ChunkConfig::default()
        .with_compression_level(LEVEL)
        .with_mode_spec(ModeSpec::Classic)
        .with_delta_spec(DeltaSpec::NoOp)
}

/// As [`residuals`], in pages of so many numbers: appends what they have in common and returns them.
pub(super) fn residual_pages(
    numbers: &[i64],
    counts: Vec<usize>,
    common: &mut Vec<u8>,
) -> Option<Vec<Vec<u8>>> {
    compress_pages(numbers, as_they_are(), counts, common)
}

/// As [`floats`], in pages.
pub(super) fn float_pages(values: &[f64], counts: Vec<usize>, common: &mut Vec<u8>) -> Option<Vec<Vec<u8>>> {
    let config = ChunkConfig::default().with_compression_level(LEVEL);
    compress_pages(values, config, counts, common)
}

/// The caller compares what comes back.
fn compress_pages<T: Number>(
    numbers: &[T],
    config: ChunkConfig,
    counts: Vec<usize>,
    common: &mut Vec<u8>,
) -> Option<Vec<Vec<u8>>> {
    let pages = counts.len();
    let config = config.with_paging_spec(PagingSpec::Exact(counts));
    let file = FileCompressor::default();
    let mut chunk = file.chunk_compressor(numbers, &config).ok()?;
    file.write_header(&mut *common).ok()?;
    chunk.write_meta(&mut *common).ok()?;
    (0..pages)
        .map(|index| chunk.write_page(index, Vec::new()).ok())
        .collect()
}

/// Reads pages of one column.
#[derive(Debug)]
pub(super) struct Pages<T: Number>(ChunkDecompressor<T>);

impl<T: Number> Pages<T> {
    /// Reads what they have in common: all bytes that are left.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Option<Self> {
        let (file, rest) = FileDecompressor::new(cursor.rest()).ok()?;
        let (chunk, rest) = file.chunk_decompressor(rest).ok()?;
        rest.is_empty().then_some(Self(chunk))
    }

    /// Appends exactly `count` numbers, which are all of a page.
    pub(super) fn read(
        &self,
        bytes: &[u8],
        count: usize,
        scratch: &mut DecompressorScratch,
        numbers: &mut Vec<T>,
    ) -> Option<()> {
        if COUNT_MAX < count {
            return None;
        }
        let mut page = self
            .0
            .page_decompressor_with_scratch(bytes, count, scratch)
            .ok()?;
        let start = numbers.len();
        numbers.resize(start + count, T::default());
        let progress = page.read(&mut numbers[start..]).ok()?;
        (progress.finished && progress.n_processed == count && page.into_src().is_empty()).then_some(())
    }
}

fn compress<T: Number>(
    numbers: &[T],
    config: &ChunkConfig,
    is_same: impl Fn(&T, &T) -> bool,
) -> Option<Vec<u8>> {
    let bytes = simple_compress(numbers, config).ok()?;
    let read = decompress::<T>(&bytes, numbers.len())?;
    let is_right = read.iter().zip(numbers).all(|(left, right)| is_same(left, right));
    is_right.then_some(bytes)
}

/// Reads all bytes that are left as exactly `count` numbers.
pub(super) fn decode<T: Number>(cursor: &mut Cursor<'_>, count: usize) -> Option<Vec<T>> {
    decompress(cursor.rest(), count)
}

fn decompress<T: Number>(bytes: &[u8], count: usize) -> Option<Vec<T>> {
    if COUNT_MAX < count {
        return None;
    }
    let mut numbers = vec![T::default(); count];
    let progress = simple_decompress_into(bytes, &mut numbers).ok()?;
    (progress.finished && progress.n_processed == count).then_some(numbers)
}
