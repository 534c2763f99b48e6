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
pub(in crate::http) use self::policies::{
    add as add_policy, change as change_policy, delete as delete_policy, edit as edit_policy,
    new as new_policy, show as show_policies,
};
pub(in crate::http) use self::registries::{
    add as add_registry, change as change_registry, delete as delete_registry, edit as edit_registry,
    new as new_registry, show as show_registries, validate as validate_registry,
};
pub(in crate::http) use self::rollouts::{
    abort as abort_rollout, begin as begin_rollout, pause as pause_rollout, resume as resume_rollout,
    show as show_rollouts, show_one as show_rollout,
};
pub(in crate::http) use self::waiting::show;
pub(in crate::http) use self::windows::{
    add as add_window, change as change_window, delete as delete_window, edit as edit_window,
    new as new_window, show as show_windows,
};
use super::containers;
use crate::update::UpdateState;

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

/// The ways between the pages that belong together.
pub(super) fn tabs(current: &str) -> Markup {
    html! {
        nav class="tabs" aria-label="Containers and updates" {
            @for (path, word) in TABS {
                @if path == current { a href=(path) aria-current="page" { (word) } }
                @else { a href=(path) { (word) } }
            }
        }
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
    };
    html! { span class={ "pill " (class) } { (word) } }
}

/// The first characters of a digest; the whole of it is its title.
fn digest(text: &str) -> Markup {
    let short = text.strip_prefix("sha256:").unwrap_or(text);
    let short: String = short.chars().take(12).collect();
    html! { span class="mono" title=(text) { (short) } }
}

/// What is wrong with the fields of a form, by name.
#[derive(Debug, Default)]
struct Wrong(Vec<(String, String)>);

impl Wrong {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn note(&mut self, field: &str, message: impl Into<String>) {
        self.0.push((field.to_owned(), message.into()));
    }

    /// What is wrong with a field, at the field.
    fn at(&self, field: &str) -> Markup {
        html! {
            @for (_, message) in self.0.iter().filter(|(name, _)| name == field) {
                span class="wrong" role="alert" { (message) }
            }
        }
    }

    /// What is wrong with what has no field in the form.
    fn others(&self, fields: &[&str]) -> Markup {
        let others: Vec<_> = self
            .0
            .iter()
            .filter(|(name, _)| !fields.contains(&name.as_str()))
            .collect();
        html! {
            @if !self.is_empty() {
                section class="card notice bad" role="alert" {
                    strong { "It was not kept: look at the fields below." }
                    @if !others.is_empty() { ul { @for (name, message) in others { li { (name) ": " (message) } } } }
                }
            }
        }
    }
}

impl From<Vec<muster_update::FieldProblem>> for Wrong {
    fn from(problems: Vec<muster_update::FieldProblem>) -> Self {
        Self(
            problems
                .into_iter()
                .map(|problem| (problem.field, problem.message))
                .collect(),
        )
    }
}

/// A field of a form: what it is called, what it is for, the value, what is wrong with it.
struct Field<'a> {
    label: &'a str,
    name: &'a str,
    value: &'a str,
    hint: &'a str,
    bytes_max: u32,
}

impl Field<'_> {
    fn draw(&self, wrong: &Wrong) -> Markup {
        html! {
            label {
                (self.label)
                input name=(self.name) value=(self.value) placeholder=(self.hint) maxlength=(self.bytes_max) autocomplete="off";
                (wrong.at(self.name))
            }
        }
    }
}

/// A text that is not empty.
fn given(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// A whole number, if one is given; noted if it is none.
fn number(name: &str, text: &str, wrong: &mut Wrong) -> Option<i64> {
    let text = given(text)?;
    let read = text.parse().ok();
    if read.is_none() {
        wrong.note(name, "a whole number is needed");
    }
    read
}
