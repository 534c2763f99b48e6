//! Numbers without an exact decimal form: XOR with the predecessor, one plane of bytes after another.
//!
//! The first byte says which planes have any bit set; the others are left out. What is alike from value to
//! value (sign, exponent, first digits) becomes planes of zeroes and short runs, which `zstd` takes for nothing.

use crate::bytes::Cursor;

pub(super) fn encode(values: &[f64], out: &mut Vec<u8>) {
    let mut any = 0;
    let mut previous = 0;
    for value in values {
        any |= value.to_bits() ^ previous;
        previous = value.to_bits();
    }
    let present = planes().filter(|plane| any >> (8 * plane) & 0xff != 0);
    out.push(present.clone().fold(0, |mask, plane| mask | 1 << plane));
    for plane in present {
        let mut previous = 0;
        out.extend(values.iter().map(|value| {
            let changed = value.to_bits() ^ previous;
            previous = value.to_bits();
            (changed >> (8 * plane)) as u8
        }));
    }
}

pub(super) fn decode(cursor: &mut Cursor<'_>, count: usize) -> Option<Vec<f64>> {
    let mask = cursor.byte()?;
    // Looked at before anything is allocated: a count that is too big must not cost memory.
    let bytes = cursor.take(count.checked_mul(mask.count_ones() as usize)?)?;
    let mut bits = vec![0_u64; count];
    let present = planes().filter(|plane| mask >> plane & 1 == 1);
    for (plane, bytes) in present.zip(bytes.chunks_exact(count)) {
        for (bits, byte) in bits.iter_mut().zip(bytes) {
            *bits |= u64::from(*byte) << (8 * plane);
        }
    }
    let mut previous = 0;
    Some(
        bits.into_iter()
            .map(|changed| {
                previous ^= changed;
                f64::from_bits(previous)
            })
            .collect(),
    )
}

/// From the sign downwards.
fn planes() -> impl Iterator<Item = u32> + Clone {
    (0..8).rev()
}
