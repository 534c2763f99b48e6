//! What is known of a container.

use maud::{Markup, html};
use muster_model::Attribute;

use super::owner;
use crate::app::resources::ResourceView;
use crate::http::page::load::{number, text, whole};
use crate::http::page::{format, layout};

/// Most entries of a list that are shown.
const ENTRIES_MAX: usize = 100;

/// Draws what is known, its lists and its labels.
pub(super) fn draw(view: &ResourceView) -> Markup {
    let time = |name: &str| text(view, name).as_deref().map(format::time_of);
    let known = |name: &str| text(view, name).filter(|text| !text.is_empty());
    // Of one that runs these are of the time before.
    let has_ended = known("status").as_deref() != Some("running");
    html! {
        section class="card" {
            header { h2 { "About" } }
            dl class="facts" {
                (layout::fact("Image", known("image")))
                (layout::fact("Tag", known("current_tag")))
                (layout::fact("Digest", Some(known("current_digest").unwrap_or_else(|| "not known: built here, or never pulled".to_owned()))))
                (layout::fact("Image id", known("image_id")))
                (layout::fact("Platform", known("platform")))
                (layout::fact("Runtime", known("runtime")))
                (layout::fact("Made by", Some(owner(view).unwrap_or_else(|| "whoever started it".to_owned()))))
                (layout::fact("Health check", known("container_health").map(|word| if word == "none" { "it has none".to_owned() } else { word })))
                (layout::fact("Restart policy", known("restart_policy")))
                (layout::fact("Restarts", whole(view, "restart_count").map(format::grouped)))
                (layout::fact("Exit code", whole(view, "exit_code").filter(|_| has_ended).map(format::grouped)))
                (layout::fact("Memory limit", number(view, "memory_limit_bytes").filter(|limit| 0.0 < *limit).map(format::bytes)))
                (layout::fact("Made", time("created_at")))
                (layout::fact("Started", time("started_at")))
                (layout::fact("Ended", time("finished_at").filter(|_| has_ended)))
                (layout::fact("First seen", Some(format::time(view.first_seen_ms))))
                (layout::fact("Id", known("container_id")))
            }
        }
        (lists(view))
        (labels(view))
    }
}

fn entries<'a>(view: &'a ResourceView, name: &str) -> &'a [String] {
    match view.attributes.get(name) {
        Some(Attribute::List(list)) => list,
        _ => &[],
    }
}

fn lists(view: &ResourceView) -> Markup {
    let known = [
        ("Ports", "ports"),
        ("Mounts", "mounts"),
        ("Networks", "networks"),
        ("Needs first", "depends_on"),
        ("Digests of its image", "repo_digests"),
        ("Environment, names only", "environment_keys"),
    ];
    let shown: Vec<(&str, &[String])> = known
        .into_iter()
        .map(|(title, name)| (title, entries(view, name)))
        .filter(|(_, list)| !list.is_empty())
        .collect();
    html! {
        @if !shown.is_empty() {
            section class="card" {
                header { h2 { "Ports, mounts and networks" } }
                dl class="facts wide" {
                    @for (title, list) in shown {
                        div {
                            dt { (title) }
                            @for entry in list.iter().take(ENTRIES_MAX) { dd class="mono" { (entry) } }
                            @if ENTRIES_MAX < list.len() { dd class="soft" { "and " (list.len() - ENTRIES_MAX) " more" } }
                        }
                    }
                }
            }
        }
    }
}

fn labels(view: &ResourceView) -> Markup {
    let labels = entries(view, "labels");
    html! {
        @if !labels.is_empty() {
            section class="card" {
                details {
                    summary { "Labels (" (labels.len()) ")" }
                    dl class="facts wide" {
                        @for label in labels.iter().take(ENTRIES_MAX) {
                            @let (name, value) = label.split_once('=').unwrap_or((label, ""));
                            div { dt class="mono" { (name) } dd class="mono" { (value) } }
                        }
                    }
                }
            }
        }
    }
}
