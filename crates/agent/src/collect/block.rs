//! The inventory of block devices: disks, their partitions and the layers above, known by keys that survive renaming.
//!
//! Disks are exactly what `lsblk --nodeps` lists. How well a drive is, SMART judges; only what can have no SMART data is
//! marked unknown here, with the reason.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_model::{Attribute, Health, Resource, ResourceKey, ResourceKind};

use super::draft::Draft;
use super::{CollectError, Collector, Descriptor, Outcome, Place};
use crate::host::Host;

pub mod identity;
mod ids;
mod inventory;
mod layer;
mod mapping;
mod node;
pub(crate) mod recorded;
mod resolve;

pub use ids::{Worldwide, is_placeholder_serial, tidy};
pub use inventory::{Inventory, Shared, partition_key};
pub use layer::{Layer, LogicalVolume, lvm_uuid, md_uuid};
pub use node::{Class, Node, Partition};
pub use resolve::{array_key, volume_key};

use identity::Identity;

/// The block device collector.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "block",
    summary: "disks, partitions and what is mapped onto them, known by lasting names",
    interval: Duration::from_secs(60),
    interval_min: Duration::from_secs(5),
    timeout: Duration::from_secs(30),
    place: Place::Net,
    build: |context| {
        Box::new(Block {
            shared: Arc::clone(&context.inventory),
        })
    },
};

struct Block {
    shared: Arc<Shared>,
}

#[async_trait]
impl Collector for Block {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        match self.shared.refresh(host).await? {
            None => Ok(Outcome::absent("/sys/block does not exist")),
            Some(inventory) => {
                let mut draft = Draft::new(DESCRIPTOR.name);
                describe(&mut draft, &inventory);
                Ok(Outcome::Facts(draft.finish()))
            }
        }
    }
}

/// Puts every device, partition and mapping into the draft.
pub(crate) fn describe(draft: &mut Draft, inventory: &Inventory) {
    for problem in &inventory.problems {
        draft.problem(problem.clone());
    }
    let mut drives: BTreeMap<&ResourceKey, (&Identity, Vec<&Node>)> = BTreeMap::new();
    for (node, identity) in inventory.devices() {
        drives
            .entry(&identity.key)
            .or_insert_with(|| (identity, Vec::new()))
            .1
            .push(node);
    }
    for (identity, paths) in drives.into_values() {
        let Some((node, others)) = paths.split_first() else {
            continue;
        };
        if !draft.resource(device(node, others, identity)) {
            continue;
        }
        for partition in &node.partitions {
            let key = partition_key(&identity.key, partition.number);
            if draft.resource(partition_resource(partition, &key, node)) {
                draft.rests_on(&key, &identity.key);
            }
        }
    }
    mapping::describe(draft, inventory);
}

fn device(node: &Node, other_paths: &[&Node], identity: &Identity) -> Resource {
    let name = node.shown_name();
    let mut device = Resource::new(ResourceKind::Device, identity.key.clone(), name.clone());
    device
        .set("device_path", Some(format!("/dev/{name}")))
        .set("device_name", Some(name))
        .set("device_class", Some(node.class.as_str()))
        .set("device_type", Some(device_type(node)))
        .set("transport", node.transport())
        .set("size_bytes", node.size_bytes)
        .set("sector_size", node.logical_sector_bytes)
        .set("physical_sector_size", node.physical_sector_bytes)
        .set("model", node.model.clone())
        .set("vendor", node.vendor.clone())
        .set("serial_number", node.serial.clone())
        .set("firmware_version", node.firmware.clone())
        .set(
            "wwn",
            node.names.best().map(|(kind, digits)| shown_wwn(kind, digits)),
        )
        .set("rotational", node.is_rotational)
        .set("removable", node.is_removable)
        .set("read_only", node.is_read_only)
        .set("backing_file", node.backing_file.clone())
        .set(
            "key_quality",
            Some(if identity.is_weak { "weak" } else { "strong" }),
        );
    if !other_paths.is_empty() {
        let paths = [node]
            .iter()
            .chain(other_paths)
            .map(|path| path.shown_name())
            .collect::<Vec<_>>();
        device.set("paths", Some(Attribute::List(paths)));
    }
    if !node.class.may_have_smart() {
        device.health = Some(Health::Unknown);
        device.health_reasons.push(format!(
            "no SMART data: a {} device has none",
            node.class.as_str()
        ));
    }
    device
}

/// `hdd`, `ssd`, `nvme`, or `unknown` where the kernel's word is not worth anything.
fn device_type(node: &Node) -> &'static str {
    match (node.class, node.is_rotational) {
        (Class::Nvme, _) => "nvme",
        (Class::Scsi | Class::Ide, Some(true)) => "hdd",
        (Class::Scsi | Class::Ide | Class::Mmc, Some(false)) => "ssd",
        // A hypervisor's disk is rotational unless someone said otherwise.
        _ => "unknown",
    }
}

fn shown_wwn(kind: &str, digits: &str) -> String {
    match kind {
        "wwn" => format!("0x{digits}"),
        "uuid" => format!("uuid.{digits}"),
        _ => format!("eui.{digits}"),
    }
}

fn partition_resource(partition: &Partition, key: &ResourceKey, disk: &Node) -> Resource {
    let name = partition.name.replace('!', "/");
    let mut resource = Resource::new(ResourceKind::Partition, key.clone(), name.clone());
    let udev = |name: &str| partition.udev.get(name).map(str::to_owned);
    resource
        .set("device_path", Some(format!("/dev/{name}")))
        .set("device_name", Some(name))
        .set("disk_name", Some(disk.shown_name()))
        .set("partition_number", Some(partition.number))
        .set("size_bytes", partition.size_bytes)
        .set("start_bytes", partition.start_bytes)
        .set("read_only", partition.is_read_only)
        .set("partition_uuid", udev("ID_PART_ENTRY_UUID"))
        .set(
            "partition_label",
            udev("ID_PART_ENTRY_NAME").map(|label| ids::decode_udev(&label)),
        )
        .set("fs_type", udev("ID_FS_TYPE"))
        .set("fs_uuid", udev("ID_FS_UUID"))
        .set(
            "fs_label",
            udev("ID_FS_LABEL_ENC").map(|label| ids::decode_udev(&label)),
        );
    resource
}

#[cfg(test)]
pub(crate) mod tests;
