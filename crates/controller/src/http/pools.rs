//! Pools of a server or of the whole fleet: arrays, ZFS pools, volume groups, BTRFS filesystems.

use axum::extract::State;
use muster_base::id::ResourceId;
use muster_model::ResourceKind;
use serde::Deserialize;

use super::HttpState;
use super::error::{Code, Problem, ProblemBody};
use super::extract::{Json, List, Path, Query, flag, health, id_or, page_request, part};
use super::range::{RangeBody, span};
use super::servers::server_id;
use crate::app::AppError;
use crate::app::resources::{ResourceFilter, ResourceView};
use crate::app::series::RangeQuery;
use crate::app::topology::POOL_TYPES;

mod body;

pub(super) use body::PoolBody;

/// How much of its history a pool shows if nothing is said of the start.
const HISTORY_MS: i64 = 86_400_000;
/// How far apart the points are then.
const HISTORY_STEP: &str = "5m";

/// Which pools are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PoolQuery {
    health: Option<String>,
    pool_type: Option<String>,
    server: Option<String>,
    server_id: Option<String>,
    include_gone: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

impl PoolQuery {
    fn filter(&self) -> Result<ResourceFilter, Problem> {
        let known = |word: &String| POOL_TYPES.contains(&word.as_str());
        if self.pool_type.as_ref().is_some_and(|word| !known(word)) {
            let expected = format!("one of {} is needed", POOL_TYPES.join(", "));
            return Err(Problem::parameter("pool_type", expected));
        }
        Ok(ResourceFilter {
            server: self.server_id.as_deref().map(server_id).transpose()?,
            kind: Some(ResourceKind::Pool),
            include_gone: flag("include_gone", self.include_gone.as_deref())?.unwrap_or(false),
            health: health(self.health.as_deref())?,
            hostname: part("server", self.server.as_ref())?,
            pool_type: self.pool_type.clone(),
            ..ResourceFilter::default()
        })
    }

    async fn answer(
        &self,
        state: &HttpState,
        filter: ResourceFilter,
    ) -> Result<Json<List<PoolBody>>, Problem> {
        let page = page_request(self.limit.as_deref(), self.cursor.as_deref())?;
        let page = state.app.resources(filter, page).await?;
        Ok(Json(List::of(page, PoolBody::from)))
    }
}

/// Pools of all servers.
#[utoipa::path(
    get, path = "/api/infrastructure/storage/pools", tag = "storage", operation_id = "list_pools",
    params(
        ("health" = Option<String>, Query, description = "only those that are healthy, warning, critical, failed or unknown"),
        ("pool_type" = Option<String>, Query, description = "only mdadm, zfs, lvm, btrfs or other"),
        ("server" = Option<String>, Query, description = "only those of servers of this name"),
        ("server_id" = Option<i64>, Query, description = "only those of this server"),
        ("include_gone" = Option<bool>, Query, description = "also those that are gone"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "at most this many; 100 if not given"),
        ("cursor" = Option<String>, Query, description = "what the last answer gave in next"),
    ),
    responses(
        (status = 200, body = List<PoolBody>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    Query(query): Query<PoolQuery>,
) -> Result<Json<List<PoolBody>>, Problem> {
    query.answer(&state, query.filter()?).await
}

/// Pools of a server.
#[utoipa::path(
    get, path = "/api/infrastructure/servers/{id}/storage/pools", tag = "storage", operation_id = "list_pools_of_server",
    params(
        ("id" = i64, Path, description = "id of the server"),
        ("health" = Option<String>, Query, description = "only those that are healthy, warning, critical, failed or unknown"),
        ("pool_type" = Option<String>, Query, description = "only mdadm, zfs, lvm, btrfs or other"),
        ("include_gone" = Option<bool>, Query, description = "also those that are gone"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "at most this many; 100 if not given"),
        ("cursor" = Option<String>, Query, description = "what the last answer gave in next"),
    ),
    responses(
        (status = 200, body = List<PoolBody>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn of_server(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Query(query): Query<PoolQuery>,
) -> Result<Json<List<PoolBody>>, Problem> {
    for (name, given) in [("server", &query.server), ("server_id", &query.server_id)] {
        if given.is_some() {
            return Err(Problem::parameter(name, "the address names the server already"));
        }
    }
    let filter = ResourceFilter {
        server: Some(server_id(&id)?),
        ..query.filter()?
    };
    query.answer(&state, filter).await
}

/// One pool with everything that is known of it.
#[utoipa::path(
    get, path = "/api/infrastructure/storage/pools/{id}", tag = "storage", operation_id = "get_pool",
    params(("id" = i64, Path, description = "id of the pool")),
    responses(
        (status = 200, body = PoolBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn one(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<PoolBody>, Problem> {
    Ok(Json(pool(&state, &id).await?.into()))
}

/// Which part of the history is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    start: Option<String>,
    end: Option<String>,
    step: Option<String>,
}

/// History of all figures of a pool: sizes, errors, progress, whatever is measured of it.
#[utoipa::path(
    get, path = "/api/infrastructure/storage/pools/{id}/history", tag = "storage", operation_id = "get_pool_history",
    params(
        ("id" = i64, Path, description = "id of the pool"),
        ("start" = Option<String>, Query, description = "first time, RFC 3339 or Unix seconds; a day before end if not given"),
        ("end" = Option<String>, Query, description = "last time, RFC 3339 or Unix seconds; now if not given"),
        ("step" = Option<String>, Query, description = "distance of the points, such as 15s or 60; 5m if not given"),
    ),
    responses(
        (status = 200, body = RangeBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn history(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<RangeBody>, Problem> {
    let pool = pool(&state, &id).await?;
    let step = query.step.as_deref().unwrap_or(HISTORY_STEP);
    let now_ms = state.app.clock().now_ms();
    let (start_ms, end_ms, step_ms) = span(
        query.start.as_deref(),
        query.end.as_deref(),
        Some(step),
        now_ms,
        HISTORY_MS,
    )?;
    let query = RangeQuery {
        matchers: Vec::new(),
        resource: Some(pool.id),
        start_ms,
        end_ms,
        step_ms,
    };
    let names = state.app.server_names().await?;
    Ok(Json(state.series.range(names, query).await?.into()))
}

/// Reads a pool; a resource of another kind is no pool.
async fn pool(state: &HttpState, id: &str) -> Result<ResourceView, Problem> {
    let id = ResourceId(id_or(id, Code::PoolNotFound)?);
    let none = || Problem::new(Code::PoolNotFound, format!("there is no pool {id}"));
    match state.app.resource(id).await {
        Ok(view) if view.kind == ResourceKind::Pool => Ok(view),
        Ok(_) | Err(AppError::NotFound { .. }) => Err(none()),
        Err(error) => Err(error.into()),
    }
}
