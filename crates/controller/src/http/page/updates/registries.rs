//! Registries: who we are there, whether that works, how much they allow, and of which images they do not answer.

mod form;

use axum::extract::{Extension, Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use self::form::{FIELDS, RegistryForm};
use super::{REGISTRIES, Wrong, tabs};
use crate::app::auth::Role;
use crate::app::registries::{RegistryUseError, RegistryView};
use crate::app::{PAGE_LIMIT_MAX, PageRequest};
use crate::http::HttpState;
use crate::http::access::{Caller, Told};
use crate::http::error::{Code, Problem};
use crate::http::extract::{Path, id_or};
use crate::http::page::{containers, format, layout};
use crate::registry::{ImageCheck, RateLimit};

/// Images of which a check failed that are shown.
const FAILED_SHOWN: usize = 100;
/// Registries whose limits are shown.
const LIMITS_SHOWN: usize = 200;
struct View {
    /// For admins alone: who we are somewhere is nobody else's.
    registries: Option<Vec<RegistryView>>,
    limits: Vec<(String, RateLimit)>,
    failed: Vec<ImageCheck>,
    checks: usize,
    now_ms: i64,
}

/// The page.
pub(in crate::http) async fn show(State(state): State<HttpState>, caller: Caller) -> Result<Markup, Problem> {
    let registries = match caller.principal.may(Role::Admin) {
        true => {
            let all = PageRequest {
                limit: Some(PAGE_LIMIT_MAX),
                cursor: None,
            };
            Some(state.app.registries(all).await?.items)
        }
        false => None,
    };
    let checks = state.registries.checks().await.map_err(RegistryUseError::from)?;
    let view = View {
        registries,
        limits: state.registries.limits().into_iter().collect(),
        checks: checks.len(),
        failed: checks.into_iter().filter(|check| check.error.is_some()).collect(),
        now_ms: state.app.clock().now_ms(),
    };
    Ok(layout::page("Registries", &caller.principal, &draw(&view)))
}

fn draw(view: &View) -> Markup {
    html! {
        p class="crumbs" { a href="/" { "Servers" } }
        div class="head" { h1 { "Registries" } }
        (tabs(REGISTRIES))
        @if let Some(registries) = &view.registries { (credentials(registries, view.now_ms)) }
        (limits(view))
        (failed(view))
    }
}

fn credentials(registries: &[RegistryView], now_ms: i64) -> Markup {
    html! {
        section class="card" {
            header { h2 { "Registries with an account" } span class="soft" { (registries.len()) } }
            @if registries.is_empty() {
                p class="empty" { "There is none: public images are asked for without an account, as far as the registry lets anybody." }
            } @else {
                div class="scroll" {
                    table class="stack" {
                        thead { tr { th { "Registry" } th { "Account" } th { "Does it work" } th { "" } } }
                        tbody { @for one in registries { (line(one, now_ms)) } }
                    }
                }
            }
            div class="acts" { a class="button" href={ (REGISTRIES) "/new" } { "Add a registry" } }
        }
    }
}

fn line(one: &RegistryView, now_ms: i64) -> Markup {
    let class = match one.validation.as_str() {
        "valid" => "good",
        "invalid" => "bad",
        _ => "dim",
    };
    html! {
        tr {
            td {
                a class="name" href={ (REGISTRIES) "/" (one.id) } { (one.name) }
                @if !one.enabled { " " span class="pill dim" { "off" } }
                @if one.allow_http { " " span class="tag bad" { "without TLS" } }
                div class="under" { (one.url) @if !one.description.is_empty() { " · " (one.description) } }
            }
            td class="wrap" data-label="Account" {
                @if one.username.is_empty() { span class="soft" { "no name" } } @else { (one.username) }
                div class="under" { @if one.has_password { "a password is set" } @else { "no password is set" } }
            }
            td class="wrap" data-label="Works" {
                span class={ "pill " (class) } { (one.validation) }
                @if let Some(at) = one.validated_ms { div class="under" { "tried " (format::ago(at, now_ms)) } }
                @if let Some(error) = &one.validation_error { div class="under" { (error) } }
            }
            td class="deeds" {
                @if one.enabled {
                    form method="post" action={ (REGISTRIES) "/" (one.id) "/validate" } class="inline" {
                        button type="submit" { "Try to log in" }
                    }
                }
            }
        }
    }
}

fn limits(view: &View) -> Markup {
    html! {
        section class="card" {
            header { h2 { "How much registries allow" } span class="soft" { "as they said last" } }
            @if view.limits.is_empty() { p class="empty" { "None has said so yet." } }
            @else {
                div class="scroll" {
                    table class="stack" {
                        thead { tr { th { "Registry" } th class="num" { "Left" } th { "Counted for" } th { "Now" } } }
                        tbody {
                            @for (host, limit) in view.limits.iter().take(LIMITS_SHOWN) { (limit_line(host, limit, view.now_ms)) }
                        }
                    }
                }
            }
        }
    }
}

fn limit_line(host: &str, limit: &RateLimit, now_ms: i64) -> Markup {
    let number =
        |number: Option<u64>| number.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
    #[expect(clippy::cast_precision_loss, reason = "shown to the minute")]
    let seconds = |seconds: u64| seconds as f64;
    let blocked = limit.blocked_until_ms.filter(|until_ms| now_ms < *until_ms);
    html! {
        tr {
            td { span class="name" { (host) } }
            td class="num" data-label="Left" {
                (number(limit.remaining)) " of " (number(limit.limit))
                @if let Some(window_s) = limit.window_s {
                    div class="under" { "in " (format::duration(seconds(window_s))) }
                }
            }
            td class="wrap" data-label="Counted for" {
                (limit.source.as_deref().unwrap_or("it does not say"))
                @if let Some(told_ms) = limit.told_ms { div class="under" { "said " (format::ago(told_ms, now_ms)) } }
            }
            td data-label="Now" {
                @match blocked {
                    Some(until_ms) => {
                        span class="pill warn" { "not asked" }
                        div class="under" { "until " (format::time(until_ms)) }
                    }
                    None => { span class="soft" { "asked when it is time" } }
                }
            }
        }
    }
}

fn failed(view: &View) -> Markup {
    html! {
        section class="card" {
            header {
                h2 { "Images of which the last check failed" }
                span class="soft" { (view.failed.len()) " of " (view.checks) }
            }
            @if view.failed.is_empty() {
                p class="empty" {
                    @if view.checks == 0 { "No image was checked yet: registries are asked once an hour, or when somebody wants it." }
                    @else { "Every registry answered." }
                }
            } @else {
                div class="scroll" {
                    table class="stack" {
                        thead { tr { th { "Image" } th { "Why" } th { "Tried" } th { "Known since" } } }
                        tbody {
                            @for check in view.failed.iter().take(FAILED_SHOWN) {
                                tr {
                                    td class="wrap" {
                                        span class="name" { (check.reference.familiar()) }
                                        div class="under" { (check.platform) }
                                    }
                                    td class="wrap" data-label="Why" {
                                        (check.error.as_deref().unwrap_or_default())
                                        div class="under" { (check.failures) " times in a row" }
                                    }
                                    td class="nowrap" data-label="Tried" { (format::ago(check.tried_ms, view.now_ms)) }
                                    td class="nowrap" data-label="Known since" {
                                        @match check.checked_ms {
                                            Some(at) => { (format::ago(at, view.now_ms)) }
                                            None => { span class="pill dim" { "unknown" } }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
                @if FAILED_SHOWN < view.failed.len() { p class="soft pad" { "The API has the others." } }
            }
        }
    }
}

/// The form of a new registry.
pub(in crate::http) async fn new(caller: Caller) -> Markup {
    let form = RegistryForm::fresh();
    page(&caller, None, &form, &Wrong::default())
}

/// A registry, as a form.
pub(in crate::http) async fn edit(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let view = state.app.registry(id_or(&id, Code::RegistryNotFound)?).await?;
    let form = RegistryForm::of(&view);
    Ok(page(&caller, Some(&view), &form, &Wrong::default()))
}

fn page(caller: &Caller, view: Option<&RegistryView>, form: &RegistryForm, wrong: &Wrong) -> Markup {
    let title = view.map_or("A registry", |view| view.name.as_str());
    let action = view.map_or_else(
        || REGISTRIES.to_owned(),
        |view| format!("{REGISTRIES}/{}", view.id),
    );
    let nothing = html! {};
    let drawn = html! {
        p class="crumbs" { a href="/" { "Servers" } " / " a href=(REGISTRIES) { "Registries" } }
        div class="head" { h1 { (title) } }
        (wrong.others(&FIELDS))
        (form.draw(&action, wrong, view.is_some_and(|view| view.has_password)))
        @if let Some(view) = view {
            div class="acts" {
                (containers::confirmed("Delete", "Yes, delete it with its credentials",
                    &format!("{REGISTRIES}/{}/delete", view.id), &nothing))
            }
        }
    };
    layout::still(title, &caller.principal, &drawn)
}

/// Makes a registry.
pub(in crate::http) async fn add(
    State(state): State<HttpState>,
    caller: Caller,
    Form(form): Form<RegistryForm>,
) -> Result<Response, Problem> {
    kept(
        &caller,
        None,
        &form,
        state.app.create_registry(form.fields()).await,
    )
}

/// Changes a registry.
pub(in crate::http) async fn change(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Form(form): Form<RegistryForm>,
) -> Result<Response, Problem> {
    let id = id_or(&id, Code::RegistryNotFound)?;
    let before = state.app.registry(id).await?;
    let changed = state.app.change_registry(id, form.fields()).await;
    kept(&caller, Some(&before), &form, changed)
}

/// Leads back, or shows the form again with what is wrong at its fields.
fn kept(
    caller: &Caller,
    before: Option<&RegistryView>,
    form: &RegistryForm,
    done: Result<RegistryView, RegistryUseError>,
) -> Result<Response, Problem> {
    let mut wrong = Wrong::default();
    match done {
        Ok(view) => {
            let told = Told(format!("{} ({}) as {:?}", view.name, view.host, view.username));
            return Ok((Extension(told), Redirect::to(REGISTRIES)).into_response());
        }
        Err(RegistryUseError::Invalid(problems)) => {
            for problem in problems {
                wrong.note(problem.field, problem.message);
            }
        }
        Err(error @ RegistryUseError::NameTaken) => wrong.note("name", error.to_string()),
        Err(error @ RegistryUseError::HostTaken) => wrong.note("registry_url", error.to_string()),
        Err(error) => return Err(error.into()),
    }
    let page = page(caller, before, form, &wrong);
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

/// Logs in to a registry; how that went is on the page.
pub(in crate::http) async fn validate(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = id_or(&id, Code::RegistryNotFound)?;
    let view = state.registries.validate(id).await?;
    let told = format!("{} ({}): {}", view.name, view.host, view.validation);
    Ok((Extension(Told(told)), Redirect::to(REGISTRIES)).into_response())
}

/// Removes a registry with its credentials.
pub(in crate::http) async fn delete(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = id_or(&id, Code::RegistryNotFound)?;
    state.app.remove_registry(id).await?;
    Ok(Redirect::to(REGISTRIES).into_response())
}
