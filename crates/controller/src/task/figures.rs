//! What the controller itself knows of containers, as series: kept like those of agents, and judged by the same rules.
//!
//! What is not sealed when the controller dies is lost; the next look says it again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_base::clock::WallClock;
use muster_model::STALE_NAN;
use muster_samples::{SeriesRef, SeriesSpec};

use super::TaskError;
use crate::alert::{Alerts, Told};
use crate::update::Figure;

/// Under which collector's name the series are kept.
const COLLECTOR: &str = "controller";

/// A series: server, resource, name, and labels in their order.
type Key = (i64, i64, &'static str, Vec<(String, String)>);

/// Keeps figures, and has them judged. Clones share it.
#[derive(Clone)]
pub(crate) struct Figures {
    samples: Arc<muster_samples::Store>,
    alerts: Alerts,
    clock: WallClock,
    interval_ms: u32,
    /// What had a number the last time; bounded by what there was to tell.
    told: Arc<Mutex<HashMap<Key, Figure>>>,
}

impl Figures {
    /// `every` is the time from one look to the next.
    pub(crate) fn new(
        samples: Arc<muster_samples::Store>,
        alerts: Alerts,
        clock: WallClock,
        every: Duration,
    ) -> Self {
        Self {
            samples,
            alerts,
            clock,
            interval_ms: u32::try_from(every.as_millis()).unwrap_or(u32::MAX),
            told: Arc::default(),
        }
    }

    /// Keeps all there is to tell now. What had a number the last time and has none now ends.
    pub(crate) async fn tell(&self, figures: Vec<Figure>) -> Result<(), TaskError> {
        let told = self.with_ends(figures);
        self.keep(&told)?;
        Ok(self.alerts.hear(told).await?)
    }

    fn with_ends(&self, figures: Vec<Figure>) -> Vec<Told> {
        let mut now: HashMap<Key, Figure> = HashMap::with_capacity(figures.len());
        for figure in figures.into_iter().filter(|figure| figure.value.is_some()) {
            now.entry(key(&figure)).or_insert(figure);
        }
        let mut last = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = last.iter().filter(|(key, _)| !now.contains_key(*key));
        let ended = ended.map(|(_, figure)| self.told(figure, STALE_NAN));
        let going_on = now
            .values()
            .map(|figure| self.told(figure, figure.value.unwrap_or(STALE_NAN)));
        let told = ended.chain(going_on).collect();
        *last = now;
        told
    }

    fn told(&self, figure: &Figure, value: f64) -> Told {
        Told {
            server: figure.server,
            resource: figure.resource,
            kind: figure.kind,
            name: figure.metric.name,
            labels: figure.labels.clone(),
            interval_ms: self.interval_ms,
            value,
        }
    }

    fn keep(&self, told: &[Told]) -> Result<(), TaskError> {
        if self.samples.is_full() {
            return Err("the sample store's memory is full".into());
        }
        // Those of one server go together.
        let mut by_server: BTreeMap<i64, (Vec<SeriesRef>, Vec<f64>)> = BTreeMap::new();
        for one in told {
            let Some(metric) = muster_catalogue::lookup(one.name) else {
                continue;
            };
            let spec = SeriesSpec {
                server: one.server,
                resource: one.resource,
                name: one.name.to_owned(),
                labels: one.labels.clone(),
                metric_type: metric.metric_type,
                unit: metric.unit.to_owned(),
                collector: COLLECTOR.to_owned(),
                interval_ms: one.interval_ms,
            };
            // A server that has as many series as it may have is counted by the store.
            if let Ok(series) = self.samples.series(&spec) {
                let of_server = by_server.entry(one.server.0).or_default();
                of_server.0.push(series);
                of_server.1.push(one.value);
            }
        }
        let now_ms = self.clock.now_ms();
        for (series, values) in by_server.into_values() {
            self.samples.append_unrecorded(now_ms, &series, &values)?;
        }
        Ok(())
    }
}

fn key(figure: &Figure) -> Key {
    let labels = figure.labels.iter();
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    (
        figure.server.0,
        figure.resource.0,
        figure.metric.name,
        labels.collect(),
    )
}
