//! Resources as bytes: on their way between the agent's processes, and as long as they are only kept to tell whether
//! anything has changed. The same resource always makes the same bytes, and they take half the memory.

use std::borrow::Cow;

use muster_model::{Attribute, Attributes, Health, Resource, ResourceKey, ResourceKind};
use muster_proto::packing;
use serde::{Deserialize, Serialize};

/// Longer ones are compressed: those with the whole document of a drive in them.
const PLAIN_BYTES_MAX: usize = 4 * 1024;

/// A resource that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packed {
    bytes: Box<[u8]>,
    /// How long it was before it was compressed, if it was.
    plain_bytes: Option<usize>,
}

/// The bytes of a resource, to be read.
#[derive(Debug)]
pub(crate) struct Unpacked<'a>(Cow<'a, [u8]>);

impl Packed {
    /// What was packed.
    ///
    /// # Panics
    /// Where there is no memory for it.
    pub(crate) fn unpack(&self) -> Unpacked<'_> {
        Unpacked(match self.plain_bytes {
            None => Cow::Borrowed(&self.bytes),
            Some(bytes) => packing::decompress(&self.bytes, bytes)
                .expect("memory for what was compressed here")
                .into(),
        })
    }

    /// The resource again.
    pub(crate) fn resource(&self) -> Resource {
        self.unpack().read().into()
    }
}

impl Unpacked<'_> {
    /// The resource, without a copy.
    pub(crate) fn read(&self) -> WireResource<'_> {
        postcard::from_bytes(&self.0).expect("bytes that were made of a resource")
    }
}

impl From<&Resource> for Packed {
    fn from(resource: &Resource) -> Self {
        let plain = postcard::to_stdvec(&WireResource::from(resource));
        let plain = plain.expect("a resource is only texts and numbers");
        let compressed = (PLAIN_BYTES_MAX < plain.len()).then(|| packing::compress(&plain, 1));
        match compressed {
            Some(Ok(compressed)) => Self {
                bytes: compressed.into(),
                plain_bytes: Some(plain.len()),
            },
            // Plain is as good where there is no memory to compress.
            _ => Self {
                bytes: plain.into(),
                plain_bytes: None,
            },
        }
    }
}

/// A resource as it is written down.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireResource<'a> {
    pub(crate) kind: ResourceKind,
    key: &'a str,
    pub(crate) name: &'a str,
    pub(crate) health: Option<Health>,
    #[serde(borrow)]
    pub(crate) health_reasons: Vec<&'a str>,
    #[serde(borrow)]
    attributes: Vec<(&'a str, WireAttribute<'a>)>,
}

#[derive(Debug, Serialize, Deserialize)]
enum WireAttribute<'a> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    #[serde(borrow)]
    List(Vec<&'a str>),
}

impl<'a> From<&'a Resource> for WireResource<'a> {
    fn from(resource: &'a Resource) -> Self {
        let attributes = resource.attributes.iter();
        Self {
            kind: resource.kind,
            key: resource.key.as_str(),
            name: &resource.name,
            health: resource.health,
            health_reasons: resource.health_reasons.iter().map(String::as_str).collect(),
            attributes: attributes
                .map(|(name, value)| (name.as_str(), WireAttribute::from(value)))
                .collect(),
        }
    }
}

impl<'a> From<&'a Attribute> for WireAttribute<'a> {
    fn from(value: &'a Attribute) -> Self {
        match value {
            Attribute::Bool(value) => Self::Bool(*value),
            Attribute::Int(value) => Self::Int(*value),
            Attribute::Float(value) => Self::Float(*value),
            Attribute::Text(value) => Self::Text(value),
            Attribute::List(values) => Self::List(values.iter().map(String::as_str).collect()),
        }
    }
}

impl From<WireResource<'_>> for Resource {
    fn from(wire: WireResource<'_>) -> Self {
        let attributes: Attributes = wire
            .attributes
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Attribute::from(value)))
            .collect();
        Self {
            kind: wire.kind,
            key: ResourceKey::new(wire.key),
            name: wire.name.to_owned(),
            health: wire.health,
            health_reasons: owned(wire.health_reasons),
            attributes,
        }
    }
}

impl From<WireAttribute<'_>> for Attribute {
    fn from(wire: WireAttribute<'_>) -> Self {
        match wire {
            WireAttribute::Bool(value) => Self::Bool(value),
            WireAttribute::Int(value) => Self::Int(value),
            WireAttribute::Float(value) => Self::Float(value),
            WireAttribute::Text(value) => Self::Text(value.to_owned()),
            WireAttribute::List(values) => Self::List(owned(values)),
        }
    }
}

fn owned(texts: Vec<&str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_resource_is_the_same_again_and_another_when_anything_of_it_is() {
        let mut disk = Resource::new(ResourceKind::Device, ResourceKey::new("device:wwn:0x1"), "sda");
        disk.health = Some(Health::Warning);
        disk.health_reasons = vec!["worn".to_owned()];
        disk.set("bytes", Some(u64::MAX))
            .set("share", Some(0.5))
            .set("is_rotational", Some(true))
            .set("model", Some("X"))
            .set("paths", Some(vec!["a".to_owned()]));
        for document in [None, Some("0123456789".repeat(1_000))] {
            disk.set("document", document);
            let packed = Packed::from(&disk);
            assert!(packed.bytes.len() < 1_000);
            assert_eq!(packed.resource(), disk);
            assert_eq!(packed, Packed::from(&disk.clone()));
            let mut other = disk.clone();
            other.set("share", Some(0.25));
            assert_ne!(packed, Packed::from(&other));
        }
    }
}
