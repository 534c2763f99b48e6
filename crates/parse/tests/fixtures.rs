//! Every capture in `fixtures/` reads as recorded, and no input makes a parser panic.

#![allow(
    clippy::unwrap_used,
    reason = "a fixture that cannot be read must stop the test"
)]

use std::fs;
use std::path::{Path, PathBuf};

use muster_parse::{
    Parsed, arp, btrfs_scrub, btrfs_stats, conntrack, diskstats, exposition, hwmon, interrupts, kstat,
    loadavg, lsblk, lvm, mdadm_detail, mdstat, meminfo, mounts, net_dev, os_release, pairs, pressure,
    process, rows, schedstat, scsi_vpd, snmp, sockets, sockstat, softnet, stat, swaps, systemd, udev, uevent,
    upsc, zfs_list, zpool,
};
use proptest::prelude::*;
use serde::Serialize;

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

macro_rules! snapshots {
    ($name:ident, $folder:literal, $parse:expr) => {
        #[test]
        fn $name() {
            insta::glob!(concat!("../fixtures/", $folder), "*.*", |path| {
                insta::assert_json_snapshot!($parse(&text(path)));
            });
        }
    };
}

snapshots!(every_captured_stat_reads_as_recorded, "stat", stat::parse);
snapshots!(
    every_captured_meminfo_reads_as_recorded,
    "meminfo",
    |text: &str| lines(meminfo::parse(text).map(|info| info.entries))
);
snapshots!(
    every_captured_loadavg_reads_as_recorded,
    "loadavg",
    loadavg::parse
);
snapshots!(
    every_captured_diskstats_reads_as_recorded,
    "diskstats",
    |text: &str| lines(diskstats::parse(text))
);
snapshots!(
    every_captured_mount_table_reads_as_recorded,
    "mounts",
    |text: &str| lines(mounts::parse(text))
);
snapshots!(
    every_captured_os_release_reads_as_recorded,
    "os_release",
    os_release::parse
);
snapshots!(
    every_captured_btrfs_device_stats_read_as_recorded,
    "btrfs_stats",
    btrfs_stats::parse
);
snapshots!(
    every_captured_btrfs_scrub_reads_as_recorded,
    "btrfs_scrub",
    btrfs_scrub::parse
);
snapshots!(every_captured_mdstat_reads_as_recorded, "mdstat", mdstat::parse);
snapshots!(
    every_captured_mdadm_detail_reads_as_recorded,
    "mdadm_detail",
    mdadm_detail::parse
);
snapshots!(every_captured_udev_record_reads_as_recorded, "udev", udev::parse);
snapshots!(every_captured_lsblk_reads_as_recorded, "lsblk", |text: &str| {
    let parsed = lsblk::parse(text);
    let flat: Vec<String> = lsblk::unique(&parsed.value)
        .into_iter()
        .map(|(device, parents)| device_line(device, &parents))
        .collect();
    (flat, parsed.problems)
});

snapshots!(
    every_captured_zpool_status_reads_as_recorded,
    "zpool_status",
    |text: &str| {
        let parsed = zpool::status::parse(text);
        let pools: Vec<_> = parsed.value.iter().map(pool_lines).collect();
        (pools, parsed.problems)
    }
);
snapshots!(
    every_captured_lvm_report_reads_as_recorded,
    "lvm",
    |text: &str| {
        let parsed = lvm::parse(text);
        let report = &parsed.value;
        let mut lines: Vec<String> = report.vgs.iter().map(compact).collect();
        lines.extend(report.pvs.iter().map(compact));
        lines.extend(report.lvs.iter().map(compact));
        (lines, parsed.problems)
    }
);
snapshots!(
    every_captured_zpool_list_reads_as_recorded,
    "zpool_list",
    |text: &str| lines(zpool::list::parse(text))
);
snapshots!(
    every_captured_zfs_list_reads_as_recorded,
    "zfs_list",
    |text: &str| {
        let parsed = zfs_list::parse(text);
        let counts = format!("{:?}", parsed.value.snapshots);
        (lines(parsed.map(|list| list.datasets)), counts)
    }
);

/// A pool without its tree, and the tree, a line a vdev; what is absent is left out.
fn pool_lines(pool: &zpool::Pool) -> Vec<String> {
    let mut lines = vec![compact(&zpool::Pool {
        vdevs: Vec::new(),
        ..pool.clone()
    })];
    lines.extend(pool.vdevs.iter().map(compact));
    lines
}

fn compact<T: Serialize>(item: &T) -> String {
    fn prune(value: serde_json::Value) -> serde_json::Value {
        match value {
            serde_json::Value::Object(fields) => fields
                .into_iter()
                .map(|(key, value)| (key, prune(value)))
                .filter(|(_, value)| {
                    !value.is_null()
                        && *value != serde_json::Value::Bool(false)
                        && value.as_array().is_none_or(|list| !list.is_empty())
                })
                .collect(),
            serde_json::Value::Array(items) => items.into_iter().map(prune).collect(),
            other => other,
        }
    }
    prune(serde_json::to_value(item).unwrap()).to_string()
}

/// One line an item, so that a snapshot can be read.
fn lines<T: Serialize>(parsed: Parsed<Vec<T>>) -> (Vec<String>, Vec<muster_parse::Problem>) {
    let lines = parsed
        .value
        .iter()
        .map(|item| serde_json::to_string(item).unwrap())
        .collect();
    (lines, parsed.problems)
}

/// What is known of a device without its children, and its parents.
fn device_line(device: &lsblk::BlockDevice, parents: &[&str]) -> String {
    let alone = lsblk::BlockDevice {
        children: Vec::new(),
        ..device.clone()
    };
    let serde_json::Value::Object(mut fields) = serde_json::to_value(alone).unwrap() else {
        unreachable!()
    };
    fields.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()));
    format!("{} on {parents:?}", serde_json::Value::Object(fields))
}

#[test]
fn both_mount_tables_of_one_machine_name_the_same_mounts() {
    for suite in ["bookworm", "trixie"] {
        let read = |kind: &str| {
            let path = format!(
                "{}/fixtures/mounts/{suite}-{kind}.txt",
                env!("CARGO_MANIFEST_DIR")
            );
            let parsed = mounts::parse(&text(Path::new(&path)));
            assert!(parsed.problems.is_empty());
            let mut found: Vec<(String, String)> = parsed
                .value
                .into_iter()
                .map(|mount| (mount.mount_point, mount.fs_type))
                .collect();
            found.sort();
            found
        };
        assert_eq!(read("mountinfo"), read("mounts"), "{suite}");
    }
}

/// All captures of the lab, in the folder that `MUSTER_FIXTURES` names.
#[test]
fn no_capture_of_the_lab_has_a_problem() {
    let captures = lab_captures();
    if captures.is_empty() {
        println!("skipped: no captures of the lab here (MUSTER_FIXTURES)");
    }
    for path in captures {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = text(&path);
        let problems = match name.as_str() {
            "proc-stat.txt" => stat::parse(&text).problems,
            "proc-meminfo.txt" => meminfo::parse(&text).problems,
            "proc-loadavg.txt" => loadavg::parse(&text).problems,
            "proc-diskstats.txt" => diskstats::parse(&text).problems,
            "proc-mounts.txt" | "proc-self-mountinfo.txt" => mounts::parse(&text).problems,
            "proc-swaps.txt" => swaps::parse(&text).problems,
            "btrfs-device-stats.txt" | "btrfs-device-stats.json" => btrfs_stats::parse(&text).problems,
            "btrfs-scrub-status.txt" | "btrfs-scrub-status-d.txt" => btrfs_scrub::parse(&text).problems,
            "proc-mdstat.txt" => mdstat::parse(&text).problems,
            name if name.starts_with("mdadm-detail-md") => mdadm_detail::parse(&text).problems,
            "lsblk.json" | "lsblk-columns.json" => lsblk::parse(&text).problems,
            "zpool-status.txt" | "zpool-status-Pvs.txt" | "zpool-status-Lpt.txt" | "zpool-status.json" => {
                zpool::status::parse(&text).problems
            }
            "zpool-list-Hp.txt" | "zpool-list-Hpv.txt" | "zpool-list-o.txt" => {
                zpool::list::parse(&text).problems
            }
            "lvs.json" | "lvs-plain.json" | "pvs.json" | "vgs.json" => lvm::parse(&text).problems,
            "zfs-list-Hp.txt" | "zfs-list-o.txt" => zfs_list::parse(&text).problems,
            _ => continue,
        };
        assert_eq!(problems, [], "{}", path.display());
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a test finds its captures by the environment"
)]
fn lab_captures() -> Vec<PathBuf> {
    let Some(root) = std::env::var_os("MUSTER_FIXTURES") else {
        return Vec::new();
    };
    let list = |folder: &PathBuf| -> Vec<PathBuf> {
        fs::read_dir(folder)
            .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
            .unwrap_or_default()
    };
    list(&PathBuf::from(root).join("lab"))
        .iter()
        .flat_map(list)
        .collect::<Vec<_>>()
        .iter()
        .flat_map(list)
        .collect()
}

/// Gives the text to every parser.
fn parse_with_all(text: &str) {
    let _ = stat::parse(text);
    let _ = meminfo::parse(text);
    let _ = loadavg::parse(text);
    let _ = diskstats::parse(text);
    let _ = mdstat::parse(text);
    let _ = btrfs_stats::parse(text);
    let _ = btrfs_scrub::parse(text);
    let _ = swaps::parse(text);
    let _ = mdadm_detail::parse(text);
    let _ = mounts::parse(text);
    let _ = mounts::parse_mountinfo(text);
    let _ = mounts::parse_mounts(text);
    let _ = lsblk::unique(&lsblk::parse(text).value);
    let _ = os_release::parse(text);
    let _ = udev::parse(text);
    let _ = uevent::parse(text);
    let _ = arp::parse(text);
    let _ = conntrack::parse(text);
    let _ = exposition::parse(text);
    let _ = net_dev::parse(text);
    let _ = pairs::parse(text, |_| true);
    let _ = pressure::parse(text);
    let _ = (snmp::parse(text), snmp::parse_v6(text));
    let _ = sockstat::parse(text);
    let _ = softnet::parse(text);
    for line in text.lines() {
        let _ = sockets::parse_line(line);
    }
    let _ = (process::parse_stat(text), process::parse_io(text));
    let _ = process::parse_limit(text, "Max");
    let _ = (rows::parse(text), schedstat::parse(text), interrupts::parse(text));
    let _ = hwmon::parse_name(text).map(|file| hwmon::readings(file.kind, &hwmon::Properties::new()));
    let _ = hwmon::clean(text);
    for unit in systemd::parse_units(text) {
        let _ = systemd::count(&unit, "NAccepted");
        let _ = systemd::time_s(&unit, "LastTriggerUSec");
    }
    let _ = (
        zpool::status::parse(text),
        lvm::parse(text),
        kstat::parse(text),
        kstat::parse_io(text),
    );
    let _ = (zpool::list::parse(text), zfs_list::parse(text));
    let _ = zfs_list::count_snapshots(text);
    let _ = (systemd::version(text), upsc::parse(text), upsc::parse_list(text));
}

#[test]
fn no_cut_of_a_capture_makes_a_parser_panic() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    for folder in fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
    {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let text = text(&path);
            // Large files are cut at fewer places: their lines are all alike.
            let step = 1 + text.len() / 60;
            for length in (0..text.len())
                .step_by(step)
                .filter(|length| text.is_char_boundary(*length))
            {
                parse_with_all(&text[..length]);
            }
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in "\\PC*|([ \\t\\n:0-9a-zA-Z\\\\/=,\"'{}\\[\\].-]{0,400})") {
        parse_with_all(&text);
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        parse_with_all(&String::from_utf8_lossy(&bytes));
        let _ = scsi_vpd::unit_serial(&bytes);
        let found = scsi_vpd::designators(&bytes);
        let _ = scsi_vpd::worldwide_name(&found.value);
    }

    #[test]
    fn no_page_behind_a_right_head_makes_the_parser_panic(content in proptest::collection::vec(any::<u8>(), 0..300), length: u16) {
        let [high, low] = length.to_be_bytes();
        let page = |code: u8| [&[0, code, high, low][..], &content[..]].concat();
        let _ = scsi_vpd::unit_serial(&page(0x80));
        let _ = scsi_vpd::designators(&page(0x83));
    }

    #[test]
    fn a_line_is_either_read_or_a_problem(text in "[ 0-9a-z\\n]{0,300}") {
        let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
        let parsed = diskstats::parse(&text);
        prop_assert_eq!(parsed.value.len() + parsed.problems.len(), lines.min(100 + parsed.value.len()));
    }
}
