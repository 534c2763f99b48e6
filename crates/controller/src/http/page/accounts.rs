//! Accounts and tokens, for admins: who may log in, which programs may ask, and what makes agents of servers.
//!
//! Forms post to addresses of their own; each leads back here. A secret that was just made is shown once, on a page that
//! nobody can come back to.

use std::time::Duration;

use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::asked::{Answer, Asked, again, done};
use super::form::{Field, Form, Refused, Sent, Written, Wrong, choices};
use super::{format, layout};
use crate::app::auth::{Principal, Role};
use crate::app::enrolment::{EnrolmentTokenView, NewToken, TokenState};
use crate::app::tokens::{Scope, TokenView, WantedToken};
use crate::app::users::{NewUser, UserPatch, UserView};
use crate::app::{AppError, PAGE_LIMIT_MAX, Page, PageRequest};
use crate::http::HttpState;
use crate::http::access::{Caller, Told};
use crate::http::error::{Code, Problem};

/// Where the page is.
pub(in crate::http) const PATH: &str = "/accounts";
const DAY: Duration = Duration::from_secs(86_400);
const MINUTE: Duration = Duration::from_secs(60);
/// What somebody can be.
const ROLES: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];
/// What a token can be good for.
const SCOPES: [Scope; 4] = [Scope::Metrics, Scope::Read, Scope::Operate, Scope::Admin];

/// Everything that is shown.
struct View {
    users: Page<UserView>,
    tokens: Page<TokenView>,
    enrolment: Page<EnrolmentTokenView>,
    now_ms: i64,
}

/// What can be made on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    User,
    Token,
    Enrolment,
}

impl Kind {
    /// Where its form posts to.
    const fn path(self) -> &'static str {
        match self {
            Self::User => "/accounts/users",
            Self::Token => "/accounts/tokens",
            Self::Enrolment => "/accounts/enrolment",
        }
    }

    /// The fields of its form.
    fn form(self) -> Form {
        Form::of(match self {
            Self::User => {
                let roles = ROLES.map(|role| (role.as_str(), role.as_str()));
                vec![
                    Field::text("username", "Name", "").at_most(64).required(),
                    Field::secret("password", "Password").at_most(1_024).required(),
                    Field::one("role", "Role", choices(&roles)),
                ]
            }
            Self::Token => {
                let scopes = SCOPES.map(|scope| (scope.as_str(), scope.as_str()));
                vec![
                    Field::text("name", "Name", "").at_most(100).required(),
                    Field::one("scope", "Good for", choices(&scopes)),
                    Field::number("days", "Days", 1, 366).usual("90").required(),
                ]
            }
            Self::Enrolment => vec![
                Field::number("uses", "Agents", 1, 1_000).usual("1").required(),
                Field::number("minutes", "Minutes", 1, 1_440)
                    .usual("30")
                    .required(),
            ],
        })
    }
}

/// A form that could not be taken, and why.
type Failed<'a> = Option<(Kind, Written<'a>)>;

/// The page.
pub(in crate::http) async fn show(State(state): State<HttpState>, caller: Caller) -> Result<Markup, Problem> {
    page(&state, &caller, None).await
}

async fn page(state: &HttpState, caller: &Caller, failed: Failed<'_>) -> Result<Markup, Problem> {
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
        &draw(&view, caller.principal.user_id, failed),
    ))
}

fn draw(view: &View, own_id: i64, failed: Failed<'_>) -> Markup {
    let form = |kind: Kind, button: &str| {
        let written = failed.filter(|(of, _)| *of == kind);
        kind.form()
            .draw_row("", kind.path(), written.map(|(_, written)| written), button)
    };
    html! {
        p class="crumbs" { a href="/" { "Servers" } }
        div class="head" { h1 { "Accounts and tokens" } }
        @if let Some((kind, (_, wrong))) = failed { (wrong.draw(&kind.form())) }
        (users(&view.users, own_id, view.now_ms, &form(Kind::User, "Add")))
        (api_tokens(&view.tokens, view.now_ms, &form(Kind::Token, "Make")))
        (enrolment_tokens(&view.enrolment, view.now_ms, &form(Kind::Enrolment, "Make")))
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

fn users(page: &Page<UserView>, own_id: i64, now_ms: i64, form: &Markup) -> Markup {
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
            (form)
        }
    }
}

fn api_tokens(page: &Page<TokenView>, now_ms: i64, form: &Markup) -> Markup {
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
            (form)
        }
    }
}

fn enrolment_tokens(page: &Page<EnrolmentTokenView>, now_ms: i64, form: &Markup) -> Markup {
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
            (form)
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

/// Makes an account.
pub(in crate::http) async fn add_user(asked: Asked) -> Answer {
    make(&asked, Kind::User).await
}

/// Makes an API token of the own account.
pub(in crate::http) async fn add_token(asked: Asked) -> Answer {
    make(&asked, Kind::Token).await
}

/// Makes an enrolment token.
pub(in crate::http) async fn add_enrolment(asked: Asked) -> Answer {
    make(&asked, Kind::Enrolment).await
}

async fn make(asked: &Asked, kind: Kind) -> Answer {
    let sent = Sent::read(&kind.form(), &asked.pairs)?;
    let made = match kind {
        Kind::User => make_user(asked, &sent).await,
        Kind::Token => make_token(asked, &sent).await,
        Kind::Enrolment => make_enrolment(asked, &sent).await,
    };
    match made {
        Ok(answer) => Ok(answer),
        Err(refused) => {
            let wrong = refused.wrong()?;
            let failed = Some((kind, (&sent, &wrong)));
            again(page(&asked.state, &asked.caller, failed).await?)
        }
    }
}

async fn make_user(asked: &Asked, sent: &Sent) -> Result<Response, Refused> {
    let role = ROLES.into_iter().find(|role| role.as_str() == sent.text("role"));
    let role = role.ok_or_else(|| Problem::field("role", "it is viewer, operator or admin"))?;
    let new = NewUser {
        username: sent.text("username").to_owned(),
        password: sent.text("password").to_owned(),
        role,
    };
    let made = asked.state.app.create_user(new).await?;
    let told = format!("username={} role={}", made.username, made.role);
    Ok(done(told, PATH)?)
}

async fn make_token(asked: &Asked, sent: &Sent) -> Result<Response, Refused> {
    let mut wrong = Wrong::default();
    let days: u32 = sent.number("days", &mut wrong).unwrap_or_default();
    let scope = SCOPES
        .into_iter()
        .find(|scope| scope.as_str() == sent.text("scope"));
    if scope.is_none() {
        wrong.note("scope", "it is metrics, read, operate or admin");
    }
    let wanted = WantedToken {
        name: sent.text("name").to_owned(),
        scopes: wrong.unless(scope)?.into_iter().collect(),
        ttl: Some(DAY * days),
    };
    let by = &asked.caller.principal;
    let made = asked.state.app.create_api_token(by, wanted).await?;
    let told = format!("{} scopes={}", made.view.prefix, sent.text("scope"));
    let use_of_it = "To be sent as Authorization: Bearer …";
    let page = secret(by, "An API token", &made.text, use_of_it);
    Ok((Extension(Told(told)), page).into_response())
}

async fn make_enrolment(asked: &Asked, sent: &Sent) -> Result<Response, Refused> {
    let mut wrong = Wrong::default();
    let uses: u32 = sent.number("uses", &mut wrong).unwrap_or_default();
    let minutes: u32 = sent.number("minutes", &mut wrong).unwrap_or_default();
    wrong.unless(())?;
    let wanted = NewToken {
        ttl: Some(MINUTE * minutes),
        uses,
        server: None,
        created_by: asked.by().to_owned(),
    };
    let made = asked.state.app.create_token(wanted).await;
    let made = made.map_err(AppError::from)?;
    let told = format!("{} uses={uses}", made.public_id);
    let use_of_it =
        "To be written to a file on the server: muster-agent enroll --controller HOST:8481 --token-file FILE";
    let page = secret(
        &asked.caller.principal,
        "An enrolment token",
        &made.text,
        use_of_it,
    );
    Ok((Extension(Told(told)), page).into_response())
}

/// Removes an account with its sessions and API tokens.
pub(in crate::http) async fn delete_user(asked: Asked) -> Answer {
    let id = asked.id(Code::UserNotFound)?;
    let removed = asked.state.app.remove_user(id).await?;
    done(format!("username={}", removed.username), PATH)
}

/// Lets nobody log in with an account any more, or again.
pub(in crate::http) async fn switch_user(asked: Asked) -> Answer {
    let disabled = match asked.part("way") {
        "disable" => true,
        "enable" => false,
        _ => return Err(Problem::new(Code::NotFound, "an account is enabled or disabled")),
    };
    let patch = UserPatch {
        role: None,
        disabled: Some(disabled),
        password: None,
    };
    let id = asked.id(Code::UserNotFound)?;
    let changed = asked.state.app.change_user(id, patch).await?;
    done(format!("username={} disabled={disabled}", changed.username), PATH)
}

/// Removes an API token.
pub(in crate::http) async fn delete_token(asked: Asked) -> Answer {
    let id = asked.id(Code::TokenNotFound)?;
    asked
        .state
        .app
        .remove_api_token(&asked.caller.principal, id)
        .await?;
    done("", PATH)
}

/// Ends an enrolment token.
pub(in crate::http) async fn end_enrolment(asked: Asked) -> Answer {
    if asked.state.app.end_enrolment_token(asked.part("id")).await? {
        return done("", PATH);
    }
    Err(Problem::new(
        Code::TokenNotFound,
        "there is no enrolment token of this id",
    ))
}
