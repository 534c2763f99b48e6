//! The first page: every server at a glance.

use maud::{Markup, html};
use muster_model::{Health, ResourceKind};

use super::chart::meter;
use super::load::{FleetRow, FleetView};
use super::{alerts, attention, format, layout};
use crate::app::collectors::HealthCounts;

/// Draws the fleet; with buttons if whoever looks may press them.
pub(super) fn draw(view: &FleetView, may_act: bool) -> Markup {
    html! {
        div class="head" { h1 { "Servers" } }
        @if view.rows.is_empty() {
            (welcome())
        } @else {
            (tiles(view))
            (alerts::section(&view.alerts, view.now_ms, may_act.then_some("/")))
            (attention::draw(&view.attention))
            section class="card" {
                div class="scroll" {
                    table class="stack" {
                        thead {
                            tr {
                                th { "Server" }
                                th { "Status" }
                                th { "CPU" }
                                th { "Memory" }
                                th { "Fullest filesystem" }
                                th { "Disks" }
                                th { "Last seen" }
                            }
                        }
                        tbody { @for row in &view.rows { (line(row, view.now_ms)) } }
                    }
                }
            }
            @if let Some(next) = &view.next {
                p { a href={ "/?cursor=" (next) } { "Next servers" } }
            }
        }
    }
}

fn welcome() -> Markup {
    html! {
        section class="card" {
            header { h2 { "No servers yet" } }
            div class="empty" {
                p { "Make an enrolment token on this machine:" }
                p { code { "muster-controller token create --data-dir DIR" } }
                p { "and redeem it on the server that is to be watched:" }
                p { code { "muster-agent enroll --controller HOST:8481 --token-file FILE --data-dir DIR" } }
            }
        }
    }
}

fn tiles(view: &FleetView) -> Markup {
    let fullest = view
        .rows
        .iter()
        .filter_map(|row| row.fullest.as_ref().map(|(name, share)| (row, name, *share)))
        .max_by(|a, b| a.2.total_cmp(&b.2));
    html! {
        div class="tiles" {
            (layout::tile("Online", view.online, &format!("of {}", view.total), &html! {
                @if view.online == view.total { "every server reports" }
                @else { (view.total.saturating_sub(view.online)) " not online" }
            }))
            (health_tile("Disks", &view.counts, ResourceKind::Device))
            (health_tile("Pools", &view.counts, ResourceKind::Pool))
            @if let Some((row, name, share)) = fullest {
                section class="card tile" {
                    h2 { "Fullest filesystem" }
                    div class="big" { (format::percent(share)) }
                    div class="note wrap" { (name) " on " (row.server.hostname) }
                }
            }
        }
    }
}

/// How many of a kind there are in the whole fleet, and how well they are; nothing if there is none.
fn health_tile(title: &str, counts: &HealthCounts, kind: ResourceKind) -> Markup {
    let count = |healths: &[Health]| attention::count(counts, kind, healths);
    let healthy = count(&[Health::Healthy]);
    let warned = count(&[Health::Warning]);
    let bad = count(&[Health::Critical, Health::Failed]);
    let unknown = count(&[Health::Unknown]);
    let total = healthy + warned + bad + unknown;
    html! {
        @if 0 < total {
            section class="card tile" {
                h2 { (title) }
                div class="big" { (total) }
                div class="pills" { (layout::health_pills(healthy, warned, bad, unknown)) }
            }
        }
    }
}

fn line(row: &FleetRow, now_ms: i64) -> Markup {
    let server = &row.server;
    let count = |health: &[Health]| row.disks.iter().filter(|disk| health.contains(disk)).count();
    html! {
        tr {
            td {
                a class="name" href={ "/servers/" (server.id) } { (server.hostname) }
                @if let Some(os) = &row.os { div class="under" { (os) } }
            }
            td {
                (layout::status(server.status))
                @if let Some(error) = &server.last_error { div class="under" { (error) } }
            }
            td data-label="CPU" { (share(row.cpu)) }
            td data-label="Memory" { (share(row.memory)) }
            td data-label="Fullest" {
                @match &row.fullest {
                    Some((name, full)) => {
                        span class="nowrap" { (format::percent(*full)) } " " span class="soft wrap" { (name) }
                        (meter(*full))
                    }
                    None => { span class="soft" { "–" } }
                }
            }
            td data-label="Disks" {
                div class="pills" {
                    @if row.disks.is_empty() { span class="soft" { "–" } }
                    (layout::health_pills(
                        count(&[Health::Healthy]),
                        count(&[Health::Warning]),
                        count(&[Health::Critical, Health::Failed]),
                        count(&[Health::Unknown]),
                    ))
                }
            }
            td class="nowrap" data-label="Last seen" {
                @match server.last_seen_ms {
                    Some(seen_ms) => { span title=(format::time(seen_ms)) { (format::ago(seen_ms, now_ms)) } }
                    None => { span class="soft" { "never" } }
                }
            }
        }
    }
}

fn share(share: Option<f64>) -> Markup {
    html! {
        @match share {
            Some(share) => { (format::percent(share)) (meter(share)) }
            None => { span class="soft" { "–" } }
        }
    }
}
