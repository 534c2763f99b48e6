//! A column of times as differences of differences: a steady cadence becomes zeroes.

use super::packed;
use crate::bytes::{Cursor, put_varint, zigzag};

/// The differences as variable-length integers.
const PLAIN: u8 = 0;
/// The differences as in [`packed`].
const PACKED: u8 = 1;

/// Appends `times`, whatever their order.
pub(crate) fn encode(times_ms: &[i64], out: &mut Vec<u8>) {
    let (mut previous, mut step) = (0_i64, 0_i64);
    for time in times_ms {
        // Wrapping, so that even the ends of the number space come back.
        let difference = time.wrapping_sub(previous);
        put_varint(out, zigzag(difference.wrapping_sub(step)));
        (previous, step) = (*time, difference);
    }
}

/// As [`encode`] with a word before it that says so.
pub(crate) fn encode_tagged(times_ms: &[i64], out: &mut Vec<u8>) {
    out.push(PLAIN);
    encode(times_ms, out);
}

/// A long column in a form that no compression makes shorter; `None` if there is none.
pub(crate) fn encode_packed(times_ms: &[i64]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    encode(times_ms, &mut plain);
    let mut cursor = Cursor::new(&plain);
    let residuals: Vec<i64> = times_ms.iter().map(|_| cursor.signed()).collect::<Option<_>>()?;
    // The first two are as great as times are, and would spoil the statistics of the others.
    let (head, rest) = residuals.split_at_checked(2)?;
    let mut out = vec![PACKED];
    head.iter()
        .for_each(|residual| put_varint(&mut out, zigzag(*residual)));
    out.extend(packed::residuals(rest)?);
    Some(out)
}

/// Reads what [`encode_tagged`] or [`encode_packed`] wrote: exactly `count` times.
pub(crate) fn decode_tagged(bytes: &[u8], count: usize) -> Option<Vec<i64>> {
    let (tag, bytes) = bytes.split_first()?;
    match *tag {
        PLAIN => decode(bytes, count),
        PACKED => {
            let mut cursor = Cursor::new(bytes);
            let mut residuals = vec![cursor.signed()?, cursor.signed()?];
            residuals.extend(packed::decode::<i64>(&mut cursor, count.checked_sub(2)?)?);
            Some(sum_twice(residuals))
        }
        _ => None,
    }
}

/// From differences of differences to times.
fn sum_twice(mut residuals: Vec<i64>) -> Vec<i64> {
    let (mut previous, mut step) = (0_i64, 0_i64);
    for residual in &mut residuals {
        step = step.wrapping_add(*residual);
        previous = previous.wrapping_add(step);
        *residual = previous;
    }
    residuals
}

/// Reads exactly `count` times and nothing else.
pub(crate) fn decode(bytes: &[u8], count: usize) -> Option<Vec<i64>> {
    // Each takes a byte at least, so a wrong count cannot cost more memory than the bytes did.
    if bytes.len() < count {
        return None;
    }
    let mut cursor = Cursor::new(bytes);
    let mut times = Vec::with_capacity(count);
    let (mut previous, mut step) = (0_i64, 0_i64);
    for _ in 0..count {
        step = step.wrapping_add(cursor.signed()?);
        previous = previous.wrapping_add(step);
        times.push(previous);
    }
    cursor.is_empty().then_some(times)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_times_come_back(times in prop::collection::vec(any::<i64>(), 0..300)) {
            let mut out = Vec::new();
            encode(&times, &mut out);
            prop_assert_eq!(decode(&out, times.len()), Some(times.clone()));
            let mut tagged = Vec::new();
            encode_tagged(&times, &mut tagged);
            prop_assert_eq!(decode_tagged(&tagged, times.len()), Some(times.clone()));
            if let Some(packed) = encode_packed(&times) {
                prop_assert_eq!(decode_tagged(&packed, times.len()), Some(times));
            }
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..100), count in 0_usize..200) {
            let _ = decode(&bytes, count);
        }
    }

    #[test]
    fn a_steady_cadence_takes_a_byte_a_time() {
        let times: Vec<i64> = (0..240).map(|n| 1_763_769_600_000 + n * 15_000).collect();
        let mut out = Vec::new();
        encode(&times, &mut out);
        assert!(out.len() < 260);
    }
}
