//! Appending, sealing, compacting and reading, in samples per second, and bytes per sample in memory and on disk.
//!
//! Data: [`Mix`] of 500 series a server every 15 s with 0-3 ms jitter.

#![allow(
    clippy::print_stdout,
    reason = "figures that criterion does not measure go where its own go"
)]

use std::hint::black_box;
use std::time::Duration;

use camino::Utf8Path;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use muster_base::id::{ResourceId, ServerId};
use muster_mix::Mix;
use muster_model::{Labels, MetricType};
use muster_samples::{Batch, Filter, Matcher, Options, Resolution, Select, SeriesRef, SeriesSpec, Store};

const SERIES: usize = 500;
const TICKS: usize = 240;
const SERVERS: usize = 20;
const START_MS: i64 = 1_763_769_600_000;
const INTERVAL_MS: i64 = 15_000;
const DAY_MS: i64 = 86_400_000;

/// The rows of one server.
struct Rows {
    times_ms: Vec<i64>,
    values: Vec<f64>,
}

fn rows(server: usize, ticks: usize) -> Rows {
    let mut mix = Mix::new(server as u64, SERIES);
    let mut rows = Rows {
        times_ms: Vec::new(),
        values: Vec::new(),
    };
    for tick in 0..ticks {
        rows.times_ms
            .push(START_MS + tick as i64 * INTERVAL_MS + mix.jitter_ms());
        mix.tick(&mut rows.values);
    }
    rows
}

struct Filled {
    folder: tempfile::TempDir,
    store: Store,
    series: Vec<Vec<SeriesRef>>,
}

impl Filled {
    /// A store that knows the series and has no samples.
    fn empty() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = Utf8Path::from_path(folder.path()).expect("a readable path");
        let store = Store::open(dir, Options::default()).expect("a store");
        let series = (0..SERVERS).map(|server| series(&store, server)).collect();
        Self {
            folder,
            store,
            series,
        }
    }

    fn append(&self, data: &[Rows], ticks: usize) {
        for tick in 0..ticks {
            for (series, rows) in self.series.iter().zip(data) {
                let batch = Batch {
                    position: tick as i64,
                    received_ms: rows.times_ms[tick],
                    times_ms: &rows.times_ms[tick..=tick],
                    series,
                    values: &rows.values[tick * SERIES..(tick + 1) * SERIES],
                };
                black_box(self.store.append(&batch).expect("a rectangle"));
            }
        }
    }

    fn bytes_on_disk(&self) -> u64 {
        self.bytes_of("")
    }

    /// Bytes of the files whose names begin so.
    fn bytes_of(&self, prefix: &str) -> u64 {
        let entries = std::fs::read_dir(self.folder.path())
            .expect("the folder")
            .flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .filter_map(|entry| entry.metadata().ok())
            .map(|metadata| metadata.len())
            .sum()
    }
}

fn series(store: &Store, server: usize) -> Vec<SeriesRef> {
    let id = server as i64 + 1;
    let spec = |index: usize| SeriesSpec {
        server: ServerId(id),
        resource: ResourceId(id * 100 + index as i64 % 20),
        name: format!("node_metric_{}_total", index / 5),
        labels: Labels::of(&[("device", &format!("device{}", index % 5)), ("mode", "idle")]),
        metric_type: MetricType::Counter,
        unit: "seconds".to_owned(),
        collector: "node".to_owned(),
        interval_ms: 15_000,
    };
    (0..SERIES)
        .map(|index| store.series(&spec(index)).expect("within the limit"))
        .collect()
}

fn ingest(criterion: &mut Criterion) {
    let data: Vec<Rows> = (0..SERVERS).map(|server| rows(server, TICKS)).collect();
    let samples = (SERVERS * SERIES * TICKS) as u64;
    let mut group = criterion.benchmark_group("ingest");
    group
        .throughput(Throughput::Elements(samples))
        .sample_size(10)
        .measurement_time(Duration::from_secs(8));
    group.bench_function("append", |bencher| {
        bencher.iter_batched_ref(
            Filled::empty,
            |filled| filled.append(&data, TICKS),
            BatchSize::PerIteration,
        );
    });
    let appended = || {
        let filled = Filled::empty();
        filled.append(&data, TICKS);
        filled
    };
    group.bench_function("seal", |bencher| {
        bencher.iter_batched_ref(
            appended,
            |filled| filled.store.flush_all().expect("sealed"),
            BatchSize::PerIteration,
        );
    });
    group.finish();

    let filled = appended();
    let stats = filled.store.stats();
    let sealed = filled.store.flush_all().expect("sealed");
    println!(
        "bytes per sample: {:.2} in memory, {:.3} in chunks, {:.3} on disk after an hour with the index",
        stats.head_bytes as f64 / samples as f64,
        sealed.bytes as f64 / samples as f64,
        filled.bytes_on_disk() as f64 / samples as f64,
    );
    read(criterion, &filled);
}

fn read(criterion: &mut Criterion, filled: &Filled) {
    let reader = filled.store.snapshot();
    let one = [
        Matcher::equal("__name__", "node_metric_30_total"),
        Matcher::equal("device", "device1"),
    ];
    let all = [Matcher::equal("mode", "idle")];
    let mut group = criterion.benchmark_group("read an hour");
    for (name, matchers, servers) in [("1 series", &one[..], 1), ("1,000 series", &all[..], 2)] {
        let servers: Vec<ServerId> = (1..=servers).map(ServerId).collect();
        let filter = Filter {
            servers: Some(&servers),
            ..Filter::new(matchers)
        };
        let select = Select::new(filter, START_MS, START_MS + 3_600_000);
        let count: usize = reader
            .select(&select)
            .series
            .iter()
            .map(|series| series.values.len())
            .sum();
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(name, |bencher| bencher.iter(|| black_box(reader.select(&select))));
    }
    group.finish();
}

/// The bytes of a whole day: of the index and of partly filled pages an hour has more than its share.
fn day(criterion: &mut Criterion) {
    let ticks = 24 * TICKS;
    let data: Vec<Rows> = (0..SERVERS).map(|server| rows(server, ticks)).collect();
    let filled = Filled::empty();
    filled.append(&data, ticks);
    let sealed = filled.store.flush_all().expect("sealed");
    let per_sample = |bytes: u64| bytes as f64 / sealed.samples as f64;
    println!(
        "bytes per sample of a day: {:.3} in chunks, {:.3} on disk with the index",
        per_sample(sealed.bytes),
        per_sample(filled.bytes_on_disk()),
    );
    let started = cpu_seconds();
    let compacted = filled.store.compact(START_MS + 3 * DAY_MS).expect("compacted");
    println!(
        "compacted: {:.3} in chunks, {:.3} on disk with the index, and {:.3} of roll-ups to 5 min, {:.3} to 1 h; \
         {:.1} million samples per second and core",
        per_sample(compacted.bytes),
        per_sample(filled.bytes_of("raw-") + filled.bytes_of("index")),
        per_sample(filled.bytes_of("5m-")),
        per_sample(filled.bytes_of("1h-")),
        compacted.samples as f64 / 1e6 / (cpu_seconds() - started),
    );
    read_compacted(criterion, &filled);
}

/// Processor time of this process so far, in seconds.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    // proc(5): user and system time are fields 14 and 15, in ticks of a hundredth.
    (ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0)) / 100.0
}

fn read_compacted(criterion: &mut Criterion, filled: &Filled) {
    let reader = filled.store.snapshot();
    let all = [Matcher::equal("mode", "idle")];
    let servers = [ServerId(1), ServerId(2)];
    let filter = Filter {
        servers: Some(&servers),
        ..Filter::new(&all)
    };
    let hour = Select::new(filter, START_MS + 5 * 3_600_000, START_MS + 6 * 3_600_000);
    let mut group = criterion.benchmark_group("read of a compacted day");
    group.sample_size(10);
    group.bench_function("1,000 series, an hour", |bencher| {
        bencher.iter(|| black_box(reader.select(&hour)));
    });
    let day = Select::new(filter, START_MS, START_MS + DAY_MS);
    group.bench_function("1,000 series by 5 minutes, a day", |bencher| {
        bencher.iter(|| black_box(reader.rolled(&day, Resolution::FiveMinutes)));
    });
    group.finish();
}

/// One series of a server of 500 over 30 days, all of them compacted.
fn month(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = Utf8Path::from_path(folder.path()).expect("a readable path");
    let options = Options {
        retention_ms: 60 * DAY_MS,
        ..Options::default()
    };
    let store = Store::open(dir, options).expect("a store");
    let series = series(&store, 0);
    let data = rows(0, 24 * TICKS);
    for day in 0..30 {
        let times: Vec<i64> = data.times_ms.iter().map(|time| time + day * DAY_MS).collect();
        let batch = Batch {
            position: day,
            received_ms: START_MS + 31 * DAY_MS,
            times_ms: &times,
            series: &series,
            values: &data.values,
        };
        black_box(store.append(&batch).expect("a rectangle"));
        store.flush_all().expect("sealed");
        store.compact(START_MS + (day + 2) * DAY_MS).expect("compacted");
    }
    let reader = store.snapshot();
    let mut group = criterion.benchmark_group("read 30 days");
    for name in [
        "node_metric_3_total",
        "node_metric_40_total",
        "node_metric_97_total",
    ] {
        let one = [
            Matcher::equal("__name__", name),
            Matcher::equal("device", "device1"),
        ];
        let select = Select::new(Filter::new(&one), START_MS, START_MS + 31 * DAY_MS);
        let count = reader.select(&select).series[0].values.len();
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(name, |bencher| bencher.iter(|| black_box(reader.select(&select))));
    }
    group.finish();
}

/// What heads and index take of memory for very many series, an hour of each in memory.
fn memory(_: &mut Criterion) {
    const SERVERS_MANY: usize = 400;
    let before = resident_bytes();
    let folder = tempfile::tempdir().expect("a folder");
    let dir = Utf8Path::from_path(folder.path()).expect("a readable path");
    let store = Store::open(dir, Options::default()).expect("a store");
    let all: Vec<_> = (0..SERVERS_MANY).map(|server| series(&store, server)).collect();
    let index = resident_bytes() - before;
    let data: Vec<Rows> = (0..SERVERS).map(|server| rows(server, TICKS)).collect();
    for tick in 0..TICKS {
        for (server, series) in all.iter().enumerate() {
            let rows = &data[server % SERVERS];
            let batch = Batch {
                position: tick as i64,
                received_ms: rows.times_ms[tick],
                times_ms: &rows.times_ms[tick..=tick],
                series,
                values: &rows.values[tick * SERIES..(tick + 1) * SERIES],
            };
            black_box(store.append(&batch).expect("a rectangle"));
        }
    }
    let count = (SERVERS_MANY * SERIES) as f64;
    let heads = resident_bytes() - before - index;
    println!(
        "memory for each of {count} series: {:.0} bytes of the index, {:.0} of a head with an hour; for a million: {:.2} GiB",
        index as f64 / count,
        heads as f64 / count,
        (index + heads) as f64 / count * 1e6 / (1_u64 << 30) as f64,
    );
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0);
    pages * 4_096
}

criterion_group!(benches, memory, ingest, day, month);
criterion_main!(benches);
