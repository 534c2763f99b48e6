//! The page of all containers: what runs where, how well, and whether there is something newer.

use std::collections::BTreeSet;

use axum::extract::State;
use maud::{Markup, html};
use muster_base::id::ServerId;
use serde::Deserialize;

use super::known::Known;
use super::{PATH, Taken, TakenNow, owner, taken_on};
use crate::app::auth::Role;
use crate::app::resources::ResourceView;
use crate::app::series::Names;
use crate::http::HttpState;
use crate::http::access::Caller;
use crate::http::error::Problem;
use crate::http::extract::Query;
use crate::http::page::load::{number, text, whole};
use crate::http::page::{format, layout, map, updates};
use crate::update::Seen;

/// Containers on one page.
const PAGE: usize = 100;
/// Most servers that can be chosen from.
const SERVERS_MAX: usize = 500;
/// Longest text that is looked for, in bytes.
const TEXT_BYTES_MAX: usize = 200;
/// What a container can be.
const STATES: [&str; 9] = [
    "running",
    "exited",
    "stopped",
    "paused",
    "restarting",
    "created",
    "dead",
    "removing",
    "unknown",
];

/// Which containers are wanted. What is not known chooses nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::http) struct ListQuery {
    server: String,
    state: String,
    update: String,
    text: String,
    page: String,
}

impl ListQuery {
    fn server(&self) -> Option<ServerId> {
        self.server.parse().ok().map(ServerId)
    }

    fn text(&self) -> String {
        let cut = self.text.floor_char_boundary(TEXT_BYTES_MAX);
        self.text[..cut].trim().to_lowercase()
    }

    /// Which page, from 0.
    fn page(&self) -> usize {
        self.page
            .parse::<usize>()
            .map_or(0, |page| page.saturating_sub(1))
    }

    fn takes(&self, seen: &Seen, hostname: &str, wanted: &str) -> bool {
        let is_in_state = self.state.is_empty() || status(&seen.view) == self.state;
        let has = |text: &str| text.to_lowercase().contains(wanted);
        is_in_state
            && (wanted.is_empty()
                || has(&seen.container.name)
                || has(&seen.container.image)
                || has(hostname)
                || owner(&seen.view).is_some_and(|owner| has(&owner)))
    }

    fn is_any(&self) -> bool {
        !(self.server.is_empty() && self.state.is_empty() && self.update.is_empty() && self.text().is_empty())
    }
}

struct Row {
    seen: Seen,
    hostname: String,
    known: Known,
    taken: Taken,
}

struct View {
    rows: Vec<Row>,
    /// How many are chosen.
    total: usize,
    /// How many there are.
    all: usize,
    page: usize,
    servers: Vec<(i64, String)>,
}

/// The page.
pub(in crate::http) async fn show(
    State(state): State<HttpState>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Markup, Problem> {
    let view = load(&state, &query).await?;
    let may_act = caller.principal.may(Role::Operator);
    let drawn = draw(&query, &view, may_act);
    // What is being typed is not taken away.
    Ok(layout::still("Containers", &caller.principal, &drawn))
}

async fn load(state: &HttpState, query: &ListQuery) -> Result<View, Problem> {
    let names = state.app.server_names().await?;
    let hostname = |id: ServerId| {
        let name = names.get(&id);
        name.map_or_else(|| format!("server {id}"), |name| name.hostname.clone())
    };
    let mut found = state.updates.containers(query.server()).await?;
    let all = found.len();
    let wanted = query.text();
    found.retain(|seen| query.takes(seen, &hostname(seen.server()), &wanted));
    if !query.update.is_empty() {
        let known = state.updates.availability(&found).await?;
        found.retain(|seen| Known::of(seen, known.get(&seen.container.id)).word() == query.update);
    }
    // What is not well comes first.
    found.sort_by_cached_key(|seen| {
        let place = (hostname(seen.server()), seen.container.name.clone());
        (layout::urgency(seen.view.health), place, seen.container.id)
    });
    let total = found.len();
    let page = query.page().min(total.saturating_sub(1) / PAGE);
    let shown: Vec<Seen> = found.into_iter().skip(page * PAGE).take(PAGE).collect();
    let known = state.updates.availability(&shown).await?;
    let on: BTreeSet<i64> = shown.iter().map(|seen| seen.server().0).collect();
    let on: Vec<ServerId> = on.into_iter().map(ServerId).collect();
    let taken: TakenNow = taken_on(state, &on, state.app.clock().now_ms()).await?;
    let rows = shown.into_iter().map(|seen| Row {
        hostname: hostname(seen.server()),
        known: Known::of(&seen, known.get(&seen.container.id)),
        taken: taken.get(&seen.view.id).copied().unwrap_or_default(),
        seen,
    });
    Ok(View {
        rows: rows.collect(),
        total,
        all,
        page,
        servers: servers(&names),
    })
}

/// Servers to choose from, by name.
pub(in crate::http::page) fn servers(names: &Names) -> Vec<(i64, String)> {
    let mut servers: Vec<(i64, String)> = names
        .iter()
        .map(|(ServerId(id), name)| (*id, name.hostname.clone()))
        .collect();
    servers.sort_by(|a, b| (&a.1, a.0).cmp(&(&b.1, b.0)));
    servers.truncate(SERVERS_MAX);
    servers
}

/// Its status; one that is not told is unknown.
fn status(view: &ResourceView) -> String {
    text(view, "status").unwrap_or_else(|| "unknown".to_owned())
}

fn draw(query: &ListQuery, view: &View, may_act: bool) -> Markup {
    html! {
        p class="crumbs" { a href="/" { "Servers" } }
        div class="head" { h1 { "Containers" } }
        (updates::tabs(PATH))
        section class="card" {
            header {
                h2 { @if query.is_any() { "Containers that were chosen" } @else { "All containers" } }
                span class="soft" { (view.total) @if query.is_any() { " of " (view.all) } }
            }
            (choice(query, view))
            @if view.rows.is_empty() { (none(query)) } @else { (table(view)) }
            (pager(query, view))
        }
        @if may_act && view.rows.iter().any(|row| matches!(row.known, Known::Available(_))) {
            p { a href=(updates::PATH) { "Approve, reject or begin what there is" } }
        }
    }
}

fn choice(query: &ListQuery, view: &View) -> Markup {
    html! {
        form method="get" action=(PATH) class="row first" {
            label {
                "Server"
                select name="server" {
                    option value="" { "any" }
                    @for (id, name) in &view.servers {
                        option value=(id) selected[query.server() == Some(ServerId(*id))] { (name) }
                    }
                }
            }
            label {
                "State"
                select name="state" {
                    option value="" { "any" }
                    @for state in STATES { option value=(state) selected[query.state == state] { (state) } }
                }
            }
            label {
                "Update"
                select name="update" {
                    option value="" { "any" }
                    @for (word, shown) in Known::WORDS {
                        option value=(word) selected[query.update == word] { (shown) }
                    }
                }
            }
            label class="wide" {
                "Name, image, server or project"
                input name="text" type="search" value=(query.text) maxlength=(TEXT_BYTES_MAX) autocomplete="off";
            }
            button type="submit" { "Show" }
            @if query.is_any() { a href=(PATH) { "all of them" } }
        }
    }
}

fn none(query: &ListQuery) -> Markup {
    html! {
        @if query.is_any() { p class="empty" { "No container is like that." } }
        @else {
            div class="empty" {
                p { "No container was seen yet. Agents look for Docker and Podman by themselves, and need the right to open their sockets." }
                p { "Podman has no socket unless its service runs: " code { "systemctl enable --now podman.socket" } }
            }
        }
    }
}

fn table(view: &View) -> Markup {
    html! {
        div class="scroll" {
            table class="stack" {
                thead {
                    tr {
                        th { "Container" }
                        th { "Health" }
                        th { "Image" }
                        th { "Update" }
                        th class="num" { "CPUs" }
                        th class="num" { "Memory" }
                        th class="num hide-narrow" { "Restarts" }
                    }
                }
                tbody { @for row in &view.rows { (line(row)) } }
            }
        }
    }
}

fn line(row: &Row) -> Markup {
    let dash = || "–".to_owned();
    let view = &row.seen.view;
    html! {
        tr {
            td {
                a class="name" href=(map::address(view)) { (view.name) }
                div class="under" {
                    "on " a href={ "/servers/" (view.server) } { (row.hostname) }
                    @if let Some(owner) = owner(view) { " · " (owner) }
                }
            }
            td {
                (layout::health(view.health)) " " span class="soft" { (status(view)) }
                @for reason in view.health_reasons.iter().take(2) { div class="under" { (reason) } }
            }
            td data-label="Image" class="wrap" { (text(view, "image").unwrap_or_else(dash)) }
            td data-label="Update" class="wrap" { (row.known.pill()) }
            td class="num" data-label="CPUs" { (row.taken.cpus.map_or_else(dash, |cpus| format!("{cpus:.2}"))) }
            td class="num" data-label="Memory" {
                (row.taken.memory_bytes.map_or_else(dash, format::bytes))
                @if let Some(limit) = number(view, "memory_limit_bytes").filter(|limit| 0.0 < *limit) {
                    div class="under" { "of " (format::bytes(limit)) }
                }
            }
            td class="num hide-narrow" data-label="Restarts" {
                (whole(view, "restart_count").map_or_else(dash, format::grouped))
            }
        }
    }
}

/// The way to the other pages: a form, so that what was chosen needs no escaping of ours.
fn pager(query: &ListQuery, view: &View) -> Markup {
    let pages = view.total.div_ceil(PAGE);
    html! {
        @if 1 < pages {
            form method="get" action=(PATH) class="row" {
                @for (name, value) in [
                    ("server", &query.server), ("state", &query.state), ("update", &query.update), ("text", &query.text),
                ] {
                    @if !value.is_empty() { input type="hidden" name=(name) value=(value); }
                }
                span { "Page " (view.page + 1) " of " (pages) }
                @if 0 < view.page { button type="submit" name="page" value=(view.page) { "Previous" } }
                @if view.page + 1 < pages { button type="submit" name="page" value=(view.page + 2) { "Next" } }
            }
        }
    }
}
