//! Layers above disks: which resource each name stands for, and what rests on what.

use muster_model::Health;

use super::{Root, disk_of};
use crate::collect::block::{Inventory, describe};
use crate::collect::draft::Draft;
use crate::host::Files;

const VG: &str = "QEDRTfiAC2CacWqa5OiqLL0csqfEfyz5";
const POOL: &str = "aaaaaaAAAAbbbbBBBBccccCCCCdddddd";
const THIN: &str = "yk2tfSJrUYQmddssuN0pndPItIzg8OFc";
const DATA: &str = "1111112222333344445555666677777x";
const META: &str = "2222223333444455556666777788888y";
const ARRAY: &str = "pool:mdadm:4eb7912d:d05a9a45:fcb34d9d:19344810";
const LUKS: &str = "mapping:crypt:59cbdfa1-9b78-4dca-a1b3-1d504128da99";
const THIN_KEY: &str = "volume:lvm:yk2tfS-JrUY-Qmdd-ssuN-0pnd-PItI-zg8OFc";
const POOL_KEY: &str = "volume:lvm:aaaaaa-AAAA-bbbb-BBBB-cccc-CCCC-dddddd";

impl Root {
    /// A device that lies on others.
    fn layer(&self, name: &str, slaves: &[&str], attributes: &[(&str, &str)]) -> &Self {
        self.disk(name, "virtual", attributes);
        for slave in slaves {
            self.write(&format!("sys/devices/virtual/block/{name}/slaves/{slave}/x"), "");
        }
        self
    }

    fn dm(&self, number: u32, dm_name: &str, uuid: &str, slaves: &[&str]) -> &Self {
        let numbers = format!("253:{number}");
        let attributes = [
            ("dev", numbers.as_str()),
            ("size", "8"),
            ("dm/name", dm_name),
            ("dm/uuid", uuid),
            ("dm/suspended", "0"),
        ];
        self.layer(&format!("dm-{number}"), slaves, &attributes)
    }

    fn inventory(&self) -> Inventory {
        let path = camino::Utf8Path::from_path(self.path()).unwrap();
        Inventory::read(&Files::under(path).unwrap()).unwrap().unwrap()
    }
}

/// Disk, partition, RAID1, LUKS, physical volume, thin pool, thin volume.
fn chain() -> Root {
    let root = Root::new();
    for (disk, wwn, place) in [
        ("sda", "naa.5000c500a1b2c3d4", "pci0/ata1"),
        ("sdb", "naa.5000c500deadbeef", "pci0/ata2"),
    ] {
        root.disk(disk, place, &disk_of(wwn, "M1", "100"));
        let part = format!("sys/devices/{place}/block/{disk}/{disk}1");
        root.write(&format!("{part}/partition"), "1\n")
            .write(&format!("{part}/size"), "50\n");
    }
    let md = [
        ("dev", "9:127"),
        ("size", "40"),
        ("md/uuid", "4eb7912d-d05a-9a45-fcb3-4d9d19344810"),
        ("md/metadata_version", "1.2"),
    ];
    root.layer("md127", &["sda1", "sdb1"], &md);
    root.write(
        "run/udev/data/b9:127",
        "S:md/lab\nS:disk/by-id/md-name-lab\nE:ID_FS_UUID=59cbdfa1\n",
    );
    root.dm(
        0,
        "luks--x",
        "CRYPT-LUKS2-59cbdfa19b784dcaa1b31d504128da99-luks--x",
        &["md127"],
    )
    .dm(1, "vg-pool_tdata", &format!("LVM-{VG}{DATA}-tdata"), &["dm-0"])
    .dm(2, "vg-pool_tmeta", &format!("LVM-{VG}{META}-tmeta"), &["dm-0"])
    .dm(
        3,
        "vg-pool-tpool",
        &format!("LVM-{VG}{POOL}-tpool"),
        &["dm-1", "dm-2"],
    )
    .dm(4, "vg-pool", &format!("LVM-{VG}{POOL}-pool"), &["dm-3"])
    .dm(5, "vg-thin", &format!("LVM-{VG}{THIN}"), &["dm-3"]);
    root
}

fn links(root: &Root) -> Vec<(String, String)> {
    let mut draft = Draft::new("block");
    describe(&mut draft, &root.inventory());
    let facts = draft.finish();
    assert!(facts.problems.is_empty(), "{:?}", facts.problems);
    let pairs = facts
        .links
        .iter()
        .map(|link| (link.from.to_string(), link.to.to_string()));
    pairs.collect()
}

#[test]
fn each_layer_of_a_chain_rests_on_the_next_and_on_nothing_else() {
    let root = chain();
    let inventory = root.inventory();
    let below = |name: &str| {
        inventory
            .below(name)
            .into_iter()
            .map(|key| key.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(below("dm-5"), [POOL_KEY]);
    assert_eq!(below("dm-4"), [LUKS], "through tpool, tdata and tmeta");
    assert_eq!(below("dm-0"), [ARRAY]);
    assert_eq!(
        below("md127"),
        [
            "partition:wwn:0x5000c500a1b2c3d4:1",
            "partition:wwn:0x5000c500deadbeef:1"
        ]
    );
    assert_eq!(below("sda1"), ["device:wwn:0x5000c500a1b2c3d4"]);
    let links = links(&root);
    assert!(links.contains(&(THIN_KEY.to_owned(), POOL_KEY.to_owned())));
    assert!(links.contains(&(LUKS.to_owned(), ARRAY.to_owned())));
    // Two partitions on disks, crypt on the array, the pool on crypt, the volume on its pool.
    assert!(links.iter().all(|(from, _)| !from.contains("tdata")), "{links:?}");
}

#[test]
fn every_name_of_a_device_leads_to_the_same_resource() {
    let root = chain();
    let inventory = root.inventory();
    let key = |path: &str| inventory.key_of_path(path).map(|key| key.as_str());
    for path in [
        "/dev/mapper/vg-thin",
        "/dev/vg/thin",
        "/dev/dm-5",
        "dm-5",
        "/dev/block/253:5",
    ] {
        assert_eq!(key(path), Some(THIN_KEY), "{path}");
    }
    for path in [
        "/dev/md127",
        "/dev/md/lab",
        "/dev/disk/by-id/md-name-lab",
        "md-name-lab",
        "UUID=59CBDFA1",
    ] {
        assert_eq!(key(path), Some(ARRAY), "{path}");
    }
    for path in [
        "",
        "/dev/",
        "=",
        "UUID=",
        "LABEL=x",
        "/dev/sdz",
        "/dev/block/x",
        "/elsewhere/md127",
        "tank/data",
    ] {
        assert_eq!(key(path), None, "{path:?}");
    }
    for inner in ["dm-1", "dm-2", "dm-3", "dm-4"] {
        assert_eq!(inventory.key_of(inner).unwrap().as_str(), POOL_KEY, "{inner}");
    }
}

#[test]
fn a_snapshot_rests_on_its_origin_and_on_what_holds_its_changes() {
    let root = Root::new();
    root.disk("sda", "pci0/ata1", &disk_of("naa.5000c500a1b2c3d4", "M1", "100"))
        .disk("sdb", "pci0/ata2", &disk_of("naa.5000c500deadbeef", "M1", "100"));
    root.dm(0, "vg-home-real", &format!("LVM-{VG}{POOL}-real"), &["sda"])
        .dm(1, "vg-home", &format!("LVM-{VG}{POOL}"), &["dm-0"])
        .dm(2, "vg-home--snap-cow", &format!("LVM-{VG}{THIN}-cow"), &["sdb"])
        .dm(3, "vg-home--snap", &format!("LVM-{VG}{THIN}"), &["dm-0", "dm-2"]);
    let inventory = root.inventory();
    let below = |name: &str| {
        inventory
            .below(name)
            .into_iter()
            .map(|key| key.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(below("dm-1"), ["device:wwn:0x5000c500a1b2c3d4"]);
    assert_eq!(below("dm-3"), ["device:wwn:0x5000c500deadbeef", POOL_KEY]);
}

#[test]
fn partitions_of_arrays_and_of_multipath_devices_are_partitions() {
    let root = Root::new();
    for (disk, place) in [("sda", "pci0/ata1"), ("sdb", "pci0/ata2")] {
        let mut attributes = disk_of("naa.5000c500a1b2c3d4", "M1", "100");
        attributes.push(("device/state", if disk == "sda" { "running" } else { "offline" }));
        root.disk(disk, place, &attributes);
    }
    root.dm(0, "mpatha", "mpath-35000c500a1b2c3d4", &["sda", "sdb"])
        .dm(1, "mpatha-part1", "part1-mpath-35000c500a1b2c3d4", &["dm-0"]);
    let md = [
        ("dev", "9:0"),
        ("size", "40"),
        ("md/uuid", "4eb7912d-d05a-9a45-fcb3-4d9d19344810"),
    ];
    root.layer("md0", &["dm-1"], &md);
    root.write("sys/devices/virtual/block/md0/md0p2/partition", "2\n");
    assert_eq!(
        links(&root),
        [
            (
                "mapping:multipath:35000c500a1b2c3d4",
                "device:wwn:0x5000c500a1b2c3d4"
            ),
            (
                "partition:multipath:35000c500a1b2c3d4:1",
                "mapping:multipath:35000c500a1b2c3d4"
            ),
            ("partition:mdadm:4eb7912d:d05a9a45:fcb34d9d:19344810:2", ARRAY),
        ]
        .map(|(from, to)| (from.to_owned(), to.to_owned()))
    );
    let mut draft = Draft::new("block");
    describe(&mut draft, &root.inventory());
    let facts = draft.finish();
    let multipath = facts
        .resources
        .iter()
        .find(|resource| resource.name == "mpatha")
        .unwrap();
    assert_eq!(multipath.health, Some(Health::Warning));
    assert!(
        multipath.health_reasons[0].contains("1 of 2 paths"),
        "{:?}",
        multipath.health_reasons
    );
}

#[test]
fn an_arrays_id_is_taken_from_its_members_where_the_kernel_does_not_show_it() {
    let root = Root::new();
    for (disk, place, dev) in [("sda", "pci0/ata1", "8:0"), ("sdb", "pci0/ata2", "8:16")] {
        let mut attributes = disk_of("naa.5000c500a1b2c3d4", disk, "100");
        attributes.push(("dev", dev));
        root.disk(disk, place, &attributes);
        let udev = "E:ID_FS_TYPE=linux_raid_member\nE:ID_FS_UUID=4eb7912d-d05a-9a45-fcb3-4d9d19344810\n";
        root.write(&format!("run/udev/data/b{dev}"), udev);
    }
    root.layer("md0", &["sda", "sdb"], &[("dev", "9:0")]);
    root.layer("md1", &[], &[("dev", "9:1")]);
    let inventory = root.inventory();
    assert_eq!(inventory.key_of("md0").unwrap().as_str(), ARRAY);
    assert_eq!(inventory.key_of("md1").unwrap().as_str(), "pool:mdadm:name/md1");
    assert!(inventory.identity("md1").is_none(), "an empty array is no disk");
}

#[test]
fn layers_that_lie_on_each_other_in_a_circle_end() {
    let root = Root::new();
    root.dm(0, "vg-a_tdata", &format!("LVM-{VG}{DATA}-tdata"), &["dm-1"])
        .dm(1, "vg-b_tdata", &format!("LVM-{VG}{META}-tdata"), &["dm-0"])
        .dm(2, "p", "part1-mpath-x", &["dm-3"])
        .dm(3, "q", "part1-mpath-y", &["dm-2"]);
    let inventory = root.inventory();
    assert_eq!(inventory.below("dm-0").len(), 1);
    assert!(inventory.key_of("dm-2").is_none());
    links(&root);
}

#[test]
fn a_mapping_whose_disk_is_gone_is_failed_and_stays_itself() {
    let root = Root::new();
    root.dm(
        0,
        "secret",
        "CRYPT-LUKS1-59cbdfa19b784dcaa1b31d504128da99-secret",
        &[],
    );
    let mut draft = Draft::new("block");
    describe(&mut draft, &root.inventory());
    let facts = draft.finish();
    assert_eq!(facts.resources.len(), 1);
    assert_eq!(facts.resources[0].key.as_str(), LUKS);
    assert_eq!(facts.resources[0].health, Some(Health::Failed));
}
