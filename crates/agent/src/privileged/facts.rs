//! Facts as they cross the socket: every number to the bit, and checked again where they arrive.

use muster_catalogue::{FAMILIES, LISTS};
use muster_model::{
    Attribute, Attributes, Facts, Health, Labels, Link, MetricType, Problem, Resource, ResourceKey,
    ResourceKind, Sample,
};
use serde::{Deserialize, Serialize};

use super::message::MessageError;

/// [`Facts`] without anything that JSON would change.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireFacts {
    resources: Vec<WireResource>,
    links: Vec<Link>,
    samples: Vec<WireSample>,
    problems: Vec<Problem>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireResource {
    kind: ResourceKind,
    key: ResourceKey,
    name: String,
    health: Option<Health>,
    health_reasons: Vec<String>,
    attributes: Vec<(String, WireAttribute)>,
}

#[derive(Debug, Serialize, Deserialize)]
enum WireAttribute {
    Bool(bool),
    Int(i64),
    /// The bits: JSON knows neither infinities nor the last digit.
    Float(u64),
    Text(String),
    List(Vec<String>),
}

#[derive(Debug, Serialize, Deserialize)]
struct WireSample {
    name: String,
    labels: Vec<(String, String)>,
    /// The bits of the value.
    bits: u64,
    time_ms: Option<i64>,
    resource: Option<ResourceKey>,
    metric_type: MetricType,
    unit: String,
}

impl From<Facts> for WireFacts {
    fn from(facts: Facts) -> Self {
        Self {
            resources: facts.resources.into_iter().map(WireResource::from).collect(),
            links: facts.links,
            samples: facts.samples.into_iter().map(WireSample::from).collect(),
            problems: facts.problems,
        }
    }
}

impl TryFrom<WireFacts> for Facts {
    type Error = MessageError;

    fn try_from(wire: WireFacts) -> Result<Self, MessageError> {
        let mut units = Units::default();
        let samples: Result<Vec<_>, _> = wire
            .samples
            .into_iter()
            .map(|sample| sample.checked(&mut units))
            .collect();
        Ok(Self {
            resources: wire.resources.into_iter().map(Resource::from).collect(),
            links: wire.links,
            samples: samples?,
            problems: wire.problems,
        })
    }
}

impl From<Resource> for WireResource {
    fn from(resource: Resource) -> Self {
        Self {
            kind: resource.kind,
            key: resource.key,
            name: resource.name,
            health: resource.health,
            health_reasons: resource.health_reasons,
            attributes: resource
                .attributes
                .into_iter()
                .map(|(name, value)| (name, WireAttribute::from(value)))
                .collect(),
        }
    }
}

impl From<WireResource> for Resource {
    fn from(wire: WireResource) -> Self {
        let attributes: Attributes = wire
            .attributes
            .into_iter()
            .map(|(name, value)| (name, Attribute::from(value)))
            .collect();
        Self {
            kind: wire.kind,
            key: wire.key,
            name: wire.name,
            health: wire.health,
            health_reasons: wire.health_reasons,
            attributes,
        }
    }
}

impl From<Attribute> for WireAttribute {
    fn from(value: Attribute) -> Self {
        match value {
            Attribute::Bool(value) => Self::Bool(value),
            Attribute::Int(value) => Self::Int(value),
            Attribute::Float(value) => Self::Float(value.to_bits()),
            Attribute::Text(value) => Self::Text(value),
            Attribute::List(value) => Self::List(value),
        }
    }
}

impl From<WireAttribute> for Attribute {
    fn from(wire: WireAttribute) -> Self {
        match wire {
            WireAttribute::Bool(value) => Self::Bool(value),
            WireAttribute::Int(value) => Self::Int(value),
            WireAttribute::Float(bits) => Self::Float(f64::from_bits(bits)),
            WireAttribute::Text(value) => Self::Text(value),
            WireAttribute::List(value) => Self::List(value),
        }
    }
}

impl From<Sample> for WireSample {
    fn from(sample: Sample) -> Self {
        let labels = sample.labels.iter();
        Self {
            labels: labels
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            name: sample.name.into_owned(),
            bits: sample.value.to_bits(),
            time_ms: sample.time_ms,
            resource: sample.resource,
            metric_type: sample.metric_type,
            unit: sample.unit.to_owned(),
        }
    }
}

impl WireSample {
    fn checked(self, units: &mut Units) -> Result<Sample, MessageError> {
        let senseless = |what: String| MessageError::Senseless(format!("{:.60}: {what}", self.name));
        let labels = Labels::new(self.labels).map_err(|error| senseless(error.to_string()))?;
        let unit = units
            .find(&self.unit)
            .ok_or_else(|| senseless(format!("unknown unit {:.60?}", self.unit)))?;
        Ok(Sample {
            labels,
            unit,
            value: f64::from_bits(self.bits),
            time_ms: self.time_ms,
            resource: self.resource,
            metric_type: self.metric_type,
            name: self.name.into(),
        })
    }
}

/// The catalogue's own words for units that were met: a dozen, where the catalogue has many hundreds of metrics to be
/// looked through for each sample.
#[derive(Default)]
struct Units(Vec<&'static str>);

impl Units {
    fn find(&mut self, word: &str) -> Option<&'static str> {
        if let Some(known) = self.0.iter().find(|known| **known == word) {
            return Some(known);
        }
        let of_metrics = LISTS.into_iter().flatten().map(|metric| metric.unit);
        let of_families = FAMILIES.iter().map(|family| family.unit);
        let found = std::iter::once("")
            .chain(of_metrics)
            .chain(of_families)
            .find(|unit| *unit == word)?;
        self.0.push(found);
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use muster_catalogue::{NODE_DISK_READ_BYTES_TOTAL, NODE_LOAD1};
    use muster_model::LinkType;

    use super::super::message::encode;
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

    fn crossed(facts: Facts) -> Facts {
        let bytes = encode(&WireFacts::from(facts)).unwrap();
        Facts::try_from(serde_json::from_slice::<WireFacts>(&bytes).unwrap()).unwrap()
    }

    #[test]
    fn facts_arrive_as_they_left() {
        assert_eq!(crossed(facts()), facts());
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
    fn every_unit_of_the_catalogue_is_known_and_no_other_however_often_it_comes() {
        let mut units = Units::default();
        for unit in LISTS.into_iter().flatten().map(|metric| metric.unit) {
            assert_eq!(units.find(unit), Some(unit));
        }
        assert!(units.0.len() < 40, "{:?}", units.0);
        assert_eq!((units.find("furlongs"), units.find("furlongs")), (None, None));
    }

    #[test]
    fn labels_and_units_are_checked_where_they_arrive() {
        let text = String::from_utf8(encode(&WireFacts::from(facts())).unwrap()).unwrap();
        for (from, to) in [
            (r#"["device","sda"]"#, r#"["device","sda"],["device","sdb"]"#),
            (r#"["device","sda"]"#, r#"["1device","sda"]"#),
            (r#""unit":"bytes""#, r#""unit":"furlongs""#),
        ] {
            let odd = text.replace(from, to);
            assert_ne!(odd, text, "{from}");
            let wire: WireFacts = serde_json::from_str(&odd).unwrap();
            assert!(Facts::try_from(wire).is_err(), "{to}");
        }
    }
}
