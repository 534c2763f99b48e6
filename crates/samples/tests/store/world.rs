//! A store in a folder of its own, with a clock, and an intake that is applied again when it reopens.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use muster_base::id::{ResourceId, ServerId};
use muster_model::{Labels, MetricType};
use muster_samples::{
    AppendOutcome, Batch, Filter, MatchOp, Matcher, Options, Reader, Select, Selected, SeriesRef, SeriesSpec,
    Store,
};

/// 2025-11-22T00:00:00Z.
pub(crate) const MIDNIGHT: i64 = 20_414 * DAY;
pub(crate) const DAY: i64 = 86_400_000;
pub(crate) const HOUR: i64 = 3_600_000;
pub(crate) const MINUTE: i64 = 60_000;

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) options: Options,
    pub(crate) now_ms: i64,
    pub(crate) position: i64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Options::default())
    }

    pub(crate) fn with(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(Utf8Path::from_path(folder.path()).unwrap(), &options);
        Self {
            folder,
            store,
            options,
            now_ms: MIDNIGHT + 12 * HOUR,
            position: 0,
        }
    }

    pub(crate) fn dir(&self) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.folder.path().to_owned()).unwrap()
    }

    /// As after a crash: what was in memory is gone.
    pub(crate) fn reopen(&mut self) {
        // The old one is closed before, so that two never have the same files.
        let elsewhere = tempfile::tempdir().unwrap();
        self.store = open(Utf8Path::from_path(elsewhere.path()).unwrap(), &self.options);
        self.store = open(&self.dir(), &self.options);
    }

    pub(crate) fn series(&self, server: i64, name: &str) -> SeriesRef {
        self.store.series(&spec(server, name, "test", 15_000)).unwrap()
    }

    pub(crate) fn append(&mut self, times_ms: &[i64], series: &[SeriesRef], values: &[f64]) -> AppendOutcome {
        self.position += 1;
        let batch = Batch {
            position: self.position,
            received_ms: self.now_ms,
            times_ms,
            series,
            values,
        };
        self.store.append(&batch).unwrap()
    }

    /// Seals twice, so late that everything is due.
    pub(crate) fn seal_all(&mut self) {
        self.store.seal(self.now_ms).unwrap();
        self.now_ms += 3 * HOUR;
        self.store.seal(self.now_ms).unwrap();
    }

    pub(crate) fn day_files(&self) -> Vec<String> {
        let names = self
            .dir()
            .read_dir_utf8()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_owned());
        let mut files: Vec<_> = names
            .filter(|name| name.starts_with("raw-") && name.ends_with(".db"))
            .collect();
        files.sort_unstable();
        files
    }
}

pub(crate) fn open(dir: &Utf8Path, options: &Options) -> Store {
    Store::open(dir, options.clone()).unwrap()
}

pub(crate) fn spec(server: i64, name: &str, collector: &str, interval_ms: u32) -> SeriesSpec {
    SeriesSpec {
        server: ServerId(server),
        resource: ResourceId(server),
        name: name.to_owned(),
        labels: Labels::of(&[("device", "sda")]),
        metric_type: MetricType::Gauge,
        unit: String::new(),
        collector: collector.to_owned(),
        interval_ms,
    }
}

/// Every sample of a range, by server, metric and time, as bits.
pub(crate) type Samples = BTreeMap<(i64, String, i64), u64>;

pub(crate) fn select(reader: &Reader, start_ms: i64, end_ms: i64) -> Selected {
    let all = [Matcher::new("__name__", MatchOp::Re, ".+").unwrap()];
    reader.select(&Select::new(Filter::new(&all), start_ms, end_ms))
}

pub(crate) fn samples(selected: &Selected) -> Samples {
    let mut samples = Samples::new();
    for series in &selected.series {
        assert_eq!(series.times_ms.len(), series.values.len());
        assert!(
            series.times_ms.windows(2).all(|pair| pair[0] < pair[1]),
            "times ascend, each once"
        );
        for (time, value) in series.times_ms.iter().zip(&series.values) {
            samples.insert(
                (series.meta.server.0, series.meta.name.to_string(), *time),
                value.to_bits(),
            );
        }
    }
    samples
}

pub(crate) fn all(store: &Store) -> Samples {
    samples(&select(&store.snapshot(), i64::MIN, i64::MAX))
}
