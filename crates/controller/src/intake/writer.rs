//! The one thread that writes the log: gathers what was handed in, commits it, and only then answers.
//!
//! A commit waits a few milliseconds for company, because an fsync costs the same for one report as for a thousand.
//! While there is no room, reports are held unanswered and everything else goes on. After a failed commit nothing of
//! it is answered as stored, and the file is opened anew: what an fsync that failed has left behind can't be known.

mod answer;

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use muster_base::ErrorChain;
use muster_base::clock::WallClock;
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::watch;

use super::batch::{Batch, BatchError, Taken};
use super::codec::Packer;
use super::cursor::Cursors;
use super::read::Reader;
use super::{Feed, IntakeError, IntakeMetrics, IntakeState, Item, Options, Trimmed, salvage, schema, space};

/// How often room is looked at.
const SPACE_EVERY: Duration = Duration::from_secs(1);
/// Pause after a failed commit, so that a broken disk is not hammered.
const FAILURE_PAUSE: Duration = Duration::from_millis(500);
/// Most items of a commit.
const ITEMS_MAX: usize = 4_096;

/// What the thread shares with the handles.
pub(super) struct Parts {
    pub(super) path: Utf8PathBuf,
    pub(super) options: Options,
    pub(super) clock: WallClock,
    pub(super) state_tx: watch::Sender<IntakeState>,
    pub(super) feed: Arc<Feed>,
    pub(super) reader: Arc<Reader>,
    pub(super) metrics: Arc<IntakeMetrics>,
}

pub(super) struct Writer {
    connection: Connection,
    item_rx: Receiver<Item>,
    parts: Parts,
    cursors: Cursors,
    /// What came while there was no room; bounded by the queue's bytes, which it still takes.
    held: VecDeque<Item>,
    room_checked: Option<Instant>,
    /// Whether a commit failed and the file is not opened anew yet: until then nothing can be trusted.
    is_broken: bool,
    /// Whether SQLite has found the file itself at fault.
    is_damaged: bool,
    is_closing: bool,
}

/// What the transaction found for an item; in the order of the items.
enum Outcome {
    Taken(Taken),
    Trimmed(Trimmed),
    /// The last position given or passed over.
    Begun(i64),
    /// Nothing to write, or nothing to say about it.
    Done,
}

impl Writer {
    pub(super) fn new(connection: Connection, item_rx: Receiver<Item>, parts: Parts) -> Self {
        Self {
            connection,
            item_rx,
            parts,
            cursors: Cursors::default(),
            held: VecDeque::new(),
            room_checked: None,
            is_broken: false,
            is_damaged: false,
            is_closing: false,
        }
    }

    /// Works until [`Item::Close`], or until every handle is gone.
    pub(super) fn run(mut self) {
        let mut packer = match Packer::new() {
            Ok(packer) => packer,
            Err(error) => {
                tracing::error!(error = %ErrorChain(&error), "the intake cannot compress and takes nothing");
                return;
            }
        };
        while !self.is_closing {
            if self.is_broken {
                self.recover();
                continue;
            }
            let batch = self.gather();
            if batch.is_empty() {
                continue;
            }
            // A defect that one report brings out must not end the thread that all depend on. What is let go
            // without an answer counts as not stored.
            let processing = AssertUnwindSafe(|| self.process(batch, &mut packer));
            if std::panic::catch_unwind(processing).is_err() {
                tracing::error!("intake commit panicked, nothing of it is acknowledged");
                self.parts.metrics.add(&self.parts.metrics.commits_failed, 1);
                self.reopen();
                std::thread::sleep(FAILURE_PAUSE);
            }
        }
        // A checkpoint now spares the next start from reading the log; failing it loses nothing. The reader's
        // connection is open still, so that closing alone would not do it.
        let checkpoint = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = checkpoint {
            tracing::warn!(error = %ErrorChain(&error), "intake not checkpointed at its end");
        }
        if let Err((_, error)) = self.connection.close() {
            tracing::warn!(error = %ErrorChain(&error), "intake not closed in order");
        }
    }

    /// Waits for work and then a little longer for company.
    fn gather(&mut self) -> Vec<Item> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut deadline = None;
        while bytes < self.parts.options.commit_bytes && batch.len() < ITEMS_MAX {
            let has_room = self.has_room();
            let next = if has_room && let Some(held) = self.held.pop_front() {
                held
            } else {
                match self.receive(deadline, has_room) {
                    Ok(item) => item,
                    Err(RecvTimeoutError::Timeout) if batch.is_empty() => continue,
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => {
                        self.is_closing = true;
                        break;
                    }
                }
            };
            match next {
                Item::Close => {
                    self.is_closing = true;
                    break;
                }
                held @ (Item::Report(..) | Item::Definitions(..)) if !has_room => self.held.push_back(held),
                item => {
                    bytes += item.size_bytes();
                    deadline.get_or_insert_with(|| Instant::now() + self.parts.options.commit_after);
                    batch.push(item);
                }
            }
        }
        batch
    }

    fn receive(&self, deadline: Option<Instant>, has_room: bool) -> Result<Item, RecvTimeoutError> {
        match deadline {
            Some(deadline) => self
                .item_rx
                .recv_timeout(deadline.saturating_duration_since(Instant::now())),
            // Room may come back without any message.
            None if !has_room => self.item_rx.recv_timeout(SPACE_EVERY),
            None => self
                .item_rx
                .recv()
                .map_err(|mpsc::RecvError| RecvTimeoutError::Disconnected),
        }
    }

    /// Whether reports may be taken; looks again after a while.
    fn has_room(&mut self) -> bool {
        let is_known = self
            .room_checked
            .is_some_and(|checked| checked.elapsed() < SPACE_EVERY);
        if !is_known {
            self.room_checked = Some(Instant::now());
            let now = self.look_for_room();
            self.announce(now);
        }
        *self.parts.state_tx.borrow() == IntakeState::Taking
    }

    fn look_for_room(&self) -> IntakeState {
        let options = &self.parts.options;
        let used_bytes = match space::used_bytes(&self.connection) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(error = %ErrorChain(&error), "size of the intake unknown");
                return self.parts.state_tx.borrow().clone();
            }
        };
        self.parts.metrics.set(&self.parts.metrics.used_bytes, used_bytes);
        let space = (options.space)(&self.parts.path);
        match space::check(
            used_bytes,
            options.size_bytes_max,
            space,
            options.free_percent_min,
        ) {
            Ok(()) => IntakeState::Taking,
            Err(full) => IntakeState::Full(full),
        }
    }

    /// Says once when room ends and when it is back.
    fn announce(&self, now: IntakeState) {
        let was_taking = *self.parts.state_tx.borrow() == IntakeState::Taking;
        match &now {
            IntakeState::Full(full) if was_taking => {
                tracing::error!(reason = %full, "intake full, nothing is acknowledged until there is room");
            }
            IntakeState::Taking if !was_taking => tracing::info!("intake takes reports again"),
            _ => {}
        }
        self.parts
            .metrics
            .set(&self.parts.metrics.full, u64::from(now != IntakeState::Taking));
        self.parts.state_tx.send_if_modified(|state| {
            let is_change = *state != now;
            *state = now;
            is_change
        });
    }

    fn process(&mut self, mut batch: Vec<Item>, packer: &mut Packer) {
        let started = Instant::now();
        match self.commit(&mut batch, packer) {
            Ok(outcomes) => {
                self.cursors.committed();
                if outcomes.iter().any(|outcome| !matches!(outcome, Outcome::Done)) {
                    let elapsed_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
                    self.parts.metrics.add(&self.parts.metrics.commits, 1);
                    self.parts.metrics.add(&self.parts.metrics.commit_us, elapsed_us);
                }
                self.answer(batch, outcomes);
            }
            Err(error) => {
                tracing::error!(error = %ErrorChain(&error), items = batch.len(), "intake commit failed, nothing of it is acknowledged");
                self.parts.metrics.add(&self.parts.metrics.commits_failed, 1);
                self.is_damaged |= matches!(&error, BatchError::Sql(source) if is_damaged_file(source));
                self.reopen();
                answer::refuse(batch);
                std::thread::sleep(FAILURE_PAUSE);
            }
        }
    }

    /// Writes everything in one transaction, if there is anything to write.
    fn commit(&mut self, items: &mut [Item], packer: &mut Packer) -> Result<Vec<Outcome>, BatchError> {
        if items.iter().all(|item| matches!(item, Item::Cursors { .. })) {
            return Ok(items.iter().map(|_| Outcome::Done).collect());
        }
        let now_ms = self.parts.clock.now_ms();
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut batch = Batch::new(&transaction, &mut self.cursors, packer);
        let mut outcomes = Vec::with_capacity(items.len());
        for item in items {
            outcomes.push(match item {
                Item::Report(report, _) => Outcome::Taken(batch.report(report)?),
                Item::Definitions(definitions, _) => Outcome::Taken(batch.definitions(definitions, now_ms)?),
                Item::Trim {
                    below,
                    epochs_before_ms,
                    ..
                } => Outcome::Trimmed(batch.trim(*below, *epochs_before_ms)?),
                Item::SetAside {
                    position,
                    consumer,
                    error,
                    at_ms,
                    ..
                } => {
                    batch.set_aside(*position, consumer, error, *at_ms)?;
                    Outcome::Done
                }
                Item::BeginAfter { position, .. } => Outcome::Begun(batch.begin_after(*position)?),
                Item::Cursors { .. } | Item::Close => Outcome::Done,
            });
        }
        batch.finish()?;
        transaction.commit()?;
        Ok(outcomes)
    }

    /// Opens the file anew; what it holds now is the truth, whatever was thought to have failed.
    fn reopen(&mut self) {
        // Whatever follows: what a failed transaction has changed in memory must not be taken for stored.
        self.cursors = Cursors::default();
        self.room_checked = None;
        let given = *self.parts.feed.committed().borrow();
        let opened = self.mend().and_then(|()| open_anew(&self.parts.path, given));
        match opened {
            Ok(opened) => {
                self.connection = opened.connection;
                self.parts.reader.replace(opened.reader);
                if opened.found < given {
                    // Another file than the one that failed. What consumers have not had yet is in memory only.
                    tracing::error!(
                        found = opened.found,
                        given,
                        "intake is another file than before, positions go on after those given"
                    );
                } else {
                    self.parts.feed.reset(opened.found);
                }
                self.is_broken = false;
            }
            Err(error) => {
                // Said once, not at each attempt.
                if !self.is_broken {
                    tracing::error!(error = %ErrorChain(&error), "intake not opened anew, nothing is taken until it is");
                }
                self.is_broken = true;
                self.announce(IntakeState::Broken);
            }
        }
    }

    /// Replaces a file that is at fault by one with what is good of it.
    fn mend(&mut self) -> Result<(), IntakeError> {
        if !self.is_damaged {
            return Ok(());
        }
        // Nothing may hold the old file.
        self.connection = Connection::open_in_memory().map_err(IntakeError::Read)?;
        self.parts
            .reader
            .replace(Connection::open_in_memory().map_err(IntakeError::Read)?);
        let (applied, now_ms) = (self.parts.options.applied, self.parts.clock.now_ms());
        let mended = salvage::ensure_sound(&self.parts.path, applied, now_ms)?;
        self.parts.metrics.note_salvaged(mended);
        self.is_damaged = false;
        Ok(())
    }

    /// While the file can't be opened: holds reports, refuses what does not wait, and tries again after a pause.
    fn recover(&mut self) {
        let deadline = Instant::now() + FAILURE_PAUSE;
        loop {
            match self
                .item_rx
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(Item::Close) | Err(RecvTimeoutError::Disconnected) => {
                    self.is_closing = true;
                    return;
                }
                Ok(held @ (Item::Report(..) | Item::Definitions(..))) => self.held.push_back(held),
                Ok(other) => answer::refuse(vec![other]),
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        self.reopen();
    }
}

/// Whether SQLite says that what it reads can't be.
fn is_damaged_file(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode;
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// A file that was opened again.
struct Opened {
    connection: Connection,
    reader: Connection,
    /// The last position that the file had given.
    found: i64,
}

/// Opens the file for writing and reading; its next position is beyond `given`.
fn open_anew(path: &Utf8Path, given: i64) -> Result<Opened, IntakeError> {
    let connection = schema::open(path)?;
    let reader = schema::open_reader(path)?;
    let open_error = |source| IntakeError::Open {
        path: path.to_owned(),
        source,
    };
    let found = schema::last_position(&connection).map_err(open_error)?;
    schema::raise_position(&connection, given).map_err(open_error)?;
    Ok(Opened {
        connection,
        reader,
        found,
    })
}

impl Item {
    fn size_bytes(&self) -> usize {
        match self {
            Self::Report(incoming, _) => incoming.plain.len(),
            Self::Definitions(incoming, _) => incoming.plain.len(),
            Self::Cursors { .. }
            | Self::Trim { .. }
            | Self::SetAside { .. }
            | Self::BeginAfter { .. }
            | Self::Close => 0,
        }
    }
}
