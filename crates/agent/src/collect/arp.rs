//! Entries of the ARP table.

use muster_catalogue::NODE_ARP_ENTRIES;
use muster_parse::arp;

use super::Descriptor;
use super::reading::{FileCollector, Reading, every_15s};
use crate::host::HostError;

/// Interfaces told of.
const INTERFACES_MAX: usize = 256;

/// The ARP collector.
pub const DESCRIPTOR: Descriptor = every_15s("arp", "entries of the ARP table, from /proc/net/arp", |_| {
    Box::new(ARP)
});

const ARP: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "the ARP table is empty, or there is none",
    read,
};

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let Some(text) = reading.text("/proc/net/arp")? else {
        return Ok(());
    };
    let parsed = arp::parse(&text);
    let entries = reading.first(
        "/proc/net/arp",
        parsed.value.into_iter().collect(),
        INTERFACES_MAX,
    );
    for (device, count) in entries {
        reading.sample(&NODE_ARP_ENTRIES, &[("device", &device)], count as f64);
    }
    reading.draft.parser_problems("/proc/net/arp", parsed.problems);
    Ok(())
}
