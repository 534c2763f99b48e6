//! What the agent says of itself: how full its outbox is, how often it had to connect, what it costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use muster_catalogue as catalogue;
use muster_model::{Facts, Labels, RunOutcome, Sample};
use nix::unistd::{SysconfVar, sysconf};
use tokio::sync::{mpsc, watch};

use crate::collect::Tick;
use crate::host::Host;
use crate::outbox::Outbox;
use crate::spool::Figures;
use crate::uplink::AGENT_VERSION;

/// Collector name of the agent's own figures.
const COLLECTOR: &str = "agent";
const INTERVAL: Duration = Duration::from_secs(15);

/// Reads the agent's own figures.
pub(super) struct Own {
    host: Host,
    outbox: Arc<Outbox>,
    connections: Arc<AtomicU64>,
    spool: Arc<Figures>,
}

impl Own {
    pub(super) fn new(
        host: Host,
        outbox: Arc<Outbox>,
        connections: Arc<AtomicU64>,
        spool: Arc<Figures>,
    ) -> Self {
        Self {
            host,
            outbox,
            connections,
            spool,
        }
    }

    /// Sends a tick on each interval until nobody takes it, and none while only heartbeats are wanted.
    pub(super) async fn run(self, ticks_tx: mpsc::Sender<Tick>, heartbeat_only: watch::Receiver<bool>) {
        let mut ticker = tokio::time::interval(INTERVAL);
        ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            ticker.tick().await;
            if *heartbeat_only.borrow() {
                continue;
            }
            let tick = self.tick().await;
            if ticks_tx.send(tick).await.is_err() {
                return;
            }
        }
    }

    async fn tick(&self) -> Tick {
        let (started_ms, began) = (self.host.now_ms(), self.host.instant());
        let samples = self.samples().await;
        Tick {
            collector: COLLECTOR,
            started_ms,
            duration_ms: u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX),
            interval_ms: u32::try_from(INTERVAL.as_millis()).unwrap_or(u32::MAX),
            outcome: RunOutcome::Facts,
            message: String::new(),
            facts: Some(Facts {
                samples,
                ..Facts::default()
            }),
            self_samples: Vec::new(),
        }
    }

    async fn samples(&self) -> Vec<Sample> {
        let stats = self.outbox.stats();
        let connections = self.connections.load(Ordering::Relaxed);
        let none = Labels::default;
        let spool_bytes = self.spool.size_bytes.load(Ordering::Relaxed);
        let spool_failures = self.spool.failures.load(Ordering::Relaxed);
        let spool_sync_us = self.spool.sync_us.load(Ordering::Relaxed);
        let lost = |reason, count: u64| {
            catalogue::MUSTER_AGENT_SPOOL_LOST_REPORTS_TOTAL
                .sample(Labels::of(&[("reason", reason)]), count as f64)
        };
        let mut samples = vec![
            catalogue::MUSTER_AGENT_INFO.sample(Labels::of(&[("version", AGENT_VERSION)]), 1.0),
            catalogue::MUSTER_AGENT_OUTBOX_BYTES.sample(none(), stats.held_bytes as f64),
            catalogue::MUSTER_AGENT_UNACKED_REPORTS.sample(none(), stats.held_reports as f64),
            catalogue::MUSTER_AGENT_DROPPED_REPORTS_TOTAL.sample(none(), stats.dropped_reports as f64),
            // The first connection is none that had to be made again.
            catalogue::MUSTER_AGENT_RECONNECTS_TOTAL.sample(none(), connections.saturating_sub(1) as f64),
            catalogue::MUSTER_AGENT_SPOOL_BYTES.sample(none(), spool_bytes as f64),
            catalogue::MUSTER_AGENT_SPOOL_FAILURES_TOTAL.sample(none(), spool_failures as f64),
            catalogue::MUSTER_AGENT_SPOOL_FSYNC_SECONDS.sample(none(), spool_sync_us as f64 / 1e6),
            catalogue::MUSTER_AGENT_SPOOL_GAPS.sample(none(), stats.gaps as f64),
            catalogue::MUSTER_AGENT_SPOOL_OLDEST_UNACKED_SECONDS
                .sample(none(), stats.oldest_age.as_secs_f64().round()),
            catalogue::MUSTER_AGENT_SPOOL_PAST_REPORTS.sample(none(), stats.past_reports as f64),
            lost("buffer_full", stats.dropped_reports),
            lost("damaged", stats.damaged_reports),
        ];
        samples.extend(self.process().await);
        samples
    }

    /// Processor time and memory of this process. Nothing if the server is a folder: this process is not in it.
    async fn process(&self) -> Vec<Sample> {
        if !self.host.is_system() {
            return Vec::new();
        }
        let Ok(Some(stat)) = self.host.read_proc("self/stat").await else {
            return Vec::new();
        };
        let sysconf = |name| sysconf(name).ok().flatten().map(|value| value as f64);
        let (Some(ticks_per_second), Some(page_bytes)) =
            (sysconf(SysconfVar::CLK_TCK), sysconf(SysconfVar::PAGE_SIZE))
        else {
            return Vec::new();
        };
        let Some(usage) = Usage::parse(&stat) else {
            return Vec::new();
        };
        vec![
            catalogue::PROCESS_CPU_SECONDS_TOTAL
                .sample(Labels::default(), usage.cpu_ticks as f64 / ticks_per_second),
            catalogue::PROCESS_RESIDENT_MEMORY_BYTES
                .sample(Labels::default(), usage.resident_pages as f64 * page_bytes),
        ]
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Usage {
    cpu_ticks: u64,
    resident_pages: u64,
}

impl Usage {
    /// Parses `/proc/self/stat` (proc(5)): after the name in parentheses, which may itself contain any character,
    /// come the fields from the third on.
    fn parse(stat: &str) -> Option<Self> {
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let number = |number_in_manual: usize| fields.get(number_in_manual - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: number(14)? + number(15)?,
            resident_pages: number(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 5 0 1000 9000000 1234 18446744073709551615";
        assert_eq!(
            Usage::parse(stat),
            Some(Usage {
                cpu_ticks: 300,
                resident_pages: 1234
            })
        );
        assert_eq!(Usage::parse("42 (a"), None);
    }
}
