//! What the agent itself takes, under the names that Prometheus' client libraries use.

use async_trait::async_trait;
use muster_catalogue::{
    PROCESS_CPU_SECONDS_TOTAL, PROCESS_MAX_FDS, PROCESS_OPEN_FDS, PROCESS_RESIDENT_MEMORY_BYTES,
    PROCESS_START_TIME_SECONDS, PROCESS_VIRTUAL_MEMORY_BYTES, PROCESS_VIRTUAL_MEMORY_MAX_BYTES,
};
use muster_parse::process::{parse_limit, parse_stat};
use muster_parse::stat;

use super::draft::Draft;
use super::reading::{Reading, every_15s, outcome};
use super::{CollectError, Collector, Descriptor, Outcome};
use crate::host::{Files, Host};

/// The collector of the agent's own process.
pub const DESCRIPTOR: Descriptor = every_15s(
    "process",
    "what the agent itself takes: CPU, memory, open files",
    |_| Box::new(Own),
);

struct Own;

#[async_trait]
impl Collector for Own {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        if !host.is_system() {
            return Ok(Outcome::absent("the agent does not run in a folder"));
        }
        let page_bytes = host.page_bytes().await;
        let draft = host
            .blocking(DESCRIPTOR.name, move |files| read(files, page_bytes))
            .await?;
        Ok(outcome(draft, "/proc/self does not exist"))
    }
}

fn read(files: &Files, page_bytes: Option<u64>) -> Draft {
    let mut reading = Reading {
        files,
        draft: Draft::new(DESCRIPTOR.name),
    };
    let stat = reading.side_text("/proc/self/stat");
    if let Some(process) = stat.as_deref().and_then(parse_stat) {
        let mut add = |metric, value| reading.sample(metric, &[], value);
        add(&PROCESS_CPU_SECONDS_TOTAL, stat::seconds(process.cpu_ticks));
        add(&PROCESS_VIRTUAL_MEMORY_BYTES, process.virtual_bytes as f64);
        if let Some(page_bytes) = page_bytes {
            let resident_bytes = process.resident_pages.saturating_mul(page_bytes);
            add(&PROCESS_RESIDENT_MEMORY_BYTES, resident_bytes as f64);
        }
        if let Some(boot_time_s) = boot_time_s(files) {
            let started_s = boot_time_s as f64 + stat::seconds(process.started_ticks);
            add(&PROCESS_START_TIME_SECONDS, started_s);
        }
    }
    // One of them is the folder itself.
    let open = files.names("/proc/self/fd").len().saturating_sub(1);
    reading.sample(&PROCESS_OPEN_FDS, &[], open as f64);
    let limits = reading.side_text("/proc/self/limits").unwrap_or_default();
    for (name, metric) in [
        ("Max open files", &PROCESS_MAX_FDS),
        ("Max address space", &PROCESS_VIRTUAL_MEMORY_MAX_BYTES),
    ] {
        if let Some(limit) = parse_limit(&limits, name) {
            // As the exporters' client library has it; what is infinite has no place on a page.
            let limit = if limit.is_infinite() {
                u64::MAX as f64
            } else {
                limit
            };
            reading.sample(metric, &[], limit);
        }
    }
    reading.draft
}

fn boot_time_s(files: &Files) -> Option<u64> {
    let text = files.text("/proc/stat").ok()??;
    stat::parse(&text).value.boot_time_s
}
