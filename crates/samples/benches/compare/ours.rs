//! Our store: filled, compacted, read.

use std::hint::black_box;

use camino::Utf8Path;
use muster_base::id::{ResourceId, ServerId};
use muster_model::{Labels, MetricType};
use muster_samples::{Batch, Filter, Matcher, Options, Select, SeriesRef, SeriesSpec, Store};

use crate::process::{cpu_s, disk_bytes};
use crate::{DAY_MS, DAY_TICKS, Figures, HOUR_MS, INTERVAL_MS, MONTH_DAYS, MONTH_SERIES as SERIES_OF_MONTH};
use crate::{Rows, START_MS, peer};

/// Series of the month, by what they are: a counter, a gauge in pages, a float.
pub(crate) const MONTH_SERIES: [(&str, usize); 3] = [("counter", 40), ("gauge", 70), ("float", 96)];

/// Stores of ours.
pub(crate) struct Ours;

impl Ours {
    /// Fills and reads a day of some servers, and a month of one.
    pub(crate) fn measure(day: &[Rows], month: &Rows, figures: &mut Figures) {
        measure_day(day, figures);
        measure_month(month, figures);
    }
}

fn measure_day(day: &[Rows], figures: &mut Figures) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder);
    let series: Vec<Vec<SeriesRef>> = (0..day.len())
        .map(|server| series(&store, server, day[server].series))
        .collect();
    let samples: usize = day.iter().map(Rows::samples).sum();
    let before = cpu_s("self");
    for tick in 0..DAY_TICKS {
        for (series, rows) in series.iter().zip(day) {
            append(&store, series, tick, &rows.times_ms[tick..=tick], rows.tick(tick));
        }
        if tick % 240 == 239 {
            store.flush_all().expect("sealed");
        }
    }
    figures.add(
        "append_and_seal_million_per_s_core",
        samples as f64 / 1e6 / (cpu_s("self") - before),
    );
    let before = cpu_s("self");
    store.compact(START_MS + 3 * DAY_MS).expect("compacted");
    figures.add(
        "compact_million_per_s_core",
        samples as f64 / 1e6 / (cpu_s("self") - before),
    );
    let bytes = |start| disk_bytes(folder.path(), start) as f64 / samples as f64;
    figures.add("bytes_per_sample", bytes("raw-") + bytes("index"));
    figures.add("index_bytes_per_sample", bytes("index"));
    figures.add("five_minutes_bytes_per_sample", bytes("5m-"));
    figures.add("hour_bytes_per_sample", bytes("1h-"));
    let servers = [ServerId(1), ServerId(2)];
    let all = [Matcher::equal("mode", "idle")];
    let filter = Filter {
        servers: Some(&servers),
        ..Filter::new(&all)
    };
    let hour = Select::new(filter, START_MS + 5 * HOUR_MS, START_MS + 6 * HOUR_MS);
    figures.reads("hour", || read(&store, &hour));
    // As it is while a day is not over: sealed by the hour.
    store_of_an_hour(day, figures);
}

fn store_of_an_hour(day: &[Rows], figures: &mut Figures) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder);
    for (server, rows) in day.iter().enumerate().take(2) {
        let series = series(&store, server, rows.series);
        for tick in 0..240 {
            append(
                &store,
                &series,
                tick,
                &rows.times_ms[tick..=tick],
                rows.tick(tick),
            );
        }
    }
    let all = [Matcher::equal("mode", "idle")];
    let hour = Select::new(Filter::new(&all), START_MS, START_MS + HOUR_MS);
    figures.reads("hour_in_memory", || read(&store, &hour));
    store.flush_all().expect("sealed");
    figures.reads("hour_sealed", || read(&store, &hour));
}

fn measure_month(month: &Rows, figures: &mut Figures) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder);
    let series = series(&store, 0, month.series);
    for day in 0..MONTH_DAYS {
        let ticks = day * DAY_TICKS..(day + 1) * DAY_TICKS;
        let values = &month.values[ticks.start * SERIES_OF_MONTH..ticks.end * SERIES_OF_MONTH];
        append(&store, &series, day, &month.times_ms[ticks], values);
        store.flush_all().expect("sealed");
        store
            .compact(START_MS + (day as i64 + 2) * DAY_MS)
            .expect("compacted");
    }
    for (name, index) in MONTH_SERIES {
        let one = [
            Matcher::equal("__name__", peer::name(index)),
            Matcher::equal("device", peer::device(index)),
        ];
        let select = Select::new(Filter::new(&one), START_MS, START_MS + 31 * DAY_MS);
        figures.reads(&format!("month_{name}"), || read(&store, &select));
    }
}

fn open(folder: &tempfile::TempDir) -> Store {
    let dir = Utf8Path::from_path(folder.path()).expect("a readable path");
    let options = Options {
        retention_ms: 60 * DAY_MS,
        ..Options::default()
    };
    Store::open(dir, options).expect("a store")
}

/// How many samples there were.
fn read(store: &Store, select: &Select<'_>) -> usize {
    let selected = black_box(store.snapshot().select(select));
    assert!(selected.damaged.is_empty());
    selected.series.iter().map(|series| series.values.len()).sum()
}

fn append(store: &Store, series: &[SeriesRef], position: usize, times_ms: &[i64], values: &[f64]) {
    let received_ms = times_ms.last().copied().unwrap_or(START_MS) + INTERVAL_MS;
    let batch = Batch {
        position: position as i64,
        received_ms,
        times_ms,
        series,
        values,
    };
    black_box(store.append(&batch).expect("a rectangle"));
}

fn series(store: &Store, server: usize, count: usize) -> Vec<SeriesRef> {
    let id = server as i64 + 1;
    let spec = |index: usize| SeriesSpec {
        server: ServerId(id),
        resource: ResourceId(id * 100 + index as i64 % 20),
        name: peer::name(index),
        labels: Labels::of(&[("device", &peer::device(index)), ("mode", "idle")]),
        metric_type: MetricType::Counter,
        unit: "seconds".to_owned(),
        collector: "node".to_owned(),
        interval_ms: INTERVAL_MS as u32,
    };
    (0..count)
        .map(|index| store.series(&spec(index)).expect("within the limit"))
        .collect()
}
