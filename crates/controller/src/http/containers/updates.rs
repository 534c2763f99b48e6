//! What containers could be updated to, what people make of it, and what became of it.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderName};
use muster_base::id::ServerId;
use serde::Deserialize;
use serde_json::Value;

use super::acts::{Issued, issued};
use super::body;
use crate::http::HttpState;
use crate::http::access::{Caller, Told};
use crate::http::error::{Code, Problem, ProblemBody};
use crate::http::extract::{Json, List, NoFields, Optional, Path, Query, flag, id_or, page_request};
use crate::update::{HistoryFilter, UpdateFilter, UpdateState};

/// Which updates are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct UpdatesQuery {
    state: Option<String>,
    server_id: Option<i64>,
    container_id: Option<i64>,
    limit: Option<String>,
    cursor: Option<String>,
}

fn state_of(name: &str, word: Option<&str>) -> Result<Option<UpdateState>, Problem> {
    let parse = |word| {
        let known = UpdateState::ALL.map(UpdateState::as_str).join(", ");
        UpdateState::from_word(word)
            .ok_or_else(|| Problem::parameter(name, format!("one of {known} is needed")))
    };
    word.map(parse).transpose()
}

/// What containers could be updated to, or were.
#[utoipa::path(
    get, path = "/api/containers/updates", tag = "updates",
    params(("state" = Option<String>, Query, description = "pending, approved, rejected, in_progress, completed, failed, rolled_back or unknown"), ("server_id" = Option<i64>, Query, description = "only of this server"), ("container_id" = Option<i64>, Query, description = "only of this container"), ("limit" = Option<u32>, Query, description = "1 to 1000, 100 if absent"), ("cursor" = Option<String>, Query, description = "next of the answer before")),
    responses(
        (status = 200, body = List<Object>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn list(
    State(state): State<HttpState>,
    Query(query): Query<UpdatesQuery>,
) -> Result<Json<List<Value>>, Problem> {
    let filter = UpdateFilter {
        state: state_of("state", query.state.as_deref())?,
        server: query.server_id,
        container: query.container_id,
    };
    let wanted = page_request(query.limit.as_deref(), query.cursor.as_deref())?;
    let page = state.updates.list(filter, wanted).await?;
    Ok(Json(List::of(page, |update| body::update(&update))))
}

/// One update.
#[utoipa::path(
    get, path = "/api/containers/updates/{id}", tag = "updates",
    params(("id" = i64, Path, description = "number of the update")),
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn get(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = id_or(&id, Code::UpdateNotFound)?;
    Ok(Json(body::update(&state.updates.update(id).await?)))
}

/// Of which containers.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::http) struct CheckBody {
    server_id: Option<i64>,
    container_id: Option<i64>,
}

/// Has registries asked now, about all containers, those of a server (`server_id`), or one (`container_id`); each image once, whatever runs it. Answers at once: how far it is says the same path.
#[utoipa::path(
    post, path = "/api/containers/updates/check", tag = "updates",
    request_body(content = Option<Object>, content_type = "application/json"),
    responses(
        (status = 202, body = Object, description = "the round that was begun, or goes on already"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn check(
    State(state): State<HttpState>,
    Optional(read): Optional<CheckBody>,
) -> Result<(StatusCode, [(HeaderName, &'static str); 1], Json<Value>), Problem> {
    let round = state
        .updates
        .start_check(read.server_id.map(ServerId), read.container_id)
        .await?;
    let location = [(header::LOCATION, "/api/containers/updates/check")];
    Ok((StatusCode::ACCEPTED, location, Json(body::check_round(&round))))
}

/// How far the round of asking registries is that somebody wanted, or how the last one went.
#[utoipa::path(
    get, path = "/api/containers/updates/check", tag = "updates", operation_id = "check_round",
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn check_round(State(state): State<HttpState>) -> Json<Value> {
    Json(body::check_round(&state.updates.check_round()))
}

/// Whether it is only said what would be done.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ExecuteQuery {
    dry_run: Option<String>,
}

/// Begins an update now: neither approval, age nor window counts, everything else does. With `dry_run` the agent only says what it would do.
#[utoipa::path(
    post, path = "/api/containers/updates/{id}/execute", tag = "updates",
    params(("id" = i64, Path, description = "number of the update"), ("dry_run" = Option<bool>, Query, description = "only say what would be done")),
    request_body(content = Option<Object>, content_type = "application/json"),
    responses(
        (status = 202, body = Object, description = "the command that was issued"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn execute(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<ExecuteQuery>,
    _nothing: Optional<NoFields>,
) -> Result<Issued, Problem> {
    let id = id_or(&id, Code::UpdateNotFound)?;
    let by = &caller.principal.username;
    if flag("dry_run", query.dry_run.as_deref())? == Some(true) {
        let update = state.updates.update(id).await?;
        let command = state.updates.rehearse(id, by).await?;
        return Ok(issued(update.container_id, command));
    }
    Ok(begun(&state.updates.execute(id, by).await?))
}

fn begun(update: &crate::update::Update) -> Issued {
    let told = format!("update {} of container {}", update.id, update.container_id);
    (
        StatusCode::ACCEPTED,
        Extension(Told(told)),
        Json(body::update(update)),
    )
}

/// What somebody has to say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::http) struct NoteBody {
    note: Option<String>,
}

/// Approves an update: it begins when its window, age and holds let it.
#[utoipa::path(
    post, path = "/api/containers/updates/{id}/approve", tag = "updates",
    params(("id" = i64, Path, description = "number of the update")),
    request_body(content = Option<Object>, content_type = "application/json"),
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn approve(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Optional(read): Optional<NoteBody>,
) -> Result<Json<Value>, Problem> {
    let id = id_or(&id, Code::UpdateNotFound)?;
    let update = state
        .updates
        .approve(id, read.note, &caller.principal.username)
        .await?;
    Ok(Json(body::update(&update)))
}

/// Rejects an update: it is not begun by itself.
#[utoipa::path(
    post, path = "/api/containers/updates/{id}/reject", tag = "updates",
    params(("id" = i64, Path, description = "number of the update")),
    request_body(content = Option<Object>, content_type = "application/json"),
    responses(
        (status = 200, body = Object),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn reject(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Optional(read): Optional<NoteBody>,
) -> Result<Json<Value>, Problem> {
    let id = id_or(&id, Code::UpdateNotFound)?;
    let update = state
        .updates
        .reject(id, read.note, &caller.principal.username)
        .await?;
    Ok(Json(body::update(&update)))
}

/// Has a container go back to what a completed update replaced.
#[utoipa::path(
    post, path = "/api/containers/updates/{id}/rollback", tag = "updates",
    params(("id" = i64, Path, description = "number of the update")),
    request_body(content = Option<Object>, content_type = "application/json"),
    responses(
        (status = 202, body = Object, description = "the command that was issued"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn rollback(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    _nothing: Optional<NoFields>,
) -> Result<Issued, Problem> {
    let id = id_or(&id, Code::UpdateNotFound)?;
    Ok(begun(
        &state.updates.roll_back(id, &caller.principal.username).await?,
    ))
}

/// Which records are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct HistoryQuery {
    container_id: Option<i64>,
    server_id: Option<i64>,
    status: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// What became of updates, the newest first.
#[utoipa::path(
    get, path = "/api/containers/updates/history", tag = "updates",
    params(("container_id" = Option<i64>, Query, description = "only of this container"), ("server_id" = Option<i64>, Query, description = "only of this server"), ("status" = Option<String>, Query, description = "pending, approved, rejected, in_progress, completed, failed, rolled_back or unknown"), ("limit" = Option<u32>, Query, description = "1 to 1000, 100 if absent"), ("cursor" = Option<String>, Query, description = "next of the answer before")),
    responses(
        (status = 200, body = List<Object>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn history(
    State(state): State<HttpState>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<List<Value>>, Problem> {
    let filter = HistoryFilter {
        container: query.container_id,
        server: query.server_id,
        status: state_of("status", query.status.as_deref())?,
    };
    let wanted = page_request(query.limit.as_deref(), query.cursor.as_deref())?;
    let page = state.updates.history(filter, wanted).await?;
    Ok(Json(List::of(page, |record| body::history(&record))))
}

/// Which notices are wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NoticesQuery {
    container_id: Option<i64>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// What people were told of updates, the newest first.
#[utoipa::path(
    get, path = "/api/containers/notifications", tag = "updates",
    params(("container_id" = Option<i64>, Query, description = "only of this container"), ("limit" = Option<u32>, Query, description = "1 to 1000, 100 if absent"), ("cursor" = Option<String>, Query, description = "next of the answer before")),
    responses(
        (status = 200, body = List<Object>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn notices(
    State(state): State<HttpState>,
    Query(query): Query<NoticesQuery>,
) -> Result<Json<List<Value>>, Problem> {
    let wanted = page_request(query.limit.as_deref(), query.cursor.as_deref())?;
    let page = state.updates.notices(query.container_id, wanted).await?;
    Ok(Json(List::of(page, |notice| body::notice(&notice))))
}
