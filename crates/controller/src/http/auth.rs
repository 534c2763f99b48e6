//! Logging in and out, for programs; the page's form is in `page`.

use axum::extract::{FromRequest, Request, State};
use axum::http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::HttpState;
use super::access::{Caller, Site, cookie, site};
use super::client::Client;
use super::error::{Code, Problem, ProblemBody};
use super::extract::Json;
use crate::app::auth::{Credential, Session};

/// Name and password.
#[derive(Deserialize, ToSchema)]
#[serde(expecting = "an object with username and password")]
pub(super) struct Credentials {
    /// Name of the account.
    #[schema(example = "admin")]
    username: String,
    /// Its password.
    #[schema(format = Password)]
    password: String,
}

/// A fresh access token.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Token")]
pub(super) struct TokenBody {
    /// To be sent as `Authorization: Bearer …`; shown this once.
    access_token: String,
    /// Always `bearer`.
    token_type: &'static str,
    /// How long it lives, in seconds.
    expires_in: u64,
}

/// Who is asking.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Me")]
pub(super) struct MeBody {
    /// Id of the account.
    id: i64,
    /// Its name.
    username: String,
    /// `viewer`, `operator` or `admin`.
    role: &'static str,
}

/// Exchanges a password for an access token. The body may be JSON or a form.
#[utoipa::path(
    post, path = "/api/auth/token", tag = "auth",
    request_body(content(
        (Credentials = "application/json"),
        (Credentials = "application/x-www-form-urlencoded"),
    )),
    responses(
        (status = 200, body = TokenBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn token(
    State(state): State<HttpState>,
    request: Request,
) -> Result<Json<TokenBody>, Problem> {
    let session = login(&state, request).await?;
    Ok(Json(TokenBody {
        access_token: session.access_token,
        token_type: "bearer",
        expires_in: session.expires_in_s,
    }))
}

/// Reads credentials from a JSON or form body and tries them.
pub(super) async fn login(state: &HttpState, request: Request) -> Result<Session, Problem> {
    if site(request.headers()) == Site::Other {
        return Err(Problem::new(
            Code::CrossOrigin,
            "logging in from another site's page is refused",
        ));
    }
    let Client(peer) = Client::of(&request);
    let earlier = cookie(request.headers()).map(str::to_owned);
    let is_form = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"));
    let credentials = if is_form {
        axum::Form::<Credentials>::from_request(request, state).await?.0
    } else {
        Json::<Credentials>::from_request(request, state).await?.0
    };
    let session = state
        .app
        .login(&credentials.username, &credentials.password, peer)
        .await?;
    // Whoever may have planted or seen the browser's earlier session has nothing of the new one.
    if let Some(earlier) = earlier {
        state.app.logout(&earlier).await?;
    }
    Ok(session)
}

/// Who is asking.
#[utoipa::path(
    get, path = "/api/auth/me", tag = "auth",
    responses(
        (status = 200, body = MeBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn me(caller: Caller) -> Json<MeBody> {
    Json(MeBody {
        id: caller.principal.user_id,
        role: caller.principal.role.as_str(),
        username: caller.principal.username,
    })
}

/// Ends the session: its access token is worthless from now on.
#[utoipa::path(
    post, path = "/api/auth/logout", tag = "auth",
    responses(
        (status = 204),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn logout(State(state): State<HttpState>, caller: Caller) -> Result<StatusCode, Problem> {
    if caller.principal.credential != Credential::Session {
        return Err(Problem::new(
            Code::SessionNeeded,
            "an API token ends with DELETE /api/tokens/{id}",
        ));
    }
    state.app.logout(&caller.token).await?;
    Ok(StatusCode::NO_CONTENT)
}
