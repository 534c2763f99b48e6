//! Commands to agents: asking for one, and following what becomes of it.

pub(super) mod events;

use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use muster_model::{CommandState, Verb};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;
use utoipa::ToSchema;
use uuid::Uuid;

use super::HttpState;
use super::access::{Caller, Told};
use super::error::{Code, Problem, ProblemBody};
use super::extract::{Json, List, NoFields, Optional, Path, Query, page_request, rfc3339};
use super::servers::server_id;
use crate::app::commands::{
    CancelError, CommandQuery, CommandRow, IssueError, IssueOptions, Issuer, KeyView,
};

/// Which commands.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    server_id: Option<String>,
    state: Option<String>,
    verb: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// What is to be done: a verb with its own fields, and how long it may wait for the agent.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(title = "NewCommand")]
pub(super) struct NewCommandBody {
    /// `container_start`, `container_stop`, `container_restart`, `container_pause`, `container_unpause`,
    /// `container_remove`, `container_logs`, `container_update`, `container_rollback`, `image_prune` or `pool_scrub`.
    verb: String,
    /// For how many seconds the command may wait for its agent; ten minutes if not given.
    ttl_s: Option<u64>,
    /// The verb's own fields: `target` with `runtime` and `name`, and the others of the verb.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    rest: Map<String, Value>,
}

/// A command.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Command")]
pub(super) struct CommandBody {
    /// Its id.
    id: String,
    /// The server it is for.
    server_id: i64,
    /// The server's agent when it was issued.
    agent_id: String,
    /// What is to be done, such as `container.start`.
    verb: &'static str,
    /// What is to be done, with everything that belongs to it.
    #[schema(value_type = Object)]
    command: Value,
    /// Who asked.
    issuer: String,
    /// `pending`, `received`, `started`, `succeeded`, `refused`, `failed`, `expired`, `cancelled` or `unknown`.
    state: &'static str,
    /// Progress from 0 to 1; null if it cannot be told.
    progress: Option<f64>,
    /// The step that is being done; empty if there is none.
    step: String,
    /// What is being done, or why it was refused or failed.
    message: String,
    /// A stable word for why it was refused or did not succeed; empty if there is none.
    reason: String,
    /// What came of it.
    #[schema(value_type = Option<Object>)]
    result: Option<Value>,
    /// When it was asked for.
    created_at: String,
    /// When it is not begun any more.
    expires_at: String,
    /// When it was sent last; null if it was not yet.
    sent_at: Option<String>,
    /// When the agent had it, by its clock.
    received_at: Option<String>,
    /// When it was begun, by the agent's clock.
    started_at: Option<String>,
    /// When it was over.
    finished_at: Option<String>,
}

impl From<CommandRow> for CommandBody {
    fn from(row: CommandRow) -> Self {
        Self {
            id: row.id.to_string(),
            server_id: row.server.0,
            agent_id: row.agent.to_string(),
            verb: row.verb.name(),
            command: serde_json::to_value(&row.verb).unwrap_or_default(),
            issuer: row.issuer,
            state: row.state.as_str(),
            progress: row.progress,
            step: row.step,
            message: row.message,
            reason: row.reason,
            result: row.result,
            created_at: rfc3339(row.created_ms),
            expires_at: rfc3339(row.expires_ms),
            sent_at: row.sent_ms.map(rfc3339),
            received_at: row.received_ms.map(rfc3339),
            started_at: row.started_ms.map(rfc3339),
            finished_at: row.finished_ms.map(rfc3339),
        }
    }
}

impl NewCommandBody {
    /// The verb; a field that it does not have is a mistake, because one that does nothing is worse.
    fn verb(self) -> Result<Verb, Problem> {
        let mut fields = self.rest;
        fields.insert("verb".to_owned(), Value::String(self.verb));
        let given = Value::Object(fields);
        let verb: Verb = serde_json::from_value(given.clone())
            .map_err(|error| Problem::new(Code::InvalidBody, error.to_string()))?;
        let known = serde_json::to_value(&verb).unwrap_or_default();
        if let Some(field) = unknown(&given, &known) {
            return Err(Problem::new(
                Code::InvalidBody,
                format!("there is no field {field}"),
            ));
        }
        match verb {
            Verb::Cancel { .. } => Err(Problem::new(
                Code::InvalidBody,
                "a command is cancelled with POST /api/commands/{id}/cancel",
            )),
            verb => Ok(verb),
        }
    }
}

/// A field that was given and is not known.
fn unknown(given: &Value, known: &Value) -> Option<String> {
    let given = given.as_object()?;
    given.iter().find_map(|(name, value)| match known.get(name) {
        None => Some(name.clone()),
        Some(known) => unknown(value, known).map(|inner| format!("{name}.{inner}")),
    })
}

fn command_id(text: &str) -> Result<Uuid, Problem> {
    Uuid::parse_str(text).map_err(|_| no_command(text))
}

fn no_command(id: impl std::fmt::Display) -> Problem {
    Problem::new(Code::CommandNotFound, format!("there is no command {id}"))
}

impl From<IssueError> for Problem {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::NoServer(id) => Self::no_server(id.0),
            IssueError::NoAgent => {
                Self::new(Code::NoAgent, "enrol one, or look at what became of its identity")
            }
            IssueError::TooMany => Self::new(Code::LimitReached, error.to_string()),
            IssueError::Invalid(why) => Self::new(Code::InvalidBody, why),
            error @ IssueError::Store(_) => Self::internal(&error),
        }
    }
}

impl From<CancelError> for Problem {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::NotFound(id) => no_command(id),
            CancelError::Over(_) => Self::new(Code::CommandOver, error.to_string()),
            CancelError::Issue(error) => error.into(),
            error @ CancelError::Store(_) => Self::internal(&error),
        }
    }
}

/// Asks the server's agent to do something; its own policy decides whether it will. The answer is the command, which is
/// to be followed.
#[utoipa::path(
    post, path = "/api/infrastructure/servers/{id}/commands", tag = "commands",
    params(("id" = i64, Path, description = "id of the server")),
    request_body = NewCommandBody,
    responses(
        (status = 202, body = CommandBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Json(body): Json<NewCommandBody>,
) -> Result<impl IntoResponse, Problem> {
    let options = IssueOptions {
        ttl: body.ttl_s.map(Duration::from_secs),
        ..IssueOptions::default()
    };
    let verb = body.verb()?;
    let issuer = Issuer::of(&caller.principal);
    let commands = state.app.commands();
    let server = server_id(&id)?;
    let issuing = commands.issue(server, verb.clone(), &issuer, options);
    let row = state.updates.unless_frozen(&verb, issuing).await??;
    Ok(answer(row))
}

/// Commands, the newest first.
#[utoipa::path(
    get, path = "/api/commands", tag = "commands",
    params(
        ("server_id" = Option<i64>, Query, description = "only to this server"),
        ("state" = Option<String>, Query, description = "only in this state"),
        ("verb" = Option<String>, Query, description = "only of this verb, such as container.start"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "at most this many; 100 if not given"),
        ("cursor" = Option<String>, Query, description = "what the last answer gave in next"),
    ),
    responses(
        (status = 200, body = List<CommandBody>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    Query(query): Query<ListQuery>,
) -> Result<Json<List<CommandBody>>, Problem> {
    let request = page_request(query.limit.as_deref(), query.cursor.as_deref())?;
    let wanted = |word: &str| {
        let found = CommandState::ALL.into_iter().find(|state| state.as_str() == word);
        found.ok_or_else(|| Problem::parameter("state", "there is no such state"))
    };
    if query
        .verb
        .as_deref()
        .is_some_and(|verb| !Verb::NAMES.contains(&verb))
    {
        return Err(Problem::parameter("verb", "there is no such verb"));
    }
    let server = query.server_id.as_deref().map(|id| {
        let id = id.parse().map(muster_base::id::ServerId);
        id.map_err(|_| Problem::parameter("server_id", "it is not the id of a server"))
    });
    let filter = CommandQuery {
        server: server.transpose()?,
        state: query.state.as_deref().map(wanted).transpose()?,
        verb: query.verb,
    };
    let page = state.app.commands().list(filter, request).await?;
    Ok(Json(List::of(page, CommandBody::from)))
}

/// One command.
#[utoipa::path(
    get, path = "/api/commands/{id}", tag = "commands",
    params(("id" = String, Path, description = "id of the command")),
    responses(
        (status = 200, body = CommandBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<CommandBody>, Problem> {
    let id = command_id(&id)?;
    let found = state
        .app
        .commands()
        .get(id)
        .await
        .map_err(|error| Problem::internal(&error))?;
    Ok(Json(found.ok_or_else(|| no_command(id))?.into()))
}

/// Ends a command: at once if it was not sent yet, else as far as the agent still can. The answer is the command itself
/// in the first case, and in the second the one that cancels it.
#[utoipa::path(
    post, path = "/api/commands/{id}/cancel", tag = "commands",
    params(("id" = String, Path, description = "id of the command")),
    responses(
        (status = 202, body = CommandBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn cancel(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let issuer = Issuer::of(&caller.principal);
    let row = state.app.commands().cancel(command_id(&id)?, &issuer).await?;
    Ok(answer(row))
}

/// The key that signs commands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "CommandKey")]
pub(super) struct KeyBody {
    /// Its name: the first 16 hexadecimal digits of its SHA-256.
    key_id: String,
    /// When it took the place of another; null if it is the first.
    since: Option<String>,
}

impl From<KeyView> for KeyBody {
    fn from(view: KeyView) -> Self {
        Self {
            key_id: view.id,
            since: view.since_ms.map(rfc3339),
        }
    }
}

/// Which key signs commands.
#[utoipa::path(
    get, path = "/api/commands/key", tag = "commands", operation_id = "command_key",
    responses(
        (status = 200, body = KeyBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn key(State(state): State<HttpState>) -> Json<KeyBody> {
    Json(state.app.commands().key().into())
}

/// Has another key sign commands from now on. Agents take it, signed by the one before and by a root that they trust, at
/// once or when they are back, and refuse the one before from then on.
#[utoipa::path(
    post, path = "/api/commands/rotate-key", tag = "commands", operation_id = "rotate_command_key",
    request_body(content = Option<Object>, content_type = "application/json"),
    responses(
        (status = 200, body = KeyBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn rotate_key(
    State(state): State<HttpState>,
    _nothing: Optional<NoFields>,
) -> Result<(Extension<Told>, Json<KeyBody>), Problem> {
    let rotated = state.app.commands().rotate_key().await;
    let (before, after) = rotated.map_err(|error| Problem::internal(&error))?;
    let told = format!("{} in the place of {}", after.id, before.id);
    Ok((Extension(Told(told)), Json(after.into())))
}

fn answer(row: CommandRow) -> impl IntoResponse {
    let told = Told(format!("{}, command {}", row.verb.name(), row.id));
    let location = format!("/api/commands/{}", row.id);
    (
        StatusCode::ACCEPTED,
        [(header::LOCATION, location)],
        Extension(told),
        Json(CommandBody::from(row)),
    )
}
