//! What network interfaces are and whether they work, from `/sys/class/net`.

use muster_catalogue::{
    NODE_NETWORK_ADDRESS_ASSIGN_TYPE, NODE_NETWORK_CARRIER, NODE_NETWORK_CARRIER_CHANGES_TOTAL,
    NODE_NETWORK_CARRIER_DOWN_CHANGES_TOTAL, NODE_NETWORK_CARRIER_UP_CHANGES_TOTAL, NODE_NETWORK_DEVICE_ID,
    NODE_NETWORK_DORMANT, NODE_NETWORK_FLAGS, NODE_NETWORK_IFACE_ID, NODE_NETWORK_IFACE_LINK,
    NODE_NETWORK_IFACE_LINK_MODE, NODE_NETWORK_INFO, NODE_NETWORK_MTU_BYTES, NODE_NETWORK_NAME_ASSIGN_TYPE,
    NODE_NETWORK_NET_DEV_GROUP, NODE_NETWORK_PROTOCOL_TYPE, NODE_NETWORK_SPEED_BYTES,
    NODE_NETWORK_TRANSMIT_QUEUE_LENGTH, NODE_NETWORK_UP,
};

use super::Descriptor;
use super::reading::{Attribute, FileCollector, Reading, every_15s};
use crate::host::HostError;

/// Interfaces told of; a server of containers has one for each, with some twenty numbers.
const INTERFACES_MAX: usize = 128;
/// Megabits in bytes.
const MEGABIT: f64 = 125_000.0;
/// `IFF_UP` of netdevice(7).
const FLAG_UP: u32 = 1;

/// The netclass collector.
pub const DESCRIPTOR: Descriptor = every_15s(
    "netclass",
    "what network interfaces are and whether they work, from /sys/class/net",
    |_| Box::new(NETCLASS),
);

const NETCLASS: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "no network interface in /sys/class/net",
    read,
};

/// Documentation/ABI/testing/sysfs-class-net.
const ATTRIBUTES: [Attribute; 17] = [
    Attribute::plain("addr_assign_type", NODE_NETWORK_ADDRESS_ASSIGN_TYPE),
    Attribute::plain("carrier", NODE_NETWORK_CARRIER),
    Attribute::plain("carrier_changes", NODE_NETWORK_CARRIER_CHANGES_TOTAL),
    Attribute::plain("carrier_down_count", NODE_NETWORK_CARRIER_DOWN_CHANGES_TOTAL),
    Attribute::plain("carrier_up_count", NODE_NETWORK_CARRIER_UP_CHANGES_TOTAL),
    Attribute::plain("dev_id", NODE_NETWORK_DEVICE_ID),
    Attribute::plain("dormant", NODE_NETWORK_DORMANT),
    Attribute::plain("flags", NODE_NETWORK_FLAGS),
    Attribute::plain("ifindex", NODE_NETWORK_IFACE_ID),
    Attribute::plain("iflink", NODE_NETWORK_IFACE_LINK),
    Attribute::plain("link_mode", NODE_NETWORK_IFACE_LINK_MODE),
    Attribute::plain("mtu", NODE_NETWORK_MTU_BYTES),
    Attribute::plain("name_assign_type", NODE_NETWORK_NAME_ASSIGN_TYPE),
    Attribute::plain("netdev_group", NODE_NETWORK_NET_DEV_GROUP),
    Attribute::scaled("speed", NODE_NETWORK_SPEED_BYTES, MEGABIT),
    Attribute::plain("tx_queue_len", NODE_NETWORK_TRANSMIT_QUEUE_LENGTH),
    Attribute::plain("type", NODE_NETWORK_PROTOCOL_TYPE),
];

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let root = "/sys/class/net";
    let mut names = reading.files.names(root);
    // Beside the folders of interfaces there is the plain file `bonding_masters`.
    names.retain(|name| reading.files.word(&format!("{root}/{name}/ifindex")).is_some());
    for name in reading.first(root, names, INTERFACES_MAX) {
        let folder = format!("{root}/{name}");
        describe(reading, &folder, &name);
        reading.attributes(&folder, &ATTRIBUTES, &[("device", &name)]);
    }
    Ok(())
}

fn describe(reading: &mut Reading<'_>, folder: &str, name: &str) {
    let word = |file: &str| {
        reading
            .files
            .word(&format!("{folder}/{file}"))
            .unwrap_or_default()
    };
    let flags = word("flags");
    let is_up = flags
        .strip_prefix("0x")
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .is_some_and(|bits| bits & FLAG_UP != 0);
    let state = word("operstate");
    let labels = [
        ("device", name),
        ("address", &word("address")),
        ("broadcast", &word("broadcast")),
        ("duplex", &word("duplex")),
        ("operstate", &state),
        ("adminstate", if is_up { "up" } else { "down" }),
        ("ifalias", &word("ifalias")),
    ];
    reading.draft.sample(&NODE_NETWORK_INFO, &labels, 1.0);
    // The dashboard asks for the state as a label, as early versions of node_exporter had it.
    let value = if state == "up" { 1.0 } else { 0.0 };
    reading.draft.sample(
        &NODE_NETWORK_UP,
        &[("device", name), ("operstate", &state)],
        value,
    );
}
