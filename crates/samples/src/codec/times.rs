//! A column of times as differences of differences: a steady cadence becomes zeroes.

use crate::bytes::{Cursor, put_varint, zigzag};

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
            prop_assert_eq!(decode(&out, times.len()), Some(times));
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
