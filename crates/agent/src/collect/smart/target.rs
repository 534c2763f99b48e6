//! Which drives smartctl is asked about, and how it is to address them.

use std::collections::BTreeSet;
use std::time::Duration;

use muster_model::ResourceKey;
use smartmontools_parse::scan::ScannedDevice;

use crate::collect::block::{Class, Inventory};
use crate::config::collect::smart::{Device, Devices};

/// A drive to ask about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// The device node.
    pub(super) node: String,
    /// What to give to `--device`; `None` lets smartctl find out.
    pub(super) device_type: Option<String>,
    /// The label `device` of its series, such as `sda`, `nvme0`, `bus_0_megaraid_1`.
    pub(super) label: String,
    /// The resources it is, by kernel name: one disk, or the namespaces of an NVMe controller. Empty if the kernel
    /// shows none.
    pub(super) disks: Vec<(String, ResourceKey)>,
    /// How often it is asked, if less often than the collector runs.
    pub(super) interval: Option<Duration>,
}

impl Target {
    /// What tells this drive from others for as long as the agent runs, whatever it is called.
    pub(super) fn id(&self) -> String {
        match self.key() {
            Some(key) => key.as_str().to_owned(),
            None => format!("label:{}", self.label),
        }
    }

    /// The key of the first resource it is, if the kernel shows one.
    pub(super) fn key(&self) -> Option<&ResourceKey> {
        self.disks.first().map(|(_, key)| key)
    }
}

/// The scanned drives and those of the inventory that the scan does not know, each drive once, as the settings have it.
pub(super) fn list(scanned: &[ScannedDevice], inventory: &Inventory, settings: &Devices) -> Vec<Target> {
    let from_scan = scanned.iter().map(|device| of_scan(device, inventory));
    let from_inventory = inventory
        .devices()
        .filter(|(node, _)| node.class.may_have_smart())
        .map(|(node, _)| match controller(&node.name) {
            Some(controller) => of_name(controller, None, inventory),
            None => of_name(&node.name, None, inventory),
        });
    let found = from_scan
        .chain(from_inventory)
        .filter(|target| !has_own_types(target, settings))
        .filter_map(|target| decided(target, inventory, settings));
    let named = settings
        .iter()
        .filter(|(_, device)| !device.is_ignored)
        .flat_map(|(name, device)| of_settings(name, device, inventory));
    let mut labels = BTreeSet::new();
    let mut keys = BTreeSet::new();
    let is_new = |target: &Target| {
        // Two paths to one drive: the first is asked.
        let is_known_drive = target.key().is_some_and(|key| !keys.insert(key.clone()));
        labels.insert(target.label.clone()) && !is_known_drive
    };
    named.chain(found).filter(is_new).collect()
}

/// Whether the settings say under this node's name which drives are there.
fn has_own_types(target: &Target, settings: &Devices) -> bool {
    settings
        .get(&target.node)
        .is_some_and(|device| !device.types.is_empty())
}

/// A drive as its settings have it; `None` if it is never asked.
fn decided(target: Target, inventory: &Inventory, settings: &Devices) -> Option<Target> {
    let Some(device) = settings_of(&target, inventory, settings) else {
        return Some(target);
    };
    if device.is_ignored {
        return None;
    }
    Some(Target {
        device_type: device.types.first().cloned().or(target.device_type),
        interval: device.interval,
        ..target
    })
}

/// What is decided about a drive, by its node, its keys or its serial numbers.
fn settings_of<'a>(target: &Target, inventory: &Inventory, settings: &'a Devices) -> Option<&'a Device> {
    let by_disk = || {
        target.disks.iter().find_map(|(name, key)| {
            let serial = inventory.node(name).and_then(|node| node.serial.as_deref());
            settings
                .get(key.as_str())
                .or_else(|| settings.get(&format!("/dev/{name}")))
                .or_else(|| settings.get(serial?))
        })
    };
    settings.get(&target.node).or_else(by_disk)
}

/// The drives that the settings name by a node and types, whether a scan shows them or not.
fn of_settings(node: &str, device: &Device, inventory: &Inventory) -> Vec<Target> {
    let Some(name) = node.strip_prefix("/dev/") else {
        return Vec::new();
    };
    let are_several = 1 < device.types.len();
    let target = |kind: &String| Target {
        interval: device.interval,
        ..of_member(
            name,
            Some(kind.clone()),
            are_several || is_member(kind),
            inventory,
        )
    };
    device.types.iter().map(target).collect()
}

/// Whether a type names one of several disks behind a controller, which the kernel does not show.
fn is_member(kind: &str) -> bool {
    const CONTROLLERS: [&str; 10] = [
        "megaraid,",
        "cciss,",
        "areca,",
        "3ware,",
        "hpt,",
        "aacraid,",
        "sssraid,",
        "jmb39x,",
        "jmb39x-q,",
        "jms56x,",
    ];
    CONTROLLERS
        .iter()
        .any(|prefix| kind.split('+').any(|part| part.starts_with(prefix)))
}

fn of_scan(device: &ScannedDevice, inventory: &Inventory) -> Target {
    let name = device.name.strip_prefix("/dev/").unwrap_or(&device.name);
    // The scan calls every SATA disk "scsi", and asking it as such would show nothing of its attributes.
    let device_type = device
        .kind
        .clone()
        .filter(|kind| !matches!(kind.as_str(), "scsi" | "ata" | "sat" | "nvme"));
    Target {
        node: device.name.clone(),
        ..of_name(name, device_type, inventory)
    }
}

fn of_name(name: &str, device_type: Option<String>, inventory: &Inventory) -> Target {
    let is_member = device_type.as_deref().is_some_and(is_member);
    of_member(name, device_type, is_member, inventory)
}

fn of_member(name: &str, device_type: Option<String>, is_member: bool, inventory: &Inventory) -> Target {
    let member = device_type.as_deref().filter(|_| is_member);
    let base = name.replace('/', "_");
    let label = match member {
        Some(member) => format!("{base}_{}", member.replace([',', '/', '+'], "_")),
        None => base,
    };
    let namespaces: Vec<&str> = inventory
        .devices()
        .filter(|(node, _)| node.class == Class::Nvme && controller(&node.name) == Some(name))
        .map(|(node, _)| node.name.as_str())
        .collect();
    let names = match member {
        // A disk behind a RAID controller is none of the kernel's.
        Some(_) => Vec::new(),
        None if namespaces.is_empty() => vec![name],
        None => namespaces,
    };
    let disk = |name: &str| Some((name.to_owned(), inventory.key(name)?.clone()));
    Target {
        node: format!("/dev/{name}"),
        device_type,
        label,
        disks: names.into_iter().filter_map(disk).collect(),
        interval: None,
    }
}

/// `nvme0` of `nvme0n1`.
fn controller(name: &str) -> Option<&str> {
    let (controller, namespace) = name
        .rsplit_once('n')
        .filter(|(front, _)| front.starts_with("nvme"))?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(namespace) && is_number(controller.strip_prefix("nvme")?)).then_some(controller)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(name: &str, kind: &str) -> ScannedDevice {
        ScannedDevice {
            name: name.to_owned(),
            info_name: None,
            kind: Some(kind.to_owned()),
            protocol: None,
            open_error: None,
        }
    }

    #[test]
    fn members_of_raid_controllers_are_addressed_and_labelled_by_their_type() {
        let devices = [
            scanned("/dev/sda", "scsi"),
            scanned("/dev/bus/0", "megaraid,1"),
            scanned("/dev/sg1", "cciss,1"),
        ];
        let targets = list(&devices, &Inventory::default(), &Devices::new());
        let seen: Vec<_> = targets
            .iter()
            .map(|target| (target.label.as_str(), target.device_type.as_deref()))
            .collect();
        assert_eq!(
            seen,
            [
                ("sda", None),
                ("bus_0_megaraid_1", Some("megaraid,1")),
                ("sg1_cciss_1", Some("cciss,1"))
            ]
        );
        assert_eq!(targets[1].node, "/dev/bus/0");
    }

    #[test]
    fn a_drive_that_is_scanned_twice_is_asked_once() {
        let devices = [scanned("/dev/sda", "scsi"), scanned("/dev/sda", "sat")];
        assert_eq!(list(&devices, &Inventory::default(), &Devices::new()).len(), 1);
    }

    fn settings(entries: &[(&str, &[&str])]) -> Devices {
        let device = |types: &[&str]| Device {
            types: types.iter().map(|&kind| kind.to_owned()).collect(),
            ..Device::default()
        };
        entries
            .iter()
            .map(|(name, types)| ((*name).to_owned(), device(types)))
            .collect()
    }

    fn shown(targets: &[Target]) -> Vec<(&str, &str, Option<&str>)> {
        targets
            .iter()
            .map(|target| {
                (
                    target.label.as_str(),
                    target.node.as_str(),
                    target.device_type.as_deref(),
                )
            })
            .collect()
    }

    #[test]
    fn types_from_the_settings_take_the_place_of_what_the_scan_says() {
        let devices = [
            scanned("/dev/sda", "scsi"),
            scanned("/dev/sdb", "usbjmicron"),
            scanned("/dev/bus/0", "megaraid,9"),
        ];
        let settings = settings(&[
            ("/dev/bus/0", &["megaraid,0", "sat+megaraid,1"]),
            ("/dev/sdb", &["sat,12"]),
            ("/dev/sg2", &["areca,3/1"]),
        ]);
        let targets = list(&devices, &Inventory::default(), &settings);
        let mut seen = shown(&targets);
        seen.sort_unstable();
        assert_eq!(
            seen,
            [
                ("bus_0_megaraid_0", "/dev/bus/0", Some("megaraid,0")),
                ("bus_0_sat_megaraid_1", "/dev/bus/0", Some("sat+megaraid,1")),
                ("sda", "/dev/sda", None),
                ("sdb", "/dev/sdb", Some("sat,12")),
                ("sg2_areca_3_1", "/dev/sg2", Some("areca,3/1")),
            ]
        );
    }

    #[test]
    fn two_disks_in_one_enclosure_are_two() {
        let settings = settings(&[("/dev/sdb", &["usbjmicron,0", "usbjmicron,1"])]);
        let targets = list(
            &[scanned("/dev/sdb", "usbjmicron")],
            &Inventory::default(),
            &settings,
        );
        let labels: Vec<_> = shown(&targets).into_iter().map(|(label, ..)| label).collect();
        assert_eq!(labels, ["sdb_usbjmicron_0", "sdb_usbjmicron_1"]);
    }

    #[test]
    fn an_ignored_drive_is_no_target() {
        let mut settings = settings(&[("/dev/sda", &[])]);
        settings.values_mut().for_each(|device| device.is_ignored = true);
        assert!(list(&[scanned("/dev/sda", "scsi")], &Inventory::default(), &settings).is_empty());
    }

    #[test]
    fn namespaces_know_their_controller() {
        assert_eq!(controller("nvme0n1"), Some("nvme0"));
        assert_eq!(controller("nvme12n3"), Some("nvme12"));
        assert_eq!(controller("nvme0"), None);
        assert_eq!(controller("sdn1"), None);
    }
}
