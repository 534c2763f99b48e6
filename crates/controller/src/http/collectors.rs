//! How collections went: the last run of each collector, and what could not be collected.

use axum::extract::State;
use muster_base::id::ServerId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::HttpState;
use super::error::{Problem, ProblemBody};
use super::extract::{Json, List, Path, Query, page_request, rfc3339};
use super::servers::server_id;
use crate::app::collectors::{CollectionErrorView, CollectorView, Stats};

/// The last run of a collector.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Collector")]
pub(super) struct CollectorBody {
    /// The collector.
    collector: String,
    /// How its last run ended.
    outcome: String,
    /// Why it failed, or what is absent.
    message: String,
    /// When its last run began.
    started_at: String,
    /// How long that took, in milliseconds.
    duration_ms: u32,
    /// When a run last succeeded.
    last_success_at: Option<String>,
    /// How many runs in a row have failed.
    failures: u32,
}

impl From<CollectorView> for CollectorBody {
    fn from(view: CollectorView) -> Self {
        Self {
            collector: view.collector,
            outcome: view.outcome,
            message: view.message,
            started_at: rfc3339(view.started_ms),
            duration_ms: view.duration_ms,
            last_success_at: view.last_success_ms.map(rfc3339),
            failures: view.failures,
        }
    }
}

/// Something that could not be collected.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "CollectionError")]
pub(super) struct CollectionErrorBody {
    /// Its id.
    id: i64,
    /// The server.
    server_id: i64,
    /// `problem`, `refused`, `time_rebuilt`, `time_unknown`, or the outcome of a failed run.
    error_type: String,
    /// What went wrong.
    error_message: String,
    /// The collector.
    service_name: String,
    /// When it was last seen.
    occurred_at: String,
    /// When it was first seen.
    first_occurred_at: String,
    /// How often it was seen.
    count: u64,
}

impl From<CollectionErrorView> for CollectionErrorBody {
    fn from(view: CollectionErrorView) -> Self {
        Self {
            id: view.id,
            server_id: view.server.0,
            error_type: view.error_type,
            error_message: view.error_message,
            service_name: view.service_name,
            occurred_at: rfc3339(view.occurred_ms),
            first_occurred_at: rfc3339(view.first_ms),
            count: view.count,
        }
    }
}

/// Collectors of a server with the outcome of their last run.
#[utoipa::path(
    get, path = "/api/infrastructure/servers/{id}/collectors", tag = "collections",
    params(("id" = i64, Path, description = "id of the server")),
    responses(
        (status = 200, body = List<CollectorBody>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn collectors(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<List<CollectorBody>>, Problem> {
    let views = state.app.collectors(server_id(&id)?).await?;
    let items: Vec<_> = views.into_iter().map(CollectorBody::from).collect();
    Ok(Json(List {
        total: u64::try_from(items.len()).unwrap_or(u64::MAX),
        items,
        next: None,
    }))
}

/// Which part of a list is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    limit: Option<String>,
    cursor: Option<String>,
}

/// What could not be collected on a server, the latest first.
#[utoipa::path(
    get, path = "/api/infrastructure/servers/{id}/collection-errors", tag = "collections",
    params(
        ("id" = i64, Path, description = "id of the server"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "at most this many; 100 if not given"),
        ("cursor" = Option<String>, Query, description = "what the last answer gave in next"),
    ),
    responses(
        (status = 200, body = List<CollectionErrorBody>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn errors_of_server(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<CollectionErrorBody>>, Problem> {
    list_errors(&state, Some(server_id(&id)?), &query).await
}

/// What could not be collected anywhere, the latest first.
#[utoipa::path(
    get, path = "/api/infrastructure/collection-errors", tag = "collections",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "at most this many; 100 if not given"),
        ("cursor" = Option<String>, Query, description = "what the last answer gave in next"),
    ),
    responses(
        (status = 200, body = List<CollectionErrorBody>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn errors(
    State(state): State<HttpState>,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<CollectionErrorBody>>, Problem> {
    list_errors(&state, None, &query).await
}

async fn list_errors(
    state: &HttpState,
    server: Option<ServerId>,
    query: &PageQuery,
) -> Result<Json<List<CollectionErrorBody>>, Problem> {
    let page = page_request(query.limit.as_deref(), query.cursor.as_deref())?;
    let page = state.app.collection_errors(server, page).await?;
    Ok(Json(List::of(page, CollectionErrorBody::from)))
}

/// How much there is of all.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Stats")]
pub(super) struct StatsBody {
    servers: StatsOfServers,
    storage: StatsOfStorage,
    databases: StatsOfDatabases,
}

#[derive(Debug, Serialize, ToSchema)]
struct StatsOfServers {
    /// All.
    total: u64,
    /// Of these, monitored.
    monitoring_enabled: u64,
    /// Of these, online, also with failing collections.
    online: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct StatsOfStorage {
    /// Disks that are not gone.
    devices: u64,
    /// Pools that are not gone.
    pools: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct StatsOfDatabases {
    /// Databases that are not gone.
    instances: u64,
}

impl From<Stats> for StatsBody {
    fn from(stats: Stats) -> Self {
        Self {
            servers: StatsOfServers {
                total: stats.servers,
                monitoring_enabled: stats.servers_monitored,
                online: stats.servers_online,
            },
            storage: StatsOfStorage {
                devices: stats.devices,
                pools: stats.pools,
            },
            databases: StatsOfDatabases {
                instances: stats.databases,
            },
        }
    }
}

/// How much there is of all.
#[utoipa::path(
    get, path = "/api/infrastructure/stats", tag = "servers",
    responses(
        (status = 200, body = StatsBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn stats(State(state): State<HttpState>) -> Result<Json<StatsBody>, Problem> {
    Ok(Json(state.app.stats().await?.into()))
}
