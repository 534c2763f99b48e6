//! Traffic of network interfaces.

use muster_catalogue::{
    Metric, NODE_NETWORK_RECEIVE_BYTES_TOTAL, NODE_NETWORK_RECEIVE_COMPRESSED_TOTAL,
    NODE_NETWORK_RECEIVE_DROP_TOTAL, NODE_NETWORK_RECEIVE_ERRS_TOTAL, NODE_NETWORK_RECEIVE_FIFO_TOTAL,
    NODE_NETWORK_RECEIVE_FRAME_TOTAL, NODE_NETWORK_RECEIVE_MULTICAST_TOTAL,
    NODE_NETWORK_RECEIVE_NOHANDLER_TOTAL, NODE_NETWORK_RECEIVE_PACKETS_TOTAL,
    NODE_NETWORK_TRANSMIT_BYTES_TOTAL, NODE_NETWORK_TRANSMIT_CARRIER_TOTAL,
    NODE_NETWORK_TRANSMIT_COLLS_TOTAL, NODE_NETWORK_TRANSMIT_COMPRESSED_TOTAL,
    NODE_NETWORK_TRANSMIT_DROP_TOTAL, NODE_NETWORK_TRANSMIT_ERRS_TOTAL, NODE_NETWORK_TRANSMIT_FIFO_TOTAL,
    NODE_NETWORK_TRANSMIT_PACKETS_TOTAL,
};
use muster_parse::net_dev;

use super::Descriptor;
use super::reading::{FileCollector, Reading, every_15s};
use crate::host::HostError;

/// Interfaces told of.
const INTERFACES_MAX: usize = 128;

/// The netdev collector.
pub const DESCRIPTOR: Descriptor = every_15s(
    "netdev",
    "traffic of network interfaces, from /proc/net/dev",
    |_| Box::new(NETDEV),
);

const NETDEV: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "/proc/net/dev does not exist or is empty",
    read,
};

const RECEIVED: [&Metric; 8] = [
    &NODE_NETWORK_RECEIVE_BYTES_TOTAL,
    &NODE_NETWORK_RECEIVE_PACKETS_TOTAL,
    &NODE_NETWORK_RECEIVE_ERRS_TOTAL,
    &NODE_NETWORK_RECEIVE_DROP_TOTAL,
    &NODE_NETWORK_RECEIVE_FIFO_TOTAL,
    &NODE_NETWORK_RECEIVE_FRAME_TOTAL,
    &NODE_NETWORK_RECEIVE_COMPRESSED_TOTAL,
    &NODE_NETWORK_RECEIVE_MULTICAST_TOTAL,
];

const SENT: [&Metric; 8] = [
    &NODE_NETWORK_TRANSMIT_BYTES_TOTAL,
    &NODE_NETWORK_TRANSMIT_PACKETS_TOTAL,
    &NODE_NETWORK_TRANSMIT_ERRS_TOTAL,
    &NODE_NETWORK_TRANSMIT_DROP_TOTAL,
    &NODE_NETWORK_TRANSMIT_FIFO_TOTAL,
    &NODE_NETWORK_TRANSMIT_COLLS_TOTAL,
    &NODE_NETWORK_TRANSMIT_CARRIER_TOTAL,
    &NODE_NETWORK_TRANSMIT_COMPRESSED_TOTAL,
];

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let path = "/proc/net/dev";
    let Some(text) = reading.text(path)? else {
        return Ok(());
    };
    let mut parsed = net_dev::parse(&text);
    parsed.value.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    for interface in reading.first(path, parsed.value, INTERFACES_MAX) {
        let labels = [("device", interface.name.as_str())];
        let received = RECEIVED.into_iter().zip(interface.received);
        for (metric, value) in received.chain(SENT.into_iter().zip(interface.sent)) {
            reading.sample(metric, &labels, value as f64);
        }
        // The table has no room for it.
        let unwanted = format!("/sys/class/net/{}/statistics/rx_nohandler", interface.name);
        reading.file(&unwanted, &NODE_NETWORK_RECEIVE_NOHANDLER_TOTAL, &labels);
    }
    reading.draft.parser_problems(path, parsed.problems);
    Ok(())
}
