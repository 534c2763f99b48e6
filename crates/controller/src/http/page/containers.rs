//! Containers: of the fleet, of a server, and one by one, with what can be done to them.
//!
//! Here is the section of a server's page, and what the others share with it.

mod charts;
mod deeds;
mod facts;
mod fleet;
mod going;
mod known;
mod offer;
mod one;

use std::collections::HashMap;

use maud::{Markup, html};
use muster_base::id::{ResourceId, ServerId};
use muster_samples::{MatchOp, Matcher, NAME_LABEL};

pub(super) use self::deeds::forget_form;
pub(in crate::http) use self::deeds::{check, forget, logs, restart, start, stop};
pub(in crate::http) use self::fleet::show;
pub(super) use self::fleet::{hostname, servers};
use self::going::Doing;
pub(super) use self::going::pill as doing_pill;
pub(super) use self::known::change_word;
pub(super) use self::offer::{confirmed, decision};
pub(in crate::http) use self::one::show_one;
use super::load::{number, text, whole};
use super::{format, layout, map};
use crate::app::resources::ResourceView;
use crate::app::series::{RangeQuery, RangeSeries};
use crate::http::HttpState;
use crate::http::error::Problem;

/// Where the pages are.
pub(in crate::http) const PATH: &str = "/containers";
/// How far back a value of now may lie.
const NOW_MS: i64 = 300_000;
/// What the shares are made of.
const TAKEN: &str = "container_cpu_usage_seconds_total|container_memory_working_set_bytes";

/// What a container takes right now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Taken {
    /// CPUs that it keeps busy, on average over the last minutes.
    cpus: Option<f64>,
    /// Memory that it can't give back, in bytes.
    memory_bytes: Option<f64>,
}

/// What each container of a server takes, by its resource.
pub(super) type TakenNow = HashMap<ResourceId, Taken>;

/// Reads what the containers of a server take.
pub(super) async fn taken(state: &HttpState, server: ServerId, now_ms: i64) -> Result<TakenNow, Problem> {
    taken_on(state, &[server], now_ms).await
}

/// Reads what the containers of these servers take.
async fn taken_on(state: &HttpState, servers: &[ServerId], now_ms: i64) -> Result<TakenNow, Problem> {
    if servers.is_empty() {
        return Ok(TakenNow::new());
    }
    let ids: Vec<String> = servers.iter().map(ToString::to_string).collect();
    let pattern = |name: &str, value: &str| {
        Matcher::new(name, MatchOp::Re, value).expect("numbers and names joined by | are an expression")
    };
    let query = RangeQuery {
        matchers: vec![pattern(NAME_LABEL, TAKEN), pattern("server_id", &ids.join("|"))],
        resource: None,
        start_ms: now_ms - NOW_MS,
        end_ms: now_ms,
        step_ms: None,
    };
    let names = state.app.server_names().await?;
    Ok(taken_of(&state.series.range(names, query).await?.series))
}

fn taken_of(series: &[RangeSeries]) -> TakenNow {
    let mut taken = TakenNow::new();
    for one in series {
        let entry = taken.entry(one.resource).or_default();
        if &*one.name == "container_memory_working_set_bytes" {
            entry.memory_bytes = one.points.last().map(|point| point.1);
        } else {
            entry.cpus = rate(&one.points);
        }
    }
    taken
}

/// How much a counter grew a second, from the last time it began anew.
fn rate(points: &[(i64, f64)]) -> Option<f64> {
    let begin = points
        .windows(2)
        .rposition(|pair| pair[1].1 < pair[0].1)
        .map_or(0, |place| place + 1);
    let (first, last) = (points.get(begin)?, points.last()?);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a few minutes")]
    let seconds = (last.0 - first.0) as f64 / 1_000.0;
    (0.0 < seconds).then(|| (last.1 - first.1) / seconds)
}

/// Draws the containers of a server; nothing if it has none.
pub(super) fn draw(containers: &[ResourceView], taken: &TakenNow) -> Markup {
    let mut containers: Vec<&ResourceView> = containers.iter().collect();
    containers.sort_by_key(|container| layout::urgency(container.health));
    let running = containers
        .iter()
        .filter(|container| text(container, "status").as_deref() == Some("running"))
        .count();
    html! {
        @if !containers.is_empty() {
            section class="card" {
                header {
                    h2 { "Containers" }
                    span class="soft" { (running) " of " (containers.len()) " run" }
                    @if let Some(first) = containers.first() {
                        a class="more" href={ (PATH) "?server=" (first.server) } { "With their updates" }
                    }
                }
                div class="scroll" {
                    table class="stack" {
                        thead {
                            tr {
                                th { "Container" }
                                th { "Health" }
                                th { "Image" }
                                th class="num" { "CPUs" }
                                th class="num" { "Memory" }
                                th class="num hide-narrow" { "Restarts" }
                                th class="hide-narrow" { "Since" }
                            }
                        }
                        tbody {
                            @for container in containers {
                                (line(container, taken.get(&container.id).copied().unwrap_or_default()))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn line(container: &ResourceView, taken: Taken) -> Markup {
    let dash = || "–".to_owned();
    let status = text(container, "status").unwrap_or_else(|| "unknown".to_owned());
    html! {
        tr {
            td {
                a class="name" href=(map::address(container)) { (container.name) }
                @if let Some(owner) = owner(container) { div class="under" { (owner) } }
            }
            td {
                (layout::health(container.health)) " " span class="soft" { (status) }
                @for reason in container.health_reasons.iter().take(2) { div class="under" { (reason) } }
            }
            td data-label="Image" class="wrap" { (text(container, "image").unwrap_or_else(dash)) }
            (takes(container, taken))
            td class="hide-narrow" data-label="Since" { (since(container, &status).unwrap_or_else(dash)) }
        }
    }
}

/// What it takes of its server, and how often it was started again, as cells of its line.
fn takes(container: &ResourceView, taken: Taken) -> Markup {
    let dash = || "–".to_owned();
    html! {
        td class="num" data-label="CPUs" { (taken.cpus.map_or_else(dash, |cpus| format!("{cpus:.2}"))) }
        td class="num" data-label="Memory" {
            (taken.memory_bytes.map_or_else(dash, format::bytes))
            @if let Some(limit) = number(container, "memory_limit_bytes").filter(|limit| 0.0 < *limit) {
                div class="under" { "of " (format::bytes(limit)) }
            }
        }
        td class="num hide-narrow" data-label="Restarts" {
            (whole(container, "restart_count").map_or_else(dash, format::grouped))
        }
    }
}

/// Who made it and would be asked before it is changed.
fn owner(container: &ResourceView) -> Option<String> {
    let word = text(container, "owner")?;
    let name = match word.as_str() {
        "compose" => text(container, "compose_project"),
        "systemd" | "quadlet" => text(container, "systemd_unit"),
        "pod" => text(container, "pod"),
        "none" => return None,
        _ => None,
    };
    Some(name.map_or_else(|| word.clone(), |name| format!("{word} · {name}")))
}

/// Since when it is as it is.
fn since(container: &ResourceView, status: &str) -> Option<String> {
    let name = if status == "running" {
        "started_at"
    } else {
        "finished_at"
    };
    text(container, name).map(|at| format::time_of(&at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_begins_anew_is_counted_from_there() {
        assert_eq!(rate(&[(0, 5.0), (10_000, 25.0)]), Some(2.0));
        assert_eq!(rate(&[(0, 500.0), (10_000, 1.0), (20_000, 6.0)]), Some(0.5));
        assert_eq!(rate(&[(0, 5.0)]), None);
        assert_eq!(rate(&[]), None);
    }
}
