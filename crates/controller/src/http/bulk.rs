//! Switching the monitoring of many servers on or off at once.

use axum::extract::State;
use muster_base::id::ServerId;
use serde::Serialize;
use utoipa::ToSchema;

use super::HttpState;
use super::access::Caller;
use super::error::{Problem, ProblemBody};
use super::extract::Json;

/// Most servers of one request.
const SERVERS_MAX: usize = 1_000;

/// Servers that are watched again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Enabled")]
pub(super) struct EnabledBody {
    /// How many.
    enabled: usize,
    /// Which.
    server_ids: Vec<i64>,
}

/// Servers that are no longer watched.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Disabled")]
pub(super) struct DisabledBody {
    /// How many.
    disabled: usize,
    /// Which.
    server_ids: Vec<i64>,
}

/// Watches servers again. The body is a list of ids; an unknown one refuses all.
#[utoipa::path(
    post, path = "/api/infrastructure/servers/bulk-enable", tag = "servers",
    request_body = Vec<i64>,
    responses(
        (status = 200, body = EnabledBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn enable(
    State(state): State<HttpState>,
    caller: Caller,
    Json(ids): Json<Vec<i64>>,
) -> Result<Json<EnabledBody>, Problem> {
    let server_ids = set(&state, &caller, ids, true).await?;
    Ok(Json(EnabledBody {
        enabled: server_ids.len(),
        server_ids,
    }))
}

/// Stops watching servers: their agents stay connected and collect nothing. The body is a list of ids; an unknown one
/// refuses all.
#[utoipa::path(
    post, path = "/api/infrastructure/servers/bulk-disable", tag = "servers",
    request_body = Vec<i64>,
    responses(
        (status = 200, body = DisabledBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn disable(
    State(state): State<HttpState>,
    caller: Caller,
    Json(ids): Json<Vec<i64>>,
) -> Result<Json<DisabledBody>, Problem> {
    let server_ids = set(&state, &caller, ids, false).await?;
    Ok(Json(DisabledBody {
        disabled: server_ids.len(),
        server_ids,
    }))
}

async fn set(
    state: &HttpState,
    caller: &Caller,
    mut ids: Vec<i64>,
    is_monitored: bool,
) -> Result<Vec<i64>, Problem> {
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() || SERVERS_MAX < ids.len() {
        return Err(Problem::field(
            "server_ids",
            format!("a list of 1 to {SERVERS_MAX} ids is needed"),
        ));
    }
    let servers: Vec<ServerId> = ids.iter().copied().map(ServerId).collect();
    let by = &caller.principal.username;
    state.app.set_monitoring(&servers, is_monitored, by).await?;
    Ok(ids)
}
