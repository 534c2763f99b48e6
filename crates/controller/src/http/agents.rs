//! Agents: which there are, and the decision about those that may not connect until somebody decides.

use axum::extract::State;
use axum::http::StatusCode;
use muster_base::id::{AgentId, ServerId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::HttpState;
use super::access::Caller;
use super::error::{Code, Problem, ProblemBody};
use super::extract::{Json, List, Path, Query, page_request, rfc3339};
use crate::app::enrolment::{AgentStatus, AgentView, StandingError};

/// An agent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Agent")]
pub(super) struct AgentBody {
    /// Its id, a UUID.
    id: String,
    /// `active`; `quarantined`: its identity seems to be in use twice; `held`: its certificate is ours, its identity
    /// is not known here; `revoked`. Of all but active agents nothing is taken.
    status: &'static str,
    /// Why it is not active.
    reason: Option<String>,
    /// Since when it is not active.
    since: Option<String>,
    /// The server it reports for; null if it is held.
    server_id: Option<i64>,
    /// The server's name; of an agent that is held, what it calls itself.
    hostname: Option<String>,
    /// Generation of its certificate.
    generation: Option<u32>,
    /// When its certificate ends.
    certificate_not_after: String,
    /// Its version.
    agent_version: Option<String>,
    /// Where it came from; only if it is held.
    address: Option<String>,
}

impl From<AgentView> for AgentBody {
    fn from(view: AgentView) -> Self {
        Self {
            id: view.agent.to_string(),
            status: view.status.as_str(),
            reason: view.reason,
            since: view.since_ms.map(rfc3339),
            server_id: view.server.map(|server| server.0),
            hostname: view.hostname,
            generation: view.generation,
            certificate_not_after: rfc3339(view.not_after_ms),
            agent_version: view.agent_version,
            address: view.address,
        }
    }
}

/// Which agents are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    status: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// Agents in order of their ids.
#[utoipa::path(
    get, path = "/api/infrastructure/agents", tag = "agents",
    params(
        ("status" = Option<String>, Query, description = "only those that are active, quarantined, held or revoked"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "at most this many; 100 if not given"),
        ("cursor" = Option<String>, Query, description = "what the last answer gave in next"),
    ),
    responses(
        (status = 200, body = List<AgentBody>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    Query(query): Query<ListQuery>,
) -> Result<Json<List<AgentBody>>, Problem> {
    let status = match query.status.as_deref() {
        None => None,
        Some(word) => Some(AgentStatus::parse(word).ok_or_else(|| {
            let known = AgentStatus::ALL.map(AgentStatus::as_str).join(", ");
            Problem::parameter("status", format!("one of {known} is needed"))
        })?),
    };
    let request = page_request(query.limit.as_deref(), query.cursor.as_deref())?;
    let page = state.app.agents(status, request).await?;
    Ok(Json(List::of(page, AgentBody::from)))
}

/// How an agent is adopted.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(title = "Adopt")]
#[serde(deny_unknown_fields)]
pub(super) struct AdoptBody {
    /// The server that an agent which is held shall report for, whose former agent it replaces; without one it gets a
    /// new server.
    server_id: Option<i64>,
    /// The name of that new server; if not given, what the agent calls it.
    hostname: Option<String>,
}

/// Where an agent belongs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Adopted")]
pub(super) struct AdoptedBody {
    /// The server it reports for.
    server_id: i64,
}

/// Lets an agent in that is held or in quarantine.
#[utoipa::path(
    post, path = "/api/infrastructure/agents/{id}/adopt", tag = "agents",
    params(("id" = String, Path, description = "id of the agent, a UUID")),
    request_body = AdoptBody,
    responses(
        (status = 200, body = AdoptedBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn adopt(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Json(body): Json<AdoptBody>,
) -> Result<Json<AdoptedBody>, Problem> {
    let server = state
        .app
        .adopt_agent(
            agent_id(&id)?,
            body.server_id.map(ServerId),
            body.hostname.as_deref(),
            caller.principal.actor(),
        )
        .await?;
    Ok(Json(AdoptedBody { server_id: server.0 }))
}

/// Revokes an agent's identity for good; its open stream is closed at once.
#[utoipa::path(
    post, path = "/api/infrastructure/agents/{id}/revoke", tag = "agents",
    params(("id" = String, Path, description = "id of the agent, a UUID")),
    responses(
        (status = 204),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn revoke(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    state
        .app
        .revoke_agent(agent_id(&id)?, caller.principal.actor())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn agent_id(text: &str) -> Result<AgentId, Problem> {
    uuid::Uuid::try_parse(text)
        .map(AgentId)
        .map_err(|_| Problem::new(Code::AgentNotFound, "the address has no UUID"))
}

impl From<StandingError> for Problem {
    fn from(error: StandingError) -> Self {
        match error {
            StandingError::NoAgent(_) => Self::new(Code::AgentNotFound, error.to_string()),
            StandingError::NotWaiting(_) => Self::new(Code::AgentNotWaiting, error.to_string()),
            StandingError::NoServer(id) => Self::no_server(id.0),
            StandingError::OtherServer(_) => Self::field("server_id", error.to_string()),
            StandingError::Hostname => Self::field("hostname", error.to_string()),
            StandingError::NotKept(_) | StandingError::Store(_) => Self::internal(&error),
        }
    }
}
