//! The page of updates: what waits for somebody, what waits for something, what goes on.

use axum::extract::State;
use maud::{Markup, html};
use muster_base::id::ServerId;
use muster_model::CommandStatus;
use muster_update::{Decision, RolloutState};
use serde::Deserialize;

use super::{PATH, ROLLOUTS, asking, digest, framed, freeze, rollouts, state as state_pill};
use crate::app::PageRequest;
use crate::app::auth::Role;
use crate::app::series::Names;
use crate::http::HttpState;
use crate::http::access::Caller;
use crate::http::error::Problem;
use crate::http::extract::Query;
use crate::http::page::form::Wrong;
use crate::http::page::layout::{Following, SOON_S};
use crate::http::page::{containers, format, layout};
use crate::update::{CheckRound, CheckState, Freeze, KeptRollout, Outlook, Update, UpdateState, Waiting};

/// How often the page is loaded anew without a script while something is under way, in seconds.
const EVERY_S: u32 = 30;
/// Updates of each list on one page.
const PAGE: usize = 100;
/// Roll-outs among which those that go on are looked for.
const ROLLOUTS_READ: u32 = 100;
/// Bad digests that are shown.
const BAD_SHOWN: usize = 100;

struct View {
    outlook: Outlook,
    /// How far the commands of what goes on are.
    commands: Vec<Option<CommandStatus>>,
    rollouts: Vec<KeptRollout>,
    freeze: Freeze,
    bad: Vec<(String, serde_json::Value, i64)>,
    names: Names,
    round: CheckRound,
    page: usize,
    now_ms: i64,
}

/// Which page is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::http) struct WaitingQuery {
    page: String,
}

/// The page.
pub(in crate::http) async fn show(
    State(state): State<HttpState>,
    caller: Caller,
    Query(query): Query<WaitingQuery>,
) -> Result<Markup, Problem> {
    let at = query
        .page
        .parse::<usize>()
        .map_or(0, |page| page.saturating_sub(1));
    page(&state, &caller, at, &Wrong::default(), &[]).await
}

/// The page, with what is wrong with the form of the freeze switch, and what was not done.
pub(super) async fn page(
    state: &HttpState,
    caller: &Caller,
    page: usize,
    wrong: &Wrong,
    refused: &[String],
) -> Result<Markup, Problem> {
    let view = load(state, page).await?;
    let may_choose = caller.principal.may(Role::Operator)
        && view
            .outlook
            .waiting
            .iter()
            .any(|waiting| waiting.explanation.decision == Decision::NeedsApproval);
    let drawn = framed("Updates", PATH, &draw(&view, wrong, refused, &caller.principal));
    if !refused.is_empty() || !wrong.is_empty() {
        return Ok(layout::still("Updates", &caller.principal, &drawn));
    }
    // Without a script what is being chosen is not taken away.
    let is_asking = view.round.state == CheckState::Running;
    let every_s = if may_choose {
        None
    } else if is_asking {
        Some(SOON_S)
    } else {
        (!view.outlook.going.is_empty()).then_some(EVERY_S)
    };
    let following = Following {
        is_asking,
        ..Following::everything(every_s)
    };
    Ok(layout::following("Updates", &caller.principal, &drawn, following))
}

async fn load(state: &HttpState, page: usize) -> Result<View, Problem> {
    let mut outlook = state.updates.outlook().await?;
    // What somebody must decide comes first, and of the rest what is nearest to beginning.
    outlook.waiting.sort_by_key(|waiting| {
        let nearness = match waiting.explanation.decision {
            Decision::NeedsApproval => 0,
            Decision::Ready => 1,
            Decision::WaitsForWindow(_) => 2,
            Decision::Held(_) => 3,
            Decision::Blocked(_) => 4,
            Decision::Unknown(_) | Decision::UpToDate => 5,
        };
        (nearness, waiting.update.id)
    });
    let last = outlook.waiting.len() / PAGE;
    let mut commands = Vec::new();
    for update in outlook.going.iter().take(PAGE) {
        commands.push(match update.body.command_id {
            Some(id) => state.updates.command(id).await?,
            None => None,
        });
    }
    let newest = PageRequest {
        limit: Some(ROLLOUTS_READ),
        cursor: None,
    };
    let mut rollouts = state.updates.rollouts(newest).await?.items;
    rollouts.retain(|kept| !kept.rollout.state.is_over());
    Ok(View {
        outlook,
        commands,
        rollouts,
        freeze: state.updates.freeze().await?,
        bad: state.updates.bad_digests().await?,
        round: state.updates.check_round(),
        names: state.app.server_names().await?,
        page: page.min(last),
        now_ms: state.app.clock().now_ms(),
    })
}

fn draw(view: &View, wrong: &Wrong, refused: &[String], who: &crate::app::auth::Principal) -> Markup {
    let may_act = who.may(Role::Operator);
    let (asked, others): (Vec<&Waiting>, Vec<&Waiting>) = view
        .outlook
        .waiting
        .iter()
        .partition(|waiting| waiting.explanation.decision == Decision::NeedsApproval);
    html! {
        @if !refused.is_empty() {
            section class="card notice bad" role="alert" {
                strong { "Not all of it was done:" }
                ul { @for one in refused { li { (one) } } }
            }
        }
        (asking(&view.round))
        (freeze::draw(&view.freeze, wrong, may_act))
        div class="tiles" {
            (layout::tile("Under way", view.outlook.going.len(), "", &html! {
                @if view.outlook.going.is_empty() { "nothing is begun" } @else { "begun, and not over" }
            }))
            (layout::tile("To be approved", asked.len(), "", &html! {
                @if asked.is_empty() { "nobody is waited for" } @else { a href="#approvals" { "somebody must say yes" } }
            }))
            (layout::tile("Waiting", others.len(), "", &html! {
                @if others.is_empty() { "nothing else waits" } @else { a href="#waiting" { "for their time, or held" } }
            }))
            (layout::tile("Did harm", view.bad.len(), "", &html! {
                @if view.bad.is_empty() { "no image is barred" } @else { a href="#harm" { "images that are barred" } }
            }))
        }
        (going(view))
        (open_rollouts(view, may_act))
        (approvals(view, &asked, may_act))
        (rest(view, &others))
        (bad(view, who.may(Role::Admin)))
    }
}

/// The container of an update, and from what to what.
fn what(view: &View, update: &Update) -> Markup {
    let body = &update.body;
    html! {
        td {
            a class="name" href={ (containers::PATH) "/" (update.container_id) } { (body.container_name) }
            div class="under" { "on " a href={ "/servers/" (update.server_id) } { (containers::hostname(&view.names, ServerId(update.server_id))) } }
        }
        td class="wrap" data-label="Update" {
            (body.from_image) @if body.from_image != body.to_image { " → " (body.to_image) }
            div class="under" {
                @if let Some(change) = body.change { (containers::change_word(change)) ", " }
                (digest(&update.digest))
            }
        }
    }
}

fn going(view: &View) -> Markup {
    let going = &view.outlook.going;
    html! {
        @if !going.is_empty() {
            section class="card" aria-live="polite" {
                header { h2 { "Under way" } span class="soft" { (going.len()) } a class="more" href=(PATH) { "Look again" } }
                div class="scroll" {
                    table class="stack" {
                        thead { tr { th { "Container" } th { "Update" } th { "How far" } th { "Since" } } }
                        tbody {
                            @for (update, command) in going.iter().zip(&view.commands) {
                                tr {
                                    (what(view, update))
                                    td class="wrap" data-label="How far" { (how_far(update, command.as_ref())) }
                                    td class="nowrap" data-label="Since" {
                                        (update.body.begun_ms.map_or_else(|| "–".to_owned(), |at| format::ago(at, view.now_ms)))
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn how_far(update: &Update, command: Option<&CommandStatus>) -> Markup {
    html! {
        @match command {
            Some(status) => {
                (containers::doing_pill(status.state))
                @if !status.step.is_empty() { " " span class="tag" { (format::words(&status.step)) } }
                @if let Some(share) = status.progress.filter(|share| share.is_finite()) {
                    " " progress max="1" value=(format!("{:.3}", share.clamp(0.0, 1.0))) aria-label="How much is done" {}
                }
                @if !status.message.is_empty() { div class="under" { (status.message) } }
            }
            None => { span class="pill dim" { "nobody was told yet" } }
        }
        @if let Some(unknown) = &update.body.unknown {
            div class="under" { "Nobody knows yet what became of it (" (unknown) "): the agent's next word is waited for, at most a day." }
        }
        @if update.body.is_rollback { div class="under" { "goes back to what was before" } }
    }
}

fn open_rollouts(view: &View, may_act: bool) -> Markup {
    html! {
        @if !view.rollouts.is_empty() {
            section class="card" {
                header {
                    h2 { "Roll-outs that go on" }
                    span class="soft" { (view.rollouts.len()) }
                    a class="more" href=(ROLLOUTS) { "All roll-outs" }
                }
                @for kept in &view.rollouts {
                    div class={ "rollout " (if kept.rollout.state == RolloutState::Stopped { "bad" } else { "" }) } {
                        (rollouts::summary(kept, &view.names, view.now_ms, may_act))
                    }
                }
            }
        }
    }
}

fn approvals(view: &View, asked: &[&Waiting], may_act: bool) -> Markup {
    let shown: Vec<&&Waiting> = asked.iter().skip(view.page * PAGE).take(PAGE).collect();
    html! {
        section class="card" id="approvals" {
            header { h2 { "Waits for somebody to say yes" } span class="soft" { (asked.len()) } }
            @if asked.is_empty() {
                div class="empty" {
                    p { "Nothing waits for an approval." }
                    @if may_act { (check()) }
                }
            } @else {
                form method="post" action={ (PATH) "/approve" } {
                    div class="scroll" {
                        table class="stack" {
                            thead { tr { @if may_act { th { "" } } th { "Container" } th { "Update" } th { "Offered" } } }
                            tbody {
                                @for waiting in shown {
                                    tr {
                                        @if may_act {
                                            td class="pick" {
                                                input type="checkbox" name="id" value=(waiting.update.id)
                                                    aria-label={ "Choose the update of " (waiting.update.body.container_name) };
                                            }
                                        }
                                        (what(view, &waiting.update))
                                        td class="nowrap" data-label="Offered" {
                                            (format::ago(waiting.update.created_ms, view.now_ms))
                                        }
                                    }
                                }
                            }
                        }
                    }
                    @if may_act {
                        div class="row" {
                            label class="wide" {
                                span { "Note " span class="soft" { "(can be left out)" } }
                                input name="note" maxlength="500" autocomplete="off";
                            }
                            button type="submit" { "Approve what is chosen" }
                            button type="submit" formaction={ (PATH) "/reject" } { "Reject what is chosen" }
                        }
                    }
                }
                (pages(view.page, asked.len()))
            }
        }
    }
}

/// The way to further pages of what waits.
fn pages(page: usize, count: usize) -> Markup {
    html! {
        @if (page + 1) * PAGE < count { p class="pad" { a href={ (PATH) "?page=" (page + 2) } { "Next" } } }
        @if 0 < page { p class="pad" { a href={ (PATH) "?page=" (page) } { "Previous" } } }
    }
}

fn check() -> Markup {
    html! {
        form method="post" action={ (PATH) "/check" } class="inline" {
            button type="submit" { "Have the registries asked now" }
        }
    }
}

fn rest(view: &View, others: &[&Waiting]) -> Markup {
    let shown: Vec<&&Waiting> = others.iter().skip(view.page * PAGE).take(PAGE).collect();
    html! {
        section class="card" id="waiting" {
            header { h2 { "Waits for something else" } span class="soft" { (others.len()) } }
            @if others.is_empty() {
                p class="empty" { "Nothing else waits. What is new is looked for once an hour; what can't be told is unknown, and on the page of containers." }
            } @else {
                div class="scroll" {
                    table class="stack" {
                        thead { tr { th { "Container" } th { "Update" } th { "Said" } th { "Why it waits" } } }
                        tbody {
                            @for waiting in shown {
                                tr {
                                    (what(view, &waiting.update))
                                    td class="wrap" data-label="Said" { (said(&waiting.update)) }
                                    td class="wrap" data-label="Why it waits" { (containers::decision(&waiting.explanation)) }
                                }
                            }
                        }
                    }
                }
                (pages(view.page, others.len()))
            }
            @if 0 < view.outlook.left_out {
                p class="soft pad" { (view.outlook.left_out) " more were not looked at: see the API for them." }
            }
        }
    }
}

fn said(update: &Update) -> Markup {
    html! {
        @if update.state == UpdateState::Pending { span class="soft" { "nothing" } } @else { (state_pill(update.state)) }
        @if let Some(by) = &update.body.decided_by { div class="under" { "by " (by) } }
        @if let Some(note) = &update.body.note { div class="under" { "“" (note) "”" } }
    }
}

fn bad(view: &View, may_forgive: bool) -> Markup {
    html! {
        section class="card" id="harm" {
            header { h2 { "Images that did harm" } span class="soft" { (view.bad.len()) " · they are begun nowhere" } }
            @if view.bad.is_empty() {
                p class="empty" { "None. An image after which a container had to go back is remembered here, for the whole fleet." }
            } @else {
                div class="scroll" {
                    table class="stack" {
                        thead { tr { th { "Digest" } th { "Why" } th { "When" } @if may_forgive { th { "" } } } }
                        tbody {
                            @for (digest, body, created_ms) in view.bad.iter().take(BAD_SHOWN) {
                                tr {
                                    td class="wrap mono" { (digest) }
                                    td class="wrap" data-label="Why" {
                                        (body["reason"].as_str().unwrap_or("it did harm"))
                                        @if let Some(image) = body["image"].as_str() { div class="under" { (image) } }
                                    }
                                    td class="nowrap" data-label="When" { (format::ago(*created_ms, view.now_ms)) }
                                    @if may_forgive {
                                        td class="deeds" {
                                            @let inside = html! { input type="hidden" name="digest" value=(digest); };
                                            (containers::confirmed("Forgive", "Yes, give it another chance", &format!("{PATH}/forgive"), &inside))
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
                @if BAD_SHOWN < view.bad.len() { p class="soft pad" { "The API has the others." } }
            }
        }
    }
}
