//! One block device as sysfs and udev describe it, before anyone decides which resource it is.

use std::collections::BTreeMap;

use muster_parse::{scsi_vpd, udev};

use super::ids;
use super::layer::Layer;
use crate::host::{Files, Folder};

/// Where udev keeps what it knows of devices, a file for each.
const UDEV_RECORDS: &str = "/run/udev/data";
/// Bytes of a sector as sysfs counts sizes, whatever the device's own sectors are.
const SYSFS_SECTOR_BYTES: u64 = 512;

/// What drives a device, judged by its kernel name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// SCSI, SAS, SATA and USB disks.
    Scsi,
    /// NVMe namespaces.
    Nvme,
    /// Disks of the old IDE driver.
    Ide,
    /// eMMC and SD cards.
    Mmc,
    /// Disks of a hypervisor: virtio.
    Virtio,
    /// Disks of a hypervisor: Xen.
    Xen,
    /// Files as disks.
    Loop,
    /// Compressed memory as a disk.
    Zram,
    /// Memory as a disk.
    Ram,
    /// Optical drives.
    Rom,
    /// Floppy drives.
    Floppy,
    /// Software RAID.
    Md,
    /// Device mapper.
    DeviceMapper,
    /// Network block devices.
    Nbd,
    /// ZFS volumes.
    Zvol,
    /// Anything else.
    Other,
}

impl Class {
    /// The class that a kernel name stands for.
    #[must_use]
    pub fn of(name: &str) -> Self {
        const PREFIXES: [(&str, Class); 16] = [
            ("nvme", Class::Nvme),
            ("mmcblk", Class::Mmc),
            ("loop", Class::Loop),
            ("zram", Class::Zram),
            ("ram", Class::Ram),
            ("xvd", Class::Xen),
            ("nbd", Class::Nbd),
            ("dm-", Class::DeviceMapper),
            ("md", Class::Md),
            ("sd", Class::Scsi),
            ("vd", Class::Virtio),
            ("hd", Class::Ide),
            ("sr", Class::Rom),
            ("fd", Class::Floppy),
            ("zd", Class::Zvol),
            ("pmem", Class::Other),
        ];
        PREFIXES
            .iter()
            .find(|(prefix, _)| name.starts_with(prefix))
            .map_or(Self::Other, |(_, class)| *class)
    }

    /// The lower-case word of the attribute `device_class`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scsi => "scsi",
            Self::Nvme => "nvme",
            Self::Ide => "ide",
            Self::Mmc => "mmc",
            Self::Virtio => "virtio",
            Self::Xen => "xen",
            Self::Loop => "loop",
            Self::Zram => "zram",
            Self::Ram => "ram",
            Self::Rom => "rom",
            Self::Floppy => "floppy",
            Self::Md => "md",
            Self::DeviceMapper => "dm",
            Self::Nbd => "nbd",
            Self::Zvol => "zvol",
            Self::Other => "other",
        }
    }

    /// Whether a drive of this class may have SMART data.
    #[must_use]
    pub const fn may_have_smart(self) -> bool {
        matches!(self, Self::Scsi | Self::Nvme | Self::Ide)
    }
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Kernel name, such as `sda1`.
    pub name: String,
    /// Its number on the disk.
    pub number: u64,
    /// Major and minor number.
    pub numbers: Option<(u32, u32)>,
    /// Size, in bytes.
    pub size_bytes: Option<u64>,
    /// Where it begins on the disk, in bytes.
    pub start_bytes: Option<u64>,
    /// Whether writing is refused.
    pub is_read_only: Option<bool>,
    /// What udev knows of it.
    pub udev: udev::Record,
}

/// A block device that is not a partition. What is not known is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Kernel name, such as `sda`.
    pub name: String,
    /// What drives it.
    pub class: Class,
    /// Major and minor number.
    pub numbers: Option<(u32, u32)>,
    /// Size, in bytes.
    pub size_bytes: Option<u64>,
    /// Where it is below `/sys/devices`, with neither the folder `block` nor its own name at the end.
    pub bus_path: Option<String>,
    /// What it lies on, by kernel name.
    pub slaves: Vec<String>,
    /// Its partitions.
    pub partitions: Vec<Partition>,
    /// Bytes of a sector as the device is addressed.
    pub logical_sector_bytes: Option<u64>,
    /// Bytes of a sector as the device writes.
    pub physical_sector_bytes: Option<u64>,
    /// Whether the kernel takes it for spinning.
    pub is_rotational: Option<bool>,
    /// Whether its medium can be taken out.
    pub is_removable: Option<bool>,
    /// Whether writing is refused.
    pub is_read_only: Option<bool>,
    /// Model as the kernel shows it; that of ATA disks is cut to 16 characters.
    pub kernel_model: Option<String>,
    /// Model as a person knows it.
    pub model: Option<String>,
    /// Vendor; absent for ATA disks, which have none.
    pub vendor: Option<String>,
    /// Serial number; placeholders are absent.
    pub serial: Option<String>,
    /// Firmware version.
    pub firmware: Option<String>,
    /// Worldwide names; placeholders are absent.
    pub names: ids::Worldwide,
    /// Which part of one drive it is, if a drive has several: NVMe namespace, eMMC hardware partition.
    pub part: Option<String>,
    /// Device mapper's name.
    pub dm_name: Option<String>,
    /// Device mapper's UUID, whose prefix says who made it.
    pub dm_uuid: Option<String>,
    /// What made it of other devices; `None` for what stands for itself.
    pub layer: Option<Layer>,
    /// Whether device mapper holds back all I/O.
    pub is_suspended: Option<bool>,
    /// What the SCSI layer thinks of it: `running`, `offline`, `transport-offline`, …
    pub state: Option<String>,
    /// The file behind a loop device.
    pub backing_file: Option<String>,
    /// What udev knows of it.
    pub udev: udev::Record,
}

impl Node {
    /// The name as people see it; the kernel writes `/` as `!`.
    #[must_use]
    pub fn shown_name(&self) -> String {
        self.name.replace('!', "/")
    }

    /// Whether it is a disk of its own, as `lsblk --nodeps` lists them: it lies on nothing else, is no RAM disk and no loop device without a file.
    /// One of size 0 is listed.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        const RAM_MAJOR: u32 = 1;
        let is_ram = match self.numbers {
            Some((major, _)) => major == RAM_MAJOR,
            None => self.class == Class::Ram,
        };
        let is_empty_loop =
            self.class == Class::Loop && self.size_bytes.unwrap_or(0) == 0 && self.backing_file.is_none();
        self.layer.is_none() && !is_ram && !is_empty_loop
    }

    /// `sata`, `sas`, `usb`, … as far as the path tells.
    #[must_use]
    pub fn transport(&self) -> Option<&'static str> {
        let path = format!("{}/", self.bus_path.as_deref()?);
        match self.class {
            Class::Nvme => Some("nvme"),
            Class::Virtio => Some("virtio"),
            Class::Mmc => Some("mmc"),
            Class::Scsi if path.contains("/usb") => Some("usb"),
            Class::Scsi if path.contains("/ata") => Some("sata"),
            Class::Scsi if path.contains("/end_device") => Some("sas"),
            Class::Scsi if path.contains("/session") => Some("iscsi"),
            Class::Scsi if path.contains("/virtio") => Some("virtio"),
            _ => None,
        }
    }
}

/// Reads the device of this name, and what tells of its changes; no device if it is hidden (a path of an NVMe multipath
/// device) or went away.
pub(super) fn read(files: &Files, name: &str, has_partitions: bool) -> (Look, Option<Node>) {
    let folder = files.folder(format!("/sys/block/{name}"));
    let event = Event::read(&folder, "uevent");
    let look = Look::in_folder(files, name, &folder, (&event, has_partitions));
    let node = read_node(files, name, &folder, (&event, &look));
    (look, node)
}

/// Whether that of a device which changes without a word of the kernel's is as it was read, and health or links rest on:
/// whether it answers, whether it is held back, and what lies below it. Nor does it tell of `blockdev --setro`, which no
/// health or link rests on.
pub(super) fn is_as_it_was(files: &Files, node: &Node) -> bool {
    let base = format!("/sys/block/{}", node.name);
    let is_suspended = || {
        files
            .number(&format!("{base}/dm/suspended"))
            .map(|value| value != 0)
    };
    (node.state.is_none() || files.word(&format!("{base}/device/state")) == node.state)
        && (node.is_suspended.is_none() || is_suspended() == node.is_suspended)
        && lies_as_it_did(files, node)
}

/// Whether a device lies on what it did. md takes members in and gives them up without an event; device mapper links those
/// of a table when it is loaded, before its event, and unlinks those of the table before only after it (the kernel's
/// drivers/md/dm-ioctl.c, `do_resume`).
pub(super) fn lies_as_it_did(files: &Files, node: &Node) -> bool {
    !is_layer(node.class) || files.names(&format!("/sys/block/{}/slaves", node.name)) == node.slaves
}

/// What the folder of udev's records tells of when one was written last: each is a file that is renamed into it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum UdevRecords {
    /// There is no such folder.
    Absent,
    /// So short a time ago that the next one could bear the same time.
    Fresh,
    /// At this time, Unix seconds.
    WrittenAt(f64),
}

impl UdevRecords {
    pub(super) fn look(files: &Files, now_ms: i64) -> Self {
        const APART_S: f64 = 1.0;
        match files.modified_s(UDEV_RECORDS) {
            None => Self::Absent,
            Some(written_s) if written_s + APART_S < now_ms as f64 / 1e3 => Self::WrittenAt(written_s),
            Some(_) => Self::Fresh,
        }
    }

    /// Whether none was written since; `None` if there still are none to tell.
    pub(super) fn are_as_they_were(self, files: &Files) -> Option<bool> {
        let now = files.modified_s(UDEV_RECORDS);
        match self {
            Self::Absent => now.map(|_| false),
            Self::Fresh => Some(false),
            Self::WrittenAt(written_s) => Some(now == Some(written_s)),
        }
    }
}

fn read_node(files: &Files, name: &str, folder: &Folder<'_>, (event, look): (&Event, &Look)) -> Option<Node> {
    let attribute = |path: &str| folder.word(path);
    let number = |path: &str| folder.number(path);
    let flag = |path: &str| number(path).map(|value| value != 0);
    let class = Class::of(name);
    // A loop device without a file is none; only paths of NVMe drives are hidden.
    let is_empty = class == Class::Loop && !folder.has("loop");
    if is_empty || class == Class::Nvme && flag("hidden") == Some(true) {
        return None;
    }
    // What is made of others is no device, and these are not told of it.
    let is_disk = !matches!(class, Class::DeviceMapper | Class::Md);
    let of_disk = |path: &str| is_disk.then(|| number(path))?;
    // The folder of a virtual one tells nothing of a drive, and to look for what is not there takes as long as to read it.
    let of_drive = |path: &str| (class != Class::Virtio).then(|| attribute(path))?;
    let numbers = event.numbers().or_else(|| read_numbers(folder, "dev"));
    let udev = read_udev(files, numbers);
    let vendor = of_drive("device/vendor");
    let is_ata = vendor.as_deref() == Some("ATA") || udev.get("ID_BUS") == Some("ata");
    let kernel_model = of_drive("device/model")
        .or_else(|| of_drive("device/name"))
        .map(|text| ids::tidy(&text));
    let full_model = udev.get("ID_MODEL_ENC").filter(|_| is_ata).map(ids::decode_udev);
    let firmware = of_drive("device/firmware_rev").or_else(|| {
        let full = udev.get("ID_REVISION").filter(|_| is_ata).map(str::to_owned);
        full.or_else(|| of_drive("device/rev"))
            .or_else(|| of_drive("device/fwrev"))
    });
    let slaves = look.slaves.clone();
    let (dm_name, dm_uuid) = (attribute("dm/name"), attribute("dm/uuid"));
    let layer = match class {
        Class::DeviceMapper => Some(Layer::of_dm(dm_name.as_deref(), dm_uuid.as_deref())),
        Class::Md => Some(Layer::of_md(
            attribute("md/uuid").as_deref(),
            attribute("md/metadata_version").as_deref(),
            udev.get("MD_UUID"),
        )),
        _ if name.starts_with("bcache") => Some(Layer::Bcache {
            uuid: attribute("bcache/backing_dev_uuid"),
        }),
        _ => (!slaves.is_empty()).then_some(Layer::Other),
    };
    Some(Node {
        class,
        numbers,
        size_bytes: number("size").map(|sectors| sectors.saturating_mul(SYSFS_SECTOR_BYTES)),
        bus_path: look.target.as_deref().map(|target| bus_path(target, name)),
        slaves,
        partitions: read_partitions(files, folder, name),
        logical_sector_bytes: of_disk("queue/logical_block_size"),
        physical_sector_bytes: of_disk("queue/physical_block_size"),
        is_rotational: flag("queue/rotational"),
        is_removable: of_disk("removable").map(|value| value != 0),
        is_read_only: flag("ro"),
        model: full_model.or_else(|| kernel_model.clone()),
        kernel_model,
        vendor: vendor.filter(|_| class == Class::Scsi && !is_ata),
        serial: serial(folder, class, &udev),
        firmware,
        names: worldwide(folder, class, &udev),
        part: part(name, class, number("nsid")),
        dm_name,
        dm_uuid,
        layer,
        is_suspended: flag("dm/suspended"),
        state: of_drive("device/state"),
        backing_file: attribute("loop/backing_file"),
        udev,
        name: name.to_owned(),
    })
}

fn read_partitions(files: &Files, folder: &Folder<'_>, disk: &str) -> Vec<Partition> {
    let is_partition = |name: &&String| name.starts_with(disk) && name.len() != disk.len();
    let read_one = |name: &String| {
        let attribute = |path: &str| folder.number(&format!("{name}/{path}"));
        let event = Event::read(folder, &format!("{name}/uevent"));
        let number = event
            .value("PARTN")
            .and_then(|number| number.parse().ok())
            .or_else(|| attribute("partition"))?;
        let numbers = event
            .numbers()
            .or_else(|| read_numbers(folder, &format!("{name}/dev")));
        let bytes = |path: &str| attribute(path).map(|sectors| sectors.saturating_mul(SYSFS_SECTOR_BYTES));
        Some(Partition {
            number,
            numbers,
            size_bytes: bytes("size"),
            start_bytes: bytes("start"),
            is_read_only: attribute("ro").map(|value| value != 0),
            udev: read_udev(files, numbers),
            name: name.clone(),
        })
    };
    let names = folder.names().iter();
    names.filter(is_partition).filter_map(read_one).collect()
}

/// What the kernel tells of a device in one text with each event: several attributes that need not be read one by one
/// (Documentation/ABI/testing/sysfs-uevent). Empty where there is none.
struct Event(String);

impl Event {
    fn read(folder: &Folder<'_>, path: &str) -> Self {
        Self(folder.word(path).unwrap_or_default())
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }

    fn numbers(&self) -> Option<(u32, u32)> {
        Some((
            self.value("MAJOR")?.parse().ok()?,
            self.value("MINOR")?.parse().ok()?,
        ))
    }
}

fn read_numbers(folder: &Folder<'_>, path: &str) -> Option<(u32, u32)> {
    parse_numbers(&folder.word(path)?)
}

fn read_udev(files: &Files, numbers: Option<(u32, u32)>) -> udev::Record {
    let text =
        numbers.and_then(|(major, minor)| files.text(&format!("{UDEV_RECORDS}/b{major}:{minor}")).ok()?);
    text.map(|text| udev::parse(&text).value).unwrap_or_default()
}

/// The drive's own serial number. What udev calls `ID_SERIAL_SHORT` is a worldwide name on SAS disks, so it comes last.
fn serial(folder: &Folder<'_>, class: Class, udev: &udev::Record) -> Option<String> {
    let from_page = || scsi_vpd::unit_serial(&folder.bytes("device/vpd_pg80")?).value;
    let from_udev = |name: &str| udev.get(name).map(str::to_owned);
    let of_drive = || from_page().or_else(|| folder.word("device/serial"));
    (class != Class::Virtio)
        .then(of_drive)
        .flatten()
        .or_else(|| folder.word("serial"))
        .or_else(|| from_udev("SCSI_IDENT_SERIAL"))
        .or_else(|| from_udev("ID_SCSI_SERIAL"))
        .or_else(|| from_udev("ID_SERIAL_SHORT"))
        .map(|text| ids::tidy(&text))
        .filter(|text| !ids::is_placeholder_serial(text))
}

fn worldwide(folder: &Folder<'_>, class: Class, udev: &udev::Record) -> ids::Worldwide {
    let word = |path: &str| folder.word(path);
    match class {
        Class::Nvme => ids::Worldwide::of_nvme(
            word("nguid").as_deref(),
            word("eui").as_deref(),
            word("uuid").as_deref(),
            word("wwid").as_deref(),
        ),
        Class::Scsi | Class::Ide | Class::Rom => {
            let from_page = || {
                let designators = scsi_vpd::designators(&folder.bytes("device/vpd_pg83")?).value;
                scsi_vpd::worldwide_name(&designators).map(str::to_owned)
            };
            let texts = [
                word("device/wwid").filter(|text| text.starts_with("naa.") || text.starts_with("eui.")),
                from_page(),
                udev.get("ID_WWN_WITH_EXTENSION").map(str::to_owned),
                udev.get("ID_WWN").map(str::to_owned),
            ];
            ids::Worldwide::of_scsi(texts.iter().flatten().map(String::as_str))
        }
        _ => ids::Worldwide::default(),
    }
}

/// eMMC cards show `mmcblk0boot0` and the like beside `mmcblk0`, all with the card's serial number.
fn part(name: &str, class: Class, namespace: Option<u64>) -> Option<String> {
    match class {
        Class::Nvme => namespace.map(|id| format!("ns{id}")),
        Class::Mmc => {
            let rest = name
                .strip_prefix("mmcblk")?
                .trim_start_matches(|c: char| c.is_ascii_digit());
            (!rest.is_empty()).then(|| rest.to_owned())
        }
        _ => None,
    }
}

fn parse_numbers(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// `../devices/pci0000:00/0000:00:02.0/virtio1/block/vda` becomes `pci0000:00/0000:00:02.0/virtio1`.
fn bus_path(target: &str, name: &str) -> String {
    let path = target.trim_start_matches("../").trim_start_matches("devices/");
    let parent = path.strip_suffix(name).unwrap_or(path).trim_end_matches('/');
    let bus = parent.strip_suffix("/block").unwrap_or(parent);
    // All virtual devices share their folder: only the name tells them apart.
    if bus == "virtual" {
        format!("virtual/{name}")
    } else {
        bus.to_owned()
    }
}

/// What tells whether the set of devices, or which device has which name, has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint {
    devices: BTreeMap<String, Look>,
    /// The kernel's list of all that has a size, partitions included (proc(5)).
    partitions: Option<String>,
}

impl Fingerprint {
    /// Takes what was looked at while the devices were read; `partitions` was read before them.
    pub(super) const fn of(devices: BTreeMap<String, Look>, partitions: Option<String>) -> Self {
        Self { devices, partitions }
    }

    /// The kernel's list as it was.
    pub(super) fn partitions(&self) -> Option<&str> {
        self.partitions.as_deref()
    }
}

/// What is looked at of one device.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Look {
    target: Option<String>,
    /// The kernel's serial number of each appearance of a disk, since Linux 5.15.
    appearance: Option<String>,
    /// What a layer lies on.
    slaves: Vec<String>,
    /// How many entries its folder has, where nothing lists partitions.
    entries: Option<usize>,
}

impl Look {
    fn of(files: &Files, name: &str, has_partitions: bool) -> Self {
        let base = format!("/sys/block/{name}");
        Self {
            target: files.link(&base).map(camino::Utf8PathBuf::into_string),
            appearance: files.word(&format!("{base}/diskseq")),
            slaves: match is_layer(Class::of(name)) {
                true => files.names(&format!("{base}/slaves")),
                false => Vec::new(),
            },
            entries: (!has_partitions).then(|| files.names(&base).len()),
        }
    }

    fn in_folder(
        files: &Files,
        name: &str,
        folder: &Folder<'_>,
        (event, has_partitions): (&Event, bool),
    ) -> Self {
        let told = event.value("DISKSEQ").map(str::to_owned);
        Self {
            target: files.link(folder.path()).map(camino::Utf8PathBuf::into_string),
            appearance: told.or_else(|| folder.word("diskseq")),
            slaves: match is_layer(Class::of(name)) {
                true => folder.names_in("slaves"),
                false => Vec::new(),
            },
            entries: (!has_partitions).then(|| folder.names().len()),
        }
    }
}

/// Whether devices of this class are made of others.
const fn is_layer(class: Class) -> bool {
    matches!(class, Class::DeviceMapper | Class::Md | Class::Other)
}

/// The kernel's list of all that has a size.
pub(super) fn partitions(files: &Files) -> Option<String> {
    files.text("/proc/partitions").ok().flatten()
}

/// Reads just enough to see a change: names, places, appearances, partitions and what lies on what.
pub(super) fn fingerprint(files: &Files, names: &[String]) -> Fingerprint {
    let partitions = partitions(files);
    let of = |name: &String| (name.clone(), Look::of(files, name, partitions.is_some()));
    Fingerprint {
        devices: names.iter().map(of).collect(),
        partitions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_class() {
        for (name, class) in [
            ("sda", Class::Scsi),
            ("sr0", Class::Rom),
            ("nvme0n1", Class::Nvme),
            ("zram0", Class::Zram),
            ("ram0", Class::Ram),
            ("md127", Class::Md),
            ("dm-0", Class::DeviceMapper),
            ("zd16", Class::Zvol),
            ("rbd0", Class::Other),
        ] {
            assert_eq!(Class::of(name), class, "{name}");
        }
    }

    #[test]
    fn places_lose_their_kernel_names() {
        let virtio = "../devices/pci0000:00/0000:00:02.0/virtio1/block/vda";
        assert_eq!(bus_path(virtio, "vda"), "pci0000:00/0000:00:02.0/virtio1");
        assert_eq!(
            bus_path("../devices/virtual/block/zram0", "zram0"),
            "virtual/zram0"
        );
        let nvme = "../devices/pci0000:00/0000:00:03.0/nvme/nvme0/nvme0n1";
        assert_eq!(bus_path(nvme, "nvme0n1"), "pci0000:00/0000:00:03.0/nvme/nvme0");
    }

    #[test]
    fn parts_of_an_emmc_card_are_told_apart() {
        assert_eq!(part("mmcblk0", Class::Mmc, None), None);
        assert_eq!(part("mmcblk0boot1", Class::Mmc, None).as_deref(), Some("boot1"));
        assert_eq!(part("nvme0n2", Class::Nvme, Some(2)).as_deref(), Some("ns2"));
    }
}
