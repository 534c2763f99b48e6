//! Update policies, the windows they wait for, the freeze switch, and digests that did harm.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use muster_update::{PolicyBody, WindowBody};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body;
use crate::http::HttpState;
use crate::http::access::{Caller, Told};
use crate::http::error::{Code, Problem, ProblemBody};
use crate::http::extract::{Created, Json, List, Path, Query, flag, id_or, rfc3339};

/// Which ones are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct EnabledQuery {
    enabled: Option<String>,
}

fn all(items: Vec<Value>) -> Json<List<Value>> {
    Json(List {
        total: items.len() as u64,
        items,
        next: None,
    })
}

fn created(path: &str, body: Value) -> Created<Value> {
    Created {
        location: format!("/api/containers/{path}/{}", body["id"]),
        told: body["name"].as_str().unwrap_or_default().to_owned(),
        body,
    }
}

/// Every update policy.
#[utoipa::path(
    get, path = "/api/containers/policies", tag = "updates",
    params(("enabled" = Option<bool>, Query, description = "only those that are (not) enabled")),
    responses(
        (status = 200, body = List<Object>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn policies(
    State(state): State<HttpState>,
    Query(query): Query<EnabledQuery>,
) -> Result<Json<List<Value>>, Problem> {
    let enabled = flag("enabled", query.enabled.as_deref())?;
    let kept = state.updates.kept_policies().await?;
    let wanted = kept
        .iter()
        .filter(|kept| enabled.is_none_or(|enabled| kept.document.is_enabled() == enabled));
    Ok(all(wanted.map(body::policy).collect()))
}

/// Makes a update policy.
#[utoipa::path(
    post, path = "/api/containers/policies", tag = "updates",
    request_body = Object,
    responses(
        (status = 201, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn create_policy(
    State(state): State<HttpState>,
    caller: Caller,
    Json(body): Json<PolicyBody>,
) -> Result<Created<Value>, Problem> {
    let kept = state
        .updates
        .put_policy(None, body, &caller.principal.username)
        .await?;
    Ok(created("policies", body::policy(&kept)))
}

/// One update policy.
#[utoipa::path(
    get, path = "/api/containers/policies/{id}", tag = "updates",
    params(("id" = i64, Path, description = "number of the update policy")),
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn policy(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = id_or(&id, Code::UpdatePolicyNotFound)?;
    let kept = state.updates.kept_policies().await?;
    let found = kept.iter().find(|kept| kept.document.id == id);
    let found = found.ok_or_else(|| {
        Problem::new(
            Code::UpdatePolicyNotFound,
            format!("there is no update policy {id}"),
        )
    })?;
    Ok(Json(body::policy(found)))
}

/// Puts another in the place of a update policy.
#[utoipa::path(
    put, path = "/api/containers/policies/{id}", tag = "updates",
    params(("id" = i64, Path, description = "number of the update policy")),
    request_body = Object,
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn put_policy(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Json(body): Json<PolicyBody>,
) -> Result<Json<Value>, Problem> {
    let id = id_or(&id, Code::UpdatePolicyNotFound)?;
    let kept = state
        .updates
        .put_policy(Some(id), body, &caller.principal.username)
        .await?;
    Ok(Json(body::policy(&kept)))
}

/// Deletes a update policy.
#[utoipa::path(
    delete, path = "/api/containers/policies/{id}", tag = "updates",
    params(("id" = i64, Path, description = "number of the update policy")),
    responses(
        (status = 204),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn delete_policy(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = id_or(&id, Code::UpdatePolicyNotFound)?;
    state.updates.delete_policy(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Every maintenance window.
#[utoipa::path(
    get, path = "/api/containers/windows", tag = "updates",
    params(("enabled" = Option<bool>, Query, description = "only those that are (not) enabled")),
    responses(
        (status = 200, body = List<Object>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn windows(
    State(state): State<HttpState>,
    Query(query): Query<EnabledQuery>,
) -> Result<Json<List<Value>>, Problem> {
    let enabled = flag("enabled", query.enabled.as_deref())?;
    let kept = state.updates.kept_windows().await?;
    let wanted = kept
        .iter()
        .filter(|kept| enabled.is_none_or(|enabled| kept.document.is_enabled() == enabled));
    Ok(all(wanted.map(body::window).collect()))
}

/// Makes a maintenance window.
#[utoipa::path(
    post, path = "/api/containers/windows", tag = "updates",
    request_body = Object,
    responses(
        (status = 201, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn create_window(
    State(state): State<HttpState>,
    caller: Caller,
    Json(body): Json<WindowBody>,
) -> Result<Created<Value>, Problem> {
    let kept = state
        .updates
        .put_window(None, body, &caller.principal.username)
        .await?;
    Ok(created("windows", body::window(&kept)))
}

/// One maintenance window.
#[utoipa::path(
    get, path = "/api/containers/windows/{id}", tag = "updates",
    params(("id" = i64, Path, description = "number of the maintenance window")),
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn window(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = id_or(&id, Code::WindowNotFound)?;
    let kept = state.updates.kept_windows().await?;
    let found = kept.iter().find(|kept| kept.document.id == id);
    let found = found.ok_or_else(|| {
        Problem::new(
            Code::WindowNotFound,
            format!("there is no maintenance window {id}"),
        )
    })?;
    Ok(Json(body::window(found)))
}

/// Puts another in the place of a maintenance window.
#[utoipa::path(
    put, path = "/api/containers/windows/{id}", tag = "updates",
    params(("id" = i64, Path, description = "number of the maintenance window")),
    request_body = Object,
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn put_window(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Json(body): Json<WindowBody>,
) -> Result<Json<Value>, Problem> {
    let id = id_or(&id, Code::WindowNotFound)?;
    let kept = state
        .updates
        .put_window(Some(id), body, &caller.principal.username)
        .await?;
    Ok(Json(body::window(&kept)))
}

/// Deletes a maintenance window.
#[utoipa::path(
    delete, path = "/api/containers/windows/{id}", tag = "updates",
    params(("id" = i64, Path, description = "number of the maintenance window")),
    responses(
        (status = 204),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn delete_window(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = id_or(&id, Code::WindowNotFound)?;
    state.updates.delete_window(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The freeze switch.
#[utoipa::path(
    get, path = "/api/containers/freeze", tag = "updates",
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn freeze(State(state): State<HttpState>) -> Result<Json<Value>, Problem> {
    Ok(Json(body::freeze(&state.updates.freeze().await?)))
}

/// How the switch is to be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct FreezeBody {
    frozen: bool,
    #[serde(default)]
    reason: String,
}

/// Sets the freeze switch: while it is on, nothing is begun that changes a container. What was begun goes on to its own end.
#[utoipa::path(
    put, path = "/api/containers/freeze", tag = "updates",
    request_body = Object,
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn set_freeze(
    State(state): State<HttpState>,
    caller: Caller,
    Json(body): Json<FreezeBody>,
) -> Result<(Extension<Told>, Json<Value>), Problem> {
    let freeze = state
        .updates
        .set_freeze(body.frozen, &body.reason, &caller.principal.username)
        .await?;
    let told = Told(if freeze.frozen { "on" } else { "off" }.to_owned());
    Ok((Extension(told), Json(body::freeze(&freeze))))
}

/// Images that did harm, and are begun nowhere.
#[utoipa::path(
    get, path = "/api/containers/bad-digests", tag = "updates",
    responses(
        (status = 200, body = List<Object>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn bad_digests(
    State(state): State<HttpState>,
) -> Result<Json<List<Value>>, Problem> {
    let rows = state.updates.bad_digests().await?;
    let items = rows.into_iter().map(|(digest, mut body, created_ms)| {
        body["digest"] = json!(digest);
        body["created_at"] = json!(rfc3339(created_ms));
        body
    });
    Ok(all(items.collect()))
}

/// Which digest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ForgiveBody {
    digest: String,
}

/// Gives an image another chance.
#[utoipa::path(
    post, path = "/api/containers/bad-digests/forgive", tag = "updates",
    request_body = Object,
    responses(
        (status = 204),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn forgive(
    State(state): State<HttpState>,
    Json(body): Json<ForgiveBody>,
) -> Result<StatusCode, Problem> {
    state.updates.forgive(&body.digest).await?;
    Ok(StatusCode::NO_CONTENT)
}
