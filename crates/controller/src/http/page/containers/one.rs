//! The page of a container.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use muster_base::id::ResourceId;
use muster_model::{Health, ResourceKind};
use serde::Deserialize;

use super::charts::Charts;
use super::{Doing, PATH, facts, offer, since};
use crate::app::PageRequest;
use crate::app::auth::Role;
use crate::app::resources::ResourceView;
use crate::app::servers::ServerView;
use crate::app::status::ServerStatus;
use crate::app::topology::Impact;
use crate::http::HttpState;
use crate::http::access::Caller;
use crate::http::error::{Code, Problem};
use crate::http::extract::{Path, Query, id_or};
use crate::http::page::layout::{Following, SOON_S};
use crate::http::page::load::text;
use crate::http::page::{layout, map, resource, updates};
use crate::update::{
    CheckRound, CheckState, History, HistoryFilter, Judged, Update, UpdateError, UpdateFilter, UpdateState,
};

/// Records of its updates that are shown.
const RECORDS: u32 = 10;

/// What is wanted of the page.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::http) struct OneQuery {
    span: String,
}

struct View {
    judged: Judged,
    policy: Option<String>,
    server: ServerView,
    impact: Impact,
    charts: Charts,
    doing: Doing,
    records: Vec<History>,
    records_total: u64,
    /// The update that could be taken back.
    last: Option<Update>,
    frozen: Option<String>,
    round: CheckRound,
    now_ms: i64,
}

/// The page.
pub(in crate::http) async fn show_one(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<OneQuery>,
) -> Result<Response, Problem> {
    let id = id_or(&id, Code::ContainerNotFound)?;
    let judged = match state.updates.explain(id).await {
        Ok(judged) => judged,
        Err(error @ UpdateError::NotFound { .. }) => return gone(&state, id, error).await,
        Err(error) => return Err(error.into()),
    };
    let view = load(&state, judged, &query.span).await?;
    let drawn = draw(&view, caller.principal.may(Role::Operator));
    let name = &view.judged.seen.container.name;
    let is_asking = view.round.state == CheckState::Running;
    let is_under_way = is_asking
        || view.doing.is_under_way()
        || view.judged.update.as_ref().is_some_and(Update::is_under_way);
    let following = Following {
        of: Some((id, view.server.id)),
        // Without a script what is being confirmed is not taken away, unless there is something to see.
        every_s: is_under_way.then_some(SOON_S),
        is_asking,
    };
    let page = layout::following(name, &caller.principal, &drawn, following);
    Ok(page.into_response())
}

/// A container that is gone is shown as any other resource.
async fn gone(state: &HttpState, id: i64, error: UpdateError) -> Result<Response, Problem> {
    match state.app.resource(ResourceId(id)).await {
        Ok(view) if view.kind == ResourceKind::Container => {
            Ok(Redirect::to(&format!("/resources/{id}")).into_response())
        }
        _ => Err(error.into()),
    }
}

async fn load(state: &HttpState, judged: Judged, span: &str) -> Result<View, Problem> {
    let now_ms = state.app.clock().now_ms();
    let container = &judged.seen.view;
    let id = container.id.0;
    let of_container = HistoryFilter {
        container: Some(id),
        ..HistoryFilter::default()
    };
    let newest = PageRequest {
        limit: Some(RECORDS),
        cursor: None,
    };
    let records = state.updates.history(of_container, newest).await?;
    let policies = state.updates.kept_policies().await?;
    let policy = policies
        .into_iter()
        .find(|kept| Some(kept.document.id) == judged.explanation.policy_id);
    Ok(View {
        server: state.app.server(container.server).await?,
        impact: state.app.impact(container.id).await?,
        charts: Charts::of(state, container, span, now_ms).await?,
        doing: Doing::of(state, &judged.seen).await?,
        last: last_done(state, id, &records.items).await?,
        frozen: state.updates.freeze().await?.words().map(str::to_owned),
        records_total: records.total,
        records: records.items,
        policy: policy.map(|kept| kept.document.body.name),
        round: state.updates.check_round(),
        judged,
        now_ms,
    })
}

/// The update that the container runs, if it was done from here and nothing came after it.
async fn last_done(
    state: &HttpState,
    container: i64,
    records: &[History],
) -> Result<Option<Update>, Problem> {
    let newest = records.first();
    let is_it =
        |record: &&History| record.status == UpdateState::Completed && record.body.update_type == "update";
    let Some(record) = newest.filter(is_it) else {
        return Ok(None);
    };
    let filter = UpdateFilter {
        state: Some(UpdateState::Completed),
        container: Some(container),
        ..UpdateFilter::default()
    };
    let all = PageRequest {
        limit: Some(crate::app::PAGE_LIMIT_MAX),
        cursor: None,
    };
    let done = state.updates.list(filter, all).await?.items;
    Ok(done.into_iter().find(|update| update.id == record.update_id))
}

fn draw(view: &View, may_act: bool) -> Markup {
    let container = &view.judged.seen.view;
    let address = map::address(container);
    html! {
        p class="crumbs" {
            a href="/" { "Servers" } " / " a href={ "/servers/" (container.server) } { (view.server.hostname) }
            " / " a href=(PATH) { "Containers" }
        }
        (head(container))
        (verdict(container))
        @if view.server.status != ServerStatus::Online {
            section class="card notice warn" {
                "Its server is " (layout::status(view.server.status)) ": what is shown may be old, and what is asked may wait."
            }
        }
        @if let Some(reason) = &view.frozen {
            section class="card notice warn" {
                strong { "Nothing is changed anywhere: the freeze switch is on" } @if !reason.is_empty() { ", because " (reason) }
                ". " a href=(updates::PATH) { "See there." }
            }
        }
        @if may_act { (deeds(container)) }
        (updates::asking(&view.round))
        (view.doing.draw(&view.server.hostname, view.now_ms))
        (offer::draw(&view.judged, view.policy.as_deref(), view.last.as_ref(), may_act))
        (view.charts.draw(&address))
        @if may_act { (view.doing.log(view.now_ms)) }
        (ground(&view.impact))
        (facts::draw(container))
        (offer::history(&view.records, view.records_total, container.id.0))
    }
}

fn head(container: &ResourceView) -> Markup {
    let status = text(container, "status").unwrap_or_else(|| "unknown".to_owned());
    html! {
        div class="head" {
            h1 { (container.name) }
            (layout::health(container.health))
            span class="tag" { (status) }
            div class="sub" {
                @if let Some(image) = text(container, "image") { span class="mono" { (image) } }
                @if let Some(since) = since(container, &status) { span { "since " (since) } }
            }
        }
    }
}

fn verdict(container: &ResourceView) -> Markup {
    html! {
        @if !container.health_reasons.is_empty() || container.health == Health::Unknown {
            section class={ "card notice " (layout::health_class(container.health)) } {
                @if container.health_reasons.is_empty() { "How it does is not known." }
                @else { ul { @for reason in &container.health_reasons { li { (reason) } } } }
            }
        }
    }
}

/// What it rests on, down to the disks.
fn ground(impact: &Impact) -> Markup {
    html! {
        @if impact.rests_on.is_empty() {
            section class="card" {
                header { h2 { "Rests on" } }
                p class="empty" { "Nothing is known that it rests on: it has no volume, or what lies under it was not seen." }
            }
        } @else { (resource::rests_on(impact)) }
    }
}

fn deeds(container: &ResourceView) -> Markup {
    let status = text(container, "status").unwrap_or_default();
    let to = |deed: &str| format!("{PATH}/{}/{deed}", container.id);
    let nothing = html! {};
    html! {
        section class="card" {
            div class="acts first" {
                @if matches!(status.as_str(), "running" | "restarting" | "paused") {
                    (super::confirmed("Restart", "Yes, restart it", &to("restart"), &nothing))
                    (super::confirmed("Stop", "Yes, stop it", &to("stop"), &nothing))
                } @else {
                    (super::confirmed("Start", "Yes, start it", &to("start"), &nothing))
                }
                form method="post" action=(to("logs")) class="inline" { button type="submit" { "Read its log" } }
                span class="soft" { "The server's own policy has the last word." }
            }
        }
    }
}
