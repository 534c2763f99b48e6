//! Container hosts: the runtimes that agents report.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body;
use crate::app::collect::CollectOutcome;
use crate::http::HttpState;
use crate::http::error::{Code, Problem, ProblemBody};
use crate::http::extract::{Json, List, Path, Query, flag, id_or};

/// Which hosts are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct HostsQuery {
    enabled: Option<String>,
    runtime_type: Option<String>,
}

/// Every container runtime of every server.
#[utoipa::path(
    get, path = "/api/containers/hosts", tag = "containers",
    params(("enabled" = Option<bool>, Query, description = "only those that are (not) enabled"), ("runtime_type" = Option<String>, Query, description = "docker or podman")),
    responses(
        (status = 200, body = List<Object>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn list(
    State(state): State<HttpState>,
    Query(query): Query<HostsQuery>,
) -> Result<Json<List<Value>>, Problem> {
    let enabled = flag("enabled", query.enabled.as_deref())?;
    let mut items = Vec::new();
    for runtime in state.updates.runtimes().await? {
        let shown = body::host(&state, &runtime.view).await?;
        let has_type = query
            .runtime_type
            .as_ref()
            .is_none_or(|word| shown["runtime_type"] == json!(word));
        if has_type && enabled.is_none_or(|enabled| shown["enabled"] == json!(enabled)) {
            items.push(shown);
        }
    }
    Ok(Json(List {
        total: items.len() as u64,
        items,
        next: None,
    }))
}

/// Refused with what to do: a runtime is a host as soon as an agent on its server reports it.
#[utoipa::path(
    post, path = "/api/containers/hosts", tag = "containers",
    request_body = Object,
    responses(
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "install an agent there"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn create(Json(_body): Json<Value>) -> Result<Json<Value>, Problem> {
    Err(Problem::field(
        "connection_string",
        "runtimes are not connected to from here: install an agent on their server (POST \
         /api/infrastructure/servers), and they are hosts as soon as it reports them",
    ))
}

/// One runtime.
#[utoipa::path(
    get, path = "/api/containers/hosts/{id}", tag = "containers",
    params(("id" = i64, Path, description = "number of the host")),
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn get(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = id_or(&id, Code::ContainerHostNotFound)?;
    let runtime = state.updates.runtime(id).await?;
    Ok(Json(body::host(&state, &runtime.view).await?))
}

/// What can be changed of a host; what is absent stays.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct HostChange {
    name: Option<String>,
    description: Option<String>,
    enabled: Option<bool>,
}

/// Changes what a host is called, and whether its containers may be updated (`enabled`).
#[utoipa::path(
    put, path = "/api/containers/hosts/{id}", tag = "containers",
    params(("id" = i64, Path, description = "number of the host")),
    request_body = Object,
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn put(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Json(change): Json<HostChange>,
) -> Result<Json<Value>, Problem> {
    let id = id_or(&id, Code::ContainerHostNotFound)?;
    let runtime = state
        .updates
        .change_host(id, change.name, change.description, change.enabled)
        .await?;
    Ok(Json(body::host(&state, &runtime.view).await?))
}

/// Refused while an agent reports the runtime, with what to do instead; one that is reported no more is not listed.
#[utoipa::path(
    delete, path = "/api/containers/hosts/{id}", tag = "containers",
    params(("id" = i64, Path, description = "number of the host")),
    responses(
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "it is reported"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn delete(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = id_or(&id, Code::ContainerHostNotFound)?;
    let runtime = state.updates.runtime(id).await?;
    Err(Problem::new(
        Code::WrongState,
        format!(
            "the agent of server {} reports it: set enabled to false, or take it out of that agent's settings",
            runtime.view.server
        ),
    ))
}

/// Has the agent of the host collect now, and waits up to 20 s.
#[utoipa::path(
    post, path = "/api/containers/hosts/{id}/sync", tag = "containers",
    params(("id" = i64, Path, description = "number of the host")),
    responses(
        (status = 200, body = Object),
        (status = 202, body = Object, description = "still running"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn sync(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let id = id_or(&id, Code::ContainerHostNotFound)?;
    let runtime = state.updates.runtime(id).await?;
    let (status, success, message) = match state.collect.collect_now(runtime.view.server).await {
        CollectOutcome::Done { success, message } => (StatusCode::OK, success, message),
        CollectOutcome::StillRunning => (
            StatusCode::ACCEPTED,
            false,
            "the collection is still running".to_owned(),
        ),
        CollectOutcome::NotConnected => {
            return Err(Problem::new(
                Code::AgentNotConnected,
                "the agent is not connected",
            ));
        }
    };
    if status == StatusCode::OK {
        state.updates.refresh().await?;
    }
    let body = json!({
        "host_id": id, "server_id": runtime.view.server, "success": success, "message": message,
    });
    Ok((status, Json(body)))
}

/// How many containers a host has, how many run, and for how many there is something new.
#[utoipa::path(
    get, path = "/api/containers/hosts/{id}/stats", tag = "containers",
    params(("id" = i64, Path, description = "number of the host")),
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn stats(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = id_or(&id, Code::ContainerHostNotFound)?;
    let runtime = state.updates.runtime(id).await?;
    let all = state.updates.containers(Some(runtime.view.server)).await?;
    let of_host: Vec<_> = all
        .into_iter()
        .filter(|seen| seen.target.runtime.as_str() == runtime.view.key)
        .collect();
    let known = state.updates.availability(&of_host).await?;
    let count = |wanted: Option<bool>| {
        known
            .values()
            .filter(|candidate| body::is_available(candidate) == wanted)
            .count()
    };
    let running = of_host
        .iter()
        .filter(|seen| body::status(seen) == "running")
        .count();
    Ok(Json(json!({
        "host_id": id,
        "total_containers": of_host.len(),
        "running_containers": running,
        "updates_available": count(Some(true)),
        "up_to_date": count(Some(false)),
        "unknown": count(None),
    })))
}
