//! Accounts of people, for admins; and the own one, for everybody.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::HttpState;
use super::access::{Caller, Told};
use super::client::Client;
use super::error::{Code, Problem, ProblemBody};
use super::extract::{Created, Json, List, PartQuery, Path, Query, id_or, rfc3339};
use crate::app::auth::Role;
use crate::app::users::{NewUser, UserPatch, UserView};

/// An account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "User")]
pub(super) struct UserBody {
    /// Its id.
    id: i64,
    /// Its name.
    username: String,
    /// `viewer`, `operator` or `admin`.
    role: String,
    /// Whether it may not log in.
    disabled: bool,
    /// When it was made.
    created_at: String,
    /// When somebody last logged in with it.
    last_login_at: Option<String>,
}

impl From<UserView> for UserBody {
    fn from(view: UserView) -> Self {
        Self {
            id: view.id,
            username: view.username,
            role: view.role,
            disabled: view.disabled,
            created_at: rfc3339(view.created_ms),
            last_login_at: view.last_login_ms.map(rfc3339),
        }
    }
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(title = "Role")]
pub(super) enum RoleBody {
    /// Look.
    Viewer,
    /// Look and act.
    Operator,
    /// Everything.
    Admin,
}

impl From<RoleBody> for Role {
    fn from(role: RoleBody) -> Self {
        match role {
            RoleBody::Viewer => Self::Viewer,
            RoleBody::Operator => Self::Operator,
            RoleBody::Admin => Self::Admin,
        }
    }
}

/// An account to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object with username, password and role")]
#[schema(title = "NewUser")]
pub(super) struct NewUserBody {
    /// 1 to 64 letters, digits or `. _ - @`, the first a letter or digit.
    username: String,
    /// At least 12 characters.
    #[schema(format = Password, min_length = 12)]
    password: String,
    /// What it may do.
    role: RoleBody,
}

/// Changes to an account: what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object that says what is to change")]
#[schema(title = "UserChange")]
pub(super) struct UserChangeBody {
    /// What it may do.
    role: Option<RoleBody>,
    /// Whether it may not log in; disabling ends its sessions.
    disabled: Option<bool>,
    /// A new password; ends its sessions.
    #[schema(format = Password, min_length = 12)]
    password: Option<String>,
}

/// The own password, before and after.
#[derive(Deserialize, ToSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "an object with current_password and new_password"
)]
#[schema(title = "PasswordChange")]
pub(super) struct PasswordBody {
    /// What it is.
    #[schema(format = Password)]
    current_password: String,
    /// What it shall be: at least 12 characters.
    #[schema(format = Password, min_length = 12)]
    new_password: String,
}

/// All accounts.
#[utoipa::path(
    get, path = "/api/users", tag = "users",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "at most this many; 100 if not given"),
        ("cursor" = Option<String>, Query, description = "what the last answer gave in next"),
    ),
    responses(
        (status = 200, body = List<UserBody>),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(state): State<HttpState>,
    Query(query): Query<PartQuery>,
) -> Result<Json<List<UserBody>>, Problem> {
    let request = query.request()?;
    let page = state.app.users(request).await?;
    Ok(Json(List::of(page, UserBody::from)))
}

/// Makes an account.
#[utoipa::path(
    post, path = "/api/users", tag = "users",
    request_body = NewUserBody,
    responses(
        (status = 201, body = UserBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(state): State<HttpState>,
    Json(body): Json<NewUserBody>,
) -> Result<Created<UserBody>, Problem> {
    let new = NewUser {
        username: body.username,
        password: body.password,
        role: body.role.into(),
    };
    let made = state.app.create_user(new).await?;
    Ok(Created {
        location: format!("/api/users/{}", made.id),
        told: format!("username={} role={}", made.username, made.role),
        body: UserBody::from(made),
    })
}

/// One account.
#[utoipa::path(
    get, path = "/api/users/{id}", tag = "users",
    params(("id" = i64, Path, description = "id of the account")),
    responses(
        (status = 200, body = UserBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<UserBody>, Problem> {
    Ok(Json(state.app.user(user_id(&id)?).await?.into()))
}

/// Changes an account: its role, whether it is disabled, its password. Holds at once, also for who is logged in.
#[utoipa::path(
    put, path = "/api/users/{id}", tag = "users",
    params(("id" = i64, Path, description = "id of the account")),
    request_body = UserChangeBody,
    responses(
        (status = 200, body = UserBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn put(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Json(body): Json<UserChangeBody>,
) -> Result<impl IntoResponse, Problem> {
    let patch = UserPatch {
        role: body.role.map(Role::from),
        disabled: body.disabled,
        password: body.password,
    };
    if patch.role.is_none() && patch.disabled.is_none() && patch.password.is_none() {
        return Err(Problem::new(
            Code::InvalidBody,
            "role, disabled or password is needed: what shall change",
        ));
    }
    let mut changes = Vec::new();
    changes.extend(patch.role.map(|role| format!("role={}", role.as_str())));
    changes.extend(patch.disabled.map(|disabled| format!("disabled={disabled}")));
    changes.extend(patch.password.as_ref().map(|_| "new password".to_owned()));
    let changed = state.app.change_user(user_id(&id)?, patch).await?;
    let told = Told(format!("username={} {}", changed.username, changes.join(" ")));
    Ok((Extension(told), Json(UserBody::from(changed))))
}

/// Removes an account with its sessions and API tokens.
#[utoipa::path(
    delete, path = "/api/users/{id}", tag = "users",
    params(("id" = i64, Path, description = "id of the account")),
    responses(
        (status = 204),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let removed = state.app.remove_user(user_id(&id)?).await?;
    let told = Told(format!("username={}", removed.username));
    Ok((StatusCode::NO_CONTENT, Extension(told)))
}

/// The own account.
#[utoipa::path(
    get, path = "/api/users/me", tag = "users",
    responses(
        (status = 200, body = UserBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn me(State(state): State<HttpState>, caller: Caller) -> Result<Json<UserBody>, Problem> {
    Ok(Json(state.app.user(caller.principal.user_id).await?.into()))
}

/// Changes the own password. All other sessions of the account end; API tokens stay.
#[utoipa::path(
    put, path = "/api/users/me/password", tag = "users",
    request_body = PasswordBody,
    responses(
        (status = 204),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn change_own_password(
    State(state): State<HttpState>,
    caller: Caller,
    Extension(Client(peer)): Extension<Client>,
    Json(body): Json<PasswordBody>,
) -> Result<StatusCode, Problem> {
    let Caller { principal, token } = caller;
    state
        .app
        .change_own_password(&principal, &token, body.current_password, body.new_password, peer)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads the id of an account from the path.
fn user_id(text: &str) -> Result<i64, Problem> {
    id_or(text, Code::UserNotFound)
}
