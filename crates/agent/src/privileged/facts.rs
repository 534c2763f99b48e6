//! Facts as they cross the socket: in parts, so that neither side ever has them twice, every number to the bit, and
//! checked again where they arrive.
//!
//! Within a part, a metric is told once and then called by its place, and labels and resource of a sample that are those
//! of the one before are left out: of fifty containers there are as many samples as of everything else together.

use std::borrow::Cow;
use std::collections::HashMap;

use foldhash::fast::RandomState;
use muster_catalogue::{FAMILIES, LISTS};
use muster_model::{
    Facts, Labels, Link, LinkType, MetricType, Problem, Resource, ResourceKey, Sample, limits,
};
use serde::{Deserialize, Serialize};

use super::message::MessageError;
use crate::packed::WireResource;

/// A part ends with the item that makes it so long.
const PART_BYTES: usize = 32 * 1024;

/// One of the things that facts are made of.
#[derive(Debug)]
pub(super) enum Item {
    Resource(Resource),
    Link(Link),
    Sample(Sample),
    Problem(Problem),
}

/// Everything in facts, one after the other.
pub(super) fn items(facts: Facts) -> impl Iterator<Item = Item> + Send {
    let resources = facts.resources.into_iter().map(Item::Resource);
    let links = facts.links.into_iter().map(Item::Link);
    let samples = facts.samples.into_iter().map(Item::Sample);
    let problems = facts.problems.into_iter().map(Item::Problem);
    resources.chain(links).chain(samples).chain(problems)
}

/// Items as they are written.
#[derive(Debug, Serialize, Deserialize)]
enum WireItem<'a> {
    #[serde(borrow)]
    Resource(WireResource<'a>),
    Link {
        from: &'a str,
        to: &'a str,
        link_type: LinkType,
    },
    /// Samples that come call it by how many came before it.
    Metric {
        name: &'a str,
        metric_type: MetricType,
        unit: &'a str,
    },
    Sample(WireSample<'a>),
    Problem {
        collector: &'a str,
        message: &'a str,
        line: Option<u32>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct WireSample<'a> {
    metric: usize,
    /// `None` if they are those of the sample before.
    #[serde(borrow)]
    labels: Option<Vec<(&'a str, &'a str)>>,
    value: f64,
    time_ms: Option<i64>,
    resource: WireOwner<'a>,
}

#[derive(Debug, Serialize, Deserialize)]
enum WireOwner<'a> {
    /// That of the sample before.
    Same,
    Server,
    Resource(&'a str),
}

/// A part in the making.
struct Writer {
    bytes: Vec<u8>,
    metrics: HashMap<(Cow<'static, str>, MetricType, &'static str), usize, RandomState>,
    /// Of the sample before.
    labels: Option<Labels>,
    resource: Option<Option<ResourceKey>>,
}

/// Writes as many items behind `head` as one part has room for.
///
/// # Errors
/// [`MessageError`] if one of them cannot be written down.
pub(super) fn write_part(
    head: Vec<u8>,
    items: &mut impl Iterator<Item = Item>,
) -> Result<Vec<u8>, MessageError> {
    let mut writer = Writer {
        bytes: head,
        metrics: HashMap::default(),
        labels: None,
        resource: None,
    };
    while writer.bytes.len() < PART_BYTES {
        let Some(item) = items.next() else {
            break;
        };
        match item {
            Item::Resource(resource) => writer.put(&WireItem::Resource(WireResource::from(&resource)))?,
            Item::Link(link) => writer.put(&WireItem::Link {
                from: link.from.as_str(),
                to: link.to.as_str(),
                link_type: link.link_type,
            })?,
            Item::Sample(sample) => writer.sample(sample)?,
            Item::Problem(problem) => writer.put(&WireItem::Problem {
                collector: &problem.collector,
                message: &problem.message,
                line: problem.line,
            })?,
        }
    }
    Ok(writer.bytes)
}

impl Writer {
    fn put(&mut self, item: &WireItem<'_>) -> Result<(), MessageError> {
        self.bytes = postcard::to_extend(item, std::mem::take(&mut self.bytes))?;
        Ok(())
    }

    fn sample(&mut self, sample: Sample) -> Result<(), MessageError> {
        let next = self.metrics.len();
        let key = (sample.name, sample.metric_type, sample.unit);
        let metric = match self.metrics.get(&key) {
            Some(&known) => known,
            None => {
                self.put(&WireItem::Metric {
                    name: &key.0,
                    metric_type: key.1,
                    unit: key.2,
                })?;
                self.metrics.insert(key, next);
                next
            }
        };
        let (before, labels) = (self.labels.as_ref(), &sample.labels);
        let labels = (before != Some(labels)).then(|| labels.iter().collect());
        let resource = match &sample.resource {
            now if self.resource.as_ref() == Some(now) => WireOwner::Same,
            None => WireOwner::Server,
            Some(key) => WireOwner::Resource(key.as_str()),
        };
        self.put(&WireItem::Sample(WireSample {
            metric,
            labels,
            value: sample.value,
            time_ms: sample.time_ms,
            resource,
        }))?;
        self.labels = Some(sample.labels);
        self.resource = Some(sample.resource);
        Ok(())
    }
}

/// Reads the items of a part.
///
/// # Errors
/// [`MessageError`] if they are none, or say what cannot be.
pub(super) fn read_part(mut bytes: &[u8]) -> Result<Facts, MessageError> {
    let mut reader = Reader::default();
    while !bytes.is_empty() {
        let item: WireItem<'_>;
        (item, bytes) = postcard::take_from_bytes(bytes)?;
        reader.take(item)?;
    }
    Ok(reader.facts)
}

#[derive(Default)]
struct Reader {
    facts: Facts,
    metrics: Vec<(Cow<'static, str>, MetricType, &'static str)>,
}

impl Reader {
    fn take(&mut self, item: WireItem<'_>) -> Result<(), MessageError> {
        match item {
            WireItem::Resource(resource) => self.facts.resources.push(resource.into()),
            WireItem::Link { from, to, link_type } => self.facts.links.push(Link {
                from: ResourceKey::new(from),
                to: ResourceKey::new(to),
                link_type,
            }),
            WireItem::Metric {
                name,
                metric_type,
                unit,
            } => self.metrics.push(metric(name, metric_type, unit)?),
            WireItem::Sample(sample) => {
                let sample = self.sample(sample)?;
                self.facts.samples.push(sample);
            }
            WireItem::Problem {
                collector,
                message,
                line,
            } => self.facts.problems.push(Problem {
                collector: collector.to_owned(),
                message: message.to_owned(),
                line,
            }),
        }
        Ok(())
    }

    fn sample(&self, wire: WireSample<'_>) -> Result<Sample, MessageError> {
        let known = self.metrics.get(wire.metric);
        let (name, metric_type, unit) =
            known.ok_or_else(|| MessageError::Senseless("a sample of no metric".to_owned()))?;
        let senseless = |what: String| MessageError::Senseless(format!("{name:.60}: {what}"));
        let last = self.facts.samples.last();
        let last = || last.ok_or_else(|| senseless("there is no sample before".to_owned()));
        let labels = match wire.labels {
            None => last()?.labels.clone(),
            Some(pairs) => Labels::new(&pairs).map_err(|error| senseless(error.to_string()))?,
        };
        let resource = match wire.resource {
            WireOwner::Same => last()?.resource.clone(),
            WireOwner::Server => None,
            WireOwner::Resource(key) => Some(ResourceKey::new(key)),
        };
        Ok(Sample {
            labels,
            resource,
            unit,
            name: name.clone(),
            value: wire.value,
            time_ms: wire.time_ms,
            metric_type: *metric_type,
        })
    }
}

/// A metric in the catalogue's own words, where it has them.
fn metric(
    name: &str,
    metric_type: MetricType,
    unit: &str,
) -> Result<(Cow<'static, str>, MetricType, &'static str), MessageError> {
    if limits::NAME_BYTES_MAX < name.len() {
        let bytes = name.len();
        return Err(MessageError::Senseless(format!(
            "{name:.60}: a name of {bytes} bytes"
        )));
    }
    let known = muster_catalogue::metric(name);
    let of_metric = known.map(|metric| metric.unit);
    let name = known.map_or_else(|| name.to_owned().into(), |metric| metric.name.into());
    let found = of_metric
        .filter(|known| *known == unit)
        .or_else(|| find_unit(unit));
    let unit =
        found.ok_or_else(|| MessageError::Senseless(format!("{name:.60}: unknown unit {unit:.60?}")))?;
    Ok((name, metric_type, unit))
}

/// The catalogue's own word for a unit.
fn find_unit(word: &str) -> Option<&'static str> {
    let of_metrics = LISTS.into_iter().flatten().map(|metric| metric.unit);
    let of_families = FAMILIES.iter().map(|family| family.unit);
    std::iter::once("")
        .chain(of_metrics)
        .chain(of_families)
        .find(|unit| *unit == word)
}

#[cfg(test)]
mod tests {
    use muster_catalogue::{CONTAINER_LAST_SEEN, NODE_DISK_READ_BYTES_TOTAL, NODE_LOAD1};
    use muster_model::{Health, ResourceKind};
    use proptest::prelude::*;

    use super::*;

    fn facts() -> Facts {
        let key = ResourceKey::new("device:wwn:0x1");
        let mut disk = Resource::new(ResourceKind::Device, key.clone(), "sda");
        disk.health = Some(Health::Warning);
        disk.health_reasons = vec!["a \"reason\" with \u{1f4be}".to_owned()];
        disk.set("kind", Some("not the kind"))
            .set("one", Some(1.0))
            .set("third", Some(1.0 / 3.0))
            .set("none", Some(f64::NEG_INFINITY))
            .set("bytes", Some(u64::MAX))
            .set("yes", Some(true))
            .set("words", Some(vec!["a".to_owned(), String::new()]));
        let labels = Labels::of(&[("device", "sda")]);
        let values = [0.1 + 0.2, f64::INFINITY, f64::MIN_POSITIVE, -0.0];
        let mut samples: Vec<Sample> = values
            .map(|value| NODE_DISK_READ_BYTES_TOTAL.sample_of(&key, labels.clone(), value))
            .to_vec();
        samples.push(Sample {
            time_ms: Some(-5),
            ..NODE_LOAD1.sample(Labels::default(), 1.0)
        });
        samples.push(Sample {
            name: "of_nobody".into(),
            metric_type: MetricType::Untyped,
            ..NODE_LOAD1.sample_of(&ResourceKey::server(), labels, 2.0)
        });
        Facts {
            links: vec![Link {
                from: ResourceKey::server(),
                to: key,
                link_type: LinkType::RestsOn,
            }],
            resources: vec![disk],
            samples,
            problems: vec![Problem {
                collector: "smart".to_owned(),
                message: "odd".to_owned(),
                line: Some(3),
            }],
        }
    }

    fn parts(facts: Facts) -> Vec<Vec<u8>> {
        let mut items = items(facts).peekable();
        let mut parts = Vec::new();
        while items.peek().is_some() {
            parts.push(write_part(Vec::new(), &mut items).unwrap());
        }
        parts
    }

    fn crossed(facts: Facts) -> Facts {
        let mut all = Facts::default();
        for part in parts(facts) {
            all.append(read_part(&part).unwrap());
        }
        all
    }

    #[test]
    fn facts_arrive_as_they_left() {
        assert_eq!(crossed(facts()), facts());
    }

    #[test]
    fn many_facts_arrive_in_several_short_parts_with_what_they_share_in_memory_once() {
        let of = |index: usize| {
            let key = ResourceKey::new(format!("container:{index}"));
            let name = format!("name {index}");
            let labels = Labels::of(&[("name", name.as_str()), ("image", "an image of some length")]);
            (0..30).map(move |value| CONTAINER_LAST_SEEN.sample_of(&key, labels.clone(), f64::from(value)))
        };
        let many = Facts {
            samples: (0..200).flat_map(of).collect(),
            ..facts()
        };
        let parts = parts(many.clone());
        assert!(1 < parts.len(), "{}", parts.len());
        assert!(parts.iter().all(|part| part.len() < PART_BYTES + 1024));
        let bytes: usize = parts.iter().map(Vec::len).sum();
        assert!(bytes < 6_000 * 16, "{bytes} bytes for 6000 samples");
        let arrived = crossed(many.clone());
        assert_eq!(arrived, many);
        assert!(arrived.samples[0].labels.are_shared());
        assert!(matches!(arrived.samples[0].name, Cow::Borrowed(_)));
    }

    #[test]
    fn not_a_number_arrives_to_the_bit() {
        let stale = NODE_LOAD1.sample(Labels::default(), muster_model::STALE_NAN);
        let arrived = crossed(Facts {
            samples: vec![stale],
            ..Facts::default()
        });
        assert_eq!(
            arrived.samples[0].value.to_bits(),
            muster_model::STALE_NAN.to_bits()
        );
    }

    #[test]
    fn every_unit_of_the_catalogue_is_known_and_no_other() {
        for unit in LISTS.into_iter().flatten().map(|metric| metric.unit) {
            assert_eq!(find_unit(unit), Some(unit));
        }
        assert_eq!(find_unit("furlongs"), None);
    }

    #[test]
    fn labels_units_and_references_are_checked_where_they_arrive() {
        let metric = |unit| WireItem::Metric {
            name: "node_load1",
            metric_type: MetricType::Gauge,
            unit,
        };
        let sample = |metric, labels, resource| {
            WireItem::Sample(WireSample {
                metric,
                labels,
                value: 1.0,
                time_ms: None,
                resource,
            })
        };
        let read = |items: &[WireItem<'_>]| {
            let bytes: Vec<u8> = items
                .iter()
                .flat_map(|item| postcard::to_allocvec(item).unwrap())
                .collect();
            read_part(&bytes)
        };
        let labels = || Some(vec![("device", "sda")]);
        assert!(read(&[metric(""), sample(0, labels(), WireOwner::Server)]).is_ok());
        for odd in [
            vec![metric("furlongs")],
            vec![WireItem::Metric {
                name: &"n".repeat(limits::NAME_BYTES_MAX + 1),
                metric_type: MetricType::Gauge,
                unit: "",
            }],
            vec![sample(0, labels(), WireOwner::Server)],
            vec![metric(""), sample(1, labels(), WireOwner::Server)],
            vec![metric(""), sample(0, None, WireOwner::Server)],
            vec![metric(""), sample(0, labels(), WireOwner::Same)],
            vec![
                metric(""),
                sample(0, Some(vec![("1device", "a")]), WireOwner::Server),
            ],
            vec![
                metric(""),
                sample(0, Some(vec![("device", "a"), ("device", "b")]), WireOwner::Server),
            ],
        ] {
            assert!(matches!(read(&odd), Err(MessageError::Senseless(_))), "{odd:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_changed_on_the_way_is_refused_or_read_and_never_panics(
            (at, byte, length) in (any::<prop::sample::Index>(), any::<u8>(), any::<prop::sample::Index>())
        ) {
            let mut bytes = parts(facts()).concat();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(length.index(bytes.len()) + 1);
            let _ = read_part(&bytes);
        }
    }
}
