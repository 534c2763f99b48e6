//! Alerts as people see them: what is open, on the first page, on a server's, and on pages of their own.

mod figures;
mod forms;
mod history;
mod one;
mod reading;

use std::collections::HashMap;

use maud::{Markup, html};
use muster_alert::{Alert, AlertState, Severity};
use muster_base::id::ServerId;
use muster_model::ResourceKind;

pub(in crate::http) use self::forms::{acknowledge, acknowledge_all, resolve, resolve_all, snooze};
pub(in crate::http) use self::history::show;
pub(in crate::http) use self::one::show_one;
pub(super) use self::reading::{labels, reading, with_unit};
use super::{format, layout};
use crate::http::HttpState;
use crate::http::error::Problem;
use crate::store::AlertFilter;

/// Where the pages are.
pub(in crate::http) const PATH: &str = "/alerts";
/// The pages that belong together.
const TABS: [(&str, &str); 4] = [
    (PATH, "Alerts"),
    (super::rules::PATH, "Rules"),
    (super::silences::PATH, "Silences"),
    (super::channels::PATH, "Channels"),
];
/// Most open alerts shown beside other things.
pub(super) const SHOWN_MAX: usize = 12;
/// States in which an alert is open.
pub(super) const OPEN: [AlertState; 2] = [AlertState::Active, AlertState::Acknowledged];

/// An alert with the names of what it is about.
#[derive(Debug)]
pub(super) struct Shown {
    /// The alert.
    pub(super) alert: Alert,
    /// Its server's name.
    server: Option<String>,
    /// Its resource's name.
    resource: Option<String>,
}

/// What is open.
#[derive(Debug, Default)]
pub(super) struct OpenAlerts {
    /// The worst of it, and of the equally bad the newest.
    shown: Vec<Shown>,
    /// How many there are of each severity, the worst first.
    counts: Vec<(Severity, u64)>,
}

/// Reads what is open, of one server or of all.
pub(super) async fn open(state: &HttpState, server: Option<ServerId>) -> Result<OpenAlerts, Problem> {
    let mut alerts: Vec<Alert> = Vec::new();
    let mut counts = Vec::new();
    for severity in Severity::ALL.into_iter().rev() {
        let filter = AlertFilter {
            states: OPEN.map(AlertState::as_str).to_vec(),
            severities: vec![severity.as_str()],
            server: server.map(|ServerId(id)| id),
            ..AlertFilter::default()
        };
        // One that nobody knows of comes first, so some more than fit are looked at.
        let (found, count) = state.app.alerts(&filter, None, 100).await?;
        let mut found = found;
        found.sort_by_key(|alert| alert.state == AlertState::Acknowledged);
        alerts.extend(found);
        counts.push((severity, count));
    }
    alerts.truncate(SHOWN_MAX);
    Ok(OpenAlerts {
        shown: named(state, alerts).await?,
        counts,
    })
}

/// Adds names.
pub(super) async fn named(state: &HttpState, alerts: Vec<Alert>) -> Result<Vec<Shown>, Problem> {
    let servers = state.app.server_names().await?;
    let ids = alerts
        .iter()
        .filter(|alert| alert.kind != Some(ResourceKind::Server))
        .filter_map(|alert| alert.resource)
        .collect();
    let rows = state.app.named(&ids).await?;
    let resources: HashMap<i64, String> = rows.into_iter().map(|row| (row.id, row.name)).collect();
    let shown = |alert: Alert| Shown {
        server: alert
            .server
            .and_then(|id| Some(servers.get(&ServerId(id))?.hostname.clone())),
        resource: alert.resource.and_then(|id| resources.get(&id).cloned()),
        alert,
    };
    Ok(alerts.into_iter().map(shown).collect())
}

/// Draws what is open as a section. `place` is where its buttons lead back to; without one there are no buttons.
pub(super) fn section(open: &OpenAlerts, now_ms: i64, place: Option<&str>) -> Markup {
    let total: u64 = open.counts.iter().map(|(_, count)| count).sum();
    html! {
        section class="card" {
            header {
                h2 { "Alerts" }
                span class="pills" {
                    @for (severity, count) in &open.counts {
                        @if 0 < *count { span class={ "pill " (class(*severity)) } { (count) " " (severity) } }
                    }
                }
                a class="more" href=(PATH) { "All alerts" }
            }
            @if open.shown.is_empty() {
                p class="soft pad" { "No alert is open." }
            } @else {
                (table(&open.shown, now_ms, place))
                @let rest = total.saturating_sub(open.shown.len() as u64);
                @if 0 < rest { p class="soft pad" { "and " a href=(PATH) { (rest) " more" } } }
            }
        }
    }
}

/// Draws alerts as a table.
pub(super) fn table(shown: &[Shown], now_ms: i64, place: Option<&str>) -> Markup {
    html! {
        div class="scroll" {
            table class="stack" {
                thead { tr { th { "Alert" } th { "Status" } th { "Of" } th { "Since" } @if place.is_some() { th { "" } } } }
                tbody { @for one in shown { (line(one, now_ms, place)) } }
            }
        }
    }
}

fn line(shown: &Shown, now_ms: i64, place: Option<&str>) -> Markup {
    let alert = &shown.alert;
    html! {
        tr {
            td {
                a class="name" href={ (PATH) "/" (alert.id) } { (alert.rule_name) }
                div class="under" { (reading(alert)) }
            }
            td { div class="pills" { (severity(alert.severity)) (status(alert, now_ms)) } }
            td data-label="Of" { (shown.of()) }
            td class="nowrap" data-label="Since" {
                span title=(format::time(alert.started_ms)) { (format::ago(alert.started_ms, now_ms)) }
            }
            @if let Some(place) = place { td class="deeds" { (forms::buttons(alert, place)) } }
        }
    }
}

impl Shown {
    /// What it is about, with ways there.
    pub(super) fn of(&self) -> Markup {
        let alert = &self.alert;
        let address = |kind, id: i64| match kind {
            ResourceKind::Device => format!("/devices/{id}"),
            _ => format!("/resources/{id}"),
        };
        let labels = labels(alert, self.resource.as_deref());
        html! {
            @match (alert.kind, alert.resource) {
                (Some(kind), Some(id)) if kind != ResourceKind::Server => {
                    @match &self.resource {
                        Some(name) => { a class="name" href=(address(kind, id)) { (name) } }
                        None => { span class="name" { (kind.as_str()) " " (id) } }
                    }
                    div class="under" { (kind.as_str()) " on " (self.on()) }
                }
                _ => { (self.on()) }
            }
            @if !labels.is_empty() { div class="under mono" { (labels) } }
        }
    }

    fn on(&self) -> Markup {
        html! {
            @match (self.alert.server, &self.server) {
                (None, _) => { "several servers" }
                (Some(id), Some(name)) => { a href={ "/servers/" (id) } { (name) } }
                (Some(id), None) => { "server " (id) }
            }
        }
    }
}

/// The colour of a severity.
pub(super) const fn class(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "bad",
        Severity::Warning => "warn",
        Severity::Info => "dim",
    }
}

/// A severity as a coloured word.
pub(super) fn severity(severity: Severity) -> Markup {
    html! { span class={ "pill " (class(severity)) } { (severity) } }
}

/// Where an alert is in its life, as far as it is not simply active.
fn status(alert: &Alert, now_ms: i64) -> Markup {
    html! {
        @match alert.state {
            AlertState::Active => {}
            AlertState::Pending => { span class="tag" { "pending" } }
            AlertState::Acknowledged => {
                span class="tag" {
                    "known"
                    @if let Some(known) = &alert.acknowledgement { " to " (known.by) }
                }
            }
            AlertState::Resolved => { span class="pill good" { "over" } }
        }
        @if let Some(until_ms) = alert.snoozed_until_ms.filter(|until_ms| now_ms < *until_ms) {
            @if alert.state != AlertState::Resolved {
                span class="tag" title=(format::time(until_ms)) { "snoozed" }
            }
        }
        @if alert.inside.is_some() { span class="tag" { "within another" } }
        @if alert.is_late { span class="tag" { "late" } }
    }
}

/// A page of these, with the ways to the others.
pub(super) fn framed(title: &str, current: &str, content: &Markup) -> Markup {
    html! {
        p class="crumbs" { a href="/" { "Servers" } }
        div class="head" { h1 { (title) } }
        (layout::tabs("Alerts", &TABS, current))
        (content)
    }
}
