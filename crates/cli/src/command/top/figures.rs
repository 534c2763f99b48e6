//! What `muster top` shows of each server, made of series. Pure.
//!
//! A figure that cannot be made is absent, never zero.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::super::query::points;

/// What is known of one server.
#[derive(Debug, Default, Clone, PartialEq)]
struct Figure {
    /// Seconds of idle time a second, summed over processors, and how many processors.
    idle: Option<(f64, f64)>,
    memory_total: Option<f64>,
    memory_available: Option<f64>,
    load1: Option<f64>,
    /// By mountpoint: size and what is available, in bytes.
    filesystems: HashMap<String, (Option<f64>, Option<f64>)>,
}

/// What is known of all servers, by id.
#[derive(Debug, Default)]
pub(super) struct Figures(HashMap<String, Figure>);

impl Figures {
    /// Makes them of idle times (samples) and of last values.
    pub(super) fn of(rates: &Value, last: &Value) -> Self {
        let mut all = Self::default();
        let mut processors: HashMap<(String, String), f64> = HashMap::new();
        for series in series(rates) {
            if let Some(rate) = rate(&points(series)) {
                let processor = (label(series, "server_id"), label(series, "cpu"));
                *processors.entry(processor).or_default() += rate;
            }
        }
        for ((server, _), idle) in processors {
            let (sum, count) = all.0.entry(server).or_default().idle.get_or_insert((0.0, 0.0));
            *sum += idle;
            *count += 1.0;
        }
        for series in series(last) {
            let Some(&(_, value)) = points(series).last() else {
                continue;
            };
            all.0
                .entry(label(series, "server_id"))
                .or_default()
                .take(series, value);
        }
        all
    }
}

impl Figure {
    /// Takes a last value over.
    fn take(&mut self, series: &Value, value: f64) {
        let mountpoint = label(series, "mountpoint");
        match series["metric"].as_str().unwrap_or_default() {
            "node_load1" => self.load1 = Some(value),
            "node_memory_MemTotal_bytes" => self.memory_total = Some(value),
            "node_memory_MemAvailable_bytes" => self.memory_available = Some(value),
            "node_filesystem_size_bytes" => self.filesystems.entry(mountpoint).or_default().0 = Some(value),
            "node_filesystem_avail_bytes" => self.filesystems.entry(mountpoint).or_default().1 = Some(value),
            _ => {}
        }
    }

    fn cpu(&self) -> Option<f64> {
        let (idle, processors) = self.idle?;
        Some((1.0 - idle / processors).clamp(0.0, 1.0))
    }

    fn memory(&self) -> Option<f64> {
        used(self.memory_total, self.memory_available)
    }

    /// The fullest filesystem and how full it is.
    fn fullest(&self) -> Option<(&str, f64)> {
        self.filesystems
            .iter()
            .filter_map(|(mountpoint, (size, available))| {
                Some((mountpoint.as_str(), used(*size, *available)?))
            })
            .max_by(|a, b| a.1.total_cmp(&b.1).then_with(|| b.0.cmp(a.0)))
    }
}

fn used(total: Option<f64>, available: Option<f64>) -> Option<f64> {
    let (total, available) = (total.filter(|total| 0.0 < *total)?, available?);
    Some((1.0 - available / total).clamp(0.0, 1.0))
}

fn series(answer: &Value) -> impl Iterator<Item = &Value> {
    answer["series"].as_array().into_iter().flatten()
}

fn label(series: &Value, name: &str) -> String {
    series["labels"][name].as_str().unwrap_or_default().to_owned()
}

/// The growth a second between the first and the last sample after which the counter never fell.
fn rate(points: &[(i64, f64)]) -> Option<f64> {
    let fell = points.windows(2).rposition(|pair| pair[1].1 < pair[0].1);
    let points = &points[fell.map_or(0, |position| position + 1)..];
    let ((first_ms, first), (last_ms, last)) = (*points.first()?, *points.last()?);
    (first_ms < last_ms).then(|| (last - first) * 1_000.0 / (last_ms - first_ms) as f64)
}

/// A row for each server.
pub(super) fn rows(servers: &[Value], figures: &Figures) -> Vec<Value> {
    let nothing = Figure::default();
    let row = |server: &Value| {
        let figure = figures.0.get(&server["id"].to_string()).unwrap_or(&nothing);
        let fullest = figure.fullest();
        json!({
            "id": server["id"],
            "hostname": server["hostname"],
            "status": server["status"],
            "cpu_used_ratio": figure.cpu(),
            "memory_used_ratio": figure.memory(),
            "filesystem_used_ratio": fullest.map(|fullest| fullest.1),
            "fullest_mountpoint": fullest.map(|fullest| fullest.0),
            "load1": figure.load1,
        })
    };
    servers.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(metric: &str, labels: &Value, points: &Value) -> Value {
        json!({"metric": metric, "labels": labels, "points": points})
    }

    #[test]
    fn what_is_shown_of_a_server_is_made_of_its_series_alone() {
        let rates = json!({"series": [
            one("c", &json!({"server_id": "1", "cpu": "0", "mode": "idle"}), &json!([[0, 100.0], [15_000, 107.5]])),
            one("c", &json!({"server_id": "1", "cpu": "0", "mode": "iowait"}), &json!([[0, 0.0], [15_000, 3.75]])),
            one("c", &json!({"server_id": "1", "cpu": "1", "mode": "idle"}), &json!([[0, 5.0], [15_000, 12.5]])),
            one("c", &json!({"server_id": "2", "cpu": "0", "mode": "idle"}), &json!([[0, 5.0]])),
        ]});
        let last = json!({"series": [
            one("node_load1", &json!({"server_id": "1"}), &json!([[9, 1.5]])),
            one("node_memory_MemTotal_bytes", &json!({"server_id": "1"}), &json!([[9, 400.0]])),
            one("node_memory_MemAvailable_bytes", &json!({"server_id": "1"}), &json!([[9, 100.0]])),
            one("node_filesystem_size_bytes", &json!({"server_id": "1", "mountpoint": "/"}), &json!([[9, 10.0]])),
            one("node_filesystem_avail_bytes", &json!({"server_id": "1", "mountpoint": "/"}), &json!([[9, 9.0]])),
            one("node_filesystem_size_bytes", &json!({"server_id": "1", "mountpoint": "/b"}), &json!([[9, 10.0]])),
            one("node_filesystem_avail_bytes", &json!({"server_id": "1", "mountpoint": "/b"}), &json!([[9, 2.0]])),
            one("node_filesystem_size_bytes", &json!({"server_id": "1", "mountpoint": "/z"}), &json!([[9, 0.0]])),
            one("node_filesystem_avail_bytes", &json!({"server_id": "1", "mountpoint": "/z"}), &json!([[9, 0.0]])),
        ]});
        let servers = [
            json!({"id": 1, "hostname": "a", "status": "online"}),
            json!({"id": 2, "hostname": "b", "status": "offline"}),
        ];
        let rows = rows(&servers, &Figures::of(&rates, &last));
        assert_eq!(rows[0]["cpu_used_ratio"], 0.375);
        assert_eq!(rows[0]["memory_used_ratio"], 0.75);
        assert_eq!(rows[0]["filesystem_used_ratio"], 0.8);
        assert_eq!(rows[0]["fullest_mountpoint"], "/b");
        assert_eq!(rows[0]["load1"], 1.5);
        for field in [
            "cpu_used_ratio",
            "memory_used_ratio",
            "filesystem_used_ratio",
            "load1",
        ] {
            assert_eq!(rows[1][field], Value::Null, "{field}: unknown is not zero");
        }
    }

    #[test]
    fn a_counter_that_began_again_is_read_from_there_on() {
        assert_eq!(
            rate(&[(0, 100.0), (1_000, 101.0), (2_000, 1.0), (4_000, 2.0)]),
            Some(0.5)
        );
        assert_eq!(rate(&[(0, 100.0), (1_000, 1.0)]), None);
        assert_eq!(rate(&[]), None);
        assert_eq!(rate(&[(5, 1.0), (5, 1.0)]), None);
    }
}
