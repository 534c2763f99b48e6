//! The inventory over folders that look like `/sys`, and on this machine beside lsblk.

use std::fs;
use std::path::Path;

use camino::Utf8Path;
use muster_model::Facts;

use super::*;
use crate::host::Host;

mod layers;

/// A root with block devices.
pub(crate) struct Root(tempfile::TempDir);

impl Root {
    pub(crate) fn new() -> Self {
        let root = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(root.path().join("sys/block")).unwrap();
        root
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// A disk at a place on the bus, as the kernel lays it out.
    pub(crate) fn disk(&self, name: &str, place: &str, attributes: &[(&str, &str)]) -> &Self {
        let folder = format!("sys/devices/{place}/block/{name}");
        fs::create_dir_all(self.path().join(&folder)).unwrap();
        for (attribute, value) in attributes {
            self.write(&format!("{folder}/{attribute}"), format!("{value}\n"));
        }
        let target = format!("../devices/{place}/block/{name}");
        std::os::unix::fs::symlink(target, self.path().join("sys/block").join(name)).unwrap();
        self
    }

    pub(crate) fn host(&self) -> Host {
        Host::under(Utf8Path::from_path(self.path()).unwrap()).unwrap()
    }

    fn facts(&self) -> Facts {
        let inventory =
            Inventory::read(&crate::host::Files::under(Utf8Path::from_path(self.path()).unwrap()).unwrap());
        let mut draft = Draft::new("block");
        describe(&mut draft, &inventory.unwrap().unwrap());
        draft.finish()
    }
}

fn keys(facts: &Facts) -> Vec<(&str, &str)> {
    facts
        .resources
        .iter()
        .map(|resource| (resource.name.as_str(), resource.key.as_str()))
        .collect()
}

const PLACE_1: &str = "pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0";
const PLACE_2: &str = "pci0000:00/0000:00:1f.2/ata2/host1/target1:0:0/1:0:0:0";
const WWN_A: &str = "naa.5000c500a1b2c3d4";
const WWN_B: &str = "naa.5000c500deadbeef";

fn disk_of<'a>(wwid: &'a str, model: &'a str, size: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("device/wwid", wwid),
        ("device/model", model),
        ("size", size),
        ("queue/rotational", "1"),
    ]
}

#[test]
fn renamed_disks_keep_their_keys() {
    let before = Root::new();
    before.disk("sda", PLACE_1, &disk_of(WWN_A, "M1", "100")).disk(
        "sdb",
        PLACE_2,
        &disk_of(WWN_B, "M2", "200"),
    );
    let after = Root::new();
    after.disk("sdb", PLACE_1, &disk_of(WWN_A, "M1", "100")).disk(
        "sda",
        PLACE_2,
        &disk_of(WWN_B, "M2", "200"),
    );
    let (before, after) = (before.facts(), after.facts());
    assert_eq!(
        keys(&before),
        [
            ("sda", "device:wwn:0x5000c500a1b2c3d4"),
            ("sdb", "device:wwn:0x5000c500deadbeef")
        ]
    );
    assert_eq!(
        keys(&after),
        [
            ("sdb", "device:wwn:0x5000c500a1b2c3d4"),
            ("sda", "device:wwn:0x5000c500deadbeef")
        ]
    );
}

#[test]
fn a_disk_without_worldwide_name_is_known_by_model_and_serial_else_by_its_place() {
    let root = Root::new();
    root.disk(
        "sda",
        PLACE_1,
        &[
            ("device/model", "QEMU HARDDISK"),
            ("device/serial", "QM00013"),
            ("size", "8"),
        ],
    );
    root.disk(
        "sdb",
        PLACE_2,
        &[
            ("device/model", "Flash"),
            ("device/serial", "0123456789ABCDEF"),
            ("size", "8"),
        ],
    );
    let facts = root.facts();
    let by_place = format!("device:path:{PLACE_2}");
    assert_eq!(
        keys(&facts),
        [
            ("sdb", by_place.as_str()),
            ("sda", "device:serial:QEMU_HARDDISK:QM00013")
        ]
    );
    assert_eq!(facts.resources[0].attributes["key_quality"], "weak".into());
    assert_eq!(facts.resources[1].attributes["key_quality"], "strong".into());
    assert!(
        !facts.resources[0].attributes.contains_key("serial_number"),
        "a placeholder is none"
    );
}

#[test]
fn two_different_disks_with_one_worldwide_name_are_known_by_their_places_with_a_problem() {
    let root = Root::new();
    root.disk("sda", PLACE_1, &disk_of(WWN_A, "M1", "100")).disk(
        "sdb",
        PLACE_2,
        &disk_of(WWN_A, "M2", "100"),
    );
    let facts = root.facts();
    assert_eq!(facts.resources.len(), 2);
    for resource in &facts.resources {
        assert!(
            resource.key.as_str().starts_with("device:path:"),
            "{}",
            resource.key
        );
        assert_eq!(resource.attributes["key_quality"], "weak".into());
    }
    assert_eq!(facts.problems.len(), 1);
    assert!(
        facts.problems[0]
            .message
            .starts_with("sda, sdb all say they are device:wwn:")
    );
}

#[test]
fn equal_drives_whose_serials_differ_are_two() {
    let root = Root::new();
    for (name, place, serial) in [("sda", PLACE_1, "SER-1"), ("sdb", PLACE_2, "SER-2")] {
        let mut attributes = disk_of(WWN_A, "M1", "100");
        attributes.push(("device/serial", serial));
        root.disk(name, place, &attributes);
    }
    assert_eq!(root.facts().resources.len(), 2);
}

#[test]
fn worldwide_name_model_and_size_together_make_one_device_with_two_paths() {
    let root = Root::new();
    root.disk("sda", PLACE_1, &disk_of(WWN_A, "M1", "100")).disk(
        "sdb",
        PLACE_2,
        &disk_of(WWN_A, "M1", "100"),
    );
    let facts = root.facts();
    assert_eq!(keys(&facts), [("sda", "device:wwn:0x5000c500a1b2c3d4")]);
    assert_eq!(
        facts.resources[0].attributes["paths"],
        vec!["sda".to_owned(), "sdb".to_owned()].into()
    );
    assert!(facts.problems.is_empty());
}

#[test]
fn dm_multipath_makes_one_device_of_paths_whatever_else_they_say() {
    let root = Root::new();
    root.disk("sda", PLACE_1, &disk_of(WWN_A, "M1", "100"))
        .disk("sdb", PLACE_2, &disk_of(WWN_A, "M1", "96"));
    root.disk(
        "dm-0",
        "virtual",
        &[
            ("dm/uuid", "mpath-35000c500a1b2c3d4"),
            ("dm/name", "mpatha"),
            ("size", "100"),
        ],
    );
    for path in ["sda", "sdb"] {
        root.write(&format!("sys/devices/virtual/block/dm-0/slaves/{path}/x"), "");
    }
    let facts = root.facts();
    assert_eq!(
        keys(&facts),
        [
            ("sda", "device:wwn:0x5000c500a1b2c3d4"),
            ("mpatha", "mapping:multipath:35000c500a1b2c3d4")
        ]
    );
}

#[test]
fn what_lsblk_lists_is_listed() {
    let root = Root::new();
    root.disk("zram0", "virtual", &[("dev", "253:0"), ("size", "0")])
        .disk("ram0", "virtual", &[("dev", "1:0"), ("size", "8")])
        .disk("loop0", "virtual", &[("dev", "7:0"), ("size", "0")])
        .disk(
            "loop1",
            "virtual",
            &[("dev", "7:1"), ("size", "16"), ("loop/backing_file", "/a.img")],
        )
        .disk(
            "nvme0c0n1",
            "pci0/nvme/nvme0",
            &[("dev", "259:1"), ("size", "8"), ("hidden", "1")],
        )
        .disk("md0", "virtual", &[("dev", "9:0"), ("size", "8")]);
    root.write("sys/devices/virtual/block/md0/slaves/loop1/x", "");
    let facts = root.facts();
    let names: Vec<_> = keys(&facts).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["loop1", "zram0"]);
    for resource in &facts.resources {
        assert_eq!(resource.shown_health(), Health::Unknown);
        assert!(
            resource.health_reasons[0].starts_with("no SMART data"),
            "{:?}",
            resource.health_reasons
        );
    }
}

#[test]
fn partitions_rest_on_their_disk() {
    let root = Root::new();
    root.disk("sda", PLACE_1, &disk_of(WWN_A, "M1", "100"));
    let part = format!("sys/devices/{PLACE_1}/block/sda/sda1");
    root.write(&format!("{part}/partition"), "1\n")
        .write(&format!("{part}/dev"), "8:1\n")
        .write(&format!("{part}/size"), "50\n")
        .write(&format!("{part}/start"), "2\n")
        .write("run/udev/data/b8:1", "E:ID_FS_UUID=0aa1-7f\nE:ID_FS_TYPE=ext4\n");
    let facts = root.facts();
    let partition = &facts.resources[1];
    assert_eq!(partition.key.as_str(), "partition:wwn:0x5000c500a1b2c3d4:1");
    assert_eq!(partition.attributes["size_bytes"], 25_600_u64.into());
    assert_eq!(partition.attributes["fs_uuid"], "0aa1-7f".into());
    assert_eq!(facts.links.len(), 1);
    assert_eq!(
        (&facts.links[0].from, &facts.links[0].to),
        (&partition.key, &facts.resources[0].key)
    );
}

#[test]
fn namespaces_of_one_drive_without_ids_are_told_apart() {
    let root = Root::new();
    for (name, id) in [("nvme0n1", "1"), ("nvme0n2", "2")] {
        let attributes = [
            ("nsid", id),
            ("device/model", "X"),
            ("device/serial", "SN77"),
            ("size", "8"),
        ];
        root.disk(name, &format!("pci0/nvme/nvme0/{name}"), &attributes);
    }
    let facts = root.facts();
    let found: Vec<_> = keys(&facts).into_iter().map(|(_, key)| key).collect();
    assert_eq!(found, ["device:serial:X:SN77:ns1", "device:serial:X:SN77:ns2"]);
}

#[tokio::test]
async fn a_reading_is_shared_until_something_changes() {
    let root = Root::new();
    root.disk("sda", PLACE_1, &disk_of(WWN_A, "M1", "100"));
    let host = root.host();
    let shared = Shared::default();
    let first = shared.current(&host).await.unwrap();
    assert!(Arc::ptr_eq(&first, &shared.current(&host).await.unwrap()));
    root.disk("sdb", PLACE_2, &disk_of(WWN_B, "M1", "100"));
    assert_eq!(shared.current(&host).await.unwrap().devices().count(), 2);
}

#[tokio::test]
async fn changes_are_looked_for_once_the_kernel_tells_of_one() {
    let root = Root::new();
    root.disk("sda", PLACE_1, &disk_of(WWN_A, "M1", "100"));
    root.write("sys/kernel/uevent_seqnum", "100\n");
    let host = root.host();
    let shared = Shared::default();
    let first = shared.current(&host).await.unwrap();
    root.disk("sdb", PLACE_2, &disk_of(WWN_B, "M1", "100"));
    // A disk does not come without a word: whoever looks now looks at what was read.
    assert!(Arc::ptr_eq(&first, &shared.current(&host).await.unwrap()));
    root.write("sys/kernel/uevent_seqnum", "101\n");
    assert_eq!(shared.current(&host).await.unwrap().devices().count(), 2);
    // The collector of the devices themselves reads them while the kernel has only just told of something.
    root.disk("sdc", "pci0000:00/3", &[("dev", "8:32"), ("size", "8")]);
    let inventory = shared.refresh(&host).await.unwrap().unwrap();
    assert_eq!(inventory.devices().count(), 3);
}

#[tokio::test]
async fn what_changes_without_a_word_is_looked_at_each_time() {
    let root = Root::new();
    root.disk("sda", PLACE_1, &disk_of(WWN_A, "M1", "100"));
    let state = "sys/block/sda/device/state";
    root.write(state, "running\n");
    root.write("sys/kernel/uevent_seqnum", "100\n");
    let host = root.host();
    let shared = Shared::default();
    let first = shared.refresh(&host).await.unwrap().unwrap();
    let again = shared.refresh(&host).await.unwrap().unwrap();
    assert!(!Arc::ptr_eq(&first, &again), "udev may be writing still");
    shared.settle();
    let third = shared.refresh(&host).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&again, &third), "as good as a new one");
    root.write(state, "offline\n");
    let offline = shared.refresh(&host).await.unwrap().unwrap();
    assert_eq!(offline.node("sda").unwrap().state.as_deref(), Some("offline"));
    shared.settle();
    root.write("sys/kernel/uevent_seqnum", "101\n");
    let told = shared.refresh(&host).await.unwrap().unwrap();
    assert!(!Arc::ptr_eq(&offline, &told), "the kernel told of something");
}

#[tokio::test]
async fn a_member_that_md_takes_in_without_a_word_is_seen() {
    let root = Root::new();
    root.disk("sda", PLACE_1, &disk_of(WWN_A, "M1", "100"));
    root.disk("sdb", PLACE_2, &disk_of(WWN_B, "M1", "100"));
    root.disk("md0", "virtual", &[("dev", "9:0"), ("size", "8")]);
    root.write("sys/block/md0/slaves/sda", "");
    root.write("sys/kernel/uevent_seqnum", "100\n");
    let host = root.host();
    let shared = Shared::default();
    let slaves = |inventory: &Inventory| inventory.node("md0").unwrap().slaves.clone();
    assert_eq!(slaves(&shared.current(&host).await.unwrap()), ["sda"]);
    root.write("sys/block/md0/slaves/sdb", "");
    shared.make_restless();
    assert_eq!(slaves(&shared.current(&host).await.unwrap()), ["sda", "sdb"]);
    // Nobody looks for what the kernel would have told of.
    shared.make_restless();
    let known = shared.current(&host).await.unwrap();
    root.write("sys/block/sda/diskseq", "7\n");
    shared.make_restless();
    assert!(Arc::ptr_eq(&known, &shared.current(&host).await.unwrap()));
    root.write("sys/block/md0/slaves/sdc", "");
    shared.settle();
    let refreshed = shared.refresh(&host).await.unwrap().unwrap();
    assert_eq!(slaves(&refreshed), ["sda", "sdb", "sdc"]);
}

#[tokio::test]
async fn a_mapping_that_is_held_back_without_a_word_is_seen() {
    let root = Root::new();
    root.disk("dm-0", "virtual", &[("dev", "253:0"), ("size", "8")]);
    root.write("sys/block/dm-0/dm/suspended", "0\n");
    root.write("sys/kernel/uevent_seqnum", "100\n");
    let host = root.host();
    let shared = Shared::default();
    let suspended = |inventory: &Inventory| inventory.node("dm-0").unwrap().is_suspended;
    let first = shared.refresh(&host).await.unwrap().unwrap();
    shared.settle();
    let second = shared.refresh(&host).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(suspended(&second), Some(false));
    root.write("sys/block/dm-0/dm/suspended", "1\n");
    assert_eq!(
        suspended(&shared.refresh(&host).await.unwrap().unwrap()),
        Some(true)
    );
}

#[tokio::test]
async fn what_udev_writes_down_late_is_seen_and_until_then_nothing_is_read_again() {
    let root = Root::new();
    root.disk("sda", PLACE_1, &[("dev", "8:0"), ("size", "100")]);
    root.write("sys/kernel/uevent_seqnum", "100\n");
    let record = "run/udev/data/b8:0";
    root.write(record, "E:ID_SERIAL_SHORT=EARLY\n");
    let serial = |inventory: &Inventory| inventory.node("sda").unwrap().serial.clone().unwrap();
    let host = root.host();
    let written = |from_now_s: i64| {
        let at_ms = u64::try_from(host.now_ms() + from_now_s * 1000).unwrap();
        let folder = fs::File::open(root.path().join("run/udev/data")).unwrap();
        folder
            .set_modified(std::time::UNIX_EPOCH + Duration::from_millis(at_ms))
            .unwrap();
    };
    let shared = Shared::default();
    // Shortly after something was written down, and where the clock went back, the next writing may bear the same time.
    written(60);
    let first = shared.refresh(&host).await.unwrap().unwrap();
    let second = shared.refresh(&host).await.unwrap().unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    shared.settle();
    let again = shared.refresh(&host).await.unwrap().unwrap();
    assert!(!Arc::ptr_eq(&second, &again), "however calm the kernel is");
    written(-60);
    let third = shared.refresh(&host).await.unwrap().unwrap();
    let fourth = shared.refresh(&host).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&third, &fourth));
    assert_eq!(serial(&fourth), "EARLY");
    root.write("run/udev/data/new", "E:ID_SERIAL_SHORT=LATE\n");
    fs::rename(root.path().join("run/udev/data/new"), root.path().join(record)).unwrap();
    shared.settle();
    assert_eq!(serial(&shared.refresh(&host).await.unwrap().unwrap()), "LATE");
    // Who only uses the inventory sees it as well, when it looks the next time.
    written(-30);
    shared.refresh(&host).await.unwrap();
    root.write("run/udev/data/new", "E:ID_SERIAL_SHORT=LATER\n");
    fs::rename(root.path().join("run/udev/data/new"), root.path().join(record)).unwrap();
    shared.make_restless();
    assert_eq!(serial(&shared.current(&host).await.unwrap()), "LATER");
}

#[tokio::test]
async fn a_recording_of_lsblk_stands_in_for_sysfs() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("muster/run/lsblk")).unwrap();
    let text = r#"{"blockdevices":[{"name":"sda","type":"disk","size":1000,"wwn":"0x5000c500a1b2c3d4"}]}"#;
    fs::write(folder.path().join("muster/run/lsblk/all"), text).unwrap();
    let host = Host::under(Utf8Path::from_path(folder.path()).unwrap()).unwrap();
    let inventory = Shared::default().refresh(&host).await.unwrap().unwrap();
    assert_eq!(
        inventory.key("sda").unwrap().as_str(),
        "device:wwn:0x5000c500a1b2c3d4"
    );
}

#[tokio::test]
async fn a_server_without_sysfs_is_absent() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::under(Utf8Path::from_path(folder.path()).unwrap()).unwrap();
    let outcome = Block {
        shared: Arc::default(),
    }
    .collect(&host)
    .await
    .unwrap();
    assert!(matches!(outcome, Outcome::Absent { .. }));
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the test asks lsblk itself")]
async fn this_machines_disks_are_those_of_lsblk() {
    let output = std::process::Command::new("lsblk")
        .args(["-b", "-d", "-J"])
        .output()
        .unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut expected: Vec<_> = document["blockdevices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|device| {
            (
                device["name"].as_str().unwrap().to_owned(),
                device["size"].as_i64().unwrap(),
            )
        })
        .collect();
    expected.sort_unstable();
    let Outcome::Facts(facts) = Block {
        shared: Arc::default(),
    }
    .collect(&Host::system())
    .await
    .unwrap() else {
        panic!("this machine has disks");
    };
    let devices = facts
        .resources
        .iter()
        .filter(|resource| resource.kind == ResourceKind::Device);
    let mut found: Vec<_> = devices
        .map(|resource| {
            let Attribute::Int(size) = resource.attributes["size_bytes"] else {
                panic!("a size is a number")
            };
            (resource.name.clone(), size)
        })
        .collect();
    found.sort_unstable();
    assert_eq!(found, expected);
}
