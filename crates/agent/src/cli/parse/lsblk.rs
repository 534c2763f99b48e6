//! `lsblk --json` as devices, partitions, the layers above them, and what rests on what.

use camino::Utf8Path;
use muster_model::{Facts, Resource, ResourceKey, ResourceKind};
use muster_parse::lsblk::{self, BlockDevice};
use muster_parse::udev;

use crate::collect::block::{
    Class, Inventory, Node, Partition, Worldwide, describe, is_placeholder_serial, tidy,
};
use crate::collect::draft::{Draft, bounded_key};

/// Bytes of a sector as lsblk counts where a partition starts.
const SECTOR_BYTES: u64 = 512;

pub(super) fn parse(_: &Utf8Path, text: &str) -> Facts {
    let mut draft = Draft::new("lsblk");
    let parsed = lsblk::parse(text);
    let devices = lsblk::unique(&parsed.value);
    let disks = devices
        .iter()
        .filter(|(device, parents)| parents.is_empty() && !is_layer(device));
    let inventory = Inventory::of(disks.map(|(device, _)| node(device)).collect());
    describe(&mut draft, &inventory);
    for (device, parents) in devices.iter().filter(|(device, _)| is_layer(device)) {
        let key = layer_key(device);
        draft.resource(layer(device, &key));
        for parent in parents {
            let below = inventory.key(parent).cloned().or_else(|| {
                let (found, _) = devices.iter().find(|(other, _)| other.key() == *parent)?;
                is_layer(found).then(|| layer_key(found))
            });
            if let Some(below) = below {
                draft.rests_on(&key, &below);
            }
        }
    }
    draft.parser_problems("lsblk", parsed.problems);
    draft.finish()
}

/// What lies on a disk or partition: crypt, RAID, LVM. Without the column TYPE, device names tell.
fn is_layer(device: &BlockDevice) -> bool {
    match device.kind.as_deref() {
        Some(kind) => !matches!(kind, "disk" | "part" | "loop" | "rom"),
        None => matches!(Class::of(device.key()), Class::DeviceMapper | Class::Md),
    }
}

fn layer_key(device: &BlockDevice) -> ResourceKey {
    bounded_key(format!("{}:name/{}", layer_kind(device).as_str(), device.name))
}

fn layer_kind(device: &BlockDevice) -> ResourceKind {
    match device.kind.as_deref() {
        Some("lvm") => ResourceKind::Volume,
        Some(kind) if kind.starts_with("raid") || kind.starts_with("md") || kind == "linear" => {
            ResourceKind::Pool
        }
        _ => ResourceKind::Mapping,
    }
}

fn layer(device: &BlockDevice, key: &ResourceKey) -> Resource {
    let mut resource = Resource::new(layer_kind(device), key.clone(), device.name.clone());
    resource
        .set("device_name", Some(device.name.clone()))
        .set("device_path", device.path.clone())
        .set("layer_type", device.kind.clone())
        .set("size_bytes", device.size_bytes)
        .set("fs_type", device.fs_type.clone())
        .set("fs_uuid", device.fs_uuid.clone());
    resource
}

fn node(device: &BlockDevice) -> Node {
    let name = device.key().replace('/', "!");
    let class = match device.kind.as_deref() {
        Some("rom") => Class::Rom,
        Some("loop") => Class::Loop,
        _ => Class::of(&name),
    };
    let names = match class {
        Class::Nvme => Worldwide::of_nvme(None, None, None, device.wwn.as_deref()),
        _ => Worldwide::of_scsi(device.wwn.as_deref().into_iter()),
    };
    let is_part = |child: &&BlockDevice| child.kind.as_deref().is_none_or(|kind| kind == "part");
    Node {
        class,
        numbers: device.numbers,
        size_bytes: device.size_bytes,
        bus_path: None,
        slaves: Vec::new(),
        partitions: device
            .children
            .iter()
            .filter(is_part)
            .filter_map(|child| partition(&name, child))
            .collect(),
        logical_sector_bytes: device.logical_sector_bytes,
        physical_sector_bytes: device.physical_sector_bytes,
        is_rotational: device.is_rotational,
        is_removable: device.is_removable,
        is_read_only: device.is_read_only,
        kernel_model: device.model.as_deref().map(tidy),
        model: device.model.as_deref().map(tidy),
        vendor: device
            .vendor
            .as_deref()
            .map(tidy)
            .filter(|vendor| vendor != "ATA"),
        serial: device
            .serial
            .as_deref()
            .map(tidy)
            .filter(|serial| !is_placeholder_serial(serial)),
        firmware: device.revision.clone(),
        names,
        part: None,
        dm_name: None,
        dm_uuid: None,
        backing_file: None,
        udev: udev::Record::default(),
        name,
    }
}

/// A partition's number is what its name adds to the disk's: `sda1`, `nvme0n1p2`.
fn partition(disk: &str, child: &BlockDevice) -> Option<Partition> {
    let name = child.key().replace('/', "!");
    let number = name.strip_prefix(disk)?.trim_start_matches('p').parse().ok()?;
    let mut udev = udev::Record::default();
    let columns = [
        ("ID_PART_ENTRY_UUID", &child.partition_uuid),
        ("ID_PART_ENTRY_NAME", &child.partition_label),
        ("ID_FS_TYPE", &child.fs_type),
        ("ID_FS_UUID", &child.fs_uuid),
    ];
    for (property, value) in columns {
        udev.properties
            .extend(value.clone().map(|value| (property.to_owned(), value)));
    }
    Some(Partition {
        number,
        numbers: child.numbers,
        size_bytes: child.size_bytes,
        start_bytes: child
            .start_sector
            .map(|sector| sector.saturating_mul(SECTOR_BYTES)),
        is_read_only: child.is_read_only,
        udev,
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = r#"{"blockdevices":[
        {"name":"sda","type":"disk","size":1000,"wwn":"0x5000c500a1b2c3d4","model":"M","serial":"S123","children":[
            {"name":"sda1","type":"part","size":900,"children":[
                {"name":"md0","type":"raid1","size":800,"children":[{"name":"vg-lv","kname":"dm-0","type":"lvm","size":700}]}]}]},
        {"name":"sdb","type":"disk","size":1000,"model":"M","serial":"S124","children":[
            {"name":"md0","type":"raid1","size":800,"children":[{"name":"vg-lv","kname":"dm-0","type":"lvm","size":700}]}]}]}"#;

    #[test]
    fn a_tree_becomes_resources_and_links() {
        let facts = parse(Utf8Path::new("x"), TREE);
        let keys: Vec<_> = facts
            .resources
            .iter()
            .map(|resource| resource.key.as_str())
            .collect();
        assert_eq!(
            keys,
            [
                "device:serial:M:S124",
                "device:wwn:0x5000c500a1b2c3d4",
                "partition:wwn:0x5000c500a1b2c3d4:1",
                "pool:name/md0",
                "volume:name/vg-lv",
            ]
        );
        let links: Vec<_> = facts
            .links
            .iter()
            .map(|link| (link.from.as_str(), link.to.as_str()))
            .collect();
        assert_eq!(
            links,
            [
                (
                    "partition:wwn:0x5000c500a1b2c3d4:1",
                    "device:wwn:0x5000c500a1b2c3d4"
                ),
                ("pool:name/md0", "device:serial:M:S124"),
                ("pool:name/md0", "partition:wwn:0x5000c500a1b2c3d4:1"),
                ("volume:name/vg-lv", "pool:name/md0"),
            ]
        );
        assert!(facts.problems.is_empty(), "{:?}", facts.problems);
    }
}
