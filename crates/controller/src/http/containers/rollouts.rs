//! Roll-outs: one first, then more and more, and a stop as soon as it does harm.

use axum::extract::State;
use muster_update::RolloutBody;
use serde_json::Value;

use super::body;
use crate::http::HttpState;
use crate::http::access::Caller;
use crate::http::error::{Code, Problem, ProblemBody};
use crate::http::extract::{Created, Json, List, NoFields, Optional, PartQuery, Path, Query, id_or};
use crate::update::RolloutDeed;

/// Roll-outs, the newest first, without their containers.
#[utoipa::path(
    get, path = "/api/containers/rollouts", tag = "updates",
    params(("limit" = Option<u32>, Query, description = "1 to 1000, 100 if absent"), ("cursor" = Option<String>, Query, description = "next of the answer before")),
    responses(
        (status = 200, body = List<Object>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn list(
    State(state): State<HttpState>,
    Query(part): Query<PartQuery>,
) -> Result<Json<List<Value>>, Problem> {
    let page = state.updates.rollouts(part.request()?).await?;
    Ok(Json(List::of(page, |kept| body::rollout(&kept, false))))
}

/// Begins a roll-out of open updates: those named in `update_ids`, or whose image matches `image_pattern`.
#[utoipa::path(
    post, path = "/api/containers/rollouts", tag = "updates",
    request_body = Object,
    responses(
        (status = 201, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn create(
    State(state): State<HttpState>,
    caller: Caller,
    Json(read): Json<RolloutBody>,
) -> Result<Created<Value>, Problem> {
    let kept = state
        .updates
        .create_rollout(read, &caller.principal.username)
        .await?;
    Ok(Created {
        location: format!("/api/containers/rollouts/{}", kept.id),
        body: body::rollout(&kept, true),
        told: kept.rollout.name,
    })
}

/// One roll-out with its containers.
#[utoipa::path(
    get, path = "/api/containers/rollouts/{id}", tag = "updates",
    params(("id" = i64, Path, description = "number of the roll-out")),
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn get(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = id_or(&id, Code::RolloutNotFound)?;
    Ok(Json(body::rollout(&state.updates.rollout(id).await?, true)))
}

async fn change(
    state: &HttpState,
    caller: &Caller,
    id: &str,
    deed: RolloutDeed,
) -> Result<Json<Value>, Problem> {
    let id = id_or(id, Code::RolloutNotFound)?;
    let by = &caller.principal.username;
    let kept = state.updates.change_rollout(id, deed, by).await?;
    Ok(Json(body::rollout(&kept, true)))
}

/// Stops a roll-out for a while; what was begun goes on to its own end.
#[utoipa::path(
    post, path = "/api/containers/rollouts/{id}/pause", tag = "updates",
    params(("id" = i64, Path, description = "number of the roll-out")),
    request_body(content = Option<Object>, content_type = "application/json"),
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn pause(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    _nothing: Optional<NoFields>,
) -> Result<Json<Value>, Problem> {
    change(&state, &caller, &id, RolloutDeed::Pause).await
}

/// Lets a roll-out go on that was paused, or that stopped because it did harm.
#[utoipa::path(
    post, path = "/api/containers/rollouts/{id}/resume", tag = "updates",
    params(("id" = i64, Path, description = "number of the roll-out")),
    request_body(content = Option<Object>, content_type = "application/json"),
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn resume(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    _nothing: Optional<NoFields>,
) -> Result<Json<Value>, Problem> {
    change(&state, &caller, &id, RolloutDeed::Resume).await
}

/// Ends a roll-out; what was begun goes on to its own end.
#[utoipa::path(
    post, path = "/api/containers/rollouts/{id}/abort", tag = "updates",
    params(("id" = i64, Path, description = "number of the roll-out")),
    request_body(content = Option<Object>, content_type = "application/json"),
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn abort(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    _nothing: Optional<NoFields>,
) -> Result<Json<Value>, Problem> {
    change(&state, &caller, &id, RolloutDeed::Abort).await
}
