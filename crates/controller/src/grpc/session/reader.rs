//! The reading half of a stream: frames, messages, and into the intake.
//!
//! It stops reading, and so the agent sending, while as much is unanswered as may be or the intake has no room.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use muster_base::ErrorChain;
use muster_proto::convert;
use muster_proto::framing::{Joined, Joiner};
use muster_proto::v1::agent_message::Body as MessageBody;
use muster_proto::v1::{self, AgentFrame, CollectDone, agent_frame};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tonic::{Code, Status, Streaming};

use super::{Context, EPOCHS_MAX, End, bad_frame};
use crate::app::ingest::{Source, Unacceptable};
use crate::app::presence;
use crate::intake::{Answer, IntakeError, ReplyTo};

/// Events that may wait for the answering half.
pub(super) const EVENTS_MAX: usize = 16;
/// Bytes of messages, decompressed, that may be unanswered. The agent counts its credit as it likes, so this is
/// more than what it is promised.
pub(super) const UNANSWERED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the answering half is told.
#[derive(Debug)]
pub(super) enum Event {
    /// A collection that was asked for is over.
    CollectDone(CollectDone),
    /// Nothing more will be read.
    End(End),
}

/// When the last frame came, and whether we are the ones who do not read.
#[derive(Debug)]
pub(super) struct Progress {
    started: Instant,
    last_frame_ms: AtomicU64,
    is_waiting: AtomicBool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            last_frame_ms: AtomicU64::new(0),
            is_waiting: AtomicBool::new(false),
        }
    }

    fn frame(&self) {
        let since_start = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_frame_ms.store(since_start, Ordering::Relaxed);
    }

    fn wait(&self, is_waiting: bool) {
        self.frame();
        self.is_waiting.store(is_waiting, Ordering::Relaxed);
    }

    /// How long the agent has been silent; `None` while it is us who do not read.
    pub(super) fn silence(&self) -> Option<Duration> {
        if self.is_waiting.load(Ordering::Relaxed) {
            return None;
        }
        let last = Duration::from_millis(self.last_frame_ms.load(Ordering::Relaxed));
        Some(self.started.elapsed().saturating_sub(last))
    }
}

pub(super) struct Reader {
    pub(super) context: Arc<Context>,
    pub(super) source: Source,
    /// Epochs that reports and definitions of this stream were of.
    pub(super) epochs: Vec<u64>,
    pub(super) presence: presence::Connection,
    pub(super) progress: Arc<Progress>,
    pub(super) room: Arc<Semaphore>,
    pub(super) answer_tx: mpsc::UnboundedSender<Answer>,
    pub(super) event_tx: mpsc::Sender<Event>,
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
            self.progress.frame();
            self.context.metrics.count_frame();
            if let Err(end) = self.take(frame, &mut joiner).await {
                break end;
            }
        };
        // If the other half is gone, so is the stream.
        let _ = self.event_tx.send(Event::End(end)).await;
    }

    async fn take(&mut self, frame: AgentFrame, joiner: &mut Joiner) -> Result<(), End> {
        let app = &self.context.app;
        let now_ms = app.clock().now_ms();
        match frame.body {
            Some(agent_frame::Body::Fragment(fragment)) => {
                app.presence().frame(self.presence, now_ms);
                let sequence = fragment.sequence;
                match joiner.push(fragment) {
                    Ok(Some(joined)) => self.message(joined, sequence).await,
                    Ok(None) => Ok(()),
                    Err(error) => Err(bad_frame(&ErrorChain(&error).to_string(), sequence)),
                }
            }
            Some(agent_frame::Body::Pong(_)) => {
                app.presence().ponged(self.presence, now_ms);
                Ok(())
            }
            Some(agent_frame::Body::Hello(_)) => Err(bad_frame("Hello came twice", 0)),
            // A kind of frame of a newer agent; it knows from Welcome that we may not understand it.
            None => Ok(()),
        }
    }

    async fn message(&mut self, joined: Joined, sequence: u64) -> Result<(), End> {
        match joined.message.body {
            Some(MessageBody::Report(report)) => self.report(report, joined.plain, sequence).await,
            Some(MessageBody::Definitions(definitions)) => self.definitions(definitions, joined.plain).await,
            Some(MessageBody::CollectDone(done)) => {
                let told = self.event_tx.send(Event::CollectDone(done)).await;
                told.map_err(|_| End::Gone("already closed"))
            }
            // Nothing is commanded yet, so there is nothing to have a status; and kinds of a newer agent are
            // not answered.
            Some(MessageBody::CommandStatus(_)) | None => Ok(()),
        }
    }

    async fn report(&mut self, report: v1::Report, plain: Vec<u8>, sequence: u64) -> Result<(), End> {
        self.context.metrics.count_report();
        if report.sequence == 0 {
            return Err(bad_frame("a report without a number", sequence));
        }
        self.know_epoch(report.epoch, report.sequence)?;
        let (epoch, number) = (report.epoch, report.sequence);
        let reply_to = self.wait_for_room(plain.len()).await?;
        let handed_in = match convert::report_from_wire(report) {
            Ok(report) => {
                self.context
                    .ingest
                    .report(self.source, report, plain, reply_to)
                    .await
            }
            Err(error) => {
                // It can be read, so sending it again would change nothing: it is refused once and for all.
                let reason = ErrorChain(&error).to_string();
                let unacceptable = Unacceptable {
                    epoch,
                    sequence: number,
                    reason,
                };
                self.context
                    .ingest
                    .refuse(self.source, unacceptable, reply_to)
                    .await
            }
        };
        self.handed_in(handed_in)
    }

    async fn definitions(&mut self, definitions: v1::Definitions, plain: Vec<u8>) -> Result<(), End> {
        if definitions.first_id == 0 {
            return Err(bad_frame("definitions begin with id 1", 0));
        }
        self.know_epoch(definitions.epoch, 0)?;
        let reply_to = self.wait_for_room(plain.len()).await?;
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
            return Err(bad_frame("reports of too many epochs", sequence));
        }
        self.epochs.push(epoch);
        Ok(())
    }

    /// Waits until less is unanswered. What is taken here is given back with the answer.
    async fn wait_for_room(&self, size_bytes: usize) -> Result<ReplyTo, End> {
        self.progress.wait(true);
        let wanted = u32::try_from(size_bytes.min(UNANSWERED_BYTES_MAX)).unwrap_or(u32::MAX);
        let credit = Arc::clone(&self.room).acquire_many_owned(wanted).await;
        let credit = credit.map_err(|_| End::Gone("already closed"))?;
        Ok(ReplyTo::new(self.answer_tx.clone(), Some(credit)))
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
        Code::OutOfRange | Code::ResourceExhausted => bad_frame("a frame is longer than a frame may be", 0),
        Code::Internal if status.message().contains("decode") => bad_frame("a frame is no message", 0),
        _ => End::Gone("connection lost"),
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
        assert_eq!(progress.silence(), Some(Duration::ZERO));
    }
}
