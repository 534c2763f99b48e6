//! Any resource but a disk: its health, what is known of it, what it rests on, and what goes down with it.

use maud::{Markup, html};
use muster_model::{Attribute, ResourceKind};

use super::{format, layout, map, pools};
use crate::app::resources::ResourceView;
use crate::app::topology::{self, Affected, Effect, Impact};

/// Most resources of one list.
const LINES_MAX: usize = 200;

/// Draws a resource.
pub(super) fn draw(hostname: &str, impact: &Impact) -> Markup {
    let resource = &impact.resource;
    html! {
        p class="crumbs" {
            a href="/" { "Servers" } " / " a href={ "/servers/" (resource.server) } { (hostname) }
        }
        (head(resource))
        @if !resource.health_reasons.is_empty() {
            section class={ "card notice " (layout::health_class(resource.health)) } {
                ul { @for reason in &resource.health_reasons { li { (reason) } } }
            }
        }
        @if resource.kind == ResourceKind::Pool {
            section class="card" { header { h2 { "Running" } } div class="empty" { (pools::running(resource)) } }
        }
        (self::impact(impact))
        (rests_on(impact))
        (facts(resource))
    }
}

fn head(resource: &ResourceView) -> Markup {
    html! {
        div class="head" {
            h1 { (resource.name) }
            (layout::health(resource.health))
            @if let Some(gone_ms) = resource.gone_ms {
                span class="tag bad" { "gone since " (format::time(gone_ms)) }
            }
            div class="sub" {
                span { (resource.kind.as_str()) }
                @if let Some(subtype) = topology::subtype(resource) { span { (subtype) } }
                span class="mono" { (resource.key) }
            }
        }
    }
}

/// What goes down with a resource.
pub(super) fn impact(impact: &Impact) -> Markup {
    let of = |effect| impact.affected.iter().filter(|hit| hit.effect == effect).count();
    let counts = [
        (of(Effect::Lost), "lost"),
        (of(Effect::Degraded), "degraded"),
        (of(Effect::Unknown), "unknown"),
    ];
    let told: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| 0 < *count)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    html! {
        section class="card" {
            header { h2 { "If it dies" } span class="soft" { (told.join(", ")) } }
            @if impact.affected.is_empty() { p class="empty" { "Nothing is known to rest on it." } }
            @else {
                div class="scroll" {
                    table {
                        thead { tr { th { "What rests on it" } th { "Then" } th { "Why" } } }
                        tbody { @for hit in impact.affected.iter().take(LINES_MAX) { (hit_line(hit)) } }
                    }
                }
                @if LINES_MAX < impact.affected.len() || impact.is_truncated {
                    p class="empty" { "More is hit than is shown here; the API has all of it." }
                }
            }
        }
    }
}

fn hit_line(hit: &Affected) -> Markup {
    let class = match hit.effect {
        Effect::Lost => "bad",
        Effect::Degraded => "warn",
        Effect::Unknown => "dim",
    };
    html! {
        tr {
            td { (named(&hit.resource)) }
            td { span class={ "pill " (class) } { (hit.effect.as_str()) } }
            td class="wrap" { (hit.reason) }
        }
    }
}

fn named(resource: &ResourceView) -> Markup {
    let kind = topology::subtype(resource).map_or_else(
        || resource.kind.as_str().to_owned(),
        |subtype| format!("{} · {subtype}", resource.kind.as_str()),
    );
    html! {
        a class="name" href=(map::address(resource)) { (resource.name) }
        div class="under" { (kind) }
    }
}

/// What a resource rests on; nothing if that is nothing.
pub(super) fn rests_on(impact: &Impact) -> Markup {
    html! {
        @if !impact.rests_on.is_empty() {
            section class="card" {
                header { h2 { "Rests on" } span class="soft" { (impact.rests_on.len()) } }
                div class="scroll" {
                    table {
                        thead { tr { th { "What it rests on" } th { "Health" } } }
                        tbody {
                            @for below in impact.rests_on.iter().take(LINES_MAX) {
                                tr {
                                    td { (named(&below.resource)) }
                                    td {
                                        (layout::health(below.resource.health))
                                        @if below.resource.gone_ms.is_some() { " " span class="tag bad" { "gone" } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn facts(resource: &ResourceView) -> Markup {
    html! {
        section class="card" {
            header { h2 { "About" } }
            dl class="facts" {
                @for (name, value) in &resource.attributes {
                    @if !name.ends_with("_raw") { (layout::fact(&format::words(name), shown(name, value))) }
                }
                (layout::fact("First seen", Some(format::time(resource.first_seen_ms))))
            }
        }
    }
}

fn shown(name: &str, value: &Attribute) -> Option<String> {
    Some(match value {
        Attribute::Bool(truth) => if *truth { "yes" } else { "no" }.to_owned(),
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        Attribute::Int(number) if name.ends_with("_bytes") => format::bytes(*number as f64),
        Attribute::Int(number) => format::grouped(*number),
        Attribute::Float(number) => format!("{number:.2}"),
        Attribute::Text(text) if text.is_empty() => return None,
        Attribute::Text(text) => text.clone(),
        Attribute::List(texts) if texts.is_empty() => return None,
        Attribute::List(texts) => texts.join(", "),
    })
}
