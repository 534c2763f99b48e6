//! When windows are sealed, into which files, and what the intake may forget.

use muster_model::STALE_NAN;
use muster_samples::Sealed;

use crate::world::{DAY, HOUR, MIDNIGHT, MINUTE, World, all};

#[test]
fn a_window_is_sealed_by_the_controllers_clock_and_not_before() {
    let mut world = World::new();
    let series = world.series(1, "a");
    let start = world.now_ms;
    world.append(&[start], &[series], &[1.0]);
    for _ in 0..3 {
        assert_eq!(world.store.seal(start).unwrap(), Sealed::default());
    }
    assert_eq!(world.store.seal(start + 2 * HOUR).unwrap().samples, 1);
    assert_eq!(world.store.stats().head_samples, 0);
    assert_eq!(all(&world.store).len(), 1);
}

#[test]
fn a_backlog_is_waited_for_before_its_windows_are_sealed() {
    let mut world = World::new();
    let series = world.series(1, "a");
    let old = world.now_ms - 6 * HOUR;
    world.append(&[old], &[series], &[1.0]);
    assert_eq!(world.store.seal(world.now_ms).unwrap().chunks, 0);
    world.append(&[old + 1_000], &[series], &[2.0]);
    assert_eq!(world.store.seal(world.now_ms + 9 * MINUTE).unwrap().chunks, 0);
    let sealed = world.store.seal(world.now_ms + 11 * MINUTE).unwrap();
    assert_eq!((sealed.chunks, sealed.samples), (1, 2));
}

#[test]
fn groups_are_not_sealed_all_at_once() {
    let mut world = World::new();
    let start = world.now_ms;
    for server in 1..=60 {
        let series = world.series(server, "a");
        let times: Vec<i64> = (0..120).map(|n| start + n * MINUTE).collect();
        world.now_ms = start + 2 * HOUR;
        world.append(&times, &[series], &[1.0; 120]);
    }
    world.store.seal(start).unwrap();
    let sealed: Vec<u64> = (60..120)
        .map(|minute| world.store.seal(start + minute * MINUTE).unwrap().chunks)
        .collect();
    assert!(40 < sealed.iter().sum::<u64>(), "{sealed:?}");
    assert!(sealed.iter().skip(6).all(|chunks| *chunks <= 4), "{sealed:?}");
}

#[test]
fn midnight_cuts_into_two_files() {
    let mut world = World::new();
    let series = world.series(1, "a");
    let times: Vec<i64> = (-10..10).map(|n| MIDNIGHT + n * MINUTE).collect();
    world.append(&times, &[series], &[7.0; 20]);
    world.seal_all();
    assert_eq!(world.day_files(), ["raw-2025-11-21.db", "raw-2025-11-22.db"]);
    assert_eq!(all(&world.store).len(), 20);
}

#[test]
fn late_samples_make_a_further_chunk_and_the_first_stays() {
    let mut world = World::new();
    let series = world.series(1, "a");
    let start = world.now_ms;
    world.append(&[start, start + 10], &[series], &[1.0, 2.0]);
    world.seal_all();
    world.append(&[start + 5, start + 10, start + 20], &[series], &[3.0, 99.0, 4.0]);
    let read = |world: &World| {
        all(&world.store)
            .into_values()
            .map(f64::from_bits)
            .collect::<Vec<_>>()
    };
    assert_eq!(read(&world), [1.0, 3.0, 2.0, 4.0]);
    let duplicates = world.store.stats().duplicates;
    world.seal_all();
    assert_eq!(world.store.stats().duplicates - duplicates, 1);
    assert_eq!(read(&world), [1.0, 3.0, 2.0, 4.0]);
}

#[test]
fn what_is_sealed_already_makes_no_chunk() {
    let mut world = World::new();
    let series = world.series(1, "a");
    let start = world.now_ms;
    let times: Vec<i64> = (0..100).map(|n| start + n * 1_000).collect();
    world.append(&times, &[series], &[1.0; 100]);
    world.store.flush_all().unwrap();
    world.append(&times, &[series], &[2.0; 100]);
    let sealed = world.store.flush_all().unwrap();
    assert_eq!((sealed.chunks, sealed.duplicates), (0, 100));
    assert_eq!(world.store.safe_position(), 2);
}

#[test]
fn the_safe_position_is_that_of_the_oldest_unsealed_record() {
    let mut world = World::new();
    assert_eq!(world.store.safe_position(), 0);
    let (early, late) = (world.series(1, "a"), world.series(2, "b"));
    let start = world.now_ms;
    world.append(&[start], &[early], &[1.0]);
    world.now_ms += 4 * HOUR;
    world.append(&[world.now_ms], &[late], &[1.0]);
    world.append(&[world.now_ms + 1], &[late], &[1.0]);
    assert_eq!(world.store.safe_position(), 1);
    world.store.seal(start).unwrap();
    world.store.seal(world.now_ms).unwrap();
    assert_eq!(world.store.safe_position(), 2);
    world.store.flush_all().unwrap();
    // The last record may have more samples to come, unless its consumer says otherwise.
    assert_eq!(world.store.safe_position(), 3);
    world.store.passed(9);
    assert_eq!(world.store.safe_position(), 10);
}

#[test]
fn all_bits_survive_sealing() {
    let mut world = World::new();
    let odd = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -0.0,
        0.0,
        STALE_NAN,
        f64::MIN_POSITIVE / 2.0,
        1e308,
    ];
    let series: Vec<_> = (0..odd.len())
        .map(|n| world.series(1, &format!("m{n}")))
        .collect();
    for tick in 0..50 {
        let time = world.now_ms + tick * 15_000;
        let values: Vec<f64> = (0..odd.len())
            .map(|n| odd[(n + tick as usize) % odd.len()])
            .collect();
        world.append(&[time], &series, &values);
    }
    let before = all(&world.store);
    world.seal_all();
    world.reopen();
    assert_eq!(all(&world.store), before);
    assert_eq!(before.len(), 50 * odd.len());
}

#[test]
fn retention_removes_whole_days_and_the_series_that_had_nothing_else() {
    let mut world = World::new();
    let (old, kept) = (world.series(1, "old"), world.series(1, "kept"));
    let start = world.now_ms;
    world.append(&[start], &[old, kept], &[1.0, 1.0]);
    world.seal_all();
    world.now_ms = start + 3 * DAY;
    world.append(&[world.now_ms], &[kept], &[2.0]);
    world.seal_all();
    world.reopen();
    // The last moment at which a sample of the first day may still be within retention.
    assert_eq!(
        world
            .store
            .retain(MIDNIGHT + 8 * DAY - 1)
            .unwrap()
            .day_files_removed,
        0
    );
    let retained = world.store.retain(MIDNIGHT + 8 * DAY).unwrap();
    assert_eq!((retained.day_files_removed, retained.series_rested), (1, 1));
    assert_eq!(world.day_files(), ["raw-2025-11-25.db"]);
    assert_eq!(all(&world.store).len(), 1);
    world.reopen();
    world.store.retain(MIDNIGHT + 8 * DAY).unwrap();
    assert_eq!(
        (world.store.stats().series, world.store.stats().series_rested),
        (1, 1)
    );
    assert_eq!(world.store.damaged(), []);
}

#[test]
fn a_failed_sealing_keeps_everything_and_is_made_up_for() {
    let mut world = World::new();
    let series = world.series(1, "a");
    let time = world.now_ms;
    world.append(&[time], &[series], &[1.0]);
    // A folder in the place of the file that is to be made.
    let blocked = world.dir().join("raw-2025-11-22.db.new");
    std::fs::create_dir(&blocked).unwrap();
    assert!(world.store.flush_all().is_err());
    assert_eq!(all(&world.store).len(), 1);
    assert_eq!(world.store.safe_position(), 1);
    world.append(&[time, time + 1], &[series], &[5.0, 2.0]);
    std::fs::remove_dir(&blocked).unwrap();
    assert_eq!(world.store.flush_all().unwrap().samples, 2);
    let values: Vec<f64> = all(&world.store).into_values().map(f64::from_bits).collect();
    assert_eq!(values, [1.0, 2.0]);
}
