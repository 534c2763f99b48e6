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
    chunk.read(&wanted, &ALL_TIMES, &pool, &mut runs)?;
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
    chunk
        .read(&[5, 1_000, 2_000], &ALL_TIMES, &pool, &mut some)
        .unwrap();
    assert_eq!(some.iter().map(|run| run.series).collect::<Vec<_>>(), [5, 1_000]);
}

/// A day of series every 15 s, one with a gap, in the form that stays.
fn day_of_runs() -> Vec<Run> {
    let mut random = fastrand::Rng::with_seed(5);
    let times: Arc<[i64]> = (0..5_760)
        .map(|n| KEY.start_ms + n * 15_000 + random.i64(0..=3))
        .collect();
    let late: Arc<[i64]> = times[4_000..].into();
    let mut runs = Vec::new();
    for series in 1..6_u32 {
        let times = if series == 5 { &late } else { &times };
        let value = |n: usize| match series % 4 {
            0 => 5.0,
            1 => (n * n) as f64,
            2 => (n * 7 % 100) as f64 / 100.0,
            _ => (n as f64).sin(),
        };
        runs.push(run(series, times, (0..times.len()).map(value).collect()));
    }
    runs
}

#[test]
fn an_hour_of_a_day_decodes_the_pages_that_have_it() {
    let runs = day_of_runs();
    let pool = ZstdPool::default();
    let bytes = encode(KEY, &runs, &pool, Form::Dense);
    assert!(
        read_all(&bytes)
            .unwrap()
            .iter()
            .zip(&runs)
            .all(|(left, right)| same(left, right))
    );
    let chunk = Chunk::parse(&bytes, KEY).unwrap();
    let wanted: Vec<u32> = (1..20).collect();
    for (start, end) in [
        (0, 0),
        (3_600_000, 7_200_000),
        (14_399_000, 14_401_500),
        (0, 86_399_999),
        (86_400_000, i64::MAX),
    ] {
        let range = KEY.start_ms + start..=end.saturating_add(KEY.start_ms);
        let mut read = Vec::new();
        chunk.read(&wanted, &range, &pool, &mut read).unwrap();
        for whole in &runs {
            let part: Vec<&Run> = read.iter().filter(|run| run.series == whole.series).collect();
            let samples = |run: &Run| {
                let all = run
                    .times_ms
                    .iter()
                    .zip(&run.values)
                    .map(|(time, value)| (*time, value.to_bits()));
                all.filter(|(time, _)| range.contains(time)).collect::<Vec<_>>()
            };
            assert!(part.len() <= 1);
            assert_eq!(
                part.first().map(|run| samples(run)).unwrap_or_default(),
                samples(whole),
                "{range:?}"
            );
        }
        let longest = read.iter().map(|run| run.values.len()).max().unwrap_or(0);
        let points = ((end.min(86_400_000) - start) / 15_000) as usize;
        assert!(
            longest <= points + 2 * PAGE_POINTS,
            "{longest} points for {range:?}"
        );
    }
}

#[test]
fn a_flipped_bit_of_a_page_costs_its_hours_and_no_others() {
    let runs = day_of_runs();
    let pool = ZstdPool::default();
    let bytes = encode(KEY, &runs, &pool, Form::Dense);
    let wanted: Vec<u32> = (1..20).collect();
    let mut lost_pages = 0;
    for place in (0..bytes.len()).step_by(1_499) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1 << (place % 8);
        let Ok(chunk) = Chunk::parse(&damaged, KEY) else {
            continue;
        };
        let mut read = Vec::new();
        assert!(
            chunk.read(&wanted, &ALL_TIMES, &pool, &mut read).is_err(),
            "byte {place}"
        );
        for part in &read {
            let whole = runs.iter().find(|run| run.series == part.series).unwrap();
            let mut samples = whole.times_ms.iter().zip(&whole.values);
            // In order and to the bit, some left out.
            for (time, value) in part.times_ms.iter().zip(&part.values) {
                let found = samples.find(|(other, _)| *other == time);
                assert_eq!(
                    found.map(|(_, value)| value.to_bits()),
                    Some(value.to_bits()),
                    "byte {place}"
                );
            }
            lost_pages += usize::from(part.values.len() < whole.values.len());
        }
    }
    assert!(0 < lost_pages);
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
        assert!(
            chunk.read(&wanted, &ALL_TIMES, &pool, &mut read).is_err(),
            "byte {place}"
        );
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
fn chunks_of_earlier_formats_are_still_read() {
    let times: Vec<i64> = (0..10).map(|n| KEY.start_ms + n * 15_000).collect();
    let values: Vec<f64> = (0..10).map(f64::from).collect();
    for format in [FORMAT_OF_SAMPLES, FORMAT_WITHOUT_PAGES] {
        let (mut payload, mut encoded_times, mut directory) = (Vec::new(), Vec::new(), Vec::new());
        let mut scratch = codec::Scratch::default();
        if format == FORMAT_OF_SAMPLES {
            codec::encode(&values, &mut scratch, &mut payload);
            codec::times::encode(&times, &mut encoded_times);
        } else {
            assert!(codec::encode_packed(&values, &mut scratch, &mut payload));
            codec::times::encode_tagged(&times, &mut encoded_times);
            directory.push(KEY.tier.code());
        }
        let mut segment = Vec::new();
        put_varint(&mut segment, payload.len() as u64);
        segment.extend(payload);
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
        let mut bytes = vec![format];
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
}
