use proptest::prelude::*;

use super::*;
use crate::chunk::{self, ChunkKey, Form};
use crate::tier::Tier;

const MINUTE: i64 = 60_000;

fn of(samples: &[(i64, f64)], is_counter: bool) -> Buckets {
    let (times, values): (Vec<_>, Vec<_>) = samples.iter().copied().unzip();
    roll_up(&times, &values, 5 * MINUTE, is_counter, None)
}

fn bits(buckets: &Buckets) -> Vec<Vec<u64>> {
    let columns = [
        &buckets.last,
        &buckets.min,
        &buckets.max,
        &buckets.sum,
        &buckets.count,
    ];
    let all = columns.into_iter().chain(&buckets.increase);
    all.map(|column| column.iter().map(|value| value.to_bits()).collect())
        .collect()
}

fn come_back(all: &[(u32, Buckets)]) {
    let pool = ZstdPool::default();
    let key = ChunkKey {
        tier: Tier::FiveMinutes,
        group: 7,
        start_ms: 0,
    };
    let mut shared = SharedTimes::default();
    let mut of_all = Vec::new();
    for (series, buckets) in all {
        runs(*series, buckets.clone(), &mut shared, &mut of_all);
    }
    let bytes = chunk::encode(key, &of_all, &pool, Form::Quick);
    let chunk = Chunk::parse(&bytes, key).unwrap();
    let wanted: Vec<u32> = all.iter().map(|(series, _)| *series).collect();
    assert_eq!(series(&chunk), wanted);
    let (found, outcome) = read(&chunk, &wanted, &pool);
    assert_eq!(outcome, Ok(()));
    for (series, buckets) in all {
        assert_eq!(found[series].times_ms, buckets.times_ms);
        assert_eq!(bits(&found[series]), bits(buckets));
    }
}

#[test]
fn a_bucket_has_least_greatest_sum_count_and_last() {
    let buckets = of(
        &[(0, 3.0), (MINUTE, 1.0), (2 * MINUTE, 2.0), (5 * MINUTE, 7.0)],
        false,
    );
    assert_eq!(buckets.times_ms, [0, 5 * MINUTE]);
    assert_eq!(
        (&buckets.last[..], &buckets.min[..], &buckets.max[..]),
        (&[2.0, 7.0][..], &[1.0, 7.0][..], &[3.0, 7.0][..])
    );
    assert_eq!(
        (&buckets.sum[..], &buckets.count[..], buckets.increase),
        (&[6.0, 7.0][..], &[3.0, 1.0][..], None)
    );
}

#[test]
fn increases_add_up_over_resets_and_from_bucket_to_bucket() {
    let samples = [
        (0, 10.0),
        (MINUTE, 15.0),
        (6 * MINUTE, 20.0),
        (7 * MINUTE, 2.0),
        (11 * MINUTE, 5.0),
    ];
    assert_eq!(of(&samples, true).increase, Some(vec![5.0, 5.0 + 2.0, 3.0]));
    let known = roll_up(&[0], &[10.0], 5 * MINUTE, true, Some(4.0));
    assert_eq!(known.increase, Some(vec![6.0]));
}

#[test]
fn a_stale_marker_is_the_last_sample_and_nothing_else() {
    let buckets = of(&[(0, 3.0), (MINUTE, STALE_NAN), (6 * MINUTE, STALE_NAN)], false);
    assert!(buckets.last.iter().all(|last| is_stale(*last)));
    assert_eq!(
        (buckets.max[0], buckets.count[0], buckets.count[1]),
        (3.0, 1.0, 0.0)
    );
    assert!(buckets.min[1].is_nan() && !is_stale(buckets.min[1]));
}

#[test]
fn a_day_is_replaced_and_the_others_stay() {
    let mut week = of(&[(0, 1.0), (5 * MINUTE, 2.0), (10 * MINUTE, 3.0)], true);
    week.replace(&(5 * MINUTE..10 * MINUTE), of(&[(6 * MINUTE, 9.0)], true));
    assert_eq!(
        (&week.times_ms[..], &week.last[..]),
        (&[0, 5 * MINUTE, 10 * MINUTE][..], &[1.0, 9.0, 3.0][..])
    );
    week.retain(|time| time != 0);
    assert_eq!(week.increase.as_ref().map(Vec::len), Some(2));
    week.fill_up(&of(&[(0, 4.0), (5 * MINUTE, 5.0)], true));
    assert_eq!(week.last, [4.0, 9.0, 3.0]);
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (0..100_i32).prop_map(f64::from),
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => Just(STALE_NAN),
        1 => Just(-0.0),
    ]
}

proptest! {
    #[test]
    fn any_roll_up_comes_back(
        values in prop::collection::vec(any_value(), 1..200), step in 1_000_i64..400_000, is_counter in any::<bool>(),
    ) {
        let times: Vec<i64> = (0..values.len() as i64).map(|n| n * step).collect();
        let one = roll_up(&times, &values, 5 * MINUTE, is_counter, None);
        let constant = vec![values[0]; times.len()];
        let other = roll_up(&times, &constant, 5 * MINUTE, is_counter, None);
        come_back(&[(3, one), (9, other)]);
    }
}
