//! Appending, sealing and reading at the same time.

use std::sync::atomic::{AtomicBool, Ordering};

use muster_samples::{Batch, SeriesRef};

use crate::world::{HOUR, World, select};

const TICKS: i64 = 2_000;
const WIDTH: usize = 20;

#[test]
fn readers_see_whole_rows_and_never_fewer_than_before() {
    let world = World::new();
    let series: Vec<SeriesRef> = (0..WIDTH).map(|n| world.series(1, &format!("m{n:02}"))).collect();
    let start = world.now_ms;
    let (store, is_done) = (&world.store, AtomicBool::new(false));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for tick in 0..TICKS {
                let time = start + tick * 15_000;
                let values = [tick as f64; WIDTH];
                let batch = Batch {
                    position: tick,
                    received_ms: time,
                    times_ms: &[time],
                    series: &series,
                    values: &values,
                };
                store.append(&batch).unwrap();
            }
            is_done.store(true, Ordering::Release);
        });
        threads.spawn(|| {
            let mut hour = 0;
            while !is_done.load(Ordering::Acquire) {
                store.seal(start + hour * HOUR).unwrap();
                hour += 1;
            }
        });
        threads.spawn(|| {
            let mut before = 0;
            while !is_done.load(Ordering::Acquire) {
                let selected = select(&store.snapshot(), 0, i64::MAX);
                let counts: Vec<usize> = selected.series.iter().map(|series| series.values.len()).collect();
                assert!(
                    counts.windows(2).all(|pair| pair[0] == pair[1]),
                    "a row is there in whole or not: {counts:?}"
                );
                let count = counts.first().copied().unwrap_or(0);
                assert!(before <= count, "{count} samples after {before}");
                before = count;
                let safe = store.safe_position();
                assert!((0..TICKS).contains(&safe));
            }
        });
    });
    let selected = select(&store.snapshot(), 0, i64::MAX);
    assert_eq!(selected.series.len(), WIDTH);
    assert!(
        selected
            .series
            .iter()
            .all(|series| series.values.len() == TICKS as usize)
    );
}
