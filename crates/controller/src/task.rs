//! Work that goes on by itself: sealing, compaction, verification, retention, trimming, keeping what was heard.
//!
//! Owns the rhythm and the supervision: each kind of work has its own task, a panic or a failure is logged, counted
//! and followed by the next run after a pause, and how the last run went can be asked for. People can have a task run
//! at once, and say how often those run that nothing depends on ([`Schedule`]). What the work is lies in the files
//! below; each is a thin call of the module that knows how.

mod alerts;
mod anchoring;
mod compaction;
mod figures;
mod images;
mod presence;
mod retention;
mod sealing;
mod trimming;
mod updates;
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
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::alert::Alerts;
use crate::app::App;
use crate::backup::DeletionHold;
use crate::intake::Intake;
use crate::registry::Registries;
use crate::update::Updates;

pub(crate) use self::figures::Figures;
pub(crate) use self::updates::DISCOVER;

/// Why a run failed.
pub type TaskError = Box<dyn std::error::Error + Send + Sync>;

/// One kind of work.
#[async_trait]
pub trait Task: Send + Sync + 'static {
    /// Its name in metrics and logs.
    fn name(&self) -> &'static str;

    /// Time from one run to the next.
    fn every(&self) -> Duration;

    /// Whether the controller needs it to go on; such work cannot be switched off or made rarer.
    fn is_essential(&self) -> bool {
        true
    }

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
    /// Time from one run to the next, ms.
    pub every_ms: u64,
    /// When the next run begins, Unix ms; `None` if only people start it.
    pub next_run_ms: Option<i64>,
    /// Whether it runs now.
    pub is_running: bool,
}

/// How often work runs that nothing depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Whether it runs only when people start it.
    pub is_manual: bool,
    /// Time from one run to the next, by name, where it is not the usual one.
    pub every: BTreeMap<&'static str, Duration>,
}

impl Schedule {
    /// What can be made rarer or switched off, with the usual time from one run to the next.
    pub const SETTABLE: [(&'static str, Duration); 8] = [
        (images::NAME, images::EVERY),
        (compaction::NAME, compaction::EVERY),
        (DISCOVER, updates::DISCOVER_EVERY),
        (updates::HEALTH, updates::HEALTH_EVERY),
        (updates::RETAIN, updates::RETAIN_EVERY),
        (alerts::NAME, alerts::EVERY),
        (retention::NAME, retention::EVERY),
        (verification::NAME, verification::EVERY),
    ];

    /// How often a task runs; `None` if only people start it.
    fn of(&self, task: &dyn Task) -> Option<Duration> {
        if task.is_essential() {
            return Some(task.every());
        }
        let every = self
            .every
            .get(task.name())
            .copied()
            .unwrap_or_else(|| task.every());
        (!self.is_manual).then_some(every)
    }
}

/// What the tasks work on.
pub struct Parts {
    /// The use-cases.
    pub app: Arc<App>,
    /// Updates of containers.
    pub updates: Updates,
    /// What judges.
    pub alerts: Alerts,
    /// The log of reports.
    pub intake: Intake,
    /// The sample store.
    pub samples: Arc<muster_samples::Store>,
    /// Up to where the state tables know records.
    pub state_applied: watch::Receiver<i64>,
    /// Says whether anything may be deleted.
    pub hold: DeletionHold,
    /// What registries say.
    pub registries: Registries,
    /// How often.
    pub schedule: Schedule,
}

/// The running tasks.
pub struct Tasks {
    statuses: Arc<Statuses>,
    handles: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Statuses(Mutex<BTreeMap<&'static str, Kept>>);

#[derive(Debug, Default)]
struct Kept {
    status: TaskStatus,
    asked: Arc<Notify>,
}

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
#[derive(Debug, Clone, Default)]
pub struct TaskStatuses(Arc<Statuses>);

impl TaskStatuses {
    /// Every kind of work with how it goes, by name.
    #[must_use]
    pub fn all(&self) -> Vec<(&'static str, TaskStatus)> {
        self.0
            .lock()
            .iter()
            .map(|(name, kept)| (*name, kept.status.clone()))
            .collect()
    }

    /// Has a kind of work run at once, or once more if it runs now. Returns how it goes; `None` if there is none.
    #[must_use]
    pub fn run_now(&self, name: &str) -> Option<(&'static str, TaskStatus)> {
        let statuses = self.0.lock();
        let (name, kept) = statuses.get_key_value(name)?;
        kept.asked.notify_one();
        Some((name, kept.status.clone()))
    }
}

/// Starts every kind of work.
#[must_use]
pub fn spawn_all(parts: Parts, stop: &CancellationToken) -> Tasks {
    let Parts {
        app,
        updates,
        alerts,
        intake,
        samples,
        state_applied,
        hold,
        registries,
        schedule,
    } = parts;
    let clock = app.clock().clone();
    let new_images = registries.clone();
    let every = schedule.every.get(DISCOVER);
    let figures = Figures::new(
        Arc::clone(&samples),
        alerts,
        clock.clone(),
        every.copied().unwrap_or(updates::DISCOVER_EVERY),
    );
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
        Arc::new(alerts::RetainAlerts::new(Arc::clone(&app))),
        Arc::new(images::CheckImages::new(
            registries,
            updates.clone(),
            figures.clone(),
        )),
        Arc::new(images::CheckNewImages {
            registries: new_images,
            updates: updates.clone(),
            figures: figures.clone(),
        }),
        Arc::new(updates::LookAtHealth(updates.clone())),
        Arc::new(updates::Discover {
            updates: updates.clone(),
            figures,
        }),
        Arc::new(updates::Tick(updates.clone())),
        Arc::new(updates::Retain(updates)),
        Arc::new(upkeep::Upkeep::new(app)),
    ];
    spawn(tasks, &schedule, &clock, stop)
}

fn spawn(
    tasks: Vec<Arc<dyn Task>>,
    schedule: &Schedule,
    clock: &WallClock,
    stop: &CancellationToken,
) -> Tasks {
    let statuses = Arc::new(Statuses::default());
    let handles = tasks
        .into_iter()
        .map(|task| {
            let every = schedule.of(&*task);
            let mut kept = Kept::default();
            let shown = every.unwrap_or_else(|| task.every());
            kept.status.every_ms = u64::try_from(shown.as_millis()).unwrap_or(u64::MAX);
            let asked = Arc::clone(&kept.asked);
            statuses.lock().insert(task.name(), kept);
            let rhythm = Rhythm { every, asked };
            tokio::spawn(repeat(
                task,
                rhythm,
                clock.clone(),
                Arc::clone(&statuses),
                stop.clone(),
            ))
        })
        .collect();
    Tasks { statuses, handles }
}

/// When a task runs.
struct Rhythm {
    /// `None`: only when it is asked for.
    every: Option<Duration>,
    asked: Arc<Notify>,
}

/// Runs a task again and again until `stop`.
async fn repeat(
    task: Arc<dyn Task>,
    rhythm: Rhythm,
    clock: WallClock,
    statuses: Arc<Statuses>,
    stop: CancellationToken,
) {
    let longest = task.every().max(Duration::from_secs(60));
    let mut backoff = Backoff::new(Duration::from_secs(1), longest);
    let mut next = rhythm.every.map(|_| Instant::now());
    loop {
        statuses.plan(task.name(), next, clock.now_ms());
        let due = async {
            match next {
                Some(next) => tokio::time::sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = rhythm.asked.notified() => {}
            () = due => {}
        }
        let began = Instant::now();
        let succeeded = run_once(&task, &clock, &statuses).await;
        next = rhythm.every.map(|every| {
            if succeeded {
                backoff.reset();
                // A run that took longer than the time between two is followed by a pause, not by the next at once.
                (began + every).max(Instant::now() + every.min(Duration::from_secs(1)))
            } else {
                Instant::now() + backoff.next_delay()
            }
        });
    }
}

/// One run, with its panic caught and its outcome written down. Returns whether it succeeded.
async fn run_once(task: &Arc<dyn Task>, clock: &WallClock, statuses: &Statuses) -> bool {
    let now_ms = clock.now_ms();
    let started = Instant::now();
    statuses.lock().entry(task.name()).or_default().status.is_running = true;
    let running = Arc::clone(task);
    let outcome = tokio::spawn(async move { running.run(now_ms).await }).await;
    let mut statuses = statuses.lock();
    let status = &mut statuses.entry(task.name()).or_default().status;
    status.is_running = false;
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
    /// Writes down when the next run begins.
    fn plan(&self, name: &'static str, next: Option<Instant>, now_ms: i64) {
        let wait_ms = |next: Instant| {
            let wait = next.saturating_duration_since(Instant::now());
            i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)
        };
        let next_run_ms = next.map(|next| now_ms.saturating_add(wait_ms(next)));
        self.lock().entry(name).or_default().status.next_run_ms = next_run_ms;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Kept>> {
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
            &Schedule::default(),
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

    /// Counts, and need not run.
    struct Count(Arc<AtomicU32>);

    #[async_trait]
    impl Task for Count {
        fn name(&self) -> &'static str {
            "count"
        }

        fn every(&self) -> Duration {
            Duration::from_secs(100)
        }

        fn is_essential(&self) -> bool {
            false
        }

        async fn run(&self, _now_ms: i64) -> Result<(), TaskError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    }

    async fn runs_after(schedule: Schedule, seconds: u64, asked: bool) -> (u32, TaskStatus) {
        let runs = Arc::new(AtomicU32::new(0));
        let stop = CancellationToken::new();
        let task = Arc::new(Count(Arc::clone(&runs)));
        let tasks = spawn(vec![task], &schedule, &WallClock::fixed(1_000), &stop);
        let statuses = tasks.statuses();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        if asked {
            assert!(statuses.run_now("count").is_some());
            assert!(statuses.run_now("another").is_none());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let status = statuses.all().remove(0).1;
        stop.cancel();
        tasks.ended().await;
        (runs.load(Ordering::SeqCst), status)
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_runs_as_often_as_is_set_and_when_it_is_asked_for() {
        let (runs, status) = runs_after(Schedule::default(), 150, false).await;
        assert_eq!((runs, status.every_ms), (2, 100_000));
        assert_eq!(status.next_run_ms, Some(101_000));
        let rarer = Schedule {
            every: BTreeMap::from([("count", Duration::from_secs(1_000))]),
            ..Schedule::default()
        };
        let (runs, status) = runs_after(rarer, 150, true).await;
        assert_eq!((runs, status.every_ms), (2, 1_000_000));
        let manual = Schedule {
            is_manual: true,
            ..Schedule::default()
        };
        let (runs, status) = runs_after(manual.clone(), 1_500, false).await;
        assert_eq!((runs, status.next_run_ms), (0, None));
        assert_eq!(runs_after(manual, 150, true).await.0, 1);
    }
}
