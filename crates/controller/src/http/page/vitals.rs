//! CPU, load and memory over the last hour, or right now, from the stock metrics.

use std::collections::{BTreeMap, HashMap};

use muster_base::id::ServerId;
use muster_samples::{MatchOp, Matcher, NAME_LABEL};

use crate::app::series::{Names, RangeQuery, RangeSeries};
use crate::http::HttpState;
use crate::http::error::Problem;

/// How much history the small charts show.
pub(super) const HOUR_MS: i64 = 3_600_000;
/// How far back a value of now may lie.
const NOW_MS: i64 = 300_000;

/// Vitals as points of Unix ms and values.
#[derive(Debug, Default)]
pub(super) struct Vitals {
    /// Share of the CPUs that is busy.
    pub(super) cpu: Vec<(i64, f64)>,
    /// Load over one minute.
    pub(super) load: Vec<(i64, f64)>,
    /// Share of memory that is used.
    pub(super) memory: Vec<(i64, f64)>,
    /// Bytes of memory in all.
    pub(super) memory_bytes: Option<f64>,
}

/// The metrics that the vitals are made of.
const VITALS: &str =
    "node_cpu_seconds_total|node_load1|node_memory_MemTotal_bytes|node_memory_MemAvailable_bytes";

async fn vitals_of(
    state: &HttpState,
    servers: String,
    start_ms: i64,
    now_ms: i64,
) -> Result<Vec<RangeSeries>, Problem> {
    let pattern = |name: &str, value: &str| {
        Matcher::new(name, MatchOp::Re, value).expect("numbers and names joined by | are an expression")
    };
    let query = RangeQuery {
        matchers: vec![
            pattern(NAME_LABEL, VITALS),
            // Of the CPU's modes only idle is needed; the other metrics have no mode.
            pattern("mode", "idle|"),
            pattern("server_id", &servers),
        ],
        resource: None,
        start_ms,
        end_ms: now_ms,
        step_ms: None,
    };
    let names: Names = state.app.server_names().await?;
    Ok(state.series.range(names, query).await?.series)
}

/// Reads the vitals of one server.
pub(super) async fn last_hour(state: &HttpState, server: ServerId, now_ms: i64) -> Result<Vitals, Problem> {
    let series = vitals_of(state, server.to_string(), now_ms - HOUR_MS, now_ms).await?;
    Ok(Vitals::of(&series))
}

/// Shares of CPU and memory in use right now.
pub(super) type SharesNow = HashMap<ServerId, (Option<f64>, Option<f64>)>;

/// Reads the vitals of several servers as they are now.
pub(super) async fn now(state: &HttpState, servers: &[ServerId], now_ms: i64) -> Result<SharesNow, Problem> {
    if servers.is_empty() {
        return Ok(SharesNow::new());
    }
    let ids: Vec<String> = servers.iter().map(ToString::to_string).collect();
    let series = vitals_of(state, ids.join("|"), now_ms - NOW_MS, now_ms).await?;
    let mut by_server: HashMap<ServerId, Vec<RangeSeries>> = HashMap::new();
    for one in series {
        by_server.entry(one.server).or_default().push(one);
    }
    let shares = |series: Vec<RangeSeries>| {
        let vitals = Vitals::of(&series);
        let last = |points: &[(i64, f64)]| points.last().map(|point| point.1);
        (last(&vitals.cpu), last(&vitals.memory))
    };
    Ok(by_server
        .into_iter()
        .map(|(id, series)| (id, shares(series)))
        .collect())
}

impl Vitals {
    fn of(series: &[RangeSeries]) -> Self {
        let points = |name: &str| {
            series
                .iter()
                .find(|series| &*series.name == name)
                .map(|series| series.points.clone())
                .unwrap_or_default()
        };
        let total: HashMap<i64, f64> = points("node_memory_MemTotal_bytes").into_iter().collect();
        let available = points("node_memory_MemAvailable_bytes");
        let memory = available
            .iter()
            .filter_map(|(time_ms, available)| {
                let total = total.get(time_ms).filter(|total| 0.0 < **total)?;
                Some((*time_ms, 1.0 - available / total))
            })
            .collect();
        let idle: Vec<&RangeSeries> = series
            .iter()
            .filter(|series| &*series.name == "node_cpu_seconds_total")
            .collect();
        Self {
            cpu: busy_share(&idle),
            load: points("node_load1"),
            memory,
            memory_bytes: points("node_memory_MemTotal_bytes").last().map(|point| point.1),
        }
    }
}

/// The busy share of all CPUs together, from each one's idle seconds.
///
/// Only neighbouring samples of the same set of CPUs are compared: a CPU that comes or goes, or a counter that starts
/// anew, leaves a hole and not a spike.
fn busy_share(idle: &[&RangeSeries]) -> Vec<(i64, f64)> {
    let mut sums: BTreeMap<i64, (f64, u32)> = BTreeMap::new();
    for (time_ms, value) in idle.iter().flat_map(|series| &series.points) {
        let sum = sums.entry(*time_ms).or_default();
        sum.0 += value;
        sum.1 += 1;
    }
    let sums: Vec<(i64, (f64, u32))> = sums.into_iter().collect();
    sums.windows(2)
        .filter_map(|pair| {
            let (before_ms, (before, cpus_before)) = pair[0];
            let (now_ms, (now, cpus)) = pair[1];
            #[expect(clippy::cast_precision_loss, reason = "milliseconds between two samples")]
            let seconds = (now_ms - before_ms) as f64 / 1_000.0;
            let share = 1.0 - (now - before) / (seconds * f64::from(cpus));
            (cpus == cpus_before && before <= now).then_some((now_ms, share.clamp(0.0, 1.0)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use muster_base::id::ResourceId;

    use super::*;

    fn cpu(points: &[(i64, f64)]) -> RangeSeries {
        RangeSeries {
            name: "node_cpu_seconds_total".into(),
            labels: Vec::new(),
            resource: ResourceId(1),
            server: ServerId(1),
            points: points.to_vec(),
        }
    }

    #[test]
    fn busy_is_what_is_not_idle_over_all_cpus() {
        let first = cpu(&[(0, 100.0), (10_000, 110.0), (20_000, 115.0)]);
        let second = cpu(&[(0, 50.0), (10_000, 55.0), (20_000, 60.0)]);
        assert_eq!(busy_share(&[&first, &second]), [(10_000, 0.25), (20_000, 0.5)]);
    }

    #[test]
    fn a_reboot_or_a_missing_cpu_leaves_a_hole() {
        let first = cpu(&[(0, 100.0), (10_000, 1.0), (20_000, 6.0), (30_000, 11.0)]);
        let second = cpu(&[(0, 100.0), (10_000, 1.0), (30_000, 11.0)]);
        assert_eq!(busy_share(&[&first, &second]), []);
    }
}
