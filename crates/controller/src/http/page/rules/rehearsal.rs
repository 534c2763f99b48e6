//! Trying a rule: what would fire now, or would have fired.

use maud::{Markup, html};
use muster_alert::Rule;
use muster_alert::preview::WouldBe;

use super::PATH;
use crate::alert::{Rehearsal, rehearse};
use crate::http::HttpState;
use crate::http::error::Problem;
use crate::http::page::{alerts, format};

/// Over how long a rule is tried: the words of the address, ms, and the words for people.
const OVERS: [(&str, i64, &str); 4] = [
    ("now", 0, "now"),
    ("1d", 86_400_000, "the last day"),
    ("7d", 7 * 86_400_000, "the last week"),
    ("31d", 31 * 86_400_000, "the last month"),
];
/// Alerts that are shown.
const SHOWN_MAX: usize = 100;

/// What came of trying a rule.
pub(super) struct Tried {
    over: &'static str,
    rehearsal: Rehearsal,
    now_ms: i64,
}

/// Tries a rule. Nothing is written and nobody is told.
pub(super) async fn load(state: &HttpState, rule: &Rule, over: &str) -> Result<Tried, Problem> {
    let known = OVERS.iter().find(|(word, ..)| *word == over);
    let (over, over_ms, _) =
        known.ok_or_else(|| Problem::parameter("over", "now, 1d, 7d or 31d is needed"))?;
    Ok(Tried {
        over,
        rehearsal: rehearse(&state.app, &state.series, rule.clone(), *over_ms).await?,
        now_ms: state.app.clock().now_ms(),
    })
}

/// Draws the form, and what came of it.
pub(super) fn draw(rule: &Rule, tried: Option<&Tried>) -> Markup {
    let over = tried.map_or("7d", |tried| tried.over);
    html! {
        section class="card" {
            header { h2 { "Try it" } span class="soft" { "over what is stored; nothing is written and nobody is told" } }
            form method="get" action={ (PATH) "/" (rule.id) } class="row first" {
                label {
                    "Over"
                    select name="over" {
                        @for (word, _, shown) in OVERS { option value=(word) selected[word == over] { (shown) } }
                    }
                }
                button type="submit" { "Try" }
            }
            @if let Some(tried) = tried { (outcome(tried)) }
        }
    }
}

fn outcome(tried: &Tried) -> Markup {
    let preview = &tried.rehearsal.preview;
    let count = |takes: &dyn Fn(&WouldBe) -> bool| preview.alerts.iter().filter(|alert| takes(alert)).count();
    let pending = count(&|alert| alert.is_pending);
    let open = count(&|alert| alert.ended_ms.is_none() && !alert.is_pending);
    let over = preview.alerts.len() - pending - open;
    html! {
        div class="prose" {
            @if preview.judged == 0 {
                p { strong { "Nothing that the rule judges is known." } " Look at its metric, its kind of resource and its scope." }
            } @else {
                p {
                    strong { (open) " would alert now" }
                    @if 0 < pending { ", " (pending) " soon if it goes on" }
                    @if tried.rehearsal.from_ms < tried.rehearsal.to_ms { ", " (over) " would have been over" }
                    "; " (preview.judged) " things were judged by " (preview.samples) " samples."
                }
                @if preview.known < preview.judged {
                    p class="soft" { "Of " (preview.judged - preview.known) " of them there is no number now, so nothing can be said." }
                }
            }
            @if preview.is_cut { p { "There are more samples than are looked at in one go: not all of the time was judged." } }
        }
        @if !preview.alerts.is_empty() {
            div class="scroll" {
                table class="stack" {
                    thead { tr { th { "Of" } th { "Severity" } th { "From" } th { "To" } th class="num" { "Value" } } }
                    tbody { @for alert in preview.alerts.iter().take(SHOWN_MAX) { (line(tried, alert)) } }
                }
            }
            @let rest = preview.alerts.len().saturating_sub(SHOWN_MAX) + preview.more;
            @if 0 < rest { p class="soft pad" { "and " (rest) " more" } }
        }
    }
}

fn line(tried: &Tried, alert: &WouldBe) -> Markup {
    let names = &tried.rehearsal;
    let server = names
        .servers
        .get(&alert.server)
        .cloned()
        .unwrap_or_else(|| format!("server {}", alert.server));
    let number = muster_alert::engine::number;
    html! {
        tr {
            td {
                @match names.resources.get(&alert.resource) {
                    Some(name) if alert.resource != alert.server => {
                        span class="name" { (name) }
                        div class="under" { (alert.kind.as_str()) " on " (server) }
                    }
                    _ => { span class="name" { (server) } }
                }
            }
            td { (alerts::severity(alert.severity)) }
            td class="nowrap" data-label="From" {
                span title=(format::time(alert.started_ms)) { (format::ago(alert.started_ms, tried.now_ms)) }
            }
            td class="nowrap" data-label="To" {
                @match alert.ended_ms {
                    Some(ended_ms) => { span title=(format::time(ended_ms)) { (format::ago(ended_ms, tried.now_ms)) } }
                    None if alert.is_pending => { "not yet long enough" }
                    None => { "goes on" }
                }
            }
            td class="num" data-label="Value" { (alert.value.map_or_else(|| "–".to_owned(), number)) }
        }
    }
}
