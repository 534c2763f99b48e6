//! Block devices as `lsblk --json` tells of them, for recordings without sysfs.

use muster_parse::lsblk::{self, BlockDevice};
use muster_parse::udev;

use super::ids::{self, Worldwide};
use super::layer::{Layer, LogicalVolume, md_uuid};
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
    let find = |name: &str| {
        let found = devices.iter().find(|(device, _)| device.key() == name)?;
        Some(found.0)
    };
    wholes
        .map(|(device, parents)| node(device, parents, &find))
        .collect()
}

/// What lies on a disk or partition: crypt, RAID, LVM. Without the column TYPE, device names tell.
fn is_layer(device: &BlockDevice) -> bool {
    match device.kind.as_deref() {
        // kpartx makes partitions of multipath devices as devices of their own.
        Some("part") => Class::of(device.key()) == Class::DeviceMapper,
        Some(kind) => !matches!(kind, "disk" | "loop" | "rom"),
        None => matches!(Class::of(device.key()), Class::DeviceMapper | Class::Md),
    }
}

fn is_partition(device: &BlockDevice, parents: &[&str]) -> bool {
    match device.kind.as_deref() {
        Some(kind) => kind == "part" && Class::of(device.key()) != Class::DeviceMapper,
        None => parents
            .first()
            .is_some_and(|parent| device.key().starts_with(parent)),
    }
}

/// What lsblk tells of the layer: TYPE, and the ids that it shows of the devices below.
fn layer<'a>(
    device: &BlockDevice,
    parents: &[&str],
    find: &impl Fn(&str) -> Option<&'a BlockDevice>,
) -> Option<Layer> {
    if !is_layer(device) {
        return None;
    }
    let below: Vec<&BlockDevice> = parents.iter().filter_map(|parent| find(parent)).collect();
    // The id that all below have in common, which must be of this content.
    let shared = |content: &str| {
        let mut ids = below.iter().map(|device| {
            let is_it = device.fs_type.as_deref() == Some(content);
            device.fs_uuid.as_deref().filter(|_| is_it)
        });
        let first = ids.next()??;
        ids.all(|id| id == Some(first)).then(|| first.to_owned())
    };
    let kind = device.kind.as_deref().unwrap_or_default();
    let is_array = kind.starts_with("raid") || kind.starts_with("md") || kind == "linear" || kind == "faulty";
    Some(match kind {
        "part" => {
            let digits = device.name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
            Layer::Partition {
                number: device.name[digits..].parse().unwrap_or(0),
            }
        }
        "lvm" => Layer::Lvm(LogicalVolume::of_name(&device.name, None)),
        "crypt" => Layer::Crypt {
            uuid: shared("crypto_LUKS"),
            format: shared("crypto_LUKS").map_or("", |_| "luks").to_owned(),
        },
        "mpath" => Layer::Multipath {
            wwid: below
                .first()
                .and_then(|path| path.wwn.as_deref()?.strip_prefix("0x"))
                // A designator of type 3 (NAA), as scsi_id(8) writes it.
                .map(|digits| format!("3{digits}")),
        },
        "bcache" => Layer::Bcache {
            uuid: shared("bcache"),
        },
        _ if is_array || Class::of(device.key()) == Class::Md => Layer::Md {
            uuid: shared("linux_raid_member").as_deref().and_then(md_uuid),
        },
        "" if device.name.contains('-') && !device.name.starts_with("dm-") => {
            Layer::Lvm(LogicalVolume::of_name(&device.name, None))
        }
        _ if Class::of(device.key()) == Class::DeviceMapper || kind == "dm" => Layer::DeviceMapper,
        _ => Layer::Other,
    })
}

fn node<'a>(device: &BlockDevice, parents: &[&str], find: &impl Fn(&str) -> Option<&'a BlockDevice>) -> Node {
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
        dm_name: (class == Class::DeviceMapper || is_mapped(device)).then(|| device.name.clone()),
        dm_uuid: None,
        layer: layer(device, parents, find),
        is_suspended: None,
        state: device.state.clone(),
        // An empty loop device without a file is not printed, so what is printed has one.
        backing_file: None,
        udev: content(device),
        name,
    }
}

/// Without the column KNAME only the type tells that the name is device mapper's.
fn is_mapped(device: &BlockDevice) -> bool {
    matches!(device.kind.as_deref(), Some("lvm" | "crypt" | "mpath" | "dm"))
        || is_layer(device) && device.kind.as_deref() == Some("part")
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
