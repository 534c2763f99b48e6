//! What a server may use that is a container, or that is otherwise kept small by control groups.
//!
//! `/proc` tells of the machine below unless lxcfs lies over it, so that stock names keep that meaning and what the server
//! itself has is told under names of its own. The load stays the machine's: no control group knows it.

use async_trait::async_trait;
use muster_catalogue::{
    MUSTER_SERVER_CPU_LIMIT, MUSTER_SERVER_CPU_SECONDS_TOTAL, MUSTER_SERVER_CPU_THROTTLED_SECONDS_TOTAL,
    MUSTER_SERVER_CPUS, MUSTER_SERVER_INFO, MUSTER_SERVER_MEMORY_AVAILABLE_BYTES,
    MUSTER_SERVER_MEMORY_LIMIT_BYTES, MUSTER_SERVER_MEMORY_TOTAL_BYTES, MUSTER_SERVER_MEMORY_USED_BYTES,
    MUSTER_SERVER_SWAP_FREE_BYTES, MUSTER_SERVER_SWAP_TOTAL_BYTES, Metric,
};
use muster_parse::{meminfo, stat};

use super::draft::Draft;
use super::reading::every_15s;
use super::{CollectError, Collector, Descriptor, Outcome};
use crate::host::{Files, Host, HostError};

mod groups;
mod kind;

pub(crate) use groups::{Groups, Hierarchy, Limits};
pub(crate) use kind::container_word;

/// The collector of a container's limits.
pub const DESCRIPTOR: Descriptor = every_15s(
    "container",
    "what the server may use of memory and CPUs, if it is a container or limited by control groups",
    |_| Box::<Container>::default(),
);

/// What a server has at its disposal: the smaller of what is there and what it may use.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Share {
    /// CPUs, a part of one included.
    pub(crate) cpus: Option<f64>,
    /// RAM, in bytes.
    pub(crate) memory_bytes: Option<u64>,
    memory_available_bytes: Option<u64>,
    swap_bytes: Option<u64>,
    swap_free_bytes: Option<u64>,
}

impl Share {
    /// Of what `/proc` says, what the limits leave.
    pub(crate) fn of(cpus: Option<u64>, memory: &meminfo::MemInfo, limits: &Limits) -> Self {
        let total = memory.get("MemTotal");
        let memory_bytes = smaller(total, limits.memory_bytes);
        let available = memory.get("MemAvailable");
        let memory_available_bytes = match (limits.memory_bytes, limits.memory_used_bytes) {
            (Some(limit), Some(used)) if total.is_none_or(|total| limit < total) => {
                smaller(available, Some(limit.saturating_sub(used)))
            }
            _ => available,
        };
        let swap_left = limits
            .swap_bytes
            .map(|limit| limit.saturating_sub(limits.swap_used_bytes.unwrap_or(0)));
        let cpus = [
            cpus.map(|count| count as f64),
            limits.cpus_allowed.map(|count| count as f64),
            limits.cpu_limit,
        ];
        Self {
            cpus: cpus.into_iter().flatten().reduce(f64::min),
            memory_bytes,
            memory_available_bytes,
            swap_bytes: smaller(memory.get("SwapTotal"), limits.swap_bytes),
            swap_free_bytes: smaller(memory.get("SwapFree"), swap_left),
        }
    }
}

fn smaller(there: Option<u64>, allowed: Option<u64>) -> Option<u64> {
    [there, allowed].into_iter().flatten().min()
}

#[derive(Default)]
struct Container {
    /// Neither a container nor its place changes while the agent runs.
    found: Option<(Option<String>, Groups)>,
}

#[async_trait]
impl Collector for Container {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        let found = self.found.clone();
        let (found, draft) = host
            .blocking(DESCRIPTOR.name, move |files| {
                let found = found.unwrap_or_else(|| (container_word(files), Groups::find(files)));
                read(files, &found).map(|draft| (found, draft))
            })
            .await??;
        self.found = Some(found);
        Ok(match draft {
            Some(draft) => Outcome::Facts(draft.finish()),
            None => Outcome::absent("the server is no container, and no control group limits it"),
        })
    }
}

/// What there is to say; `None` if the server has all of the machine.
fn read(files: &Files, (word, groups): &(Option<String>, Groups)) -> Result<Option<Draft>, HostError> {
    let limits = groups.read(files);
    let memory = meminfo::parse(&files.text("/proc/meminfo")?.unwrap_or_default()).value;
    let is_limited = limits.cpu_limit.is_some()
        || limits
            .memory_bytes
            .is_some_and(|limit| memory.get("MemTotal").is_none_or(|total| limit < total));
    if word.is_none() && !is_limited {
        return Ok(None);
    }
    let online = stat::parse(&files.text("/proc/stat")?.unwrap_or_default())
        .value
        .cpus
        .len();
    let online = u64::try_from(online).ok().filter(|count| 0 < *count);
    let share = Share::of(online, &memory, &limits);
    let mut draft = Draft::new(DESCRIPTOR.name);
    let virtualization = word.as_deref().unwrap_or("none");
    draft.sample(&MUSTER_SERVER_INFO, &[("virtualization", virtualization)], 1.0);
    let mut add = |metric: &Metric, value: Option<f64>| {
        if let Some(value) = value {
            draft.sample(metric, &[], value);
        }
    };
    let bytes = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
    add(&MUSTER_SERVER_CPU_LIMIT, limits.cpu_limit);
    add(&MUSTER_SERVER_CPUS, share.cpus);
    add(&MUSTER_SERVER_CPU_SECONDS_TOTAL, limits.cpu_seconds);
    add(
        &MUSTER_SERVER_CPU_THROTTLED_SECONDS_TOTAL,
        limits.throttled_seconds,
    );
    add(
        &MUSTER_SERVER_MEMORY_AVAILABLE_BYTES,
        bytes(share.memory_available_bytes),
    );
    let limit = limits.memory_bytes.filter(|_| is_limited || word.is_some());
    add(&MUSTER_SERVER_MEMORY_LIMIT_BYTES, bytes(limit));
    add(&MUSTER_SERVER_MEMORY_TOTAL_BYTES, bytes(share.memory_bytes));
    add(&MUSTER_SERVER_MEMORY_USED_BYTES, bytes(limits.memory_used_bytes));
    add(&MUSTER_SERVER_SWAP_FREE_BYTES, bytes(share.swap_free_bytes));
    add(&MUSTER_SERVER_SWAP_TOTAL_BYTES, bytes(share.swap_bytes));
    Ok(Some(draft))
}

#[cfg(test)]
mod tests;
