//! How a roll-out is drawn: its waves, a square a server, and its brakes.

use std::collections::BTreeMap;

use maud::{Markup, html};
use muster_base::id::ServerId;
use muster_update::{MemberState, Rollout, RolloutState, Wave};

use super::super::ROLLOUTS;
use crate::app::series::Names;
use crate::http::page::{containers, format};
use crate::update::KeptRollout;

/// Servers of a wave that are drawn.
const DRAWN_MAX: usize = 400;
/// Servers of a row of the drawing.
const ROW: usize = 40;
/// Members that are listed.
const MEMBERS_MAX: usize = 500;

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
                    title { (containers::hostname(names, ServerId(*server))) ": " (reached.word()) }
                }
            }
        }
        @if DRAWN_MAX < wave.len() { div class="under" { "and " (wave.len() - DRAWN_MAX) " more" } }
    }
}

/// What becomes of it, as a coloured word.
pub(super) fn pill(state: RolloutState) -> Markup {
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
pub(in crate::http::page::updates) fn summary(
    kept: &KeptRollout,
    names: &Names,
    now_ms: i64,
    may_act: bool,
) -> Markup {
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

/// Draws its containers.
pub(super) fn members(rollout: &Rollout, names: &Names) -> Markup {
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
                                td { a class="name" href={ "/servers/" (member.server_id) } { (containers::hostname(names, ServerId(member.server_id))) } }
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

#[cfg(test)]
mod tests {
    use muster_update::{Member, RolloutBody};

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
}
