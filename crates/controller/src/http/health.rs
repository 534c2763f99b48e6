//! How everything is, in one answer: for people and for programs that watch the watcher.

use std::collections::BTreeMap;

use axum::extract::State;
use muster_model::{Health, ResourceKind};
use serde::Serialize;
use utoipa::ToSchema;

use super::HttpState;
use super::error::{Problem, ProblemBody};
use super::extract::{Json, rfc3339};
use super::probes::Readiness;
use crate::app::servers::ServerFilter;

/// How everything is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "DetailedHealth")]
pub(super) struct HealthBody {
    /// `healthy`, or `degraded` if anything below is not as it should be or not known.
    status: &'static str,
    /// Why it is degraded; empty if it is healthy.
    reasons: Vec<String>,
    /// When this was found.
    timestamp: String,
    /// `healthy` if the state database answers and the controller is ready, else `unhealthy`.
    database: &'static str,
    infrastructure: Infrastructure,
    /// Version of the controller.
    version: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
struct Infrastructure {
    servers: Servers,
    storage: Storage,
    databases: Counts,
    samples: Samples,
}

#[derive(Debug, Serialize, ToSchema)]
struct Servers {
    /// All.
    total: usize,
    /// By status.
    by_status: BTreeMap<&'static str, usize>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Storage {
    devices: Counts,
    pools: Counts,
}

/// How many there are that are not gone, by health.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Counts {
    /// All.
    total: usize,
    /// By health: `healthy`, `warning`, `critical`, `failed`, `unknown`.
    by_health: BTreeMap<&'static str, usize>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Samples {
    /// Parts of the sample store that were found damaged since the start.
    damaged: u64,
}

/// How everything is. A server that is not watched, or was never seen, does not count against it; what is not known does.
#[utoipa::path(
    get, path = "/api/infrastructure/health/detailed", tag = "servers",
    responses(
        (status = 200, body = HealthBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn detailed(State(state): State<HttpState>) -> Result<Json<HealthBody>, Problem> {
    let mut reasons = Vec::new();
    let servers = state.app.all_servers(ServerFilter::default()).await?;
    let mut by_status = BTreeMap::new();
    for server in &servers {
        *by_status.entry(server.status.as_str()).or_default() += 1;
    }
    for status in ["late", "offline", "failing"] {
        if let Some(count) = by_status.get(status) {
            reasons.push(format!("{count} servers are {status}"));
        }
    }
    let mut health = state.app.health_counts().await?;
    let mut counts = |kind: ResourceKind, what: &str| {
        let mut counts = Counts::default();
        for (health, count) in health.remove(&kind).unwrap_or_default() {
            counts.total += count;
            counts.by_health.insert(health.as_str(), count);
            if health != Health::Healthy {
                reasons.push(format!("{count} {what} are {}", health.as_str()));
            }
        }
        counts
    };
    let devices = counts(ResourceKind::Device, "devices");
    let pools = counts(ResourceKind::Pool, "pools");
    let databases = counts(ResourceKind::Database, "databases");
    let damaged = state.series.damaged();
    if 0 < damaged {
        reasons.push(format!("{damaged} parts of the sample store are damaged"));
    }
    let readiness = state.ready.borrow().clone();
    if let Readiness::NotReady(reason) = &readiness {
        reasons.push(format!("the controller is not ready: {reason}"));
    }
    Ok(Json(HealthBody {
        status: if reasons.is_empty() { "healthy" } else { "degraded" },
        reasons,
        timestamp: rfc3339(state.app.clock().now_ms()),
        // All of the above was read from it.
        database: if readiness == Readiness::Ready {
            "healthy"
        } else {
            "unhealthy"
        },
        infrastructure: Infrastructure {
            servers: Servers {
                total: servers.len(),
                by_status,
            },
            storage: Storage { devices, pools },
            databases,
            samples: Samples { damaged },
        },
        version: env!("CARGO_PKG_VERSION"),
    }))
}
