//! Connections that the firewall tracks.

use muster_catalogue::{
    Metric, NODE_NF_CONNTRACK_ENTRIES, NODE_NF_CONNTRACK_ENTRIES_LIMIT, NODE_NF_CONNTRACK_STAT_DROP,
    NODE_NF_CONNTRACK_STAT_EARLY_DROP, NODE_NF_CONNTRACK_STAT_FOUND, NODE_NF_CONNTRACK_STAT_IGNORE,
    NODE_NF_CONNTRACK_STAT_INSERT, NODE_NF_CONNTRACK_STAT_INSERT_FAILED, NODE_NF_CONNTRACK_STAT_INVALID,
    NODE_NF_CONNTRACK_STAT_SEARCH_RESTART,
};
use muster_parse::conntrack;

use super::Descriptor;
use super::reading::{FileCollector, Reading, every_15s};
use crate::host::HostError;

/// The conntrack collector.
pub const DESCRIPTOR: Descriptor = every_15s("conntrack", "connections that the firewall tracks", |_| {
    Box::new(CONNTRACK)
});

const CONNTRACK: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "the kernel tracks no connections (nf_conntrack is not loaded)",
    read,
};

const COLUMNS: [(&str, &Metric); 8] = [
    ("found", &NODE_NF_CONNTRACK_STAT_FOUND),
    ("invalid", &NODE_NF_CONNTRACK_STAT_INVALID),
    ("ignore", &NODE_NF_CONNTRACK_STAT_IGNORE),
    ("insert", &NODE_NF_CONNTRACK_STAT_INSERT),
    ("insert_failed", &NODE_NF_CONNTRACK_STAT_INSERT_FAILED),
    ("drop", &NODE_NF_CONNTRACK_STAT_DROP),
    ("early_drop", &NODE_NF_CONNTRACK_STAT_EARLY_DROP),
    ("search_restart", &NODE_NF_CONNTRACK_STAT_SEARCH_RESTART),
];

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let folder = "/proc/sys/net/netfilter";
    reading.file(
        &format!("{folder}/nf_conntrack_count"),
        &NODE_NF_CONNTRACK_ENTRIES,
        &[],
    );
    reading.file(
        &format!("{folder}/nf_conntrack_max"),
        &NODE_NF_CONNTRACK_ENTRIES_LIMIT,
        &[],
    );
    let path = "/proc/net/stat/nf_conntrack";
    if let Some(text) = reading.side_text(path) {
        let parsed = conntrack::parse(&text);
        for (name, metric) in COLUMNS {
            if let Some(sum) = parsed.value.get(name) {
                reading.sample(metric, &[], *sum as f64);
            }
        }
        reading.draft.parser_problems(path, parsed.problems);
    }
    Ok(())
}
