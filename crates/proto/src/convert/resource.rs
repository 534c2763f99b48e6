//! Resources, links and inventories.

use muster_model::{
    Attribute, Attributes, Health, Inventory, Link, LinkType, Problem, Resource, ResourceKey, ResourceKind,
    limits,
};

use super::{ConvertError, bounded, short};
use crate::v1::{self, attribute::Value};

/// The collector name under which the conversion itself reports what it had to leave out.
const CONVERT: &str = "wire";

/// Shows a resource.
#[must_use]
pub fn resource_to_wire(resource: Resource) -> v1::Resource {
    v1::Resource {
        kind: kind_to_wire(resource.kind).into(),
        key: resource.key.as_str().to_owned(),
        name: resource.name,
        health: resource
            .health
            .map_or(v1::Health::Unspecified, health_to_wire)
            .into(),
        health_reasons: resource.health_reasons,
        attributes: resource.attributes.into_iter().map(attribute_to_wire).collect(),
    }
}

/// Reads a resource. `None` if its kind is one of a newer peer; that is noted in `problems`.
pub(super) fn resource_from_wire(
    wire: v1::Resource,
    problems: &mut Vec<Problem>,
) -> Result<Option<Resource>, ConvertError> {
    let key = key_from_wire(wire.key)?;
    let Some(kind) = v1::ResourceKind::try_from(wire.kind)
        .ok()
        .and_then(kind_from_wire)
    else {
        problems.push(left_out(format!(
            "resource {key} has the unknown kind {}",
            wire.kind
        )));
        return Ok(None);
    };
    bounded(
        "attributes of a resource",
        wire.attributes.len(),
        limits::ATTRIBUTES_PER_RESOURCE_MAX,
    )?;
    bounded(
        "health reasons of a resource",
        wire.health_reasons.len(),
        limits::ATTRIBUTES_PER_RESOURCE_MAX,
    )?;
    let mut attributes = Attributes::new();
    for attribute in wire.attributes {
        let name = short("attribute name", attribute.name, limits::NAME_BYTES_MAX)?;
        match attribute.value {
            Some(value) => {
                attributes.insert(name, attribute_from_wire(value)?);
            }
            None => problems.push(left_out(format!("attribute {name} of {key} has an unknown type"))),
        }
    }
    let health = match v1::Health::try_from(wire.health) {
        Ok(v1::Health::Unspecified) => None,
        Ok(known) => Some(health_from_wire(known)),
        // A health that we do not understand must not look good.
        Err(_) => Some(Health::Unknown),
    };
    Ok(Some(Resource {
        kind,
        key,
        name: short("resource name", wire.name, limits::RESOURCE_KEY_BYTES_MAX)?,
        health,
        health_reasons: wire
            .health_reasons
            .into_iter()
            .map(|reason| short("health reason", reason, limits::PROBLEM_BYTES_MAX))
            .collect::<Result<_, _>>()?,
        attributes,
    }))
}

pub(super) fn inventory_to_wire(inventory: Inventory) -> v1::Inventory {
    v1::Inventory {
        collector: inventory.collector,
        observed_ms: inventory.observed_ms,
        keys: inventory.keys.iter().map(|key| key.as_str().to_owned()).collect(),
        links: inventory
            .links
            .iter()
            .map(|link| v1::Link {
                from: link.from.as_str().to_owned(),
                to: link.to.as_str().to_owned(),
                r#type: match link.link_type {
                    LinkType::RestsOn => v1::LinkType::RestsOn.into(),
                },
            })
            .collect(),
    }
}

pub(super) fn inventory_from_wire(
    wire: v1::Inventory,
    problems: &mut Vec<Problem>,
) -> Result<Inventory, ConvertError> {
    bounded(
        "resources of a collector",
        wire.keys.len(),
        limits::RESOURCES_PER_COLLECTOR_MAX,
    )?;
    bounded(
        "links of a collector",
        wire.links.len(),
        limits::LINKS_PER_COLLECTOR_MAX,
    )?;
    let mut links = Vec::with_capacity(wire.links.len());
    for link in wire.links {
        match link.r#type() {
            v1::LinkType::RestsOn => links.push(Link {
                from: key_from_wire(link.from)?,
                to: key_from_wire(link.to)?,
                link_type: LinkType::RestsOn,
            }),
            v1::LinkType::Unspecified => {
                problems.push(left_out(format!(
                    "link from {} has the unknown type {}",
                    link.from, link.r#type
                )));
            }
        }
    }
    Ok(Inventory {
        collector: short("collector name", wire.collector, limits::NAME_BYTES_MAX)?,
        observed_ms: wire.observed_ms,
        keys: wire
            .keys
            .into_iter()
            .map(key_from_wire)
            .collect::<Result<_, _>>()?,
        links,
    })
}

fn left_out(message: String) -> Problem {
    Problem {
        collector: CONVERT.to_owned(),
        message,
        line: None,
    }
}

pub(super) fn key_from_wire(key: String) -> Result<ResourceKey, ConvertError> {
    if key.is_empty() {
        return Err(ConvertError::Missing("resource key"));
    }
    Ok(ResourceKey::new(short(
        "resource key",
        key,
        limits::RESOURCE_KEY_BYTES_MAX,
    )?))
}

fn attribute_to_wire((name, value): (String, Attribute)) -> v1::Attribute {
    let value = match value {
        Attribute::Bool(flag) => Value::Flag(flag),
        Attribute::Int(integer) => Value::Integer(integer),
        Attribute::Float(number) => Value::Number(number),
        Attribute::Text(text) => Value::Text(text),
        Attribute::List(items) => Value::List(v1::TextList { items }),
    };
    v1::Attribute {
        name,
        value: Some(value),
    }
}

fn attribute_from_wire(value: Value) -> Result<Attribute, ConvertError> {
    Ok(match value {
        Value::Flag(flag) => Attribute::Bool(flag),
        Value::Integer(integer) => Attribute::Int(integer),
        Value::Number(number) => Attribute::Float(number),
        Value::Text(text) => Attribute::Text(short("attribute", text, limits::ATTRIBUTE_BYTES_MAX)?),
        Value::List(list) => Attribute::List(
            list.items
                .into_iter()
                .map(|item| short("attribute", item, limits::ATTRIBUTE_BYTES_MAX))
                .collect::<Result<_, _>>()?,
        ),
    })
}

/// The kind of a resource.
#[must_use]
pub fn kind_to_wire(kind: ResourceKind) -> v1::ResourceKind {
    match kind {
        ResourceKind::Server => v1::ResourceKind::Server,
        ResourceKind::Device => v1::ResourceKind::Device,
        ResourceKind::Partition => v1::ResourceKind::Partition,
        ResourceKind::Mapping => v1::ResourceKind::Mapping,
        ResourceKind::Pool => v1::ResourceKind::Pool,
        ResourceKind::Volume => v1::ResourceKind::Volume,
        ResourceKind::Filesystem => v1::ResourceKind::Filesystem,
        ResourceKind::Swap => v1::ResourceKind::Swap,
        ResourceKind::Runtime => v1::ResourceKind::Runtime,
        ResourceKind::Container => v1::ResourceKind::Container,
        ResourceKind::Image => v1::ResourceKind::Image,
        ResourceKind::Database => v1::ResourceKind::Database,
    }
}

/// Reads a kind; `None` for one of a newer peer, and for none.
#[must_use]
pub fn kind_from_wire(kind: v1::ResourceKind) -> Option<ResourceKind> {
    Some(match kind {
        v1::ResourceKind::Unspecified => return None,
        v1::ResourceKind::Server => ResourceKind::Server,
        v1::ResourceKind::Device => ResourceKind::Device,
        v1::ResourceKind::Partition => ResourceKind::Partition,
        v1::ResourceKind::Mapping => ResourceKind::Mapping,
        v1::ResourceKind::Pool => ResourceKind::Pool,
        v1::ResourceKind::Volume => ResourceKind::Volume,
        v1::ResourceKind::Filesystem => ResourceKind::Filesystem,
        v1::ResourceKind::Swap => ResourceKind::Swap,
        v1::ResourceKind::Runtime => ResourceKind::Runtime,
        v1::ResourceKind::Container => ResourceKind::Container,
        v1::ResourceKind::Image => ResourceKind::Image,
        v1::ResourceKind::Database => ResourceKind::Database,
    })
}

/// The health of a resource.
#[must_use]
pub fn health_to_wire(health: Health) -> v1::Health {
    match health {
        Health::Healthy => v1::Health::Healthy,
        Health::Unknown => v1::Health::Unknown,
        Health::Warning => v1::Health::Warning,
        Health::Critical => v1::Health::Critical,
        Health::Failed => v1::Health::Failed,
    }
}

/// The health of a resource; a value that is not known here counts as unknown.
#[must_use]
pub fn health_from_wire(health: v1::Health) -> Health {
    match health {
        v1::Health::Healthy => Health::Healthy,
        v1::Health::Unspecified | v1::Health::Unknown => Health::Unknown,
        v1::Health::Warning => Health::Warning,
        v1::Health::Critical => Health::Critical,
        v1::Health::Failed => Health::Failed,
    }
}
