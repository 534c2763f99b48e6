//! The series of an epoch, in order of their ids.
//!
//! An agent has thousands, of which a few hundred metrics make most: what the series of a metric have in common is in
//! memory once.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use muster_model::{Labels, MetricType, ResourceKey, SeriesDef, limits};

/// What the series of a metric have in common, by one collector.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Metric {
    /// Its name.
    pub name: Cow<'static, str>,
    /// Its type.
    pub metric_type: MetricType,
    /// Its base unit; empty if the number has none.
    pub unit: Cow<'static, str>,
    /// The collector that reads it.
    pub collector: Cow<'static, str>,
}

/// A series. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// Its metric.
    pub metric: Arc<Metric>,
    /// Its own labels.
    pub labels: Labels,
    /// The resource it belongs to.
    pub resource_key: ResourceKey,
    /// How often a sample is expected, in milliseconds; 0 if it has no cadence.
    pub interval_ms: u32,
}

const _: () = assert!(size_of::<Series>() <= 48, "thousands of them are kept");

impl Series {
    /// As it is told to others.
    #[must_use]
    pub fn definition(&self) -> SeriesDef {
        let metric = &self.metric;
        SeriesDef {
            name: metric.name.clone(),
            labels: self.labels.clone(),
            metric_type: metric.metric_type,
            unit: metric.unit.clone(),
            collector: metric.collector.clone(),
            resource_key: self.resource_key.clone(),
            interval_ms: self.interval_ms,
        }
    }
}

impl From<SeriesDef> for Series {
    fn from(definition: SeriesDef) -> Self {
        let metric = Metric {
            name: definition.name,
            metric_type: definition.metric_type,
            unit: definition.unit,
            collector: definition.collector,
        };
        Self {
            metric: Arc::new(metric),
            labels: definition.labels,
            resource_key: definition.resource_key,
            interval_ms: definition.interval_ms,
        }
    }
}

/// Every series of an epoch; never forgets one, because an id belongs to its series for good.
#[derive(Debug, Default)]
pub(crate) struct Definitions {
    series: Vec<Series>,
}

impl Definitions {
    /// The id of a new series, from 1. `None` when there are as many as there may be.
    pub(crate) fn define(&mut self, series: Series) -> Option<u32> {
        let count = self.series.len();
        if limits::SERIES_PER_AGENT_MAX <= count {
            return None;
        }
        if count == self.series.capacity() {
            // Most come in the first seconds and stay: room for as many again would stay empty.
            self.series.reserve_exact((count / 8).max(64));
        }
        self.series.push(series);
        Some(self.count())
    }

    /// How many there are, which is the highest id.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.series.len()).expect("series are limited far below the range of u32")
    }

    /// The series of an id that was given.
    pub(crate) fn of(&self, id: u32) -> &Series {
        &self.series[id as usize - 1]
    }

    /// From id `first` to id `last`, as many of them as exist.
    pub(super) fn between(&self, first: u32, last: u32) -> Vec<Arc<SeriesDef>> {
        let told = self.series[places(first, last, self.series.len())].iter();
        told.map(|series| Arc::new(series.definition())).collect()
    }
}

/// Where those from id `first` to id `last` are among `count`, as many of them as exist.
pub(super) fn places(first: u32, last: u32, count: usize) -> Range<usize> {
    let start = (first.max(1) as usize - 1).min(count);
    start..(last as usize).clamp(start, count)
}
