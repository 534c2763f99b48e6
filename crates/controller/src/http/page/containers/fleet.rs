//! The page of all containers: what runs where, how well, and whether there is something newer.

use std::collections::BTreeSet;

use axum::extract::State;
use maud::{Markup, html};
use muster_base::id::ServerId;
use muster_model::Health;
use serde::Deserialize;

use super::known::Known;
use super::{PATH, Taken, TakenNow, owner, taken_on, takes};
use crate::app::auth::Role;
use crate::app::resources::ResourceView;
use crate::app::series::Names;
use crate::http::HttpState;
use crate::http::access::Caller;
use crate::http::error::Problem;
use crate::http::extract::Query;
use crate::http::page::layout::Following;
use crate::http::page::load::text;
use crate::http::page::{layout, map, updates};
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
    /// How all of them do.
    counts: Counts,
    page: usize,
    servers: Vec<(i64, String)>,
}

/// How containers do, at a glance.
#[derive(Default)]
struct Counts {
    all: usize,
    running: usize,
    /// By the places of [`Health`]s that matter alike: healthy, warning, critical or failed, unknown.
    healths: [usize; 4],
    /// By whether there is something new, in the order of [`Known::WORDS`].
    known: [usize; 4],
}

impl Counts {
    fn add(&mut self, seen: &Seen, known: &Known) {
        self.all += 1;
        self.running += usize::from(status(&seen.view) == "running");
        self.healths[match seen.view.health {
            Health::Healthy => 0,
            Health::Warning => 1,
            Health::Critical | Health::Failed => 2,
            Health::Unknown => 3,
        }] += 1;
        let words = Known::WORDS.iter().zip(&mut self.known);
        for ((word, _), count) in words {
            *count += usize::from(*word == known.word());
        }
    }

    fn draw(&self) -> Markup {
        let [healthy, warned, bad, unknown] = self.healths;
        let beside = format!("of {}", self.all);
        let rest = Known::WORDS.iter().zip(self.known).skip(1);
        let told: Vec<String> = rest
            .filter(|(_, count)| 0 < *count)
            .map(|((_, word), count)| format!("{count} {word}"))
            .collect();
        html! {
            div class="tiles" {
                (layout::tile("Running", self.running, &beside, &html! { (self.all - self.running) " not running" }))
                (layout::tile("Healthy", healthy, &beside, &html! {
                    div class="pills" { (layout::health_pills(0, warned, bad, unknown)) }
                }))
                (layout::tile("Updates", self.known[0], "available", &html! {
                    (told.join(", "))
                }))
            }
        }
    }
}

/// The page.
pub(in crate::http) async fn show(
    State(state): State<HttpState>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Markup, Problem> {
    let view = load(&state, &query).await?;
    let may_act = caller.principal.may(Role::Operator);
    let drawn = updates::framed("Containers", PATH, &draw(&query, &view, may_act));
    // Without a script what is being typed is not taken away.
    let (user, following) = (&caller.principal, Following::everything(None));
    Ok(layout::following("Containers", user, &drawn, following))
}

async fn load(state: &HttpState, query: &ListQuery) -> Result<View, Problem> {
    let names = state.app.server_names().await?;
    let hostname = |id: ServerId| hostname(&names, id);
    let mut found = state.updates.containers(query.server()).await?;
    let known = state.updates.availability(&found).await?;
    let known = |seen: &Seen| Known::of(seen, known.get(&seen.container.id));
    let mut counts = Counts::default();
    for seen in &found {
        counts.add(seen, &known(seen));
    }
    let wanted = query.text();
    found.retain(|seen| {
        query.takes(seen, &hostname(seen.server()), &wanted)
            && (query.update.is_empty() || known(seen).word() == query.update)
    });
    // What is not well comes first.
    found.sort_by_cached_key(|seen| {
        let place = (hostname(seen.server()), seen.container.name.clone());
        (layout::urgency(seen.view.health), place, seen.container.id)
    });
    let total = found.len();
    let page = query.page().min(total.saturating_sub(1) / PAGE);
    let shown: Vec<Seen> = found.into_iter().skip(page * PAGE).take(PAGE).collect();
    let on: BTreeSet<i64> = shown.iter().map(|seen| seen.server().0).collect();
    let on: Vec<ServerId> = on.into_iter().map(ServerId).collect();
    let taken: TakenNow = taken_on(state, &on, state.app.clock().now_ms()).await?;
    let rows = shown.into_iter().map(|seen| Row {
        hostname: hostname(seen.server()),
        known: known(&seen),
        taken: taken.get(&seen.view.id).copied().unwrap_or_default(),
        seen,
    });
    Ok(View {
        rows: rows.collect(),
        total,
        counts,
        page,
        servers: servers(&names),
    })
}

/// The name of a server.
pub(in crate::http::page) fn hostname(names: &Names, id: ServerId) -> String {
    let name = names.get(&id);
    name.map_or_else(|| format!("server {id}"), |name| name.hostname.clone())
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
        @if 0 < view.counts.all { (view.counts.draw()) }
        section class="card" {
            header {
                h2 { @if query.is_any() { "Containers that were chosen" } @else { "All containers" } }
                span class="soft" { (view.total) @if query.is_any() { " of " (view.counts.all) } }
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
            td data-label="Image" class="wrap" { (text(view, "image").unwrap_or_else(|| "–".to_owned())) }
            td data-label="Update" class="wrap" { (row.known.pill()) }
            (takes(view, row.taken))
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
