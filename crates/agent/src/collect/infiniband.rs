//! InfiniBand ports: whether they work, and their traffic.

use muster_catalogue::{
    NODE_INFINIBAND_EXCESSIVE_BUFFER_OVERRUN_ERRORS_TOTAL, NODE_INFINIBAND_INFO,
    NODE_INFINIBAND_LEGACY_DATA_RECEIVED_BYTES_TOTAL, NODE_INFINIBAND_LEGACY_DATA_TRANSMITTED_BYTES_TOTAL,
    NODE_INFINIBAND_LEGACY_MULTICAST_PACKETS_RECEIVED_TOTAL,
    NODE_INFINIBAND_LEGACY_MULTICAST_PACKETS_TRANSMITTED_TOTAL,
    NODE_INFINIBAND_LEGACY_PACKETS_RECEIVED_TOTAL, NODE_INFINIBAND_LEGACY_PACKETS_TRANSMITTED_TOTAL,
    NODE_INFINIBAND_LEGACY_UNICAST_PACKETS_RECEIVED_TOTAL,
    NODE_INFINIBAND_LEGACY_UNICAST_PACKETS_TRANSMITTED_TOTAL, NODE_INFINIBAND_LINK_DOWNED_TOTAL,
    NODE_INFINIBAND_LINK_ERROR_RECOVERY_TOTAL, NODE_INFINIBAND_LOCAL_LINK_INTEGRITY_ERRORS_TOTAL,
    NODE_INFINIBAND_MULTICAST_PACKETS_RECEIVED_TOTAL, NODE_INFINIBAND_MULTICAST_PACKETS_TRANSMITTED_TOTAL,
    NODE_INFINIBAND_PHYSICAL_STATE_ID, NODE_INFINIBAND_PORT_CONSTRAINT_ERRORS_RECEIVED_TOTAL,
    NODE_INFINIBAND_PORT_CONSTRAINT_ERRORS_TRANSMITTED_TOTAL, NODE_INFINIBAND_PORT_DATA_RECEIVED_BYTES_TOTAL,
    NODE_INFINIBAND_PORT_DATA_TRANSMITTED_BYTES_TOTAL, NODE_INFINIBAND_PORT_DISCARDS_RECEIVED_TOTAL,
    NODE_INFINIBAND_PORT_DISCARDS_TRANSMITTED_TOTAL, NODE_INFINIBAND_PORT_ERRORS_RECEIVED_TOTAL,
    NODE_INFINIBAND_PORT_PACKETS_RECEIVED_TOTAL, NODE_INFINIBAND_PORT_PACKETS_TRANSMITTED_TOTAL,
    NODE_INFINIBAND_PORT_RECEIVE_REMOTE_PHYSICAL_ERRORS_TOTAL,
    NODE_INFINIBAND_PORT_RECEIVE_SWITCH_RELAY_ERRORS_TOTAL, NODE_INFINIBAND_PORT_TRANSMIT_WAIT_TOTAL,
    NODE_INFINIBAND_RATE_BYTES_PER_SECOND, NODE_INFINIBAND_STATE_ID, NODE_INFINIBAND_SYMBOL_ERROR_TOTAL,
    NODE_INFINIBAND_UNICAST_PACKETS_RECEIVED_TOTAL, NODE_INFINIBAND_UNICAST_PACKETS_TRANSMITTED_TOTAL,
    NODE_INFINIBAND_VL15_DROPPED_TOTAL,
};

use super::Descriptor;
use super::reading::{Attribute, FileCollector, Reading, every_15s};
use crate::host::HostError;

/// Devices, and ports of each, told of.
const ITEMS_MAX: usize = 32;
const ROOT: &str = "/sys/class/infiniband";

/// The infiniband collector.
pub const DESCRIPTOR: Descriptor = every_15s(
    "infiniband",
    "InfiniBand ports, from /sys/class/infiniband",
    |_| Box::new(INFINIBAND),
);

const INFINIBAND: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "no InfiniBand device in /sys/class/infiniband",
    read,
};

/// Documentation/ABI/stable/sysfs-class-infiniband; data is counted in words of four bytes.
const COUNTERS: [Attribute; 22] = [
    Attribute::plain("VL15_dropped", NODE_INFINIBAND_VL15_DROPPED_TOTAL),
    Attribute::plain(
        "excessive_buffer_overrun_errors",
        NODE_INFINIBAND_EXCESSIVE_BUFFER_OVERRUN_ERRORS_TOTAL,
    ),
    Attribute::plain("link_downed", NODE_INFINIBAND_LINK_DOWNED_TOTAL),
    Attribute::plain("link_error_recovery", NODE_INFINIBAND_LINK_ERROR_RECOVERY_TOTAL),
    Attribute::plain(
        "local_link_integrity_errors",
        NODE_INFINIBAND_LOCAL_LINK_INTEGRITY_ERRORS_TOTAL,
    ),
    Attribute::plain(
        "multicast_rcv_packets",
        NODE_INFINIBAND_MULTICAST_PACKETS_RECEIVED_TOTAL,
    ),
    Attribute::plain(
        "multicast_xmit_packets",
        NODE_INFINIBAND_MULTICAST_PACKETS_TRANSMITTED_TOTAL,
    ),
    Attribute::plain(
        "port_rcv_constraint_errors",
        NODE_INFINIBAND_PORT_CONSTRAINT_ERRORS_RECEIVED_TOTAL,
    ),
    Attribute::scaled(
        "port_rcv_data",
        NODE_INFINIBAND_PORT_DATA_RECEIVED_BYTES_TOTAL,
        4.0,
    ),
    Attribute::plain("port_rcv_discards", NODE_INFINIBAND_PORT_DISCARDS_RECEIVED_TOTAL),
    Attribute::plain("port_rcv_errors", NODE_INFINIBAND_PORT_ERRORS_RECEIVED_TOTAL),
    Attribute::plain("port_rcv_packets", NODE_INFINIBAND_PORT_PACKETS_RECEIVED_TOTAL),
    Attribute::plain(
        "port_rcv_remote_physical_errors",
        NODE_INFINIBAND_PORT_RECEIVE_REMOTE_PHYSICAL_ERRORS_TOTAL,
    ),
    Attribute::plain(
        "port_rcv_switch_relay_errors",
        NODE_INFINIBAND_PORT_RECEIVE_SWITCH_RELAY_ERRORS_TOTAL,
    ),
    Attribute::plain(
        "port_xmit_constraint_errors",
        NODE_INFINIBAND_PORT_CONSTRAINT_ERRORS_TRANSMITTED_TOTAL,
    ),
    Attribute::scaled(
        "port_xmit_data",
        NODE_INFINIBAND_PORT_DATA_TRANSMITTED_BYTES_TOTAL,
        4.0,
    ),
    Attribute::plain(
        "port_xmit_discards",
        NODE_INFINIBAND_PORT_DISCARDS_TRANSMITTED_TOTAL,
    ),
    Attribute::plain(
        "port_xmit_packets",
        NODE_INFINIBAND_PORT_PACKETS_TRANSMITTED_TOTAL,
    ),
    Attribute::plain("port_xmit_wait", NODE_INFINIBAND_PORT_TRANSMIT_WAIT_TOTAL),
    Attribute::plain("symbol_error", NODE_INFINIBAND_SYMBOL_ERROR_TOTAL),
    Attribute::plain(
        "unicast_rcv_packets",
        NODE_INFINIBAND_UNICAST_PACKETS_RECEIVED_TOTAL,
    ),
    Attribute::plain(
        "unicast_xmit_packets",
        NODE_INFINIBAND_UNICAST_PACKETS_TRANSMITTED_TOTAL,
    ),
];

/// Before Linux 4.5 the counters that do not stop at 32 bits stood in a folder of their own.
const EXTENDED: [Attribute; 8] = [
    Attribute::plain(
        "port_multicast_rcv_packets",
        NODE_INFINIBAND_LEGACY_MULTICAST_PACKETS_RECEIVED_TOTAL,
    ),
    Attribute::plain(
        "port_multicast_xmit_packets",
        NODE_INFINIBAND_LEGACY_MULTICAST_PACKETS_TRANSMITTED_TOTAL,
    ),
    Attribute::scaled(
        "port_rcv_data_64",
        NODE_INFINIBAND_LEGACY_DATA_RECEIVED_BYTES_TOTAL,
        4.0,
    ),
    Attribute::plain(
        "port_rcv_packets_64",
        NODE_INFINIBAND_LEGACY_PACKETS_RECEIVED_TOTAL,
    ),
    Attribute::plain(
        "port_unicast_rcv_packets",
        NODE_INFINIBAND_LEGACY_UNICAST_PACKETS_RECEIVED_TOTAL,
    ),
    Attribute::plain(
        "port_unicast_xmit_packets",
        NODE_INFINIBAND_LEGACY_UNICAST_PACKETS_TRANSMITTED_TOTAL,
    ),
    Attribute::scaled(
        "port_xmit_data_64",
        NODE_INFINIBAND_LEGACY_DATA_TRANSMITTED_BYTES_TOTAL,
        4.0,
    ),
    Attribute::plain(
        "port_xmit_packets_64",
        NODE_INFINIBAND_LEGACY_PACKETS_TRANSMITTED_TOTAL,
    ),
];

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let devices = reading.files.names(ROOT);
    for device in reading.first(ROOT, devices, ITEMS_MAX) {
        let folder = format!("{ROOT}/{device}");
        let word = |file: &str| {
            reading
                .files
                .word(&format!("{folder}/{file}"))
                .unwrap_or_default()
        };
        let labels = [
            ("device", device.as_str()),
            ("board_id", &word("board_id")),
            ("firmware_version", &word("fw_ver")),
            ("hca_type", &word("hca_type")),
        ];
        reading.draft.sample(&NODE_INFINIBAND_INFO, &labels, 1.0);
        let ports = format!("{folder}/ports");
        for (number, name) in reading.numbered(&ports, "", ITEMS_MAX) {
            port(reading, &format!("{ports}/{name}"), &device, &number.to_string());
        }
    }
    Ok(())
}

fn port(reading: &mut Reading<'_>, folder: &str, device: &str, number: &str) {
    let labels = [("device", device), ("port", number)];
    // "4: ACTIVE", "40 Gb/sec (4X QDR)".
    for (file, end, metric, scale) in [
        ("state", ':', &NODE_INFINIBAND_STATE_ID, 1.0),
        ("phys_state", ':', &NODE_INFINIBAND_PHYSICAL_STATE_ID, 1.0),
        ("rate", ' ', &NODE_INFINIBAND_RATE_BYTES_PER_SECOND, 125_000_000.0),
    ] {
        let Some(text) = reading.files.word(&format!("{folder}/{file}")) else {
            continue;
        };
        match text
            .split(end)
            .next()
            .and_then(|word| word.trim().parse::<f64>().ok())
        {
            Some(value) => reading.sample(metric, &labels, value * scale),
            None => reading.draft.problem(format!(
                "{folder}/{file}: expected a number first, found {text:.60?}"
            )),
        }
    }
    for (counters, attributes) in [("counters", &COUNTERS[..]), ("counters_ext", &EXTENDED[..])] {
        for attribute in attributes {
            let path = format!("{folder}/{counters}/{}", attribute.file);
            // Ports that lack a counter say "N/A (no PMA)".
            let value = reading
                .files
                .word(&path)
                .and_then(|word| word.parse::<f64>().ok());
            if let Some(value) = value.filter(|value| value.is_finite()) {
                reading.sample(&attribute.metric, &labels, value * attribute.scale);
            }
        }
    }
}
