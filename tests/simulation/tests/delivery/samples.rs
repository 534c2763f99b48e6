//! The sample store behind the intake: fed from the log in order, as the controller's consumer feeds it, sealed now
//! and then, killed in between and fed again from where it said that it is safe.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::Utf8Path;
use muster_base::id::{ResourceId, ServerId};
use muster_controller::intake::{Accepted, Definitions};
use muster_model::SeriesDef;
use muster_samples::{Batch, Filter, Options, Select, SeriesRef, SeriesSpec, Store};

use crate::controller::folder;
use crate::sabotage::Sabotage;

type Log = [(usize, Arc<Accepted>)];
type Known = BTreeMap<(usize, u64), Definitions>;
/// Server, name and the labels as text: the values by time.
type Values = BTreeMap<(i64, String, String), BTreeMap<i64, f64>>;

/// Feeds a store with the log, whatever happens to it meanwhile, and compares; returns how many samples it has.
pub(crate) fn judge(log: &Log, known: &Known, random: &mut fastrand::Rng, sabotage: Option<Sabotage>) -> u64 {
    let mut dir = folder();
    let mut store = open(&dir);
    let (mut next, mut remembered, mut now_ms) = (0, 0, 0);
    while let Some((agent, accepted)) = log.get(next) {
        append(&store, *agent, accepted, known);
        store.passed(accepted.position);
        now_ms = accepted.received_ms.max(now_ms);
        next += 1;
        match random.u16(..400) {
            // Windows whose time is over, and often those that are not over yet.
            0..=9 => {
                store.seal(now_ms + random.i64(0..3) * 3_600_000).unwrap();
                remembered = match sabotage {
                    Some(Sabotage::PassUnsealed) => accepted.position + 1,
                    _ => store.safe_position(),
                };
            }
            10..=12 => {
                dir = copy(&dir);
                drop(store);
                store = open(&dir);
                next = log.partition_point(|(_, accepted)| accepted.position < remembered);
            }
            _ => {}
        }
    }
    let (expected, found) = (expected(log, known), content(&store));
    let count = |values: &Values| values.values().map(BTreeMap::len).sum::<usize>();
    assert!(
        expected == found,
        "the sample store has {} samples of {} series, and {} of {} were taken",
        count(&found),
        found.len(),
        count(&expected),
        expected.len()
    );
    count(&found) as u64
}

fn open(dir: &tempfile::TempDir) -> Store {
    let options = Options {
        seal_delay_ms: 0,
        seal_late_ms: 0,
        ..Options::default()
    };
    Store::open(Utf8Path::from_path(dir.path()).unwrap(), options).unwrap()
}

/// The files as they are now: nothing is closed first.
fn copy(dir: &tempfile::TempDir) -> tempfile::TempDir {
    let to = folder();
    copy_below(dir.path(), to.path());
    to
}

fn copy_below(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_below(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn definition(known: &Known, agent: usize, epoch: u64, id: u32) -> &SeriesDef {
    known[&(agent, epoch)].series[id as usize - 1].as_ref().unwrap()
}

fn append(store: &Store, agent: usize, accepted: &Accepted, known: &Known) {
    for block in &accepted.report.blocks {
        let series = block.series().iter().map(|id| {
            let def = definition(known, agent, accepted.report.epoch, *id);
            let spec = SeriesSpec {
                server: accepted.server,
                resource: ResourceId(accepted.server.0),
                name: def.name.to_string(),
                labels: def.labels.clone(),
                metric_type: def.metric_type,
                unit: def.unit.to_string(),
                collector: def.collector.to_string(),
                interval_ms: def.interval_ms,
            };
            store.series(&spec).unwrap()
        });
        let series: Vec<SeriesRef> = series.collect();
        let batch = Batch {
            position: accepted.position,
            received_ms: accepted.received_ms,
            times_ms: block.times_ms(),
            series: &series,
            values: block.values(),
        };
        let outcome = store.append(&batch).unwrap();
        assert_eq!(outcome.unknown, 0, "a series is unknown that was just given");
    }
}

/// What was taken: of several of one series and time the first.
fn expected(log: &Log, known: &Known) -> Values {
    let mut values = Values::new();
    for (agent, accepted) in log {
        let oldest_ms = accepted.received_ms - Options::RETENTION_MS;
        let newest_ms = accepted.received_ms + Options::AHEAD_MS_MAX;
        for block in &accepted.report.blocks {
            for (column, id) in block.series().iter().enumerate() {
                let def = definition(known, *agent, accepted.report.epoch, *id);
                let of_series = values
                    .entry(name(accepted.server, &def.name, &def.labels))
                    .or_default();
                let rows = block
                    .rows()
                    .filter(|(time_ms, _)| (oldest_ms..=newest_ms).contains(time_ms));
                for (time_ms, row) in rows {
                    of_series.entry(time_ms).or_insert(row[column]);
                }
            }
        }
    }
    values.retain(|_, of_series| !of_series.is_empty());
    values
}

fn content(store: &Store) -> Values {
    let found = store
        .snapshot()
        .select(&Select::new(Filter::new(&[]), 0, i64::MAX / 2));
    assert!(
        found.damaged.is_empty() && !found.is_truncated,
        "{:?}",
        found.damaged
    );
    let mut values = Values::new();
    for series in found.series {
        let of_series = values
            .entry(name(series.meta.server, &series.meta.name, &series.meta.labels))
            .or_default();
        for (time_ms, value) in series.times_ms.iter().zip(&series.values) {
            let before = of_series.insert(*time_ms, *value);
            assert!(before.is_none(), "a time is there twice");
        }
    }
    values
}

fn name(server: ServerId, name: &str, labels: &muster_model::Labels) -> (i64, String, String) {
    (server.0, name.to_owned(), format!("{labels:?}"))
}
