//! The reading half of a stream: frames, messages, and into the intake.
//!
//! It stops reading, and so the agent sending, while as much is unanswered as may be or the intake has no room.
//! Reports of the live and of the backlog lane are handed in by tasks of their own ([`ways`]), so that their waiting for
//! room holds up nothing more urgent on the same stream.

mod ways;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use muster_base::ErrorChain;
use muster_model::Clock;
use muster_proto::convert;
use muster_proto::framing::{FramingError, Joined, Joiner};
use muster_proto::v1::agent_message::Body as MessageBody;
use muster_proto::v1::{self, AgentFrame, CollectDone, Lane, agent_frame};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tonic::{Code, Status, Streaming};

use self::ways::Waiting;
pub(super) use self::ways::{Rooms, Ways};
use super::metrics::{Breach, Skewed};
use super::{Context, EPOCHS_MAX, End, bad_frame, note};
use crate::app::ingest::{Placement, Source, Timeline, Unacceptable};
use crate::app::presence::{self, is_skewed};
use crate::intake::{Answer, IntakeError, ReplyTo};

/// Events that may wait for the answering half.
pub(super) const EVENTS_MAX: usize = 16;
/// How often the answering half is told that there is backlog.
const BACKLOG_TOLD_EVERY: Duration = Duration::from_secs(5);

/// What the answering half is told. Kept small, because a channel has room for 32 of them from the start.
#[derive(Debug)]
pub(super) enum Event {
    /// A collection that was asked for is over.
    CollectDone(Box<CollectDone>),
    /// How far a command has come.
    CommandStatus(Box<v1::CommandStatus>),
    /// Backlog comes.
    Backlog,
    /// A ping was answered.
    Pong(u64),
    /// Nothing more will be read.
    End(Box<End>),
}

/// When the last answer to a ping came, and whether we are the ones who do not read.
#[derive(Debug)]
pub(super) struct Progress {
    started: Instant,
    last_pong_ms: AtomicU64,
    /// Since when we wait for room, if we do.
    waiting_since_ms: AtomicU64,
    is_waiting: AtomicBool,
    /// How long we have waited since the last answer.
    waited_ms: AtomicU64,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            last_pong_ms: AtomicU64::new(0),
            waiting_since_ms: AtomicU64::new(0),
            is_waiting: AtomicBool::new(false),
            waited_ms: AtomicU64::new(0),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn pong(&self) {
        self.last_pong_ms.store(self.now_ms(), Ordering::Relaxed);
        self.waited_ms.store(0, Ordering::Relaxed);
    }

    fn wait(&self, is_waiting: bool) {
        let now_ms = self.now_ms();
        if is_waiting {
            self.waiting_since_ms.store(now_ms, Ordering::Relaxed);
        } else {
            let since_ms = self.waiting_since_ms.load(Ordering::Relaxed);
            self.waited_ms
                .fetch_add(now_ms.saturating_sub(since_ms), Ordering::Relaxed);
        }
        self.is_waiting.store(is_waiting, Ordering::Relaxed);
    }

    /// How long the agent has answered no ping while we were listening; `None` while it is us who do not read. Other
    /// frames are no answer: a peer that sends and never reads is as good as gone.
    pub(super) fn silence(&self) -> Option<Duration> {
        if self.is_waiting.load(Ordering::Relaxed) {
            return None;
        }
        let last_ms = self.last_pong_ms.load(Ordering::Relaxed);
        let waited_ms = self.waited_ms.load(Ordering::Relaxed);
        let silence_ms = self.now_ms().saturating_sub(last_ms).saturating_sub(waited_ms);
        Some(Duration::from_millis(silence_ms))
    }
}

pub(super) struct Reader {
    pub(super) context: Arc<Context>,
    pub(super) source: Source,
    /// Epochs that reports and definitions of this stream were of.
    pub(super) epochs: Vec<u64>,
    pub(super) presence: presence::Connection,
    pub(super) progress: Arc<Progress>,
    pub(super) rooms: Rooms,
    pub(super) timeline: Timeline,
    pub(super) skewed: Skewed,
    pub(super) answer_tx: mpsc::UnboundedSender<Answer>,
    pub(super) event_tx: mpsc::Sender<Event>,
    pub(super) ways: Ways,
}

impl Reader {
    /// Reads until the stream ends or breaks a rule, and says how.
    pub(super) async fn run(mut self, mut inbound: Streaming<AgentFrame>) {
        let mut joiner = Joiner::default();
        let end = loop {
            let frame = match inbound.message().await {
                Ok(Some(frame)) => frame,
                Ok(None) => break End::Gone("the agent closed it"),
                Err(status) => break unreadable(&status),
            };
            self.context.metrics.count_frame();
            if let Err(end) = self.take(frame, &mut joiner).await {
                break end;
            }
        };
        // If the other half is gone, so is the stream.
        let _ = self.event_tx.send(Event::End(Box::new(end))).await;
    }

    async fn take(&mut self, frame: AgentFrame, joiner: &mut Joiner) -> Result<(), End> {
        let app = &self.context.app;
        let now_ms = app.clock().now_ms();
        match frame.body {
            Some(agent_frame::Body::Fragment(fragment)) => {
                app.presence().frame(self.presence, now_ms);
                let (lane, sequence) = (fragment.lane(), fragment.sequence);
                match joiner.push(fragment) {
                    Ok(Some(joined)) => self.message(joined, lane, sequence).await,
                    Ok(None) => Ok(()),
                    Err(error) => {
                        let breach = breach_of(&error);
                        Err(bad_frame(breach, &ErrorChain(&error).to_string(), sequence))
                    }
                }
            }
            Some(agent_frame::Body::Pong(pong)) => {
                self.progress.pong();
                app.presence().ponged(self.presence, now_ms);
                if let Some(clock) = pong.clock.and_then(|clock| Clock::try_from(clock).ok()) {
                    self.clock(&clock, now_ms);
                }
                // Only somebody who asks for a proof of life wants it; with more waiting it can do without this one.
                let _ = self.event_tx.try_send(Event::Pong(pong.id));
                Ok(())
            }
            Some(agent_frame::Body::Hello(_)) => Err(bad_frame(Breach::Hello, "Hello came twice", 0)),
            // A kind of frame of a newer agent; it knows from Welcome that we may not understand it.
            None => Ok(()),
        }
    }

    /// Takes a reading of the agent's clocks.
    pub(super) fn clock(&mut self, clock: &Clock, now_ms: i64) {
        let app = &self.context.app;
        let reading = self.timeline.read(clock, now_ms);
        app.presence().clock_read(self.presence, reading.skew_ms);
        self.skewed.set(is_skewed(reading.skew_ms));
        if let Some(offset_ms) = reading.news_ms {
            let (app, agent, boot_id) = (Arc::clone(app), self.source.agent, clock.boot_id.clone());
            tokio::spawn(async move { note::keep_offset(&app, agent, &boot_id, offset_ms, now_ms).await });
        }
    }

    /// How the times of a report are to be read.
    async fn place(&self, clock: &Clock) -> Placement {
        if self.timeline.is_to_be_asked(&clock.boot_id) {
            let store = self.context.app.store();
            match store.boot_offset(self.source.agent, &clock.boot_id).await {
                Ok(known) => {
                    if let Some(offset_ms) = known {
                        self.timeline.remember(&clock.boot_id, offset_ms);
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %ErrorChain(&error), "clock of an earlier boot not read");
                }
            }
        }
        self.timeline.place(clock, self.context.app.clock().now_ms())
    }

    async fn message(&mut self, joined: Joined, lane: Lane, sequence: u64) -> Result<(), End> {
        match joined.message.body {
            Some(MessageBody::Report(report)) => self.report(report, joined.plain, lane, sequence).await,
            Some(MessageBody::Definitions(definitions)) => self.definitions(definitions, joined.plain).await,
            Some(MessageBody::CollectDone(done)) => {
                let told = self.event_tx.send(Event::CollectDone(Box::new(done))).await;
                told.map_err(|_| End::Gone("already closed"))
            }
            Some(MessageBody::CommandStatus(status)) => {
                let told = self.event_tx.send(Event::CommandStatus(Box::new(status))).await;
                told.map_err(|_| End::Gone("already closed"))
            }
            // Kinds of a newer agent are not answered.
            None => Ok(()),
        }
    }

    async fn report(
        &mut self,
        report: v1::Report,
        plain: Vec<u8>,
        lane: Lane,
        sequence: u64,
    ) -> Result<(), End> {
        self.context.metrics.count_report();
        if report.sequence == 0 {
            return Err(bad_frame(Breach::Numbers, "a report without a number", sequence));
        }
        self.know_epoch(report.epoch, report.sequence)?;
        let (epoch, number) = (report.epoch, report.sequence);
        let what = match convert::report_from_wire(report) {
            Ok(report) => {
                let placement = self.place(&report.clock).await;
                Ok((report, placement))
            }
            Err(error) => {
                // It can be read, so sending it again would change nothing: it is refused once and for all.
                self.context.metrics.count_unacceptable();
                Err(Unacceptable {
                    epoch,
                    sequence: number,
                    reason: ErrorChain(&error).to_string(),
                })
            }
        };
        if lane == Lane::Backlog {
            self.count_late().await?;
        }
        if lane != Lane::Alert {
            let room = self.rooms.of(lane);
            let credit = self.wait_for_room(room, plain.len()).await?;
            let way = self.ways.of(lane);
            return self.handed_in(way.send(Waiting { what, plain, credit }));
        }
        let credit = self.wait_for_room(self.rooms.of(lane), plain.len()).await?;
        let reply_to = ReplyTo::new(self.answer_tx.clone(), Some(credit));
        let ingest = &self.context.ingest;
        let handed_in = match what {
            Ok((report, placement)) => {
                ingest
                    .report(self.source, report, plain, placement, reply_to)
                    .await
            }
            Err(unacceptable) => ingest.refuse(self.source, unacceptable, reply_to).await,
        };
        self.handed_in(handed_in)
    }

    /// Counts a report of the backlog lane, and tells the answering half now and then that there are some.
    async fn count_late(&mut self) -> Result<(), End> {
        self.context.metrics.count_backlog();
        let told = &mut self.ways.told;
        if told.is_some_and(|told| told.elapsed() < BACKLOG_TOLD_EVERY) {
            return Ok(());
        }
        *told = Some(Instant::now());
        let sent = self.event_tx.send(Event::Backlog).await;
        sent.map_err(|_| End::Gone("already closed"))
    }

    async fn definitions(&mut self, definitions: v1::Definitions, plain: Vec<u8>) -> Result<(), End> {
        if definitions.first_id == 0 {
            return Err(bad_frame(Breach::Numbers, "definitions begin with id 1", 0));
        }
        self.know_epoch(definitions.epoch, 0)?;
        let credit = self
            .wait_for_room(self.rooms.of(Lane::Control), plain.len())
            .await?;
        let reply_to = ReplyTo::new(self.answer_tx.clone(), Some(credit));
        let (first_id, count) = (definitions.first_id, definitions.series.len());
        let ingest = &self.context.ingest;
        let handed_in = ingest
            .definitions(self.source, definitions.epoch, first_id, count, plain, reply_to)
            .await;
        self.handed_in(handed_in)
    }

    /// One stream has a few epochs: each costs a cursor for a month.
    fn know_epoch(&mut self, epoch: u64, sequence: u64) -> Result<(), End> {
        if self.epochs.contains(&epoch) {
            return Ok(());
        }
        if EPOCHS_MAX <= self.epochs.len() {
            return Err(bad_frame(Breach::Numbers, "reports of too many epochs", sequence));
        }
        self.epochs.push(epoch);
        Ok(())
    }

    /// Waits until less is unanswered, and less answered and not told. What is taken here is given back with the
    /// answer.
    async fn wait_for_room(
        &self,
        room: &Arc<Semaphore>,
        size_bytes: usize,
    ) -> Result<OwnedSemaphorePermit, End> {
        let closed = |_| End::Gone("already closed");
        // Who does not listen to answers gets no patience for it.
        self.rooms.untold.acquire().await.map_err(closed)?.forget();
        self.progress.wait(true);
        let wanted = u32::try_from(size_bytes.clamp(1, ways::ROOM_BYTES_MIN)).unwrap_or(u32::MAX);
        Arc::clone(room).acquire_many_owned(wanted).await.map_err(closed)
    }

    fn handed_in(&self, result: Result<(), IntakeError>) -> Result<(), End> {
        self.progress.wait(false);
        result.map_err(|_| super::shutdown())
    }
}

/// How a stream ends that can't be read on. A message that is too long or no message breaks a rule; anything else
/// is the connection.
pub(super) fn unreadable(status: &Status) -> End {
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => {
            bad_frame(Breach::FrameTooLong, "a frame is longer than a frame may be", 0)
        }
        Code::Internal if status.message().contains("decode") => {
            bad_frame(Breach::FrameUnreadable, "a frame is no message", 0)
        }
        _ => End::Gone("connection lost"),
    }
}

const fn breach_of(error: &FramingError) -> Breach {
    match error {
        FramingError::MessageTooLong { .. } => Breach::MessageTooLong,
        FramingError::FrameTooLong { .. } => Breach::FrameTooLong,
        FramingError::Header(_) => Breach::Header,
        FramingError::Decompress(_) | FramingError::Compress(_) | FramingError::Decode(_) => {
            Breach::MessageUnreadable
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_agent_is_silent_only_while_we_are_reading() {
        let progress = Progress::new();
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(progress.silence(), Some(Duration::from_secs(31)));
        progress.wait(true);
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(progress.silence(), None);
        progress.wait(false);
        assert_eq!(progress.silence(), Some(Duration::from_secs(31)));
        progress.pong();
        assert_eq!(progress.silence(), Some(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn frames_are_no_answer_to_pings() {
        let progress = Progress::new();
        for _ in 0..25 {
            progress.wait(true);
            progress.wait(false);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(progress.silence(), Some(Duration::from_secs(25)));
    }
}
