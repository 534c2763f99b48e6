//! Roll-outs: which servers have it, which wave it is at, and the brakes.

use std::collections::BTreeMap;

use axum::extract::{Extension, Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use muster_base::id::ServerId;
use muster_update::{MemberState, Rollout, RolloutBody, RolloutState, Wave};
use serde::Deserialize;

use super::{Field, ROLLOUTS, Wrong, given, number, tabs};
use crate::app::PageRequest;
use crate::app::auth::Role;
use crate::app::series::Names;
use crate::http::HttpState;
use crate::http::access::{Caller, Told};
use crate::http::error::{Code, Problem};
use crate::http::extract::{Path, Query, id_or};
use crate::http::page::{containers, format, layout};
use crate::update::{KeptRollout, RolloutDeed, UpdateError};

/// Roll-outs on one page.
const PAGE: u32 = 50;
/// Servers of a wave that are drawn.
const DRAWN_MAX: usize = 400;
/// Servers of a row of the drawing.
const ROW: usize = 40;
/// Members that are listed.
const MEMBERS_MAX: usize = 500;
/// Waves that are usual, as they are written in the form.
const WAVES_USUAL: &str = "1, 5%, 25%, 100%";

/// How far a server is: the worst of its containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    Done,
    Skipped,
    Waiting,
    Going,
    Failed,
}

impl Reached {
    const ALL: [Self; 5] = [
        Self::Done,
        Self::Going,
        Self::Failed,
        Self::Waiting,
        Self::Skipped,
    ];

    const fn of(state: MemberState) -> Self {
        match state {
            MemberState::Waiting => Self::Waiting,
            MemberState::Started => Self::Going,
            MemberState::Completed => Self::Done,
            MemberState::Failed => Self::Failed,
            MemberState::Skipped => Self::Skipped,
        }
    }

    const fn class(self) -> &'static str {
        match self {
            Self::Done => "good",
            Self::Going => "going",
            Self::Failed => "bad",
            Self::Waiting => "dim",
            Self::Skipped => "skipped",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Going => "under way",
            Self::Failed => "failed",
            Self::Waiting => "waiting",
            Self::Skipped => "left out",
        }
    }
}

/// The servers of each wave, and how far each is.
fn waves_of(rollout: &Rollout) -> Vec<BTreeMap<i64, Reached>> {
    let count = rollout.waves.len().max(1);
    let mut waves = vec![BTreeMap::new(); count];
    for member in &rollout.members {
        let Some(wave) = waves.get_mut(member.wave) else {
            continue;
        };
        let reached = Reached::of(member.state);
        let entry = wave.entry(member.server_id).or_insert(reached);
        *entry = (*entry).max(reached);
    }
    waves
}

fn counts(wave: &BTreeMap<i64, Reached>) -> String {
    let told: Vec<String> = Reached::ALL
        .into_iter()
        .map(|reached| (wave.values().filter(|one| **one == reached).count(), reached))
        .filter(|(count, _)| 0 < *count)
        .map(|(count, reached)| format!("{count} {}", reached.word()))
        .collect();
    told.join(", ")
}

fn hostname(names: &Names, id: i64) -> String {
    let name = names.get(&ServerId(id));
    name.map_or_else(|| format!("server {id}"), |name| name.hostname.clone())
}

/// A square for each server of a wave.
fn picture(wave: &BTreeMap<i64, Reached>, names: &Names, title: &str) -> Markup {
    let drawn = wave.len().min(DRAWN_MAX);
    let rows = drawn.div_ceil(ROW).max(1);
    let columns = drawn.clamp(1, ROW);
    html! {
        svg class="wave" width=(columns * 16) height=(rows * 16) viewBox=(format!("0 0 {} {}", columns * 16, rows * 16))
            role="img" aria-label=(title) {
            @for (place, (server, reached)) in wave.iter().take(DRAWN_MAX).enumerate() {
                rect class=(reached.class()) x=(place % ROW * 16 + 1) y=(place / ROW * 16 + 1) width="13" height="13" rx="3" {
                    title { (hostname(names, *server)) ": " (reached.word()) }
                }
            }
        }
        @if DRAWN_MAX < wave.len() { div class="under" { "and " (wave.len() - DRAWN_MAX) " more" } }
    }
}

fn pill(state: RolloutState) -> Markup {
    let class = match state {
        RolloutState::Running | RolloutState::Completed => "good",
        RolloutState::Paused => "warn",
        RolloutState::Stopped => "bad",
        RolloutState::Aborted => "dim",
    };
    html! { span class={ "pill " (class) } { (state.as_str()) } }
}

/// What a wave does at the moment, in words.
fn now(rollout: &Rollout, wave: usize, now_ms: i64) -> String {
    use std::cmp::Ordering;
    let is_over = rollout.state.is_over();
    match wave.cmp(&rollout.wave) {
        Ordering::Less => "over".to_owned(),
        Ordering::Greater if is_over => "never came".to_owned(),
        Ordering::Greater => "to come".to_owned(),
        Ordering::Equal if is_over => rollout.state.as_str().to_owned(),
        Ordering::Equal => match rollout.soak_began_ms {
            Some(since_ms) => {
                let left_ms = since_ms
                    .saturating_add(rollout.soak_ms)
                    .saturating_sub(now_ms)
                    .max(0);
                #[expect(clippy::cast_precision_loss, reason = "shown to the second")]
                let left = format::duration(left_ms as f64 / 1_000.0);
                format!("soaking, {left} left")
            }
            None if rollout.wave_began_ms.is_some() => "being done".to_owned(),
            None => "about to begin".to_owned(),
        },
    }
}

fn up_to(wave: Wave) -> String {
    match wave {
        Wave::Servers(1) => "1 server".to_owned(),
        Wave::Servers(count) => format!("{count} servers"),
        Wave::Percent(share) => format!("{share} %"),
    }
}

/// Draws a roll-out in short: its state, its waves, its brakes.
pub(super) fn summary(kept: &KeptRollout, names: &Names, now_ms: i64, may_act: bool) -> Markup {
    let rollout = &kept.rollout;
    html! {
        div class="prose" {
            div {
                a class="name" href={ (ROLLOUTS) "/" (kept.id) } { (rollout.name) } " " (pill(rollout.state))
                " " span class="soft" {
                    "wave " (rollout.wave + 1) " of " (rollout.waves.len()) ", " (rollout.members.len()) " containers, by "
                    (kept.created_by) ", " (format::ago(kept.created_ms, now_ms))
                }
            }
            @if !rollout.reason.is_empty() { p { (rollout.reason) } }
        }
        (waves(rollout, names, now_ms))
        @if may_act { (brakes(kept)) }
    }
}

fn waves(rollout: &Rollout, names: &Names, now_ms: i64) -> Markup {
    let waves = waves_of(rollout);
    html! {
        div class="scroll" {
            table class="stack" {
                thead { tr { th { "Wave" } th { "Servers" } th { "So far" } th { "Now" } } }
                tbody {
                    @for (place, (wave, size)) in waves.iter().zip(&rollout.waves).enumerate() {
                        @let told = counts(wave);
                        tr {
                            td { span class="name" { (place + 1) } div class="under" { "up to " (up_to(*size)) } }
                            td data-label="Servers" { (picture(wave, names, &format!("Wave {}: {told}", place + 1))) }
                            td class="wrap" data-label="So far" { (told) }
                            td class="nowrap" data-label="Now" { (now(rollout, place, now_ms)) }
                        }
                    }
                }
            }
        }
    }
}

fn brakes(kept: &KeptRollout) -> Markup {
    let to = |deed: &str| format!("{ROLLOUTS}/{}/{deed}", kept.id);
    let nothing = html! {};
    html! {
        @if !kept.rollout.state.is_over() {
            div class="acts" {
                @match kept.rollout.state {
                    RolloutState::Running => {
                        form method="post" action=(to("pause")) class="inline" { button type="submit" { "Stop it for now" } }
                    }
                    _ => { (containers::confirmed("Resume", "Yes, let it go on", &to("resume"), &nothing)) }
                }
                (containers::confirmed("End it", "Yes, end it for good", &to("abort"), &nothing))
            }
        }
    }
}

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
        @if may_act { (new(form, wrong, &names)) }
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

fn members(rollout: &Rollout, names: &Names) -> Markup {
    let mut members: Vec<_> = rollout.members.iter().collect();
    members.sort_by_key(|member| (member.wave, member.server_id, member.update_id));
    html! {
        section class="card" {
            header { h2 { "Its containers" } span class="soft" { (members.len()) } }
            div class="scroll" {
                table class="stack" {
                    thead { tr { th { "Server" } th { "Container" } th { "Wave" } th { "State" } } }
                    tbody {
                        @for member in members.iter().take(MEMBERS_MAX) {
                            @let reached = Reached::of(member.state);
                            tr {
                                td { a class="name" href={ "/servers/" (member.server_id) } { (hostname(names, member.server_id)) } }
                                td data-label="Container" {
                                    a href={ (containers::PATH) "/" (member.container_id) } { "container " (member.container_id) }
                                }
                                td data-label="Wave" { (member.wave + 1) }
                                td data-label="State" {
                                    span class={ "pill " (reached.class()) } { (reached.word()) }
                                }
                            }
                        }
                    }
                }
            }
            @if MEMBERS_MAX < members.len() { p class="soft pad" { "The API has the others." } }
        }
    }
}

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::http) struct RolloutForm {
    name: String,
    image_pattern: String,
    canary_server_id: String,
    waves: String,
    soak_min: String,
}

/// The fields of the form, as they are called when something is wrong with them.
const FIELDS: [&str; 5] = ["name", "image_pattern", "canary_server_id", "waves", "soak_s"];

impl RolloutForm {
    fn read(&self, wrong: &mut Wrong) -> RolloutBody {
        let waves = given(&self.waves).map(|text| {
            let read: Option<Vec<Wave>> = text.split(',').map(wave).collect();
            read.unwrap_or_else(|| {
                wrong.note(
                    "waves",
                    "numbers of servers or shares are needed, such as 1, 5%, 100%",
                );
                Vec::new()
            })
        });
        let soak_min = number("soak_s", &self.soak_min, wrong);
        RolloutBody {
            name: self.name.trim().to_owned(),
            image_pattern: given(&self.image_pattern),
            update_ids: None,
            canary_server_id: number("canary_server_id", &self.canary_server_id, wrong),
            waves,
            soak_s: soak_min.map(|minutes| minutes.saturating_mul(60)),
        }
    }
}

fn wave(text: &str) -> Option<Wave> {
    let text = text.trim();
    match text.strip_suffix('%') {
        Some(share) => share.trim().parse().ok().map(Wave::Percent),
        None => text.parse().ok().map(Wave::Servers),
    }
}

fn new(form: &RolloutForm, wrong: &Wrong, names: &Names) -> Markup {
    let field = |label, name, value, hint| Field {
        label,
        name,
        value,
        hint,
        bytes_max: 500,
    };
    html! {
        section class="card" {
            header { h2 { "Begin a roll-out" } span class="soft" { "of every open update whose image matches" } }
            form method="post" action=(ROLLOUTS) class="row first" {
                (field("Name", "name", &form.name, "nginx").draw(wrong))
                (field("Images, a regular expression", "image_pattern", &form.image_pattern, "nginx:.*").draw(wrong))
                label {
                    "First server"
                    select name="canary_server_id" {
                        option value="" { "the one with the lowest number" }
                        @for (id, name) in containers::servers(names) {
                            option value=(id) selected[form.canary_server_id == id.to_string()] { (name) }
                        }
                    }
                    (wrong.at("canary_server_id"))
                }
                (field("Waves, up to", "waves", &form.waves, WAVES_USUAL).draw(wrong))
                label {
                    "Minutes after each wave"
                    input name="soak_min" type="number" min="0" max="10080" value=(form.soak_min) placeholder="10";
                    (wrong.at("soak_s"))
                }
                button type="submit" { "Begin it" }
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use muster_update::Member;

    use super::*;

    fn member(server_id: i64, wave: usize, state: MemberState) -> Member {
        Member {
            update_id: server_id,
            container_id: server_id,
            server_id,
            state,
            wave,
        }
    }

    #[test]
    fn a_server_is_as_far_as_the_worst_of_its_containers() {
        let candidates = [(1, 1, 1)];
        let body = RolloutBody {
            name: "x".to_owned(),
            ..RolloutBody::default()
        };
        let mut rollout = Rollout::plan(&body, &candidates).unwrap();
        rollout.members = vec![
            member(1, 0, MemberState::Completed),
            member(1, 0, MemberState::Failed),
            member(2, 0, MemberState::Completed),
            member(2, 0, MemberState::Waiting),
            member(3, 0, MemberState::Completed),
        ];
        let waves = waves_of(&rollout);
        let reached: Vec<Reached> = waves[0].values().copied().collect();
        assert_eq!(reached, [Reached::Failed, Reached::Waiting, Reached::Done]);
        assert_eq!(counts(&waves[0]), "1 done, 1 failed, 1 waiting");
    }

    #[test]
    fn waves_are_written_as_numbers_and_shares() {
        assert_eq!(wave(" 3 "), Some(Wave::Servers(3)));
        assert_eq!(wave("25 %"), Some(Wave::Percent(25)));
        for odd in ["", "x", "-1", "1.5%", "%"] {
            assert_eq!(wave(odd), None, "{odd}");
        }
    }
}
