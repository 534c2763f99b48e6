//! What was measured, in words. Pure.

use muster_alert::Alert;
use muster_alert::engine::number;
use muster_alert::rule::{HEALTH, IS_CONNECTED, Plan};

use crate::http::page::format;

/// Healths by number.
const HEALTHS: [&str; 4] = ["healthy", "warning", "critical", "failed"];

/// The number against its bound.
pub(in crate::http::page) fn reading(alert: &Alert) -> String {
    let plan = Plan::of(&alert.metric).ok();
    let is_fact =
        |name: &str| plan.as_ref().is_some_and(|plan| plan.is_fact) && metric_is(plan.as_ref(), name);
    if is_fact(IS_CONNECTED) {
        return "nothing is heard from it".to_owned();
    }
    if is_fact(HEALTH) {
        return format!("its health is {}", health(alert.value));
    }
    let unit = plan.as_ref().map(|plan| plan.unit.as_str()).unwrap_or_default();
    match (alert.value, alert.threshold) {
        (Some(value), Some(bound)) => {
            format!(
                "{} is {}, the bound is {}",
                alert.metric,
                with_unit(unit, value),
                with_unit(unit, bound)
            )
        }
        (Some(value), None) => format!("{} is {}", alert.metric, with_unit(unit, value)),
        (None, Some(bound)) => format!("{}, the bound is {}", alert.metric, with_unit(unit, bound)),
        (None, None) => format!("{} is not sent", alert.metric),
    }
}

fn metric_is(plan: Option<&Plan>, name: &str) -> bool {
    plan.is_some_and(|plan| plan.metrics().all(|metric| metric == name))
}

fn health(value: Option<f64>) -> String {
    let word = HEALTHS
        .iter()
        .zip(0_u32..)
        .find(|(_, index)| value == Some(f64::from(*index)));
    match (word, value) {
        (Some((word, _)), _) => (*word).to_owned(),
        (None, Some(value)) => number(value),
        (None, None) => "unknown".to_owned(),
    }
}

/// A number with its unit as people write it.
pub(in crate::http::page) fn with_unit(unit: &str, value: f64) -> String {
    match unit {
        "celsius" => format!("{} °C", number(value)),
        "percent" => format!("{} %", number((value * 100.0).round() / 100.0)),
        "bytes" if 0.0 <= value => format::bytes(value),
        "seconds" if 120.0 <= value => format::duration(value),
        "seconds" => format!("{} s", number(value)),
        "" => number(value),
        unit => format!("{} {}", number(value), format::words(unit)),
    }
}

/// What tells its series from others, but for what its resource is called anyway.
pub(in crate::http::page) fn labels(alert: &Alert, resource: Option<&str>) -> String {
    let told: Vec<String> = alert
        .labels
        .iter()
        .filter(|(_, value)| !value.is_empty() && resource != Some(value.as_str()))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    told.join(" ")
}

#[cfg(test)]
pub(super) mod tests {
    use muster_alert::{AlertState, Severity};
    use muster_model::ResourceKind;

    use super::*;

    /// An alert on a disk.
    pub(in crate::http::page) fn alert(metric: &str, value: Option<f64>, threshold: Option<f64>) -> Alert {
        Alert {
            id: 7,
            key: "k".to_owned(),
            rule: 2,
            rule_name: "Rule".to_owned(),
            server: Some(3),
            resource: Some(9),
            kind: Some(ResourceKind::Device),
            labels: [("device".to_owned(), "sda".to_owned())].into(),
            metric: metric.to_owned(),
            state: AlertState::Active,
            severity: Severity::Critical,
            value,
            threshold,
            started_ms: 0,
            active_ms: Some(0),
            ended_ms: None,
            end: None,
            acknowledgement: None,
            resolved_by: None,
            resolved_note: None,
            snoozed_until_ms: None,
            is_late: false,
            inside: None,
            told: None,
            told_ms: None,
            news: 0,
            calm_since_ms: None,
        }
    }

    #[test]
    fn numbers_are_told_with_their_units_and_states_as_words() {
        for (metric, value, bound, told) in [
            (
                "temperature_celsius",
                Some(63.0),
                Some(60.0),
                "temperature_celsius is 63 °C, the bound is 60 °C",
            ),
            ("health", Some(3.0), Some(2.0), "its health is failed"),
            ("smart_status", Some(1.0), Some(1.0), "its health is warning"),
            ("is_connected", Some(0.0), Some(1.0), "nothing is heard from it"),
            ("node_load1", None, None, "node_load1 is not sent"),
        ] {
            assert_eq!(reading(&alert(metric, value, bound)), told);
        }
        assert_eq!(with_unit("seconds", 7_200.0), "2 h 0 min");
        assert_eq!(with_unit("bytes", 2_048.0), "2 KiB");
        assert_eq!(with_unit("percent", 93.70891), "93.71 %");
    }

    #[test]
    fn a_label_that_only_says_the_resources_name_again_is_left_out() {
        let mut alert = alert("node_load1", None, None);
        assert_eq!(labels(&alert, Some("sda")), "");
        alert.labels.insert("name".to_owned(), "cron.service".to_owned());
        assert_eq!(labels(&alert, Some("sda")), "name=cron.service");
        alert.labels.insert("error".to_owned(), String::new());
        assert_eq!(labels(&alert, None), "device=sda name=cron.service");
    }
}
