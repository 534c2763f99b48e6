//! Which resource a block device is: keys that survive renaming, and what to do when two devices claim one.
//!
//! A worldwide name is best, then model and serial number, then the place on the bus, which is marked weak. Two
//! devices with one key are one drive with two paths only if dm-multipath says so, or if worldwide name, model and
//! size agree and no serial number speaks against it. Otherwise their ids are worth nothing: both are known by their
//! place, and a problem says so. Pure.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::ResourceKey;

use super::node::Node;
use crate::collect::draft::bounded_key;

/// The resource that a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its lasting name.
    pub key: ResourceKey,
    /// Whether the key is only a place, which another drive may take.
    pub is_weak: bool,
}

/// Identities by kernel name, and what is odd about them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Identities {
    pub(super) by_name: BTreeMap<String, Identity>,
    pub(super) problems: Vec<String>,
}

/// Decides for all devices that are listed; `nodes` holds the layers above them too.
pub(super) fn assign(nodes: &[Node]) -> Identities {
    let mut groups: BTreeMap<String, Vec<&Node>> = BTreeMap::new();
    let mut found = Identities::default();
    let mut by_place = Vec::new();
    for node in nodes.iter().filter(|node| node.is_listed()) {
        match strong_key(node) {
            Some(key) => groups.entry(key).or_default().push(node),
            None => by_place.push(node),
        }
    }
    for (key, group) in groups {
        if group.len() == 1 || is_one_drive(&group, nodes) {
            let identity = Identity {
                key: bounded_key(key),
                is_weak: false,
            };
            found
                .by_name
                .extend(group.iter().map(|node| (node.name.clone(), identity.clone())));
        } else {
            let names: Vec<_> = group.iter().map(|node| node.name.as_str()).collect();
            let names = names.join(", ");
            found.problems.push(format!(
                "{names} all say they are {key}: each is known by its place instead"
            ));
            by_place.extend(group);
        }
    }
    let mut places = BTreeSet::new();
    for node in by_place {
        let place = node
            .udev
            .get("ID_PATH")
            .map(str::to_owned)
            .or_else(|| node.bus_path.clone());
        // Without any place, and where two share one, only the kernel name is left.
        let place = place
            .filter(|place| places.insert(place.clone()))
            .unwrap_or_else(|| format!("name/{}", node.name));
        let identity = Identity {
            key: bounded_key(format!("device:path:{place}")),
            is_weak: true,
        };
        found.by_name.insert(node.name.clone(), identity);
    }
    found
}

fn strong_key(node: &Node) -> Option<String> {
    if let Some((kind, digits)) = node.names.best() {
        return Some(worldwide_key(kind, digits));
    }
    let serial = node.serial.as_deref()?;
    // A hypervisor's disk has no model; its driver stands in.
    let model = node.kernel_model.as_deref().unwrap_or(node.class.as_str());
    Some(serial_key(model, serial, node.part.as_deref()))
}

/// The key of a drive with a worldwide name of this kind.
#[must_use]
pub fn worldwide_key(kind: &str, digits: &str) -> String {
    match kind {
        "wwn" => format!("device:wwn:0x{digits}"),
        _ => format!("device:{kind}:{digits}"),
    }
}

/// The key of a drive with a serial number.
#[must_use]
pub fn serial_key(model: &str, serial: &str, part: Option<&str>) -> String {
    let word = |text: &str| text.split_whitespace().collect::<Vec<_>>().join("_");
    let part = part.map(|part| format!(":{part}")).unwrap_or_default();
    format!("device:serial:{}:{}{part}", word(model), word(serial))
}

fn is_one_drive(group: &[&Node], nodes: &[Node]) -> bool {
    let is_multipath = |node: &&Node| {
        node.dm_uuid
            .as_deref()
            .is_some_and(|uuid| uuid.starts_with("mpath-"))
    };
    let is_below = |top: &Node| group.iter().all(|node| top.slaves.contains(&node.name));
    if nodes.iter().filter(is_multipath).any(is_below) {
        return true;
    }
    let Some((first, rest)) = group.split_first() else {
        return false;
    };
    let agrees = |other: &&Node| {
        let serials_differ = matches!((&first.serial, &other.serial), (Some(one), Some(two)) if one != two);
        first.kernel_model == other.kernel_model && first.size_bytes == other.size_bytes && !serials_differ
    };
    first.names.best().is_some() && rest.iter().all(agrees)
}
