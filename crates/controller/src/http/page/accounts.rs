//! Accounts and tokens, for admins: who may log in, which programs may ask, and what makes agents of servers.
//!
//! Forms post to addresses of their own; each leads back here. A secret that was just made is shown once, on a page that
//! nobody can come back to.

use std::time::Duration;

use axum::extract::{Extension, Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::{format, layout};
use crate::app::auth::{Principal, Role};
use crate::app::enrolment::{EnrolmentTokenView, NewToken, TokenState};
use crate::app::tokens::{Scope, TokenView, WantedToken};
use crate::app::users::{NewUser, UserPatch, UserView};
use crate::app::{AppError, PAGE_LIMIT_MAX, Page, PageRequest};
use crate::http::HttpState;
use crate::http::access::{Caller, Told};
use crate::http::error::{Code, Problem};
use crate::http::extract::{Path, id_or};

/// Where the page is.
pub(in crate::http) const PATH: &str = "/accounts";
const DAY: Duration = Duration::from_secs(86_400);
const MINUTE: Duration = Duration::from_secs(60);

/// Everything that is shown.
struct View {
    users: Page<UserView>,
    tokens: Page<TokenView>,
    enrolment: Page<EnrolmentTokenView>,
    now_ms: i64,
}

/// The page.
pub(in crate::http) async fn show(State(state): State<HttpState>, caller: Caller) -> Result<Markup, Problem> {
    let request = || PageRequest {
        limit: Some(PAGE_LIMIT_MAX),
        cursor: None,
    };
    let view = View {
        users: state.app.users(request()).await?,
        tokens: state.app.api_tokens(&caller.principal, request()).await?,
        enrolment: state.app.enrolment_tokens(request()).await?,
        now_ms: state.app.clock().now_ms(),
    };
    Ok(layout::still(
        "Accounts and tokens",
        &caller.principal,
        &draw(&view, caller.principal.user_id),
    ))
}

fn draw(view: &View, own_id: i64) -> Markup {
    html! {
        p class="crumbs" { a href="/" { "Servers" } }
        div class="head" { h1 { "Accounts and tokens" } }
        (users(&view.users, own_id, view.now_ms))
        (api_tokens(&view.tokens, view.now_ms))
        (enrolment_tokens(&view.enrolment, view.now_ms))
    }
}

/// A form that is only a button.
fn button(action: &str, word: &str) -> Markup {
    html! { form method="post" action=(action) class="inline" { button type="submit" { (word) } } }
}

fn rest<T>(page: &Page<T>) -> Markup {
    html! {
        @if page.next.is_some() {
            p class="soft pad" { (page.items.len()) " of " (page.total) ": see the API for the others" }
        }
    }
}

fn users(page: &Page<UserView>, own_id: i64, now_ms: i64) -> Markup {
    html! {
        section class="card" {
            header { h2 { "Accounts" } span class="soft" { (page.total) } }
            div class="scroll" {
                table {
                    thead { tr { th { "Name" } th { "Role" } th { "Last login" } th { "" } } }
                    tbody {
                        @for user in &page.items {
                            tr {
                                td { (user.username) @if user.disabled { " " span class="pill dim" { "disabled" } } }
                                td { (user.role) }
                                td { (user.last_login_ms.map_or_else(|| "never".to_owned(), |at| format::ago(at, now_ms))) }
                                td {
                                    // Whoever is logged in does not shut themselves out by a slip.
                                    @if user.id != own_id {
                                        @let (way, word) = if user.disabled { ("enable", "Enable") } else { ("disable", "Disable") };
                                        (button(&format!("{PATH}/users/{}/{way}", user.id), word))
                                        details class="inline" {
                                            summary { "Delete …" }
                                            (button(&format!("{PATH}/users/{}/delete", user.id), "Delete for good, with its tokens"))
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            (rest(page))
            form method="post" action={ (PATH) "/users" } class="row" {
                label { "Name" input name="username" required maxlength="64" autocomplete="off"; }
                label { "Password" input name="password" type="password" required minlength="12" maxlength="1024" autocomplete="new-password"; }
                label { "Role" select name="role" { option { "viewer" } option { "operator" } option { "admin" } } }
                button type="submit" { "Add" }
            }
        }
    }
}

fn api_tokens(page: &Page<TokenView>, now_ms: i64) -> Markup {
    html! {
        section class="card" {
            header { h2 { "API tokens" } span class="soft" { (page.total) " · with one a program uses the API" } }
            div class="scroll" {
                table {
                    thead { tr { th { "Name" } th { "Account" } th { "Good for" } th { "Begins with" } th { "Used" } th { "Ends" } th { "" } } }
                    tbody {
                        @for token in &page.items {
                            tr {
                                td { (token.name) }
                                td { (token.username) }
                                td { (token.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", ")) }
                                td class="mono" { (token.prefix) }
                                td { (token.last_used_ms.map_or_else(|| "never".to_owned(), |at| format::ago(at, now_ms))) }
                                td { (format::time(token.expires_ms)) }
                                td { (button(&format!("{PATH}/tokens/{}/delete", token.id), "Revoke")) }
                            }
                        }
                    }
                }
            }
            (rest(page))
            form method="post" action={ (PATH) "/tokens" } class="row" {
                label { "Name" input name="name" required maxlength="100" autocomplete="off"; }
                label { "Good for" select name="scope" {
                    option { "metrics" } option { "read" } option { "operate" } option { "admin" }
                } }
                label { "Days" input name="days" type="number" min="1" max="366" value="90" required; }
                button type="submit" { "Make" }
            }
        }
    }
}

fn enrolment_tokens(page: &Page<EnrolmentTokenView>, now_ms: i64) -> Markup {
    let state = |token: &EnrolmentTokenView| match token.state {
        TokenState::Usable => ("good", "usable"),
        TokenState::UsedUp => ("dim", "used up"),
        TokenState::Ended => ("dim", "ended"),
    };
    html! {
        section class="card" {
            header { h2 { "Enrolment tokens" } span class="soft" { (page.total) " · with one a server's agent gets its identity" } }
            div class="scroll" {
                table {
                    thead { tr { th { "Id" } th { "State" } th { "Server" } th class="num" { "Uses left" } th { "Made" } th { "Ends" } th { "" } } }
                    tbody {
                        @for token in &page.items {
                            @let (class, word) = state(token);
                            tr {
                                td class="mono" { (token.public_id) }
                                td { span class={ "pill " (class) } { (word) } }
                                td {
                                    @match token.server {
                                        Some(server) => a href={ "/servers/" (server) } { (server) },
                                        None => span class="soft" { "a new one each" },
                                    }
                                }
                                td class="num" { (token.uses_left) " of " (token.uses_total) }
                                td { (format::ago(token.created_ms, now_ms)) " by " (token.created_by) }
                                td { (format::time(token.expires_ms)) }
                                td {
                                    @if token.state == TokenState::Usable {
                                        (button(&format!("{PATH}/enrolment/{}/end", token.public_id), "Revoke"))
                                    }
                                }
                            }
                        }
                    }
                }
            }
            (rest(page))
            form method="post" action={ (PATH) "/enrolment" } class="row" {
                label { "Agents" input name="uses" type="number" min="1" max="1000" value="1" required; }
                label { "Minutes" input name="minutes" type="number" min="1" max="1440" value="30" required; }
                button type="submit" { "Make" }
            }
        }
    }
}

/// A secret, shown this once.
fn secret(user: &Principal, title: &str, text: &str, what_for: &str) -> Markup {
    let content = html! {
        p class="crumbs" { a href="/" { "Servers" } " / " a href=(PATH) { "Accounts and tokens" } }
        div class="head" { h1 { (title) } }
        section class="card notice good" {
            strong { "Copy it now: it is shown this once." }
            pre class="wrap" { (text) }
            p class="soft" { (what_for) }
        }
        p { a href=(PATH) { "Back" } }
    };
    layout::still(title, user, &content)
}

fn back(told: String) -> Response {
    (Extension(Told(told)), Redirect::to(PATH)).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct UserForm {
    username: String,
    password: String,
    role: String,
}

/// Makes an account.
pub(in crate::http) async fn add_user(
    State(state): State<HttpState>,
    Form(form): Form<UserForm>,
) -> Result<Response, Problem> {
    let role = [Role::Viewer, Role::Operator, Role::Admin]
        .into_iter()
        .find(|role| role.as_str() == form.role)
        .ok_or_else(|| Problem::field("role", "it is viewer, operator or admin"))?;
    let new = NewUser {
        username: form.username,
        password: form.password,
        role,
    };
    let made = state.app.create_user(new).await?;
    Ok(back(format!("username={} role={}", made.username, made.role)))
}

/// Removes an account with its sessions and API tokens.
pub(in crate::http) async fn delete_user(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let removed = state.app.remove_user(id_or(&id, Code::UserNotFound)?).await?;
    Ok(back(format!("username={}", removed.username)))
}

/// Lets nobody log in with an account any more, or again.
pub(in crate::http) async fn switch_user(
    State(state): State<HttpState>,
    Path((id, way)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let disabled = match way.as_str() {
        "disable" => true,
        "enable" => false,
        _ => return Err(Problem::new(Code::NotFound, "an account is enabled or disabled")),
    };
    let patch = UserPatch {
        role: None,
        disabled: Some(disabled),
        password: None,
    };
    let changed = state
        .app
        .change_user(id_or(&id, Code::UserNotFound)?, patch)
        .await?;
    Ok(back(format!("username={} disabled={disabled}", changed.username)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct TokenForm {
    name: String,
    scope: String,
    days: u32,
}

/// Makes an API token of the own account.
pub(in crate::http) async fn add_token(
    State(state): State<HttpState>,
    caller: Caller,
    Form(form): Form<TokenForm>,
) -> Result<Response, Problem> {
    let scope = [Scope::Metrics, Scope::Read, Scope::Operate, Scope::Admin]
        .into_iter()
        .find(|scope| scope.as_str() == form.scope)
        .ok_or_else(|| Problem::field("scope", "it is metrics, read, operate or admin"))?;
    let wanted = WantedToken {
        name: form.name,
        scopes: vec![scope],
        ttl: Some(DAY * form.days),
    };
    let made = state.app.create_api_token(&caller.principal, wanted).await?;
    let told = Told(format!("{} scopes={}", made.view.prefix, scope.as_str()));
    let page = secret(
        &caller.principal,
        "An API token",
        &made.text,
        "To be sent as Authorization: Bearer …",
    );
    Ok((StatusCode::OK, Extension(told), page).into_response())
}

/// Removes an API token.
pub(in crate::http) async fn delete_token(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = id_or(&id, Code::TokenNotFound)?;
    state.app.remove_api_token(&caller.principal, id).await?;
    Ok(back(String::new()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct EnrolmentForm {
    uses: u32,
    minutes: u32,
}

/// Makes an enrolment token.
pub(in crate::http) async fn add_enrolment(
    State(state): State<HttpState>,
    caller: Caller,
    Form(form): Form<EnrolmentForm>,
) -> Result<Response, Problem> {
    let wanted = NewToken {
        ttl: Some(MINUTE * form.minutes),
        uses: form.uses,
        server: None,
        created_by: caller.principal.username.clone(),
    };
    let made = state.app.create_token(wanted).await.map_err(AppError::from)?;
    let told = Told(format!("{} uses={}", made.public_id, form.uses));
    let page = secret(
        &caller.principal,
        "An enrolment token",
        &made.text,
        "To be written to a file on the server: muster-agent enroll --controller HOST:8481 --token-file FILE",
    );
    Ok((StatusCode::OK, Extension(told), page).into_response())
}

/// Ends an enrolment token.
pub(in crate::http) async fn end_enrolment(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    match state.app.end_enrolment_token(&id).await? {
        true => Ok(back(String::new())),
        false => Err(Problem::new(
            Code::TokenNotFound,
            "there is no enrolment token of this id",
        )),
    }
}
