//! Days become one chunk a group, and nothing of them changes.

use std::sync::atomic::{AtomicBool, Ordering};

use muster_samples::{Batch, Options};

use crate::world::{DAY, HOUR, MIDNIGHT, MINUTE, Samples, World, all, samples, select, spec};

/// A world with `days` days of `series` series every `step` ms, all of it sealed by the hour.
pub(crate) fn lived(days: i64, series: usize, step: i64) -> World {
    let mut world = World::new();
    let numbers: Vec<_> = (0..series).map(|n| world.series(1, &format!("m{n}"))).collect();
    let mut random = fastrand::Rng::with_seed(5);
    let mut totals = vec![0.0; series];
    for hour in 0..days * 24 {
        world.now_ms = MIDNIGHT + (hour + 1) * HOUR;
        for tick in 0..HOUR / step {
            let time = MIDNIGHT + hour * HOUR + tick * step + random.i64(0..3);
            for (n, total) in totals.iter_mut().enumerate() {
                match n % 4 {
                    0 => *total += f64::from(random.u8(..200)),
                    1 => *total = f64::from(random.u32(..10_000)) / 100.0,
                    2 => *total += random.f64() - 0.5,
                    _ => {}
                }
            }
            world.append(&[time], &numbers, &totals);
        }
        world.store.seal(world.now_ms).unwrap();
    }
    world.store.flush_all().unwrap();
    world.now_ms = MIDNIGHT + days * DAY + HOUR;
    world
}

#[test]
fn a_compacted_day_has_the_same_samples_in_fewer_bytes() {
    let mut world = lived(2, 12, 15_000);
    let before = all(&world.store);
    let bytes = world.store.stats().day_file_bytes;
    let compacted = world.store.compact(world.now_ms).unwrap();
    assert_eq!((compacted.groups, compacted.samples), (2, before.len() as u64));
    assert_eq!(all(&world.store), before);
    let after = world.store.stats();
    println!(
        "bytes per sample: {:.2} sealed by the hour, {:.2} compacted, {:.2} of roll-ups",
        bytes as f64 / before.len() as f64,
        after.day_file_bytes as f64 / before.len() as f64,
        after.rollup_file_bytes as f64 / before.len() as f64,
    );
    assert!(after.day_file_bytes < bytes);
    assert_eq!(
        world.day_files(),
        ["raw-2025-11-22.1c.db", "raw-2025-11-23.1c.db"]
    );
    assert_eq!(
        world.store.compact(world.now_ms).unwrap().groups,
        0,
        "once is enough"
    );
    world.reopen();
    assert_eq!((all(&world.store), world.store.verify()), (before, vec![]));
}

#[test]
fn a_day_is_not_compacted_before_what_is_live_is_sealed() {
    let world = lived(1, 2, 60_000);
    let end = MIDNIGHT + DAY;
    assert_eq!(world.store.compact(end + 29 * MINUTE).unwrap().groups, 0);
    assert_eq!(world.store.compact(end + 30 * MINUTE).unwrap().groups, 1);
}

#[test]
fn late_samples_are_taken_into_a_compacted_day_and_the_first_stays() {
    let mut world = lived(1, 3, 60_000);
    world.store.compact(world.now_ms).unwrap();
    let before = all(&world.store);
    let known = before.keys().next().unwrap().2;
    let (series, fresh) = (world.series(1, "m0"), world.series(1, "fresh"));
    let late = MIDNIGHT + 5 * HOUR + 30_000;
    for round in 0..3 {
        let value = f64::from(round) + 0.5;
        world.append(&[known, late], &[series, fresh], &[-1.0, value, value, value]);
        world.store.flush_all().unwrap();
        if round == 1 {
            assert_eq!(world.store.compact(world.now_ms).unwrap().groups, 1);
            assert_eq!(world.store.compact(world.now_ms).unwrap().groups, 0);
        }
        world.reopen();
    }
    let mut expected = before;
    let fresh_key = |time| (1, "fresh".to_owned(), time);
    expected.insert((1, "m0".to_owned(), late), 0.5_f64.to_bits());
    expected.insert(fresh_key(late), 0.5_f64.to_bits());
    expected.insert(fresh_key(known), 0.5_f64.to_bits());
    assert_eq!(all(&world.store), expected);
    assert_eq!(world.day_files(), ["raw-2025-11-22.1c.db"]);
    assert_eq!(world.store.damaged(), []);
}

#[test]
fn readers_see_every_sample_while_days_are_compacted_and_late_ones_come() {
    let world = lived(3, 6, 60_000);
    let before = all(&world.store);
    let is_done = AtomicBool::new(false);
    let store = &world.store;
    let late = store.series(&spec(1, "late", "test", 0)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..12_i64 {
                let batch = Batch {
                    position: 10_000 + n,
                    received_ms: world.now_ms,
                    times_ms: &[MIDNIGHT + n % 3 * DAY + n],
                    series: &[late],
                    values: &[1.0],
                };
                store.append(&batch).unwrap();
                store.flush_all().unwrap();
                store.compact(world.now_ms).unwrap();
            }
            is_done.store(true, Ordering::Release);
        });
        while !is_done.load(Ordering::Acquire) {
            let selected = select(&store.snapshot(), 0, i64::MAX);
            assert_eq!(selected.damaged, []);
            let read: Samples = samples(&selected);
            let missing = before.iter().find(|(key, bits)| read.get(*key) != Some(bits));
            assert_eq!(missing, None, "of {}", before.len());
        }
    });
    assert_eq!(all(store).len(), before.len() + 12);
}

#[test]
fn samples_are_rolled_up_before_their_day_is_removed() {
    let mut world = lived(1, 2, 60_000);
    world.now_ms = MIDNIGHT + 9 * DAY;
    let retained = world.store.retain(world.now_ms).unwrap();
    assert_eq!((retained.day_files_removed, retained.series_rested), (1, 2));
    assert_eq!(
        (all(&world.store).len(), world.store.stats().series_rested),
        (0, 2)
    );
    assert_eq!(world.store.stats().rollup_files, 2);
    world.reopen();
    world.store.retain(world.now_ms).unwrap();
    assert_eq!(
        (world.store.stats().series, world.store.stats().series_rested),
        (0, 2)
    );
    // Five minutes for 90 days, hours for five years, each to the end of its file.
    assert_eq!(
        world
            .store
            .retain(MIDNIGHT + 93 * DAY)
            .unwrap()
            .rollup_files_removed,
        1
    );
    assert_eq!(
        world
            .store
            .retain(MIDNIGHT + 5 * 365 * DAY + 46 * DAY)
            .unwrap()
            .rollup_files_removed,
        1
    );
    assert_eq!(world.store.stats().series_rested, 0);
}

#[test]
fn too_many_series_at_rest_are_forgotten_and_one_that_comes_back_is_itself() {
    let mut world = World::with(Options {
        series_rested_max: 2,
        ..Options::default()
    });
    let series: Vec<_> = (0..4).map(|n| world.series(1, &format!("m{n}"))).collect();
    world.append(&[world.now_ms], &series, &[1.0; 4]);
    world.store.flush_all().unwrap();
    world.now_ms += 9 * DAY;
    let retained = world.store.retain(world.now_ms).unwrap();
    assert_eq!((retained.series_rested, retained.series_retired), (4, 2));
    assert_eq!(world.series(1, "m3"), series[3]);
    world.append(&[world.now_ms], &[series[2]], &[1.0]);
    assert_eq!(
        (world.store.stats().series, world.store.stats().series_rested),
        (2, 0)
    );
}

#[test]
fn a_day_file_of_the_first_version_is_read_and_compacted() {
    let mut world = lived(1, 3, 60_000);
    let before = all(&world.store);
    // Closing puts everything into the file itself.
    let elsewhere = tempfile::tempdir().unwrap();
    let path = camino::Utf8Path::from_path(elsewhere.path()).unwrap();
    world.store = crate::world::open(path, &Options::default());
    let database = rusqlite::Connection::open(world.dir().join("raw-2025-11-22.db")).unwrap();
    database
        .execute_batch(
            "DROP INDEX chunk_by_group;
             ALTER TABLE chunk DROP COLUMN first_series;
             ALTER TABLE chunk DROP COLUMN last_series;
             ALTER TABLE chunk DROP COLUMN is_final;
             CREATE INDEX chunk_by_group ON chunk (group_id, last_ms, first_ms, start_ms);
             PRAGMA user_version = 1;",
        )
        .unwrap();
    drop(database);
    world.store = crate::world::open(&world.dir(), &Options::default());
    assert_eq!(
        (all(&world.store), world.store.damaged()),
        (before.clone(), vec![])
    );
    assert_eq!(world.store.compact(world.now_ms).unwrap().groups, 1);
    assert_eq!(all(&world.store), before);
}
