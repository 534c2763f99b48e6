//! The answering half of a stream: acks, questions, pings, requests of people, the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use muster_proto::v1::controller_frame::Body;
use muster_proto::v1::{CloseReason, CollectDone, CollectNow, Ping};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::reader::{Event, Progress};
use super::{End, FrameTx, Session, acks, close, send, shutdown};
use crate::app::live::{AgentRequest, Collected, Ending, Registration};
use crate::app::presence;
use crate::intake::Answer;

/// How often the agent is pinged.
const PING_EVERY: Duration = Duration::from_secs(10);
/// Without any frame for this long the stream is dead.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Collections that may be under way on one stream.
const COLLECTIONS_MAX: usize = 32;
/// Answers that are made into frames at once.
const ANSWERS_MAX: usize = 1_024;
/// How long the last answers of a stream are waited for.
const LAST_ANSWERS_MAX: Duration = Duration::from_secs(1);

/// The answering half of a stream.
pub(super) struct Conversation<'a> {
    session: &'a Session,
    presence: presence::Connection,
    progress: Arc<Progress>,
    frame_tx: FrameTx,
    acks: acks::Acks,
    /// Who waits for which collection.
    collections: HashMap<u64, oneshot::Sender<Collected>>,
    /// Numbers for pings and requests.
    numbers: u64,
}

impl<'a> Conversation<'a> {
    pub(super) fn new(
        session: &'a Session,
        presence: presence::Connection,
        progress: Arc<Progress>,
        frame_tx: FrameTx,
    ) -> Self {
        Self {
            session,
            presence,
            progress,
            frame_tx,
            acks: acks::Acks::default(),
            collections: HashMap::new(),
            numbers: 0,
        }
    }

    /// Answers until the stream ends, and says how it does.
    pub(super) async fn run(
        mut self,
        mut registration: Registration,
        mut answers: mpsc::UnboundedReceiver<Answer>,
        mut events: mpsc::Receiver<Event>,
        reading: JoinHandle<()>,
    ) -> End {
        let stop = self.session.context.stop.clone();
        let mut ping = tokio::time::interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut answered = Vec::new();
        let end = loop {
            let step = tokio::select! {
                biased;
                () = stop.cancelled() => Err(shutdown()),
                ending = ending(&mut registration.ending) => Err(ending),
                event = events.recv() => self.attend(event.unwrap_or(Event::End(End::Gone("reading ended")))),
                _ = answers.recv_many(&mut answered, ANSWERS_MAX), if !answers.is_closed() => self.answer(&mut answered).await,
                Some(request) = registration.requests.recv() => self.ask(request).await,
                _ = ping.tick() => self.ping().await,
            };
            if let Err(end) = step {
                break end;
            }
        };
        reading.abort();
        self.answer_the_rest(answers).await;
        end
    }

    /// Acknowledges what was handed in before the end; what it does not hear of, the agent sends again.
    async fn answer_the_rest(&mut self, mut answers: mpsc::UnboundedReceiver<Answer>) {
        let deadline = Instant::now() + LAST_ANSWERS_MAX;
        let mut answered = Vec::new();
        while let Ok(1..) =
            tokio::time::timeout_at(deadline, answers.recv_many(&mut answered, ANSWERS_MAX)).await
        {
            if self.answer(&mut answered).await.is_err() {
                return;
            }
        }
    }

    /// Makes frames of what the intake has answered.
    async fn answer(&mut self, answers: &mut Vec<Answer>) -> Result<(), End> {
        for body in self.acks.frames(answers.drain(..), Instant::now())? {
            send(&self.frame_tx, body).await?;
        }
        Ok(())
    }

    fn attend(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::CollectDone(done) => {
                self.collected(done);
                Ok(())
            }
            Event::End(end) => Err(end),
        }
    }

    fn collected(&mut self, done: CollectDone) {
        if let Some(reply) = self.collections.remove(&done.request_id) {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(Collected {
                success: done.success,
                message: done.message,
                agent: self.session.admitted.agent,
                epoch: done.epoch,
                last_sequence: done.last_sequence,
            });
        }
    }

    async fn ask(&mut self, request: AgentRequest) -> Result<(), End> {
        let AgentRequest::Collect { collectors, reply } = request;
        self.collections.retain(|_, waiting| !waiting.is_closed());
        if COLLECTIONS_MAX <= self.collections.len() {
            // Dropping the reply tells the asker that there will be no answer.
            return Ok(());
        }
        self.numbers += 1;
        self.collections.insert(self.numbers, reply);
        send(
            &self.frame_tx,
            Body::CollectNow(CollectNow {
                request_id: self.numbers,
                collectors,
            }),
        )
        .await
    }

    /// Pings, and looks whether the stream is still what it should be.
    async fn ping(&mut self) -> Result<(), End> {
        if self
            .progress
            .silence()
            .is_some_and(|silence| SILENCE_MAX <= silence)
        {
            return Err(End::Gone("silent for too long"));
        }
        let app = &self.session.context.app;
        let now_ms = app.clock().now_ms();
        if self.session.certificate.not_after_ms <= now_ms {
            return Err(close(
                CloseReason::Unspecified,
                "the client certificate has expired",
                0,
                0,
            ));
        }
        app.presence().pinged(self.presence, now_ms);
        self.numbers += 1;
        send(
            &self.frame_tx,
            Body::Ping(Ping {
                id: self.numbers,
                wall_ms: now_ms,
                fleet_size: 0,
            }),
        )
        .await
    }
}

/// Waits until the stream is to be closed from our side.
async fn ending(ending: &mut watch::Receiver<Option<Ending>>) -> End {
    let wanted = ending
        .wait_for(Option::is_some)
        .await
        .ok()
        .and_then(|ending| *ending);
    match wanted {
        Some(Ending::Revoked) => close(CloseReason::Revoked, "the identity was revoked", 0, 0),
        Some(Ending::Again) => close(CloseReason::Overloaded, "connect again", 0, 0),
        Some(Ending::Replaced) | None => close(
            CloseReason::Replaced,
            "a newer stream of this agent has come",
            0,
            0,
        ),
    }
}
