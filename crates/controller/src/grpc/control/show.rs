//! How things look on the wire for programs.

use muster_alert::{Alert, AlertState, Severity};
use muster_model::{Resource, ResourceKey};
use muster_proto::convert::resource_to_wire;
use muster_proto::v1;

use crate::app::resources::ResourceView;
use crate::app::series::{Latest, RangeSeries};
use crate::app::servers::ServerView;
use crate::app::status::ServerStatus;

/// A server.
pub(super) fn server(view: &ServerView) -> v1::Server {
    let status = match view.status {
        ServerStatus::Online => v1::ServerStatus::Online,
        ServerStatus::Late => v1::ServerStatus::Late,
        ServerStatus::Offline => v1::ServerStatus::Offline,
        ServerStatus::NeverSeen => v1::ServerStatus::NeverSeen,
        ServerStatus::Failing => v1::ServerStatus::Failing,
        ServerStatus::Disabled => v1::ServerStatus::Disabled,
    };
    v1::Server {
        id: view.id.0,
        hostname: view.hostname.clone(),
        status: status.into(),
        tags: view.tags.clone(),
        monitoring_enabled: view.monitoring_enabled,
        last_seen_ms: view.last_seen_ms,
        last_error: view.last_error.clone().unwrap_or_default(),
        agent_version: view.agent_version.clone().unwrap_or_default(),
    }
}

/// A resource.
pub(super) fn resource(view: ResourceView) -> v1::KnownResource {
    let mut resource = Resource::new(view.kind, ResourceKey::new(view.key), view.name);
    resource.health = Some(view.health);
    resource.health_reasons = view.health_reasons;
    resource.attributes = view.attributes;
    v1::KnownResource {
        id: view.id.0,
        server_id: view.server.0,
        resource: Some(resource_to_wire(resource)),
        first_seen_ms: view.first_seen_ms,
        observed_ms: view.observed_ms,
        gone_ms: view.gone_ms,
    }
}

/// An alert.
pub(super) fn alert(alert: &Alert) -> v1::Alert {
    let severity = match alert.severity {
        Severity::Info => v1::AlertSeverity::Info,
        Severity::Warning => v1::AlertSeverity::Warning,
        Severity::Critical => v1::AlertSeverity::Critical,
    };
    let state = match alert.state {
        AlertState::Pending => v1::AlertState::Pending,
        AlertState::Active => v1::AlertState::Active,
        AlertState::Acknowledged => v1::AlertState::Acknowledged,
        AlertState::Resolved => v1::AlertState::Resolved,
    };
    let known = alert.acknowledgement.as_ref();
    v1::Alert {
        id: alert.id,
        rule_id: alert.rule,
        rule_name: alert.rule_name.clone(),
        server_id: alert.server,
        resource_id: alert.resource,
        labels: alert.labels.clone().into_iter().collect(),
        metric: alert.metric.clone(),
        value: alert.value,
        threshold: alert.threshold,
        severity: severity.into(),
        state: state.into(),
        started_ms: alert.started_ms,
        ended_ms: alert.ended_ms,
        acknowledged_by: known.map(|known| known.by.clone()).unwrap_or_default(),
        inside_alert_id: alert.inside,
    }
}

/// The name of a series.
pub(super) fn series(series: &RangeSeries) -> v1::SeriesName {
    name(&series.name, &series.labels, series.resource.0, series.server.0)
}

/// The latest sample of a series.
pub(super) fn latest(latest: &Latest) -> v1::LatestSample {
    v1::LatestSample {
        series: Some(name(
            &latest.name,
            &latest.labels,
            latest.resource.0,
            latest.server.0,
        )),
        time_ms: latest.time_ms,
        value: latest.value,
    }
}

fn name(metric: &str, labels: &[(String, String)], resource_id: i64, server_id: i64) -> v1::SeriesName {
    let pair = |(name, value): &(String, String)| v1::LabelPair {
        name: name.clone(),
        value: value.clone(),
    };
    v1::SeriesName {
        metric: metric.to_owned(),
        labels: labels.iter().map(pair).collect(),
        resource_id,
        server_id,
    }
}
