//! Arrays over recorded files: what is degraded is never healthy, and what is healthy never degraded.

use muster_model::{Facts, Health};

use super::*;
use crate::collect::block::tests::Root;

const MIRROR: &str = "4eb7912d:d05a9a45:fcb34d9d:19344810";
const KEY: &str = "pool:mdadm:4eb7912d:d05a9a45:fcb34d9d:19344810";

fn facts(arrays: &str) -> Facts {
    describe_recorded(&format!(
        "Personalities : [raid1]\n{arrays}\nunused devices: <none>\n"
    ))
}

/// Health and reasons of the first array.
fn first(arrays: &str) -> (Health, String) {
    let facts = facts(arrays);
    let array = &facts.resources[0];
    (array.shown_health(), array.health_reasons.join("; "))
}

/// One of this level, with these counts.
fn counted(level: &str, words: &str, map: &str) -> Health {
    let up = map.bytes().filter(|byte| *byte == b'U').count();
    let members: String = (0..map.len())
        .map(|number| format!(" sd{number}[{number}]"))
        .collect();
    let array = format!(
        "md0 : active {level}{members}\n      1000 blocks super 1.2 {words} [{}/{up}] [{map}]\n      \n",
        map.len()
    );
    let facts = facts(&array);
    assert!(facts.problems.is_empty(), "{array}: {:?}", facts.problems);
    facts.resources[0].shown_health()
}

#[test]
fn what_a_level_can_lose_decides() {
    use Health::{Critical, Failed, Healthy, Warning};
    for (level, map, health) in [
        ("raid1", "UU", Healthy),
        ("raid1", "U_", Critical),
        ("raid1", "_U", Critical),
        ("raid1", "UU_", Warning),
        ("raid1", "U__", Critical),
        ("raid1", "__", Failed),
        ("raid1", "U", Healthy),
        ("raid4", "UUU", Healthy),
        ("raid4", "UU_", Critical),
        ("raid5", "UUU", Healthy),
        ("raid5", "U_U", Critical),
        ("raid5", "U__", Failed),
        ("raid5", "___", Failed),
        ("raid6", "UUUU", Healthy),
        ("raid6", "UU_U", Warning),
        ("raid6", "U__U", Critical),
        ("raid6", "U___", Failed),
        ("multipath", "UU", Healthy),
        ("multipath", "U_", Critical),
        ("multipath", "__", Failed),
    ] {
        assert_eq!(counted(level, "", map), health, "{level} [{map}]");
    }
}

#[test]
fn a_raid10_fails_with_the_last_copy_and_not_before() {
    use Health::{Critical, Failed, Healthy, Warning};
    for (words, map, health) in [
        ("512K chunks 2 near-copies", "UUUU", Healthy),
        ("512K chunks 2 near-copies", "U_U_", Critical),
        ("512K chunks 2 near-copies", "U__U", Critical),
        ("512K chunks 2 near-copies", "__UU", Failed),
        ("512K chunks 2 near-copies", "UU__", Failed),
        ("512K chunks 3 near-copies", "UU_UUU", Warning),
        ("512K chunks 3 near-copies", "_U_UUU", Critical),
        ("512K chunks 3 near-copies", "___UUU", Failed),
        // An odd number: copies of 0 1, 2 0, 1 2.
        ("512K chunks 2 near-copies", "U_U", Critical),
        ("512K chunks 2 near-copies", "__U", Failed),
        ("512K chunks 2 far-copies", "U_U_", Critical),
        ("512K chunks 2 far-copies", "U__U", Failed),
        ("512K chunks 2 far-copies", "_UU_", Failed),
        ("512K chunks 2 offset-copies", "_U_U", Critical),
        ("512K chunks 2 offset-copies", "__UU", Failed),
        // Sets of two: 0 and 1, 2 and 3.
        ("512K chunks 2 far-copies 2 devices per set", "U__U", Critical),
        ("512K chunks 2 far-copies 2 devices per set", "__UU", Failed),
        ("512K chunks 2 near-copies 2 far-copies", "UU__", Warning),
        // Which copies are gone is not told.
        ("512K chunks", "UUU_", Critical),
    ] {
        assert_eq!(counted("raid10", words, map), health, "{words} [{map}]");
    }
}

#[test]
fn synchronisation_is_judged_by_what_it_is_for() {
    let with = |map: &str, line: &str| {
        let up = map.matches('U').count();
        first(&format!(
            "md0 : active raid1 sdb[1] sda[0]\n      100 blocks [2/{up}] [{map}]\n      {line}\n"
        ))
    };
    let bar = |word: &str| format!("[=>..]  {word} =  8.5% (17/200) finish=17.0min speed=259K/sec");
    assert_eq!(with("UU", &bar("check")), (Health::Healthy, String::new()));
    assert_eq!(with("UU", &bar("repair")).0, Health::Healthy);
    assert_eq!(with("UU", &bar("reshape")).0, Health::Healthy);
    assert_eq!(with("UU", &bar("resync")).0, Health::Warning);
    let (health, text) = with("U_", &bar("recovery"));
    assert_eq!(health, Health::Warning);
    assert!(text.contains("recovering, 8.5 % done"), "{text}");
    // With a member that is not up it waits to be filled; without one there is nothing to fill.
    let (health, text) = with("U_", "\tresync=DELAYED");
    assert_eq!(health, Health::Warning);
    assert!(text.contains("waits for its turn"), "{text}");
    let alone = first("md0 : active raid1 sda[0]\n      100 blocks [2/1] [U_]\n      \tresync=DELAYED\n");
    assert_eq!(alone.0, Health::Critical);
    assert_eq!(with("UU", "\tresync=PENDING").0, Health::Warning);
    assert_eq!(with("UU", "\tresync=REMOTE").0, Health::Warning);
    assert_eq!(with("UU", "\tresync=DELAYED").0, Health::Unknown);
}

#[test]
fn what_a_delayed_array_waits_for_tells_whether_it_is_a_check() {
    let beside = |word: &str, map: &str| {
        let up = map.matches('U').count();
        first(&format!(
            "md1 : active raid1 sdd[1] sdc[0]\n      100 blocks [2/2] [UU]\n      \tresync=DELAYED\n\
             md0 : active raid1 sdb[1] sda[0]\n      100 blocks [2/{up}] [{map}]\n      \
             [=>..]  {word} =  8.5% (17/200) finish=17.0min speed=259K/sec\n"
        ))
        .0
    };
    assert_eq!(beside("check", "UU"), Health::Healthy);
    assert_eq!(beside("resync", "UU"), Health::Warning);
    assert_eq!(beside("recovery", "U_"), Health::Warning);
}

#[test]
fn arrays_that_do_not_run_and_members_that_failed_are_told() {
    for (text, health) in [
        (
            "md0 : inactive sdb[1](S) sda[0](S)\n      100 blocks super 1.2\n",
            Health::Failed,
        ),
        ("md0 : inactive\n", Health::Unknown),
        (
            "md0 : broken raid0 sdb[1] sda[0]\n      100 blocks super 1.2 512k chunks\n",
            Health::Failed,
        ),
        (
            "md0 : active raid0 sdb[1] sda[0]\n      100 blocks super 1.2 512k chunks\n",
            Health::Healthy,
        ),
        (
            "md0 : active raid0 sdb[1](F) sda[0]\n      100 blocks super 1.2 512k chunks\n",
            Health::Failed,
        ),
        (
            "md0 : active linear sdb[1] sda[0](F)\n      100 blocks super 1.2 0k rounding\n",
            Health::Failed,
        ),
        (
            "md0 : active faulty sda[0]\n      100 blocks nfaults=0\n",
            Health::Unknown,
        ),
        (
            "md0 : active (read-only) raid1 sdb[1] sda[0]\n      100 blocks [2/2] [UU]\n",
            Health::Warning,
        ),
        (
            "md0 : active (auto-read-only) raid1 sdb[1] sda[0]\n      100 blocks [2/2] [UU]\n",
            Health::Healthy,
        ),
        (
            "md0 : active raid1 sdc[2](F) sdb[1] sda[0]\n      100 blocks [2/2] [UU]\n",
            Health::Warning,
        ),
        (
            "md0 : active raid1 sdc[2](S) sdb[1] sda[0]\n      100 blocks [2/2] [UU]\n",
            Health::Healthy,
        ),
        (
            "md0 : active raid5 sdd[3](J)(F) sdc[2] sdb[1] sda[0]\n      100 blocks level 5, 64k chunk, algorithm 2 [3/3] [UUU]\n",
            Health::Critical,
        ),
        (
            "md0 : active raid1 sdb[1](X) sda[0]\n      100 blocks [2/2] [UU]\n",
            Health::Unknown,
        ),
        (
            "md0 : active raidF1 sdb[1] sda[0]\n      100 blocks [2/2] [UU]\n",
            Health::Unknown,
        ),
        (
            "md0 : active raid1 sdb[1] sda[0]\n      100 blocks [2/2] [U_]\n",
            Health::Critical,
        ),
        (
            "md127 : inactive sdb[1](S) sda[0](S)\n      100 blocks super external:imsm\n",
            Health::Unknown,
        ),
    ] {
        assert_eq!(first(text).0, health, "{text}");
    }
}

#[test]
fn a_container_is_as_well_as_that_its_arrays_run() {
    let both = "md127 : inactive sdb[1](S) sda[0](S)\n      100 blocks super external:imsm\n\
                md126 : active raid1 sda[1] sdb[0]\n      100 blocks super external:/md127/0 [2/2] [UU]\n";
    let facts = facts(both);
    assert!(
        facts
            .resources
            .iter()
            .all(|resource| resource.shown_health() == Health::Healthy)
    );
}

#[test]
fn the_stock_series_are_those_of_node_exporter() {
    let facts = facts(
        "md0 : active raid5 sdd[4](S) sdc[3] sdb[1](F) sda[0]\n      358400 blocks level 5, 64k chunk, algorithm 2 [3/2] [U_U]\n      \
         [>...]  recovery =  1.4% (2560/179200) finish=3.4min speed=853K/sec\n",
    );
    let value = |name: &str, label: Option<(&str, &str)>| {
        let found = facts.samples.iter().find(|sample| {
            let matches = label.is_none_or(|(label, value)| sample.labels.get(label) == Some(value));
            sample.name == name && sample.labels.get("device") == Some("md0") && matches
        });
        found.map(|sample| sample.value)
    };
    for (state, expected) in [("active", 2.0), ("failed", 1.0), ("spare", 1.0)] {
        assert_eq!(
            value("node_md_disks", Some(("state", state))),
            Some(expected),
            "{state}"
        );
    }
    for (state, expected) in [
        ("active", 0.0),
        ("inactive", 0.0),
        ("recovering", 1.0),
        ("resync", 0.0),
        ("check", 0.0),
    ] {
        assert_eq!(
            value("node_md_state", Some(("state", state))),
            Some(expected),
            "{state}"
        );
    }
    assert_eq!(value("node_md_disks_required", None), Some(3.0));
    assert_eq!(value("node_md_blocks", None), Some(358_400.0));
    assert_eq!(value("node_md_blocks_synced", None), Some(2560.0));
    assert_eq!(value("muster_md_sync_remaining_seconds", None), Some(3.4 * 60.0));
    assert_eq!(
        value("muster_md_sync_speed_bytes_per_second", None),
        Some(853.0 * 1024.0)
    );
    assert_eq!(
        value("muster_md_sync_progress_ratio", None),
        Some(2560.0 / 179_200.0)
    );
}

/// A server with one mirror of two disks.
struct Lab(Root);

impl Lab {
    fn new() -> Self {
        let root = Root::new();
        for disk in ["sda", "sdb"] {
            let attributes = [("device/model", "M"), ("device/serial", disk), ("size", "100")];
            root.disk(
                disk,
                &format!("pci0/{disk}"),
                &attributes.map(|(name, value)| {
                    (
                        name,
                        if value == disk {
                            if disk == "sda" { "SER-A" } else { "SER-B" }
                        } else {
                            value
                        },
                    )
                }),
            );
        }
        root.disk("md127", "virtual", &[("dev", "9:127"), ("size", "90")]);
        let lab = Self(root);
        for (name, value) in [
            ("uuid", "4eb7912d-d05a-9a45-fcb3-4d9d19344810"),
            ("metadata_version", "1.2"),
            ("level", "raid1"),
            ("array_state", "clean"),
            ("raid_disks", "2"),
            ("degraded", "0"),
            ("sync_action", "idle"),
            ("last_sync_action", "check"),
            ("sync_completed", "none"),
            ("sync_speed", "none"),
            ("mismatch_cnt", "0"),
        ] {
            lab.set(name, value);
        }
        for (disk, slot) in [("sda", "0"), ("sdb", "1")] {
            lab.set(&format!("dev-{disk}/state"), "in_sync")
                .set(&format!("dev-{disk}/slot"), slot);
            lab.set(&format!("dev-{disk}/errors"), "0");
            lab.0
                .write(&format!("sys/devices/virtual/block/md127/slaves/{disk}/x"), "");
        }
        lab.mdstat("md127 : active raid1 sdb[1] sda[0]\n      45 blocks super 1.2 [2/2] [UU]\n      \n");
        lab
    }

    fn set(&self, name: &str, value: &str) -> &Self {
        self.0.write(
            &format!("sys/devices/virtual/block/md127/md/{name}"),
            format!("{value}\n"),
        );
        self
    }

    fn mdstat(&self, arrays: &str) -> &Self {
        self.0.write(
            "proc/mdstat",
            format!("Personalities : [raid1]\n{arrays}unused devices: <none>\n"),
        );
        self
    }

    async fn facts(&self) -> Facts {
        let mut collector = Mdadm {
            shared: Arc::default(),
            asked: BTreeMap::new(),
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

#[tokio::test]
async fn an_array_is_known_by_its_uuid_and_rests_on_its_members() {
    let facts = Lab::new().facts().await;
    let array = &facts.resources[0];
    assert_eq!((array.key.as_str(), array.name.as_str()), (KEY, "md127"));
    assert_eq!(
        (array.shown_health(), &array.health_reasons),
        (Health::Healthy, &Vec::new())
    );
    assert_eq!(array.attributes["uuid"], MIRROR.into());
    assert_eq!(array.attributes["total_size_bytes"], (45_u64 * 1024).into());
    let links: Vec<_> = facts
        .links
        .iter()
        .map(|link| (link.from.as_str(), link.to.as_str()))
        .collect();
    assert_eq!(
        links,
        [(KEY, "device:serial:M:SER-A"), (KEY, "device:serial:M:SER-B")]
    );
    assert!(facts.problems.is_empty(), "{:?}", facts.problems);
    let value = |name: &str| {
        facts
            .samples
            .iter()
            .find(|sample| sample.name == name)
            .map(|sample| sample.value)
    };
    assert_eq!(
        (value("node_md_raid_disks"), value("node_md_degraded")),
        (Some(2.0), Some(0.0))
    );
}

#[tokio::test]
async fn sysfs_knows_better_than_mdstat_and_the_worse_counts() {
    let lab = Lab::new();
    lab.set("dev-sdb/state", "faulty")
        .set("dev-sdb/slot", "none")
        .set("degraded", "1");
    let (health, text) = lab.health().await;
    assert!(
        health == Health::Critical && text.contains("failed: sdb"),
        "{health:?} {text}"
    );

    let lab = Lab::new();
    lab.set("sync_action", "check");
    lab.mdstat(
        "md127 : active raid1 sdb[1] sda[0]\n      45 blocks super 1.2 [2/2] [UU]\n      \tresync=DELAYED\n",
    );
    assert_eq!(lab.health().await.0, Health::Healthy);
    lab.set("sync_action", "resync");
    assert_eq!(lab.health().await.0, Health::Warning);

    let lab = Lab::new();
    lab.set("array_state", "broken");
    assert_eq!(lab.health().await.0, Health::Failed);
}

#[tokio::test]
async fn a_disk_that_left_unnoticed_is_noticed() {
    let lab = Lab::new();
    std::fs::remove_file(lab.0.path().join("sys/block/sdb")).unwrap();
    let (health, text) = lab.health().await;
    assert!(
        health == Health::Critical && text.contains("md has not noticed"),
        "{health:?} {text}"
    );
}

#[tokio::test]
async fn mismatches_count_after_a_check_and_not_after_a_resync() {
    let lab = Lab::new();
    lab.set("mismatch_cnt", "128");
    let (health, text) = lab.health().await;
    assert!(
        health == Health::Warning && text.contains("128 sectors"),
        "{health:?} {text}"
    );
    lab.set("last_sync_action", "resync");
    assert_eq!(lab.health().await.0, Health::Healthy);
}

#[tokio::test]
async fn missing_spares_are_told() {
    let lab = Lab::new();
    lab.0.write(
        "etc/mdadm/mdadm.conf",
        format!("ARRAY /dev/md0 spares=1 UUID={MIRROR}\n"),
    );
    let (health, text) = lab.health().await;
    assert!(
        health == Health::Warning && text.contains("0 of 1 spares"),
        "{text}"
    );
}

#[tokio::test]
async fn mdadm_adds_names_and_its_own_opinion() {
    let lab = Lab::new();
    let answer = "/dev/md127:\n        Raid Level : raid1\n             State : clean, FAILED \n              Name : lab:mirror  (local to host lab)\n\n    Number   Major   Minor   RaidDevice State\n";
    lab.0.write("muster/run/mdadm/md127", answer);
    let facts = lab.facts().await;
    assert_eq!(facts.resources[0].attributes["array_name"], "lab:mirror".into());
    assert_eq!(facts.resources[0].shown_health(), Health::Failed);
}

#[tokio::test]
async fn a_server_without_arrays_is_absent() {
    for text in [None, Some("Personalities : \nunused devices: <none>\n")] {
        let root = Root::new();
        if let Some(text) = text {
            root.write("proc/mdstat", text);
        }
        let mut collector = Mdadm {
            shared: Arc::default(),
            asked: BTreeMap::new(),
        };
        let outcome = collector.collect(&root.host()).await.unwrap();
        assert!(matches!(outcome, Outcome::Absent { .. }), "{text:?}");
    }
}

#[test]
fn a_recorded_detail_is_judged_by_its_members_and_words() {
    let with = |level: &str, state: &str, table: &str| {
        let text = format!(
            "/dev/md0:\n        Raid Level : {level}\n      Raid Devices : 3\n             State : {state} \n\n    \
             Number   Major   Minor   RaidDevice State\n{table}"
        );
        describe_recorded_detail(&text, "x").resources[0].shown_health()
    };
    let up = |slot: u32| {
        format!("       {slot}     254       16        {slot}      active sync   /dev/vd{slot}\n")
    };
    let whole = [0, 1, 2].map(up).concat();
    assert_eq!(with("raid5", "clean", &whole), Health::Healthy);
    assert_eq!(with("raid5", "clean, checking", &whole), Health::Healthy);
    assert_eq!(with("raid5", "clean, bewitched", &whole), Health::Unknown);
    assert_eq!(with("raid5", "active, resyncing", &whole), Health::Warning);
    assert_eq!(
        with("raid5", "clean, resyncing(PENDING)", &whole),
        Health::Warning
    );
    assert_eq!(with("raid5", "active, Not Started", &whole), Health::Failed);
    let two = [0, 1].map(up).concat() + "       -       0        0        2      removed\n";
    assert_eq!(with("raid5", "clean, degraded", &two), Health::Critical);
    assert_eq!(
        with("raid5", "clean, degraded, recovering", &two),
        Health::Warning
    );
    assert_eq!(with("raid6", "clean, degraded", &two), Health::Warning);
    assert_eq!(with("raid5", "clean, FAILED", &up(0)), Health::Failed);
    let export = "MD_LEVEL=raid1\nMD_DEVICES=2\nMD_UUID=4eb7912d:d05a9a45:fcb34d9d:19344810\nMD_DEVICE_dev_sda_ROLE=0\nMD_DEVICE_dev_sda_DEV=/dev/sda\n";
    let facts = describe_recorded_detail(export, "md0");
    assert_eq!(facts.resources[0].key.as_str(), KEY);
    assert_eq!(
        facts.resources[0].shown_health(),
        Health::Unknown,
        "--export tells no state"
    );
    assert!(
        describe_recorded_detail("mdadm: cannot open\n", "md0")
            .resources
            .is_empty()
    );
}

/// Every capture of the lab says what its tools said.
#[test]
fn captures_of_the_lab_are_judged_as_they_were_made() {
    let Some(root) = std::env::var_os("MUSTER_FIXTURES") else {
        println!("skipped: no captures of the lab here (MUSTER_FIXTURES)");
        return;
    };
    let mut count = 0;
    for suite in ["bookworm", "trixie"] {
        for folder in std::fs::read_dir(std::path::Path::new(&root).join("lab").join(suite)).unwrap() {
            let folder = folder.unwrap().path();
            let state = folder.file_name().unwrap().to_string_lossy().into_owned();
            let Ok(text) = std::fs::read_to_string(folder.join("proc-mdstat.txt")) else {
                continue;
            };
            let facts = describe_recorded(&text);
            assert!(facts.problems.is_empty(), "{suite}/{state}: {:?}", facts.problems);
            for array in &facts.resources {
                let health = array.shown_health();
                let detail = std::fs::read_to_string(folder.join(format!("mdadm-detail-{}.txt", array.name)));
                let Ok(detail) = detail else { continue };
                let judged = describe_recorded_detail(&detail, "x");
                assert!(
                    judged.problems.is_empty(),
                    "{suite}/{state} {}: {:?}",
                    array.name,
                    judged.problems
                );
                let words = detail
                    .lines()
                    .find(|line| line.contains("State :"))
                    .unwrap_or_default();
                let is_bad = ["degraded", "FAILED", "recovering", "resyncing", "Not Started"]
                    .iter()
                    .any(|word| words.contains(word));
                for (who, health) in [("mdstat", health), ("mdadm", judged.resources[0].shown_health())] {
                    assert_eq!(
                        health != Health::Healthy,
                        is_bad,
                        "{suite}/{state} {} {who}: {words}: {:?}",
                        array.name,
                        array.health_reasons
                    );
                    assert!(
                        health == Health::Failed || !words.contains("FAILED"),
                        "{suite}/{state} {who}"
                    );
                }
                count += 1;
            }
        }
    }
    println!("{count} arrays of the lab are judged as mdadm calls them");
    assert!(20 < count);
}

/// A capture of `/sys/block/<array>/md` as a folder again: a line a value, and lines of one file follow each other.
fn restore(root: &Root, array: &str, text: &str) {
    let mut files: BTreeMap<&str, String> = BTreeMap::new();
    for (path, value) in text
        .lines()
        .filter_map(|line| line.strip_prefix("./")?.split_once(':'))
    {
        let file = files.entry(path).or_default();
        file.push_str(value);
        file.push('\n');
    }
    for (path, value) in files {
        root.write(&format!("sys/block/{array}/md/{path}"), value);
    }
}

/// With sysfs and mdadm together, each state of the lab is what was done to it.
#[tokio::test]
async fn servers_restored_from_the_lab_are_judged_as_mdadm_calls_them() {
    let Some(root) = std::env::var_os("MUSTER_FIXTURES") else {
        println!("skipped: no captures of the lab here (MUSTER_FIXTURES)");
        return;
    };
    let mut count = 0;
    for suite in ["bookworm", "trixie"] {
        for folder in std::fs::read_dir(std::path::Path::new(&root).join("lab").join(suite)).unwrap() {
            let folder = folder.unwrap().path();
            let state = folder.file_name().unwrap().to_string_lossy().into_owned();
            let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
            let Some(text) = read("proc-mdstat.txt") else {
                continue;
            };
            let server = Root::new();
            server.write("proc/mdstat", &text);
            for array in mdstat::parse(&text).value.arrays {
                let Some(shown) = read(&format!("md-sysfs-{}.txt", array.name)) else {
                    continue;
                };
                restore(&server, &array.name, &shown);
                let detail = read(&format!("mdadm-detail-{}.txt", array.name)).unwrap();
                server.write(&format!("muster/run/mdadm/{}", array.name), detail);
                for member in array.members.iter().filter(|member| !member.is_faulty) {
                    server.write(&format!("sys/block/{}/size", member.name), "8\n");
                }
            }
            let mut collector = Mdadm {
                shared: Arc::default(),
                asked: BTreeMap::new(),
            };
            let Outcome::Facts(facts) = collector.collect(&server.host()).await.unwrap() else {
                panic!("{state} has arrays")
            };
            assert!(facts.problems.is_empty(), "{suite}/{state}: {:?}", facts.problems);
            for array in &facts.resources {
                let detail = read(&format!("mdadm-detail-{}.txt", array.name)).unwrap();
                let words = detail
                    .lines()
                    .find(|line| line.contains("State :"))
                    .unwrap_or_default();
                let bad = ["degraded", "FAILED", "recovering", "resyncing"];
                let is_bad = bad.iter().any(|word| words.contains(word));
                let reasons = &array.health_reasons;
                assert_eq!(
                    array.shown_health() != Health::Healthy,
                    is_bad,
                    "{suite}/{state} {}: {words}: {reasons:?}",
                    array.name
                );
                let uuid = detail
                    .lines()
                    .find_map(|line| line.trim().strip_prefix("UUID : "));
                assert_eq!(array.attributes["uuid"], uuid.unwrap().into());
                count += 1;
            }
        }
    }
    println!("{count} arrays of restored servers are judged as mdadm calls them");
    assert!(20 < count);
}

#[test]
fn a_name_with_a_blank_is_told_whole() {
    let text = "/dev/md7:\n        Raid Level : raid1\n      Raid Devices : 2\n             State : clean \n              \
                Name : lab:with space  (local to host lab)\n\n    Number   Major   Minor   RaidDevice State\n       \
                0       8        1        0      active sync   /dev/sda1\n       \
                1       8       17        1      active sync   /dev/sdb1\n";
    let facts = describe_recorded_detail(text, "x");
    assert_eq!(
        facts.resources[0].attributes["array_name"],
        "lab:with space".into()
    );
    assert_eq!(facts.resources[0].shown_health(), Health::Healthy);
}
