//! Every bound, at the bound.

use muster_samples::{AppendOutcome, Batch, BatchError, Options, SeriesLimits, SeriesRefused};

use crate::world::{DAY, HOUR, World, all, spec};

#[test]
fn a_server_has_as_many_series_as_it_may_and_no_more() {
    let world = World::with(Options {
        series: SeriesLimits::of_server(3),
        ..Options::default()
    });
    for name in ["a", "b", "c", "a"] {
        world.series(1, name);
    }
    let refused = world.store.series(&spec(1, "d", "test", 0));
    assert!(matches!(refused, Err(SeriesRefused::TooMany { limit: 3, .. })));
    world.series(2, "d");
    assert_eq!(
        (world.store.stats().series, world.store.stats().series_refused),
        (4, 1)
    );
}

#[test]
fn the_limit_holds_after_a_restart() {
    let mut world = World::with(Options {
        series: SeriesLimits::of_server(1),
        ..Options::default()
    });
    let series = world.series(1, "a");
    world.append(&[world.now_ms], &[series], &[1.0]);
    world.store.flush_all().unwrap();
    world.reopen();
    assert!(world.store.series(&spec(1, "b", "test", 0)).is_err());
    assert_eq!(world.series(1, "a"), series);
}

#[test]
fn times_beyond_retention_or_ahead_are_refused_and_counted() {
    let mut world = World::new();
    let series = world.series(1, "a");
    let now = world.now_ms;
    let at = |world: &mut World, time| world.append(&[time], &[series], &[1.0]);
    let refused = |outcome: AppendOutcome| (outcome.appended, outcome.too_old, outcome.too_new);
    assert_eq!(refused(at(&mut world, now - 7 * DAY)), (1, 0, 0));
    assert_eq!(refused(at(&mut world, now - 7 * DAY - 1)), (0, 1, 0));
    assert_eq!(refused(at(&mut world, now + HOUR)), (1, 0, 0));
    assert_eq!(refused(at(&mut world, now + HOUR + 1)), (0, 0, 1));
    assert_eq!(refused(at(&mut world, i64::MIN)), (0, 1, 0));
    assert_eq!(refused(at(&mut world, i64::MAX)), (0, 0, 1));
    let stats = world.store.stats();
    assert_eq!((stats.appended, stats.too_old, stats.too_new), (2, 2, 2));
    assert_eq!(all(&world.store).len(), 2);
}

#[test]
fn a_clock_gone_mad_does_no_harm() {
    let mut world = World::with(Options {
        retention_ms: i64::MAX,
        ahead_ms_max: i64::MAX,
        ..Options::default()
    });
    let series = world.series(1, "a");
    for received in [i64::MIN, -1, 0, i64::MAX] {
        world.now_ms = received;
        for time in [
            i64::MIN,
            -1,
            0,
            253_370_764_799_999,
            253_370_764_800_000,
            i64::MAX,
        ] {
            world.append(&[time], &[series], &[1.0]);
        }
        world.store.seal(received).unwrap();
        world.store.retain(received).unwrap();
        let _ = world
            .store
            .snapshot()
            .latest(&muster_samples::Filter::new(&[]), received);
    }
    world.store.flush_all().unwrap();
    assert!(
        all(&world.store)
            .keys()
            .all(|(_, _, time)| (0..253_370_764_800_000).contains(time))
    );
    assert_eq!(world.store.damaged(), []);
}

#[test]
fn a_batch_that_is_no_rectangle_is_refused_whole() {
    let world = World::new();
    let series = world.series(1, "a");
    let batch = Batch {
        position: 5,
        received_ms: world.now_ms,
        times_ms: &[1, 2],
        series: &[series],
        values: &[1.0],
    };
    let refused = BatchError::NotARectangle {
        values: 1,
        times: 2,
        series: 1,
    };
    assert_eq!(world.store.append(&batch), Err(refused));
    assert_eq!(world.store.safe_position(), 0);
}

#[test]
fn an_empty_batch_moves_the_position_only() {
    let world = World::new();
    let batch = Batch {
        position: 5,
        received_ms: world.now_ms,
        times_ms: &[],
        series: &[],
        values: &[],
    };
    assert_eq!(world.store.append(&batch), Ok(AppendOutcome::default()));
    assert_eq!(world.store.safe_position(), 5);
}

#[test]
fn a_series_of_another_store_is_counted_as_unknown() {
    let other = World::new();
    let strangers: Vec<_> = ["x", "y", "z"].map(|name| other.series(1, name)).into();
    let mut world = World::new();
    let known = world.series(1, "a");
    let time = world.now_ms;
    // The first number is known here too; the others are not.
    assert_eq!(known, strangers[0]);
    let outcome = world.append(&[time, time + 1], &[strangers[1], known, strangers[2]], &[1.0; 6]);
    assert_eq!((outcome.appended, outcome.unknown), (2, 4));
}

#[test]
fn a_batch_of_several_collectors_and_servers_is_taken_apart() {
    let mut world = World::new();
    let one = world.series(1, "a");
    let two = world.store.series(&spec(1, "b", "other", 0)).unwrap();
    let three = world.series(2, "c");
    let time = world.now_ms;
    let outcome = world.append(
        &[time, time + 1],
        &[one, two, three],
        &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    );
    assert_eq!(outcome.appended, 6);
    let values: Vec<f64> = all(&world.store).into_values().map(f64::from_bits).collect();
    assert_eq!(values, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
}

#[test]
fn full_memory_is_said_and_sealed_before_its_time() {
    let mut world = World::with(Options {
        head_samples_max: 10,
        ..Options::default()
    });
    let series = world.series(1, "a");
    let time = world.now_ms;
    for n in 0..9 {
        world.append(&[time + n], &[series], &[1.0]);
    }
    assert!(!world.store.is_full());
    assert_eq!(world.store.seal(time).unwrap().samples, 0);
    world.append(&[time + 9], &[series], &[1.0]);
    assert!(world.store.is_full());
    assert_eq!(world.store.seal(time).unwrap().samples, 10);
    assert!(!world.store.is_full());
    assert_eq!(all(&world.store).len(), 10);
}

#[test]
fn a_flood_of_tables_or_containers_displaces_nothing_by_which_a_server_is_judged() {
    let world = World::with(Options {
        series: SeriesLimits {
            per_server_max: 1_000,
            per_family_max: 600,
            reserved: 100,
        },
        ..Options::default()
    });
    let make = |name: &str, n: usize| world.store.series(&spec(1, &format!("{name}_{n}"), "test", 0));
    let taken = |name: &str, count: usize| (0..count).filter(|n| make(name, *n).is_ok()).count();
    // Whoever floods first gets at most what is a family's, and all floods together what is not reserved.
    assert_eq!(taken("pg_stat_user_tables_rows", 5_000), 600);
    assert_eq!(taken("container_memory", 5_000), 100);
    for name in ["node_disk", "smartctl_device", "muster_agent"] {
        assert_eq!(taken(name, 5_000), 100, "{name}");
    }
    // Another server is not affected.
    assert!(world.store.series(&spec(2, "pg_other", "test", 0)).is_ok());
    assert_eq!(world.store.stats().series, 1_001);
    let cut: Vec<_> = world
        .store
        .cut()
        .iter()
        .map(|cut| (cut.family.to_string(), cut.reason, cut.times))
        .collect();
    let expected = [
        ("node", "server_full", 4_900),
        ("storage", "server_full", 4_900),
        ("health", "server_full", 4_900),
        ("database", "family_full", 4_400),
        ("container", "server_full", 4_900),
    ];
    assert_eq!(
        cut,
        expected.map(|(family, reason, times)| (family.to_owned(), reason, times))
    );
}
