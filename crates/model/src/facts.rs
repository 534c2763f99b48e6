//! What a collector returns.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{Labels, Link, MetricType, Resource, ResourceKey};

/// One number at one time, with everything that names its series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// Metric name: mostly one of the catalogue's.
    pub name: Cow<'static, str>,
    /// The series' own labels.
    pub labels: Labels,
    /// The number, in the metric's base unit.
    pub value: f64,
    /// When it was read, Unix milliseconds; `None` means "when the collection began".
    pub time_ms: Option<i64>,
    /// The resource it belongs to; `None` means the server.
    pub resource: Option<ResourceKey>,
    /// Type of the metric.
    #[serde(rename = "type")]
    pub metric_type: MetricType,
    /// Base unit; empty if the number has none.
    pub unit: &'static str,
}

/// Something a collector could not read or understand.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Problem {
    /// The collector.
    pub collector: String,
    /// What was attempted and what went wrong, in words.
    pub message: String,
    /// The line of the input, counted from 1, when there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u32>,
}

/// Everything one collection found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Facts {
    /// The full set of resources that this collector sees now.
    pub resources: Vec<Resource>,
    /// The full set of links that this collector sees now.
    pub links: Vec<Link>,
    /// The numbers.
    pub samples: Vec<Sample>,
    /// What could not be read or understood.
    pub problems: Vec<Problem>,
}

impl Facts {
    /// Takes over what `other` found.
    pub fn append(&mut self, other: Self) {
        self.resources.extend(other.resources);
        self.links.extend(other.links);
        self.samples.extend(other.samples);
        self.problems.extend(other.problems);
    }
}
