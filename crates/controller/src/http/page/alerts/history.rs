//! The page of all alerts: what is open, and what was, with a chart of the last days.

use axum::extract::State;
use maud::{Markup, html};
use muster_alert::{Alert, AlertState, Severity};
use serde::Deserialize;

use super::{OPEN, PATH, Shown, forms, framed, named, table};
use crate::app::auth::Role;
use crate::http::HttpState;
use crate::http::access::Caller;
use crate::http::error::Problem;
use crate::http::extract::Query;
use crate::http::page::{chart, containers, format, layout};
use crate::store::AlertFilter;

/// Alerts on one page.
const PAGE: u64 = 100;
/// Days of the chart.
const DAYS: i64 = 14;
/// Most alerts that the chart counts.
const COUNTED_MAX: u64 = 5_000;
const DAY_MS: i64 = 86_400_000;

/// Which alerts are wanted.
#[derive(Debug, Default, Deserialize)]
pub(in crate::http) struct HistoryQuery {
    status: Option<String>,
    severity: Option<String>,
    server: Option<String>,
    rule: Option<i64>,
    before: Option<i64>,
}

struct View {
    shown: Vec<Shown>,
    total: u64,
    next: Option<i64>,
    days: Vec<(i64, [u64; 3])>,
    is_counted: bool,
    servers: Vec<(i64, String)>,
    may_act: bool,
    now_ms: i64,
}

impl HistoryQuery {
    fn status(&self) -> &str {
        self.status.as_deref().unwrap_or("open")
    }

    /// A server that was chosen; an empty choice is none.
    fn server(&self) -> Option<i64> {
        self.server.as_deref()?.parse().ok()
    }

    fn severity(&self) -> Option<Severity> {
        Severity::from_word(self.severity.as_deref()?)
    }

    fn filter(&self) -> AlertFilter {
        let states = match self.status() {
            "open" => OPEN.map(AlertState::as_str).to_vec(),
            word => AlertState::from_word(word)
                .map(AlertState::as_str)
                .into_iter()
                .collect(),
        };
        AlertFilter {
            states,
            severities: self.severity().map(Severity::as_str).into_iter().collect(),
            server: self.server(),
            rule: self.rule,
            ..AlertFilter::default()
        }
    }

    /// The same choice further back.
    fn address(&self, before: i64) -> String {
        let mut address = format!("{PATH}?status={}", plain(self.status()));
        if let Some(severity) = self.severity() {
            address.push_str(&format!("&severity={severity}"));
        }
        if let Some(server) = self.server() {
            address.push_str(&format!("&server={server}"));
        }
        if let Some(rule) = self.rule {
            address.push_str(&format!("&rule={rule}"));
        }
        format!("{address}&before={before}")
    }
}

/// A word of an address, which what was asked for need not be.
fn plain(word: &str) -> &str {
    match AlertState::from_word(word) {
        Some(state) => state.as_str(),
        None if word == "open" => "open",
        None => "all",
    }
}

/// The page.
pub(in crate::http) async fn show(
    State(state): State<HttpState>,
    caller: Caller,
    Query(query): Query<HistoryQuery>,
) -> Result<Markup, Problem> {
    let view = load(&state, &query, caller.principal.may(Role::Operator)).await?;
    // A form that is being filled in is not taken away.
    let drawn = framed("Alerts", PATH, &draw(&query, &view));
    Ok(layout::still("Alerts", &caller.principal, &drawn))
}

async fn load(state: &HttpState, query: &HistoryQuery, may_act: bool) -> Result<View, Problem> {
    let now_ms = state.app.clock().now_ms();
    let filter = query.filter();
    let (mut alerts, total) = state.app.alerts(&filter, query.before, PAGE + 1).await?;
    let has_more = PAGE < alerts.len() as u64;
    alerts.truncate(usize::try_from(PAGE).unwrap_or(usize::MAX));
    if query.status() == "open" && query.before.is_none() && !has_more {
        // The newest come first among those that are equally bad.
        alerts.sort_by_key(|alert| {
            (
                std::cmp::Reverse(alert.severity),
                alert.state == AlertState::Acknowledged,
            )
        });
    }
    let next = alerts.last().filter(|_| has_more).map(|alert| alert.id);
    let of_days = AlertFilter {
        states: Vec::new(),
        from_ms: Some(first_day(now_ms)),
        ..filter
    };
    let (counted, of_chart) = state.app.alerts(&of_days, None, COUNTED_MAX).await?;
    let names = state.app.server_names().await?;
    Ok(View {
        days: days(&counted, now_ms),
        is_counted: of_chart <= COUNTED_MAX,
        shown: named(state, alerts).await?,
        total,
        next,
        servers: containers::servers(&names),
        may_act,
        now_ms,
    })
}

/// The beginning of the first day of the chart, UTC.
const fn first_day(now_ms: i64) -> i64 {
    now_ms - now_ms.rem_euclid(DAY_MS) - (DAYS - 1) * DAY_MS
}

/// How many alerts began on each day, by severity, the worst first. One that was never active is none.
fn days(alerts: &[Alert], now_ms: i64) -> Vec<(i64, [u64; 3])> {
    let first_ms = first_day(now_ms);
    let mut days: Vec<(i64, [u64; 3])> = (0..DAYS).map(|day| (first_ms + day * DAY_MS, [0; 3])).collect();
    for alert in alerts.iter().filter(|alert| alert.active_ms.is_some()) {
        let day = usize::try_from((alert.started_ms - first_ms).div_euclid(DAY_MS));
        let severity = match alert.severity {
            Severity::Critical => 0,
            Severity::Warning => 1,
            Severity::Info => 2,
        };
        if let Some((_, counts)) = day.ok().and_then(|day| days.get_mut(day)) {
            counts[severity] += 1;
        }
    }
    days
}

fn draw(query: &HistoryQuery, view: &View) -> Markup {
    let place = (view.may_act && query.before.is_none()).then_some(PATH);
    html! {
        section class="card" {
            header { h2 { (title(query)) } span class="soft" { (view.total) } }
            (choice(query, view))
            @if view.shown.is_empty() { p class="empty" { "There is none." } }
            @else { (table(&view.shown, view.now_ms, place)) }
            @if place.is_some() && !view.shown.is_empty() && query.status() == "open" {
                (forms::all(query.severity(), query.server(), query.rule))
            }
        }
        @if let Some(next) = view.next { p { a href=(query.address(next)) { "Older alerts" } } }
        (by_day(view))
    }
}

fn title(query: &HistoryQuery) -> &'static str {
    match plain(query.status()) {
        "open" => "Open alerts",
        "pending" => "Alerts that may come",
        "active" => "Alerts that nobody knows of",
        "acknowledged" => "Alerts that somebody knows of",
        "resolved" => "Alerts that are over",
        _ => "All alerts",
    }
}

fn choice(query: &HistoryQuery, view: &View) -> Markup {
    let statuses = [
        ("open", "open"),
        ("active", "not acknowledged"),
        ("acknowledged", "acknowledged"),
        ("pending", "pending"),
        ("resolved", "over"),
        ("all", "all"),
    ];
    html! {
        form method="get" action=(PATH) class="row first" {
            label {
                "Status"
                select name="status" {
                    @for (word, shown) in statuses {
                        option value=(word) selected[plain(query.status()) == word] { (shown) }
                    }
                }
            }
            label {
                "Severity"
                select name="severity" {
                    option value="" { "any" }
                    @for severity in Severity::ALL.into_iter().rev() {
                        option value=(severity) selected[query.severity() == Some(severity)] { (severity) }
                    }
                }
            }
            label {
                "Server"
                select name="server" {
                    option value="" { "any" }
                    @for (id, name) in &view.servers {
                        option value=(id) selected[query.server() == Some(*id)] { (name) }
                    }
                }
            }
            @if let Some(rule) = query.rule { input type="hidden" name="rule" value=(rule); }
            button type="submit" { "Show" }
            @if query.rule.is_some() { a href=(PATH) { "of all rules" } }
        }
    }
}

fn by_day(view: &View) -> Markup {
    let most = view
        .days
        .iter()
        .map(|(_, counts)| counts.iter().sum::<u64>())
        .max()
        .unwrap_or(0);
    html! {
        @if 0 < most {
            section class="card" {
                header {
                    h2 { "By day" }
                    span class="soft" {
                        "begun in the last " (DAYS) " days, UTC"
                        @if !view.is_counted { "; only the latest " (COUNTED_MAX) " are counted" }
                    }
                }
                div class="plot" {
                    div class="scale" { span { (most) } span { "0" } }
                    (chart::bars("Alerts by day", &view.days, most))
                    div class="times" {
                        @for at in [0, view.days.len() / 2, view.days.len() - 1] {
                            span { (format::day(view.days[at].0)) }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::reading::tests::alert;
    use super::*;

    const NOW: i64 = 1_767_323_045_000;

    #[test]
    fn alerts_are_counted_on_the_day_they_began_and_never_outside_the_chart() {
        let begun = |ms: i64| Alert {
            started_ms: ms,
            ..alert("node_load1", None, None)
        };
        let pending = Alert {
            active_ms: None,
            ..begun(NOW)
        };
        let all = [
            begun(NOW),
            begun(NOW - 1),
            begun(NOW - DAY_MS),
            begun(NOW - 100 * DAY_MS),
            begun(NOW + 2 * DAY_MS),
            pending,
        ];
        let days = days(&all, NOW);
        assert_eq!(days.len(), 14);
        let counts: Vec<u64> = days.iter().map(|(_, counts)| counts[0]).collect();
        assert_eq!(counts[12..], [1, 2]);
        assert_eq!(counts.iter().sum::<u64>(), 3);
    }

    #[test]
    fn what_was_asked_for_does_not_get_into_addresses_as_it_is() {
        let query = HistoryQuery {
            status: Some("x\"&y".to_owned()),
            severity: Some("<b>".to_owned()),
            server: Some("7".to_owned()),
            rule: Some(2),
            before: None,
        };
        assert_eq!(query.address(9), "/alerts?status=all&server=7&rule=2&before=9");
        assert!(query.filter().states.is_empty() && query.filter().severities.is_empty());
        assert_eq!(HistoryQuery::default().filter().states.len(), 2);
    }
}
