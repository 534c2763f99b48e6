//! An alert as it is shown, with the names of what it is about.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use muster_alert::{Alert, AlertState};
use muster_base::id::{ResourceId, ServerId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::{App, AppError};
use crate::http::extract::rfc3339;

/// Most resources named as affected.
const AFFECTED_MAX: usize = 200;

/// An alert.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Alert")]
pub(in crate::http) struct AlertBody {
    /// Its number.
    pub(in crate::http) id: i64,
    /// The rule that judged.
    alert_rule_id: i64,
    /// Its name when the alert was written.
    rule_name: String,
    /// The server; null if it is about several.
    server_id: Option<i64>,
    /// Its name; null if it is about several, or was deleted.
    server_name: Option<String>,
    /// What the resource is; null if it is about several servers.
    resource_type: Option<&'static str>,
    /// The resource.
    resource_id: Option<i64>,
    /// Its name; null if it is about several servers, or was deleted.
    resource_name: Option<String>,
    /// Labels of the series that was judged.
    labels: BTreeMap<String, String>,
    /// The metric or alias.
    metric_name: String,
    /// The number judged last.
    metric_value: Option<f64>,
    /// The bound it was judged against.
    threshold: Option<f64>,
    /// `info`, `warning` or `critical`.
    severity: &'static str,
    /// `pending`, `active`, `acknowledged` or `resolved`.
    status: &'static str,
    /// One sentence.
    message: String,
    /// Since when the condition holds.
    started_at: String,
    /// When it became active.
    triggered_at: Option<String>,
    /// Whether somebody knows.
    acknowledged: bool,
    /// When they said so.
    acknowledged_at: Option<String>,
    /// Who.
    acknowledged_by: Option<String>,
    /// What they said.
    acknowledged_note: Option<String>,
    /// Whether it is over.
    resolved: bool,
    /// When it was.
    resolved_at: Option<String>,
    /// Who said so, if a person did.
    resolved_by: Option<String>,
    /// Why: `cleared`, `manual`, `gone`, `no_data`, `rule_changed`, `rule_gone`.
    resolution: Option<&'static str>,
    /// What they said.
    resolution_notes: Option<String>,
    /// Until when nobody is reminded of it.
    snoozed_until: Option<String>,
    /// Whether what it was judged by came long after it was measured.
    late: bool,
    /// The alert inside which this one is named.
    inside_alert_id: Option<i64>,
    /// When a channel last took news of it; null if none did.
    notified_at: Option<String>,
    /// What rests on the resource, from below; only where one alert is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    affected: Option<Vec<AffectedBody>>,
}

/// What rests on what an alert is about.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "AlertAffected")]
struct AffectedBody {
    /// Its number.
    id: i64,
    /// What it is.
    kind: &'static str,
    /// What people call it.
    name: String,
}

/// Names of what alerts are about, and when people were told.
#[derive(Debug, Default)]
pub(super) struct Names {
    servers: HashMap<i64, String>,
    resources: HashMap<i64, String>,
    /// When a channel last took news of an alert, Unix ms.
    told: HashMap<i64, i64>,
}

impl Names {
    /// Those of these alerts.
    pub(super) async fn of(app: &App, alerts: &[Alert]) -> Result<Self, AppError> {
        let ids: BTreeSet<i64> = alerts.iter().filter_map(|alert| alert.resource).collect();
        let rows = app.named(&ids).await?;
        let numbers: Vec<i64> = alerts.iter().map(|alert| alert.id).collect();
        let known = app.server_names().await?;
        let servers = alerts.iter().filter_map(|alert| alert.server);
        Ok(Self {
            servers: servers
                .filter_map(|id| Some((id, known.get(&ServerId(id))?.hostname.clone())))
                .collect(),
            resources: rows.into_iter().map(|row| (row.id, row.name)).collect(),
            told: app.told(&numbers).await?,
        })
    }

    /// An alert with its names.
    pub(super) fn show(&self, alert: Alert) -> AlertBody {
        let server_name = alert.server.and_then(|id| self.servers.get(&id).cloned());
        let resource_name = alert.resource.and_then(|id| {
            let of_the_server = || self.servers.get(&id).cloned();
            let is_the_server = alert.server == Some(id);
            self.resources
                .get(&id)
                .cloned()
                .or_else(|| is_the_server.then(of_the_server)?)
        });
        let message = message(&alert);
        let known = alert.acknowledgement;
        AlertBody {
            id: alert.id,
            alert_rule_id: alert.rule,
            rule_name: alert.rule_name,
            server_id: alert.server,
            server_name,
            resource_type: alert.kind.map(|kind| kind.as_str()),
            resource_id: alert.resource,
            resource_name,
            labels: alert.labels,
            metric_name: alert.metric,
            metric_value: alert.value.filter(|value| value.is_finite()),
            threshold: alert.threshold,
            severity: alert.severity.as_str(),
            status: alert.state.as_str(),
            message,
            started_at: rfc3339(alert.started_ms),
            triggered_at: alert.active_ms.map(rfc3339),
            acknowledged: known.is_some(),
            acknowledged_at: known.as_ref().map(|known| rfc3339(known.at_ms)),
            acknowledged_by: known.as_ref().map(|known| known.by.clone()),
            acknowledged_note: known.and_then(|known| known.note),
            resolved: alert.state == AlertState::Resolved,
            resolved_at: alert.ended_ms.map(rfc3339),
            resolved_by: alert.resolved_by,
            resolution: alert.end.map(|end| end.as_str()),
            resolution_notes: alert.resolved_note,
            snoozed_until: alert.snoozed_until_ms.map(rfc3339),
            late: alert.is_late,
            inside_alert_id: alert.inside,
            notified_at: self.told.get(&alert.id).copied().map(rfc3339),
            affected: None,
        }
    }
}

/// Alerts with their names.
pub(in crate::http) async fn of_all(app: &App, alerts: Vec<Alert>) -> Result<Vec<AlertBody>, AppError> {
    let names = Names::of(app, &alerts).await?;
    Ok(alerts.into_iter().map(|alert| names.show(alert)).collect())
}

/// One alert with its names and what rests on what it is about.
pub(in crate::http) async fn whole(app: &App, alert: Alert) -> Result<AlertBody, AppError> {
    let names = Names::of(app, std::slice::from_ref(&alert)).await?;
    let about = alert.resource.filter(|_| alert.resource != alert.server);
    let mut affected = Vec::new();
    if let Some(id) = about {
        match app.impact(ResourceId(id)).await {
            Ok(impact) => {
                let named = impact.affected.into_iter().take(AFFECTED_MAX);
                affected.extend(named.map(|affected| AffectedBody {
                    id: affected.resource.id.0,
                    kind: affected.resource.kind.as_str(),
                    name: affected.resource.name,
                }));
            }
            // It was forgotten since, and nothing rests on it.
            Err(AppError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(AlertBody {
        affected: Some(affected),
        ..names.show(alert)
    })
}

/// What an alert says, in one sentence.
pub(in crate::http) fn message(alert: &Alert) -> String {
    let number = muster_alert::engine::number;
    let mut text = format!("{}: {}", alert.rule_name, alert.metric);
    if let Some(value) = alert.value {
        text = format!("{text} is {}", number(value));
    }
    if let Some(threshold) = alert.threshold {
        text = format!("{text}, the bound is {}", number(threshold));
    }
    text
}
