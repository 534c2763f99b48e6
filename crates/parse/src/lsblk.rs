//! `lsblk --json --bytes`: the tree of block devices, with whatever columns were asked for.
//!
//! lsblk(8) of util-linux. Versions differ: before 2.33 every value is a quoted text (`"rota":"1"`), before 2.37
//! there is `mountpoint` and no `mountpoints`. A device with several parents (an array) appears below each of
//! them; [`unique`] gives each once. A size with a unit (`465.8G`) means `--bytes` was not used: it is
//! refused, because it is rounded.

use serde_json::Value;

use crate::json::Fields;
use crate::problem::{Parsed, Problems, excerpt};

/// One block device. Absent columns, nulls and empty texts are `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct BlockDevice {
    /// Name as shown (`vg-lv` for device-mapper), column NAME.
    pub name: String,
    /// Kernel name (`dm-0`), column KNAME.
    pub kernel_name: Option<String>,
    /// Kernel name of the parent, column PKNAME.
    pub parent_kernel_name: Option<String>,
    /// Device node, column PATH.
    pub path: Option<String>,
    /// Major and minor number, column MAJ:MIN.
    pub numbers: Option<(u32, u32)>,
    /// `disk`, `part`, `crypt`, `lvm`, `raid1`, `loop`, `rom`, `mpath`…, column TYPE.
    pub kind: Option<String>,
    /// Bytes, column SIZE.
    pub size_bytes: Option<u64>,
    /// Column MODEL.
    pub model: Option<String>,
    /// Column SERIAL.
    pub serial: Option<String>,
    /// Column WWN, as printed (`0x5000…`, `eui.…`).
    pub wwn: Option<String>,
    /// Column VENDOR.
    pub vendor: Option<String>,
    /// Firmware revision, column REV.
    pub revision: Option<String>,
    /// `sata`, `sas`, `nvme`, `usb`, `virtio`…, column TRAN.
    pub transport: Option<String>,
    /// Whether the device spins, as far as the kernel knows, column ROTA.
    pub is_rotational: Option<bool>,
    /// Column RM.
    pub is_removable: Option<bool>,
    /// Column RO.
    pub is_read_only: Option<bool>,
    /// Column HOTPLUG.
    pub is_hotplug: Option<bool>,
    /// `running`, `offline`, `live`…, column STATE.
    pub state: Option<String>,
    /// SCSI address, column HCTL.
    pub hctl: Option<String>,
    /// Chain of kernel subsystems, column SUBSYSTEMS.
    pub subsystems: Option<String>,
    /// Bytes of a physical sector, column PHY-SEC.
    pub physical_sector_bytes: Option<u64>,
    /// Bytes of a logical sector, column LOG-SEC.
    pub logical_sector_bytes: Option<u64>,
    /// I/O scheduler, column SCHED.
    pub scheduler: Option<String>,
    /// Most bytes a discard may have; 0 without TRIM, column DISC-MAX.
    pub discard_max_bytes: Option<u64>,
    /// `none`, `host-managed`…, column ZONED.
    pub zoned: Option<String>,
    /// First sector (of 512 bytes) of a partition, column START.
    pub start_sector: Option<u64>,
    /// Partition table type, column PTTYPE.
    pub table_type: Option<String>,
    /// Partition table id, column PTUUID.
    pub table_uuid: Option<String>,
    /// Column PARTLABEL.
    pub partition_label: Option<String>,
    /// Column PARTUUID.
    pub partition_uuid: Option<String>,
    /// Partition type id, column PARTTYPE.
    pub partition_type: Option<String>,
    /// Partition type in words, column PARTTYPENAME.
    pub partition_type_name: Option<String>,
    /// What the content is (`ext4`, `linux_raid_member`, `crypto_LUKS`…), column FSTYPE.
    pub fs_type: Option<String>,
    /// Column FSVER.
    pub fs_version: Option<String>,
    /// Label of the content, column LABEL.
    pub fs_label: Option<String>,
    /// Id of the content, column UUID.
    pub fs_uuid: Option<String>,
    /// Bytes of the mounted filesystem, column FSSIZE.
    pub fs_size_bytes: Option<u64>,
    /// Column FSUSED.
    pub fs_used_bytes: Option<u64>,
    /// Bytes a normal user may still fill, column FSAVAIL.
    pub fs_available_bytes: Option<u64>,
    /// Where it is mounted; `[SWAP]` for swap in use. Columns MOUNTPOINTS and MOUNTPOINT together.
    pub mount_points: Vec<String>,
    /// What rests on this device.
    pub children: Vec<BlockDevice>,
}

impl BlockDevice {
    /// Name to tell devices apart by: the kernel's, else the one shown.
    pub fn key(&self) -> &str {
        self.kernel_name.as_deref().unwrap_or(&self.name)
    }
}

/// Every device of a forest once, parents first, each with the kernel names of all its parents.
pub fn unique(devices: &[BlockDevice]) -> Vec<(&BlockDevice, Vec<&str>)> {
    let mut found: Vec<(&BlockDevice, Vec<&str>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    let mut queue: std::collections::VecDeque<(&BlockDevice, Option<&str>)> =
        devices.iter().map(|device| (device, None)).collect();
    while let Some((device, parent)) = queue.pop_front() {
        let place = *places.entry(device.key()).or_insert_with(|| {
            found.push((device, Vec::new()));
            found.len() - 1
        });
        let parents = &mut found[place].1;
        parents.extend(parent.filter(|parent| !parents.contains(parent)));
        queue.extend(device.children.iter().map(|child| (child, Some(device.key()))));
    }
    found
}

/// Reads the document. Text that is not JSON (also a cut document) gives no devices and a problem.
pub fn parse(text: &str) -> Parsed<Vec<BlockDevice>> {
    let mut problems = Problems::default();
    let document: Value = match serde_json::from_str(text) {
        Ok(document) => document,
        Err(error) => {
            problems.at_index(error.line().saturating_sub(1), format!("not valid JSON: {error}"));
            return problems.with(Vec::new());
        }
    };
    let Some(list) = document.get("blockdevices") else {
        problems.overall("expected a list called blockdevices");
        return problems.with(Vec::new());
    };
    let devices = parse_list(list, "blockdevices", &mut problems);
    problems.with(devices)
}

fn parse_list(list: &Value, subject: &str, problems: &mut Problems) -> Vec<BlockDevice> {
    let Value::Array(items) = list else {
        problems.overall(format!(
            "{subject}: expected a list of devices, found {}",
            excerpt(&list.to_string())
        ));
        return Vec::new();
    };
    items
        .iter()
        .filter_map(|item| parse_device(item, subject, problems))
        .collect()
}

fn parse_device(item: &Value, parent: &str, problems: &mut Problems) -> Option<BlockDevice> {
    let name = item
        .get("name")
        .or_else(|| item.get("kname"))
        .and_then(Value::as_str)
        .map(str::trim);
    let (Value::Object(object), Some(name)) = (item, name.filter(|name| !name.is_empty())) else {
        problems.overall(format!(
            "{parent}: expected a device with a name, found {}",
            excerpt(&item.to_string())
        ));
        return None;
    };
    let mut fields = Fields {
        subject: name,
        object,
        problems,
    };
    let mut device = BlockDevice {
        name: name.to_owned(),
        ..BlockDevice::default()
    };
    read_identity(&mut device, &mut fields);
    read_properties(&mut device, &mut fields);
    read_content(&mut device, &mut fields);
    if let Some(children) = object.get("children").filter(|children| !children.is_null()) {
        device.children = parse_list(children, name, problems);
    }
    Some(device)
}

fn read_identity(device: &mut BlockDevice, fields: &mut Fields<'_>) {
    device.kernel_name = fields.text("kname");
    device.parent_kernel_name = fields.text("pkname");
    device.path = fields.text("path");
    device.numbers = numbers(fields);
    device.kind = fields.text("type");
    device.size_bytes = fields.unsigned("size");
    device.model = fields.text("model");
    device.serial = fields.text("serial");
    device.wwn = fields.text("wwn");
    device.vendor = fields.text("vendor");
    device.revision = fields.text("rev");
    device.transport = fields.text("tran");
    device.hctl = fields.text("hctl");
    device.subsystems = fields.text("subsystems");
}

fn read_properties(device: &mut BlockDevice, fields: &mut Fields<'_>) {
    device.is_rotational = fields.flag("rota");
    device.is_removable = fields.flag("rm");
    device.is_read_only = fields.flag("ro");
    device.is_hotplug = fields.flag("hotplug");
    device.state = fields.text("state");
    device.physical_sector_bytes = fields.unsigned("phy-sec");
    device.logical_sector_bytes = fields.unsigned("log-sec");
    device.scheduler = fields.text("sched");
    device.discard_max_bytes = fields.unsigned("disc-max");
    device.zoned = fields.text("zoned");
    device.start_sector = fields.unsigned("start");
    device.table_type = fields.text("pttype");
    device.table_uuid = fields.text("ptuuid");
    device.partition_label = fields.text("partlabel");
    device.partition_uuid = fields.text("partuuid");
    device.partition_type = fields.text("parttype");
    device.partition_type_name = fields.text("parttypename");
}

fn read_content(device: &mut BlockDevice, fields: &mut Fields<'_>) {
    device.fs_type = fields.text("fstype");
    device.fs_version = fields.text("fsver");
    device.fs_label = fields.text("label");
    device.fs_uuid = fields.text("uuid");
    device.fs_size_bytes = fields.unsigned("fssize");
    device.fs_used_bytes = fields.unsigned("fsused");
    device.fs_available_bytes = fields.unsigned("fsavail");
    device.mount_points = mount_points(fields);
}

fn numbers(fields: &mut Fields<'_>) -> Option<(u32, u32)> {
    let text = fields.text("maj:min")?;
    let pair = text.split_once(':').and_then(|(major, minor)| {
        Some((major.trim().parse().ok()?, minor.trim().parse().ok()?)) // Older versions pad with spaces.
    });
    if pair.is_none() {
        let found = excerpt(&text);
        fields.problems.overall(format!(
            "{}: expected major:minor, found \"{found}\"",
            fields.subject
        ));
    }
    pair
}

fn mount_points(fields: &mut Fields<'_>) -> Vec<String> {
    let mut points: Vec<String> = Vec::new();
    match fields.object.get("mountpoints") {
        None | Some(Value::Null) => {}
        Some(Value::Array(items)) => {
            points.extend(
                items
                    .iter()
                    .filter_map(Value::as_str)
                    .filter(|point| !point.is_empty())
                    .map(str::to_owned),
            );
        }
        // With --list style output some versions join them by newlines.
        Some(Value::String(text)) => {
            points.extend(text.lines().filter(|point| !point.is_empty()).map(str::to_owned));
        }
        Some(other) => {
            let found = excerpt(&other.to_string());
            fields.problems.overall(format!(
                "{}: expected a list in mountpoints, found {found}",
                fields.subject
            ));
        }
    }
    if let Some(point) = fields.text("mountpoint").filter(|point| !points.contains(point)) {
        points.push(point);
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_values_of_old_versions_read_like_new_ones() {
        let old = r#"{"blockdevices":[{"name":"sda","maj:min":"  8:0  ","rm":"0","size":"1000","ro":"0","rota":"1",
            "type":"disk","mountpoint":null,"children":[{"name":"sda1","size":"900","mountpoint":"/"}]}]}"#;
        let new = r#"{"blockdevices":[{"name":"sda","maj:min":"8:0","rm":false,"size":1000,"ro":false,"rota":true,
            "type":"disk","mountpoints":[null],"children":[{"name":"sda1","size":900,"mountpoints":["/"]}]}]}"#;
        assert_eq!(parse(old), parse(new));
        let parsed = parse(new);
        assert!(parsed.problems.is_empty());
        assert_eq!(parsed.value[0].numbers, Some((8, 0)));
        assert_eq!(parsed.value[0].children[0].mount_points, ["/"]);
    }

    #[test]
    fn a_rounded_size_is_refused_and_only_that_is_lost() {
        let parsed = parse(r#"{"blockdevices":[{"name":"sda","size":"465.8G","rota":[],"serial":"X"}]}"#);
        assert_eq!(parsed.value[0].size_bytes, None);
        assert_eq!(parsed.value[0].serial.as_deref(), Some("X"));
        assert_eq!(parsed.problems.len(), 2);
    }

    #[test]
    fn an_array_below_two_disks_is_one_device_with_two_parents() {
        let text = r#"{"blockdevices":[{"name":"sda","children":[{"name":"md0"}]},{"name":"sdb","children":[{"name":"md0"}]}]}"#;
        let parsed = parse(text);
        let unique = unique(&parsed.value);
        assert_eq!(unique.len(), 3);
        let (_, parents) = unique.iter().find(|(device, _)| device.name == "md0").unwrap();
        assert_eq!(parents, &["sda", "sdb"]);
    }

    #[test]
    fn text_that_is_not_the_expected_document_is_a_problem() {
        for text in [
            "",
            "{",
            "[]",
            r#"{"blockdevices":7}"#,
            r#"{"blockdevices":[7, {"size":1}]}"#,
        ] {
            let parsed = parse(text);
            assert!(parsed.value.is_empty(), "{text}");
            assert!(!parsed.problems.is_empty(), "{text}");
        }
    }
}
