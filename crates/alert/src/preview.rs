//! What a rule would say: of what is known now, and of what is stored.
//!
//! Both run the engine itself over stored samples, with that one rule and nobody to tell, so that they can't differ
//! from what it does. Nothing is written anywhere.

use std::collections::BTreeMap;

use muster_model::ResourceKind;

use crate::engine::{ServerFacts, Settings};
use crate::{AlertState, Change, Engine, Rule, SeriesInfo, Severity};

/// Most alerts listed.
pub const ALERTS_MAX: usize = 500;
/// Most samples judged.
pub const SAMPLES_MAX: usize = 2_000_000;
/// How often time passes between samples, ms.
const TICK_MS: i64 = 60_000;

/// Stored samples of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct HistorySeries {
    /// The series.
    pub info: SeriesInfo,
    /// Times (Unix ms) and values, in order of time.
    pub points: Vec<(i64, f64)>,
}

/// Reads what is stored.
pub trait History {
    /// What went wrong.
    type Error;

    /// The series of a metric between two times, the end outside; a fact of the controller is asked by its name too.
    ///
    /// # Errors
    /// What went wrong when reading.
    fn read(
        &self,
        metric: &str,
        is_fact: bool,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<HistorySeries>, Self::Error>;

    /// The servers that there are.
    fn servers(&self) -> Vec<(i64, ServerFacts)>;
}

/// An alert that there would have been.
#[derive(Debug, Clone, PartialEq)]
pub struct WouldBe {
    /// Its server.
    pub server: i64,
    /// Its resource.
    pub resource: i64,
    /// What the resource is.
    pub kind: ResourceKind,
    /// Labels of its series.
    pub labels: BTreeMap<String, String>,
    /// How bad, at worst.
    pub severity: Severity,
    /// The number when it was looked at last.
    pub value: Option<f64>,
    /// The bound.
    pub threshold: Option<f64>,
    /// Since when the condition held, Unix ms.
    pub started_ms: i64,
    /// When it was over, Unix ms; `None` if it still is not at the end.
    pub ended_ms: Option<i64>,
    /// Whether it would have been pending at the end: not for long enough.
    pub is_pending: bool,
}

/// What a rule would have said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Preview {
    /// The alerts, in order of their beginning; at most [`ALERTS_MAX`].
    pub alerts: Vec<WouldBe>,
    /// How many more there would have been.
    pub more: usize,
    /// How many things the rule judged.
    pub judged: usize,
    /// How many of them had a number at the end.
    pub known: usize,
    /// Samples looked at.
    pub samples: usize,
    /// Whether there were too many samples, and the last ones were left out.
    pub is_cut: bool,
}

/// What `rule` would have said between two times.
///
/// # Errors
/// What reading gave.
pub fn preview<H: History>(rule: &Rule, history: &H, from_ms: i64, to_ms: i64) -> Result<Preview, H::Error> {
    let mut changes = Vec::new();
    // Between samples nothing is to be heard, however far they are apart.
    let settings = Settings {
        step_max_ms: i64::MAX,
        group_min: usize::MAX,
        ..Settings::default()
    };
    let mut engine = Engine::new(from_ms, 1, settings);
    for (server, facts) in history.servers() {
        engine.set_server(from_ms, server, facts, &mut changes);
        engine.set_connected(from_ms, server, true);
    }
    let mut rule = rule.clone();
    rule.id = 1;
    rule.enabled = true;
    engine.set_rule(from_ms, rule.clone(), &mut changes);
    let mut samples = Vec::new();
    let mut is_cut = false;
    let metrics: std::collections::BTreeSet<&str> = rule.plan.metrics().collect();
    for metric in metrics {
        for series in history.read(metric, rule.plan.is_fact, from_ms, to_ms)? {
            let Some(slot) = engine.bind(series.info) else {
                continue;
            };
            let room = SAMPLES_MAX - samples.len();
            is_cut |= room < series.points.len();
            samples.extend(
                series
                    .points
                    .into_iter()
                    .take(room)
                    .map(|(time_ms, value)| (time_ms, slot, value)),
            );
        }
    }
    samples.sort_by_key(|(time_ms, ..)| *time_ms);
    let mut found = Found::default();
    let mut now_ms = from_ms;
    for row in samples.chunk_by(|a, b| a.0 == b.0) {
        let time_ms = row[0].0;
        while now_ms + TICK_MS < time_ms {
            now_ms += TICK_MS;
            engine.tick(now_ms, &mut changes);
            found.take(&mut changes);
        }
        now_ms = time_ms.max(now_ms);
        let values = row.iter().map(|(_, slot, value)| (*slot, *value));
        engine.row(now_ms, false, time_ms, values, &mut changes);
        found.take(&mut changes);
    }
    let end_ms = now_ms.max(to_ms.min(now_ms + TICK_MS));
    engine.tick(end_ms, &mut changes);
    found.take(&mut changes);
    Ok(found.finish(&engine, samples.len(), is_cut))
}

#[derive(Default)]
struct Found {
    alerts: BTreeMap<i64, WouldBe>,
    more: usize,
}

impl Found {
    fn take(&mut self, changes: &mut Vec<Change>) {
        for change in changes.drain(..) {
            if let Change::Alert(alert) = change
                && alert.state != AlertState::Pending
            {
                if self.alerts.len() == ALERTS_MAX && !self.alerts.contains_key(&alert.id) {
                    self.more += usize::from(alert.state == AlertState::Resolved);
                    continue;
                }
                let worst = self
                    .alerts
                    .get(&alert.id)
                    .map_or(alert.severity, |known| known.severity);
                let mut would_be = of(&alert);
                would_be.severity = worst.max(alert.severity);
                self.alerts.insert(alert.id, would_be);
            }
        }
    }

    fn finish(mut self, engine: &Engine, samples: usize, is_cut: bool) -> Preview {
        for alert in engine.alerts() {
            let room = self.alerts.len() < ALERTS_MAX;
            match self.alerts.get_mut(&alert.id) {
                Some(known) => known.value = alert.value,
                None if room => {
                    self.alerts.insert(alert.id, of(alert));
                }
                None => self.more += 1,
            }
        }
        let (judged, known) = engine.judged_and_known();
        let mut alerts: Vec<WouldBe> = self.alerts.into_values().collect();
        alerts.sort_by_key(|alert| alert.started_ms);
        Preview {
            alerts,
            more: self.more,
            judged,
            known,
            samples,
            is_cut,
        }
    }
}

fn of(alert: &crate::Alert) -> WouldBe {
    WouldBe {
        server: alert.server.unwrap_or(0),
        resource: alert.resource.unwrap_or(0),
        kind: alert.kind.unwrap_or(ResourceKind::Server),
        labels: alert.labels.clone(),
        severity: alert.severity,
        value: alert.value,
        threshold: alert.threshold,
        started_ms: alert.started_ms,
        ended_ms: alert.ended_ms,
        is_pending: alert.state == AlertState::Pending,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use muster_model::Labels;

    use super::*;
    use crate::rule;

    struct Stored(Vec<f64>);

    const START: i64 = 1_800_000_000_000;

    impl History for Stored {
        type Error = Infallible;

        fn read(
            &self,
            metric: &str,
            _: bool,
            from_ms: i64,
            to_ms: i64,
        ) -> Result<Vec<HistorySeries>, Infallible> {
            assert_eq!(metric, "smartctl_device_temperature");
            let points = self
                .0
                .iter()
                .enumerate()
                .map(|(index, value)| (START + index as i64 * 60_000, *value));
            Ok(vec![HistorySeries {
                info: SeriesInfo {
                    server: 1,
                    resource: 2,
                    kind: ResourceKind::Device,
                    name: metric.to_owned(),
                    labels: Labels::of(&[("temperature_type", "current")]),
                    interval_ms: 60_000,
                    is_fact: false,
                },
                points: points
                    .filter(|(time, _)| (from_ms..to_ms).contains(time))
                    .collect(),
            }])
        }

        fn servers(&self) -> Vec<(i64, ServerFacts)> {
            let facts = ServerFacts {
                name: "db1".to_owned(),
                tags: vec![],
            };
            vec![(1, facts)]
        }
    }

    fn hot() -> Rule {
        rule::read(
            serde_json::json!({"name": "hot", "metric_name": "temperature_celsius", "condition": "gt",
            "threshold": 60, "for": "2m"}),
        )
        .unwrap()
    }

    #[test]
    fn a_preview_says_how_often_a_rule_would_have_fired() {
        let mut values = vec![50.0; 20];
        for from in [20, 40, 60] {
            values.resize(from, 50.0);
            values.extend([66.0; 5]);
        }
        values.extend([50.0; 200]);
        let found = preview(&hot(), &Stored(values), START, START + 86_400_000).unwrap();
        assert_eq!(
            (found.alerts.len(), found.more, found.judged),
            (3, 0, 1),
            "{found:?}"
        );
        let starts: Vec<i64> = found
            .alerts
            .iter()
            .map(|alert| (alert.started_ms - START) / 60_000)
            .collect();
        assert_eq!(starts, [20, 40, 60]);
        assert!(
            found
                .alerts
                .iter()
                .all(|alert| alert.ended_ms.is_some() && alert.value.is_some())
        );
    }

    #[test]
    fn a_dry_run_lists_what_fires_now_and_what_is_not_sure_yet() {
        let mut values = vec![50.0; 10];
        values.extend([66.0; 2]);
        let found = preview(&hot(), &Stored(values.clone()), START, START + 12 * 60_000).unwrap();
        assert!(
            found.alerts[0].is_pending && found.alerts[0].ended_ms.is_none(),
            "{found:?}"
        );
        values.extend([66.0; 2]);
        let found = preview(&hot(), &Stored(values), START, START + 14 * 60_000).unwrap();
        assert!(!found.alerts[0].is_pending && found.alerts[0].ended_ms.is_none());
        assert_eq!(found.known, 1);
        let found = preview(&hot(), &Stored(vec![]), START, START + 1).unwrap();
        assert_eq!((found.judged, found.known), (1, 0));
    }
}
