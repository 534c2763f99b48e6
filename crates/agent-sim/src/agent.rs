//! One simulated agent: the real outbox and stream, with samples that are made up.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use muster_agent::clocks::ClockReader;
use muster_agent::epoch;
use muster_agent::identity::Identity;
use muster_agent::outbox::{Outbox, Series};
use muster_agent::uplink::{Config, Observer, Uplink, UplinkEvent};
use muster_base::clock::WallClock;
use muster_base::shutdown::CancellationToken;
use muster_catalogue::MUSTER_SIM_VALUE;
use muster_mix::Mix;
use muster_model::{
    Clock, CollectorRun, Inventory, Labels, PreviousEpoch, Report, Resource, ResourceKey, ResourceKind,
    RunOutcome, SampleBlock, SeriesDef,
};
use tokio::time::Instant;
use tokio::time::{MissedTickBehavior, interval_at};

use crate::backlog::Backlog;
use crate::cli::Values;
use crate::journal::Journal;

pub(crate) const COLLECTOR: &str = "sim";
/// Memory for unacknowledged reports of one agent; some thousand agents share the process.
const OUTBOX_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Samples of one block, so that one block always fits into a report.
const SAMPLES_PER_BLOCK: usize = 8_192;

/// What all agents of a fleet have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) controller: String,
    pub(crate) interval: Duration,
    pub(crate) series: Vec<Arc<SeriesDef>>,
    /// The same as the outboxes keep them.
    pub(crate) kept: Vec<Series>,
    pub(crate) values: Values,
    pub(crate) journal: Journal,
    pub(crate) started: Instant,
    /// How long each agent has produced before the start.
    pub(crate) backlog: Duration,
    /// No more samples are to be made.
    pub(crate) stop_producing: CancellationToken,
    /// Streams are to be ended.
    pub(crate) stop: CancellationToken,
}

/// Definitions of the series that every agent has.
pub(crate) fn series(count: u32, interval: Duration) -> Vec<Arc<SeriesDef>> {
    let interval_ms = u32::try_from(interval.as_millis()).unwrap_or(u32::MAX);
    let definition = |index: u32| SeriesDef {
        name: MUSTER_SIM_VALUE.name.into(),
        labels: Labels::of(&[("series", &index.to_string())]),
        metric_type: MUSTER_SIM_VALUE.metric_type,
        unit: MUSTER_SIM_VALUE.unit.into(),
        collector: COLLECTOR.into(),
        resource_key: ResourceKey::server(),
        interval_ms,
    };
    (0..count).map(|index| Arc::new(definition(index))).collect()
}

/// One agent.
pub(crate) struct Agent {
    name: Arc<str>,
    shared: Arc<Shared>,
    outbox: Arc<Outbox>,
    clocks: ClockReader,
    backlog: Option<Arc<Backlog>>,
    /// Where its samples come from, if not from the tick's number.
    mix: Option<Mix>,
    /// How often the outbox asked for everything when everything was said last.
    said_at: Option<u64>,
}

impl Agent {
    /// An agent that does nothing yet, and its stream.
    pub(crate) fn build(
        (index, name): (u32, &str),
        identity: &Identity,
        source: Option<IpAddr>,
        shared: &Arc<Shared>,
    ) -> anyhow::Result<(Self, Uplink)> {
        let epoch = epoch::random_number()?;
        let clocks = clocks(epoch, shared);
        let earlier = epoch::random_number()?;
        let backlog = Backlog::new(
            earlier,
            shared.backlog,
            shared.interval,
            clocks.now(),
            &shared.series,
        );
        let backlog = backlog.map(Arc::new);
        let previous = backlog.as_ref().map(|backlog| PreviousEpoch {
            epoch: backlog.epoch(),
            ended_cleanly: true,
        });
        let past = backlog.as_ref().map(|backlog| backlog.past());
        let outbox = Outbox::new(epoch, previous, OUTBOX_BYTES_MAX);
        let outbox = Arc::new(outbox.with_past(past.into_iter().collect()));
        for series in &shared.kept {
            anyhow::ensure!(outbox.define(series.clone()).is_some(), "too many series");
        }
        let name: Arc<str> = name.into();
        let config = Config {
            controller: shared.controller.clone(),
            hostname: name.to_string(),
        };
        let watcher = Watcher {
            agent: Arc::clone(&name),
            shared: Arc::clone(shared),
            backlog: backlog.clone(),
            was_connected: AtomicBool::new(false),
        };
        let uplink = Uplink::new(config, identity, Arc::clone(&outbox), clocks.clone())?
            .with_source(source)
            .with_observer(Arc::new(watcher));
        Ok((
            Self {
                name,
                shared: Arc::clone(shared),
                outbox,
                clocks,
                backlog,
                mix: (shared.values == Values::Mix).then(|| Mix::new(index.into(), shared.series.len())),
                said_at: None,
            },
            uplink,
        ))
    }

    /// Produces a report at each tick, the first after `offset`, until it is told to stop; then waits until all are
    /// acknowledged or the fleet ends.
    pub(crate) async fn run(mut self, offset: Duration) {
        let (shared, outbox) = (Arc::clone(&self.shared), Arc::clone(&self.outbox));
        let feeding = feed(self.backlog.clone(), outbox);
        let living = async {
            shared
                .stop_producing
                .run_until_cancelled(self.produce(offset))
                .await;
            self.outbox.settled().await;
            if let Some(backlog) = &self.backlog {
                backlog.settled().await;
            }
        };
        tokio::select! {
            () = shared.stop.cancelled() => {}
            () = living => {}
            () = feeding => {}
        }
    }

    async fn produce(&mut self, offset: Duration) {
        if let Some(backlog) = &self.backlog {
            self.shared.journal.produced(backlog.sample_count());
        }
        let mut ticker = interval_at(Instant::now() + offset, self.shared.interval);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
        for tick in 0_u64.. {
            ticker.tick().await;
            let report = self.report(tick);
            self.shared.journal.produced(report.sample_count() as u64);
            self.outbox.push(report);
        }
    }

    fn report(&mut self, tick: u64) -> Report {
        let clock = self.clocks.now();
        let now_ms = clock.wall_ms;
        let mut report = Report::empty(self.outbox.epoch(), 0, clock);
        report.runs.push(CollectorRun {
            collector: COLLECTOR.to_owned(),
            started_ms: now_ms,
            duration_ms: 0,
            outcome: RunOutcome::Facts,
            message: String::new(),
        });
        let resyncs = self.outbox.resyncs();
        if self.said_at != Some(resyncs) {
            self.said_at = Some(resyncs);
            self.introduce(&mut report);
        }
        let ids: Vec<u32> = (1..=self.outbox.defined()).collect();
        let mut values = Vec::with_capacity(ids.len());
        match &mut self.mix {
            Some(mix) => mix.tick(&mut values),
            None => values.resize(ids.len(), tick as f64),
        }
        for (ids, values) in ids
            .chunks(SAMPLES_PER_BLOCK)
            .zip(values.chunks(SAMPLES_PER_BLOCK))
        {
            let block = SampleBlock::new(vec![now_ms], ids.to_vec(), values.to_vec());
            report
                .blocks
                .push(block.expect("one time and as many values as series, below the bound"));
        }
        report
    }

    fn introduce(&self, report: &mut Report) {
        let mut server = Resource::new(ResourceKind::Server, ResourceKey::server(), &*self.name);
        server.set("hostname", Some(&*self.name));
        report.inventories.push(Inventory {
            collector: COLLECTOR.to_owned(),
            observed_ms: report.observed_ms,
            keys: vec![server.key.clone()],
            links: Vec::new(),
        });
        report.resources.push(server);
    }
}

/// Has the outbox get what it wants of a backlog, for ever.
async fn feed(backlog: Option<Arc<Backlog>>, outbox: Arc<Outbox>) {
    match backlog {
        Some(backlog) => backlog.feed(&outbox).await,
        None => std::future::pending().await,
    }
}

/// Clocks of a machine that was booted when the simulation began, or its backlog.
pub(crate) fn clocks(epoch: u64, shared: &Shared) -> ClockReader {
    let wall = WallClock::system();
    let (started, before) = (shared.started, shared.backlog);
    let boot_id: Arc<str> = format!("sim-{epoch:016x}").into();
    ClockReader::new(move || Clock {
        wall_ms: wall.now_ms(),
        boottime_ms: i64::try_from((before + started.elapsed()).as_millis()).unwrap_or(i64::MAX),
        boot_id: boot_id.to_string(),
    })
}

/// Tells the journal what happens on one agent's stream.
struct Watcher {
    agent: Arc<str>,
    shared: Arc<Shared>,
    backlog: Option<Arc<Backlog>>,
    was_connected: AtomicBool,
}

impl Observer for Watcher {
    fn on_event(&self, event: &UplinkEvent) {
        match event {
            UplinkEvent::Connected => {
                let is_first_time = !self.was_connected.swap(true, Ordering::Relaxed);
                self.shared.journal.connected(is_first_time);
            }
            UplinkEvent::Acked { epoch, reports } => {
                let journal = &self.shared.journal;
                match self.backlog.as_ref().filter(|backlog| backlog.epoch() == *epoch) {
                    Some(backlog) => journal.acked_late(&self.agent, *epoch, &backlog.acked(reports)),
                    None => journal.acked(&self.agent, *epoch, reports),
                }
            }
            UplinkEvent::Disconnected => {}
        }
    }
}
