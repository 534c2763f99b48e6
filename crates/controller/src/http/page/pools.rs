//! Pools of a server: how they are, how full, what runs on them, and how worn their disks are.

use std::collections::HashMap;

use maud::{Markup, html};
use muster_base::id::ResourceId;
use muster_model::ResourceKind;

use super::chart::meter;
use super::load::{number, text};
use super::{format, layout, map};
use crate::app::resources::ResourceView;
use crate::app::topology::Topology;

/// Something that runs on a pool and has an end.
#[derive(Debug, Clone, PartialEq)]
struct Running {
    /// What, in words.
    what: String,
    /// How much of it is done, 0 to 1; `None` if that is not known.
    share: Option<f64>,
    /// How fast, and when it will be done.
    pace: Vec<String>,
}

/// Draws the pools of a server; nothing if it has none.
pub(super) fn draw(topology: &Topology) -> Markup {
    let pools: Vec<&ResourceView> = topology
        .resources
        .iter()
        .map(|placed| &placed.resource)
        .filter(|resource| resource.kind == ResourceKind::Pool)
        .collect();
    let below = Below::of(topology);
    html! {
        @if !pools.is_empty() {
            section class="card" {
                header { h2 { "Pools" } span class="soft" { (pools.len()) } }
                div class="scroll" {
                    table class="stack" {
                        thead {
                            tr {
                                th { "Pool" }
                                th { "Health" }
                                th { "Used" }
                                th class="num" { "Size" }
                                th { "Running" }
                                th class="num hide-narrow" { "Most worn disk" }
                            }
                        }
                        tbody { @for pool in pools { (line(pool, &below)) } }
                    }
                }
            }
        }
    }
}

fn line(pool: &ResourceView, below: &Below<'_>) -> Markup {
    let dash = || "–".to_owned();
    let used = number(pool, "used_size_bytes")
        .zip(number(pool, "total_size_bytes"))
        .filter(|(_, total)| 0.0 < *total)
        .map(|(used, total)| used / total);
    let under: Vec<String> = ["pool_type", "raid_level"]
        .into_iter()
        .filter_map(|name| text(pool, name))
        .chain(number(pool, "device_count").map(|count| format!("{count:.0} devices")))
        .collect();
    html! {
        tr {
            td {
                a class="name" href=(map::address(pool)) { (pool.name) }
                div class="under" { (under.join(" · ")) }
            }
            td {
                (layout::health(pool.health))
                @for reason in pool.health_reasons.iter().take(3) { div class="under" { (reason) } }
            }
            td data-label="Used" {
                @match used {
                    // A volume group is there to be given away whole: that it is full means nothing.
                    Some(share) if text(pool, "pool_type").as_deref() == Some("lvm") => {
                        (format::percent(share)) (bar(share))
                    }
                    Some(share) => { (format::percent(share)) (meter(share)) }
                    None => { span class="soft" { "–" } }
                }
            }
            td class="num" data-label="Size" { (number(pool, "total_size_bytes").map_or_else(dash, format::capacity)) }
            td data-label="Running" { (running(pool)) }
            td class="num hide-narrow" {
                @match below.most_worn(pool.id) {
                    Some((disk, percent)) => {
                        a href=(map::address(disk)) { (disk.name) } ": " (format!("{percent:.0} %"))
                    }
                    None => { span class="soft" { "–" } }
                }
            }
        }
    }
}

/// What runs on a pool, with a bar; else when it was last looked through.
pub(super) fn running(pool: &ResourceView) -> Markup {
    html! {
        @match running_of(pool) {
            Some(running) => {
                (running.what)
                @if let Some(share) = running.share { " " (format::percent(share)) (bar(share)) }
                @if !running.pace.is_empty() { div class="under" { (running.pace.join(", ")) } }
            }
            None => {
                @match last_scrub(pool) {
                    Some(said) => { span class="soft" { (said) } }
                    None => { span class="soft" { "–" } }
                }
            }
        }
    }
}

/// Names of the fields that tell of something under way: action, state, percent, bytes a second, seconds left.
const UNDER_WAY: [[&str; 5]; 3] = [
    [
        "sync_action",
        "sync_state",
        "sync_percent",
        "sync_speed_bytes_per_second",
        "sync_remaining_seconds",
    ],
    [
        "scan_type",
        "scan_state",
        "scan_percent",
        "scan_bytes_per_second",
        "scan_remaining_seconds",
    ],
    [
        "scrub_action",
        "scrub_status",
        "scrub_percent",
        "scrub_bytes_per_second",
        "scrub_remaining_seconds",
    ],
];

fn running_of(pool: &ResourceView) -> Option<Running> {
    let [action, state, percent, speed, left] = UNDER_WAY.into_iter().find(|[_, state, ..]| {
        let state = text(pool, state);
        state.is_some_and(|state| {
            !matches!(
                state.as_str(),
                "finished" | "canceled" | "aborted" | "none" | "interrupted" | "unknown"
            )
        })
    })?;
    let what = text(pool, action).unwrap_or_else(|| "scrub".to_owned());
    let state = text(pool, state).filter(|state| !matches!(state.as_str(), "running" | "in_progress"));
    let mut pace = Vec::new();
    if let Some(speed) = number(pool, speed) {
        pace.push(format!("{}/s", format::bytes(speed)));
    }
    if let Some(left) = number(pool, left) {
        pace.push(format!("{} left", format::duration(left)));
    }
    Some(Running {
        what: format::words(
            &[Some(what), state]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" "),
        ),
        share: number(pool, percent).map(|percent| percent / 100.0),
        pace,
    })
}

fn last_scrub(pool: &ResourceView) -> Option<String> {
    let ended = ["scan_finished_at", "scrub_started"]
        .into_iter()
        .find_map(|name| text(pool, name))?;
    Some(format!("looked through {}", format::time_of(&ended)))
}

/// A bar that is filled to `share` (0 to 1), without a judgement.
fn bar(share: f64) -> Markup {
    let share = if share.is_finite() {
        share.clamp(0.0, 1.0)
    } else {
        0.0
    };
    html! {
        svg class="meter" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
            rect class="track" x="0" y="0" width="100" height="8" {}
            rect class="good" x="0" y="0" width=(format!("{:.1}", share * 100.0)) height="8" {}
        }
    }
}

/// What everything rests on.
struct Below<'a> {
    resources: HashMap<ResourceId, &'a ResourceView>,
    next: HashMap<ResourceId, Vec<ResourceId>>,
}

impl<'a> Below<'a> {
    fn of(topology: &'a Topology) -> Self {
        let mut next: HashMap<ResourceId, Vec<ResourceId>> = HashMap::new();
        for link in &topology.links {
            next.entry(link.from).or_default().push(link.to);
        }
        Self {
            resources: topology
                .resources
                .iter()
                .map(|placed| (placed.resource.id, &placed.resource))
                .collect(),
            next,
        }
    }

    /// The disk that has used most of its endurance, of those that this finally rests on.
    fn most_worn(&self, id: ResourceId) -> Option<(&'a ResourceView, f64)> {
        let mut seen = vec![id];
        let mut at = 0;
        let mut most: Option<(&ResourceView, f64)> = None;
        while let Some(id) = seen.get(at).copied() {
            at += 1;
            if let Some(resource) = self.resources.get(&id)
                && let Some(percent) = number(resource, "wear_level_percent")
                && most.is_none_or(|(_, before)| before < percent)
            {
                most = Some((resource, percent));
            }
            for next in self.next.get(&id).into_iter().flatten() {
                if !seen.contains(next) {
                    seen.push(*next);
                }
            }
        }
        most
    }
}

#[cfg(test)]
mod tests {
    use muster_model::Attribute;

    use super::*;
    use crate::app::topology::tests::Stack;

    fn pool(attributes: &[(&str, Attribute)]) -> ResourceView {
        let mut stack = Stack::default().with(ResourceKind::Pool, "md0", attributes, &[]);
        stack.resources.remove(0)
    }

    #[test]
    fn a_resync_has_a_bar_with_its_pace() {
        let pool = pool(&[
            ("sync_action", "recover".into()),
            ("sync_state", "running".into()),
            ("sync_percent", 12.5.into()),
            ("sync_speed_bytes_per_second", 1_048_576_i64.into()),
            ("sync_remaining_seconds", 90_i64.into()),
        ]);
        let drawn = running(&pool).into_string();
        assert!(
            drawn.contains("recover") && drawn.contains("width=\"12.5\"") && drawn.contains("left"),
            "{drawn}"
        );
    }

    #[test]
    fn what_does_not_run_has_no_bar() {
        let idle = pool(&[("sync_action", "idle".into())]);
        let ended = pool(&[
            ("scan_type", "scrub".into()),
            ("scan_state", "finished".into()),
            ("scan_percent", 100.0.into()),
        ]);
        for pool in [idle, ended] {
            let drawn = running(&pool).into_string();
            assert!(!drawn.contains("<svg"), "{drawn}");
        }
        let paused = pool(&[("scan_type", "scrub".into()), ("scan_state", "paused".into())]);
        assert!(running(&paused).into_string().contains("scrub paused"));
    }
}
