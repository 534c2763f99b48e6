//! The sample store beside VictoriaMetrics in one run, with the same seeded samples: bytes on disk and reads.
//!
//! `cargo bench --package muster-samples --bench compare`. Where VictoriaMetrics is not installed
//! (`apt-get install victoria-metrics`) our own figures come alone. The last line of standard output has the figures
//! as JSON, for `make bench`.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measuring program starts its peer and prints what it found"
)]

mod ours;
mod peer;
mod process;

use std::time::{Duration, Instant};

use muster_mix::Mix;

use crate::ours::Ours;
use crate::peer::Peer;

/// Servers of the day that is stored.
const SERVERS: usize = 20;
/// Series of a server.
const SERIES: usize = 500;
/// Ticks of a day.
const DAY_TICKS: usize = 5_760;
/// Series of the month that is read.
const MONTH_SERIES: usize = 100;
const MONTH_DAYS: usize = 30;
/// 2025-11-22, in Unix milliseconds.
const START_MS: i64 = 1_763_769_600_000;
const INTERVAL_MS: i64 = 15_000;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// How often each read is repeated.
const READS: usize = 21;

/// Samples of one server.
struct Rows {
    series: usize,
    times_ms: Vec<i64>,
    /// One tick after another.
    values: Vec<f64>,
}

impl Rows {
    /// Adds the bits of chance in them to `chance_bits`.
    fn new(seed: u64, series: usize, ticks: usize, chance_bits: &mut f64) -> Self {
        let mut mix = Mix::new(seed, series);
        let mut rows = Self {
            series,
            times_ms: Vec::with_capacity(ticks),
            values: Vec::with_capacity(ticks * series),
        };
        for tick in 0..ticks {
            rows.times_ms
                .push(START_MS + tick as i64 * INTERVAL_MS + mix.jitter_ms());
            mix.tick(&mut rows.values);
        }
        *chance_bits += mix.chance_bits();
        rows
    }

    fn tick(&self, tick: usize) -> &[f64] {
        &self.values[tick * self.series..(tick + 1) * self.series]
    }

    fn samples(&self) -> usize {
        self.values.len()
    }
}

/// Figures by name, printed at the end.
#[derive(Default)]
struct Figures(serde_json::Map<String, serde_json::Value>);

impl Figures {
    fn add(&mut self, name: &str, value: f64) {
        println!("compare: {name} = {value:.4}");
        self.0.insert(name.to_owned(), value.into());
    }

    /// The least and the middle wall time of repeated reads, in milliseconds.
    fn reads(&mut self, name: &str, mut read: impl FnMut() -> usize) {
        let samples = read();
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..READS {
            let started = Instant::now();
            assert_eq!(read(), samples, "{name}: another answer to the same question");
            times.push(started.elapsed());
        }
        times.sort_unstable();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        self.add(&format!("{name}_best_ms"), ms(times[0]));
        self.add(&format!("{name}_median_ms"), ms(times[READS / 2]));
        self.add(&format!("{name}_size"), samples as f64);
    }
}

fn main() {
    // `cargo test --benches` runs it too, to see that it starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let mut figures = Figures::default();
    let mut chance_bits = 0.0;
    let day: Vec<Rows> = (0..SERVERS as u64)
        .map(|server| Rows::new(server, SERIES, DAY_TICKS, &mut chance_bits))
        .collect();
    let samples: usize = day.iter().map(Rows::samples).sum();
    figures.add("chance_bytes_per_sample", chance_bits / 8.0 / samples as f64);
    let month = Rows::new(1_000, MONTH_SERIES, MONTH_DAYS * DAY_TICKS, &mut 0.0);
    Ours::measure(&day, &month, &mut figures);
    match Peer::start("day") {
        Some(peer) => {
            measure_peer(&peer, &day, &month, &mut figures);
            drop(peer);
            measure_ingest(&day, &mut figures);
        }
        None => println!(
            "compare: VictoriaMetrics is not installed (apt-get install victoria-metrics): no ratios"
        ),
    }
    println!("{}", serde_json::Value::Object(figures.0));
}

fn measure_peer(peer: &Peer, day: &[Rows], month: &Rows, figures: &mut Figures) {
    let samples: usize = day.iter().map(Rows::samples).sum();
    for (server, rows) in day.iter().enumerate() {
        for start in (0..DAY_TICKS).step_by(60) {
            peer.write(&format!("server{server}"), rows, start..start + 60);
        }
    }
    figures.add(
        "peer_bytes_per_sample",
        peer.settled_bytes() as f64 / samples as f64,
    );
    let hour = (START_MS + 5 * HOUR_MS, START_MS + 6 * HOUR_MS);
    let thousand = r#"{mode="idle",instance=~"server0|server1"}"#;
    figures.reads("peer_hour_json", || peer.export("export", thousand, hour).len());
    figures.reads("peer_hour_native", || {
        peer.export("export/native", thousand, hour).len()
    });
    let ticks = month.times_ms.len();
    for start in (0..ticks).step_by(240) {
        peer.write("month", month, start..start + 240);
    }
    peer.settled_bytes();
    let all = (START_MS, START_MS + 31 * DAY_MS);
    for (name, index) in ours::MONTH_SERIES {
        let one = format!(
            r#"{{__name__="{}",device="{}",instance="month"}}"#,
            peer::name(index),
            peer::device(index)
        );
        figures.reads(&format!("peer_month_{name}_json"), || {
            peer.export("export", &one, all).len()
        });
    }
    let floats = r#"{instance="server0",__name__=~"node_metric_9[2-9]_total"}"#;
    figures.add("peer_floats_exact_share", peer.exact_share(floats, hour, &day[0]));
}

/// A request for each server and tick, as ours has a report; the first of each server, which makes its series, is not
/// counted.
fn measure_ingest(day: &[Rows], figures: &mut Figures) {
    const TICKS: usize = 200;
    let Some(peer) = Peer::start("ingest") else { return };
    let write = |ticks: std::ops::Range<usize>| {
        for tick in ticks {
            for (server, rows) in day.iter().enumerate() {
                peer.write(&format!("server{server}"), rows, tick..tick + 1);
            }
        }
    };
    write(0..1);
    let before = peer.cpu_s();
    write(1..1 + TICKS);
    let samples = TICKS * SERVERS * SERIES;
    let cpu_s = peer.cpu_s() - before;
    figures.add("peer_ingest_million_per_s_core", samples as f64 / 1e6 / cpu_s);
}
