//! The intake: the durable log of accepted reports, with the delivery cursors.
//!
//! Owns `DIR/intake.db` (SQLite, WAL, synchronous=FULL) and the one thread that writes it. A report is *stored* when
//! its record, the cursor ranges it fills and the definitions it rests on are in one fsynced transaction; only then
//! is it answered, so only then acknowledged. Must not know what a report means: consumers (`consume`) read it back
//! in order of position, from memory (`feed`) while they keep up and from disk when they lag.
//!
//! Invariants: positions rise strictly and are never used twice; a (agent, epoch, sequence) is stored once, however
//! often it comes; definitions 1..n of an epoch are contiguous; a report naming a series beyond n is not stored.
//! Every queue is bounded in bytes: when it is full, [`Intake::report`] waits, and so does the agent behind it.

mod batch;
mod clip;
mod codec;
mod cursor;
mod envelope;
mod epochs;
mod error;
mod exchange;
mod feed;
mod metrics;
mod read;
mod salvage;
mod schema;
mod space;
mod writer;

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use camino::Utf8Path;
use muster_base::clock::WallClock;
use muster_base::id::AgentId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

pub use codec::{encode_report, message_of_report};
pub(crate) use epochs::PerEpoch;
pub use error::{IntakeError, WriteError};
pub use exchange::{Accepted, Answer, EpochCursor, IncomingDefinitions, IncomingReport, RecordKind, ReplyTo};
pub use feed::Feed;
pub use metrics::IntakeMetrics;
pub use read::{Definitions, Page, Record};
pub use schema::check_version;
pub use space::{DiskSpace, IntakeFull, SpaceProbe};

/// The intake's file below the data directory.
pub const FILE_NAME: &str = "intake.db";

/// What the intake is set to.
#[derive(Clone)]
pub struct Options {
    /// How long a commit waits for more reports after the first.
    pub commit_after: Duration,
    /// A commit waits no longer once it has this many bytes of reports.
    pub commit_bytes: usize,
    /// Bytes of reports that may wait for their commit; more makes their senders wait.
    pub queue_bytes: usize,
    /// Bytes of committed reports kept in memory for consumers that keep up.
    pub feed_bytes: usize,
    /// Bytes of records at which nothing more is taken.
    pub size_bytes_max: u64,
    /// Share of the filesystem, in percent, that has to stay free.
    pub free_percent_min: f64,
    /// How much room the filesystem has.
    pub space: SpaceProbe,
    /// Up to where every consumer had passed records when the file was opened: what is damaged there is no loss.
    pub applied: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            commit_after: Duration::from_millis(10),
            commit_bytes: 1024 * 1024,
            queue_bytes: 16 * 1024 * 1024,
            feed_bytes: 32 * 1024 * 1024,
            size_bytes_max: 8 * 1024 * 1024 * 1024,
            free_percent_min: 5.0,
            space: space::filesystem(),
            applied: 0,
        }
    }
}

/// Whether reports are taken.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum IntakeState {
    /// Yes.
    #[default]
    Taking,
    /// No: nothing is acknowledged until there is room, and agents keep what they have.
    Full(IntakeFull),
    /// No: a commit failed, and the file cannot be opened anew. That is tried until it succeeds.
    Broken,
}

/// What the writing thread is handed.
enum Item {
    Report(IncomingReport, Waiting),
    Definitions(IncomingDefinitions, Waiting),
    Cursors {
        agent: AgentId,
        epochs: Vec<u64>,
        reply: oneshot::Sender<Vec<EpochCursor>>,
    },
    Trim {
        below: i64,
        epochs_before_ms: i64,
        reply: oneshot::Sender<Result<Trimmed, WriteError>>,
    },
    SetAside {
        position: i64,
        consumer: &'static str,
        error: String,
        at_ms: i64,
        reply: oneshot::Sender<Result<(), WriteError>>,
    },
    BeginAfter {
        position: i64,
        reply: oneshot::Sender<Result<(), WriteError>>,
    },
    Close,
}

/// The room an item takes in the queue, and who is told what became of it.
struct Waiting {
    reply_to: ReplyTo,
    _room: OwnedSemaphorePermit,
}

/// What one step of trimming removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Records that all consumers have passed.
    pub records: usize,
    /// Epochs whose last report is long ago, with their definitions.
    pub epochs: usize,
}

/// A handle of the intake; clones share it.
#[derive(Clone)]
pub struct Intake {
    inner: Arc<Inner>,
}

struct Inner {
    item_tx: mpsc::Sender<Item>,
    room: Arc<Semaphore>,
    room_max: u32,
    feed: Arc<Feed>,
    reader: Arc<read::Reader>,
    metrics: Arc<IntakeMetrics>,
    state_rx: watch::Receiver<IntakeState>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Intake {
    /// Opens or makes `dir/intake.db` and starts the writing thread. All of the file is checked; one that is damaged
    /// is set aside, and what is good of it taken over.
    ///
    /// # Errors
    /// [`IntakeError`] if the file can't be used or the thread can't be started.
    pub fn open(dir: &Utf8Path, options: Options, clock: WallClock) -> Result<Self, IntakeError> {
        let path = dir.join(FILE_NAME);
        let metrics = Arc::new(IntakeMetrics::default());
        metrics.note_salvaged(salvage::ensure_sound(&path, options.applied, clock.now_ms())?);
        let connection = schema::open(&path)?;
        let reader = Arc::new(read::Reader::open(&path)?);
        let open_error = |source| IntakeError::Open {
            path: path.clone(),
            source,
        };
        let committed = schema::last_position(&connection).map_err(open_error)?;
        metrics.set(&metrics.set_aside, reader.set_aside_count().map_err(open_error)?);
        let feed = Arc::new(Feed::new(options.feed_bytes, committed));
        let (item_tx, item_rx) = mpsc::channel();
        let (state_tx, state_rx) = watch::channel(IntakeState::Taking);
        let room_max = u32::try_from(options.queue_bytes).unwrap_or(u32::MAX).max(1);
        let writer = writer::Writer::new(
            connection,
            item_rx,
            writer::Parts {
                path,
                options,
                clock,
                state_tx,
                feed: Arc::clone(&feed),
                reader: Arc::clone(&reader),
                metrics: Arc::clone(&metrics),
            },
        );
        let thread = std::thread::Builder::new()
            .name("intake".to_owned())
            .spawn(move || writer.run())
            .map_err(IntakeError::Thread)?;
        let inner = Inner {
            item_tx,
            room: Arc::new(Semaphore::new(room_max as usize)),
            room_max,
            feed,
            reader,
            metrics,
            state_rx,
            thread: Mutex::new(Some(thread)),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Hands in a report; waits while the queue is full. What becomes of it is answered after its commit.
    ///
    /// # Errors
    /// [`IntakeError::Closed`] after [`Intake::close`].
    pub async fn report(&self, incoming: IncomingReport, reply_to: ReplyTo) -> Result<(), IntakeError> {
        let waiting = self.wait_for_room(incoming.plain.len(), reply_to).await?;
        self.send(Item::Report(incoming, waiting))
    }

    /// Hands in definitions; waits while the queue is full. Answered as reports are.
    ///
    /// # Errors
    /// [`IntakeError::Closed`] after [`Intake::close`].
    pub async fn define(&self, incoming: IncomingDefinitions, reply_to: ReplyTo) -> Result<(), IntakeError> {
        let waiting = self.wait_for_room(incoming.plain.len(), reply_to).await?;
        self.send(Item::Definitions(incoming, waiting))
    }

    /// What is durable of an agent's epochs, in the order asked; also of what was handed in before this call.
    ///
    /// # Errors
    /// [`IntakeError::Closed`] after [`Intake::close`].
    pub async fn cursors(&self, agent: AgentId, epochs: Vec<u64>) -> Result<Vec<EpochCursor>, IntakeError> {
        let (reply, answer) = oneshot::channel();
        self.send(Item::Cursors { agent, epochs, reply })?;
        answer.await.map_err(|_| IntakeError::Closed)
    }

    /// One small step of deletion: records below `below`, and epochs without a report since `epochs_before_ms`.
    /// Nothing left to remove when the answer is empty.
    ///
    /// # Errors
    /// [`IntakeError::Write`] if it could not be written, [`IntakeError::Closed`] after [`Intake::close`].
    pub async fn trim(&self, below: i64, epochs_before_ms: i64) -> Result<Trimmed, IntakeError> {
        let (reply, answer) = oneshot::channel();
        self.send(Item::Trim {
            below,
            epochs_before_ms,
            reply,
        })?;
        answer
            .await
            .map_err(|_| IntakeError::Closed)?
            .map_err(IntakeError::Write)
    }

    /// Keeps a copy of a record that a consumer can't take, with why.
    ///
    /// # Errors
    /// [`IntakeError::Write`] if it could not be written, [`IntakeError::Closed`] after [`Intake::close`].
    pub async fn set_aside(
        &self,
        position: i64,
        consumer: &'static str,
        error: String,
        at_ms: i64,
    ) -> Result<(), IntakeError> {
        let (reply, answer) = oneshot::channel();
        self.send(Item::SetAside {
            position,
            consumer,
            error,
            at_ms,
            reply,
        })?;
        answer
            .await
            .map_err(|_| IntakeError::Closed)?
            .map_err(IntakeError::Write)
    }

    /// Sees to it that every report handed in from now on gets a position beyond `position`, which consumers have
    /// passed. Does nothing unless the file is younger than they are: then it is another one than they have read.
    ///
    /// # Errors
    /// [`IntakeError::Write`] if it could not be written, [`IntakeError::Closed`] after [`Intake::close`].
    pub async fn begin_after(&self, position: i64) -> Result<(), IntakeError> {
        let (reply, answer) = oneshot::channel();
        self.send(Item::BeginAfter { position, reply })?;
        answer
            .await
            .map_err(|_| IntakeError::Closed)?
            .map_err(IntakeError::Write)
    }

    /// Records after `position` in order, at most `count_max` and about `bytes_max`: from memory or from disk.
    ///
    /// # Errors
    /// [`IntakeError::Read`] if the file can't be read.
    pub async fn page_after(
        &self,
        position: i64,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<Page, IntakeError> {
        if let Some(records) = self.inner.feed.after(position, count_max, bytes_max) {
            return Ok(Page {
                records: records.into_iter().map(Record::Good).collect(),
                from_disk: false,
            });
        }
        let reader = Arc::clone(&self.inner.reader);
        read::blocking(move || reader.page_after(position, count_max, bytes_max)).await
    }

    /// The definitions of an epoch with ids from `from_id` on.
    ///
    /// # Errors
    /// [`IntakeError::Read`] if the file can't be read.
    pub async fn definitions(
        &self,
        agent: AgentId,
        epoch: u64,
        from_id: u32,
    ) -> Result<Definitions, IntakeError> {
        let reader = Arc::clone(&self.inner.reader);
        read::blocking(move || reader.definitions(agent, epoch, from_id)).await
    }

    /// The position of the last committed record, and each new one.
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<i64> {
        self.inner.feed.committed()
    }

    /// Lets go of records in memory up to `position`: every consumer has had them.
    pub fn release(&self, position: i64) {
        self.inner.feed.release(position);
    }

    /// Whether reports are taken.
    #[must_use]
    pub fn state(&self) -> IntakeState {
        self.inner.state_rx.borrow().clone()
    }

    /// Counts of what happened.
    #[must_use]
    pub fn metrics(&self) -> &Arc<IntakeMetrics> {
        &self.inner.metrics
    }

    /// Bytes of reports that may wait for their commit.
    #[must_use]
    pub fn queue_bytes_max(&self) -> usize {
        self.inner.room_max as usize
    }

    /// Bytes of committed reports in memory that some consumer has not passed.
    #[must_use]
    pub fn lag_bytes(&self) -> usize {
        self.inner.feed.bytes()
    }

    /// Bytes of reports that wait for their commit.
    #[must_use]
    pub fn queue_bytes(&self) -> usize {
        (self.inner.room_max as usize).saturating_sub(self.inner.room.available_permits())
    }

    /// Commits what was handed in, closes the file and ends the thread. Later calls are refused.
    pub async fn close(&self) {
        self.inner.room.close();
        // An error means that the thread has ended already, which is what is wanted.
        let _ = self.inner.item_tx.send(Item::Close);
        let thread = self
            .inner
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && let Ok(Err(_)) = tokio::task::spawn_blocking(move || thread.join()).await
        {
            tracing::error!("the intake's thread ended in a panic");
        }
    }

    async fn wait_for_room(&self, size_bytes: usize, reply_to: ReplyTo) -> Result<Waiting, IntakeError> {
        // An item larger than the whole queue still gets in, alone.
        let wanted = u32::try_from(size_bytes)
            .unwrap_or(u32::MAX)
            .clamp(1, self.inner.room_max);
        let room = Arc::clone(&self.inner.room).acquire_many_owned(wanted).await;
        Ok(Waiting {
            reply_to,
            _room: room.map_err(|_| IntakeError::Closed)?,
        })
    }

    fn send(&self, item: Item) -> Result<(), IntakeError> {
        self.inner.item_tx.send(item).map_err(|_| IntakeError::Closed)
    }
}

#[cfg(test)]
pub(crate) mod tests;
