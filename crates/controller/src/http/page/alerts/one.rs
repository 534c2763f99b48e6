//! One alert: what it is, what it means, what rests on it, who was told, and what was done.

use std::collections::HashMap;

use axum::extract::State;
use maud::{Markup, html};
use muster_alert::{Alert, AlertState};
use muster_base::id::ResourceId;
use muster_model::ResourceKind;

use super::figures::{self, Figures};
use super::{PATH, Shown, forms, named, reading, severity, status};
use crate::alert::{AlertError, KeptRule};
use crate::app::auth::Role;
use crate::app::channels::{DeliveryFilter, DeliveryView};
use crate::app::topology::Impact;
use crate::app::{AppError, PAGE_LIMIT_MAX, Page, PageRequest};
use crate::http::HttpState;
use crate::http::access::Caller;
use crate::http::error::{Code, Problem};
use crate::http::extract::{Path, id_or};
use crate::http::page::{channels, format, layout, resource, rules};

/// Deliveries that are shown.
const DELIVERIES_MAX: u32 = 50;

struct View {
    shown: Shown,
    rule: Option<KeptRule>,
    impact: Option<Impact>,
    figures: Figures,
    deliveries: Page<DeliveryView>,
    channels: HashMap<i64, String>,
    /// When a channel last took news of it, Unix ms.
    told_ms: Option<i64>,
    now_ms: i64,
}

/// The page.
pub(in crate::http) async fn show_one(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Markup, Problem> {
    let alert = state.app.alert(id_or(&id, Code::AlertNotFound)?).await?;
    let title = alert.rule_name.clone();
    let view = load(&state, alert).await?;
    let may_act = caller.principal.may(Role::Operator);
    Ok(layout::still(&title, &caller.principal, &draw(&view, may_act)))
}

async fn load(state: &HttpState, alert: Alert) -> Result<View, Problem> {
    let now_ms = state.app.clock().now_ms();
    let rule = match state.alerts.rule(alert.rule).await {
        Ok(rule) => Some(rule),
        Err(AlertError::NotFound { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let impact = match (alert.kind, alert.resource) {
        (Some(kind), Some(id)) if kind != ResourceKind::Server => {
            match state.app.impact(ResourceId(id)).await {
                Ok(impact) => Some(impact),
                Err(AppError::NotFound { .. }) => None,
                Err(error) => return Err(error.into()),
            }
        }
        _ => None,
    };
    let figures = match &rule {
        Some(kept) => figures::load(state, &alert, &kept.rule, now_ms).await?,
        None => Figures::default(),
    };
    let of_alert = DeliveryFilter {
        alert_id: Some(alert.id),
        ..DeliveryFilter::default()
    };
    let request = |limit| PageRequest {
        limit: Some(limit),
        cursor: None,
    };
    let deliveries = state.app.deliveries(of_alert, request(DELIVERIES_MAX)).await?;
    let known = state.app.channels(request(PAGE_LIMIT_MAX)).await?;
    let told_ms = state.app.told(&[alert.id]).await?.remove(&alert.id);
    let shown = named(state, vec![alert]).await?.into_iter().next();
    Ok(View {
        shown: shown.ok_or_else(|| Problem::new(Code::AlertNotFound, "it is not there any more"))?,
        rule,
        impact,
        figures,
        deliveries,
        channels: known
            .items
            .into_iter()
            .map(|channel| (channel.id, channel.name))
            .collect(),
        told_ms,
        now_ms,
    })
}

fn draw(view: &View, may_act: bool) -> Markup {
    let alert = &view.shown.alert;
    let place = format!("{PATH}/{}", alert.id);
    html! {
        p class="crumbs" { a href="/" { "Servers" } " / " a href=(PATH) { "Alerts" } }
        (head(view))
        (sentence(view))
        (meaning(view.rule.as_ref(), alert))
        (figures::draw(&view.figures, alert))
        @if may_act { (forms::deeds(alert, &place)) }
        (life(view))
        (told(view))
        @if let Some(impact) = &view.impact { (resource::impact(impact)) }
    }
}

fn head(view: &View) -> Markup {
    let alert = &view.shown.alert;
    html! {
        div class="head" {
            h1 { (alert.rule_name) }
            (severity(alert.severity))
            @if alert.state == AlertState::Active { span class="pill bad" { "active" } }
            (status(alert, view.now_ms))
        }
    }
}

fn sentence(view: &View) -> Markup {
    let alert = &view.shown.alert;
    let class = match alert.state {
        AlertState::Resolved => "good",
        _ => super::class(alert.severity),
    };
    html! {
        section class={ "card notice " (class) } {
            div class="lead" { (view.shown.of()) }
            p { strong { (reading(alert)) } }
            @if let Some(end) = alert.end { p { (end.sentence()) } }
            @if let Some(inside) = alert.inside {
                p { "It is named in " a href={ (PATH) "/" (inside) } { "alert " (inside) } ", which tells of both." }
            }
            @if alert.is_late { p class="soft" { "It was judged by what came long after it was measured." } }
            @if alert.calm_since_ms.is_some() && alert.state.is_open() {
                p class="soft" { "The condition does not hold now, but it came and went too often to be believed yet." }
            }
        }
    }
}

fn meaning(rule: Option<&KeptRule>, alert: &Alert) -> Markup {
    html! {
        section class="card" {
            header { h2 { "What it means, and what to do" } }
            div class="prose" {
                @match rule {
                    Some(kept) => {
                        @if kept.rule.description.is_empty() { p class="soft" { "The rule does not say." } }
                        @else { p { (kept.rule.description) } }
                        @if let Some(runbook) = &kept.rule.runbook {
                            p { a href=(runbook) rel="noreferrer noopener" { "Runbook: " (runbook) } }
                        }
                        p class="soft" {
                            "Rule " a href={ (rules::PATH) "/" (kept.rule.id) } { (kept.rule.name) } ": "
                            (kept.rule.condition())
                        }
                    }
                    None => { p class="soft" { "The rule " (alert.rule_name) " is not there any more." } }
                }
            }
        }
    }
}

/// What happened to it, in order of time.
fn life(view: &View) -> Markup {
    let alert = &view.shown.alert;
    let quoted = |note: Option<&String>| note.map(|note| format!(": “{note}”")).unwrap_or_default();
    let mut deeds = vec![(alert.started_ms, "The condition held first".to_owned())];
    deeds.extend(alert.active_ms.map(|at| (at, "It became active".to_owned())));
    match (view.told_ms, alert.told_ms) {
        (Some(told_ms), _) => deeds.push((told_ms, "People were told last".to_owned())),
        (None, Some(news_ms)) => {
            deeds.push((
                news_ms,
                "It was to be told, and no channel has taken it".to_owned(),
            ));
        }
        (None, None) => {}
    }
    if let Some(known) = &alert.acknowledgement {
        let text = format!("Acknowledged by {}{}", known.by, quoted(known.note.as_ref()));
        deeds.push((known.at_ms, text));
    }
    if let Some(ended_ms) = alert.ended_ms {
        let note = quoted(alert.resolved_note.as_ref());
        let text = match &alert.resolved_by {
            Some(by) => format!("Resolved by {by}{note}"),
            None => "It was over".to_owned(),
        };
        deeds.push((ended_ms, text));
    } else if let Some(until_ms) = alert.snoozed_until_ms.filter(|until_ms| view.now_ms < *until_ms) {
        deeds.push((until_ms, "Reminders begin again".to_owned()));
    }
    deeds.sort_by_key(|(at_ms, _)| *at_ms);
    html! {
        section class="card" {
            header { h2 { "What happened" } }
            table {
                tbody {
                    @for (at_ms, text) in &deeds {
                        tr {
                            td class="when soft" { (format::time(*at_ms)) }
                            td class="wrap" { (text) }
                        }
                    }
                }
            }
        }
    }
}

fn told(view: &View) -> Markup {
    let name = |id: i64| {
        view.channels
            .get(&id)
            .cloned()
            .unwrap_or_else(|| format!("channel {id}"))
    };
    let items = &view.deliveries.items;
    html! {
        section class="card" {
            header { h2 { "Who was told" } span class="soft" { (view.deliveries.total) } }
            @if items.is_empty() {
                p class="empty" { "Nobody." }
            } @else {
                div class="scroll" {
                    table class="stack" {
                        thead { tr { th { "Channel" } th { "State" } th { "Of" } th { "When" } th { "Answer" } } }
                        tbody {
                            @for delivery in items {
                                tr {
                                    td {
                                        @match delivery.channel_id {
                                            Some(id) => { span class="name" { (name(id)) } }
                                            None => { span class="soft" { "none" } }
                                        }
                                    }
                                    td { (channels::state(delivery)) }
                                    td data-label="Of" { (delivery.kind) }
                                    td class="nowrap" data-label="When" {
                                        span title=(format::time(delivery.changed_ms)) {
                                            (format::ago(delivery.changed_ms, view.now_ms))
                                        }
                                    }
                                    td class="wrap" data-label="Answer" { (delivery.answer.as_deref().unwrap_or("–")) }
                                }
                            }
                        }
                    }
                }
                @if (items.len() as u64) < view.deliveries.total {
                    p class="soft pad" { "and older ones: the API lists all" }
                }
            }
            @if view.channels.is_empty() {
                p class="soft pad" { "There is no channel to tell anybody through: " a href=(channels::PATH) { "channels" } }
            }
        }
    }
}
