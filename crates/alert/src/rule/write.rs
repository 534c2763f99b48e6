//! Writing rules, so that reading them again gives the same.

use serde_json::{Map, Value, json};

use super::{Rule, RuleKind, ServerMatch};
use crate::fields::written_duration;

impl Rule {
    /// The rule as JSON, without its number. Reading it again gives the same rule.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut body = Map::new();
        let mut put = |name: &str, value: Value| {
            body.insert(name.to_owned(), value);
        };
        put("name", json!(self.name));
        put("description", json!(self.description));
        put("enabled", json!(self.enabled));
        put("kind", json!(self.kind.as_str()));
        put(
            "resource_type",
            json!(self.resource_kind.map(|kind| kind.as_str())),
        );
        put("metric_name", json!(self.metric));
        if self.kind != RuleKind::Absence {
            put("condition", json!(self.levels.comparison.as_str()));
        }
        match (self.levels.lower, self.levels.critical) {
            (Some((severity, bound)), critical) => {
                put("severity", json!(severity.as_str()));
                put("threshold", json!(bound));
                put("critical_threshold", json!(critical));
            }
            (None, Some(critical)) => {
                put("severity", json!("critical"));
                put("threshold", json!(critical));
            }
            (None, None) => put("severity", json!(self.severity.as_str())),
        }
        put("clear_threshold", json!(self.levels.clear));
        put("for", json!(written_duration(self.for_ms)));
        if matches!(self.kind, RuleKind::Growth | RuleKind::Forecast) {
            put("window", json!(written_duration(self.window_ms)));
        }
        if self.kind == RuleKind::Forecast {
            put("horizon", json!(written_duration(self.horizon_ms)));
            put("only_past", json!(self.only_past));
        }
        put("cooldown", json!(written_duration(self.cooldown_ms)));
        put("repeat", json!(written_duration(self.repeat_ms)));
        put("scope", self.scope_json());
        put("channels", json!(self.channels));
        put("template", json!(self.template));
        put("runbook", json!(self.runbook));
        put("covers", json!(self.covers));
        Value::Object(body)
    }

    fn scope_json(&self) -> Value {
        let servers: Vec<Value> = self
            .scope
            .servers
            .iter()
            .map(|server| match server {
                ServerMatch::Id(id) => json!(id),
                ServerMatch::Name(name) => json!(name),
            })
            .collect();
        let labels: Vec<String> = self.scope.labels.iter().map(ToString::to_string).collect();
        json!({
            "servers": servers,
            "tags": self.scope.tags,
            "resources": self.scope.resources,
            "labels": labels,
        })
    }

    /// What the rule's bounds say, for people: `temperature_celsius > 60`.
    #[must_use]
    pub fn condition(&self) -> String {
        let bound = |bound: f64| {
            format!(
                "{} {}",
                self.levels.comparison.sign(),
                crate::engine::number(bound)
            )
        };
        let bounds: Vec<String> = [self.levels.lower.map(|(_, bound)| bound), self.levels.critical]
            .into_iter()
            .flatten()
            .map(bound)
            .collect();
        let bounds = bounds.join(" / ");
        match self.kind {
            RuleKind::Threshold => format!("{} {bounds}", self.metric),
            RuleKind::Growth => {
                format!(
                    "growth of {} in {} {bounds}",
                    self.metric,
                    written_duration(self.window_ms)
                )
            }
            RuleKind::Absence => format!(
                "{} is not sent for {}",
                self.metric,
                written_duration(self.for_ms)
            ),
            RuleKind::Forecast => {
                format!(
                    "{} in {} {bounds}, as it looks",
                    self.metric,
                    written_duration(self.horizon_ms)
                )
            }
        }
    }
}
