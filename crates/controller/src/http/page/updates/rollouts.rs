//! Roll-outs: which servers have it, which wave it is at, and the brakes.

mod draw;
mod form;

use axum::extract::{Extension, Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use muster_update::RolloutState;
use serde::Deserialize;

pub(super) use self::draw::summary;
use self::draw::{members, pill};
use self::form::{FIELDS, RolloutForm};
use super::{ROLLOUTS, Wrong, tabs};
use crate::app::PageRequest;
use crate::app::auth::Role;
use crate::http::HttpState;
use crate::http::access::{Caller, Told};
use crate::http::error::{Code, Problem};
use crate::http::extract::{Path, Query, id_or};
use crate::http::page::layout;
use crate::update::{RolloutDeed, UpdateError};

/// Roll-outs on one page.
const PAGE: u32 = 50;

/// Which part of the list is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::http) struct RolloutsQuery {
    before: Option<i64>,
}

/// The page of all roll-outs.
pub(in crate::http) async fn show(
    State(state): State<HttpState>,
    caller: Caller,
    Query(query): Query<RolloutsQuery>,
) -> Result<Markup, Problem> {
    all(
        &state,
        &caller,
        query.before,
        &RolloutForm::default(),
        &Wrong::default(),
    )
    .await
}

async fn all(
    state: &HttpState,
    caller: &Caller,
    before: Option<i64>,
    form: &RolloutForm,
    wrong: &Wrong,
) -> Result<Markup, Problem> {
    let wanted = PageRequest {
        limit: Some(PAGE),
        cursor: before.map(|before| before.to_string()),
    };
    let page = state.updates.rollouts(wanted).await?;
    let names = state.app.server_names().await?;
    let may_act = caller.principal.may(Role::Operator);
    let now_ms = state.app.clock().now_ms();
    let drawn = html! {
        p class="crumbs" { a href="/" { "Servers" } }
        div class="head" { h1 { "Roll-outs" } }
        (tabs(ROLLOUTS))
        (wrong.others(&FIELDS))
        @if page.items.is_empty() {
            section class="card" {
                div class="empty" {
                    p { "There was none. A roll-out takes open updates to one server first, then to more and more, and stops as soon as it does harm." }
                    @if !may_act { p { "An operator can begin one." } }
                }
            }
        }
        @for kept in &page.items {
            section class="card" { (summary(kept, &names, now_ms, may_act)) }
        }
        @if let Some(next) = &page.next { p { a href={ (ROLLOUTS) "?before=" (next) } { "Older roll-outs" } } }
        @if may_act { (form::draw(form, wrong, &names)) }
    };
    Ok(layout::still("Roll-outs", &caller.principal, &drawn))
}

/// The page of one roll-out.
pub(in crate::http) async fn show_one(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let kept = state.updates.rollout(id_or(&id, Code::RolloutNotFound)?).await?;
    let names = state.app.server_names().await?;
    let may_act = caller.principal.may(Role::Operator);
    let now_ms = state.app.clock().now_ms();
    let drawn = html! {
        p class="crumbs" { a href="/" { "Servers" } " / " a href=(ROLLOUTS) { "Roll-outs" } }
        div class="head" { h1 { (kept.rollout.name) } (pill(kept.rollout.state)) }
        section class="card" { (summary(&kept, &names, now_ms, may_act)) }
        (members(&kept.rollout, &names))
    };
    Ok(if kept.rollout.state == RolloutState::Running {
        layout::page(&kept.rollout.name, &caller.principal, &drawn)
    } else {
        layout::still(&kept.rollout.name, &caller.principal, &drawn)
    })
}

/// Begins a roll-out.
pub(in crate::http) async fn begin(
    State(state): State<HttpState>,
    caller: Caller,
    Form(form): Form<RolloutForm>,
) -> Result<Response, Problem> {
    let mut wrong = Wrong::default();
    let body = form.read(&mut wrong);
    if wrong.is_empty() {
        match state
            .updates
            .create_rollout(body, &caller.principal.username)
            .await
        {
            Ok(kept) => {
                let told = Told(format!("roll-out {} {}", kept.id, kept.rollout.name));
                let to = format!("{ROLLOUTS}/{}", kept.id);
                return Ok((Extension(told), Redirect::to(&to)).into_response());
            }
            Err(UpdateError::Invalid(problems)) => wrong = problems.into(),
            Err(error) => return Err(error.into()),
        }
    }
    let page = all(&state, &caller, None, &form, &wrong).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

/// Stops it for a while.
pub(in crate::http) async fn pause(
    state: State<HttpState>,
    caller: Caller,
    id: Path<String>,
) -> Result<Response, Problem> {
    act(state, caller, id, RolloutDeed::Pause).await
}

/// Lets it go on.
pub(in crate::http) async fn resume(
    state: State<HttpState>,
    caller: Caller,
    id: Path<String>,
) -> Result<Response, Problem> {
    act(state, caller, id, RolloutDeed::Resume).await
}

/// Ends it.
pub(in crate::http) async fn abort(
    state: State<HttpState>,
    caller: Caller,
    id: Path<String>,
) -> Result<Response, Problem> {
    act(state, caller, id, RolloutDeed::Abort).await
}

async fn act(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    deed: RolloutDeed,
) -> Result<Response, Problem> {
    let id = id_or(&id, Code::RolloutNotFound)?;
    let kept = state
        .updates
        .change_rollout(id, deed, &caller.principal.username)
        .await?;
    let told = Told(format!("roll-out {id} is {}", kept.rollout.state.as_str()));
    Ok((Extension(told), Redirect::to(&format!("{ROLLOUTS}/{id}"))).into_response())
}
