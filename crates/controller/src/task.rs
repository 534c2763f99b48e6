//! Work that goes on by itself: sealing, compaction, verification, retention, trimming, keeping what was heard.
//!
//! Owns the rhythm and the supervision: each kind of work has its own task, a panic or a failure is logged, counted
//! and followed by the next run after a pause, and how the last run went can be asked for. What the work is lies in
//! the files below; each is a thin call of the module that knows how.

mod anchoring;
mod compaction;
mod presence;
mod retention;
mod sealing;
mod trimming;
mod upkeep;
mod verification;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use muster_base::ErrorChain;
use muster_base::backoff::Backoff;
use muster_base::clock::WallClock;
use muster_base::shutdown::CancellationToken;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::app::App;
use crate::backup::DeletionHold;
use crate::intake::Intake;

/// Why a run failed.
pub type TaskError = Box<dyn std::error::Error + Send + Sync>;

/// One kind of work.
#[async_trait]
pub trait Task: Send + Sync + 'static {
    /// Its name in metrics and logs.
    fn name(&self) -> &'static str;

    /// Time from one run to the next.
    fn every(&self) -> Duration;

    /// Does what is due at `now_ms`.
    async fn run(&self, now_ms: i64) -> Result<(), TaskError>;
}

/// How a kind of work goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskStatus {
    /// Runs that succeeded.
    pub succeeded: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Runs that ended in a panic.
    pub panicked: u64,
    /// When the last run began, Unix ms; 0 before the first.
    pub last_run_ms: i64,
    /// How long it took, ms.
    pub last_duration_ms: u64,
    /// Why the last run failed; empty if it did not.
    pub last_error: String,
}

/// What the tasks work on.
pub struct Parts {
    /// The use-cases.
    pub app: Arc<App>,
    /// The log of reports.
    pub intake: Intake,
    /// The sample store.
    pub samples: Arc<muster_samples::Store>,
    /// Up to where the state tables know records.
    pub state_applied: watch::Receiver<i64>,
    /// Says whether anything may be deleted.
    pub hold: DeletionHold,
}

/// The running tasks.
pub struct Tasks {
    statuses: Arc<Statuses>,
    handles: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Statuses(Mutex<BTreeMap<&'static str, TaskStatus>>);

impl Tasks {
    /// How each kind of work goes.
    #[must_use]
    pub fn statuses(&self) -> TaskStatuses {
        TaskStatuses(Arc::clone(&self.statuses))
    }

    /// Waits until all have ended, which they do soon after their token is cancelled.
    pub async fn ended(self) {
        for handle in self.handles {
            // A run that panics is caught one level below.
            let _ = handle.await;
        }
    }
}

/// A handle on the statuses; clones share them.
#[derive(Debug, Clone)]
pub struct TaskStatuses(Arc<Statuses>);

impl TaskStatuses {
    /// Every kind of work with how it goes, by name.
    #[must_use]
    pub fn all(&self) -> Vec<(&'static str, TaskStatus)> {
        self.0
            .lock()
            .iter()
            .map(|(name, status)| (*name, status.clone()))
            .collect()
    }
}

/// Starts every kind of work.
#[must_use]
pub fn spawn_all(parts: Parts, stop: &CancellationToken) -> Tasks {
    let Parts {
        app,
        intake,
        samples,
        state_applied,
        hold,
    } = parts;
    let clock = app.clock().clone();
    let tasks: Vec<Arc<dyn Task>> = vec![
        Arc::new(sealing::Sealing::new(Arc::clone(&samples), app.store().clone())),
        Arc::new(compaction::Compaction::new(Arc::clone(&samples), hold.clone())),
        Arc::new(verification::Verification::new(Arc::clone(&samples))),
        Arc::new(retention::Retention::new(Arc::clone(&samples), hold.clone())),
        Arc::new(trimming::Trimming::new(
            intake,
            samples,
            state_applied,
            app.store().clone(),
            hold,
        )),
        Arc::new(presence::KeepPresence::new(Arc::clone(&app))),
        Arc::new(anchoring::Anchoring::new(Arc::clone(&app))),
        Arc::new(upkeep::Upkeep::new(app)),
    ];
    spawn(tasks, &clock, stop)
}

fn spawn(tasks: Vec<Arc<dyn Task>>, clock: &WallClock, stop: &CancellationToken) -> Tasks {
    let statuses = Arc::new(Statuses::default());
    let handles = tasks
        .into_iter()
        .map(|task| {
            statuses.lock().insert(task.name(), TaskStatus::default());
            tokio::spawn(repeat(task, clock.clone(), Arc::clone(&statuses), stop.clone()))
        })
        .collect();
    Tasks { statuses, handles }
}

/// Runs a task again and again until `stop`.
async fn repeat(task: Arc<dyn Task>, clock: WallClock, statuses: Arc<Statuses>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(task.every());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut backoff = Backoff::new(Duration::from_secs(1), task.every().max(Duration::from_secs(60)));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if run_once(&task, &clock, &statuses).await {
            backoff.reset();
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(backoff.next_delay()) => {}
        }
    }
}

/// One run, with its panic caught and its outcome written down. Returns whether it succeeded.
async fn run_once(task: &Arc<dyn Task>, clock: &WallClock, statuses: &Statuses) -> bool {
    let now_ms = clock.now_ms();
    let started = Instant::now();
    let running = Arc::clone(task);
    let outcome = tokio::spawn(async move { running.run(now_ms).await }).await;
    let mut statuses = statuses.lock();
    let status = statuses.entry(task.name()).or_default();
    status.last_run_ms = now_ms;
    status.last_duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    match outcome {
        Ok(Ok(())) => {
            status.succeeded += 1;
            status.last_error.clear();
            true
        }
        Ok(Err(error)) => {
            status.failed += 1;
            status.last_error = ErrorChain(&*error).to_string();
            tracing::warn!(
                task = task.name(),
                error = status.last_error,
                "task failed, will run again"
            );
            false
        }
        Err(error) => {
            status.panicked += 1;
            status.last_error = error.to_string();
            tracing::error!(
                task = task.name(),
                error = status.last_error,
                "task panicked, will run again"
            );
            false
        }
    }
}

impl Statuses {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, TaskStatus>> {
        // Plain assignments: nothing is half done when a thread dies.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Panics, fails, and then does its work.
    struct Moody(Arc<AtomicU32>);

    #[async_trait]
    impl Task for Moody {
        fn name(&self) -> &'static str {
            "moody"
        }

        fn every(&self) -> Duration {
            Duration::from_secs(5)
        }

        async fn run(&self, _now_ms: i64) -> Result<(), TaskError> {
            match self.0.fetch_add(1, Ordering::SeqCst) {
                0 => panic!("a defect"),
                1 => Err("no luck".into()),
                _ => Ok(()),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_or_fails_runs_again_and_says_so() {
        let runs = Arc::new(AtomicU32::new(0));
        let stop = CancellationToken::new();
        let tasks = spawn(
            vec![Arc::new(Moody(Arc::clone(&runs)))],
            &WallClock::fixed(77),
            &stop,
        );
        let statuses = tasks.statuses();
        while runs.load(Ordering::SeqCst) < 4 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        stop.cancel();
        tasks.ended().await;
        let (name, status) = statuses.all().remove(0);
        assert_eq!((name, status.panicked, status.failed), ("moody", 1, 1));
        assert!(2 <= status.succeeded && status.last_error.is_empty());
        assert_eq!(status.last_run_ms, 77);
    }
}
