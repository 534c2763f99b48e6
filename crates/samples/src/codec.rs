//! How the values of one series, and a column of times, become bytes.
//!
//! Forms of values: all bits equal; decimals (whole numbers or at most six places, as integers, in the
//! order of differences that costs least); anything else as XOR with its predecessor, byte by byte. Whatever is
//! no exact decimal inside a decimal column (a stale marker, NaN, -0.0) stands beside it as an exception, so
//! **every bit pattern comes back as it was**. Bytes made here are meant to be compressed again by `zstd`, except for
//! the [`pages`] of long columns, which are as short as they get.
//!
//! Knows nothing of series, windows or files. Decoding malformed bytes gives `None` and never panics.

mod decimal;
mod float;
mod packed;
pub(crate) mod pages;
pub(crate) mod times;

use crate::bytes::{Cursor, put_varint, zigzag};

/// All values have the same bits.
const CONSTANT: u8 = 0;
/// See [`decimal`].
const DECIMAL: u8 = 1;
/// See [`float`].
const FLOAT: u8 = 2;
/// All values are the same whole number.
const CONSTANT_WHOLE: u8 = 3;
/// As [`DECIMAL`], and the differences as in [`packed`]. Only read: long columns are in [`pages`] now.
const PACKED_DECIMAL: u8 = 4;
/// See [`packed`]. Only read.
const PACKED_FLOAT: u8 = 5;

/// Working memory that is used again for each column.
#[derive(Default)]
pub(crate) struct Scratch {
    decimal: decimal::Scratch,
}

/// Appends the bytes of `values`; the caller remembers how many values and bytes there are.
pub(crate) fn encode(values: &[f64], scratch: &mut Scratch, out: &mut Vec<u8>) {
    let Some(first) = values.first() else { return };
    if values.iter().all(|value| value.to_bits() == first.to_bits()) {
        encode_constant(*first, out);
        return;
    }
    let start = out.len();
    out.push(DECIMAL);
    if !decimal::encode(values, &mut scratch.decimal, out) {
        out.truncate(start);
        out.push(FLOAT);
        float::encode(values, out);
    }
}

/// Appends the bytes of `values` in a form that no compression makes shorter; `false` (and nothing is appended) if
/// there is none that is worth it. What was written before there were pages is of this form.
#[cfg(test)]
pub(crate) fn encode_packed(values: &[f64], scratch: &mut Scratch, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    out.push(PACKED_DECIMAL);
    if decimal::encode_packed(values, &mut scratch.decimal, out) {
        return true;
    }
    out.truncate(start);
    if let Some(bytes) = packed::floats(values) {
        out.push(PACKED_FLOAT);
        out.extend_from_slice(&bytes);
        return true;
    }
    false
}

/// Reads `count` values; `None` if the bytes are not exactly those of `count` values.
pub(crate) fn decode(bytes: &[u8], count: usize) -> Option<Vec<f64>> {
    if count == 0 {
        return bytes.is_empty().then(Vec::new);
    }
    let mut cursor = Cursor::new(bytes);
    let values = match cursor.byte()? {
        CONSTANT => vec![f64::from_bits(cursor.u64()?); count],
        CONSTANT_WHOLE => vec![cursor.signed()? as f64; count],
        DECIMAL => decimal::decode(&mut cursor, count)?,
        FLOAT => float::decode(&mut cursor, count)?,
        PACKED_DECIMAL => decimal::decode_packed(&mut cursor, count)?,
        PACKED_FLOAT => packed::decode(&mut cursor, count)?,
        _ => return None,
    };
    cursor.is_empty().then_some(values)
}

fn encode_constant(value: f64, out: &mut Vec<u8>) {
    if let Some(whole) = decimal::exact(value, 0) {
        out.push(CONSTANT_WHOLE);
        put_varint(out, zigzag(whole));
    } else {
        out.push(CONSTANT);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use muster_model::STALE_NAN;
    use proptest::prelude::*;

    use super::*;

    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    fn encoded(values: &[f64]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(values, &mut Scratch::default(), &mut out);
        out
    }

    fn assert_comes_back(values: &[f64]) {
        let mut packed = Vec::new();
        if encode_packed(values, &mut Scratch::default(), &mut packed) {
            assert_eq!(
                bits(&decode(&packed, values.len()).unwrap()),
                bits(values),
                "packed {values:?}"
            );
            assert_eq!(decode(&packed[..packed.len() - 1], values.len()), None);
        }
        let out = encoded(values);
        assert_eq!(
            bits(&decode(&out, values.len()).unwrap()),
            bits(values),
            "{values:?}"
        );
    }

    #[test]
    fn odd_values_keep_their_bits() {
        let odd = [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -0.0,
            0.0,
            STALE_NAN,
            1e300,
            5e-324,
            -1.5,
        ];
        assert_comes_back(&odd);
        for value in odd {
            assert_comes_back(&[value]);
            assert_comes_back(&[value; 5]);
            // One exception within a counter, at each place.
            for place in 0..20 {
                let mut counter: Vec<f64> = (0..20_u32).map(f64::from).collect();
                counter[place] = value;
                assert_comes_back(&counter);
            }
        }
    }

    #[test]
    fn the_largest_whole_numbers_keep_their_bits() {
        let edge = 9_007_199_254_740_992.0; // 2^53: beyond it not every whole number is an f64.
        assert_comes_back(&[edge, edge - 1.0, -edge, edge * 2.0, edge + 2.0, 1.8e19, 0.01]);
        assert_comes_back(&[-edge, edge, -edge, edge]);
    }

    #[test]
    fn a_stale_marker_does_not_cost_a_counter_its_form() {
        let mut counter: Vec<f64> = (0..240_u32).map(|n| f64::from(n * 3)).collect();
        counter[239] = STALE_NAN;
        assert!(encoded(&counter).len() < 300);
    }

    #[test]
    fn two_places_are_kept_as_whole_numbers() {
        let values: Vec<f64> = (0..240_u32)
            .map(|n| f64::from(n * 7 % 100) / 100.0 + 3.0)
            .collect();
        assert!(encoded(&values).len() < 2 * 240, "{}", encoded(&values).len());
        assert_comes_back(&values);
    }

    #[test]
    fn a_cut_column_is_refused() {
        for values in [vec![1.0; 3], vec![1.0, 2.5, 4.0], vec![0.1 + 0.2, 1e-9, 7.7e22]] {
            let out = encoded(&values);
            for length in 0..out.len() {
                assert_eq!(decode(&out[..length], values.len()), None);
            }
        }
    }

    fn any_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            (-1_000_000_i32..1_000_000).prop_map(f64::from),
            (-1_000_000_i32..1_000_000).prop_map(|n| f64::from(n) / 100.0),
            any::<i64>().prop_map(|n| n as f64),
            Just(STALE_NAN),
            Just(-0.0),
        ]
    }

    proptest! {
        #[test]
        fn any_bits_come_back(values in prop::collection::vec(any::<u64>().prop_map(f64::from_bits), 1..300)) {
            assert_comes_back(&values);
        }

        #[test]
        fn any_mixture_comes_back(values in prop::collection::vec(any_value(), 1..300)) {
            assert_comes_back(&values);
        }

        #[test]
        fn mostly_decimal_columns_come_back(
            step in 0_i64..1_000_000_000, scale in 0_i32..8, count in 1_usize..300, odd in any_value(),
        ) {
            let mut values: Vec<f64> =
                (0..count as i64).map(|n| (n * step) as f64 / 10_f64.powi(scale)).collect();
            values[count / 2] = odd;
            assert_comes_back(&values);
        }

        #[test]
        fn any_flipped_bit_of_a_packed_column_is_decoded_or_refused(
            values in prop::collection::vec(any_value(), 1..300), place in any::<usize>(), bit in 0..8_u8,
        ) {
            let mut packed = Vec::new();
            if encode_packed(&values, &mut Scratch::default(), &mut packed) {
                let place = place % packed.len();
                packed[place] ^= 1_u8 << bit;
                if let Some(read) = decode(&packed, values.len()) {
                    prop_assert_eq!(read.len(), values.len());
                }
            }
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0_usize..400) {
            if let Some(values) = decode(&bytes, count) {
                prop_assert_eq!(values.len(), count);
            }
        }
    }
}
