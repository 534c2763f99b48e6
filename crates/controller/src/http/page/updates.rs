//! Updates of containers as people see them: what waits, what goes on, what became of it, and by which rules.

mod deeds;
mod freeze;
mod history;
mod policies;
mod registries;
mod rollouts;
mod waiting;
mod windows;

use maud::{Markup, html};

pub(in crate::http) use self::deeds::{
    approve, approve_chosen, check_all, execute, forgive, rehearse, reject, reject_chosen, roll_back,
};
pub(in crate::http) use self::freeze::set as set_freeze;
pub(super) use self::history::records;
pub(in crate::http) use self::history::show as show_history;
pub(in crate::http) use self::policies::show as show_policies;
pub(in crate::http) use self::registries::{show as show_registries, validate as validate_registry};
pub(in crate::http) use self::rollouts::{
    abort as abort_rollout, begin as begin_rollout, pause as pause_rollout, resume as resume_rollout,
    show as show_rollouts, show_one as show_rollout,
};
pub(in crate::http) use self::waiting::show;
pub(in crate::http) use self::windows::show as show_windows;
use super::{containers, layout};
use crate::update::{CheckRound, CheckState, UpdateState};

/// Where the pages are.
pub(in crate::http) const PATH: &str = "/updates";
/// What became of updates.
pub(in crate::http) const HISTORY: &str = "/updates/history";
/// Roll-outs.
pub(in crate::http) const ROLLOUTS: &str = "/updates/rollouts";
/// Policies.
pub(in crate::http) const POLICIES: &str = "/updates/policies";
/// Windows.
pub(in crate::http) const WINDOWS: &str = "/updates/windows";
/// Registries.
pub(in crate::http) const REGISTRIES: &str = "/registries";

/// The pages that belong together.
const TABS: [(&str, &str); 7] = [
    (containers::PATH, "Containers"),
    (PATH, "Updates"),
    (ROLLOUTS, "Roll-outs"),
    (HISTORY, "History"),
    (POLICIES, "Policies"),
    (WINDOWS, "Windows"),
    (REGISTRIES, "Registries"),
];

/// A page of these, with the ways to the others.
pub(super) fn framed(title: &str, current: &str, content: &Markup) -> Markup {
    html! {
        p class="crumbs" { a href="/" { "Servers" } }
        div class="head" { h1 { (title) } }
        (layout::tabs("Containers and updates", &TABS, current))
        (content)
    }
}

/// How far an update is, as a coloured word.
fn state(state: UpdateState) -> Markup {
    let (class, word) = match state {
        UpdateState::Pending => ("dim", "pending"),
        UpdateState::Approved => ("good", "approved"),
        UpdateState::Rejected => ("dim", "rejected"),
        UpdateState::InProgress => ("dim", "under way"),
        UpdateState::Completed => ("good", "completed"),
        UpdateState::Failed => ("bad", "failed"),
        UpdateState::RolledBack => ("warn", "rolled back"),
        UpdateState::Unknown => ("warn", "nobody knows"),
    };
    html! { span class={ "pill " (class) } { (word) } }
}

/// The first characters of a digest; the whole of it is its title.
fn digest(text: &str) -> Markup {
    let short = text.strip_prefix("sha256:").unwrap_or(text);
    let short: String = short.chars().take(12).collect();
    html! { span class="mono" title=(text) { (short) } }
}
/// How far the registries are that somebody had asked, while they are, and if that failed.
pub(super) fn asking(round: &CheckRound) -> Markup {
    html! {
        @match round.state {
            CheckState::Running => {
                section class="card notice" aria-live="polite" {
                    strong { "Registries are being asked: " (round.asked) " of " (round.images) " images" }
                    @if 0 < round.failed { ", " (round.failed) " of them without an answer" }
                    @if 0 < round.images {
                        " " progress max=(round.images) value=(round.asked) aria-label="How many were asked about" {}
                    }
                    @if round.is_followed { div class="under" { "What was asked for since is asked next." } }
                }
            }
            CheckState::Failed => {
                section class="card notice warn" {
                    strong { "Registries could not be asked" }
                    @if let Some(error) = &round.error { ": " (error) }
                }
            }
            CheckState::Never | CheckState::Done => {}
        }
    }
}
