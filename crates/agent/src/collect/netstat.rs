//! Counters of the network protocols.

use muster_catalogue::NODE_NETSTAT;
use muster_parse::snmp;

use super::Descriptor;
use super::reading::{FileCollector, Reading, every_15s};
use crate::host::HostError;

/// The netstat collector.
pub const DESCRIPTOR: Descriptor = every_15s(
    "netstat",
    "counters of the network protocols, from /proc/net/snmp, snmp6 and netstat",
    |_| Box::new(NETSTAT),
);

const NETSTAT: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "/proc/net/netstat and snmp do not exist",
    read,
};

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    for (path, is_v6) in [
        ("/proc/net/netstat", false),
        ("/proc/net/snmp", false),
        ("/proc/net/snmp6", true),
    ] {
        let Some(text) = reading.side_text(path) else {
            continue;
        };
        let parsed = if is_v6 {
            snmp::parse_v6(&text)
        } else {
            snmp::parse(&text)
        };
        for counter in parsed.value {
            if is_wanted(counter.protocol, counter.name) {
                let middle = format!("{}_{}", counter.protocol, counter.name);
                reading.sample_in(&NODE_NETSTAT, &middle, counter.value as f64);
            }
        }
        reading.draft.parser_problems(path, parsed.problems);
    }
    Ok(())
}

/// What `node_exporter` shows of the several hundred, and the overflow, ordering and drop counters that dashboard 1860
/// plots besides.
fn is_wanted(protocol: &str, name: &str) -> bool {
    if matches!(name, "InErrors" | "InErrs") {
        return true;
    }
    match protocol {
        "Ip" => name == "Forwarding",
        "Ip6" | "IpExt" => matches!(name, "InOctets" | "OutOctets"),
        "Icmp" | "Icmp6" => matches!(name, "InMsgs" | "OutMsgs"),
        "TcpExt" => {
            name.starts_with("Listen")
                || name.starts_with("Syncookies")
                || matches!(
                    name,
                    "TCPSynRetrans" | "TCPTimeouts" | "TCPOFOQueue" | "TCPRcvQDrop"
                )
        }
        "Tcp" => matches!(
            name,
            "ActiveOpens"
                | "InSegs"
                | "OutSegs"
                | "OutRsts"
                | "PassiveOpens"
                | "RetransSegs"
                | "CurrEstab"
                | "MaxConn"
        ),
        "Udp" | "Udp6" => matches!(
            name,
            "InDatagrams" | "OutDatagrams" | "NoPorts" | "RcvbufErrors" | "SndbufErrors"
        ),
        _ => false,
    }
}
