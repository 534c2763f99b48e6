//! The layers above disks as resources: mappings, logical volumes as their devices show them, and their partitions.
//!
//! Arrays are the mdadm collector's. Volumes here have only names and links, which need no right and no tool; LVM's
//! own collector adds the rest under the same keys.

use muster_model::{Attribute, Health, Resource, ResourceKey, ResourceKind};

use super::inventory::Inventory;
use super::layer::{Layer, LogicalVolume};
use super::node::Node;
use super::{ids, partition_resource};
use crate::collect::draft::Draft;

/// Puts every layer and the partitions of layers into the draft.
pub(super) fn describe(draft: &mut Draft, inventory: &Inventory) {
    for node in inventory.nodes.iter().filter(|node| node.layer.is_some()) {
        let (Some(layer), Some(key)) = (&node.layer, inventory.key_of(&node.name)) else {
            continue;
        };
        let resource = match layer {
            Layer::Md { .. } => None,
            Layer::Lvm(volume) => is_whole(volume).then(|| logical_volume(node, volume, key)),
            Layer::Partition { number } => Some(partition_of_layer(node, *number, key, inventory)),
            _ => Some(mapping(node, layer, key, inventory)),
        };
        if let Some(resource) = resource
            && draft.resource(resource)
        {
            for below in inventory.below(&node.name) {
                draft.rests_on(key, below);
            }
        }
        for partition in &node.partitions {
            let Some(partition_key) = inventory.key_of(&partition.name) else {
                continue;
            };
            if draft.resource(partition_resource(partition, partition_key, node)) {
                draft.rests_on(partition_key, key);
            }
        }
    }
}

/// Whether the device is the volume itself and no part of one.
fn is_whole(volume: &LogicalVolume) -> bool {
    volume.layer.is_none() && !volume.is_internal
}

fn logical_volume(node: &Node, volume: &LogicalVolume, key: &ResourceKey) -> Resource {
    let mut resource = Resource::new(ResourceKind::Volume, key.clone(), volume.full_name());
    resource
        // What type of volume it is, only LVM's own collector knows.
        .set("volume_manager", Some("lvm"))
        .set("vg_name", Some(volume.vg_name.clone()))
        .set("lv_name", Some(volume.lv_name.clone()))
        .set("vg_uuid", volume.vg_uuid.clone())
        .set("lv_uuid", volume.lv_uuid.clone());
    set_common(&mut resource, node);
    resource
}

fn partition_of_layer(node: &Node, number: u64, key: &ResourceKey, inventory: &Inventory) -> Resource {
    let name = node.dm_name.clone().unwrap_or_else(|| node.shown_name());
    let mut resource = Resource::new(ResourceKind::Partition, key.clone(), name);
    let disk = node.slaves.first().and_then(|name| inventory.node(name));
    resource
        .set(
            "disk_name",
            disk.map(|disk| disk.dm_name.clone().unwrap_or_else(|| disk.shown_name())),
        )
        .set("partition_number", Some(number));
    set_common(&mut resource, node);
    resource
}

fn mapping(node: &Node, layer: &Layer, key: &ResourceKey, inventory: &Inventory) -> Resource {
    let name = node.dm_name.clone().unwrap_or_else(|| node.shown_name());
    let mut resource = Resource::new(ResourceKind::Mapping, key.clone(), name);
    let mapping_type = match layer {
        Layer::Crypt { .. } => "crypt",
        Layer::Multipath { .. } => "multipath",
        Layer::Bcache { .. } => "bcache",
        Layer::DeviceMapper => "dm",
        _ => "other",
    };
    resource.set("mapping_type", Some(mapping_type));
    match layer {
        Layer::Crypt { uuid, format } => {
            let format = Some(format.clone()).filter(|format| !format.is_empty());
            resource.set("crypt_type", format).set("luks_uuid", uuid.clone());
        }
        Layer::Multipath { wwid } => {
            resource
                .set("wwid", wwid.clone())
                .set("path_count", u64::try_from(node.slaves.len()).ok())
                .set("paths", Some(Attribute::List(node.slaves.clone())));
        }
        _ => {}
    }
    set_common(&mut resource, node);
    let (health, reason) = judge(node, layer, inventory);
    resource.health = Some(health);
    resource.health_reasons.extend(reason);
    resource
}

fn set_common(resource: &mut Resource, node: &Node) {
    let path = match &node.dm_name {
        Some(name) => format!("/dev/mapper/{name}"),
        None => format!("/dev/{}", node.shown_name()),
    };
    let udev = |name: &str| node.udev.get(name).map(str::to_owned);
    resource
        .set("device_path", Some(path))
        .set("device_name", Some(node.shown_name()))
        .set("size_bytes", node.size_bytes)
        .set("read_only", node.is_read_only)
        .set("suspended", node.is_suspended)
        .set("fs_type", udev("ID_FS_TYPE"))
        .set("fs_uuid", udev("ID_FS_UUID"))
        .set(
            "fs_label",
            udev("ID_FS_LABEL_ENC").map(|label| ids::decode_udev(&label)),
        );
}

/// How well a mapping is. What the kernel shows without rights is little: a mapping is as good as what it lies on, and
/// only what says so is healthy.
fn judge(node: &Node, layer: &Layer, inventory: &Inventory) -> (Health, Option<String>) {
    if node.is_suspended == Some(true) {
        let text = "suspended: all I/O waits; see dmsetup info";
        return (Health::Warning, Some(text.to_owned()));
    }
    match layer {
        Layer::Multipath { .. } => judge_paths(node, inventory),
        Layer::Crypt { .. } | Layer::Bcache { .. } if node.slaves.is_empty() => {
            let text = "what it lies on is gone: look for a disk that was pulled out or failed";
            (Health::Failed, Some(text.to_owned()))
        }
        Layer::Crypt { .. } if node.is_suspended == Some(false) => (Health::Healthy, None),
        _ => (
            Health::Unknown,
            Some("the kernel shows no state of such a device".to_owned()),
        ),
    }
}

/// Paths as the SCSI layer sees them; what multipathd thinks of them is nowhere in sysfs.
fn judge_paths(node: &Node, inventory: &Inventory) -> (Health, Option<String>) {
    let states = node.slaves.iter().map(|name| {
        let path = inventory.node(name);
        path.and_then(|path| path.state.as_deref()).unwrap_or("unknown")
    });
    let is_up = |state: &str| matches!(state, "running" | "live");
    let bad: Vec<String> = states
        .zip(&node.slaves)
        .filter(|(state, _)| !is_up(state))
        .map(|(state, name)| format!("{name} {state}"))
        .collect();
    let total = node.slaves.len();
    let up = total - bad.len();
    match (total, up) {
        (0, _) => (
            Health::Failed,
            Some("no path is left: see multipath -ll".to_owned()),
        ),
        (_, 0) if bad.iter().all(|path| path.ends_with(" unknown")) => (
            Health::Unknown,
            Some("the state of its paths is not known".to_owned()),
        ),
        (_, 0) => (
            Health::Critical,
            Some(format!("no path works: {}", bad.join(", "))),
        ),
        _ if !bad.is_empty() => {
            let text = format!(
                "{up} of {total} paths work; see multipath -ll: {}",
                bad.join(", ")
            );
            (Health::Warning, Some(text))
        }
        (1, _) => (
            Health::Warning,
            Some("only one path: nothing takes over if it fails".to_owned()),
        ),
        _ => (
            Health::Unknown,
            Some(format!(
                "{total} paths run as SCSI sees them; multipathd alone knows whether it uses them"
            )),
        ),
    }
}
