//! Filesystems over recorded mounts, with mounts that hang, and on this machine beside df.

use std::sync::Mutex;
use std::sync::mpsc;

use muster_model::{Attribute, Facts, Health};

use super::*;
use crate::collect::block::tests::Root;

const MOUNTINFO: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
28 27 8:2 / /home rw,relatime - ext4 /dev/sda2 rw
29 27 0:40 / /srv/nfs rw,relatime - nfs4 nas:/export rw
30 27 0:41 / /mnt rw - tmpfs first rw
31 27 0:42 / /mnt rw - tmpfs second rw
";

const TABLE: &str = r#"{
    "/": {"bsize": 4096, "blocks": 100, "bfree": 60, "bavail": 50, "files": 1000, "ffree": 900, "readonly": false},
    "/home": {"bsize": 512, "blocks": 10, "bfree": 5, "bavail": 5},
    "/mnt": {"bsize": 1, "blocks": 1, "bfree": 1, "bavail": 1, "readonly": true}
}"#;

async fn collect(host: &Host) -> Facts {
    let mut collector = Filesystem {
        settings: Settings::default(),
        shared: Arc::default(),
    };
    let Outcome::Facts(facts) = collector.collect(host).await.unwrap() else {
        panic!("there are mounts")
    };
    facts
}

fn root() -> Root {
    let root = Root::new();
    root.disk(
        "sda",
        "pci0/ata1",
        &[
            ("device/wwid", "naa.5000c500a1b2c3d4"),
            ("size", "100"),
            ("dev", "8:0"),
        ],
    );
    for number in ["1", "2"] {
        let part = format!("sys/devices/pci0/ata1/block/sda/sda{number}");
        root.write(&format!("{part}/partition"), number)
            .write(&format!("{part}/dev"), format!("8:{number}"));
    }
    root.write("run/udev/data/b8:1", "E:ID_FS_UUID=1111-aaaa\n")
        .write("proc/self/mountinfo", MOUNTINFO)
        .write("muster/statfs.json", TABLE);
    root
}

/// A filesystem known by its id would else be gone, and another one new, whenever `/sys` cannot be read for once.
#[tokio::test]
async fn keys_stay_the_same_while_the_block_devices_cannot_be_read() {
    let root = root();
    let mut collector = Filesystem {
        settings: Settings::default(),
        shared: Arc::default(),
    };
    let Outcome::Facts(before) = collector.collect(&root.host()).await.unwrap() else {
        panic!("there are mounts")
    };
    assert!(before.problems.is_empty(), "{:?}", before.problems);
    std::fs::remove_dir_all(root.path().join("sys/block")).unwrap();
    root.write("sys/block", "no folder");
    let Outcome::Facts(after) = collector.collect(&root.host()).await.unwrap() else {
        panic!("there are mounts")
    };
    let keys = |facts: &Facts| -> Vec<String> {
        facts
            .resources
            .iter()
            .map(|found| found.key.to_string())
            .collect()
    };
    assert_eq!(keys(&before), keys(&after));
    assert!(
        keys(&after).iter().any(|key| key.contains("1111-aaaa")),
        "{:?}",
        keys(&after)
    );
    assert_eq!(before.links, after.links);
    assert!(!after.problems.is_empty());
}

#[tokio::test]
async fn mounts_become_resources_that_rest_on_their_partitions() {
    let facts = collect(&root().host()).await;
    let keys: Vec<_> = facts
        .resources
        .iter()
        .map(|resource| resource.key.as_str())
        .collect();
    assert_eq!(
        keys,
        [
            "filesystem:1111-aaaa:/",
            "filesystem:partition:wwn:0x5000c500a1b2c3d4:2:/home",
            "filesystem:nas:/export:/srv/nfs",
            "filesystem:second:/mnt",
        ]
    );
    let root = &facts.resources[0];
    assert_eq!(root.shown_health(), Health::Healthy);
    assert_eq!(root.attributes["size_bytes"], 409_600_u64.into());
    assert_eq!(root.attributes["used_bytes"], 163_840_u64.into());
    assert_eq!(root.attributes["available_bytes"], 204_800_u64.into());
    assert_eq!(root.attributes["inodes_free"], 900_u64.into());
    assert_eq!(
        facts.resources[2].shown_health(),
        Health::Unknown,
        "its size is not recorded"
    );
    let links: Vec<_> = facts
        .links
        .iter()
        .map(|link| (link.from.as_str(), link.to.as_str()))
        .collect();
    assert_eq!(
        links,
        [
            ("filesystem:1111-aaaa:/", "partition:wwn:0x5000c500a1b2c3d4:1"),
            (
                "filesystem:partition:wwn:0x5000c500a1b2c3d4:2:/home",
                "partition:wwn:0x5000c500a1b2c3d4:2"
            ),
        ]
    );
}

#[tokio::test]
async fn a_hung_mount_hangs_nothing_and_is_unknown() {
    let (release_tx, release_rx) = mpsc::channel::<()>();
    let release_rx = Mutex::new(release_rx);
    let answer = move |mount_point: &str| {
        if mount_point == "/srv/nfs" {
            let _ = release_rx.lock().unwrap().recv();
        }
        let sizes = Statfs {
            block_bytes: 1,
            blocks: 2,
            blocks_free: 1,
            blocks_available: 1,
            files: 0,
            files_free: 0,
            is_read_only: false,
        };
        Ok(Some(sizes))
    };
    let root = root();
    let host = root.host().with_statfs(answer, Duration::from_millis(50));
    for _ in 0..2 {
        let facts = collect(&host).await;
        let of = |name: &str| {
            facts
                .resources
                .iter()
                .find(|resource| resource.name == name)
                .unwrap()
        };
        assert_eq!(of("/srv/nfs").shown_health(), Health::Unknown);
        assert_eq!(of("/home").shown_health(), Health::Healthy);
        let error = facts.samples.iter().find(|sample| {
            sample.name == "node_filesystem_device_error"
                && sample.labels.get("mountpoint") == Some("/srv/nfs")
        });
        assert_eq!(error.unwrap().value, 1.0);
    }
    drop(release_tx);
}

#[tokio::test]
async fn half_written_mounts_keep_what_is_whole() {
    let root = root();
    root.write("proc/self/mountinfo", &MOUNTINFO[..MOUNTINFO.len() - 20]);
    let facts = collect(&root.host()).await;
    assert_eq!(facts.resources.len(), 4);
    assert_eq!(facts.problems.len(), 1);
    assert_eq!(facts.problems[0].line, Some(6));
}

#[tokio::test]
async fn without_mountinfo_the_older_file_serves_and_without_both_it_is_absent() {
    let root = Root::new();
    let mut collector = Filesystem {
        settings: Settings::default(),
        shared: Arc::default(),
    };
    let outcome = collector.collect(&root.host()).await.unwrap();
    assert!(matches!(outcome, Outcome::Absent { .. }));
    root.write("proc/mounts", "/dev/sda1 / ext4 rw 0 0\n")
        .write("muster/statfs.json", TABLE);
    let facts = collect(&root.host()).await;
    assert_eq!(facts.resources[0].shown_health(), Health::Healthy);
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the test asks df itself")]
async fn this_machines_filesystems_have_the_sizes_of_df() {
    let columns = "--output=target,size,itotal";
    let output = std::process::Command::new("df")
        .args(["-a", "-B1", columns])
        .output()
        .unwrap();
    let facts = collect(&Host::system()).await;
    assert!(!facts.resources.is_empty());
    let table = String::from_utf8(output.stdout).unwrap();
    for resource in &facts.resources {
        let row = table
            .lines()
            .find(|line| line.split_whitespace().next() == Some(&resource.name));
        let row: Vec<_> = row
            .unwrap_or_else(|| panic!("{} is in df", resource.name))
            .split_whitespace()
            .collect();
        let attribute = |name: &str| match resource.attributes[name] {
            Attribute::Int(value) => value.to_string(),
            _ => panic!("{name} is a number"),
        };
        let inodes = if row[2] == "-" { "0" } else { row[2] };
        assert_eq!(
            (
                attribute("size_bytes").as_str(),
                attribute("inodes_total").as_str()
            ),
            (row[1], inodes)
        );
    }
}
