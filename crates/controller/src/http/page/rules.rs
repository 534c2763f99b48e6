//! Rules: what is judged, what each means, whether it judges.

mod one;
mod rehearsal;

use std::collections::HashMap;

use axum::extract::State;
use maud::{Markup, html};
use muster_alert::{AlertState, Rule, RuleKind, Severity};
use serde_json::json;

pub(in crate::http) use self::one::show_one;
use super::alerts::{self, OPEN, severity};
use super::asked::{Answer, Asked, done};
use super::{format, layout};
use crate::alert::KeptRule;
use crate::app::auth::Role;
use crate::http::HttpState;
use crate::http::access::Caller;
use crate::http::error::{Code, Problem};
use crate::store::AlertFilter;

/// Where the pages are.
pub(in crate::http) const PATH: &str = "/rules";
/// Most open alerts that are counted by rule.
const COUNTED_MAX: u64 = 5_000;

/// The page.
pub(in crate::http) async fn show(State(state): State<HttpState>, caller: Caller) -> Result<Markup, Problem> {
    let mut rules = state.alerts.rules().await?;
    rules.sort_by(|a, b| (!a.rule.enabled, &a.rule.name).cmp(&(!b.rule.enabled, &b.rule.name)));
    let open = open(&state).await?;
    let may_change = caller.principal.may(Role::Admin);
    let drawn = alerts::framed("Rules", PATH, &draw(&rules, &open, may_change));
    Ok(layout::page("Rules", &caller.principal, &drawn))
}

/// How many alerts of each rule are open.
async fn open(state: &HttpState) -> Result<HashMap<i64, u64>, Problem> {
    let filter = AlertFilter {
        states: OPEN.map(AlertState::as_str).to_vec(),
        ..AlertFilter::default()
    };
    let (alerts, _) = state.app.alerts(&filter, None, COUNTED_MAX).await?;
    let mut open = HashMap::new();
    for alert in alerts {
        *open.entry(alert.rule).or_default() += 1;
    }
    Ok(open)
}

fn draw(rules: &[KeptRule], open: &HashMap<i64, u64>, may_change: bool) -> Markup {
    let off = rules.iter().filter(|kept| !kept.rule.enabled).count();
    html! {
        section class="card" {
            header {
                h2 { "What is judged" }
                span class="soft" { (rules.len()) @if 0 < off { ", " (off) " switched off" } }
            }
            @if rules.is_empty() { p class="empty" { "There is no rule: nothing is judged." } }
            @else {
                div class="scroll" {
                    table class="stack" {
                        thead { tr { th { "Rule" } th { "Severity" } th { "For" } th { "Open" } @if may_change { th { "" } } } }
                        tbody { @for kept in rules { (line(kept, open.get(&kept.rule.id).copied(), may_change)) } }
                    }
                }
            }
        }
        p class="soft" { "They are made and changed with " code { "muster rules" } " or the API." }
    }
}

fn line(kept: &KeptRule, open: Option<u64>, may_change: bool) -> Markup {
    let rule = &kept.rule;
    html! {
        tr {
            td {
                a class="name" href={ (PATH) "/" (rule.id) } { (rule.name) }
                @if !rule.enabled { " " span class="pill dim" { "off" } }
                div class="under" { (rule.condition()) (of(rule)) }
            }
            td { div class="pills" { @for one in severities(rule) { (severity(one)) } } }
            td class="nowrap" data-label="For" { (lasting(rule)) }
            td data-label="Open" {
                @match open {
                    Some(count) => { a href={ (alerts::PATH) "?rule=" (rule.id) } { (count) } }
                    None => { span class="soft" { "–" } }
                }
            }
            @if may_change { td class="deeds" { (switch(rule)) } }
        }
    }
}

/// Of what kind of resource, if that is not every one.
fn of(rule: &Rule) -> String {
    rule.resource_kind
        .map(|kind| format!(", of each {}", format::words(kind.as_str())))
        .unwrap_or_default()
}

/// How bad its alerts can be, the least first.
fn severities(rule: &Rule) -> Vec<Severity> {
    let mut all: Vec<Severity> = rule
        .levels
        .lower
        .map(|(severity, _)| severity)
        .into_iter()
        .collect();
    all.extend(rule.levels.critical.map(|_| Severity::Critical));
    if all.is_empty() {
        all.push(rule.severity);
    }
    all
}

/// How long the condition must hold.
fn lasting(rule: &Rule) -> String {
    match (rule.kind, rule.for_ms) {
        (_, 0) => "at once".to_owned(),
        #[expect(clippy::cast_precision_loss, reason = "shown to the second")]
        (_, for_ms) => format::duration(for_ms as f64 / 1_000.0),
    }
}

fn switch(rule: &Rule) -> Markup {
    let (way, word) = if rule.enabled {
        ("disable", "Switch off")
    } else {
        ("enable", "Switch on")
    };
    html! {
        form method="post" action={ (PATH) "/" (rule.id) "/" (way) } class="inline" {
            button type="submit" { (word) }
        }
    }
}

/// Lets a rule judge or not; what is open of one that does not ends.
pub(in crate::http) async fn set(asked: Asked) -> Answer {
    let enabled = match asked.part("way") {
        "enable" => true,
        "disable" => false,
        _ => return Err(Problem::new(Code::NotFound, "a rule is enabled or disabled")),
    };
    let id = asked.id(Code::RuleNotFound)?;
    let change = json!({"enabled": enabled});
    let kept = asked.state.alerts.patch_rule(id, change, asked.by()).await?;
    done(format!("{} enabled={enabled}", kept.rule.name), PATH)
}

/// How a rule judges, in a word.
const fn kind(kind: RuleKind) -> &'static str {
    match kind {
        RuleKind::Threshold => "the number as it is",
        RuleKind::Growth => "by how much it grew",
        RuleKind::Absence => "that it is not sent any more",
        RuleKind::Forecast => "what it will be, as it looks",
    }
}
