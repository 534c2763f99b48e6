//! Copies of a store that goes on working.

use std::sync::atomic::{AtomicBool, Ordering};

use camino::Utf8PathBuf;
use muster_samples::Options;

use crate::world::{DAY, World, all, open};

fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let dir = Utf8PathBuf::from_path_buf(folder.path().join("copy")).unwrap();
    (folder, dir)
}

#[test]
fn a_copy_has_everything_that_was_sealed() {
    let mut world = World::new();
    let series = world.series(1, "a");
    for day in 0..3 {
        world.now_ms += day * DAY;
        let time = world.now_ms;
        world.append(&[time, time + 1], &[series], &[1.0, 2.0]);
    }
    world.store.flush_all().unwrap();
    let sealed = all(&world.store);
    let time = world.now_ms + 5;
    world.append(&[time], &[series], &[3.0]);
    let (_folder, dir) = folder();
    world.store.copy_to(&dir).unwrap();
    let copy = open(&dir, &Options::default());
    assert_eq!(all(&copy), sealed);
    assert_eq!((copy.verify(), copy.damaged()), (vec![], vec![]));
    assert!(
        world.store.copy_to(&dir).is_err(),
        "nothing is copied over a copy"
    );
}

#[test]
fn copies_made_while_samples_are_sealed_are_sound_and_know_every_series() {
    let world = World::new();
    let series: Vec<_> = (0..40).map(|n| world.series(1, &format!("m{n}"))).collect();
    let is_done = AtomicBool::new(false);
    let start = world.now_ms;
    let store = &world.store;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..60_i64 {
                let fresh = store
                    .series(&crate::world::spec(2, &format!("n{n}"), "late", 0))
                    .unwrap();
                for (position, of) in [&series[..], &[fresh]].into_iter().enumerate() {
                    let batch = muster_samples::Batch {
                        position: 2 * n + position as i64,
                        received_ms: start + DAY,
                        times_ms: &[start + n],
                        series: of,
                        values: &vec![n as f64; of.len()],
                    };
                    store.append(&batch).unwrap();
                }
                store.flush_all().unwrap();
            }
            is_done.store(true, Ordering::Release);
        });
        while !is_done.load(Ordering::Acquire) {
            let before = store.stats().sealed;
            let (_folder, dir) = folder();
            store.copy_to(&dir).unwrap();
            let copy = open(&dir, &Options::default());
            assert_eq!((copy.damaged(), copy.verify()), (vec![], vec![]));
            assert!(before <= all(&copy).len() as u64);
        }
    });
}
