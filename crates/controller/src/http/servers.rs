//! Servers: list, create, read, change, delete.

mod body;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use muster_base::id::ServerId;
use serde::Deserialize;

use super::HttpState;
use super::access::Caller;
use super::error::{Code, Problem, ProblemBody};
use super::extract::{Json, List, Path, Query, flag, id_or, page_request};
use crate::app::servers::{ServerFilter, ServerView};
use crate::app::{Page, PageRequest};
use body::{CreatedBody, NewBody, PatchBody, ServerBody};

/// Which servers are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    monitoring_enabled: Option<String>,
    status: Option<String>,
    hostname: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// Servers in order of their ids.
#[utoipa::path(
    get, path = "/api/infrastructure/servers", tag = "servers",
    params(
        ("monitoring_enabled" = Option<bool>, Query, description = "only those that are (not) monitored"),
        ("status" = Option<String>, Query, description = "only those with this status"),
        ("hostname" = Option<String>, Query, description = "only those with this name"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "at most this many; 100 if not given"),
        ("cursor" = Option<String>, Query, description = "what the last answer gave in next"),
    ),
    responses(
        (status = 200, body = List<ServerBody>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    Query(query): Query<ListQuery>,
) -> Result<Json<List<ServerBody>>, Problem> {
    let monitoring_enabled = flag("monitoring_enabled", query.monitoring_enabled.as_deref())?;
    if let Some(status) = &query.status
        && !STATUSES.contains(&status.as_str())
    {
        let known = STATUSES.join(", ");
        return Err(Problem::parameter("status", format!("one of {known} is needed")));
    }
    let request = page_request(query.limit.as_deref(), query.cursor.as_deref())?;
    let filter = ServerFilter { monitoring_enabled };
    let page = if query.status.is_none() && query.hostname.is_none() {
        state.app.servers(filter, request).await?
    } else {
        let keep = |server: &ServerView| {
            query
                .status
                .as_deref()
                .is_none_or(|status| status == server.status.as_str())
                && query
                    .hostname
                    .as_deref()
                    .is_none_or(|name| name == server.hostname)
        };
        filtered(&state, filter, request, keep).await?
    };
    Ok(Json(List::of(page, ServerBody::from)))
}

/// The words a status can be.
const STATUSES: [&str; 6] = ["online", "late", "offline", "never_seen", "failing", "disabled"];

/// A page of the servers that `keep` takes. A status is not in any table (it depends on the time), so all servers
/// are gone through; a fleet is thousands, not millions.
async fn filtered(
    state: &HttpState,
    filter: ServerFilter,
    request: PageRequest,
    keep: impl Fn(&ServerView) -> bool,
) -> Result<Page<ServerView>, Problem> {
    let after = match request.cursor.as_deref() {
        None => 0,
        Some(cursor) => cursor
            .parse::<i64>()
            .map_err(|_| Problem::parameter("cursor", "it is not one that an earlier answer gave in next"))?,
    };
    let limit =
        usize::try_from(request.limit.unwrap_or(crate::app::PAGE_LIMIT_DEFAULT)).unwrap_or(usize::MAX);
    let all: Vec<ServerView> = state
        .app
        .all_servers(filter)
        .await?
        .into_iter()
        .filter(keep)
        .collect();
    let total = u64::try_from(all.len()).unwrap_or(u64::MAX);
    let mut rest = all.into_iter().filter(|server| after < server.id.0);
    let items: Vec<ServerView> = rest.by_ref().take(limit).collect();
    let next = rest.next().and(items.last()).map(|last| last.id.0.to_string());
    Ok(Page { items, total, next })
}

/// Creates a server and an enrolment token bound to it.
#[utoipa::path(
    post, path = "/api/infrastructure/servers", tag = "servers",
    request_body = NewBody,
    responses(
        (status = 201, body = CreatedBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(state): State<HttpState>,
    caller: Caller,
    Json(body): Json<NewBody>,
) -> Result<impl IntoResponse, Problem> {
    let created = state
        .app
        .create_server(body.into(), &caller.principal.username)
        .await?;
    let location = format!("/api/infrastructure/servers/{}", created.server.id);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(CreatedBody::from(created)),
    ))
}

/// One server.
#[utoipa::path(
    get, path = "/api/infrastructure/servers/{id}", tag = "servers",
    params(("id" = i64, Path, description = "id of the server")),
    responses(
        (status = 200, body = ServerBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<ServerBody>, Problem> {
    let server = state.app.server(server_id(&id)?).await?;
    Ok(Json(server.into()))
}

/// Changes a server.
#[utoipa::path(
    patch, path = "/api/infrastructure/servers/{id}", tag = "servers",
    params(("id" = i64, Path, description = "id of the server")),
    request_body = PatchBody,
    responses(
        (status = 200, body = ServerBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn patch(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Json(body): Json<PatchBody>,
) -> Result<Json<ServerBody>, Problem> {
    let id = server_id(&id)?;
    let server = state
        .app
        .patch_server(id, body.into(), &caller.principal.username)
        .await?;
    Ok(Json(server.into()))
}

/// Deletes a server: its agent's identity is revoked; a tombstone and its history stay.
#[utoipa::path(
    delete, path = "/api/infrastructure/servers/{id}", tag = "servers",
    params(("id" = i64, Path, description = "id of the server")),
    responses(
        (status = 204),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    state
        .app
        .delete_server(server_id(&id)?, &caller.principal.username)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads the id of a server from the path.
pub(super) fn server_id(text: &str) -> Result<ServerId, Problem> {
    id_or(text, Code::ServerNotFound).map(ServerId)
}
