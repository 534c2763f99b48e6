//! Servers: list, create, read, change, delete.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use muster_base::id::ServerId;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::HttpState;
use super::access::Caller;
use super::error::{Code, Problem, ProblemBody};
use super::extract::{Json, List, Path, Query, id_or, page_request, rfc3339};
use crate::app::servers::{CreatedServer, NewServer, ServerFilter, ServerPatch, ServerView};
use crate::app::{Page, PageRequest};

/// A server.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Server")]
pub(super) struct ServerBody {
    /// Its id.
    #[schema(example = 1)]
    id: i64,
    /// The name people gave it; need not be unique.
    hostname: String,
    /// Address, if someone wrote one down.
    ip_address: Option<String>,
    /// Port of its SSH daemon.
    ssh_port: u16,
    /// Account on it.
    username: Option<String>,
    /// SSH key to use.
    ssh_key_id: Option<i64>,
    /// Credential to use.
    credential_id: Option<i64>,
    /// `online`, `late`, `offline`, `never_seen`, `failing` or `disabled`.
    status: &'static str,
    /// Whether it is monitored; if not it only sends heartbeats.
    monitoring_enabled: bool,
    /// When it was last heard.
    last_seen: Option<String>,
    /// What fails, if something does.
    last_error: Option<String>,
    /// Free text.
    description: Option<String>,
    /// Tags.
    tags: Vec<String>,
    /// Seconds between collections, if someone set them.
    collection_interval: Option<u32>,
    /// Its agent's identity, if it has a valid one.
    agent_id: Option<String>,
    /// Version of its agent.
    agent_version: Option<String>,
    /// How many devices it has.
    device_count: u64,
    /// How many pools it has.
    pool_count: u64,
    /// How many databases it has.
    database_count: u64,
    /// When it was created.
    created_at: String,
    /// When it was last changed.
    updated_at: String,
}

impl From<ServerView> for ServerBody {
    fn from(view: ServerView) -> Self {
        Self {
            id: view.id.0,
            hostname: view.hostname,
            ip_address: view.ip_address,
            ssh_port: view.ssh_port,
            username: view.username,
            ssh_key_id: view.ssh_key_id,
            credential_id: view.credential_id,
            status: view.status.as_str(),
            monitoring_enabled: view.monitoring_enabled,
            last_seen: view.last_seen_ms.map(rfc3339),
            last_error: view.last_error,
            description: view.description,
            tags: view.tags,
            collection_interval: view.collection_interval,
            agent_id: view.agent_id.map(|id| id.to_string()),
            agent_version: view.agent_version,
            device_count: view.device_count,
            pool_count: view.pool_count,
            database_count: view.database_count,
            created_at: rfc3339(view.created_ms),
            updated_at: rfc3339(view.updated_ms),
        }
    }
}

/// A server that was just created, with what its agent needs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "CreatedServer")]
pub(super) struct CreatedBody {
    /// The server.
    #[serde(flatten)]
    server: ServerBody,
    /// The enrolment token bound to it; shown this once.
    enrolment_token: String,
    /// When the token ends.
    enrolment_token_expires_at: String,
    /// What to type on the server to enrol its agent; contains the token.
    install_command: String,
}

impl From<CreatedServer> for CreatedBody {
    fn from(created: CreatedServer) -> Self {
        Self {
            server: created.server.into(),
            enrolment_token: created.token.text,
            enrolment_token_expires_at: rfc3339(created.token.expires_ms),
            install_command: created.install_command,
        }
    }
}

/// Tags as an array, or as one text with commas.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum Tags {
    /// `["web", "prod"]`
    List(Vec<String>),
    /// `"web,prod"`
    Text(String),
}

impl Tags {
    fn into_list(self) -> Vec<String> {
        match self {
            Self::List(tags) => tags,
            Self::Text(text) => text
                .split(',')
                .map(str::trim)
                .filter(|tag| !tag.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    }
}

/// A server to be created.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object that describes a server")]
#[schema(title = "NewServer")]
pub(super) struct NewBody {
    /// Its name, 1 to 255 bytes.
    #[schema(example = "test-server")]
    hostname: String,
    /// Its address; a note for people, nothing connects to it.
    #[schema(example = "192.168.1.100")]
    ip_address: Option<String>,
    /// Port of its SSH daemon; 22 if not given.
    ssh_port: Option<u16>,
    /// Account on it.
    #[schema(example = "matthew")]
    username: Option<String>,
    /// SSH key to use.
    ssh_key_id: Option<i64>,
    /// Credential to use.
    credential_id: Option<i64>,
    /// Free text.
    description: Option<String>,
    /// Tags, as an array or as one text with commas.
    tags: Option<Tags>,
    /// Whether it is monitored; yes if not given.
    monitoring_enabled: Option<bool>,
    /// Seconds between collections.
    collection_interval: Option<u32>,
}

impl From<NewBody> for NewServer {
    fn from(body: NewBody) -> Self {
        Self {
            hostname: body.hostname,
            ip_address: body.ip_address,
            ssh_port: body.ssh_port,
            username: body.username,
            ssh_key_id: body.ssh_key_id,
            credential_id: body.credential_id,
            description: body.description,
            tags: body.tags.map(Tags::into_list).unwrap_or_default(),
            monitoring_enabled: body.monitoring_enabled,
            collection_interval: body.collection_interval,
        }
    }
}

/// Changes to a server: what is absent stays, what is null is emptied.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object that says what is to change")]
#[schema(title = "ServerPatch")]
pub(super) struct PatchBody {
    /// Its name.
    hostname: Option<String>,
    /// Its address.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    ip_address: Option<Option<String>>,
    /// Port of its SSH daemon.
    ssh_port: Option<u16>,
    /// Account on it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    username: Option<Option<String>>,
    /// SSH key to use.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i64>)]
    ssh_key_id: Option<Option<i64>>,
    /// Credential to use.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i64>)]
    credential_id: Option<Option<i64>>,
    /// Free text.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    description: Option<Option<String>>,
    /// Tags, as an array or as one text with commas; null empties them.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Tags>)]
    tags: Option<Option<Tags>>,
    /// Whether it is monitored.
    monitoring_enabled: Option<bool>,
    /// Seconds between collections.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u32>)]
    collection_interval: Option<Option<u32>>,
}

/// Tells null from absent: this is only called when the field is there.
fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

impl From<PatchBody> for ServerPatch {
    fn from(body: PatchBody) -> Self {
        Self {
            hostname: body.hostname,
            ip_address: body.ip_address,
            ssh_port: body.ssh_port,
            username: body.username,
            ssh_key_id: body.ssh_key_id,
            credential_id: body.credential_id,
            description: body.description,
            tags: body
                .tags
                .map(|tags| tags.map(Tags::into_list).unwrap_or_default()),
            monitoring_enabled: body.monitoring_enabled,
            collection_interval: body.collection_interval,
        }
    }
}

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
    let monitoring_enabled = match query.monitoring_enabled.as_deref() {
        None => None,
        Some("true" | "1") => Some(true),
        Some("false" | "0") => Some(false),
        Some(_) => {
            return Err(Problem::parameter(
                "monitoring_enabled",
                "true or false is needed",
            ));
        }
    };
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
