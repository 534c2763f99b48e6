//! Update policies: what may happen to which containers, made and changed on the page.

mod form;

use axum::extract::{Extension, Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use muster_update::{Policy, Scope};

use self::form::{Choices, PolicyForm};
use super::{POLICIES, Wrong, tabs};
use crate::app::auth::Role;
use crate::http::HttpState;
use crate::http::access::{Caller, Told};
use crate::http::error::{Code, Problem};
use crate::http::extract::{Path, id_or};
use crate::http::page::{containers, format, layout};
use crate::update::{Kept, UpdateError};

/// The page of all policies.
pub(in crate::http) async fn show(State(state): State<HttpState>, caller: Caller) -> Result<Markup, Problem> {
    let mut kept = state.updates.kept_policies().await?;
    // In the order in which they decide.
    kept.sort_by_key(|kept| {
        let policy = &kept.document;
        (
            !policy.is_enabled(),
            std::cmp::Reverse((policy.priority(), policy.body.scope)),
            policy.id,
        )
    });
    let may_change = caller.principal.may(Role::Admin);
    let drawn = html! {
        p class="crumbs" { a href="/" { "Servers" } }
        div class="head" { h1 { "Update policies" } }
        (tabs(POLICIES))
        section class="card" {
            header {
                h2 { "What may happen to which containers" }
                span class="soft" { (kept.len()) " · the first that takes a container decides" }
            }
            @if kept.is_empty() {
                p class="empty" {
                    "There is none: nothing happens by itself, and whatever is new waits for an operator."
                    @if may_change { " Make one below." } @else { " An admin can make one." }
                }
            } @else {
                div class="scroll" {
                    table class="stack" {
                        thead { tr { th { "Policy" } th { "Of" } th { "Mode" } th { "How far" } th class="num" { "Priority" } } }
                        tbody { @for one in &kept { (line(one)) } }
                    }
                }
            }
            @if may_change { div class="acts" { a class="button" href={ (POLICIES) "/new" } { "Make a policy" } } }
        }
    };
    Ok(layout::page("Update policies", &caller.principal, &drawn))
}

fn line(kept: &Kept<Policy>) -> Markup {
    let policy = &kept.document;
    let body = &policy.body;
    html! {
        tr {
            td {
                a class="name" href={ (POLICIES) "/" (policy.id) } { (body.name) }
                @if !policy.is_enabled() { " " span class="pill dim" { "off" } }
                @if let Some(description) = &body.description { div class="under" { (description) } }
            }
            td class="wrap" data-label="Of" { (of(policy)) }
            td data-label="Mode" {
                (body.mode.as_str())
                @if body.auto_approve { div class="under" { "nobody needs to approve" } }
                @if let Some(window) = body.maintenance_window_id { div class="under" { "in window " (window) } }
                @if let Some(cron) = &body.update_schedule { div class="under mono" { (cron) } }
            }
            td class="wrap" data-label="How far" {
                (policy.limit().as_str())
                @if let Some(versions) = &body.allowed_versions { div class="under mono" { (versions) } }
                @if let Some(age) = &body.min_age { div class="under" { "known for " (age) } }
            }
            td class="num" data-label="Priority" { (policy.priority()) }
        }
    }
}

/// Of which containers, in words.
fn of(policy: &Policy) -> String {
    let body = &policy.body;
    let mut told = Vec::new();
    if let Some(id) = body.server_id {
        told.push(format!("server {id}"));
    }
    if let Some(id) = body.container_id {
        told.push(format!("container {id}"));
    }
    if let Some(pattern) = &body.image_pattern {
        told.push(format!("images {pattern}"));
    }
    for (name, value) in body.label_selector.iter().flatten() {
        told.push(format!("label {name}={value}"));
    }
    if body.scope == Scope::Global || told.is_empty() {
        "every container".to_owned()
    } else {
        told.join(", and ")
    }
}

/// The form of a new policy.
pub(in crate::http) async fn new(State(state): State<HttpState>, caller: Caller) -> Result<Markup, Problem> {
    page(&state, &caller, None, &PolicyForm::fresh(), &Wrong::default()).await
}

/// A policy, as a form for whoever may change it.
pub(in crate::http) async fn edit(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let id = id_or(&id, Code::UpdatePolicyNotFound)?;
    let kept = state.updates.kept_policies().await?;
    let kept = kept.into_iter().find(|kept| kept.document.id == id);
    let kept = kept.ok_or_else(|| {
        Problem::new(
            Code::UpdatePolicyNotFound,
            format!("there is no update policy {id}"),
        )
    })?;
    let form = PolicyForm::of(&kept.document.body);
    page(&state, &caller, Some(&kept), &form, &Wrong::default()).await
}

async fn page(
    state: &HttpState,
    caller: &Caller,
    kept: Option<&Kept<Policy>>,
    form: &PolicyForm,
    wrong: &Wrong,
) -> Result<Markup, Problem> {
    let choices = Choices::load(state).await?;
    let may_change = caller.principal.may(Role::Admin);
    let title = kept.map_or("A new policy", |kept| kept.document.body.name.as_str());
    let action = kept.map_or_else(
        || POLICIES.to_owned(),
        |kept| format!("{POLICIES}/{}", kept.document.id),
    );
    let nothing = html! {};
    let drawn = html! {
        p class="crumbs" { a href="/" { "Servers" } " / " a href=(POLICIES) { "Update policies" } }
        div class="head" {
            h1 { (title) }
            @if let Some(kept) = kept {
                div class="sub" { span { "changed " (format::time(kept.updated_ms)) " by " (kept.updated_by) } }
            }
        }
        (wrong.others(&form::FIELDS))
        (form.draw(&action, &choices, wrong, may_change))
        @if let (Some(kept), true) = (kept, may_change) {
            div class="acts" {
                (containers::confirmed("Delete", "Yes, delete it",
                    &format!("{POLICIES}/{}/delete", kept.document.id), &nothing))
            }
        }
    };
    Ok(layout::still(title, &caller.principal, &drawn))
}

/// Makes a policy.
pub(in crate::http) async fn add(
    state: State<HttpState>,
    caller: Caller,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    put(state, caller, None, &pairs).await
}

/// Puts another in the place of a policy.
pub(in crate::http) async fn change(
    state: State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let id = id_or(&id, Code::UpdatePolicyNotFound)?;
    put(state, caller, Some(id), &pairs).await
}

async fn put(
    State(state): State<HttpState>,
    caller: Caller,
    id: Option<i64>,
    pairs: &[(String, String)],
) -> Result<Response, Problem> {
    let form = PolicyForm::read(pairs)?;
    let mut wrong = Wrong::default();
    let kept = state.updates.kept_policies().await?;
    let old = kept.iter().find(|kept| Some(kept.document.id) == id);
    let body = form.body(old.map(|kept| &kept.document.body), &mut wrong);
    if wrong.is_empty() {
        match state
            .updates
            .put_policy(id, body, &caller.principal.username)
            .await
        {
            Ok(kept) => {
                let told = Told(kept.document.body.name);
                return Ok((Extension(told), Redirect::to(POLICIES)).into_response());
            }
            Err(UpdateError::Invalid(problems)) => wrong = problems.into(),
            Err(error) => return Err(error.into()),
        }
    }
    let page = page(&state, &caller, old, &form, &wrong).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

/// Deletes a policy.
pub(in crate::http) async fn delete(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = id_or(&id, Code::UpdatePolicyNotFound)?;
    state.updates.delete_policy(id).await?;
    Ok(Redirect::to(POLICIES).into_response())
}
