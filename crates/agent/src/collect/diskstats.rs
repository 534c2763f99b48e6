//! I/O counters of disks and of the layers above them.

mod udev;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_catalogue::{
    Metric, NODE_DISK_DISCARD_TIME_SECONDS_TOTAL, NODE_DISK_DISCARDED_SECTORS_TOTAL,
    NODE_DISK_DISCARDS_COMPLETED_TOTAL, NODE_DISK_DISCARDS_MERGED_TOTAL,
    NODE_DISK_FLUSH_REQUESTS_TIME_SECONDS_TOTAL, NODE_DISK_FLUSH_REQUESTS_TOTAL, NODE_DISK_INFO,
    NODE_DISK_IO_NOW, NODE_DISK_IO_TIME_SECONDS_TOTAL, NODE_DISK_IO_TIME_WEIGHTED_SECONDS_TOTAL,
    NODE_DISK_READ_BYTES_TOTAL, NODE_DISK_READ_TIME_SECONDS_TOTAL, NODE_DISK_READS_COMPLETED_TOTAL,
    NODE_DISK_READS_MERGED_TOTAL, NODE_DISK_WRITE_TIME_SECONDS_TOTAL, NODE_DISK_WRITES_COMPLETED_TOTAL,
    NODE_DISK_WRITES_MERGED_TOTAL, NODE_DISK_WRITTEN_BYTES_TOTAL,
};
use muster_model::ResourceKey;
use muster_parse::diskstats::{self, DiskStat, SECTOR_BYTES};

use super::block::{Inventory, Node, Shared};
use super::draft::Draft;
use super::{CollectError, Collector, Descriptor, Outcome, Place};
use crate::host::Host;

/// The diskstats collector.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "diskstats",
    summary: "I/O counters of disks, from /proc/diskstats",
    interval: Duration::from_secs(15),
    interval_min: Duration::from_secs(1),
    timeout: Duration::from_secs(10),
    place: Place::Net,
    build: |context| {
        Box::new(Diskstats {
            shared: Arc::clone(&context.inventory),
        })
    },
};

struct Diskstats {
    shared: Arc<Shared>,
}

#[async_trait]
impl Collector for Diskstats {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        let Some(text) = host.read_proc("diskstats").await? else {
            return Ok(Outcome::absent("/proc/diskstats does not exist"));
        };
        let mut draft = Draft::new(DESCRIPTOR.name);
        let parsed = diskstats::parse(&text);
        // The counters are worth having even if nobody knows whose they are.
        let inventory = self.shared.known(host, &mut draft).await.unwrap_or_default();
        describe(&mut draft, &parsed.value, &inventory);
        draft.parser_problems("/proc/diskstats", parsed.problems);
        Ok(Outcome::Facts(draft.finish()))
    }
}

/// Puts the counters of every device that is not left out into the draft.
pub(crate) fn describe(draft: &mut Draft, stats: &[DiskStat], inventory: &Inventory) {
    for stat in stats.iter().filter(|stat| !is_excluded(&stat.name)) {
        let resource = inventory.key(&stat.name);
        counters(draft, stat, resource);
        let node = inventory.node(&stat.name);
        info(draft, stat, node, resource);
        if let Some(node) = node {
            udev::describe(draft, node, resource);
        }
    }
}

/// What `node_exporter` leaves out: RAM disks, loop devices, floppies and partitions,
/// `^(z?ram|loop|fd|(h|s|v|xv)d[a-z]+|nvme\d+n\d+p)\d+$`.
fn is_excluded(name: &str) -> bool {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == name.len() {
        return false;
    }
    let is_disk_letters = ["hd", "sd", "vd", "xvd"].iter().any(|prefix| {
        stem.strip_prefix(prefix).is_some_and(|letters| {
            !letters.is_empty() && letters.bytes().all(|byte| byte.is_ascii_lowercase())
        })
    });
    let is_nvme_partition = stem
        .strip_prefix("nvme")
        .and_then(|rest| rest.strip_suffix('p'))
        .is_some_and(|rest| {
            let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            rest.split_once('n')
                .is_some_and(|(controller, namespace)| is_number(controller) && is_number(namespace))
        });
    matches!(stem, "ram" | "zram" | "loop" | "fd") || is_disk_letters || is_nvme_partition
}

fn counters(draft: &mut Draft, stat: &DiskStat, resource: Option<&ResourceKey>) {
    let mut add = |metric: &Metric, value: f64| {
        draft.sample_of(resource, metric, &[("device", &stat.name)], value);
    };
    let seconds = |ms: u64| ms as f64 / 1000.0;
    let bytes = |sectors: u64| sectors as f64 * SECTOR_BYTES as f64;
    add(&NODE_DISK_READS_COMPLETED_TOTAL, stat.reads as f64);
    add(&NODE_DISK_READS_MERGED_TOTAL, stat.reads_merged as f64);
    add(&NODE_DISK_READ_BYTES_TOTAL, bytes(stat.sectors_read));
    add(&NODE_DISK_READ_TIME_SECONDS_TOTAL, seconds(stat.read_ms));
    add(&NODE_DISK_WRITES_COMPLETED_TOTAL, stat.writes as f64);
    add(&NODE_DISK_WRITES_MERGED_TOTAL, stat.writes_merged as f64);
    add(&NODE_DISK_WRITTEN_BYTES_TOTAL, bytes(stat.sectors_written));
    add(&NODE_DISK_WRITE_TIME_SECONDS_TOTAL, seconds(stat.write_ms));
    add(&NODE_DISK_IO_NOW, stat.in_flight as f64);
    add(&NODE_DISK_IO_TIME_SECONDS_TOTAL, seconds(stat.io_ms));
    add(
        &NODE_DISK_IO_TIME_WEIGHTED_SECONDS_TOTAL,
        seconds(stat.weighted_io_ms),
    );
    if let Some(discards) = &stat.discards {
        add(&NODE_DISK_DISCARDS_COMPLETED_TOTAL, discards.completed as f64);
        add(&NODE_DISK_DISCARDS_MERGED_TOTAL, discards.merged as f64);
        add(&NODE_DISK_DISCARDED_SECTORS_TOTAL, discards.sectors as f64);
        add(&NODE_DISK_DISCARD_TIME_SECONDS_TOTAL, seconds(discards.ms));
    }
    if let Some(flushes) = &stat.flushes {
        add(&NODE_DISK_FLUSH_REQUESTS_TOTAL, flushes.completed as f64);
        add(&NODE_DISK_FLUSH_REQUESTS_TIME_SECONDS_TOTAL, seconds(flushes.ms));
    }
}

/// Labels are udev's words, as `node_exporter` has them, and the kernel's where udev has none.
fn info(draft: &mut Draft, stat: &DiskStat, node: Option<&Node>, resource: Option<&ResourceKey>) {
    let word = |names: &[&str], other: Option<&String>| {
        names
            .iter()
            .find_map(|name| node?.udev.get(name))
            .or(other.map(String::as_str))
            .unwrap_or_default()
            .to_owned()
    };
    let wwn = node
        .and_then(|node| node.names.best())
        .map(|(kind, digits)| match kind {
            "wwn" => format!("0x{digits}"),
            _ => format!("eui.{digits}"),
        });
    let rotational = match node.and_then(|node| node.is_rotational) {
        Some(true) => "1",
        Some(false) => "0",
        None => "",
    };
    draft.sample_of(
        resource,
        &NODE_DISK_INFO,
        &[
            ("device", &stat.name),
            ("major", &stat.major.to_string()),
            ("minor", &stat.minor.to_string()),
            ("path", &word(&["ID_PATH"], None)),
            ("wwn", &word(&["ID_WWN"], wwn.as_ref())),
            (
                "model",
                &word(&["ID_MODEL"], node.and_then(|node| node.model.as_ref())),
            ),
            (
                "serial",
                &word(
                    &["SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL"],
                    node.and_then(|node| node.serial.as_ref()),
                ),
            ),
            (
                "revision",
                &word(&["ID_REVISION"], node.and_then(|node| node.firmware.as_ref())),
            ),
            ("rotational", rotational),
        ],
        1.0,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_and_virtual_disks_are_left_out_and_layers_kept() {
        for name in [
            "sda1",
            "vda12",
            "xvdb2",
            "sdaa3",
            "nvme0n1p2",
            "ram0",
            "zram0",
            "loop7",
            "fd0",
        ] {
            assert!(is_excluded(name), "{name}");
        }
        for name in [
            "sda", "sdaa", "nvme0n1", "dm-0", "md127", "mmcblk0", "sr0", "zd16", "nbd0",
        ] {
            assert!(!is_excluded(name), "{name}");
        }
    }

    #[test]
    fn counters_come_in_base_units_and_only_if_the_kernel_has_them() {
        let parsed =
            diskstats::parse("8 0 sda 1 2 3 4000 5 6 7 8000 9 10000 11\n8 1 sda1 1 2 3 4 5 6 7 8 9 10 11\n");
        let mut draft = Draft::new("diskstats");
        describe(&mut draft, &parsed.value, &Inventory::default());
        let samples = draft.finish().samples;
        assert_eq!(samples.len(), 12);
        let value = |name: &str| samples.iter().find(|sample| sample.name == name).unwrap().value;
        assert_eq!(value("node_disk_read_bytes_total"), 1536.0);
        assert_eq!(value("node_disk_io_time_seconds_total"), 10.0);
    }
}
