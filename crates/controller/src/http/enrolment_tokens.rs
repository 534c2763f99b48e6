//! Enrolment tokens: making, listing and ending them. Those bound to a new server come with it.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use muster_base::id::ServerId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::HttpState;
use super::access::Caller;
use super::error::{Code, Problem, ProblemBody};
use super::extract::{Created, Json, List, PartQuery, Path, Query, rfc3339};
use crate::app::AppError;
use crate::app::enrolment::{EnrolmentTokenView, NewToken};

/// An enrolment token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "EnrolmentToken")]
pub(super) struct EnrolmentTokenBody {
    /// What names it; no secret.
    id: String,
    /// `usable`, `used_up`, or `ended`: its time is over or somebody ended it.
    state: &'static str,
    /// The server it is bound to; null: each use makes a server.
    server_id: Option<i64>,
    /// How many agents it could make at first.
    uses: u32,
    /// How many it can still make, were its time not over.
    uses_left: u32,
    /// When it was made.
    created_at: String,
    /// When it ends or ended.
    expires_at: String,
    /// Who made it.
    created_by: String,
}

impl From<EnrolmentTokenView> for EnrolmentTokenBody {
    fn from(view: EnrolmentTokenView) -> Self {
        Self {
            id: view.public_id,
            state: view.state.as_str(),
            server_id: view.server.map(|server| server.0),
            uses: view.uses_total,
            uses_left: view.uses_left,
            created_at: rfc3339(view.created_ms),
            expires_at: rfc3339(view.expires_ms),
            created_by: view.created_by,
        }
    }
}

/// An enrolment token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with uses")]
#[schema(title = "NewEnrolmentToken")]
pub(super) struct NewEnrolmentTokenBody {
    /// Seconds it lives, 1 to 86400; the setting `enrolment.token_ttl` if not given.
    ttl: Option<u64>,
    /// How many agents it may make; one that is bound to a server makes one.
    uses: u32,
    /// The server it is bound to, whose former agent it replaces; without one each use makes a server.
    server_id: Option<i64>,
}

/// An enrolment token that was just made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "CreatedEnrolmentToken")]
pub(super) struct CreatedEnrolmentTokenBody {
    /// What names it; no secret.
    id: String,
    /// Its text, for `muster-agent enroll --token-file`; shown this once.
    token: String,
    /// When it ends.
    expires_at: String,
}

/// Enrolment tokens; those that ended stay in the list for a day.
#[utoipa::path(
    get, path = "/api/enrolment-tokens", tag = "tokens",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "at most this many; 100 if not given"),
        ("cursor" = Option<String>, Query, description = "what the last answer gave in next"),
    ),
    responses(
        (status = 200, body = List<EnrolmentTokenBody>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    Query(query): Query<PartQuery>,
) -> Result<Json<List<EnrolmentTokenBody>>, Problem> {
    let request = query.request()?;
    let page = state.app.enrolment_tokens(request).await?;
    Ok(Json(List::of(page, EnrolmentTokenBody::from)))
}

/// Makes an enrolment token.
#[utoipa::path(
    post, path = "/api/enrolment-tokens", tag = "tokens",
    request_body = NewEnrolmentTokenBody,
    responses(
        (status = 201, body = CreatedEnrolmentTokenBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(state): State<HttpState>,
    caller: Caller,
    Json(body): Json<NewEnrolmentTokenBody>,
) -> Result<Created<CreatedEnrolmentTokenBody>, Problem> {
    let wanted = NewToken {
        ttl: body.ttl.map(Duration::from_secs),
        uses: body.uses,
        server: body.server_id.map(ServerId),
        created_by: caller.principal.username,
    };
    let uses = wanted.uses;
    let made = state.app.create_token(wanted).await.map_err(AppError::from)?;
    let bound = body
        .server_id
        .map(|id| format!(" server={id}"))
        .unwrap_or_default();
    Ok(Created {
        location: format!("/api/enrolment-tokens/{}", made.public_id),
        told: format!("uses={uses}{bound}"),
        body: CreatedEnrolmentTokenBody {
            id: made.public_id,
            token: made.text,
            expires_at: rfc3339(made.expires_ms),
        },
    })
}

/// Ends an enrolment token: it makes no agent any more. Agents that it made stay.
#[utoipa::path(
    delete, path = "/api/enrolment-tokens/{id}", tag = "tokens",
    params(("id" = String, Path, description = "id of the enrolment token")),
    responses(
        (status = 204),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    if state.app.end_enrolment_token(&id).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::new(
            Code::TokenNotFound,
            "there is no enrolment token of this id",
        ))
    }
}
