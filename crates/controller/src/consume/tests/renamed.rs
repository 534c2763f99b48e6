//! Things that got other names while nobody looked: what was said under the former ones ends at once.

use std::collections::BTreeSet;

use muster_base::id::ServerId;
use muster_model::{Labels, ResourceKey, SeriesDef};

use super::*;
use crate::intake::tests::define_in;

const SMART_MS: u32 = 1_800_000;
const ONE: &str = "device:wwn:0x1";
const TWO: &str = "device:wwn:0x2";

/// A series of SMART.
fn smart(metric: &str, key: &str, labels: &[(&'static str, &str)]) -> SeriesDef {
    SeriesDef {
        labels: Labels::of(labels),
        collector: "smart".into(),
        resource_key: ResourceKey::new(key),
        interval_ms: SMART_MS,
        ..series(metric)
    }
}

/// What SMART says of a disk.
fn disk(key: &str, device: &str) -> Vec<SeriesDef> {
    vec![
        smart(
            "smartctl_device",
            key,
            &[("device", device), ("serial_number", key)],
        ),
        smart("smartctl_device_temperature", key, &[("device", device)]),
        smart("smartctl_device_smartctl_exit_status", key, &[("device", device)]),
    ]
}

struct Fleet {
    folder: tempfile::TempDir,
    whole: Whole,
    epochs: u64,
}

impl Fleet {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let whole = Whole::open(&dir_of(&folder)).await;
        for name in ["a", "b", "c"] {
            let fields = crate::store::ServerFields::named(name);
            whole.store.create_server(fields, 1).await.unwrap();
        }
        Self {
            folder,
            whole,
            epochs: 0,
        }
    }

    /// An agent starts and says this once, at this many seconds from now.
    async fn start(&mut self, rows: Vec<SeriesDef>, at_s: i64) -> u64 {
        self.epochs += 1;
        let epoch = EPOCH + self.epochs;
        let ids = (1..=rows.len() as u32).collect();
        define_in(&self.whole.intake, epoch, 1, rows).await;
        self.say(epoch, 1, ids, at_s).await;
        epoch
    }

    async fn say(&self, epoch: u64, sequence: u64, ids: Vec<u32>, at_s: i64) {
        let report = with_samples(report_of(epoch, sequence), ids, NOW + at_s * 1_000);
        submit(&self.whole.intake, report).await;
        self.whole.caught_up().await;
    }

    /// What holds a moment after this time: metrics, and what they call their device.
    fn rows(&self, at_s: i64) -> BTreeSet<(String, String)> {
        let reader = self.whole.samples.snapshot();
        let latest = reader.latest(&Filter::new(&[]), NOW + at_s * 1_000 + 1);
        let count = latest.samples.len();
        let rows: BTreeSet<_> = latest
            .samples
            .iter()
            .map(|sample| {
                let label = |name| sample.meta.label(name).unwrap_or_default();
                let device = format!("{} {}", label("device"), label("serial_number"));
                (sample.meta.name.to_string(), device.trim().to_owned())
            })
            .collect();
        assert_eq!(rows.len(), count, "no row is there twice: {latest:?}");
        rows
    }

    async fn restart(self) -> Self {
        let Self {
            folder,
            whole,
            epochs,
        } = self;
        whole.kill().await;
        let whole = Whole::open(&dir_of(&folder)).await;
        whole.caught_up().await;
        Self {
            folder,
            whole,
            epochs,
        }
    }
}

/// The rows that SMART has of disks of these names.
fn expected(disks: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    let rows = |(key, device): &(&str, &str)| {
        [
            ("smartctl_device".to_owned(), format!("{device} {key}")),
            ("smartctl_device_temperature".to_owned(), (*device).to_owned()),
            (
                "smartctl_device_smartctl_exit_status".to_owned(),
                (*device).to_owned(),
            ),
        ]
    };
    disks.iter().flat_map(rows).collect()
}

#[tokio::test]
async fn disks_that_swapped_names_while_their_agent_was_off_have_one_row_each_at_once() {
    let mut fleet = Fleet::new().await;
    let named = |one: &str, two: &str| [disk(ONE, one), disk(TWO, two)].concat();
    fleet.start(named("sda", "sdb"), 0).await;
    assert_eq!(fleet.rows(0), expected(&[(ONE, "sda"), (TWO, "sdb")]));
    fleet.start(named("sdb", "sda"), 60).await;
    let swapped = expected(&[(ONE, "sdb"), (TWO, "sda")]);
    assert_eq!(fleet.rows(60), swapped);
    // What was said before is history still.
    assert_eq!(fleet.rows(58), expected(&[(ONE, "sda"), (TWO, "sdb")]));
    // Applied again, it is the same.
    let mut fleet = fleet.restart().await;
    assert_eq!(fleet.rows(60), swapped);
    fleet.start(named("sda", "sdb"), 120).await;
    assert_eq!(fleet.rows(120), expected(&[(ONE, "sda"), (TWO, "sdb")]));
    let fleet = fleet.restart().await;
    assert_eq!(fleet.rows(120), expected(&[(ONE, "sda"), (TWO, "sdb")]));
    fleet.whole.kill().await;
}

#[tokio::test]
async fn a_name_that_another_disk_has_now_is_not_that_of_one_that_is_gone() {
    let mut fleet = Fleet::new().await;
    fleet
        .start([disk(ONE, "sda"), disk(TWO, "sdb")].concat(), 0)
        .await;
    fleet.start(disk(TWO, "sda"), 60).await;
    assert_eq!(fleet.rows(60), expected(&[(TWO, "sda")]));
    fleet.whole.kill().await;
}

#[tokio::test]
async fn a_sleeping_disk_keeps_its_rows_unless_it_has_another_name() {
    let mut fleet = Fleet::new().await;
    let asleep = |key, device: &str| disk(key, device).split_off(2);
    fleet
        .start([disk(ONE, "sda"), disk(TWO, "sdb")].concat(), 0)
        .await;
    fleet
        .start([asleep(ONE, "sda"), asleep(TWO, "sdc")].concat(), 60)
        .await;
    let mut rows = expected(&[(ONE, "sda")]);
    rows.insert((
        "smartctl_device_smartctl_exit_status".to_owned(),
        "sdc".to_owned(),
    ));
    assert_eq!(fleet.rows(60), rows);
    fleet.whole.kill().await;
}

#[tokio::test]
async fn a_disk_with_new_firmware_is_described_once() {
    let mut fleet = Fleet::new().await;
    let described = |firmware| {
        let labels = [("device", "sda"), ("firmware_version", firmware)];
        vec![smart("smartctl_device", ONE, &labels)]
    };
    fleet.start(described("SN03"), 0).await;
    fleet.start(described("SN05"), 60).await;
    let reader = fleet.whole.samples.snapshot();
    let latest = reader.latest(&Filter::new(&[]), NOW + 60_001).samples;
    let firmware: Vec<_> = latest
        .iter()
        .map(|sample| sample.meta.label("firmware_version"))
        .collect();
    assert_eq!(firmware, [Some("SN05")]);
    fleet.whole.kill().await;
}

#[tokio::test]
async fn what_a_new_epoch_does_not_speak_against_goes_on() {
    let mut fleet = Fleet::new().await;
    let of = |metric: &str, key: ResourceKey, device: &str, collector: &str| SeriesDef {
        collector: collector.to_owned().into(),
        resource_key: key,
        ..smart(metric, "", &[("device", device)])
    };
    let pool = || ResourceKey::new("pool:btrfs:1");
    let before = vec![
        // Interfaces are the server's own.
        of("test_network", ResourceKey::server(), "eth0", "netdev"),
        of("test_network", ResourceKey::server(), "eth1", "netdev"),
        // A pool has several devices, one of which was taken out.
        of("test_errors", pool(), "sda", "btrfs"),
        of("test_errors", pool(), "sdb", "btrfs"),
        // Another collector's name for the same thing.
        of("test_seen", pool(), "data", "other"),
    ];
    fleet.start(before, 0).await;
    let after = vec![
        of("test_network", ResourceKey::server(), "eth0", "netdev"),
        of("test_errors", pool(), "sda", "btrfs"),
    ];
    let epoch = fleet.start(after, 60).await;
    let row = |metric: &str, device: &str| (metric.to_owned(), device.to_owned());
    let mut rows = BTreeSet::from([
        row("test_network", "eth0"),
        row("test_network", "eth1"),
        row("test_errors", "sda"),
        row("test_seen", "data"),
    ]);
    assert_eq!(fleet.rows(60), rows);
    // One that comes later in the same epoch, even of the same time, goes on too.
    let late = vec![of("test_errors", pool(), "sdb", "btrfs")];
    define_in(&fleet.whole.intake, epoch, 3, late).await;
    fleet.say(epoch, 2, vec![3], 60).await;
    rows.insert(row("test_errors", "sdb"));
    assert_eq!(fleet.rows(60), rows);
    fleet.whole.kill().await;
}

#[tokio::test]
async fn what_an_earlier_epoch_brings_late_does_not_hold_again() {
    let mut fleet = Fleet::new().await;
    let first = fleet.start(disk(ONE, "sda"), 0).await;
    fleet.start(disk(ONE, "sdb"), 60).await;
    fleet.say(first, 2, vec![1, 2, 3], 30).await;
    assert_eq!(fleet.rows(60), expected(&[(ONE, "sdb")]));
    // As far as it went it is history.
    assert_eq!(fleet.rows(30), expected(&[(ONE, "sda")]));
    let servers = [ServerId(3)];
    let filter = Filter {
        servers: Some(&servers),
        ..Filter::new(&[])
    };
    let all = fleet
        .whole
        .samples
        .snapshot()
        .select(&Select::new(filter, NOW, NOW + 100_000));
    assert_eq!(all.series.len(), 6);
    fleet.whole.kill().await;
}
