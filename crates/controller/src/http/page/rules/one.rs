//! One rule: what it means, how it judges, and of whom.

use axum::extract::State;
use maud::{Markup, html};
use muster_alert::Rule;
use muster_alert::rule::ServerMatch;
use serde::Deserialize;

use super::rehearsal::{self, Tried};
use super::{PATH, kind, lasting, severities, switch};
use crate::alert::KeptRule;
use crate::app::auth::Role;
use crate::http::HttpState;
use crate::http::access::Caller;
use crate::http::error::{Code, Problem};
use crate::http::extract::{Path, Query, id_or};
use crate::http::page::{alerts, format, layout};

/// Whether the rule is tried too.
#[derive(Debug, Deserialize)]
pub(in crate::http) struct RuleQuery {
    over: Option<String>,
}

/// The page.
pub(in crate::http) async fn show_one(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<RuleQuery>,
) -> Result<Markup, Problem> {
    let kept = state.alerts.rule(id_or(&id, Code::RuleNotFound)?).await?;
    let tried = match query.over.as_deref() {
        None => None,
        Some(over) => Some(rehearsal::load(&state, &kept.rule, over).await?),
    };
    let may_change = caller.principal.may(Role::Admin);
    Ok(layout::still(
        &kept.rule.name,
        &caller.principal,
        &draw(&kept, tried.as_ref(), may_change),
    ))
}

fn draw(kept: &KeptRule, tried: Option<&Tried>, may_change: bool) -> Markup {
    let rule = &kept.rule;
    html! {
        p class="crumbs" { a href="/" { "Servers" } " / " a href=(PATH) { "Rules" } }
        div class="head" {
            h1 { (rule.name) }
            @for one in severities(rule) { (alerts::severity(one)) }
            @if !rule.enabled { span class="pill dim" { "off" } }
            div class="sub" { span { (rule.condition()) } }
        }
        section class="card" {
            header { h2 { "What it means, and what to do" } }
            div class="prose" {
                @if rule.description.is_empty() { p class="soft" { "It does not say." } }
                @else { p { (rule.description) } }
                @if let Some(runbook) = &rule.runbook {
                    p { a href=(runbook) rel="noreferrer noopener" { "Runbook: " (runbook) } }
                }
                p { a href={ (alerts::PATH) "?status=all&rule=" (rule.id) } { "Its alerts" } }
            }
        }
        (rehearsal::draw(rule, tried))
        (facts(kept))
        @if may_change {
            section class="card" {
                header { h2 { "Change it" } }
                div class="prose" {
                    (switch(rule))
                    p class="soft" {
                        "Everything else with " code { "muster rules set " (rule.id) " threshold=…" }
                        "; what came along and is not wanted is better switched off than deleted."
                    }
                }
            }
        }
    }
}

fn facts(kept: &KeptRule) -> Markup {
    let rule = &kept.rule;
    let resource = rule.resource_kind.map_or("any", |kind| kind.as_str());
    let bound = |bound: f64| alerts::with_unit(&rule.plan.unit, bound);
    let channels = if rule.channels.is_empty() {
        "all".to_owned()
    } else {
        rule.channels
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    html! {
        section class="card" {
            header { h2 { "How it judges" } }
            dl class="facts" {
                (layout::fact("Judges", Some(kind(rule.kind).to_owned())))
                (layout::fact("Metric", Some(rule.metric.clone())))
                (layout::fact("Of each", Some(format::words(resource))))
                (layout::fact("Where", Some(scope(rule))))
                (layout::fact("Bound", rule.levels.lower.map(|(severity, number)| format!("{} ({severity})", bound(number)))))
                (layout::fact("Critical bound", rule.levels.critical.map(bound)))
                (layout::fact("Clear at", rule.levels.clear.map(bound)))
                (layout::fact("Must hold for", Some(lasting(rule))))
                (layout::fact("Not told again for", Some(span(rule.cooldown_ms))))
                (layout::fact("Reminders every", Some(if rule.repeat_ms == 0 { "never".to_owned() } else { span(rule.repeat_ms) })))
                (layout::fact("Channels", Some(channels)))
                (layout::fact("Template", rule.template.clone()))
                (layout::fact("Changed", Some(format!("{} by {}", format::time(kept.updated_ms), kept.updated_by))))
                (layout::fact("Comes with Muster", kept.default_key.as_ref().map(|key| format!("yes, as {key}"))))
                (layout::fact("Id", Some(rule.id.to_string())))
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown to the second")]
fn span(ms: i64) -> String {
    format::duration(ms as f64 / 1_000.0)
}

/// Of whom, in words.
fn scope(rule: &Rule) -> String {
    let scope = &rule.scope;
    let servers = scope.servers.iter().map(|server| match server {
        ServerMatch::Id(id) => format!("server {id}"),
        ServerMatch::Name(name) => name.clone(),
    });
    let tags = scope.tags.iter().map(|tag| format!("tag {tag}"));
    let resources = scope.resources.iter().map(|id| format!("resource {id}"));
    let labels = scope.labels.iter().map(ToString::to_string);
    let all: Vec<String> = servers.chain(tags).chain(resources).chain(labels).collect();
    if all.is_empty() {
        "everywhere".to_owned()
    } else {
        all.join(", ")
    }
}
