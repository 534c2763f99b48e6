//! Roll-outs: which servers have it, which wave it is at, and the brakes.

mod draw;
mod form;

use axum::extract::State;
use maud::{Markup, html};
use muster_update::RolloutState;
use serde::Deserialize;

pub(super) use self::draw::summary;
use self::draw::{members, pill};
use super::{ROLLOUTS, framed};
use crate::app::PageRequest;
use crate::app::auth::Role;
use crate::http::HttpState;
use crate::http::access::Caller;
use crate::http::error::{Code, Problem};
use crate::http::extract::{Path, Query, id_or};
use crate::http::page::asked::{Answer, Asked, again, done};
use crate::http::page::form::{Refused, Sent, Written};
use crate::http::page::layout::{self, Following};
use crate::update::{KeptRollout, RolloutDeed};

/// How often the page of one that goes on is loaded anew without a script, in seconds.
const EVERY_S: u32 = 30;
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
    all(&state, &caller, query.before, None).await
}

async fn all(
    state: &HttpState,
    caller: &Caller,
    before: Option<i64>,
    written: Option<Written<'_>>,
) -> Result<Markup, Problem> {
    let wanted = PageRequest {
        limit: Some(PAGE),
        cursor: before.map(|before| before.to_string()),
    };
    let page = state.updates.rollouts(wanted).await?;
    let names = state.app.server_names().await?;
    let may_act = caller.principal.may(Role::Operator);
    let now_ms = state.app.clock().now_ms();
    let form = form::fields(&names);
    let drawn = html! {
        @if let Some((_, wrong)) = written { (wrong.draw(&form)) }
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
        @if may_act {
            section class="card" {
                header { h2 { "Begin a roll-out" } span class="soft" { "of every open update whose image matches" } }
                (form.draw_row("first", ROLLOUTS, written, "Begin it"))
            }
        }
    };
    let drawn = framed("Roll-outs", ROLLOUTS, &drawn);
    if written.is_some() {
        return Ok(layout::still("Roll-outs", &caller.principal, &drawn));
    }
    // Without a script what is being written is not taken away.
    let following = Following::everything(None);
    Ok(layout::following(
        "Roll-outs",
        &caller.principal,
        &drawn,
        following,
    ))
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
    let every_s = (kept.rollout.state == RolloutState::Running).then_some(EVERY_S);
    let (name, user) = (&kept.rollout.name, &caller.principal);
    Ok(layout::following(
        name,
        user,
        &drawn,
        Following::everything(every_s),
    ))
}

/// Begins a roll-out.
pub(in crate::http) async fn begin(asked: Asked) -> Answer {
    let names = asked.state.app.server_names().await?;
    let sent = Sent::read(&form::fields(&names), &asked.pairs)?;
    match create(&asked, &sent).await {
        Ok(kept) => done(
            format!("roll-out {} {}", kept.id, kept.rollout.name),
            &format!("{ROLLOUTS}/{}", kept.id),
        ),
        Err(refused) => {
            let wrong = refused.wrong()?;
            again(all(&asked.state, &asked.caller, None, Some((&sent, &wrong))).await?)
        }
    }
}

async fn create(asked: &Asked, sent: &Sent) -> Result<KeptRollout, Refused> {
    let body = form::meant(sent)?;
    Ok(asked.state.updates.create_rollout(body, asked.by()).await?)
}

/// Stops it for a while.
pub(in crate::http) async fn pause(asked: Asked) -> Answer {
    act(&asked, RolloutDeed::Pause).await
}

/// Lets it go on.
pub(in crate::http) async fn resume(asked: Asked) -> Answer {
    act(&asked, RolloutDeed::Resume).await
}

/// Ends it.
pub(in crate::http) async fn abort(asked: Asked) -> Answer {
    act(&asked, RolloutDeed::Abort).await
}

async fn act(asked: &Asked, deed: RolloutDeed) -> Answer {
    let id = asked.id(Code::RolloutNotFound)?;
    let kept = asked.state.updates.change_rollout(id, deed, asked.by()).await?;
    let told = format!("roll-out {id} is {}", kept.rollout.state.as_str());
    done(told, &format!("{ROLLOUTS}/{id}"))
}
