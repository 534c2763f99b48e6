//! How many alerts there are.

use std::collections::BTreeMap;

use axum::extract::State;
use muster_alert::{AlertState, Severity};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::HttpState;
use crate::http::error::{Problem, ProblemBody};
use crate::http::extract::Json;

const DAY_MS: i64 = 86_400_000;

/// How many alerts there are.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "AlertStats")]
pub(in crate::http) struct StatsBody {
    /// Active, acknowledged or not.
    open: u64,
    /// Whose condition does not hold for long enough yet.
    pending: u64,
    /// Active, and nobody has said that they know.
    active: u64,
    /// Active, and somebody knows.
    acknowledged: u64,
    /// Over within the last day.
    resolved_24h: u64,
    /// Open ones by severity: `info`, `warning`, `critical`.
    by_severity: BTreeMap<&'static str, u64>,
    /// Open ones by rule, the rule with the most first.
    by_rule: Vec<RuleStats>,
    /// What could not be judged for want of room, since the start.
    not_judged: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "AlertRuleStats")]
struct RuleStats {
    /// Its number.
    id: i64,
    /// Its name.
    name: String,
    /// Its open alerts.
    open: u64,
}

/// How many alerts there are.
#[utoipa::path(
    get, path = "/api/infrastructure/alerts/stats", tag = "alerts",
    responses(
        (status = 200, body = StatsBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn stats(State(state): State<HttpState>) -> Result<Json<StatsBody>, Problem> {
    let since_ms = state.app.clock().now_ms() - DAY_MS;
    let counts = state.app.alert_counts(since_ms).await?;
    let rules = state.alerts.rules().await?;
    let names: BTreeMap<i64, &str> = rules
        .iter()
        .map(|kept| (kept.rule.id, kept.rule.name.as_str()))
        .collect();
    let mut by_severity: BTreeMap<&'static str, u64> =
        Severity::ALL.map(|severity| (severity.as_str(), 0)).into();
    let mut by_rule: BTreeMap<i64, u64> = BTreeMap::new();
    let mut by_state: BTreeMap<&'static str, u64> = BTreeMap::new();
    for count in &counts.unresolved {
        *by_state.entry(count.state.as_str()).or_default() += count.count;
        if count.state.is_open() {
            *by_severity.entry(count.severity.as_str()).or_default() += count.count;
            *by_rule.entry(count.rule).or_default() += count.count;
        }
    }
    let of = |state: AlertState| by_state.get(state.as_str()).copied().unwrap_or(0);
    let mut by_rule: Vec<RuleStats> = by_rule
        .into_iter()
        .map(|(id, open)| RuleStats {
            id,
            name: names.get(&id).copied().unwrap_or_default().to_owned(),
            open,
        })
        .collect();
    by_rule.sort_by_key(|rule| std::cmp::Reverse(rule.open));
    Ok(Json(StatsBody {
        open: of(AlertState::Active) + of(AlertState::Acknowledged),
        pending: of(AlertState::Pending),
        active: of(AlertState::Active),
        acknowledged: of(AlertState::Acknowledged),
        resolved_24h: counts.resolved,
        by_severity,
        by_rule,
        not_judged: state.alerts.counts().await?.not_judged(),
    }))
}
