//! Days without a controller, in virtual time: reporter, outbox and keeper on a real disk.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::AtomicI64;

use camino::Utf8PathBuf;
use muster_model::{Facts, Labels, MetricType, RunOutcome, Sample};

use super::*;
use crate::collect::Tick;
use crate::report::Reporter;
use crate::spool::Disk;

const TICK_MS: i64 = 15_000;
/// At 15 s a tick, 200 samples a second.
const SERIES: usize = 3_000;
const BUDGET_BYTES: u64 = 256 * 1024 * 1024;
const OUTAGE_HOURS: u64 = 72;
const START_MS: i64 = 1_700_000_000_000;

/// What servers measure: constants, states, counters, pages, decimals and a few that are neither.
struct Server {
    random: fastrand::Rng,
    values: Vec<f64>,
    samples: Vec<Sample>,
    names: Vec<u64>,
}

impl Server {
    fn new() -> Self {
        let mut random = fastrand::Rng::with_seed(7);
        let values = (0..SERIES)
            .map(|index| match index % 100 {
                0..28 => f64::from(random.u32(..)),
                28..34 => f64::from(random.u8(..2)),
                34..60 => f64::from(random.u32(..)) * 100.0,
                60..70 => f64::from(random.u32(..)) / 100.0,
                70..86 => f64::from(random.u32(..1_000_000)) * 4096.0,
                86..98 => f64::from(random.u32(..10_000)) / 100.0,
                _ => random.f64() * 100.0,
            })
            .collect();
        let sample = |index: usize| Sample {
            name: format!("metric_{}", index / 10).into(),
            labels: Labels::of(&[("device", &format!("sd{}", index % 10))]),
            value: 0.0,
            time_ms: None,
            resource: None,
            metric_type: MetricType::Gauge,
            unit: "",
        };
        let samples: Vec<Sample> = (0..SERIES).map(sample).collect();
        let names = samples.iter().map(|sample| hashed(&sample.name, &sample.labels));
        Self {
            random,
            values,
            names: names.collect(),
            samples,
        }
    }

    fn tick(&mut self) {
        let random = &mut self.random;
        for (index, value) in self.values.iter_mut().enumerate() {
            *value = match index % 100 {
                0..28 => *value,
                28..34 if random.u8(..) == 0 => 1.0 - *value,
                28..34 => *value,
                // Some count all the time, most now and then.
                34..60 if index % 3 == 0 => *value + f64::from(random.u32(..100_000)),
                34..60 => *value + f64::from(random.u32(..3) / 2),
                60..70 => ((*value * 100.0).round() + f64::from(random.u32(..1_500))) / 100.0,
                70..86 => (*value + (f64::from(random.u32(..64)) - 31.5).round() * 4096.0).max(0.0),
                86..98 => ((*value * 100.0).round() + f64::from(random.i32(-30..=30))) / 100.0,
                _ => random.f64() * 100.0,
            };
        }
    }

    fn facts(&mut self) -> Facts {
        for (sample, value) in self.samples.iter_mut().zip(&self.values) {
            sample.value = *value;
        }
        Facts {
            samples: self.samples.clone(),
            ..Facts::default()
        }
    }
}

/// Stands for a series; made once for each, or debug builds would spend most of their time here.
fn hashed(name: &str, labels: &Labels) -> u64 {
    let mut hasher = DefaultHasher::new();
    (name, labels).hash(&mut hasher);
    hasher.finish()
}

/// A sum over samples that does not ask for their order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    sum: u64,
}

impl Sum {
    fn add(&mut self, series: u64, time_ms: i64, value: f64) {
        // The finaliser of SplitMix64, over one word after the other.
        let mut mixed = series;
        for word in [time_ms.cast_unsigned(), value.to_bits()] {
            mixed = (mixed ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
        }
        self.count += 1;
        self.sum = self.sum.wrapping_add(mixed);
    }
}

struct Outage {
    dir: Utf8PathBuf,
    now_ms: Arc<AtomicI64>,
}

impl Outage {
    fn start(&self, epoch: u64) -> (Keeper, Arc<Outbox>, Reporter) {
        let agent = AgentId(uuid::Uuid::from_u128(7));
        let now_ms = Arc::clone(&self.now_ms);
        let clocks = ClockReader::new(move || {
            let passed_ms = now_ms.load(Ordering::Relaxed);
            Clock {
                wall_ms: START_MS + passed_ms,
                boottime_ms: passed_ms,
                boot_id: "boot".to_owned(),
            }
        });
        let files = Arc::new(Disk);
        let opened = Spool::open(files, &self.dir, Options::default(), agent, epoch, &clocks.now());
        let (spool, past) = opened.unwrap();
        let outbox = Arc::new(Outbox::new(epoch, None, 64 * 1024 * 1024).with_past(past));
        let reporter = Reporter::new(Arc::clone(&outbox), clocks.clone());
        (Keeper::new(spool, Arc::clone(&outbox), clocks), outbox, reporter)
    }
}

/// Bytes that the segments really hold, and all that is allocated.
fn on_disk(dir: &Utf8Path) -> u64 {
    let mut bytes = 0;
    for folder in dir.read_dir_utf8().unwrap() {
        let folder = folder.unwrap();
        if folder.file_type().unwrap().is_file() {
            bytes += folder.metadata().unwrap().len();
            continue;
        }
        for file in folder.path().read_dir_utf8().unwrap() {
            bytes += file.unwrap().metadata().unwrap().len();
        }
    }
    bytes
}

/// Starts again and delivers everything; also returns what was on disk.
fn replay(outage: &Outage, dir: &Utf8Path) -> (Sum, u64) {
    let (mut keeper, outbox, _) = outage.start(2);
    // What is not used any more of the last segment is given back at the next start.
    let bytes = on_disk(dir);
    welcome(&outbox);
    let definitions = outbox.definitions_of(1, 1, u32::MAX);
    let names: Vec<u64> = definitions
        .iter()
        .map(|series| hashed(&series.name, &series.labels))
        .collect();
    let mut replayed = Sum::default();
    loop {
        let arrived = deliver(&mut keeper, &outbox);
        if arrived.is_empty() {
            break;
        }
        for report in &arrived {
            assert!(report.gaps.is_empty());
            for block in &report.blocks {
                for (time_ms, row) in block.rows() {
                    for (id, value) in block.series().iter().zip(row) {
                        replayed.add(names[*id as usize - 1], time_ms, *value);
                    }
                }
            }
        }
        let numbers: Vec<_> = arrived
            .iter()
            .map(|report| (report.sequence, report.sequence))
            .collect();
        outbox.ack(1, &set(&numbers));
        keeper.round(false);
    }
    (replayed, bytes)
}

/// D3
#[tokio::test(start_paused = true)]
async fn an_outage_of_three_days_at_two_hundred_samples_a_second_is_replayed_whole() {
    let is_full = std::env::var_os("MUSTER_TEST_FULL").is_some();
    let hours = if is_full { OUTAGE_HOURS } else { 2 };
    let folder = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(folder.path()).unwrap().join("spool");
    let outage = Outage {
        dir: dir.clone(),
        now_ms: Arc::default(),
    };
    let (mut keeper, outbox, mut reporter) = outage.start(1);
    let (mut server, mut produced) = (Server::new(), Sum::default());
    for tick in 1..=i64::try_from(hours * 240).unwrap() {
        outage.now_ms.store(tick * TICK_MS, Ordering::Relaxed);
        tokio::time::advance(Duration::from_secs(15)).await;
        server.tick();
        let facts = server.facts();
        let started_ms = START_MS + tick * TICK_MS;
        for (series, value) in server.names.iter().zip(&server.values) {
            produced.add(*series, started_ms, *value);
        }
        reporter.hold(vec![Tick {
            collector: "server",
            started_ms,
            duration_ms: 3,
            interval_ms: 15_000,
            outcome: RunOutcome::Facts,
            message: String::new(),
            facts: Some(facts),
            self_samples: Vec::new(),
        }]);
        keeper.round(false);
    }
    reporter.finish();
    keeper.round(true);
    assert!(outbox.is_kept());
    let in_memory = outbox.stats().held_bytes;
    assert!(in_memory < 16 * 1024 * 1024, "{in_memory} bytes in memory");
    drop((keeper, outbox, reporter));

    let (replayed, bytes) = replay(&outage, &dir);
    assert_eq!(replayed, produced, "100 % of the samples, bit by bit");
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let per_sample = (bytes - Options::default().lane_bytes) as f64 / produced.count as f64;
    println!(
        "{hours} h at 200 samples/s: {} samples replayed, {bytes} bytes on disk, {per_sample:.2} bytes a sample",
        produced.count
    );
    assert!(per_sample <= 3.0, "{per_sample} bytes a sample");
    assert!(bytes <= BUDGET_BYTES);
    let whole = per_sample * 200.0 * 3_600.0 * 72.0;
    assert!(whole < 0.9 * 256.0 * 1024.0 * 1024.0, "{whole} bytes in 72 h");
}
