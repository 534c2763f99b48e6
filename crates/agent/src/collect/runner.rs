//! Runs collectors: each in its own task, all at once at the start, then each on its cadence.
//!
//! A run that takes too long is given up and one that panics is contained; either way the collector is built anew
//! and the others notice nothing. Runs that a slow one made late are skipped, not made up for. Every run, whatever
//! its outcome, becomes one [`Tick`] in a bounded channel: when that is full the collector waits, because a reading
//! that nobody can take is better not made.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use muster_base::ErrorChain;
use muster_base::shutdown::CancellationToken;
use muster_catalogue::{NODE_SCRAPE_COLLECTOR_DURATION_SECONDS, NODE_SCRAPE_COLLECTOR_SUCCESS};
use muster_model::{Labels, RunOutcome};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tracing::{debug, warn};

use super::{CollectError, Collector, Context, Descriptor, Outcome, Place, Summary, Tick};
use crate::host::Host;
use crate::privileged::{Privileged, PrivilegedError};

/// Requests that may wait for one collector; more are answered by the same run.
const REQUESTS_MAX: usize = 16;

/// How long a change may be followed by others that are collected with it.
const CHANGE_SETTLES: Duration = Duration::from_millis(250);
/// How soon after a run a change may cause the next.
const CHANGES_APART: Duration = Duration::from_secs(1);

/// A collector and its cadence.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The collector.
    pub descriptor: &'static Descriptor,
    /// How often it runs; never shorter than the collector's minimum.
    pub interval: Duration,
}

impl Plan {
    /// A plan that keeps the collector's minimum.
    #[must_use]
    pub fn new(descriptor: &'static Descriptor, interval: Duration) -> Self {
        Self {
            descriptor,
            interval: interval.max(descriptor.interval_min),
        }
    }
}

enum Request {
    Collect(oneshot::Sender<Summary>),
    SetInterval(Duration),
    SetPaused(bool),
}

/// Speaks to the running collectors. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    collectors: Vec<Planned>,
}

#[derive(Debug, Clone)]
struct Planned {
    descriptor: &'static Descriptor,
    /// As the agent's own settings have it.
    interval: Duration,
    requests_tx: mpsc::Sender<Request>,
}

/// The collectors' tasks; dropping it ends them.
#[derive(Debug)]
pub struct Tasks(JoinSet<()>);

impl Tasks {
    /// Waits until all have ended, which they do when shutdown is asked for.
    pub async fn join(mut self) {
        while self.0.join_next().await.is_some() {}
    }
}

/// Starts the planned collectors, which send their ticks until `shutdown`.
#[must_use]
pub fn spawn(
    plans: &[Plan],
    host: &Host,
    context: &Context,
    ticks_tx: &mpsc::Sender<Tick>,
    shutdown: &CancellationToken,
) -> (Handle, Tasks) {
    let mut tasks = JoinSet::new();
    // Due together, they are woken together: the processor sleeps between, and threads do not wake each other in turn.
    let start = tokio::time::Instant::now();
    let collectors = plans
        .iter()
        .map(|plan| {
            let (requests_tx, requests_rx) = mpsc::channel(REQUESTS_MAX);
            let lane = Lane {
                runner: Runner::new(plan.descriptor, host.clone(), context.clone()),
                start,
                interval: plan.interval,
                is_paused: false,
                ticks_tx: ticks_tx.clone(),
            };
            let shutdown = shutdown.clone();
            tasks.spawn(async move {
                // A run in progress is abandoned: a hung disk must not hold up the end.
                shutdown.run_until_cancelled(lane.run(requests_rx)).await;
            });
            Planned {
                descriptor: plan.descriptor,
                interval: plan.interval,
                requests_tx,
            }
        })
        .collect();
    (Handle { collectors }, Tasks(tasks))
}

impl Handle {
    /// Runs the named collectors now, or all if none is named, and waits for them. Unknown names are passed over, and
    /// so is a collector that ended meanwhile.
    pub async fn collect_now(&self, names: &[String]) -> Vec<Summary> {
        let mut answers = Vec::new();
        for planned in &self.collectors {
            if !names.is_empty() && !names.iter().any(|name| name == planned.descriptor.name) {
                continue;
            }
            let (answer_tx, answer_rx) = oneshot::channel();
            if planned
                .requests_tx
                .send(Request::Collect(answer_tx))
                .await
                .is_ok()
            {
                answers.push(answer_rx);
            }
        }
        futures::future::join_all(answers)
            .await
            .into_iter()
            .filter_map(Result::ok)
            .collect()
    }

    /// Changes cadences, within each collector's minimum; gives back what is now in force. `None` goes back to the
    /// agent's own. Unknown names are passed over. An empty name stands for all that are not named: those that run
    /// most often follow it, the others run no more often than that.
    pub async fn set_intervals(
        &self,
        wanted: &[(String, Option<Duration>)],
    ) -> Vec<(&'static str, Duration)> {
        let named = |name: &str| {
            wanted
                .iter()
                .rfind(|(wanted, _)| wanted == name)
                .map(|(_, interval)| *interval)
        };
        let for_all = named("");
        let shortest = self.collectors.iter().map(|planned| planned.interval).min();
        let mut in_force = Vec::new();
        for planned in &self.collectors {
            let own = planned.interval;
            let interval = match (named(planned.descriptor.name), for_all) {
                (Some(interval), _) => interval.unwrap_or(own),
                (None, Some(Some(interval))) if shortest == Some(own) => interval,
                (None, Some(interval)) => interval.unwrap_or(own).max(own),
                (None, None) => continue,
            };
            let interval = interval.max(planned.descriptor.interval_min);
            let request = Request::SetInterval(interval);
            if planned.requests_tx.send(request).await.is_ok() {
                in_force.push((planned.descriptor.name, interval));
            }
        }
        in_force
    }

    /// Stops or resumes collecting on cadence; who asks for a collection gets one all the same.
    pub async fn set_paused(&self, is_paused: bool) {
        for planned in &self.collectors {
            // A collector that has ended is paused for good.
            let _ = planned.requests_tx.send(Request::SetPaused(is_paused)).await;
        }
    }

    /// The names of the collectors that run.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.collectors
            .iter()
            .map(|planned| planned.descriptor.name)
            .collect()
    }
}

/// One collector's loop.
struct Lane {
    runner: Runner,
    start: tokio::time::Instant,
    interval: Duration,
    is_paused: bool,
    ticks_tx: mpsc::Sender<Tick>,
}

impl Lane {
    async fn run(mut self, mut requests_rx: mpsc::Receiver<Request>) {
        let mut ticker = tokio::time::interval_at(self.start, self.interval);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let due = self.runner.context.due.of(self.runner.descriptor.name);
        let mut ran_at = self.start;
        loop {
            let mut waiting = Vec::new();
            tokio::select! {
                _ = ticker.tick(), if !self.is_paused => {}
                () = due.notified(), if !self.is_paused => {
                    // Changes come in swarms: a container that is made again is a dozen of them.
                    let settled = tokio::time::Instant::now() + CHANGE_SETTLES;
                    tokio::time::sleep_until(settled.max(ran_at + CHANGES_APART)).await;
                }
                request = requests_rx.recv() => match request {
                    Some(Request::Collect(answer_tx)) => waiting.push(answer_tx),
                    Some(Request::SetInterval(interval)) => {
                        self.set_interval(interval, &mut ticker);
                        continue;
                    }
                    Some(Request::SetPaused(is_paused)) => {
                        self.is_paused = is_paused;
                        continue;
                    }
                    None => return,
                },
            }
            // Whoever asks before the run begins is answered by it.
            while let Ok(request) = requests_rx.try_recv() {
                match request {
                    Request::Collect(answer_tx) => waiting.push(answer_tx),
                    Request::SetInterval(interval) => self.set_interval(interval, &mut ticker),
                    Request::SetPaused(is_paused) => self.is_paused = is_paused,
                }
            }
            let tick = self.runner.run_once(self.interval).await;
            ran_at = tokio::time::Instant::now();
            let summary = tick.summary();
            if self.ticks_tx.send(tick).await.is_err() {
                return;
            }
            for answer_tx in waiting {
                // Whoever asked may have gone.
                let _ = answer_tx.send(summary.clone());
            }
        }
    }

    fn set_interval(&mut self, interval: Duration, ticker: &mut tokio::time::Interval) {
        if interval == self.interval {
            return;
        }
        self.interval = interval;
        *ticker = tokio::time::interval_at(tokio::time::Instant::now() + interval, interval);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
    }
}

/// Runs one collector, again and again, whatever it does.
pub struct Runner {
    descriptor: &'static Descriptor,
    host: Host,
    context: Context,
    collector: Option<Box<dyn Collector>>,
    last_outcome: Option<RunOutcome>,
    is_silent: bool,
}

impl Runner {
    /// A runner whose collector is not yet built.
    #[must_use]
    pub fn new(descriptor: &'static Descriptor, host: Host, context: Context) -> Self {
        Self {
            descriptor,
            host,
            context,
            collector: None,
            last_outcome: None,
            is_silent: false,
        }
    }

    /// The same for a process whose parent tells of failures.
    #[must_use]
    pub fn silent(descriptor: &'static Descriptor, host: Host, context: Context) -> Self {
        Self {
            is_silent: true,
            ..Self::new(descriptor, host, context)
        }
    }

    /// Runs the collector once.
    pub async fn run_once(&mut self, interval: Duration) -> Tick {
        let started_ms = self.host.now_ms();
        let began = self.host.instant();
        let attempt = match self.elsewhere() {
            Some(privileged) => attempt_elsewhere(&privileged, self.descriptor).await,
            None => self.attempt().await,
        };
        let (outcome, message, facts) = match attempt {
            Ok(Outcome::Facts(facts)) => (RunOutcome::Facts, String::new(), Some(facts)),
            Ok(Outcome::Absent { reason }) => (RunOutcome::Absent, reason, None),
            Err(Failure::Collect(error)) => (RunOutcome::Failed, ErrorChain(&error).to_string(), None),
            Err(Failure::TimedOut) => {
                let timeout_s = self.descriptor.timeout.as_secs_f64();
                (RunOutcome::TimedOut, format!("gave up after {timeout_s} s"), None)
            }
            Err(Failure::Panicked(message)) => (RunOutcome::Panicked, message, None),
            Err(Failure::Elsewhere(error)) => (RunOutcome::Failed, error.to_string(), None),
            Err(Failure::Told { outcome, message }) => (outcome, message, None),
        };
        let took = began.elapsed();
        self.log(outcome, &message, took);
        let labels = Labels::of(&[("collector", self.descriptor.name)]);
        let success = if outcome.is_success() { 1.0 } else { 0.0 };
        Tick {
            collector: self.descriptor.name,
            started_ms,
            duration_ms: whole_ms(took),
            interval_ms: whole_ms(interval),
            outcome,
            message,
            facts,
            self_samples: vec![
                NODE_SCRAPE_COLLECTOR_DURATION_SECONDS.sample(labels.clone(), took.as_secs_f64()),
                NODE_SCRAPE_COLLECTOR_SUCCESS.sample(labels, success),
            ],
        }
    }

    /// Where the collector runs, if not here.
    fn elsewhere(&self) -> Option<Privileged> {
        let privileged = self.context.privileged.clone();
        privileged.filter(|_| self.descriptor.place == Place::Privileged)
    }

    async fn attempt(&mut self) -> Result<Outcome, Failure> {
        let build = self.descriptor.build;
        let mut collector = self.collector.take().unwrap_or_else(|| build(&self.context));
        // What panicked or was given up is dropped, so that nobody sees what it was in the midst of.
        let run = AssertUnwindSafe(collector.collect(&self.host)).catch_unwind();
        let result = tokio::time::timeout(self.descriptor.timeout, run).await;
        match result {
            Ok(Ok(result)) => {
                self.collector = Some(collector);
                result.map_err(Failure::Collect)
            }
            Ok(Err(payload)) => Err(Failure::Panicked(panic_message(payload.as_ref()))),
            Err(_) => Err(Failure::TimedOut),
        }
    }

    /// Says what changed: a failure that repeats every 15 s is told once, and so is its end.
    fn log(&mut self, outcome: RunOutcome, message: &str, took: Duration) {
        let (collector, duration_ms) = (self.descriptor.name, whole_ms(took));
        let is_news = self.last_outcome.replace(outcome) != Some(outcome);
        if is_news && !outcome.is_success() && !self.is_silent {
            warn!(
                collector,
                outcome = outcome.as_str(),
                why = message,
                duration_ms,
                "collection failed"
            );
        } else {
            debug!(
                collector,
                outcome = outcome.as_str(),
                why = message,
                duration_ms,
                "collected"
            );
        }
    }
}

enum Failure {
    Collect(CollectError),
    TimedOut,
    Panicked(String),
    /// The process in which it runs was lost.
    Elsewhere(PrivilegedError),
    /// The process in which it runs says so.
    Told {
        outcome: RunOutcome,
        message: String,
    },
}

/// Has the collector run in the privileged process, which keeps its time and contains its panics.
async fn attempt_elsewhere(
    privileged: &Privileged,
    descriptor: &'static Descriptor,
) -> Result<Outcome, Failure> {
    let collected = privileged.collect(descriptor).await.map_err(Failure::Elsewhere)?;
    match (collected.outcome, collected.facts) {
        (RunOutcome::Facts, Some(facts)) => Ok(Outcome::Facts(facts)),
        (RunOutcome::Absent, _) => Ok(Outcome::absent(collected.message)),
        (outcome, _) => Err(Failure::Told {
            outcome,
            message: collected.message,
        }),
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned());
    format!("the collector has a defect: {}", text.unwrap_or_default())
}

fn whole_ms(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
