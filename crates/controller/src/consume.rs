//! Consumers of the intake: what reports do once they are stored.
//!
//! Owns the order (state first, then samples: nobody passes the consumer that gives ids), reading on from where each
//! consumer was, from memory while it keeps up and from disk when it lags, and what happens to a record that a
//! consumer can't take. Must not know how records came to be stored.
//!
//! Invariants: a consumer gets records in order of position and each at least once; it writes its position with its
//! effect, and applying again is harmless. A record that fails twice by its own fault is set aside, counted and
//! passed; a failure of the machine (a full disk, a locked database) is tried again for ever.

mod renamed;
mod samples;
mod series;
mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use muster_base::ErrorChain;
use muster_base::backoff::Backoff;
use muster_base::clock::WallClock;
use muster_base::shutdown::CancellationToken;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::alert::{ALERTS_CONSUMER, Alerts, AlertsConsumer};
use crate::intake::{Accepted, Intake, IntakeError, Record};
use crate::store::apply::STATE_CONSUMER;
use crate::store::{Store, StoreError};

/// Name of the sample store's consumer in the table of positions.
pub const SAMPLES_CONSUMER: &str = "samples";
/// Most records applied together.
const RECORDS_MAX: usize = 256;
/// Bytes of reports after which no more records are applied together.
const BYTES_MAX: usize = 1024 * 1024;
/// How soon after a step the next one may begin, unless records are waiting that did not fit the last one: what arrives
/// in between is applied together. A transaction costs more than the reports in it.
const PACE: Duration = Duration::from_millis(50);
/// Longest pause before records are tried again: what was acknowledged can't be asked for until then.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Why a consumer did not take records. Nothing of them was applied.
#[derive(Debug, Error)]
pub enum ConsumeError {
    /// The machine's fault: trying again may help.
    #[error("{attempted}")]
    Transient {
        /// What was attempted.
        attempted: &'static str,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// One of the records is at fault.
    #[error("{attempted}")]
    Record {
        /// What was attempted.
        attempted: &'static str,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The intake could not be read or written.
    #[error(transparent)]
    Intake(#[from] IntakeError),
}

impl ConsumeError {
    /// Whether the same may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        !matches!(self, Self::Record { .. })
    }
}

/// Why the consumers could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// Where they are can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The intake can't be made to go on where they are.
    #[error(transparent)]
    Intake(#[from] IntakeError),
}

/// Something that applies records.
#[async_trait]
pub trait Consumer: Send + 'static {
    /// Its name in tables, metrics and logs.
    fn name(&self) -> &'static str;

    /// Applies records in order, all or none of them.
    async fn apply(&mut self, records: &[Arc<Accepted>]) -> Result<(), ConsumeError>;

    /// Everything up to `position` is done with, whether it was applied or set aside.
    async fn pass(&mut self, position: i64) -> Result<(), ConsumeError>;
}

/// Counts of one consumer.
#[derive(Debug, Default)]
pub struct ConsumerMetrics {
    /// Up to where records were applied since the start.
    pub position: AtomicI64,
    /// Records applied.
    pub records: AtomicU64,
    /// Records read from disk: at the start, or because the consumer was behind.
    pub records_from_disk: AtomicU64,
    /// Attempts that failed.
    pub failures: AtomicU64,
    /// Whether the last attempt failed: nothing is applied until one succeeds.
    pub is_failing: AtomicBool,
    /// Records set aside.
    pub set_aside: AtomicU64,
    /// Samples appended.
    pub samples: AtomicU64,
    /// Samples that were there already.
    pub samples_duplicate: AtomicU64,
    /// Samples refused: their series is unknown or one too many, or their time is out of bounds.
    pub samples_refused: AtomicU64,
    /// Series kept with their server because it has too many resources for theirs.
    pub series_without_resource: AtomicU64,
}

/// What consumers work with.
pub struct Parts {
    /// Where records come from.
    pub intake: Intake,
    /// The state tables.
    pub store: Store,
    /// The sample store.
    pub samples: Arc<muster_samples::Store>,
    /// Judges what was applied; nobody does without it.
    pub alerts: Option<Alerts>,
    /// Tells when a record was set aside.
    pub clock: WallClock,
}

/// The running consumers.
pub struct Consumers {
    /// Up to where the state tables know records.
    pub state_applied: watch::Receiver<i64>,
    /// Up to where every consumer has applied records.
    pub applied: watch::Receiver<i64>,
    /// Counts of the state consumer.
    pub state_metrics: Arc<ConsumerMetrics>,
    /// Counts of the sample consumer.
    pub samples_metrics: Arc<ConsumerMetrics>,
    /// Counts of the one that judges.
    pub alerts_metrics: Arc<ConsumerMetrics>,
    tasks: Vec<JoinHandle<()>>,
}

impl Consumers {
    /// Waits until the consumers have ended, which they do soon after their token is cancelled.
    pub async fn ended(self) {
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(error = %error, "a consumer did not end in order");
            }
        }
    }
}

/// Starts the consumers where they were. The intake goes on after all of them, also if its file is a younger one than
/// they have read: at a position that they think they have passed, a report would be acknowledged and never applied.
///
/// # Errors
/// [`StartError`] if their positions can't be read, or the intake can't be written.
pub async fn spawn(parts: Parts, stop: CancellationToken) -> Result<Consumers, StartError> {
    let Parts {
        intake,
        store,
        samples,
        alerts,
        clock,
    } = parts;
    let state_position = store.consumer_position(STATE_CONSUMER).await?;
    let samples_position = store.consumer_position(SAMPLES_CONSUMER).await?;
    // Whoever judges for the first time begins with what comes from now on.
    let alerts_position = match store.consumer_position(ALERTS_CONSUMER).await? {
        0 => samples_position,
        position => position,
    };
    let highest = state_position.max(samples_position).max(alerts_position);
    intake.begin_after(highest).await?;
    let samples_metrics = Arc::new(ConsumerMetrics::default());
    let feeder = Feeder {
        intake: intake.clone(),
        clock,
        stop,
    };
    let state = feeder.spawn(
        state::StateConsumer::new(store.clone()),
        state_position,
        intake.committed(),
        Arc::new(ConsumerMetrics::default()),
    );
    let samples = feeder.spawn(
        samples::SamplesConsumer::new(intake, store, samples, Arc::clone(&samples_metrics)),
        samples_position,
        state.applied.clone(),
        samples_metrics,
    );
    let mut tasks = vec![state.task, samples.task];
    let alerts_metrics = Arc::new(ConsumerMetrics::default());
    if let Some(alerts) = alerts {
        let judging = feeder.spawn(
            AlertsConsumer::new(alerts),
            alerts_position,
            samples.applied.clone(),
            Arc::clone(&alerts_metrics),
        );
        tasks.push(judging.task);
    }
    Ok(Consumers {
        state_applied: state.applied,
        applied: samples.applied,
        state_metrics: state.metrics,
        samples_metrics: samples.metrics,
        alerts_metrics,
        tasks,
    })
}

/// Up to where every consumer has passed records, as it is written down.
///
/// # Errors
/// A failure of the state database.
pub async fn applied(store: &Store) -> Result<i64, StoreError> {
    let state = store.consumer_position(STATE_CONSUMER).await?;
    let samples = store.consumer_position(SAMPLES_CONSUMER).await?;
    Ok(state.min(samples))
}

/// Reads records for consumers and hands them over.
#[derive(Clone)]
struct Feeder {
    intake: Intake,
    clock: WallClock,
    stop: CancellationToken,
}

struct Running {
    applied: watch::Receiver<i64>,
    metrics: Arc<ConsumerMetrics>,
    task: JoinHandle<()>,
}

impl Feeder {
    /// Starts a consumer after `position`; it never goes beyond what `limit` says.
    fn spawn(
        &self,
        consumer: impl Consumer,
        position: i64,
        limit: watch::Receiver<i64>,
        metrics: Arc<ConsumerMetrics>,
    ) -> Running {
        let (applied_tx, applied) = watch::channel(position);
        metrics.position.store(position, Ordering::Relaxed);
        let feed = Feed {
            feeder: self.clone(),
            consumer,
            position,
            applied_tx,
            metrics: Arc::clone(&metrics),
        };
        Running {
            applied,
            metrics,
            task: tokio::spawn(feed.run(limit)),
        }
    }
}

/// What one step took.
enum Step {
    /// As much as goes together; more is waiting.
    Full,
    /// Everything there was.
    Everything,
}

/// One consumer and where it is.
struct Feed<C> {
    feeder: Feeder,
    consumer: C,
    position: i64,
    applied_tx: watch::Sender<i64>,
    metrics: Arc<ConsumerMetrics>,
}

impl<C: Consumer> Feed<C> {
    async fn run(mut self, mut limit: watch::Receiver<i64>) {
        let stop = self.feeder.stop.clone();
        let mut backoff = Backoff::new(Duration::from_millis(100), RETRY_MAX);
        loop {
            let upto = tokio::select! {
                () = stop.cancelled() => return,
                changed = limit.wait_for(|upto| self.position < *upto) => match changed {
                    Ok(upto) => *upto,
                    // Whoever comes before has ended.
                    Err(_) => return,
                },
            };
            let begun = tokio::time::Instant::now();
            let stepped = self.step(upto).await;
            self.metrics.is_failing.store(stepped.is_err(), Ordering::Relaxed);
            match stepped {
                Ok(Step::Full) => backoff.reset(),
                Ok(Step::Everything) => {
                    backoff.reset();
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep_until(begun + PACE) => {}
                    }
                }
                Err(error) => {
                    ConsumerMetrics::add(&self.metrics.failures, 1);
                    let delay = backoff.next_delay();
                    tracing::warn!(
                        consumer = self.consumer.name(),
                        position = self.position,
                        attempt = backoff.attempt(),
                        error = %ErrorChain(&error),
                        "consumer failed, will try again"
                    );
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(delay) => {}
                    }
                }
            }
        }
    }

    /// Applies the next records, none beyond `upto`.
    async fn step(&mut self, upto: i64) -> Result<Step, ConsumeError> {
        let page = self
            .feeder
            .intake
            .page_after(self.position, RECORDS_MAX, BYTES_MAX)
            .await?;
        if page.from_disk {
            ConsumerMetrics::add(&self.metrics.records_from_disk, page.records.len() as u64);
        }
        let records: Vec<Record> = page
            .records
            .into_iter()
            .take_while(|record| record.position() <= upto)
            .collect();
        if records.is_empty() {
            // What was there is deleted, which happens only after everyone has had it.
            self.consumer.pass(upto).await?;
            self.advance(upto);
            return Ok(Step::Everything);
        }
        for chunk in records.chunk_by(|a, b| is_good(a) && is_good(b)) {
            self.hand_over(chunk).await?;
        }
        Ok(if self.position < upto {
            Step::Full
        } else {
            Step::Everything
        })
    }

    /// Hands over readable records, or sets aside one that is not.
    async fn hand_over(&mut self, records: &[Record]) -> Result<(), ConsumeError> {
        let good: Vec<Arc<Accepted>> = records
            .iter()
            .filter_map(|record| match record {
                Record::Good(accepted) => Some(Arc::clone(accepted)),
                Record::Damaged { .. } => None,
            })
            .collect();
        if let [Record::Damaged { position, error }] = records {
            return self.set_aside(*position, error.clone()).await;
        }
        match self.apply(&good).await {
            Ok(()) => {
                self.count(good.len());
                if let Some(last) = good.last() {
                    self.advance(last.position);
                }
                Ok(())
            }
            Err(error) if error.is_transient() => Err(error),
            Err(_) => self.one_by_one(&good).await,
        }
    }

    /// Has the consumer apply records; a defect in it that one of them brings out must not stop all others.
    async fn apply(&mut self, records: &[Arc<Accepted>]) -> Result<(), ConsumeError> {
        let applying = std::panic::AssertUnwindSafe(self.consumer.apply(records));
        applying.catch_unwind().await.unwrap_or_else(|panic| {
            let what = panic
                .downcast_ref::<&str>()
                .copied()
                .or(panic.downcast_ref::<String>().map(String::as_str));
            Err(ConsumeError::Record {
                attempted: "apply records",
                source: what.unwrap_or("panic").into(),
            })
        })
    }

    /// Some record among these can't be taken: it is found by giving each a chance of its own.
    async fn one_by_one(&mut self, records: &[Arc<Accepted>]) -> Result<(), ConsumeError> {
        for record in records {
            match self.apply(std::slice::from_ref(record)).await {
                Ok(()) => {
                    self.count(1);
                    self.advance(record.position);
                }
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => {
                    let why = ErrorChain(&error).to_string();
                    self.set_aside(record.position, why).await?;
                }
            }
        }
        Ok(())
    }

    async fn set_aside(&mut self, position: i64, error: String) -> Result<(), ConsumeError> {
        tracing::error!(
            consumer = self.consumer.name(),
            position,
            error,
            "record set aside"
        );
        let at_ms = self.feeder.clock.now_ms();
        self.feeder
            .intake
            .set_aside(position, self.consumer.name(), error, at_ms)
            .await?;
        self.consumer.pass(position).await?;
        ConsumerMetrics::add(&self.metrics.set_aside, 1);
        self.advance(position);
        Ok(())
    }

    fn count(&self, records: usize) {
        ConsumerMetrics::add(&self.metrics.records, records as u64);
    }

    fn advance(&mut self, position: i64) {
        self.position = position;
        self.metrics.position.store(position, Ordering::Relaxed);
        self.applied_tx.send_replace(position);
    }
}

impl ConsumerMetrics {
    fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}

const fn is_good(record: &Record) -> bool {
    matches!(record, Record::Good(_))
}

#[cfg(test)]
pub(crate) mod tests;
