//! What is done with containers: starting, stopping, looking at logs. Each is a command to the agent, whose own policy
//! has the last word.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use muster_model::LogRange;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::body;
use crate::http::HttpState;
use crate::http::access::{Caller, Told};
use crate::http::error::{Code, Problem, ProblemBody};
use crate::http::extract::{Json, List, NoFields, Optional, Path, Query, id_or, rfc3339, time_ms};
use crate::update::{Deed, LogLines};

/// Lines of a log unless somebody says otherwise.
const TAIL_DEFAULT: u32 = 200;
/// Most lines of a log.
const TAIL_MAX: u32 = 10_000;

/// A command that was issued.
pub(super) type Issued = (StatusCode, Extension<Told>, Json<Value>);

pub(super) fn issued(container: i64, id: Uuid) -> Issued {
    let body = json!({"container_id": container, "command_id": id, "state": "pending"});
    (
        StatusCode::ACCEPTED,
        Extension(Told(format!("command {id}"))),
        Json(body),
    )
}

/// Nothing, or how long stopping may take.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::http) struct StopBody {
    timeout_s: Option<u32>,
}

/// Nothing, or whether it is removed while it runs.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::http) struct RemoveBody {
    force: bool,
}

/// Tells the agent.
async fn act(state: &HttpState, caller: &Caller, id: &str, deed: Deed) -> Result<Issued, Problem> {
    let id = id_or(id, Code::ContainerNotFound)?;
    let command = state.updates.act(id, deed, &caller.principal.username).await?;
    Ok(issued(id, command))
}

/// Starts a container.
#[utoipa::path(
    post, path = "/api/containers/{id}/start", tag = "containers",
    params(("id" = i64, Path, description = "number of the container")),
    request_body(content = Option<Object>, content_type = "application/json"),
    responses(
        (status = 202, body = Object, description = "the command that was issued"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn start(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    _nothing: Optional<NoFields>,
) -> Result<Issued, Problem> {
    act(&state, &caller, &id, Deed::Start).await
}

/// Stops a container; it is killed after `timeout_s` seconds, or after as many as it is configured with.
#[utoipa::path(
    post, path = "/api/containers/{id}/stop", tag = "containers",
    params(("id" = i64, Path, description = "number of the container")),
    request_body(content = Option<Object>, content_type = "application/json"),
    responses(
        (status = 202, body = Object, description = "the command that was issued"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn stop(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Optional(body): Optional<StopBody>,
) -> Result<Issued, Problem> {
    act(&state, &caller, &id, Deed::Stop(body.timeout_s)).await
}

/// Stops and starts a container.
#[utoipa::path(
    post, path = "/api/containers/{id}/restart", tag = "containers",
    params(("id" = i64, Path, description = "number of the container")),
    request_body(content = Option<Object>, content_type = "application/json"),
    responses(
        (status = 202, body = Object, description = "the command that was issued"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn restart(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Optional(body): Optional<StopBody>,
) -> Result<Issued, Problem> {
    act(&state, &caller, &id, Deed::Restart(body.timeout_s)).await
}

/// Freezes the processes of a container.
#[utoipa::path(
    post, path = "/api/containers/{id}/pause", tag = "containers",
    params(("id" = i64, Path, description = "number of the container")),
    request_body(content = Option<Object>, content_type = "application/json"),
    responses(
        (status = 202, body = Object, description = "the command that was issued"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn pause(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    _nothing: Optional<NoFields>,
) -> Result<Issued, Problem> {
    act(&state, &caller, &id, Deed::Pause).await
}

/// Lets the processes of a container go on.
#[utoipa::path(
    post, path = "/api/containers/{id}/unpause", tag = "containers",
    params(("id" = i64, Path, description = "number of the container")),
    request_body(content = Option<Object>, content_type = "application/json"),
    responses(
        (status = 202, body = Object, description = "the command that was issued"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn unpause(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    _nothing: Optional<NoFields>,
) -> Result<Issued, Problem> {
    act(&state, &caller, &id, Deed::Unpause).await
}

/// Removes a container that does not run, and never its volumes; with `force` also one that runs.
#[utoipa::path(
    post, path = "/api/containers/{id}/remove", tag = "containers",
    params(("id" = i64, Path, description = "number of the container")),
    request_body(content = Option<Object>, content_type = "application/json"),
    responses(
        (status = 202, body = Object, description = "the command that was issued"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn remove(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Optional(body): Optional<RemoveBody>,
) -> Result<Issued, Problem> {
    act(&state, &caller, &id, Deed::Remove(body.force)).await
}

/// Containers that are missing, what went last first, and those of which somebody said that they are meant to be gone.
#[utoipa::path(
    get, path = "/api/containers/missing", tag = "containers", operation_id = "missing_containers",
    responses(
        (status = 200, body = List<Object>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn missing(State(state): State<HttpState>) -> Result<Json<List<Value>>, Problem> {
    let missing = state.updates.missing_containers().await?;
    let names = state.app.server_names().await?;
    let items: Vec<Value> = missing
        .iter()
        .map(|missing| {
            let container = &missing.seen.container;
            let server = names.get(&missing.seen.server());
            let mut shown = body::forgotten(container.id, missing.forgotten.as_ref());
            shown["name"] = json!(container.name);
            shown["image"] = json!(container.image);
            shown["server_id"] = json!(container.server);
            shown["hostname"] = json!(server.map(|server| &server.hostname));
            shown["gone_at"] = json!(rfc3339(missing.gone_ms));
            shown
        })
        .collect();
    Ok(Json(List {
        total: items.len() as u64,
        items,
        next: None,
    }))
}

/// A container that is gone is meant to be: it is not missing any more, which ends its alert, until it comes back and goes
/// again.
#[utoipa::path(
    post, path = "/api/containers/{id}/forget", tag = "containers", operation_id = "forget_container",
    params(("id" = i64, Path, description = "number of the container")),
    request_body(content = Option<Object>, content_type = "application/json"),
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn forget(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    _nothing: Optional<NoFields>,
) -> Result<(Extension<Told>, Json<Value>), Problem> {
    let id = id_or(&id, Code::ContainerNotFound)?;
    let (seen, said) = state.updates.forget(id, &caller.principal.username).await?;
    // Series and alert end with the next look, which is now. Where nothing looks by itself, nothing was said either.
    let _ = state.tasks.run_now(crate::task::DISCOVER);
    let told = format!("{} on server {}", seen.container.name, seen.container.server);
    Ok((Extension(Told(told)), Json(body::forgotten(id, Some(&said)))))
}

/// Which lines are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct LogsQuery {
    tail: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

/// Lines of the log of a container, read by its agent; waits up to 20 s for them. Needs a local allow on the server.
#[utoipa::path(
    get, path = "/api/containers/{id}/logs", tag = "containers",
    params(("id" = i64, Path, description = "number of the container"), ("tail" = Option<u32>, Query, description = "the last so many lines; 200 if absent, at most 10000"), ("since" = Option<String>, Query, description = "RFC 3339 or Unix seconds"), ("until" = Option<String>, Query, description = "RFC 3339 or Unix seconds")),
    responses(
        (status = 200, body = Object),
        (status = 202, body = Object, description = "the command, which is not over yet"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn logs(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<LogsQuery>,
) -> Result<Issued, Problem> {
    let id = id_or(&id, Code::ContainerNotFound)?;
    let tail = match query.tail.as_deref() {
        None => TAIL_DEFAULT,
        Some(text) => text
            .parse()
            .ok()
            .filter(|tail| (1..=TAIL_MAX).contains(tail))
            .ok_or_else(|| Problem::parameter("tail", "a whole number from 1 to 10000 is needed"))?,
    };
    let time = |name, text: Option<String>| text.map(|text| time_ms(name, &text)).transpose();
    let range = LogRange {
        since_ms: time("since", query.since)?,
        until_ms: time("until", query.until)?,
        tail: Some(tail),
    };
    let (command, lines) = state.updates.logs(id, range, &caller.principal.username).await?;
    let LogLines::Over(status) = lines else {
        return Ok(issued(id, command));
    };
    let told = Extension(Told(format!("command {command}")));
    match body::log_lines(id, &status) {
        Ok(body) => Ok((StatusCode::OK, told, Json(body))),
        Err(why) => Err(Problem::new(Code::CommandFailed, why)),
    }
}
