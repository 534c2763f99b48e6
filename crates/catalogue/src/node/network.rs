//! Network interfaces, protocols and sockets, as `node_exporter` names them.

use muster_model::MetricType;

use crate::{Family, metrics};

/// `node_netstat_…`: A counter of the kernel's network protocols, from /proc/net/snmp, snmp6 and netstat.
pub const NODE_NETSTAT: Family = Family {
    prefix: "node_netstat_",
    suffix: "",
    metric_type: MetricType::Untyped,
    unit: "",
    help: "A counter of the kernel's network protocols, from /proc/net/snmp, snmp6 and netstat",
};

/// `node_sockstat_…_bytes`: Memory of sockets, from /proc/net/sockstat.
pub const NODE_SOCKSTAT_BYTES: Family = Family {
    prefix: "node_sockstat_",
    suffix: "_bytes",
    metric_type: MetricType::Gauge,
    unit: "bytes",
    help: "Memory of sockets, from /proc/net/sockstat",
};

/// `node_sockstat_…`: Sockets in use, from /proc/net/sockstat and sockstat6.
pub const NODE_SOCKSTAT: Family = Family {
    prefix: "node_sockstat_",
    suffix: "",
    metric_type: MetricType::Gauge,
    unit: "",
    help: "Sockets in use, from /proc/net/sockstat and sockstat6",
};

metrics! {
    NETWORK:
    NODE_ARP_ENTRIES = Gauge "node_arp_entries" "" "Entries of the ARP table, by interface";
    NODE_NETWORK_ADDRESS_ASSIGN_TYPE = Gauge "node_network_address_assign_type" "" "How the interface got its address: 0 permanent, 1 random, 2 stolen, 3 set";
    NODE_NETWORK_CARRIER = Gauge "node_network_carrier" "" "Whether there is a link: 1 if so";
    NODE_NETWORK_CARRIER_CHANGES_TOTAL = Counter "node_network_carrier_changes_total" "" "How often the link came or went";
    NODE_NETWORK_CARRIER_DOWN_CHANGES_TOTAL = Counter "node_network_carrier_down_changes_total" "" "How often the link went";
    NODE_NETWORK_CARRIER_UP_CHANGES_TOTAL = Counter "node_network_carrier_up_changes_total" "" "How often the link came";
    NODE_NETWORK_DEVICE_ID = Gauge "node_network_device_id" "" "Number of the port among those that share a device";
    NODE_NETWORK_DORMANT = Gauge "node_network_dormant" "" "Whether the interface waits for something outside, such as a login: 1 if so";
    NODE_NETWORK_FLAGS = Gauge "node_network_flags" "" "Flags of the interface, as bits";
    NODE_NETWORK_IFACE_ID = Gauge "node_network_iface_id" "" "The kernel's number of the interface";
    NODE_NETWORK_IFACE_LINK = Gauge "node_network_iface_link" "" "Number of the interface below; its own if there is none";
    NODE_NETWORK_IFACE_LINK_MODE = Gauge "node_network_iface_link_mode" "" "Link mode: 0 default, 1 dormant";
    NODE_NETWORK_INFO = Gauge "node_network_info" "" "What an interface is; always 1";
    NODE_NETWORK_MTU_BYTES = Gauge "node_network_mtu_bytes" "bytes" "Largest packet";
    NODE_NETWORK_NAME_ASSIGN_TYPE = Gauge "node_network_name_assign_type" "" "How the interface got its name";
    NODE_NETWORK_NET_DEV_GROUP = Gauge "node_network_net_dev_group" "" "Group of the interface";
    NODE_NETWORK_PROTOCOL_TYPE = Gauge "node_network_protocol_type" "" "Hardware type, by the numbers of ARP";
    NODE_NETWORK_RECEIVE_BYTES_TOTAL = Counter "node_network_receive_bytes_total" "bytes" "Bytes received";
    NODE_NETWORK_RECEIVE_COMPRESSED_TOTAL = Counter "node_network_receive_compressed_total" "" "Compressed packets received";
    NODE_NETWORK_RECEIVE_DROP_TOTAL = Counter "node_network_receive_drop_total" "" "Packets dropped on receiving, missed ones included";
    NODE_NETWORK_RECEIVE_ERRS_TOTAL = Counter "node_network_receive_errs_total" "" "Bad packets received";
    NODE_NETWORK_RECEIVE_FIFO_TOTAL = Counter "node_network_receive_fifo_total" "" "Packets lost to full buffers on receiving";
    NODE_NETWORK_RECEIVE_FRAME_TOTAL = Counter "node_network_receive_frame_total" "" "Packets received with errors of length, overrun, checksum or framing";
    NODE_NETWORK_RECEIVE_MULTICAST_TOTAL = Counter "node_network_receive_multicast_total" "" "Multicast packets received";
    NODE_NETWORK_RECEIVE_NOHANDLER_TOTAL = Counter "node_network_receive_nohandler_total" "" "Packets received that nothing on the server wanted";
    NODE_NETWORK_RECEIVE_PACKETS_TOTAL = Counter "node_network_receive_packets_total" "" "Packets received";
    NODE_NETWORK_SPEED_BYTES = Gauge "node_network_speed_bytes" "bytes" "Speed of the link in bytes per second; negative if the driver does not know";
    NODE_NETWORK_TRANSMIT_BYTES_TOTAL = Counter "node_network_transmit_bytes_total" "bytes" "Bytes sent";
    NODE_NETWORK_TRANSMIT_CARRIER_TOTAL = Counter "node_network_transmit_carrier_total" "" "Packets lost to the link on sending";
    NODE_NETWORK_TRANSMIT_COLLS_TOTAL = Counter "node_network_transmit_colls_total" "" "Collisions on sending";
    NODE_NETWORK_TRANSMIT_COMPRESSED_TOTAL = Counter "node_network_transmit_compressed_total" "" "Compressed packets sent";
    NODE_NETWORK_TRANSMIT_DROP_TOTAL = Counter "node_network_transmit_drop_total" "" "Packets dropped on sending";
    NODE_NETWORK_TRANSMIT_ERRS_TOTAL = Counter "node_network_transmit_errs_total" "" "Packets that could not be sent";
    NODE_NETWORK_TRANSMIT_FIFO_TOTAL = Counter "node_network_transmit_fifo_total" "" "Packets lost to full buffers on sending";
    NODE_NETWORK_TRANSMIT_PACKETS_TOTAL = Counter "node_network_transmit_packets_total" "" "Packets sent";
    NODE_NETWORK_TRANSMIT_QUEUE_LENGTH = Gauge "node_network_transmit_queue_length" "" "Longest queue of packets to be sent";
    NODE_NETWORK_UP = Gauge "node_network_up" "" "Whether the interface works: 1 if its state is up";
    NODE_NF_CONNTRACK_ENTRIES = Gauge "node_nf_conntrack_entries" "" "Connections tracked now";
    NODE_NF_CONNTRACK_ENTRIES_LIMIT = Gauge "node_nf_conntrack_entries_limit" "" "Most connections that may be tracked";
    NODE_NF_CONNTRACK_STAT_DROP = Gauge "node_nf_conntrack_stat_drop" "" "Packets dropped because they could not be tracked";
    NODE_NF_CONNTRACK_STAT_EARLY_DROP = Gauge "node_nf_conntrack_stat_early_drop" "" "Connections forgotten to make room for new ones";
    NODE_NF_CONNTRACK_STAT_FOUND = Gauge "node_nf_conntrack_stat_found" "" "Entries that were looked for and found";
    NODE_NF_CONNTRACK_STAT_IGNORE = Gauge "node_nf_conntrack_stat_ignore" "" "Packets that belonged to an entry already";
    NODE_NF_CONNTRACK_STAT_INSERT = Gauge "node_nf_conntrack_stat_insert" "" "Entries inserted";
    NODE_NF_CONNTRACK_STAT_INSERT_FAILED = Gauge "node_nf_conntrack_stat_insert_failed" "" "Entries that could not be inserted";
    NODE_NF_CONNTRACK_STAT_INVALID = Gauge "node_nf_conntrack_stat_invalid" "" "Packets that cannot be tracked";
    NODE_NF_CONNTRACK_STAT_SEARCH_RESTART = Gauge "node_nf_conntrack_stat_search_restart" "" "Searches started over because the table was resized";
    NODE_SOFTNET_BACKLOG_LEN = Gauge "node_softnet_backlog_len" "" "Packets that wait to be handled, by CPU";
    NODE_SOFTNET_CPU_COLLISION_TOTAL = Counter "node_softnet_cpu_collision_total" "" "Collisions of CPUs that wanted to send on one device, by CPU";
    NODE_SOFTNET_DROPPED_TOTAL = Counter "node_softnet_dropped_total" "" "Packets dropped for want of room in the backlog, by CPU";
    NODE_SOFTNET_FLOW_LIMIT_COUNT_TOTAL = Counter "node_softnet_flow_limit_count_total" "" "How often the limit of one flow was reached, by CPU";
    NODE_SOFTNET_PROCESSED_TOTAL = Counter "node_softnet_processed_total" "" "Packets handled, by CPU";
    NODE_SOFTNET_RECEIVED_RPS_TOTAL = Counter "node_softnet_received_rps_total" "" "How often another CPU asked this one to handle packets";
    NODE_SOFTNET_TIMES_SQUEEZED_TOTAL = Counter "node_softnet_times_squeezed_total" "" "How often work was left because its time or budget was used up, by CPU";
    NODE_TCP_CONNECTION_STATES = Gauge "node_tcp_connection_states" "" "TCP sockets in each state, and the bytes in their queues";
    NODE_UDP_QUEUES = Gauge "node_udp_queues" "bytes" "Bytes in the queues of UDP sockets";
}
