use std::cell::RefCell;
use std::fs;
use std::rc::Rc;

use camino::{Utf8Path, Utf8PathBuf};
use muster_base::id::{ResourceId, ServerId};
use muster_model::{Labels, MetricType};

use std::sync::Arc;

use super::super::{Batch, Options};
use super::*;
use crate::reader::{Filter, Resolution, Select};
use crate::series::SeriesSpec;
use crate::steps;

const MIDNIGHT: i64 = 20_414 * DAY_MS;
const MINUTE_MS: i64 = 60_000;

/// Everything that can be read: samples, and both roll-ups.
#[derive(Debug, PartialEq)]
struct All {
    samples: Vec<(u32, Vec<i64>, Vec<u64>)>,
    rolled: Vec<(u32, Vec<i64>, Vec<u64>)>,
}

fn all(store: &Store) -> All {
    let reader = store.snapshot();
    let select = Select::new(Filter::new(&[]), 0, MIDNIGHT + 9 * DAY_MS);
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let selected = reader.select(&select);
    let mut rolled = Vec::new();
    for resolution in [Resolution::FiveMinutes, Resolution::Hour] {
        let found = reader.rolled(&select, resolution);
        assert_eq!(found.damaged, []);
        for series in found.series {
            let increase = series.increase.as_deref().unwrap_or_default();
            let columns = [&series.last, &series.min, &series.max, &series.sum, &series.count];
            let values = columns
                .iter()
                .flat_map(|column| bits(column))
                .chain(bits(increase));
            rolled.push((series.meta.id.0, series.times_ms, values.collect()));
        }
    }
    assert_eq!(selected.damaged, []);
    All {
        samples: selected
            .series
            .iter()
            .map(|series| (series.meta.id.0, series.times_ms.to_vec(), bits(&series.values)))
            .collect(),
        rolled,
    }
}

fn filled(dir: &Utf8Path) -> Store {
    let store = Store::open(dir, Options::default()).unwrap();
    let series: Vec<_> = (0..5)
        .map(|n| {
            let spec = SeriesSpec {
                server: ServerId(1 + n % 2),
                resource: ResourceId(1),
                name: format!("m{n}"),
                labels: Labels::default(),
                metric_type: if n == 0 {
                    MetricType::Counter
                } else {
                    MetricType::Gauge
                },
                unit: String::new(),
                collector: "test".to_owned(),
                interval_ms: 60_000,
            };
            store.series(&spec).unwrap()
        })
        .collect();
    for minute in 0..3 * 60 {
        append(
            &store,
            &series,
            MIDNIGHT + 22 * 60 * MINUTE_MS + minute * MINUTE_MS,
            minute as f64,
        );
        if minute % 60 == 59 {
            store.flush_all().unwrap();
        }
    }
    store
}

fn append(store: &Store, series: &[crate::SeriesRef], time_ms: i64, value: f64) {
    let batch = Batch {
        position: time_ms / MINUTE_MS,
        received_ms: MIDNIGHT + 2 * DAY_MS,
        times_ms: &[time_ms],
        series,
        values: &vec![value; series.len()],
    };
    store.append(&batch).unwrap();
}

/// What a killed process would leave: the files as they are now.
fn copy(from: &Utf8Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in from.read_dir_utf8().unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().ends_with("-shm") {
            fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
        }
    }
    to
}

fn dir_of(folder: &tempfile::TempDir) -> &Utf8Path {
    Utf8Path::from_path(folder.path()).unwrap()
}

/// Runs `work` and returns a copy of the folder after each step.
fn at_each_step(dir: &Utf8Path, work: impl FnOnce()) -> Vec<(&'static str, tempfile::TempDir)> {
    let copies = Rc::new(RefCell::new(Vec::new()));
    let (kept, from): (_, Utf8PathBuf) = (Rc::clone(&copies), dir.to_owned());
    steps::watch(move |step| kept.borrow_mut().push((step, copy(&from))), work);
    Rc::try_unwrap(copies).expect("no longer watched").into_inner()
}

/// D2
#[test]
fn a_crash_at_any_step_of_compacting_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(dir_of(&folder));
    let now_ms = MIDNIGHT + DAY_MS + 3 * 60 * MINUTE_MS;
    let mut steps = Vec::new();
    let mut check = |before: &All, copies: Vec<(&'static str, tempfile::TempDir)>| {
        for (step, copy) in copies {
            let reopened = Store::open(dir_of(&copy), Options::default()).unwrap();
            assert_eq!(reopened.damaged(), [], "{step}");
            assert_eq!(&all(&reopened), before, "{step}");
            reopened.compact(now_ms).unwrap();
            assert_eq!(&all(&reopened), before, "{step}, compacted then");
            assert_eq!(reopened.compact(now_ms).unwrap().groups, 0, "{step}");
            assert_eq!(reopened.verify(), [], "{step}");
            drop(reopened);
            let again = Store::open(dir_of(&copy), Options::default()).unwrap();
            assert_eq!(&all(&again), before, "{step}, and opened again");
            steps.push(step);
        }
    };
    let before = all(&store);
    let copies = at_each_step(dir_of(&folder), || {
        store.compact(now_ms).unwrap();
    });
    check(&before, copies);
    // Late samples: the day is compacted in place.
    let late = store.snapshot().series(&Filter::new(&[])).0;
    append(&store, &[late[0].id], MIDNIGHT + 5 * MINUTE_MS, 7.5);
    store.flush_all().unwrap();
    let before = all(&store);
    let copies = at_each_step(dir_of(&folder), || {
        store.compact(now_ms).unwrap();
    });
    check(&before, copies);
    assert_eq!(all(&store), before);
    for expected in [
        "roll-ups written",
        "filled",
        "synced",
        "renamed",
        "removed",
        "rolled up",
        "replaced",
    ] {
        assert!(steps.contains(&expected), "{expected} is missing among {steps:?}");
    }
    println!("crashed at {} steps", steps.len());
}

/// D2
#[test]
fn a_crash_at_any_step_of_sealing_loses_nothing_that_was_passed() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(dir_of(&folder));
    let before = all(&store);
    let late = store.snapshot().series(&Filter::new(&[])).0;
    for day in 0..2 {
        append(
            &store,
            &[late[0].id],
            MIDNIGHT + day * DAY_MS + 300 * MINUTE_MS,
            7.5,
        );
    }
    let after = all(&store);
    let copies = at_each_step(dir_of(&folder), || {
        store.flush_all().unwrap();
    });
    assert_eq!(copies.len(), 4, "index and chunks of two days");
    for (step, copy) in copies {
        let reopened = Store::open(dir_of(&copy), Options::default()).unwrap();
        let series = reopened.snapshot().series(&Filter::new(&[])).0;
        let found = all(&reopened)
            .samples
            .iter()
            .map(|(_, times, _)| times.len())
            .sum::<usize>();
        let whole = before
            .samples
            .iter()
            .map(|(_, times, _)| times.len())
            .sum::<usize>();
        assert!((whole..=whole + 2).contains(&found), "{step}");
        // What was not passed is applied again, with what a second process might compute anew.
        for day in 0..2 {
            append(
                &reopened,
                &[series[0].id],
                MIDNIGHT + day * DAY_MS + 300 * MINUTE_MS,
                7.5,
            );
        }
        assert_eq!(all(&reopened), after, "{step}");
        reopened.flush_all().unwrap();
        assert_eq!(all(&reopened), after, "{step}, sealed then");
    }
}

#[test]
fn what_is_sealed_while_a_day_is_compacted_is_there_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(filled(dir_of(&folder)));
    let now_ms = MIDNIGHT + DAY_MS + 3 * 60 * MINUTE_MS;
    let series = store.snapshot().series(&Filter::new(&[])).0[0].id;
    let late = Arc::clone(&store);
    let look = move |step| {
        if step == "filled" {
            append(&late, &[series], MIDNIGHT + 5 * MINUTE_MS, 7.5);
            late.flush_all().unwrap();
        }
    };
    let before: usize = all(&store).samples.iter().map(|(_, times, _)| times.len()).sum();
    steps::watch(look, || {
        store.compact(now_ms).unwrap();
    });
    let after: usize = all(&store).samples.iter().map(|(_, times, _)| times.len()).sum();
    assert_eq!(after, before + 1);
    assert_eq!(
        store.compact(now_ms).unwrap().groups,
        1,
        "the late one waits for the next time"
    );
    assert_eq!(store.compact(now_ms).unwrap().groups, 0);
}
