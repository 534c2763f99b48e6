//! Block devices as `lsblk --json` tells of them, for recordings without sysfs.

use muster_parse::lsblk::{self, BlockDevice};
use muster_parse::udev;

use super::ids::{self, Worldwide};
use super::node::{Class, Node, Partition};

/// Bytes of a sector as lsblk counts where a partition starts.
const SECTOR_BYTES: u64 = 512;

/// Every device of a forest that is not a partition, layers above disks included, once each.
#[must_use]
pub(crate) fn nodes(forest: &[BlockDevice]) -> Vec<Node> {
    let devices = lsblk::unique(forest);
    let wholes = devices
        .iter()
        .filter(|(device, parents)| !is_partition(device, parents));
    wholes.map(|(device, parents)| node(device, parents)).collect()
}

/// What lies on a disk or partition: crypt, RAID, LVM. Without the column TYPE, device names tell.
pub(crate) fn is_layer(device: &BlockDevice) -> bool {
    match device.kind.as_deref() {
        Some(kind) => !matches!(kind, "disk" | "part" | "loop" | "rom"),
        None => matches!(Class::of(device.key()), Class::DeviceMapper | Class::Md),
    }
}

fn is_partition(device: &BlockDevice, parents: &[&str]) -> bool {
    match device.kind.as_deref() {
        Some(kind) => kind == "part",
        None => parents
            .first()
            .is_some_and(|parent| device.key().starts_with(parent)),
    }
}

fn node(device: &BlockDevice, parents: &[&str]) -> Node {
    let name = kernel_name(device.key());
    let class = match device.kind.as_deref() {
        Some("rom") => Class::Rom,
        Some("loop") => Class::Loop,
        _ => Class::of(&name),
    };
    let names = match class {
        Class::Nvme => Worldwide::of_nvme(None, None, None, device.wwn.as_deref()),
        _ => Worldwide::of_scsi(device.wwn.as_deref().into_iter()),
    };
    let model = device.model.as_deref().map(ids::tidy);
    let serial = device.serial.as_deref().map(ids::tidy);
    Node {
        class,
        numbers: device.numbers,
        size_bytes: device.size_bytes,
        bus_path: None,
        slaves: parents.iter().map(|parent| kernel_name(parent)).collect(),
        partitions: device
            .children
            .iter()
            .filter_map(|child| partition(&name, child))
            .collect(),
        logical_sector_bytes: device.logical_sector_bytes,
        physical_sector_bytes: device.physical_sector_bytes,
        is_rotational: device.is_rotational,
        is_removable: device.is_removable,
        is_read_only: device.is_read_only,
        kernel_model: model.clone(),
        model,
        vendor: device
            .vendor
            .as_deref()
            .map(ids::tidy)
            .filter(|vendor| vendor != "ATA"),
        serial: serial.filter(|serial| !ids::is_placeholder_serial(serial)),
        firmware: device.revision.clone(),
        names,
        part: None,
        dm_name: (class == Class::DeviceMapper).then(|| device.name.clone()),
        dm_uuid: None,
        // An empty loop device without a file is not printed, so what is printed has one.
        backing_file: None,
        udev: content(device),
        name,
    }
}

/// A partition's number is what its name adds to the disk's: `sda1`, `nvme0n1p2`.
fn partition(disk: &str, child: &BlockDevice) -> Option<Partition> {
    if !is_partition(child, &[disk]) {
        return None;
    }
    let name = kernel_name(child.key());
    let number = name.strip_prefix(disk)?.trim_start_matches('p').parse().ok()?;
    Some(Partition {
        number,
        numbers: child.numbers,
        size_bytes: child.size_bytes,
        start_bytes: child
            .start_sector
            .map(|sector| sector.saturating_mul(SECTOR_BYTES)),
        is_read_only: child.is_read_only,
        udev: content(child),
        name,
    })
}

/// lsblk has these from udev: here they go back under udev's names.
fn content(device: &BlockDevice) -> udev::Record {
    let mut record = udev::Record::default();
    let columns = [
        ("ID_PART_ENTRY_UUID", &device.partition_uuid),
        ("ID_PART_ENTRY_NAME", &device.partition_label),
        ("ID_FS_TYPE", &device.fs_type),
        ("ID_FS_UUID", &device.fs_uuid),
    ];
    for (property, value) in columns {
        record
            .properties
            .extend(value.clone().map(|value| (property.to_owned(), value)));
    }
    record
}

/// The kernel writes `!` where people see `/`.
fn kernel_name(name: &str) -> String {
    name.replace('/', "!")
}
