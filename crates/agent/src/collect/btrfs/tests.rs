//! BTRFS over folders that look like `/sys`, with recorded answers of `btrfs`.

use muster_base::clock::WallClock;
use muster_model::{Facts, Health};

use super::*;
use crate::collect::block::tests::Root;

const FSID: &str = "c74b0b9a-914a-452a-9129-d53cd7ec89d0";
const KEY: &str = "pool:btrfs:c74b0b9a-914a-452a-9129-d53cd7ec89d0";

/// A mirrored filesystem over `sda` and `sdb`.
struct Lab(Root);

impl Lab {
    fn new(mode: &str) -> Self {
        let root = Root::new();
        for (disk, serial, dev) in [("sda", "SER-A", "8:0"), ("sdb", "SER-B", "8:16")] {
            let attributes = [
                ("device/model", "M"),
                ("device/serial", serial),
                ("size", "1048576"),
                ("dev", dev),
            ];
            root.disk(disk, &format!("pci0/{disk}"), &attributes);
            root.write(
                &format!("run/udev/data/b{dev}"),
                format!("E:ID_FS_TYPE=btrfs\nE:ID_FS_UUID={FSID}\nE:ID_FS_UUID_SUB=sub-{disk}\n"),
            );
        }
        let lab = Self(root);
        lab.set("label", "pool\n").set("exclusive_operation", "none\n");
        lab.set(
            "commit_stats",
            "commits 7\nlast_commit_ms 3\nmax_commit_ms 12\ntotal_commit_ms 39\n",
        );
        lab.set("allocation/global_rsv_size", "5767168");
        for (kind, used, total, on_disk) in [
            ("data", "67108864", "184549376", "369098752"),
            ("metadata", "278528", "53673984", "107347968"),
            ("system", "16384", "33554432", "67108864"),
        ] {
            let set = |name: &str, value: &str| {
                lab.set(&format!("allocation/{kind}/{name}"), value);
            };
            set("bytes_used", used);
            set("total_bytes", total);
            set("bytes_reserved", "0");
            set("disk_total", on_disk);
            set("disk_used", used);
            set(&format!("{mode}/total_bytes"), total);
            set(&format!("{mode}/used_bytes"), used);
        }
        for (disk, devid) in [("sda", "1"), ("sdb", "2")] {
            lab.set(&format!("devices/{disk}/size"), "1048576");
            lab.set(&format!("devinfo/{devid}/missing"), "0");
            lab.errors(devid, "corruption", 0);
        }
        lab.0
            .write("proc/self/mountinfo", "30 1 0:36 / /srv rw - btrfs /dev/sda rw\n");
        lab
    }

    fn set(&self, path: &str, text: &str) -> &Self {
        self.0.write(&format!("sys/fs/btrfs/{FSID}/{path}"), text);
        self
    }

    fn errors(&self, devid: &str, name: &str, count: u64) -> &Self {
        let of = |each: &str| format!("{each}_errs {}\n", if each == name { count } else { 0 });
        let text = ["write", "read", "flush", "corruption", "generation"]
            .map(of)
            .concat();
        self.set(&format!("devinfo/{devid}/error_stats"), &text)
    }

    async fn facts(&self) -> Facts {
        let mut collector = Btrfs {
            shared: Arc::default(),
            is_without_json: false,
        };
        match collector.collect(&self.0.host()).await.unwrap() {
            Outcome::Facts(facts) => facts,
            Outcome::Absent { reason } => panic!("{reason}"),
        }
    }

    async fn health(&self) -> (Health, String) {
        let facts = self.facts().await;
        (
            facts.resources[0].shown_health(),
            facts.resources[0].health_reasons.join("; "),
        )
    }
}

fn value(facts: &Facts, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let found = facts.samples.iter().find(|sample| {
        let matches = labels
            .iter()
            .all(|(label, value)| sample.labels.get(label) == Some(value));
        sample.name == name && matches
    });
    found.map(|sample| sample.value)
}

#[tokio::test]
async fn sysfs_alone_tells_devices_allocation_and_errors() {
    let facts = Lab::new("raid1").facts().await;
    let pool = &facts.resources[0];
    assert_eq!((pool.key.as_str(), pool.name.as_str()), (KEY, "pool"));
    assert_eq!(pool.shown_health(), Health::Healthy, "{:?}", pool.health_reasons);
    assert!(facts.problems.is_empty(), "{:?}", facts.problems);
    assert_eq!(pool.attributes["total_size_bytes"], 1_073_741_824_u64.into());
    assert_eq!(pool.attributes["unallocated_bytes"], 530_186_240_u64.into());
    assert_eq!(
        pool.attributes["available_size_bytes"],
        382_533_632_u64.into(),
        "as btrfs filesystem usage has it"
    );
    assert_eq!(pool.attributes["raid_level"], "raid1".into());
    let links: Vec<_> = facts
        .links
        .iter()
        .map(|link| (link.from.as_str(), link.to.as_str()))
        .collect();
    assert_eq!(
        links,
        [(KEY, "device:serial:M:SER-A"), (KEY, "device:serial:M:SER-B")]
    );
    let uuid = ("uuid", FSID);
    assert_eq!(
        value(&facts, "node_btrfs_info", &[uuid, ("label", "pool")]),
        Some(1.0)
    );
    let data = [uuid, ("block_group_type", "data"), ("mode", "raid1")];
    assert_eq!(value(&facts, "node_btrfs_size_bytes", &data), Some(184_549_376.0));
    assert_eq!(value(&facts, "node_btrfs_used_bytes", &data), Some(67_108_864.0));
    assert_eq!(value(&facts, "node_btrfs_allocation_ratio", &data), Some(2.0));
    assert_eq!(value(&facts, "node_btrfs_commits_total", &[uuid]), Some(7.0));
    assert_eq!(
        value(&facts, "node_btrfs_commit_seconds_total", &[uuid]),
        Some(0.039)
    );
    let device = [uuid, ("device", "sda"), ("btrfs_dev_uuid", "sub-sda")];
    assert_eq!(
        value(&facts, "node_btrfs_device_size_bytes", &device),
        Some(536_870_912.0)
    );
}

/// The kernel's `disk_total` leaves parity out: two devices of RAID 5 would seem to have room that is taken.
#[tokio::test]
async fn parity_counts_as_taken() {
    let lab = Lab::new("raid5");
    for (kind, total) in [
        ("data", "184549376"),
        ("metadata", "53673984"),
        ("system", "33554432"),
    ] {
        lab.set(&format!("allocation/{kind}/disk_total"), total);
    }
    let facts = lab.facts().await;
    let pool = &facts.resources[0];
    assert_eq!(pool.attributes["allocated_bytes"], 543_555_584_u64.into());
    assert_eq!(pool.attributes["unallocated_bytes"], 530_186_240_u64.into());
    // What the tool says of each device is exact, and goes before.
    lab.0.write(
        &format!("muster/run/btrfs/usage-{FSID}"),
        "/dev/sda, ID: 1\n   Unallocated: 100\n/dev/sdb, ID: 2\n   Unallocated: 200\n",
    );
    let facts = lab.facts().await;
    assert_eq!(facts.resources[0].attributes["unallocated_bytes"], 300_u64.into());
}

#[tokio::test]
async fn what_is_left_of_each_device_is_told_by_the_tool_where_there_are_several() {
    let lab = Lab::new("raid1");
    lab.0.write(
        &format!("muster/run/btrfs/usage-{FSID}"),
        "/dev/sda, ID: 1\n   Device size:           536870912\n   Device slack:                  0\n   \
         Data,RAID1:            184549376\n   Unallocated:           256704512\n\n\
         /dev/sdb, ID: 2\n   Device size:           536870912\n   Unallocated:           265093120\n",
    );
    let facts = lab.facts().await;
    assert!(facts.problems.is_empty(), "{:?}", facts.problems);
    for (device, bytes) in [("sda", 256_704_512.0), ("sdb", 265_093_120.0)] {
        let labels = [("uuid", FSID), ("device", device)];
        assert_eq!(
            value(&facts, "node_btrfs_device_unused_bytes", &labels),
            Some(bytes)
        );
    }
    assert_eq!(
        value(&facts, "node_btrfs_global_rsv_size_bytes", &[("uuid", FSID)]),
        Some(5_767_168.0)
    );
}

#[tokio::test]
async fn a_missing_device_is_critical_and_failed_where_no_copy_is_left() {
    for (mode, health) in [
        ("raid1", Health::Critical),
        ("raid1c3", Health::Critical),
        ("single", Health::Failed),
        ("raid0", Health::Failed),
    ] {
        let lab = Lab::new(mode);
        lab.set("devinfo/2/missing", "1");
        assert_eq!(lab.health().await.0, health, "{mode}");
        // The kernel keeps one that was pulled out listed and does not call it missing.
        let lab = Lab::new(mode);
        std::fs::remove_file(lab.0.path().join("sys/block/sdb")).unwrap();
        assert_eq!(lab.health().await.0, health, "{mode}, pulled out");
        let facts = lab.facts().await;
        assert_eq!(value(&facts, "muster_btrfs_device_missing", &[]), Some(1.0));
    }
}

#[tokio::test]
async fn error_counters_are_a_warning_that_names_the_device() {
    let lab = Lab::new("raid1");
    lab.errors("2", "corruption", 14921);
    let (health, text) = lab.health().await;
    assert!(
        health == Health::Warning && text.contains("device 2 corruption 14921"),
        "{text}"
    );
    let answer = |count: u64| {
        let of = |disk: &str, count: u64| {
            ["write_io", "read_io", "flush_io", "generation"]
                .map(|name| format!("[/dev/{disk}].{name}_errs 0\n"))
                .concat()
                + &format!("[/dev/{disk}].corruption_errs {count}\n")
        };
        of("sda", 0) + &of("sdb", count)
    };
    lab.0
        .write(&format!("muster/run/btrfs/stats-{FSID}"), answer(14921));
    let (health, text) = lab.health().await;
    assert!(
        health == Health::Warning && text.contains("sdb corruption 14921"),
        "{text}"
    );
    let facts = lab.facts().await;
    let labels = [
        ("device", "sdb"),
        ("type", "corruption"),
        ("btrfs_dev_uuid", "sub-sdb"),
    ];
    assert_eq!(
        value(&facts, "node_btrfs_device_errors_total", &labels),
        Some(14921.0)
    );
}

#[tokio::test]
async fn counters_that_nobody_tells_are_unknown() {
    let lab = Lab::new("raid1");
    for devid in ["1", "2"] {
        lab.set(&format!("devinfo/{devid}/error_stats"), "write_errs 0\n");
    }
    let (health, text) = lab.health().await;
    assert!(
        health == Health::Unknown && text.contains("error counters"),
        "{text}"
    );
    lab.0.write(
        &format!("muster/run/btrfs/stats-{FSID}"),
        "[/dev/sda].write_io_errs 0\n",
    );
    assert_eq!(lab.health().await.0, Health::Unknown, "a cut answer is none");
}

#[tokio::test]
async fn a_scrubs_outcome_progress_and_age_are_told() {
    let lab = Lab::new("raid1");
    let answer = |rest: &str| format!("UUID: {FSID}\nScrub started:    Sun Nov 22 00:10:30 2026\n{rest}");
    let set = |rest: &str| {
        lab.0
            .write(&format!("muster/run/btrfs/scrub-{FSID}"), answer(rest));
    };
    set(
        "Status: finished\nDuration: 0:00:05\nTotal to scrub: 100\nError summary: csum=3\n  Corrected: 2\n  Uncorrectable: 1\n  Unverified: 0\n",
    );
    let (health, text) = lab.health().await;
    assert!(
        health == Health::Critical && text.contains("found 1 errors"),
        "{text}"
    );
    set(
        "Status: finished\nDuration: 0:00:05\nTotal to scrub: 100\nError summary: csum=3\n  Corrected: 3\n  Uncorrectable: 0\n  Unverified: 0\n",
    );
    assert_eq!(lab.health().await.0, Health::Warning);
    set(
        "Status: running\nDuration: 0:00:05\nTotal to scrub: 100\nBytes scrubbed: 25 (25.00%)\nRate: 5/s\nError summary: no errors found\n",
    );
    assert_eq!(lab.health().await.0, Health::Healthy);
    let then_ms = "2026-11-22T01:10:30Z"
        .parse::<jiff::Timestamp>()
        .unwrap()
        .as_millisecond();
    let host = lab.0.host().with_clock(WallClock::fixed(then_ms));
    let mut collector = Btrfs {
        shared: Arc::default(),
        is_without_json: false,
    };
    let Outcome::Facts(facts) = collector.collect(&host).await.unwrap() else {
        panic!()
    };
    assert_eq!(value(&facts, "muster_btrfs_scrub_age_seconds", &[]), Some(3600.0));
    assert_eq!(
        value(&facts, "muster_btrfs_scrub_progress_ratio", &[]),
        Some(0.25)
    );
    assert_eq!(value(&facts, "muster_btrfs_scrub_running", &[]), Some(1.0));
    assert_eq!(facts.resources[0].attributes["scrub_state"], "running".into());
    assert_eq!(
        facts.resources[0].attributes["scrub_started_at"],
        "2026-11-22T00:10:30Z".into()
    );
    set("Status: aborted\nDuration: 0:00:05\nError summary: no errors found\n");
    assert_eq!(
        lab.health().await.0,
        Health::Healthy,
        "an aborted scrub says nothing against it"
    );
}

#[tokio::test]
async fn one_that_is_not_mounted_is_unknown_and_a_server_without_is_absent() {
    let lab = Lab::new("raid1");
    std::fs::remove_dir_all(lab.0.path().join("sys/fs/btrfs")).unwrap();
    let (health, text) = lab.health().await;
    assert!(
        health == Health::Unknown && text.contains("not mounted"),
        "{text}"
    );
    let mut collector = Btrfs {
        shared: Arc::default(),
        is_without_json: false,
    };
    let outcome = collector.collect(&Root::new().host()).await.unwrap();
    assert!(matches!(outcome, Outcome::Absent { .. }));
}

#[tokio::test]
async fn a_btrfs_that_may_not_be_asked_leaves_what_sysfs_tells() {
    use std::os::unix::fs::PermissionsExt as _;
    let lab = Lab::new("raid1");
    let folder = lab.0.path().join("bin");
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join("btrfs");
    // Fails at once, as it does without the right to ask.
    std::fs::write(
        &program,
        "#!/bin/sh\necho 'ERROR: Operation not permitted' >&2\nexit 1\n",
    )
    .unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let folder = camino::Utf8PathBuf::from_path_buf(folder).unwrap();
    let host = lab.0.host().with_programs_in(vec![folder]);
    let mut collector = Btrfs {
        shared: Arc::default(),
        is_without_json: false,
    };
    let Outcome::Facts(facts) = collector.collect(&host).await.unwrap() else {
        panic!()
    };
    assert_eq!(facts.resources[0].shown_health(), Health::Healthy);
    assert!(facts.problems.is_empty(), "{:?}", facts.problems);
}

#[test]
fn recorded_answers_are_judged() {
    let stats = |text: &str| describe_recorded_stats(text, "x").resources[0].shown_health();
    let whole = |count: u64| {
        ["write_io", "read_io", "flush_io", "generation"]
            .map(|name| format!("[/dev/sda].{name}_errs 0\n"))
            .concat()
            + &format!("[/dev/sda].corruption_errs {count}\n")
    };
    assert_eq!(stats(&whole(0)), Health::Healthy);
    assert_eq!(stats(&whole(1)), Health::Warning);
    assert_eq!(stats("[/dev/sda].write_io_errs 0\n"), Health::Unknown);
    assert_eq!(
        stats(&whole(0).replace("/dev/sda", "<missing disk>")),
        Health::Critical
    );
    let scrub = |text: &str| describe_recorded_scrub(text, "x").resources[0].shown_health();
    assert_eq!(
        scrub("UUID: a\nScrub started: x\nStatus: finished\nError summary: no errors found\n"),
        Health::Healthy
    );
    assert_eq!(scrub("UUID: a\nno stats available\n"), Health::Unknown);
    assert_eq!(
        scrub("UUID: a\nStatus: finished\nError summary: csum=1\nUncorrectable: 1\n"),
        Health::Critical
    );
    assert_eq!(scrub("UUID: a\nStatus: finished\n"), Health::Unknown);
    assert_eq!(scrub("nonsense"), Health::Unknown);
}

/// A capture of the lab as a server again: sysfs, and what `btrfs` said.
#[tokio::test]
async fn servers_restored_from_the_lab_are_judged_by_what_was_done_to_them() {
    let Some(root) = std::env::var_os("MUSTER_FIXTURES") else {
        println!("skipped: no captures of the lab here (MUSTER_FIXTURES)");
        return;
    };
    for (state, health) in [
        ("healthy", Health::Healthy),
        ("btrfs-balancing", Health::Healthy),
        ("btrfs-scrubbing", Health::Healthy),
        ("btrfs-scrub-started", Health::Healthy),
        ("btrfs-full", Health::Healthy),
        ("btrfs-corrupt", Health::Warning),
        ("btrfs-disk-gone", Health::Critical),
    ] {
        let folder = std::path::Path::new(&root).join("lab/bookworm").join(state);
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let server = Root::new();
        let mut files: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
        for line in read("btrfs-sysfs.txt").lines() {
            if let Some((path, value)) = line.strip_prefix("./").and_then(|line| line.split_once(':')) {
                files
                    .entry(path.to_owned())
                    .or_default()
                    .push_str(&format!("{value}\n"));
            }
        }
        for (path, value) in files {
            server.write(&format!("sys/fs/btrfs/{FSID}/{path}"), value);
        }
        for disk in ["sda", "sdb"] {
            server.write(&format!("sys/fs/btrfs/{FSID}/devices/{disk}/size"), "1048576\n");
            if disk == "sda" || state != "btrfs-disk-gone" {
                server.write(&format!("sys/block/{disk}/size"), "1048576\n");
            }
        }
        server.write(
            &format!("muster/run/btrfs/stats-{FSID}"),
            read("btrfs-device-stats.json"),
        );
        server.write(
            &format!("muster/run/btrfs/scrub-{FSID}"),
            read("btrfs-scrub-status.txt"),
        );
        let mut collector = Btrfs {
            shared: Arc::default(),
            is_without_json: false,
        };
        let Outcome::Facts(facts) = collector.collect(&server.host()).await.unwrap() else {
            panic!("{state}")
        };
        let pool = &facts.resources[0];
        assert!(facts.problems.is_empty(), "{state}: {:?}", facts.problems);
        assert_eq!(pool.shown_health(), health, "{state}: {:?}", pool.health_reasons);
        if state == "healthy" {
            // `btrfs filesystem usage` of the same moment.
            assert_eq!(pool.attributes["unallocated_bytes"], 530_186_240_u64.into());
            assert_eq!(pool.attributes["used_size_bytes"], 134_807_552_u64.into());
            assert_eq!(pool.attributes["available_size_bytes"], 382_533_632_u64.into());
        }
    }
}
