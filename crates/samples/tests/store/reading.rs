//! What readers see: staleness, bounds, narrowing.

use muster_base::id::ServerId;
use muster_model::STALE_NAN;
use muster_samples::{Filter, MatchOp, Matcher, Select, selector};

use crate::world::{HOUR, MINUTE, World, spec};

fn latest(world: &World, now_ms: i64) -> Vec<(String, i64, f64)> {
    let matchers = selector::parse(r#"{__name__=~".+"}"#).unwrap();
    let latest = world.store.snapshot().latest(&Filter::new(&matchers), now_ms);
    assert_eq!(latest.damaged, []);
    latest
        .samples
        .iter()
        .map(|sample| (sample.meta.name.to_string(), sample.time_ms, sample.value))
        .collect()
}

#[test]
fn a_sample_counts_five_minutes_or_two_and_a_half_intervals() {
    let mut world = World::new();
    let fast = world.store.series(&spec(1, "fast", "x", 15_000)).unwrap();
    let slow = world.store.series(&spec(1, "slow", "x", 30 * 60_000)).unwrap();
    let time = world.now_ms;
    world.append(&[time], &[fast, slow], &[1.0, 2.0]);
    let names = |world: &World, now| {
        latest(world, now)
            .into_iter()
            .map(|(name, ..)| name)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&world, time - 1), [""; 0]);
    assert_eq!(names(&world, time), ["fast", "slow"]);
    assert_eq!(names(&world, time + 5 * MINUTE - 1), ["fast", "slow"]);
    assert_eq!(names(&world, time + 5 * MINUTE), ["slow"]);
    assert_eq!(names(&world, time + 75 * MINUTE - 1), ["slow"]);
    assert_eq!(names(&world, time + 75 * MINUTE), [""; 0]);
    // The same when the sample has left memory.
    world.seal_all();
    assert_eq!(names(&world, time + 75 * MINUTE - 1), ["slow"]);
    assert_eq!(names(&world, time + 75 * MINUTE), [""; 0]);
}

#[test]
fn a_stale_marker_ends_a_series_at_once_and_a_new_sample_begins_it_again() {
    let mut world = World::new();
    let series = world.series(1, "a");
    let time = world.now_ms;
    world.append(&[time, time + 15_000], &[series], &[1.0, STALE_NAN]);
    assert_eq!(latest(&world, time + 14_999), [("a".to_owned(), time, 1.0)]);
    assert_eq!(latest(&world, time + 15_000), []);
    world.append(&[time + 30_000], &[series], &[2.0]);
    assert_eq!(
        latest(&world, time + 30_000),
        [("a".to_owned(), time + 30_000, 2.0)]
    );
    assert_eq!(latest(&world, time + 16_000), []);
}

#[test]
fn an_ordinary_nan_is_a_value() {
    let mut world = World::new();
    let series = world.series(1, "a");
    let time = world.now_ms;
    world.append(&[time], &[series], &[f64::NAN]);
    assert!(latest(&world, time)[0].2.is_nan());
}

#[test]
fn a_changed_interval_changes_how_long_a_sample_counts() {
    let mut world = World::new();
    let series = world.store.series(&spec(1, "a", "x", 15_000)).unwrap();
    let time = world.now_ms;
    world.append(&[time], &[series], &[1.0]);
    assert_eq!(
        world.store.series(&spec(1, "a", "x", 10 * 60_000)).unwrap(),
        series
    );
    assert_eq!(latest(&world, time + 20 * MINUTE).len(), 1);
}

#[test]
fn an_answer_is_cut_between_series_and_says_so() {
    let mut world = World::new();
    let series: Vec<_> = (1..=4).map(|server| world.series(server, "a")).collect();
    let times: Vec<i64> = (0..10).map(|n| world.now_ms + n * 1_000).collect();
    for one in &series {
        world.append(&times, &[*one], &[1.0; 10]);
    }
    for _ in 0..2 {
        let matchers = [Matcher::equal("__name__", "a")];
        let reader = world.store.snapshot();
        let select = |samples_max, series_max| {
            let filter = Filter {
                series_max,
                ..Filter::new(&matchers)
            };
            let all = Select {
                samples_max,
                ..Select::new(filter, i64::MIN, i64::MAX)
            };
            let selected = reader.select(&all);
            (
                selected
                    .series
                    .iter()
                    .map(|series| series.values.len())
                    .collect::<Vec<_>>(),
                selected.is_truncated,
            )
        };
        assert_eq!(select(40, 4), (vec![10; 4], false));
        assert_eq!(select(39, 4), (vec![10; 3], true));
        assert_eq!(select(40, 3), (vec![10; 3], true));
        assert_eq!(select(9, 4), (vec![], true));
        world.seal_all();
    }
}

#[test]
fn a_range_includes_both_ends() {
    let mut world = World::new();
    let series = world.series(1, "a");
    let start = world.now_ms;
    let times: Vec<i64> = (0..10).map(|n| start + n).collect();
    world.append(&times, &[series], &[1.0; 10]);
    for _ in 0..2 {
        let matchers = [Matcher::equal("__name__", "a")];
        let read = |from, to| {
            let selected = world
                .store
                .snapshot()
                .select(&Select::new(Filter::new(&matchers), from, to));
            selected
                .series
                .first()
                .map_or(Vec::new(), |series| series.times_ms.to_vec())
        };
        assert_eq!(read(start + 2, start + 4), [start + 2, start + 3, start + 4]);
        assert_eq!(read(start + 9, start + HOUR), [start + 9]);
        assert_eq!(read(start - HOUR, start - 1), [0_i64; 0]);
        assert_eq!(read(start + 4, start + 2), [0_i64; 0]);
        world.seal_all();
    }
}

#[test]
fn servers_narrow_an_answer_and_series_are_listed_without_samples() {
    let world = World::new();
    for server in 1..=3 {
        world.series(server, "a");
        world.series(server, "b");
    }
    let matchers = [Matcher::new("__name__", MatchOp::Ne, "b").unwrap()];
    let servers = [ServerId(3), ServerId(1)];
    let filter = Filter {
        servers: Some(&servers),
        ..Filter::new(&matchers)
    };
    let (metas, is_truncated) = world.store.snapshot().series(&filter);
    assert_eq!(
        metas
            .iter()
            .map(|meta| (meta.server.0, &*meta.name))
            .collect::<Vec<_>>(),
        [(1, "a"), (3, "a")]
    );
    assert!(!is_truncated);
}

#[test]
fn series_that_come_together_share_their_times() {
    let mut world = World::new();
    let (a, b) = (world.series(1, "a"), world.series(1, "b"));
    for tick in 0..100 {
        world.append(&[world.now_ms + tick * 15_000], &[a, b], &[1.0, 2.0]);
    }
    for _ in 0..2 {
        let matchers = [Matcher::new("__name__", MatchOp::Re, "a|b").unwrap()];
        let selected = world
            .store
            .snapshot()
            .select(&Select::new(Filter::new(&matchers), 0, i64::MAX));
        assert!(std::sync::Arc::ptr_eq(
            &selected.series[0].times_ms,
            &selected.series[1].times_ms
        ));
        world.seal_all();
    }
}
