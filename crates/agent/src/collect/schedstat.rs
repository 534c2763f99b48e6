//! How long tasks ran and waited on each CPU.

use muster_catalogue::{
    NODE_SCHEDSTAT_RUNNING_SECONDS_TOTAL, NODE_SCHEDSTAT_TIMESLICES_TOTAL,
    NODE_SCHEDSTAT_WAITING_SECONDS_TOTAL,
};
use muster_parse::schedstat;

use super::Descriptor;
use super::reading::{FileCollector, Reading, every_15s};
use crate::host::HostError;

/// CPUs told of.
const CPUS_MAX: usize = 256;

/// The schedstat collector.
pub const DESCRIPTOR: Descriptor = every_15s(
    "schedstat",
    "how long tasks ran and waited on each CPU, from /proc/schedstat",
    |_| Box::new(SCHEDSTAT),
);

const SCHEDSTAT: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "/proc/schedstat does not exist (a kernel without CONFIG_SCHEDSTATS)",
    read,
};

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let path = "/proc/schedstat";
    let Some(text) = reading.text(path)? else {
        return Ok(());
    };
    let parsed = schedstat::parse(&text);
    for found in reading.first(path, parsed.value, CPUS_MAX) {
        let cpu = found.cpu.to_string();
        let seconds = |ns: u64| ns as f64 / 1e9;
        for (metric, value) in [
            (&NODE_SCHEDSTAT_RUNNING_SECONDS_TOTAL, seconds(found.running_ns)),
            (&NODE_SCHEDSTAT_WAITING_SECONDS_TOTAL, seconds(found.waiting_ns)),
            (&NODE_SCHEDSTAT_TIMESLICES_TOTAL, found.timeslices as f64),
        ] {
            reading.sample(metric, &[("cpu", &cpu)], value);
        }
    }
    reading.draft.parser_problems(path, parsed.problems);
    Ok(())
}
