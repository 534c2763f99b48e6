//! Every metric Muster knows: its name, type, unit and help text.
//!
//! Collectors make their samples through the constants here, so that a name has one type and one unit wherever
//! it comes from, and [`lookup`] gives help texts to whoever prints a series. Names, labels and types are those
//! of the stock exporters; where none has a name for it, ours starts with `muster_`. No I/O, no state.

use std::borrow::Cow;

use muster_model::{Labels, MetricType, ResourceKey, Sample};

pub mod alias;
mod container;
mod lvm;
mod muster;
mod node;
mod process;
mod smart;
mod storage;
mod zfs;

pub use container::*;
pub use lvm::*;
pub use muster::*;
pub use node::*;
pub use process::*;
pub use smart::*;
pub use storage::*;
pub use zfs::*;

/// A metric whose name is known beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The name, as stock dashboards ask for it.
    pub name: &'static str,
    /// Counter, gauge or untyped.
    pub metric_type: MetricType,
    /// Base unit (`bytes`, `seconds`, `celsius`, …); empty if the number has none.
    pub unit: &'static str,
    /// What it says, in a sentence without a full stop.
    pub help: &'static str,
}

impl Metric {
    /// A sample of this metric on the server itself, read when the collection began.
    #[must_use]
    pub fn sample(&self, labels: Labels, value: f64) -> Sample {
        Sample {
            name: Cow::Borrowed(self.name),
            labels,
            value,
            time_ms: None,
            resource: None,
            metric_type: self.metric_type,
            unit: self.unit,
        }
    }

    /// A sample of this metric on a resource.
    #[must_use]
    pub fn sample_of(&self, resource: &ResourceKey, labels: Labels, value: f64) -> Sample {
        Sample {
            resource: Some(resource.clone()),
            ..self.sample(labels, value)
        }
    }
}

/// Metrics whose names are made from what is read, such as a field of `/proc/meminfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// What the names start with.
    pub prefix: &'static str,
    /// What the names end with; may be empty.
    pub suffix: &'static str,
    /// Counter, gauge or untyped.
    pub metric_type: MetricType,
    /// Base unit; empty if the numbers have none.
    pub unit: &'static str,
    /// What they say.
    pub help: &'static str,
}

impl Family {
    /// The name of one member.
    #[must_use]
    pub fn name(&self, middle: &str) -> String {
        [self.prefix, middle, self.suffix].concat()
    }

    /// How long the name of one member is.
    #[must_use]
    pub const fn name_bytes(&self, middle: &str) -> usize {
        self.prefix.len() + middle.len() + self.suffix.len()
    }

    /// A sample of one member on the server itself, read when the collection began.
    #[must_use]
    pub fn sample(&self, middle: &str, labels: Labels, value: f64) -> Sample {
        Sample {
            name: Cow::Owned(self.name(middle)),
            labels,
            value,
            time_ms: None,
            resource: None,
            metric_type: self.metric_type,
            unit: self.unit,
        }
    }

    fn contains(&self, name: &str) -> bool {
        name.strip_prefix(self.prefix)
            .and_then(|rest| rest.strip_suffix(self.suffix))
            .is_some_and(|middle| !middle.is_empty())
    }
}

/// What the catalogue says of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// Counter, gauge or untyped.
    pub metric_type: MetricType,
    /// Base unit; empty if the number has none.
    pub unit: &'static str,
    /// What it says.
    pub help: &'static str,
}

/// The lists of metrics, each sorted by name.
pub const LISTS: [&[Metric]; 12] = [
    CONTAINER, MUSTER, NODE, HARDWARE, KERNEL, NETWORK, SYSTEM, PROCESS, SMARTCTL, STORAGE, LVM, ZFS,
];

/// The families; the first that contains a name describes it.
pub const FAMILIES: &[Family] = FAMILIES_OF_NODE;

/// Every metric with a fixed name, sorted by name.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    let mut metrics: Vec<&'static Metric> = LISTS.into_iter().flatten().collect();
    metrics.sort_unstable_by_key(|metric| metric.name);
    metrics.into_iter()
}

/// The metric with this fixed name.
#[must_use]
pub fn metric(name: &str) -> Option<&'static Metric> {
    LISTS.into_iter().find_map(|list| {
        let index = list.binary_search_by(|metric| metric.name.cmp(name)).ok()?;
        Some(&list[index])
    })
}

/// Describes a metric name; `None` if the catalogue does not know it.
#[must_use]
pub fn lookup(name: &str) -> Option<Description> {
    let fixed = metric(name).map(|metric| Description {
        metric_type: metric.metric_type,
        unit: metric.unit,
        help: metric.help,
    });
    fixed.or_else(|| {
        let family = FAMILIES.iter().find(|family| family.contains(name))?;
        Some(Description {
            metric_type: family.metric_type,
            unit: family.unit,
            help: family.help,
        })
    })
}

/// Defines metrics as public constants, and the list of them in the order written.
macro_rules! metrics {
    ($list:ident: $($ident:ident = $kind:ident $name:literal $unit:literal $help:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $help, ".")]
            pub const $ident: $crate::Metric = $crate::Metric {
                name: $name,
                metric_type: muster_model::MetricType::$kind,
                unit: $unit,
                help: $help,
            };
        )*
        /// The metrics of this file, sorted by name.
        pub(crate) const $list: &[$crate::Metric] = &[$($ident),*];
    };
}
use metrics;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_sorted() {
        for list in LISTS {
            for pair in list.windows(2) {
                assert!(
                    pair[0].name < pair[1].name,
                    "{} before {}",
                    pair[0].name,
                    pair[1].name
                );
            }
        }
        let names: Vec<_> = all().map(|metric| metric.name).collect();
        for pair in names.windows(2) {
            assert!(pair[0] < pair[1], "{} twice", pair[0]);
        }
    }

    #[test]
    fn names_can_be_stored_and_texts_are_there() {
        for metric in all() {
            let starts_well = metric.name.starts_with(|c: char| c.is_ascii_lowercase());
            let goes_on_well = metric.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            assert!(starts_well && goes_on_well, "{}", metric.name);
            assert!(metric.name.len() <= muster_model::limits::NAME_BYTES_MAX);
            assert!(
                !metric.help.is_empty() && !metric.help.ends_with('.'),
                "{}",
                metric.name
            );
        }
    }

    #[test]
    fn fixed_names_families_and_strangers_are_told_apart() {
        assert_eq!(
            lookup("node_load1").map(|found| found.metric_type),
            Some(MetricType::Gauge)
        );
        assert_eq!(
            lookup("node_memory_MemTotal_bytes").map(|found| found.unit),
            Some("bytes")
        );
        assert_eq!(
            lookup("node_memory_HugePages_Total").map(|found| found.unit),
            Some("")
        );
        assert_eq!(lookup("node_memory_"), None);
        assert_eq!(lookup("nobody_knows_this"), None);
    }

    #[test]
    fn a_sample_takes_type_and_unit_from_the_catalogue() {
        let key = ResourceKey::new("device:x");
        let sample = NODE_DISK_READ_BYTES_TOTAL.sample_of(&key, Labels::of(&[("device", "sda")]), 5.0);
        assert_eq!((sample.metric_type, sample.unit), (MetricType::Counter, "bytes"));
        assert_eq!(sample.resource, Some(key));
    }
}
