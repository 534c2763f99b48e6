//! What every page shares: the document, the bar on top, pills.

use std::fmt::Display;

use maud::{DOCTYPE, Markup, html};
use muster_base::id::ServerId;
use muster_model::Health;

use super::{accounts, alerts, containers, updates};
use crate::app::auth::{Principal, Role};
use crate::app::status::ServerStatus;

/// The mark in the browser's tab, and its only image: a `data:` address, since nothing outside is ever loaded.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 22 22'%3E%3Cg fill='%233451d1'%3E%3Crect x='2' y='3' width='18' height='4' rx='1.5'/%3E%3Crect x='2' y='9' width='18' height='4' rx='1.5' opacity='.7'/%3E%3Crect x='2' y='15' width='18' height='4' rx='1.5' opacity='.45'/%3E%3C/g%3E%3C/svg%3E";

/// How often a page is renewed, in seconds.
const RENEWED_EVERY_S: u32 = 30;
/// The same while something is under way, and while registries are asked: no event tells how far they are.
pub(super) const SOON_S: u32 = 2;
/// What changes containers and updates, as streams of events.
const STREAMS: &str = "/api/containers/events /api/commands/events";

/// How a page keeps up with what it shows: by a small script of ours, or, without it, by loading itself anew.
#[derive(Debug, Clone, Copy, Default)]
struct Renewal {
    /// Every so many seconds.
    every_s: Option<u32>,
    /// As containers and updates change.
    follows: Option<Following>,
}

impl Renewal {
    /// How often our script looks beside what it is told, in seconds; `None`: as rarely as it does anyway.
    fn looks_every_s(&self) -> Option<u32> {
        match self.follows {
            Some(following) => following.is_asking.then_some(SOON_S),
            None => self.every_s,
        }
    }
}

/// What a page follows as it changes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Following {
    /// Of which container it is, and on which server; everything if `None`.
    pub(super) of: Option<(i64, ServerId)>,
    /// How often it is loaded anew without a script, in seconds; not at all if `None`.
    pub(super) every_s: Option<u32>,
    /// Whether registries are being asked: of that no event tells, so that the script asks too.
    pub(super) is_asking: bool,
}

impl Following {
    /// Everything, loaded anew so often without a script.
    pub(super) const fn everything(every_s: Option<u32>) -> Self {
        Self {
            of: None,
            every_s,
            is_asking: false,
        }
    }
}

/// A document that stays as it is.
pub(super) fn document(title: &str, body: &Markup) -> Markup {
    renewed(title, Renewal::default(), body)
}

fn renewed(title: &str, renewal: Renewal, body: &Markup) -> Markup {
    let is_still = renewal.every_s.is_none() && renewal.follows.is_none();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(seconds) = renewal.every_s { noscript { meta http-equiv="refresh" content=(seconds); } }
                title { (title) " · Muster" }
                link rel="icon" href=(ICON);
                link rel="stylesheet" href="/static/style.css";
                @if !is_still { script src="/static/live.js" defer {} }
            }
            body { (body) }
        }
    }
}

/// A page for somebody who is logged in.
pub(super) fn page(title: &str, user: &Principal, content: &Markup) -> Markup {
    let renewal = Renewal {
        every_s: Some(RENEWED_EVERY_S),
        follows: None,
    };
    renewed(title, renewal, &body(user, content, renewal))
}

/// A page for somebody who is logged in, that stays as it is.
pub(super) fn still(title: &str, user: &Principal, content: &Markup) -> Markup {
    document(title, &body(user, content, Renewal::default()))
}

/// A page for somebody who is logged in, that shows what changes as it changes.
pub(super) fn following(title: &str, user: &Principal, content: &Markup, following: Following) -> Markup {
    let renewal = Renewal {
        every_s: following.every_s,
        follows: Some(following),
    };
    renewed(title, renewal, &body(user, content, renewal))
}

fn body(user: &Principal, content: &Markup, renewal: Renewal) -> Markup {
    let of = renewal.follows.and_then(|follows| follows.of);
    html! {
        div class="bar-top" {
            div {
                (brand())
                a href=(alerts::PATH) { "Alerts" }
                a href=(containers::PATH) { "Containers" }
                a href=(updates::PATH) { "Updates" }
                span class="who" { (user.username) }
                @if user.may(Role::Admin) { a href=(accounts::PATH) { "Accounts" } }
                form method="post" action="/logout" { button type="submit" { "Log out" } }
            }
        }
        p class="stale" role="status" hidden {
            "The controller does not answer: what is shown here may be old."
        }
        main data-every=[renewal.looks_every_s()] data-follow=[renewal.follows.map(|_| STREAMS)]
            data-container=[of.map(|(container, _)| container)] data-server=[of.map(|(_, server)| server)] {
            (content)
        }
        footer {
            "Muster " (env!("CARGO_PKG_VERSION")) " · times are UTC"
            @if let Some(seconds) = renewal.every_s { span class="every" { " · renewed every " (seconds) " s" } }
            @if renewal.follows.is_some() { span class="live" hidden { " · renewed as things change" } }
            " · " a href="/api/docs" { "API reference" }
        }
    }
}

/// The mark and the name, leading home.
pub(super) fn brand() -> Markup {
    html! {
        a class="brand" href="/" {
            svg viewBox="0 0 22 22" aria-hidden="true" {
                rect x="2" y="3" width="18" height="4" rx="1.5" {}
                rect class="mid" x="2" y="9" width="18" height="4" rx="1.5" {}
                rect class="low" x="2" y="15" width="18" height="4" rx="1.5" {}
            }
            "Muster"
        }
    }
}

/// The ways between pages that belong together.
pub(super) fn tabs(label: &str, pages: &[(&str, &str)], current: &str) -> Markup {
    html! {
        nav class="tabs" aria-label=(label) {
            @for (path, word) in pages {
                @if *path == current { a href=(path) aria-current="page" { (word) } }
                @else { a href=(path) { (word) } }
            }
        }
    }
}

/// A health as a coloured word.
pub(super) fn health(health: Health) -> Markup {
    html! { span class={ "pill " (health_class(health)) } { (health.as_str()) } }
}

/// The colour of a health. Unknown has none of its own: it is neither good nor bad.
pub(super) const fn health_class(health: Health) -> &'static str {
    match health {
        Health::Healthy => "good",
        Health::Unknown => "dim",
        Health::Warning => "warn",
        Health::Critical | Health::Failed => "bad",
    }
}

/// How many are how well, as coloured words.
pub(super) fn health_pills(healthy: usize, warned: usize, bad: usize, unknown: usize) -> Markup {
    html! {
        @if 0 < bad { span class="pill bad" { (bad) " failing" } }
        @if 0 < warned { span class="pill warn" { (warned) " warning" } }
        @if 0 < healthy { span class="pill good" { (healthy) " healthy" } }
        @if 0 < unknown { span class="pill dim" { (unknown) " unknown" } }
    }
}

/// A number at a glance: what it counts, what stands beside it, and what it comes to.
pub(super) fn tile(title: &str, number: impl Display, beside: &str, note: &Markup) -> Markup {
    html! {
        section class="card tile" {
            h2 { (title) }
            div class="big" { (number) @if !beside.is_empty() { small { " " (beside) } } }
            div class="note" { (note) }
        }
    }
}

/// What is to be seen first: the smaller, the earlier.
pub(super) const fn urgency(health: Health) -> u8 {
    match health {
        Health::Failed => 0,
        Health::Critical => 1,
        Health::Warning => 2,
        Health::Unknown => 3,
        Health::Healthy => 4,
    }
}

/// A server's status as a coloured word.
pub(super) fn status(status: ServerStatus) -> Markup {
    let class = match status {
        ServerStatus::Online => "good",
        ServerStatus::Late | ServerStatus::Failing => "warn",
        ServerStatus::Offline => "bad",
        ServerStatus::NeverSeen | ServerStatus::Disabled => "dim",
    };
    html! { span class={ "pill " (class) } { (super::format::words(status.as_str())) } }
}

/// A term and its value in a list of facts; nothing if there is no value.
pub(super) fn fact(term: &str, value: Option<String>) -> Markup {
    html! {
        @if let Some(value) = value {
            div { dt { (term) } dd { (value) } }
        }
    }
}
