//! How each CPU handles received packets.

use muster_catalogue::{
    NODE_SOFTNET_BACKLOG_LEN, NODE_SOFTNET_CPU_COLLISION_TOTAL, NODE_SOFTNET_DROPPED_TOTAL,
    NODE_SOFTNET_FLOW_LIMIT_COUNT_TOTAL, NODE_SOFTNET_PROCESSED_TOTAL, NODE_SOFTNET_RECEIVED_RPS_TOTAL,
    NODE_SOFTNET_TIMES_SQUEEZED_TOTAL,
};
use muster_parse::softnet;

use super::Descriptor;
use super::reading::{FileCollector, Reading, every_15s};
use crate::host::HostError;

/// CPUs told of.
const CPUS_MAX: usize = 256;

/// The softnet collector.
pub const DESCRIPTOR: Descriptor = every_15s(
    "softnet",
    "how each CPU handles received packets, from /proc/net/softnet_stat",
    |_| Box::new(SOFTNET),
);

const SOFTNET: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "/proc/net/softnet_stat does not exist",
    read,
};

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let path = "/proc/net/softnet_stat";
    let Some(text) = reading.text(path)? else {
        return Ok(());
    };
    let parsed = softnet::parse(&text);
    for found in reading.first(path, parsed.value, CPUS_MAX) {
        let cpu = found.cpu.to_string();
        let rows = [
            (&NODE_SOFTNET_PROCESSED_TOTAL, Some(found.processed)),
            (&NODE_SOFTNET_DROPPED_TOTAL, Some(found.dropped)),
            (&NODE_SOFTNET_TIMES_SQUEEZED_TOTAL, Some(found.times_squeezed)),
            (&NODE_SOFTNET_CPU_COLLISION_TOTAL, found.collisions),
            (&NODE_SOFTNET_RECEIVED_RPS_TOTAL, found.received_rps),
            (&NODE_SOFTNET_FLOW_LIMIT_COUNT_TOTAL, found.flow_limit),
            (&NODE_SOFTNET_BACKLOG_LEN, found.backlog),
        ];
        for (metric, value) in rows {
            if let Some(value) = value {
                reading.sample(metric, &[("cpu", &cpu)], f64::from(value));
            }
        }
    }
    reading.draft.parser_problems(path, parsed.problems);
    Ok(())
}
