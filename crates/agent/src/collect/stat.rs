//! The kernel's counters since boot, and when that was.

use std::time::Duration;

use async_trait::async_trait;
use muster_catalogue::{
    NODE_BOOT_TIME_SECONDS, NODE_CONTEXT_SWITCHES_TOTAL, NODE_FORKS_TOTAL, NODE_INTR_TOTAL,
    NODE_PROCS_BLOCKED, NODE_PROCS_RUNNING,
};
use muster_parse::stat;

use super::draft::Draft;
use super::{CollectError, Collector, Descriptor, Outcome, Place};
use crate::host::Host;

/// The stat collector.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "stat",
    summary: "boot time, context switches, interrupts, forks, processes, from /proc/stat",
    interval: Duration::from_secs(15),
    interval_min: Duration::from_secs(1),
    timeout: Duration::from_secs(10),
    place: Place::Net,
    build: |_| Box::new(Stat),
};

struct Stat;

#[async_trait]
impl Collector for Stat {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        let Some(text) = host.read_proc("stat").await? else {
            return Ok(Outcome::absent("/proc/stat does not exist"));
        };
        let mut draft = Draft::new(DESCRIPTOR.name);
        let parsed = stat::parse(&text);
        let found = &parsed.value;
        let rows = [
            (&NODE_BOOT_TIME_SECONDS, found.boot_time_s),
            (&NODE_CONTEXT_SWITCHES_TOTAL, found.context_switches),
            (&NODE_INTR_TOTAL, found.interrupts),
            (&NODE_FORKS_TOTAL, found.forks),
            (&NODE_PROCS_RUNNING, found.procs_running),
            (&NODE_PROCS_BLOCKED, found.procs_blocked),
        ];
        for (metric, value) in rows {
            if let Some(value) = value {
                draft.sample(metric, &[], value as f64);
            }
        }
        draft.parser_problems("/proc/stat", parsed.problems);
        Ok(Outcome::Facts(draft.finish()))
    }
}
