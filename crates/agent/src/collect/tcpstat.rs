//! TCP sockets by state.

use muster_catalogue::NODE_TCP_CONNECTION_STATES;
use muster_parse::sockets;

use super::Descriptor;
use super::reading::{FileCollector, Reading, every_minute};
use crate::host::HostError;

/// Longest table that is read: some four hundred thousand sockets.
const TABLE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The tcpstat collector; the table is long on a busy server, hence seldom.
pub const DESCRIPTOR: Descriptor = every_minute(
    "tcpstat",
    "TCP sockets by state, from /proc/net/tcp and tcp6",
    |_| Box::new(TCPSTAT),
);

const TCPSTAT: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "/proc/net/tcp does not exist",
    read,
};

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let mut counts = [0_u64; 256];
    let (mut sending_bytes, mut received_bytes, mut odd) = (0_u64, 0_u64, 0_u64);
    let mut is_there = false;
    for path in ["/proc/net/tcp", "/proc/net/tcp6"] {
        is_there |=
            reading
                .files
                .each_line(path, TABLE_BYTES_MAX, |line| match sockets::parse_line(line) {
                    Some(socket) => {
                        counts[usize::from(socket.state)] += 1;
                        sending_bytes = sending_bytes.saturating_add(socket.sending_bytes);
                        received_bytes = received_bytes.saturating_add(socket.received_bytes);
                    }
                    None => odd += u64::from(!sockets::is_heading(line)),
                })?;
    }
    if !is_there {
        return Ok(());
    }
    if 0 < odd {
        reading
            .draft
            .problem(format!("/proc/net/tcp: {odd} lines are none of sockets"));
    }
    for (number, name) in sockets::TCP_STATES {
        let count = counts[usize::from(number)];
        reading.sample(&NODE_TCP_CONNECTION_STATES, &[("state", name)], count as f64);
    }
    for (name, bytes) in [
        ("rx_queued_bytes", received_bytes),
        ("tx_queued_bytes", sending_bytes),
    ] {
        reading.sample(&NODE_TCP_CONNECTION_STATES, &[("state", name)], bytes as f64);
    }
    Ok(())
}
