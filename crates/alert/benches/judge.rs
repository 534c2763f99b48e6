//! What judging a report costs with 10,000 resources and 200 rules, and the memory that all of it takes. Prints one line
//! of JSON: `report_us` (mean), `report_worst_us`, `bytes`, `verdicts` (of a report), `alerts` (open at the end).

#![allow(clippy::print_stdout, reason = "the figures are what this program is for")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::time::{Duration, Instant};

use muster_alert::engine::{ResourceFacts, ServerFacts, Settings};
use muster_alert::{Change, Engine, SeriesInfo, SeriesSlot, rule};
use muster_model::{Labels, ResourceKind};
use serde_json::json;

const SERVERS: i64 = 100;
const DISKS: i64 = 100;
const RULES: i64 = 200;
const REPORTS: i64 = 3_000;
const START_MS: i64 = 1_763_769_600_000;
const INTERVAL_MS: i64 = 15_000;
/// What each disk has.
const METRICS: [&str; 4] = [
    "smartctl_device_temperature",
    "smartctl_device_power_cycle_count",
    "smartctl_device_percentage_used",
    "smartctl_device_available_spare",
];

fn main() {
    let before = resident_bytes();
    let mut changes: Vec<Change> = Vec::new();
    let mut engine = Engine::new(START_MS, 1, Settings::default());
    for id in 1..=RULES {
        engine.set_rule(START_MS, rule_of(id), &mut changes);
    }
    let slots: Vec<Vec<SeriesSlot>> = (1..=SERVERS)
        .map(|server| furnish(&mut engine, server, &mut changes))
        .collect();
    changes.clear();
    let (mut whole, mut worst) = (Duration::ZERO, Duration::ZERO);
    for report in 0..REPORTS {
        let (server, tick) = (report % SERVERS, report / SERVERS);
        let now_ms = START_MS + tick * INTERVAL_MS + server * INTERVAL_MS / SERVERS;
        let slots = &slots[usize::try_from(server).unwrap_or(0)];
        let began = Instant::now();
        let samples = (0..)
            .zip(slots)
            .map(|(place, slot)| (*slot, value(server, place, tick)));
        engine.row(now_ms, false, now_ms, samples, &mut changes);
        let took = began.elapsed();
        changes.clear();
        // The first report of each server finds everything new.
        if 0 < tick {
            whole += took;
            worst = worst.max(took);
        }
    }
    let judged = REPORTS - SERVERS;
    let (targets, _) = engine.judged_and_known();
    println!(
        "{}",
        json!({
            "report_us": whole.as_secs_f64() * 1e6 / judged as f64,
            "report_worst_us": worst.as_secs_f64() * 1e6,
            "bytes": resident_bytes().saturating_sub(before),
            "verdicts": targets as f64 / SERVERS as f64,
            "alerts": engine.alerts().len(),
        })
    );
}

/// Every twenty-fifth rule is about every server, the others about a server each.
fn rule_of(id: i64) -> muster_alert::Rule {
    let metric = METRICS[usize::try_from(id).unwrap_or(0) % METRICS.len()];
    let servers = if id % 25 == 0 {
        json!([])
    } else {
        json!([id % SERVERS + 1])
    };
    let body = json!({"name": format!("rule {id}"), "resource_type": "device", "metric_name": metric, "condition": "gt",
        "threshold": 60, "clear_threshold": 55, "for": "1m", "scope": {"servers": servers}});
    let mut rule = rule::read(body).expect("a rule");
    rule.id = id;
    rule
}

fn furnish(engine: &mut Engine, server: i64, changes: &mut Vec<Change>) -> Vec<SeriesSlot> {
    let facts = ServerFacts {
        name: format!("server{server}"),
        tags: vec!["lab".to_owned()],
    };
    engine.set_server(START_MS, server, facts, changes);
    engine.set_connected(START_MS, server, true);
    let id_of = |disk: i64| 1_000 + server * DISKS + disk;
    let disks = (0..DISKS).map(|disk| ResourceFacts {
        id: id_of(disk),
        kind: ResourceKind::Device,
        name: format!("sd{disk}"),
    });
    engine.set_resources(START_MS, server, disks.collect(), &[], changes);
    let all = (0..DISKS).flat_map(|disk| METRICS.map(|metric| (disk, metric)));
    all.filter_map(|(disk, metric)| {
        engine.bind(SeriesInfo {
            server,
            resource: id_of(disk),
            kind: ResourceKind::Device,
            name: metric.to_owned(),
            labels: Labels::of(&[("device", &format!("sd{disk}"))]),
            interval_ms: 15_000,
            is_fact: false,
        })
    })
    .collect()
}

/// Mostly calm; one number in a hundred is over its bound for ten ticks of twenty.
fn value(server: i64, place: i64, tick: i64) -> f64 {
    let is_hot = (server * 31 + place) % 100 == 0 && tick % 20 < 10;
    30.0 + (tick % 7) as f64 + if is_hot { 40.0 } else { 0.0 }
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0_u64) * 4_096
}
