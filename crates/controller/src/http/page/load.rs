//! Reading what the pages show.
//!
//! One page is a bounded number of reads: at most 100 servers are shown at once, and of a server at most 1,000 disks and
//! filesystems.

use std::collections::HashMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use muster_base::id::{ResourceId, ServerId};
use muster_model::{Attribute, Health, ResourceKind};
use muster_samples::{MatchOp, Matcher, NAME_LABEL};

use crate::app::collectors::{CollectionErrorView, CollectorView, GapView};
use crate::app::resources::{ResourceFilter, ResourceView};
use crate::app::series::{Names, RangeQuery, RangeSeries};
use crate::app::servers::{ServerFilter, ServerView};
use crate::app::{PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX, PageRequest};
use crate::http::HttpState;
use crate::http::error::Problem;

/// How much history the small charts show.
pub(super) const HOUR_MS: i64 = 3_600_000;
/// How much history a disk's temperature chart shows.
pub(super) const DAY_MS: i64 = 86_400_000;
/// How far back a value of now may lie.
const NOW_MS: i64 = 300_000;
/// Servers of which details are read at once.
const AT_ONCE: usize = 8;
/// Collection errors that are shown.
const ERRORS_SHOWN: u32 = 20;

/// All servers, or a page of them.
#[derive(Debug)]
pub(super) struct FleetView {
    /// What is shown.
    pub(super) rows: Vec<FleetRow>,
    /// How many servers there are.
    pub(super) total: u64,
    /// How many of all are online.
    pub(super) online: u64,
    /// The next page.
    pub(super) next: Option<String>,
    /// Now, Unix ms.
    pub(super) now_ms: i64,
}

/// One line of the fleet.
#[derive(Debug)]
pub(super) struct FleetRow {
    /// The server.
    pub(super) server: ServerView,
    /// Its operating system.
    pub(super) os: Option<String>,
    /// Share of its CPUs that is busy.
    pub(super) cpu: Option<f64>,
    /// Share of its memory that is used.
    pub(super) memory: Option<f64>,
    /// Health of its disks.
    pub(super) disks: Vec<Health>,
    /// Its fullest filesystem, and how full that is.
    pub(super) fullest: Option<(String, f64)>,
}

/// One server.
#[derive(Debug)]
pub(super) struct ServerPage {
    /// The server.
    pub(super) server: ServerView,
    /// What its own resource says.
    pub(super) facts: Option<ResourceView>,
    /// Its disks.
    pub(super) devices: Vec<ResourceView>,
    /// Its filesystems.
    pub(super) filesystems: Vec<ResourceView>,
    /// Its collectors.
    pub(super) collectors: Vec<CollectorView>,
    /// What could not be collected, the latest first.
    pub(super) errors: Vec<CollectionErrorView>,
    /// How many such errors there are.
    pub(super) errors_total: u64,
    /// Reports that will never come.
    pub(super) gaps: Vec<GapView>,
    /// Vitals of the last hour.
    pub(super) vitals: Vitals,
    /// Now, Unix ms.
    pub(super) now_ms: i64,
}

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

/// One disk.
#[derive(Debug)]
pub(super) struct DevicePage {
    /// The disk.
    pub(super) device: ResourceView,
    /// Name of its server.
    pub(super) hostname: String,
    /// Its temperature over the last day.
    pub(super) temperature: Vec<(i64, f64)>,
    /// Now, Unix ms.
    pub(super) now_ms: i64,
}

/// Reads the fleet.
pub(super) async fn fleet(state: &HttpState, cursor: Option<String>) -> Result<FleetView, Problem> {
    let now_ms = state.app.clock().now_ms();
    let request = PageRequest {
        limit: Some(PAGE_LIMIT_DEFAULT),
        cursor,
    };
    let page = state.app.servers(ServerFilter::default(), request).await?;
    let stats = state.app.stats().await?;
    let shown: Vec<ServerId> = page.items.iter().map(|server| server.id).collect();
    let mut vitals = vitals_now(state, &shown, now_ms).await?;
    let rows = stream::iter(page.items)
        .map(|server| row(state, server))
        .buffered(AT_ONCE)
        .map_ok(|mut row| {
            if let Some((cpu, memory)) = vitals.remove(&row.server.id) {
                row.cpu = cpu;
                row.memory = memory;
            }
            row
        })
        .try_collect()
        .await?;
    Ok(FleetView {
        rows,
        total: page.total,
        online: stats.servers_online,
        next: page.next,
        now_ms,
    })
}

async fn row(state: &HttpState, server: ServerView) -> Result<FleetRow, Problem> {
    let facts = state.app.resource(server.id.resource()).await.ok();
    let devices = all_of(state, server.id, ResourceKind::Device).await?;
    let filesystems = all_of(state, server.id, ResourceKind::Filesystem).await?;
    let fullest = filesystems
        .iter()
        .filter_map(|filesystem| Some((filesystem.name.clone(), used_share(filesystem)?)))
        .max_by(|a, b| a.1.total_cmp(&b.1));
    Ok(FleetRow {
        os: facts.as_ref().and_then(|facts| text(facts, "os")),
        cpu: None,
        memory: None,
        disks: devices.iter().map(|device| device.health).collect(),
        fullest,
        server,
    })
}

/// Reads a server.
pub(super) async fn server(state: &HttpState, id: ServerId) -> Result<ServerPage, Problem> {
    let now_ms = state.app.clock().now_ms();
    let server = state.app.server(id).await?;
    let errors = PageRequest {
        limit: Some(ERRORS_SHOWN),
        cursor: None,
    };
    let errors = state.app.collection_errors(Some(id), errors).await?;
    Ok(ServerPage {
        // A server that never reported has nothing to say yet.
        facts: state.app.resource(id.resource()).await.ok(),
        devices: all_of(state, id, ResourceKind::Device).await?,
        filesystems: all_of(state, id, ResourceKind::Filesystem).await?,
        collectors: state.app.collectors(id).await?,
        errors: errors.items,
        errors_total: errors.total,
        gaps: state.app.gaps(id).await?,
        vitals: vitals(state, id, now_ms).await?,
        server,
        now_ms,
    })
}

/// Reads what goes with a disk.
pub(super) async fn device(state: &HttpState, device: ResourceView) -> Result<DevicePage, Problem> {
    let now_ms = state.app.clock().now_ms();
    let server = state.app.server(device.server).await?;
    let query = RangeQuery {
        matchers: vec![
            Matcher::equal(NAME_LABEL, "smartctl_device_temperature"),
            Matcher::equal("temperature_type", "current"),
        ],
        resource: Some(device.id),
        start_ms: now_ms - DAY_MS,
        end_ms: now_ms,
        step_ms: None,
    };
    let names = state.app.server_names().await?;
    let range = state.series.range(names, query).await?;
    let mut temperature: Vec<(i64, f64)> = range
        .series
        .into_iter()
        .flat_map(|series| series.points)
        .collect();
    temperature.sort_by_key(|point| point.0);
    Ok(DevicePage {
        device,
        hostname: server.hostname,
        temperature,
        now_ms,
    })
}

async fn all_of(
    state: &HttpState,
    server: ServerId,
    kind: ResourceKind,
) -> Result<Vec<ResourceView>, Problem> {
    let filter = ResourceFilter {
        server: Some(server),
        kind: Some(kind),
        include_gone: false,
    };
    let request = PageRequest {
        limit: Some(PAGE_LIMIT_MAX),
        cursor: None,
    };
    let mut items = state.app.resources(filter, request).await?.items;
    items.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(items)
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

async fn vitals(state: &HttpState, server: ServerId, now_ms: i64) -> Result<Vitals, Problem> {
    let series = vitals_of(state, server.to_string(), now_ms - HOUR_MS, now_ms).await?;
    Ok(Vitals::of(&series))
}

/// Shares of CPU and memory in use right now.
type SharesNow = HashMap<ServerId, (Option<f64>, Option<f64>)>;

async fn vitals_now(state: &HttpState, servers: &[ServerId], now_ms: i64) -> Result<SharesNow, Problem> {
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
    let mut sums: std::collections::BTreeMap<i64, (f64, u32)> = std::collections::BTreeMap::new();
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

/// How full a filesystem is: what is used of what users may fill, as `df` has it.
pub(super) fn used_share(filesystem: &ResourceView) -> Option<f64> {
    let used = number(filesystem, "used_bytes")?;
    let available = number(filesystem, "available_bytes")?;
    let all = used + available;
    (0.0 < all).then(|| used / all)
}

/// An attribute that is a text.
pub(super) fn text(resource: &ResourceView, name: &str) -> Option<String> {
    match resource.attributes.get(name)? {
        Attribute::Text(text) => Some(text.clone()),
        _ => None,
    }
}

/// An attribute that is a number.
pub(super) fn number(resource: &ResourceView, name: &str) -> Option<f64> {
    match resource.attributes.get(name)? {
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        Attribute::Int(number) => Some(*number as f64),
        Attribute::Float(number) => Some(*number),
        _ => None,
    }
}

/// An attribute that is a whole number.
pub(super) fn whole(resource: &ResourceView, name: &str) -> Option<i64> {
    match resource.attributes.get(name)? {
        Attribute::Int(number) => Some(*number),
        _ => None,
    }
}

/// The resource's id, for links.
pub(super) fn id(resource: &ResourceView) -> i64 {
    let ResourceId(id) = resource.id;
    id
}

#[cfg(test)]
mod tests {
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
