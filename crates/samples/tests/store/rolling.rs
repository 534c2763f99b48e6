//! Roll-ups say what the samples would, while these are there and when they are gone.

use std::collections::BTreeMap;

use muster_base::id::{ResourceId, ServerId};
use muster_model::{Labels, MetricType, STALE_NAN, is_stale};
use muster_samples::{Filter, MatchOp, Matcher, Resolution, Rolled, Select, SeriesRef, SeriesSpec};

use crate::world::{DAY, HOUR, MIDNIGHT, MINUTE, World};

fn counter(world: &World, name: &str) -> SeriesRef {
    let spec = SeriesSpec {
        server: ServerId(1),
        resource: ResourceId(1),
        name: name.to_owned(),
        labels: Labels::default(),
        metric_type: MetricType::Counter,
        unit: String::new(),
        collector: "test".to_owned(),
        interval_ms: 60_000,
    };
    world.store.series(&spec).unwrap()
}

fn rolled(world: &World, resolution: Resolution) -> Rolled {
    let every = [Matcher::new("__name__", MatchOp::Re, ".+").unwrap()];
    let select = Select::new(Filter::new(&every), 0, MIDNIGHT + 100 * DAY);
    world.store.snapshot().rolled(&select, resolution)
}

/// Everything of an answer, as bits.
type All = BTreeMap<(String, i64), Vec<u64>>;

fn bits(rolled: &Rolled) -> All {
    let mut all = All::new();
    for series in &rolled.series {
        for (index, time) in series.times_ms.iter().enumerate() {
            let mut values: Vec<u64> = [&series.last, &series.min, &series.max, &series.sum, &series.count]
                .iter()
                .map(|column| column[index].to_bits())
                .collect();
            values.extend(series.increase.iter().map(|increase| increase[index].to_bits()));
            all.insert((series.meta.name.to_string(), *time), values);
        }
    }
    all
}

/// Two days of a counter that begins anew, a gauge, and a series that ends, a sample a minute.
fn lived() -> World {
    let mut world = World::new();
    let total = counter(&world, "total");
    let (gauge, ending) = (world.series(1, "gauge"), world.series(1, "ending"));
    let mut random = fastrand::Rng::with_seed(3);
    let mut count = 0.0;
    for minute in 0..2 * 24 * 60 {
        let time = MIDNIGHT + minute * MINUTE + 7;
        world.now_ms = time;
        count = if minute == 1_000 {
            3.0
        } else {
            count + f64::from(random.u8(..50))
        };
        world.append(
            &[time],
            &[total, gauge],
            &[count, f64::from(random.i32(-100..100)) / 10.0],
        );
        if minute < 600 {
            let value = if minute == 599 { STALE_NAN } else { 1.0 };
            world.append(&[time], &[ending], &[value]);
        }
        if minute % 60 == 30 {
            world.store.seal(time).unwrap();
        }
    }
    world.now_ms = MIDNIGHT + 2 * DAY + HOUR;
    world
}

#[test]
fn roll_ups_are_the_same_before_and_after_compacting_and_when_samples_are_gone() {
    let mut world = lived();
    for resolution in [Resolution::FiveMinutes, Resolution::Hour] {
        let fresh = rolled(&world, resolution);
        assert_eq!(
            (fresh.series.len(), fresh.is_truncated, &fresh.damaged[..]),
            (3, false, &[][..])
        );
        let per_day = usize::try_from(DAY / resolution.bucket_ms()).unwrap();
        assert_eq!(fresh.series[0].times_ms.len(), 2 * per_day);
    }
    let fine = bits(&rolled(&world, Resolution::FiveMinutes));
    let coarse = bits(&rolled(&world, Resolution::Hour));
    let check = |world: &World, what: &str| {
        assert_eq!(
            bits(&rolled(world, Resolution::FiveMinutes)),
            fine,
            "5 min, {what}"
        );
        assert_eq!(bits(&rolled(world, Resolution::Hour)), coarse, "1 h, {what}");
    };
    world.store.flush_all().unwrap();
    check(&world, "sealed");
    assert_eq!(world.store.compact(world.now_ms).unwrap().groups, 2);
    check(&world, "compacted");
    world.reopen();
    check(&world, "reopened");
    let removed = world.store.retain(MIDNIGHT + 20 * DAY).unwrap();
    assert_eq!(removed.day_files_removed, 2);
    check(&world, "samples gone");
    let reader = world.store.snapshot();
    assert_eq!(reader.samples_since_ms(), None);
    // The week of Monday 2025-11-17.
    assert_eq!(
        reader.rolled_since_ms(Resolution::FiveMinutes),
        Some(MIDNIGHT - 5 * DAY)
    );
}

#[test]
fn increases_add_up_to_what_the_counter_rose() {
    let world = lived();
    world.store.flush_all().unwrap();
    world.store.compact(world.now_ms).unwrap();
    let sum = |resolution| -> f64 {
        let rolled = rolled(&world, resolution);
        let total = rolled
            .series
            .iter()
            .find(|series| &*series.meta.name == "total")
            .unwrap();
        total.increase.as_ref().unwrap().iter().sum()
    };
    let samples = crate::world::all(&world.store);
    let values: Vec<f64> = samples
        .iter()
        .filter(|((_, name, _), _)| name == "total")
        .map(|(_, bits)| f64::from_bits(*bits))
        .collect();
    let rose: f64 = values
        .windows(2)
        .map(|pair| {
            if pair[1] < pair[0] {
                pair[1]
            } else {
                pair[1] - pair[0]
            }
        })
        .sum();
    // Midnight included: the second day begins where the first ended.
    assert_eq!(
        (sum(Resolution::FiveMinutes), sum(Resolution::Hour)),
        (rose, rose)
    );
}

#[test]
fn a_series_that_ended_is_ended_in_its_last_bucket() {
    let world = lived();
    let rolled = rolled(&world, Resolution::FiveMinutes);
    let ending = rolled
        .series
        .iter()
        .find(|series| &*series.meta.name == "ending")
        .unwrap();
    assert_eq!(ending.times_ms.last(), Some(&(MIDNIGHT + 595 * MINUTE)));
    assert!(is_stale(*ending.last.last().unwrap()));
    assert_eq!((ending.max.last(), ending.count.last()), (Some(&1.0), Some(&4.0)));
}

#[test]
fn late_samples_change_the_roll_ups_of_their_day_at_once_and_for_good() {
    let mut world = lived();
    world.store.flush_all().unwrap();
    world.store.compact(world.now_ms).unwrap();
    let before = bits(&rolled(&world, Resolution::FiveMinutes));
    let gauge = world.series(1, "gauge");
    let late = MIDNIGHT + 3 * HOUR + MINUTE + 500;
    world.append(&[late], &[gauge], &[1e6]);
    let max = |world: &World| {
        let all = rolled(world, Resolution::FiveMinutes);
        let gauge = all
            .series
            .iter()
            .find(|series| &*series.meta.name == "gauge")
            .unwrap()
            .clone();
        let index = gauge.times_ms.binary_search(&(MIDNIGHT + 3 * HOUR)).unwrap();
        (gauge.max[index], gauge.count[index])
    };
    assert_eq!(max(&world), (1e6, 6.0), "in memory");
    world.store.flush_all().unwrap();
    assert_eq!(max(&world), (1e6, 6.0), "sealed");
    assert_eq!(world.store.compact(world.now_ms).unwrap().groups, 1);
    assert_eq!(max(&world), (1e6, 6.0), "compacted");
    world.store.retain(MIDNIGHT + 20 * DAY).unwrap();
    assert_eq!(max(&world), (1e6, 6.0), "samples gone");
    let after = bits(&rolled(&world, Resolution::FiveMinutes));
    let changed = after
        .iter()
        .filter(|(key, values)| before.get(*key) != Some(values))
        .count();
    assert_eq!((after.len(), changed), (before.len(), 1));
}

#[test]
fn only_what_is_asked_for_is_read_and_no_more_than_there_is_room_for() {
    let world = lived();
    world.store.flush_all().unwrap();
    world.store.compact(world.now_ms).unwrap();
    let gauge = [Matcher::equal("__name__", "gauge")];
    let mut select = Select::new(Filter::new(&gauge), MIDNIGHT + HOUR, MIDNIGHT + 3 * HOUR - 1);
    let reader = world.store.snapshot();
    let found = reader.rolled(&select, Resolution::Hour);
    assert_eq!(found.series.len(), 1);
    assert_eq!(found.series[0].times_ms, [MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR]);
    assert_eq!(found.series[0].count, [60.0, 60.0]);
    select.samples_max = 1;
    let cut = reader.rolled(&select, Resolution::Hour);
    assert!(cut.series.is_empty() && cut.is_truncated);
}
