//! What the agent says of itself: how full its outbox is, how often it had to connect.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use muster_catalogue as catalogue;
use muster_model::{Facts, Labels, RunOutcome, Sample};
use tokio::sync::{mpsc, watch};

use crate::collect::Tick;
use crate::host::Host;
use crate::outbox::Outbox;
use crate::privileged::Privileged;
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
    privileged: Option<Privileged>,
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
            privileged: None,
        }
    }

    /// The same, which also tells of the process with rights.
    pub(super) fn with_privileged(self, privileged: Option<Privileged>) -> Self {
        Self { privileged, ..self }
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
            let tick = self.tick();
            if ticks_tx.send(tick).await.is_err() {
                return;
            }
        }
    }

    fn tick(&self) -> Tick {
        let (started_ms, began) = (self.host.now_ms(), self.host.instant());
        let samples = self.samples();
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

    fn samples(&self) -> Vec<Sample> {
        let stats = self.outbox.stats();
        let connections = self.connections.load(Ordering::Relaxed);
        let none = Labels::default;
        let spool_bytes = self.spool.size_bytes.load(Ordering::Relaxed);
        let spool_failures = self.spool.failures.load(Ordering::Relaxed);
        let spool_sync_us = self.spool.sync_us.load(Ordering::Relaxed);
        let spool_thinned = self.spool.thinned_samples.load(Ordering::Relaxed);
        let lost = |reason, count: u64| {
            catalogue::MUSTER_AGENT_SPOOL_LOST_REPORTS_TOTAL
                .sample(Labels::of(&[("reason", reason)]), count as f64)
        };
        let restarts = self.privileged.as_ref().map(|privileged| {
            catalogue::MUSTER_AGENT_PRIVILEGED_RESTARTS_TOTAL.sample(none(), privileged.restarts() as f64)
        });
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
            catalogue::MUSTER_AGENT_SPOOL_THINNED_SAMPLES_TOTAL.sample(none(), spool_thinned as f64),
            lost("buffer_full", stats.dropped_reports),
            lost("damaged", stats.damaged_reports),
        ];
        samples.extend(restarts);
        samples
    }
}
