//! Resources: the things a server has, and what rests on what.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Health;

/// What a resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceKind {
    /// The machine itself.
    Server,
    /// A disk, or whatever the kernel treats as one.
    Device,
    /// A partition of a device.
    Partition,
    /// A device-mapper layer without a life of its own: crypt, multipath.
    Mapping,
    /// An array or pool: mdadm, ZFS, LVM volume group, BTRFS.
    Pool,
    /// A logical volume, thin pool, dataset, zvol or container volume.
    Volume,
    /// A mounted filesystem.
    Filesystem,
    /// A swap area.
    Swap,
    /// A container engine.
    Runtime,
    /// A container.
    Container,
    /// A container image.
    Image,
    /// A database instance.
    Database,
}

/// A word that names no kind of resource.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown resource kind {word:?}")]
pub struct UnknownKind {
    /// The word.
    pub word: String,
}

impl ResourceKind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::Server,
        Self::Device,
        Self::Partition,
        Self::Mapping,
        Self::Pool,
        Self::Volume,
        Self::Filesystem,
        Self::Swap,
        Self::Runtime,
        Self::Container,
        Self::Image,
        Self::Database,
    ];

    /// The lower-case word used in JSON and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Device => "device",
            Self::Partition => "partition",
            Self::Mapping => "mapping",
            Self::Pool => "pool",
            Self::Volume => "volume",
            Self::Filesystem => "filesystem",
            Self::Swap => "swap",
            Self::Runtime => "runtime",
            Self::Container => "container",
            Self::Image => "image",
            Self::Database => "database",
        }
    }
}

impl std::str::FromStr for ResourceKind {
    type Err = UnknownKind;

    fn from_str(word: &str) -> Result<Self, UnknownKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(|| UnknownKind {
                word: word.to_owned(),
            })
    }
}

/// The name under which a server's resource is known for ever, such as `device:wwn:0x5000c500a1b2c3d4`.
///
/// Unique within a server, and chosen so that it survives renaming (sda becoming sdb).
/// Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResourceKey(Arc<str>);

/// Of the server itself.
const SERVER: &str = "server";

impl ResourceKey {
    /// Wraps a key; whoever makes one is responsible for its durability.
    #[must_use]
    pub fn new(key: impl Into<Arc<str>>) -> Self {
        Self(key.into())
    }

    /// The key of the server itself.
    #[must_use]
    pub fn server() -> Self {
        Self(SERVER.into())
    }

    /// Whether it is the key of the server itself.
    #[must_use]
    pub fn is_server(&self) -> bool {
        &*self.0 == SERVER
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One value of a resource's attributes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Attribute {
    /// Yes or no.
    Bool(bool),
    /// A whole number; the unit is the last part of the attribute's name.
    Int(i64),
    /// Any number.
    Float(f64),
    /// Text.
    Text(String),
    /// Several texts, such as the mount options.
    List(Vec<String>),
}

impl From<bool> for Attribute {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}
impl From<i64> for Attribute {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}
impl From<u32> for Attribute {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}
impl From<u64> for Attribute {
    /// Numbers beyond `i64::MAX` (9 EB, were it bytes) are held at that bound.
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}
impl From<f64> for Attribute {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}
impl From<String> for Attribute {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}
impl From<&str> for Attribute {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}
impl From<Vec<String>> for Attribute {
    fn from(value: Vec<String>) -> Self {
        Self::List(value)
    }
}

/// Attributes by name; names are those of the HTTP API (`serial_number`, `size_bytes`, …).
pub type Attributes = BTreeMap<String, Attribute>;

/// What one collector, or several merged, say of a resource.
///
/// Several collectors may describe the same resource (the block inventory and SMART both speak of a disk):
/// [`Resource::merge`] makes one of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// What it is.
    pub kind: ResourceKind,
    /// Its lasting name within the server.
    pub key: ResourceKey,
    /// What people call it now, such as `sda` or `/home`.
    pub name: String,
    /// How well it is; `None` when this collector does not judge it.
    pub health: Option<Health>,
    /// What the health rests on, in words a person can act on.
    pub health_reasons: Vec<String>,
    /// Everything else that is known.
    #[serde(flatten)]
    pub attributes: Attributes,
}

impl Resource {
    /// A resource about which nothing is known yet.
    #[must_use]
    pub fn new(kind: ResourceKind, key: ResourceKey, name: impl Into<String>) -> Self {
        Self {
            kind,
            key,
            name: name.into(),
            health: None,
            health_reasons: Vec::new(),
            attributes: Attributes::new(),
        }
    }

    /// Sets an attribute; `None` leaves it absent, so that "not known" is never a zero.
    pub fn set<V: Into<Attribute>>(&mut self, name: &str, value: Option<V>) -> &mut Self {
        if let Some(value) = value {
            self.attributes.insert(name.to_owned(), value.into());
        }
        self
    }

    /// Takes over what `other` says of the same resource: its attributes win, the worse health stays, and
    /// reasons are gathered without repeats.
    pub fn merge(&mut self, other: Self) {
        self.attributes.extend(other.attributes);
        self.health = self.health.max(other.health);
        for reason in other.health_reasons {
            if !self.health_reasons.contains(&reason) {
                self.health_reasons.push(reason);
            }
        }
    }

    /// The health that is shown: what nobody judged is unknown.
    #[must_use]
    pub fn shown_health(&self) -> Health {
        self.health.unwrap_or(Health::Unknown)
    }
}

/// How two resources are related.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkType {
    /// `from` is lost or harmed when `to` is.
    RestsOn,
}

/// A directed edge between two resources of a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Link {
    /// The upper one, such as a filesystem.
    pub from: ResourceKey,
    /// The lower one, such as a disk.
    pub to: ResourceKey,
    /// How they are related.
    #[serde(rename = "type")]
    pub link_type: LinkType,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> Resource {
        Resource::new(ResourceKind::Device, ResourceKey::new("device:wwn:1"), "sda")
    }

    #[test]
    fn the_worse_opinion_stays_and_unknown_is_worse_than_healthy() {
        let mut merged = disk();
        merged.health = Some(Health::Healthy);
        let mut other = disk();
        other.health = Some(Health::Unknown);
        merged.merge(other);
        assert_eq!(merged.shown_health(), Health::Unknown);
    }

    #[test]
    fn a_resource_nobody_judged_is_unknown() {
        assert_eq!(disk().shown_health(), Health::Unknown);
    }

    #[test]
    fn merging_keeps_both_sets_of_attributes() {
        let mut merged = disk();
        merged.set("size_bytes", Some(10_u64));
        let mut other = disk();
        other
            .set("temperature_celsius", Some(31_i64))
            .set::<i64>("power_on_hours", None);
        merged.merge(other);
        assert_eq!(merged.attributes.len(), 2);
    }
}
