//! What udev says of a whole block device besides what it is: its filesystem, its place in device mapper, and how an ATA
//! disk turns and caches. Names and labels are `node_exporter`'s.

use muster_catalogue::{
    Metric, NODE_DISK_ATA_ROTATION_RATE_RPM, NODE_DISK_ATA_WRITE_CACHE, NODE_DISK_ATA_WRITE_CACHE_ENABLED,
    NODE_DISK_DEVICE_MAPPER_INFO, NODE_DISK_FILESYSTEM_INFO,
};
use muster_model::ResourceKey;

use crate::collect::block::Node;
use crate::collect::draft::Draft;

/// udev's `ata_id` writes these.
const ATA: [(&str, Metric); 3] = [
    ("ID_ATA_ROTATION_RATE_RPM", NODE_DISK_ATA_ROTATION_RATE_RPM),
    ("ID_ATA_WRITE_CACHE", NODE_DISK_ATA_WRITE_CACHE),
    ("ID_ATA_WRITE_CACHE_ENABLED", NODE_DISK_ATA_WRITE_CACHE_ENABLED),
];

pub(super) fn describe(draft: &mut Draft, node: &Node, resource: Option<&ResourceKey>) {
    filesystem(draft, node, resource);
    device_mapper(draft, node, resource);
    if node.udev.get("ID_ATA").is_none() {
        return;
    }
    for (property, metric) in &ATA {
        let Some(word) = node.udev.get(property) else {
            continue;
        };
        match word.parse::<u32>() {
            Ok(value) => draft.sample_of(resource, metric, &[("device", &node.name)], f64::from(value)),
            Err(_) => draft.problem(format!(
                "udev: {property} of {} is no number: {word:.60?}",
                node.name
            )),
        }
    }
}

fn filesystem(draft: &mut Draft, node: &Node, resource: Option<&ResourceKey>) {
    let Some(fs_type) = node.udev.get("ID_FS_TYPE") else {
        return;
    };
    let property = |name| node.udev.get(name).unwrap_or_default();
    let labels = [
        ("device", node.name.as_str()),
        ("type", fs_type),
        ("usage", property("ID_FS_USAGE")),
        ("uuid", property("ID_FS_UUID")),
        ("version", property("ID_FS_VERSION")),
    ];
    draft.sample_of(resource, &NODE_DISK_FILESYSTEM_INFO, &labels, 1.0);
}

fn device_mapper(draft: &mut Draft, node: &Node, resource: Option<&ResourceKey>) {
    let Some(name) = node.udev.get("DM_NAME").or(node.dm_name.as_deref()) else {
        return;
    };
    let property = |name| node.udev.get(name).unwrap_or_default();
    let uuid = node.udev.get("DM_UUID").or(node.dm_uuid.as_deref());
    let labels = [
        ("device", node.name.as_str()),
        ("name", name),
        ("uuid", uuid.unwrap_or_default()),
        ("vg_name", property("DM_VG_NAME")),
        ("lv_name", property("DM_LV_NAME")),
        ("lv_layer", property("DM_LV_LAYER")),
    ];
    draft.sample_of(resource, &NODE_DISK_DEVICE_MAPPER_INFO, &labels, 1.0);
}
