//! Which drives smartctl is asked about, and how it is to address them.

use std::collections::BTreeSet;

use muster_model::ResourceKey;
use smartmontools_parse::scan::ScannedDevice;

use crate::collect::block::{Class, Inventory};

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

/// The scanned drives and those of the inventory that the scan does not know, each drive once.
pub(super) fn list(scanned: &[ScannedDevice], inventory: &Inventory) -> Vec<Target> {
    let from_scan = scanned.iter().map(|device| of_scan(device, inventory));
    let from_inventory = inventory
        .devices()
        .filter(|(node, _)| node.class.may_have_smart())
        .map(|(node, _)| match controller(&node.name) {
            Some(controller) => of_name(controller, None, inventory),
            None => of_name(&node.name, None, inventory),
        });
    let mut labels = BTreeSet::new();
    let mut keys = BTreeSet::new();
    let is_new = |target: &Target| {
        // Two paths to one drive: the first is asked.
        let is_known_drive = target.key().is_some_and(|key| !keys.insert(key.clone()));
        labels.insert(target.label.clone()) && !is_known_drive
    };
    from_scan.chain(from_inventory).filter(is_new).collect()
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
    let member = device_type.as_deref().filter(|kind| kind.contains(','));
    let base = name.replace('/', "_");
    let label = match member {
        Some(member) => format!("{base}_{}", member.replace(',', "_")),
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
        let targets = list(&devices, &Inventory::default());
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
        assert_eq!(list(&devices, &Inventory::default()).len(), 1);
    }

    #[test]
    fn namespaces_know_their_controller() {
        assert_eq!(controller("nvme0n1"), Some("nvme0"));
        assert_eq!(controller("nvme12n3"), Some("nvme12"));
        assert_eq!(controller("nvme0"), None);
        assert_eq!(controller("sdn1"), None);
    }
}
