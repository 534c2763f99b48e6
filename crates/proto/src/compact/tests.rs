use muster_model::{Clock, Report, SampleBlock};
use proptest::prelude::*;

use super::*;
use crate::framing::report_message;

fn message(blocks: Vec<SampleBlock>) -> Vec<u8> {
    let clock = Clock {
        wall_ms: 1_700_000_000_000,
        boottime_ms: 5,
        boot_id: "boot".to_owned(),
    };
    let mut report = Report::empty(9, 3, clock);
    report.blocks = blocks;
    report_message(report)
}

fn block(rows: usize, columns: usize, value: impl Fn(usize, usize) -> f64) -> SampleBlock {
    let times = (0..rows)
        .map(|row| 1_700_000_000_000 + 15_000 * row as i64)
        .collect();
    let values = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    let values = values.map(|(row, column)| value(row, column)).collect();
    SampleBlock::new(times, (1..=columns as u32).collect(), values).unwrap()
}

fn assert_round_trip(message: &[u8]) -> usize {
    let packed = pack(message).unwrap();
    assert_eq!(unpack(&packed, message.len()).as_deref(), Some(message));
    packed.len()
}

#[test]
fn every_value_comes_back_bit_by_bit() {
    let odd = [
        0.0,
        -0.0,
        f64::NAN,
        f64::from_bits(0x7ff0_0000_0000_0002),
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE,
        f64::MAX,
        0.1,
        1.15,
        -273.15,
        1e15,
        9_007_199_254_740_993.0,
        1e300,
    ];
    for rows in [1, 2, 16] {
        assert_round_trip(&message(vec![block(rows, odd.len(), |row, column| {
            odd[(row + column) % odd.len()]
        })]));
        assert_round_trip(&message(vec![block(rows, odd.len(), |_, column| odd[column])]));
    }
}

#[test]
fn readings_of_sixteen_ticks_take_a_fraction_of_what_zstd_alone_makes_of_them() {
    let counters = block(16, 500, |row, column| {
        (1_000_000 + column * 777 + row * (column % 50)) as f64
    });
    let message = message(vec![counters]);
    let alone = zstd::bulk::compress(&message, 3).unwrap().len();
    let packed = assert_round_trip(&message);
    assert!(packed * 2 < alone, "{packed} and {alone} bytes");
}

#[test]
fn what_is_no_report_is_kept_as_it_is() {
    for message in [
        &b""[..],
        b"hello",
        &[0xff; 300],
        &[0x0a, 0x05, 0x4a, 0x03, 0x1a, 0x01],
    ] {
        assert_round_trip(message);
    }
}

#[test]
fn a_wrong_length_is_refused() {
    let message = message(vec![block(4, 4, |row, column| (row * column) as f64)]);
    let packed = pack(&message).unwrap();
    assert_eq!(unpack(&packed, message.len() - 1), None);
    assert_eq!(unpack(&packed, message.len() + 1), None);
    assert_eq!(unpack(&packed, usize::MAX), None);
}

proptest! {
    #[test]
    fn any_values_come_back(
        rows in 1_usize..20,
        values in prop::collection::vec(any::<u64>().prop_map(f64::from_bits), 1..40),
        steps in prop::collection::vec(-1e6..1e6_f64, 1..40),
    ) {
        let bits = block(rows, values.len(), |row, column| values[(row * 7 + column) % values.len()]);
        let decimals = block(rows, steps.len(), |row, column| (steps[column] * row as f64).round() / 100.0);
        assert_round_trip(&message(vec![bits, decimals, block(1, 1, |_, _| 1.0)]));
    }

    #[test]
    fn any_bytes_are_packed_or_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), length in 0_usize..5_000) {
        assert_round_trip(&bytes);
        let _ = unpack(&bytes, length);
        let packed = zstd::bulk::compress(&bytes, 1).unwrap();
        let _ = unpack(&packed, length);
    }
}
