//! Counters of memory management.

use muster_catalogue::NODE_VMSTAT;
use muster_parse::pairs;

use super::Descriptor;
use super::reading::{FileCollector, Reading, every_15s};
use crate::host::HostError;

/// The vmstat collector.
pub const DESCRIPTOR: Descriptor = every_15s(
    "vmstat",
    "paging, page faults and killed processes, from /proc/vmstat",
    |_| Box::new(VMSTAT),
);

const VMSTAT: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "/proc/vmstat does not exist",
    read,
};

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let path = "/proc/vmstat";
    let Some(text) = reading.text(path)? else {
        return Ok(());
    };
    let parsed = pairs::parse(&text, is_wanted);
    for pair in parsed.value {
        reading.sample_in(&NODE_VMSTAT, &pair.name, pair.value as f64);
    }
    reading.draft.parser_problems(path, parsed.problems);
    Ok(())
}

/// What `node_exporter` shows of them: `^(oom_kill|pgpg|pswp|pg.*fault).*`.
fn is_wanted(name: &str) -> bool {
    ["oom_kill", "pgpg", "pswp"]
        .iter()
        .any(|start| name.starts_with(start))
        || (name.starts_with("pg") && name.contains("fault"))
}
