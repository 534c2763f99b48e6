//! The rules that come with Muster, and the data by which each of them is tested.

use serde::Deserialize;
use serde_json::Value;

use crate::{Rule, rule};

const TEXT: &str = include_str!("defaults.yaml");

/// A rule that comes with Muster.
#[derive(Debug, Clone)]
pub struct Default {
    /// Its name for ever, by which a controller knows that it has it already.
    pub key: String,
    /// The rule.
    pub rule: Rule,
    /// Data that makes it fire.
    pub fires: Vec<Scenario>,
    /// Data that must not.
    pub quiet: Vec<Scenario>,
}

/// Data of some series of one resource.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The series.
    pub series: Vec<ScenarioSeries>,
    /// Time between two samples, such as `1m`.
    pub every: String,
    /// How long it goes on.
    pub lasts: String,
}

/// One series of a scenario.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioSeries {
    /// The metric.
    pub metric: String,
    /// Whether it is a fact of the controller.
    #[serde(default)]
    pub fact: bool,
    /// What the resource is.
    pub kind: muster_model::ResourceKind,
    /// The labels.
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, String>,
    /// The values in turn, of which the last one stays.
    #[serde(default)]
    pub values: Vec<f64>,
    /// From the first to the second in a straight line over all of the time.
    #[serde(default)]
    pub ramp: Option<[f64; 2]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: String,
    rule: Value,
    fires: Vec<Scenario>,
    quiet: Vec<Scenario>,
}

/// The rules that come with Muster.
///
/// # Panics
/// Never: what is read was written with the program, and a test reads it.
#[must_use]
pub fn all() -> Vec<Default> {
    let entries: Vec<Entry> = serde_norway::from_str(TEXT).expect("the rules that come along are YAML");
    entries
        .into_iter()
        .map(|entry| Default {
            rule: rule::read(entry.rule).expect("the rules that come along are rules"),
            key: entry.key,
            fires: entry.fires,
            quiet: entry.quiet,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use muster_model::Labels;

    use super::*;
    use crate::engine::{ServerFacts, Settings};
    use crate::{Change, Engine, NotificationKind, SeriesInfo};

    const SERVER: i64 = 1;
    const RESOURCE: i64 = 2;
    const START: i64 = 1_800_000_000_000;

    fn ms(text: &str) -> i64 {
        humantime::parse_duration(text).unwrap().as_millis() as i64
    }

    /// How often the rule fires on this data.
    fn fired(rule: &Rule, scenario: &Scenario) -> usize {
        let mut changes = Vec::new();
        let mut engine = Engine::new(START, 1, Settings::default());
        let mut rule = rule.clone();
        rule.id = 1;
        let facts = ServerFacts {
            name: "db1".to_owned(),
            tags: Vec::new(),
        };
        engine.set_server(START, SERVER, facts, &mut changes);
        engine.set_rule(START, rule, &mut changes);
        let (every_ms, lasts_ms) = (ms(&scenario.every), ms(&scenario.lasts));
        let slots: Vec<_> = scenario
            .series
            .iter()
            .map(|series| {
                let is_server = series.kind == muster_model::ResourceKind::Server;
                engine.bind(SeriesInfo {
                    server: SERVER,
                    resource: if is_server { SERVER } else { RESOURCE },
                    kind: series.kind,
                    name: series.metric.clone(),
                    labels: Labels::new(&series.labels.clone().into_iter().collect::<Vec<_>>()).unwrap(),
                    interval_ms: u32::try_from(every_ms).unwrap(),
                    is_fact: series.fact,
                })
            })
            .collect();
        let mut at = 0;
        while at <= lasts_ms {
            let now = START + at;
            if at % every_ms == 0 {
                let samples = scenario.series.iter().zip(&slots).filter_map(|(series, slot)| {
                    let value = match series.ramp {
                        Some([from, to]) => from + (to - from) * at as f64 / lasts_ms as f64,
                        None => *series
                            .values
                            .get((at / every_ms) as usize)
                            .or(series.values.last())?,
                    };
                    Some(((*slot)?, value))
                });
                engine.row(now, false, now, samples, &mut changes);
            }
            engine.tick(now, &mut changes);
            at += 10_000;
        }
        changes
            .iter()
            .filter(|change| matches!(change, Change::News(news, _) if news.kind == NotificationKind::Firing))
            .count()
    }

    #[test]
    fn every_default_rule_fires_on_its_data_once_and_keeps_quiet_on_the_other() {
        for default in all() {
            assert!(
                !default.fires.is_empty() && !default.quiet.is_empty(),
                "{}",
                default.key
            );
            for (index, scenario) in default.fires.iter().enumerate() {
                assert_eq!(
                    fired(&default.rule, scenario),
                    1,
                    "{} fires[{index}]",
                    default.key
                );
            }
            for (index, scenario) in default.quiet.iter().enumerate() {
                assert_eq!(
                    fired(&default.rule, scenario),
                    0,
                    "{} quiet[{index}]",
                    default.key
                );
            }
        }
    }

    #[test]
    fn every_default_rule_is_enabled_named_once_and_says_what_to_do() {
        let all = all();
        let keys: BTreeSet<_> = all.iter().map(|default| default.key.as_str()).collect();
        let names: BTreeSet<_> = all.iter().map(|default| default.rule.name.as_str()).collect();
        assert_eq!((keys.len(), names.len()), (all.len(), all.len()));
        for default in &all {
            assert!(
                default.rule.enabled && 80 < default.rule.description.len(),
                "{}",
                default.key
            );
            assert_eq!(
                rule::read(default.rule.to_json()).unwrap().to_json(),
                default.rule.to_json()
            );
        }
    }
}
