use proptest::prelude::*;

use std::sync::Arc;

use super::*;

const KEY: ChunkKey = ChunkKey {
    tier: Tier::Raw,
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
    let bytes = encode(KEY, &runs, &pool, Form::Quick);
    let read = read_all(&bytes).unwrap();
    assert!(read.len() == runs.len() && read.iter().zip(&runs).all(|(left, right)| same(left, right)));
    let chunk = Chunk::parse(&bytes, KEY).unwrap();
    let mut some = Vec::new();
    chunk.read(&[5, 1_000, 2_000], &pool, &mut some).unwrap();
    assert_eq!(some.iter().map(|run| run.series).collect::<Vec<_>>(), [5, 1_000]);
}

#[test]
fn a_chunk_cannot_pass_for_another() {
    let bytes = encode(KEY, &sample_runs(), &ZstdPool::default(), Form::Quick);
    assert!(Chunk::parse(&bytes, ChunkKey { group: 8, ..KEY }).is_err());
    assert!(Chunk::parse(&bytes, ChunkKey { start_ms: 0, ..KEY }).is_err());
}

#[test]
fn a_flipped_bit_is_found_and_costs_at_most_its_segment() {
    let runs = sample_runs();
    let pool = ZstdPool::default();
    let bytes = encode(KEY, &runs, &pool, Form::Quick);
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
    let bytes = encode(KEY, &sample_runs(), &ZstdPool::default(), Form::Quick);
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
        let read = read_all(&encode(KEY, &runs, &ZstdPool::default(), Form::Quick)).unwrap();
        prop_assert!(read.len() == runs.len());
        prop_assert!(read.iter().zip(&runs).all(|(left, right)| same(left, right)));
    }
}

#[test]
fn a_chunk_of_the_first_format_is_still_read() {
    let times: Vec<i64> = (0..10).map(|n| KEY.start_ms + n * 15_000).collect();
    let values: Vec<f64> = (0..10).map(f64::from).collect();
    let mut payload = Vec::new();
    codec::encode(&values, &mut codec::Scratch::default(), &mut payload);
    let mut segment = Vec::new();
    put_varint(&mut segment, payload.len() as u64);
    segment.extend(payload);
    let mut encoded_times = Vec::new();
    codec::times::encode(&times, &mut encoded_times);
    let mut directory = Vec::new();
    put_varint(&mut directory, KEY.group.into());
    put_varint(&mut directory, zigzag(KEY.start_ms));
    let part = |directory: &mut Vec<u8>, stored: &[u8]| {
        put_varint(directory, stored.len() as u64);
        put_varint(directory, 0);
        directory.extend_from_slice(&crc32fast::hash(stored).to_le_bytes());
    };
    for number in [1, times.len() as u64] {
        put_varint(&mut directory, number);
    }
    part(&mut directory, &encoded_times);
    // One series, number 5, alone in its segment.
    for number in [1, 5, 1] {
        put_varint(&mut directory, number);
    }
    part(&mut directory, &segment);
    let mut bytes = vec![FORMAT_OF_SAMPLES];
    bytes.extend_from_slice(&(directory.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&directory).to_le_bytes());
    bytes.extend(directory);
    bytes.extend(encoded_times);
    bytes.extend(segment);
    let read = read_all(&bytes).unwrap();
    assert_eq!(
        (read[0].series, &*read[0].times_ms, &read[0].values[..]),
        (5, &times[..], &values[..])
    );
}
