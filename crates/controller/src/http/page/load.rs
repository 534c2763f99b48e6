//! Reading what the pages show.
//!
//! One page is a bounded number of reads: at most 100 servers are shown at once, and of a server at most 1,000 disks and
//! filesystems.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use muster_base::id::{ResourceId, ServerId};
use muster_model::{Attribute, Health, ResourceKind};
use muster_samples::{Matcher, NAME_LABEL};

use super::alerts::{self, OpenAlerts};
use super::attention::{self, Attention};
use super::containers::{self, TakenNow};
use super::vitals::{self, Vitals};
use crate::app::collectors::{CollectionErrorView, CollectorView, GapView, HealthCounts};
use crate::app::devices::Judgement;
use crate::app::resources::{ResourceFilter, ResourceView, counts_as_disk};
use crate::app::series::RangeQuery;
use crate::app::servers::{ServerFilter, ServerView};
use crate::app::topology::{Impact, Topology};
use crate::app::{AppError, PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX, PageRequest};
use crate::http::HttpState;
use crate::http::devices::history::{self, AttributeHistory, Trend};
use crate::http::error::Problem;

/// How much history a disk's temperature chart shows.
pub(super) const DAY_MS: i64 = 86_400_000;
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
    /// How many disks and pools of all are how well.
    pub(super) counts: HealthCounts,
    /// What is open.
    pub(super) alerts: OpenAlerts,
    /// Which of them are not well.
    pub(super) attention: Attention,
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
    /// What is open of it.
    pub(super) alerts: OpenAlerts,
    /// What its own resource says.
    pub(super) facts: Option<ResourceView>,
    /// Its disks.
    pub(super) devices: Vec<ResourceView>,
    /// Its filesystems.
    pub(super) filesystems: Vec<ResourceView>,
    /// Its containers.
    pub(super) containers: Vec<ResourceView>,
    /// What these take now.
    pub(super) taken: TakenNow,
    /// What rests on what.
    pub(super) topology: Topology,
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

/// One disk.
#[derive(Debug)]
pub(super) struct DevicePage {
    /// The disk.
    pub(super) device: ResourceView,
    /// Name of its server.
    pub(super) hostname: String,
    /// What goes down with it.
    pub(super) impact: Impact,
    /// Its temperature over the last day.
    pub(super) temperature: Vec<(i64, f64)>,
    /// What people decided about it.
    pub(super) judgement: Judgement,
    /// How it wears, and how warm it has been.
    pub(super) trend: Trend,
    /// How its own figures went.
    pub(super) attributes: Vec<AttributeHistory>,
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
    let mut vitals = vitals::now(state, &shown, now_ms).await?;
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
    let counts = state.app.health_counts().await?;
    Ok(FleetView {
        alerts: alerts::open(state, None).await?,
        attention: attention::load(state, &counts).await?,
        counts,
        rows,
        total: page.total,
        online: stats.servers_online,
        next: page.next,
        now_ms,
    })
}

async fn row(state: &HttpState, server: ServerView) -> Result<FleetRow, Problem> {
    let facts = facts(state, server.id).await?;
    let devices = all_of(state, server.id, ResourceKind::Device).await?;
    let filesystems = all_of(state, server.id, ResourceKind::Filesystem).await?;
    Ok(FleetRow {
        os: facts.as_ref().and_then(|facts| text(facts, "os")),
        cpu: None,
        memory: None,
        disks: devices
            .iter()
            .filter(|device| counts_as_disk(&device.name))
            .map(|device| device.health)
            .collect(),
        fullest: fullest(&filesystems),
        server,
    })
}

/// The fullest filesystem and how full it is; of one that is mounted in several places, the place that sorts first, so `/`
/// rather than what was bound from it.
fn fullest(filesystems: &[ResourceView]) -> Option<(String, f64)> {
    filesystems
        .iter()
        .filter_map(|filesystem| Some((filesystem.name.clone(), used_share(filesystem)?)))
        .max_by(|a, b| a.1.total_cmp(&b.1).then_with(|| b.0.cmp(&a.0)))
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
    let containers = all_of(state, id, ResourceKind::Container).await?;
    let taken = if containers.is_empty() {
        TakenNow::new()
    } else {
        containers::taken(state, id, now_ms).await?
    };
    Ok(ServerPage {
        containers,
        taken,
        alerts: alerts::open(state, Some(id)).await?,
        facts: facts(state, id).await?,
        devices: all_of(state, id, ResourceKind::Device).await?,
        filesystems: all_of(state, id, ResourceKind::Filesystem).await?,
        topology: state.app.topology(id, false).await?,
        collectors: state.app.collectors(id).await?,
        errors: errors.items,
        errors_total: errors.total,
        gaps: state.app.gaps(id).await?,
        vitals: vitals::last_hour(state, id, now_ms).await?,
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
    let trend = history::trend(state, &device).await?;
    let attributes = history::attributes(state, &device).await?;
    let judgement = state.app.judged_device(device.id).await?.judgement;
    let impact = state.app.impact(device.id).await?;
    Ok(DevicePage {
        impact,
        trend,
        attributes,
        judgement,
        device,
        hostname: server.hostname,
        temperature,
        now_ms,
    })
}

/// What a server says of itself; nothing if it never reported.
async fn facts(state: &HttpState, server: ServerId) -> Result<Option<ResourceView>, Problem> {
    match state.app.resource(server.resource()).await {
        Ok(facts) => Ok(Some(facts)),
        Err(AppError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
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
        ..ResourceFilter::default()
    };
    let request = PageRequest {
        limit: Some(PAGE_LIMIT_MAX),
        cursor: None,
    };
    let mut items = state.app.resources(filter, request).await?.items;
    items.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(items)
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
    use crate::app::topology::tests::Stack;

    #[test]
    fn of_places_of_one_filesystem_the_fullest_is_told_by_the_first() {
        let shared: [(&str, Attribute); 2] =
            [("used_bytes", 8_i64.into()), ("available_bytes", 2_i64.into())];
        let empty: [(&str, Attribute); 2] = [("used_bytes", 0_i64.into()), ("available_bytes", 9_i64.into())];
        let stack = Stack::default()
            .with(ResourceKind::Filesystem, "/", &shared, &[])
            .with(ResourceKind::Filesystem, "/run/netns", &shared, &[])
            .with(ResourceKind::Filesystem, "/a", &empty, &[]);
        assert_eq!(fullest(&stack.resources), Some(("/".to_owned(), 0.8)));
    }
}
