//! An engine of a given size, for benchmarks: what judging a report costs.

use muster_model::{Labels, ResourceKind};

use crate::engine::{ServerFacts, Settings};
use crate::{Change, Engine, SeriesInfo, SeriesSlot, rule};

/// Resources of one server, each with [`SERIES_PER_RESOURCE`] series.
const RESOURCES_PER_SERVER: usize = 100;
/// Series of one resource, by metrics that rules look at.
const SERIES_PER_RESOURCE: usize = 4;
const METRICS: [&str; SERIES_PER_RESOURCE] = [
    "smartctl_device_temperature",
    "smartctl_device_attribute",
    "node_disk_read_bytes_total",
    "node_disk_io_now",
];
/// Metrics that rules are about, those of the resources among them: so each sample is judged by four rules of 200.
const METRICS_OF_RULES: usize = 50;
const START_MS: i64 = 1_800_000_000_000;

/// An engine with rules and bound series, and the series of each server's report.
pub struct Fleet {
    engine: Engine,
    reports: Vec<Vec<SeriesSlot>>,
    now_ms: i64,
    turn: usize,
    changes: Vec<Change>,
}

impl Fleet {
    /// An engine with so many resources and rules.
    ///
    /// # Panics
    /// If a rule of its own is none.
    #[must_use]
    pub fn new(resources: usize, rules: usize) -> Self {
        let mut engine = Engine::new(START_MS, 1, Settings::default());
        let mut changes = Vec::new();
        let ours = [
            "temperature_celsius",
            "reallocated_sectors",
            "disk_io_read",
            "node_disk_io_now",
        ];
        let others = muster_catalogue::all()
            .map(|metric| metric.name)
            .filter(|name| !METRICS.contains(name));
        let metrics: Vec<&str> = ours.into_iter().chain(others).take(METRICS_OF_RULES).collect();
        for index in 0..rules {
            let body = serde_json::json!({
                "name": format!("rule {index}"), "metric_name": metrics[index % metrics.len()], "condition": "gt",
                "warning_threshold": 1_000 + index, "critical_threshold": 1e12, "for": "5m",
            });
            let mut rule = rule::read(body).expect("a rule");
            rule.id = index as i64 + 1;
            engine.set_rule(START_MS, rule, &mut changes);
        }
        let mut reports = Vec::new();
        for server in 0..resources.div_ceil(RESOURCES_PER_SERVER) as i64 {
            let facts = ServerFacts {
                name: format!("server{server}"),
                tags: vec!["fleet".to_owned()],
            };
            engine.set_server(START_MS, server + 1, facts, &mut changes);
            let first = server as usize * RESOURCES_PER_SERVER;
            let slots = (first..(first + RESOURCES_PER_SERVER).min(resources))
                .flat_map(|resource| METRICS.iter().map(move |metric| (resource, *metric)))
                .filter_map(|(resource, metric)| {
                    engine.bind(info(server + 1, resource as i64 + 1_000_000, metric))
                })
                .collect();
            reports.push(slots);
        }
        Self {
            engine,
            reports,
            now_ms: START_MS,
            turn: 0,
            changes,
        }
    }

    /// Judges the report of the next server: `RESOURCES_PER_SERVER` resources at once. Returns how many samples it
    /// had.
    pub fn judge_report(&mut self) -> usize {
        let report = &self.reports[self.turn % self.reports.len()];
        self.turn += 1;
        if self.turn.is_multiple_of(self.reports.len()) {
            self.now_ms += 10_000;
        }
        let turn = self.turn as f64;
        let samples = report
            .iter()
            .enumerate()
            .map(|(index, slot)| (*slot, turn + index as f64 * 0.01));
        self.engine
            .row(self.now_ms, false, self.now_ms, samples, &mut self.changes);
        self.changes.clear();
        report.len()
    }

    /// How many series are looked at, and how many things are judged.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        self.engine.sizes()
    }
}

fn info(server: i64, resource: i64, metric: &str) -> SeriesInfo {
    let labels: &[(&'static str, &str)] = match metric {
        "smartctl_device_temperature" => &[("temperature_type", "current")],
        "smartctl_device_attribute" => &[("attribute_id", "5"), ("attribute_value_type", "raw")],
        _ => &[("device", "sda")],
    };
    SeriesInfo {
        server,
        resource,
        kind: ResourceKind::Device,
        name: metric.to_owned(),
        labels: Labels::of(labels),
        interval_ms: 10_000,
        is_fact: false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// The promise is 1 ms on one core, for programs made with `--release`; this one is not, and the machine is
    /// shared, so a hundred times of that passes here. `make bench` measures the promise.
    #[test]
    fn judging_a_report_of_a_hundred_resources_takes_little_with_200_rules_and_10_000_resources() {
        let mut fleet = Fleet::new(10_000, 200);
        let (series, targets) = fleet.sizes();
        assert_eq!((series, targets), (40_000, 160_000));
        let mut least = Duration::MAX;
        for _ in 0..200 {
            #[allow(clippy::disallowed_methods)]
            let begun = Instant::now();
            fleet.judge_report();
            least = least.min(begun.elapsed());
        }
        println!("{least:?} for a report of 400 samples, {targets} judged things");
        assert!(least < Duration::from_millis(100), "{least:?}");
    }
}
