//! What every page shares: the document, the bar on top, pills.

use maud::{DOCTYPE, Markup, html};
use muster_model::Health;

use super::{accounts, alerts, containers, updates};
use crate::app::auth::{Principal, Role};
use crate::app::status::ServerStatus;

/// The mark in the browser's tab, and its only image: a `data:` address, since nothing outside is ever loaded.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 22 22'%3E%3Cg fill='%233451d1'%3E%3Crect x='2' y='3' width='18' height='4' rx='1.5'/%3E%3Crect x='2' y='9' width='18' height='4' rx='1.5' opacity='.7'/%3E%3Crect x='2' y='15' width='18' height='4' rx='1.5' opacity='.45'/%3E%3C/g%3E%3C/svg%3E";

/// How often a page is loaded anew, in seconds.
const REFRESH_S: u32 = 30;
/// The same of one on which something is under way.
const REFRESH_SOON_S: u32 = 2;

/// The document around a page's content. `refresh` asks the browser to load the page anew every so many seconds.
pub(super) fn document(title: &str, refresh: Option<u32>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if let Some(seconds) = refresh { meta http-equiv="refresh" content=(seconds); }
                title { (title) " · Muster" }
                link rel="icon" href=(ICON);
                link rel="stylesheet" href="/static/style.css";
            }
            body { (body) }
        }
    }
}

/// A page for somebody who is logged in.
pub(super) fn page(title: &str, user: &Principal, content: &Markup) -> Markup {
    document(
        title,
        Some(REFRESH_S),
        &body(user, content, " · times are UTC · renewed every 30 s"),
    )
}

/// A page for somebody who is logged in, that stays as it is.
pub(super) fn still(title: &str, user: &Principal, content: &Markup) -> Markup {
    document(title, None, &body(user, content, ""))
}

/// A page for somebody who is logged in, on which something is under way: it follows that without a script.
pub(super) fn following(title: &str, user: &Principal, content: &Markup) -> Markup {
    let note = " · times are UTC · renewed every 2 s while something is under way";
    document(title, Some(REFRESH_SOON_S), &body(user, content, note))
}

fn body(user: &Principal, content: &Markup, note: &str) -> Markup {
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
        main { (content) }
        footer { "Muster " (env!("CARGO_PKG_VERSION")) (note) " · " a href="/api/docs" { "API reference" } }
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
