//! Long columns by `pco`, which finds how numbers are distributed: for chunks that are written once and stay.
//!
//! What `pco` gives back is compared with what was given before it is used, and bytes are only read where a CRC
//! vouches for them, so nothing rests on its being without defects.

use pco::data_types::Number;
use pco::standalone::{simple_compress, simple_decompress_into};
use pco::{ChunkConfig, DeltaSpec, ModeSpec};

use crate::bytes::Cursor;

/// Most numbers of one column; a wrong count costs no more memory.
const COUNT_MAX: usize = 1 << 24;
/// Higher levels gain next to nothing on a day's column.
const LEVEL: usize = 8;

/// Numbers whose differences were taken already.
pub(super) fn residuals(numbers: &[i64]) -> Option<Vec<u8>> {
    let config = ChunkConfig::default()
        .with_compression_level(LEVEL)
        .with_mode_spec(ModeSpec::Classic)
        .with_delta_spec(DeltaSpec::NoOp);
    compress(numbers, &config, |left, right| left == right)
}

/// Numbers of which `pco` finds out what is best.
pub(super) fn floats(values: &[f64]) -> Option<Vec<u8>> {
    let config = ChunkConfig::default().with_compression_level(LEVEL);
    compress(values, &config, |left, right| left.to_bits() == right.to_bits())
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
