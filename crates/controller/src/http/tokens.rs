//! API tokens: making, listing and removing the own ones; an admin sees and removes everybody's.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::HttpState;
use super::access::Caller;
use super::error::{Code, Problem, ProblemBody};
use super::extract::{Created, Json, List, PartQuery, Path, Query, id_or, rfc3339};
use crate::app::tokens::{Scope, TokenView, WantedToken};

/// An API token, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "ApiToken")]
pub(super) struct TokenBody {
    /// Its id.
    id: i64,
    /// How its text begins.
    #[schema(example = "muster_pat_0123456789ab")]
    prefix: String,
    /// Id of its account.
    user_id: i64,
    /// Name of its account.
    username: String,
    /// What its owner calls it.
    name: String,
    /// `metrics`, `read`, `operate`, `admin`.
    scopes: Vec<&'static str>,
    /// When it was made.
    created_at: String,
    /// When it ends.
    expires_at: String,
    /// When it was used last, to the minute.
    last_used_at: Option<String>,
}

impl From<TokenView> for TokenBody {
    fn from(view: TokenView) -> Self {
        Self {
            id: view.id,
            prefix: view.prefix,
            user_id: view.user_id,
            username: view.username,
            name: view.name,
            scopes: view.scopes.into_iter().map(Scope::as_str).collect(),
            created_at: rfc3339(view.created_ms),
            expires_at: rfc3339(view.expires_ms),
            last_used_at: view.last_used_ms.map(rfc3339),
        }
    }
}

/// An API token that was just made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "CreatedApiToken")]
pub(super) struct CreatedTokenBody {
    /// What is shown of it later too.
    #[serde(flatten)]
    shown: TokenBody,
    /// To be sent as `Authorization: Bearer …`; shown this once.
    token: String,
}

/// What an API token is good for.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(title = "Scope")]
pub(super) enum ScopeBody {
    /// Reading metrics, and nothing else.
    Metrics,
    /// What a viewer may.
    Read,
    /// What an operator may.
    Operate,
    /// What an admin may.
    Admin,
}

impl From<ScopeBody> for Scope {
    fn from(scope: ScopeBody) -> Self {
        match scope {
            ScopeBody::Metrics => Self::Metrics,
            ScopeBody::Read => Self::Read,
            ScopeBody::Operate => Self::Operate,
            ScopeBody::Admin => Self::Admin,
        }
    }
}

/// An API token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with name and scopes")]
#[schema(title = "NewApiToken")]
pub(super) struct NewTokenBody {
    /// What to call it, 1 to 100 bytes.
    name: String,
    /// What it is good for; never more than the account may at the time.
    scopes: Vec<ScopeBody>,
    /// Seconds it lives, at most 366 days; 90 days if not given.
    expires_in: Option<u64>,
}

/// The own API tokens; an admin sees everybody's.
#[utoipa::path(
    get, path = "/api/tokens", tag = "tokens",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "at most this many; 100 if not given"),
        ("cursor" = Option<String>, Query, description = "what the last answer gave in next"),
    ),
    responses(
        (status = 200, body = List<TokenBody>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    caller: Caller,
    Query(query): Query<PartQuery>,
) -> Result<Json<List<TokenBody>>, Problem> {
    let request = query.request()?;
    let page = state.app.api_tokens(&caller.principal, request).await?;
    Ok(Json(List::of(page, TokenBody::from)))
}

/// Makes an API token of the own account.
#[utoipa::path(
    post, path = "/api/tokens", tag = "tokens",
    request_body = NewTokenBody,
    responses(
        (status = 201, body = CreatedTokenBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(state): State<HttpState>,
    caller: Caller,
    Json(body): Json<NewTokenBody>,
) -> Result<Created<CreatedTokenBody>, Problem> {
    let wanted = WantedToken {
        name: body.name,
        scopes: body.scopes.into_iter().map(Scope::from).collect(),
        ttl: body.expires_in.map(Duration::from_secs),
    };
    let made = state.app.create_api_token(&caller.principal, wanted).await?;
    let shown = TokenBody::from(made.view);
    Ok(Created {
        location: format!("/api/tokens/{}", shown.id),
        told: format!("{} scopes={}", shown.prefix, shown.scopes.join(",")),
        body: CreatedTokenBody {
            shown,
            token: made.text,
        },
    })
}

/// Removes an API token: it is worthless from now on.
#[utoipa::path(
    delete, path = "/api/tokens/{id}", tag = "tokens",
    params(("id" = i64, Path, description = "id of the API token")),
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
    let id = id_or(&id, Code::TokenNotFound)?;
    state.app.remove_api_token(&caller.principal, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
