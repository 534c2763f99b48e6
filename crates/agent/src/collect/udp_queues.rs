//! Bytes in the queues of UDP sockets.

use muster_catalogue::NODE_UDP_QUEUES;
use muster_parse::sockets;

use super::Descriptor;
use super::reading::{FileCollector, Reading, every_15s};
use crate::host::HostError;

/// Longest table that is read.
const TABLE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The udp_queues collector.
pub const DESCRIPTOR: Descriptor = every_15s(
    "udp_queues",
    "bytes in the queues of UDP sockets, from /proc/net/udp and udp6",
    |_| Box::new(UDP_QUEUES),
);

const UDP_QUEUES: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "/proc/net/udp does not exist",
    read,
};

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    for (path, ip) in [("/proc/net/udp", "v4"), ("/proc/net/udp6", "v6")] {
        let (mut sending_bytes, mut received_bytes, mut odd) = (0_u64, 0_u64, 0_u64);
        let is_there =
            reading
                .files
                .each_line(path, TABLE_BYTES_MAX, |line| match sockets::parse_line(line) {
                    Some(socket) => {
                        sending_bytes = sending_bytes.saturating_add(socket.sending_bytes);
                        received_bytes = received_bytes.saturating_add(socket.received_bytes);
                    }
                    None => odd += u64::from(!sockets::is_heading(line)),
                })?;
        if !is_there {
            continue;
        }
        if 0 < odd {
            reading
                .draft
                .problem(format!("{path}: {odd} lines are none of sockets"));
        }
        for (queue, bytes) in [("tx", sending_bytes), ("rx", received_bytes)] {
            reading.sample(&NODE_UDP_QUEUES, &[("queue", queue), ("ip", ip)], bytes as f64);
        }
    }
    Ok(())
}
