//! What a rule would say, as it is shown.

use std::collections::BTreeMap;

use muster_alert::preview::WouldBe;
use serde::Serialize;
use utoipa::ToSchema;

use crate::alert::Rehearsal;
use crate::http::extract::rfc3339;

/// What a rule would have said.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "RuleTest")]
pub(in crate::http) struct RehearsalBody {
    /// The rule; null if it is not kept.
    rule_id: Option<i64>,
    /// Its name.
    rule_name: String,
    /// How many alerts there would be now.
    triggered: usize,
    /// How many would have been over within the time.
    resolved: usize,
    /// What was found, in one sentence.
    message: String,
    /// Since when was looked.
    from: String,
    /// Until when: now.
    to: String,
    /// The alerts, in order of their beginning; at most 500.
    alerts: Vec<WouldBeBody>,
    /// How many more there would have been.
    more: usize,
    /// How many things the rule judges.
    judged: usize,
    /// Of these, how many have a number now.
    known: usize,
    /// How many samples were looked at.
    samples: usize,
    /// Whether there were so many samples that some were left out.
    cut: bool,
}

/// An alert that there would have been.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "RuleTestAlert")]
struct WouldBeBody {
    server_id: i64,
    server_name: Option<String>,
    resource_type: &'static str,
    resource_id: i64,
    resource_name: Option<String>,
    labels: BTreeMap<String, String>,
    severity: &'static str,
    metric_value: Option<f64>,
    threshold: Option<f64>,
    started_at: String,
    ended_at: Option<String>,
    /// Whether the condition holds, but not for long enough yet.
    pending: bool,
    /// In one sentence.
    message: String,
}

impl RehearsalBody {
    pub(super) fn of(rule_id: Option<i64>, rule_name: String, rehearsal: &Rehearsal) -> Self {
        let preview = &rehearsal.preview;
        let is_open = |alert: &&WouldBe| alert.ended_ms.is_none() && !alert.is_pending;
        let triggered = preview.alerts.iter().filter(is_open).count();
        let pending = preview.alerts.iter().filter(|alert| alert.is_pending).count();
        let resolved = preview.alerts.len() - triggered - pending;
        let mut message = format!(
            "of {} things judged {triggered} would alert now, {pending} would soon if it goes on",
            preview.judged
        );
        if rehearsal.from_ms < rehearsal.to_ms {
            message.push_str(&format!(", and {resolved} would have been over within the time"));
        }
        if preview.judged == 0 {
            "nothing that the rule judges is known: look at its metric, resource type and scope"
                .clone_into(&mut message);
        }
        let shown = |alert: &WouldBe| {
            let number = muster_alert::engine::number;
            let name = rehearsal
                .resources
                .get(&alert.resource)
                .or_else(|| rehearsal.servers.get(&alert.server));
            let value = alert.value.map_or_else(|| "no number".to_owned(), number);
            let bound = alert
                .threshold
                .map(|bound| format!(", the bound is {}", number(bound)));
            WouldBeBody {
                server_id: alert.server,
                server_name: rehearsal.servers.get(&alert.server).cloned(),
                resource_type: alert.kind.as_str(),
                resource_id: alert.resource,
                resource_name: name.cloned(),
                labels: alert.labels.clone(),
                severity: alert.severity.as_str(),
                metric_value: alert.value.filter(|value| value.is_finite()),
                threshold: alert.threshold,
                started_at: rfc3339(alert.started_ms),
                ended_at: alert.ended_ms.map(rfc3339),
                pending: alert.is_pending,
                message: format!(
                    "{}: {value}{}",
                    name.map_or("it", String::as_str),
                    bound.unwrap_or_default()
                ),
            }
        };
        Self {
            rule_id,
            rule_name,
            triggered,
            resolved,
            message,
            from: rfc3339(rehearsal.from_ms),
            to: rfc3339(rehearsal.to_ms),
            alerts: preview.alerts.iter().map(shown).collect(),
            more: preview.more,
            judged: preview.judged,
            known: preview.known,
            samples: preview.samples,
            cut: preview.is_cut,
        }
    }
}
