//! The answering half of a stream: acks, questions, pings, requests of people, the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use muster_base::ErrorChain;
use muster_proto::convert::command_report_from_wire;
use muster_proto::v1::controller_frame::Body;
use muster_proto::v1::{
    self, CloseReason, CollectDone, CollectNow, CommandSeen, Credits, Ping, RenewHint, SetIntervals,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::backlog::Share;
use super::reader::{Event, Progress, Rooms};
use super::{CREDIT_BYTES, End, FrameTx, RETRY_AFTER_MS, Session, acks, close, interval, send, shutdown};
use crate::app::commands::SayError;
use crate::app::live::{AgentRequest, Cadence, Challenge, Collected, Ending, Registration};
use crate::app::presence;
use crate::intake::Answer;

/// How often it is looked after the stream.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The agent is pinged at every second look: every 10 s.
const LOOKS_PER_PING: u32 = 2;
/// Without an answer to a ping for this long the stream is dead; with the time to the next look, 30 s.
const SILENCE_MAX: Duration = Duration::from_secs(25);
/// An agent that does not renew its certificate is reminded this often.
const HINT_EVERY: Duration = Duration::from_secs(600);
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
    rooms: Rooms,
    share: Share,
    hinted: Option<Instant>,
    looks: u32,
    acks: acks::Acks,
    /// Who waits for which collection.
    collections: HashMap<u64, oneshot::Sender<Collected>>,
    /// Numbers for pings and requests.
    numbers: u64,
    /// Counter of the last command that was sent on this stream.
    commanded: u64,
    /// The command key that the agent was told the way to on this stream; empty: none yet.
    key_told: String,
    /// Who wants to know whether this ping is answered.
    challenge: Option<(u64, Challenge)>,
}

impl<'a> Conversation<'a> {
    pub(super) fn new(
        session: &'a Session,
        presence: presence::Connection,
        progress: Arc<Progress>,
        rooms: Rooms,
        frame_tx: FrameTx,
    ) -> Self {
        Self {
            session,
            presence,
            progress,
            frame_tx,
            rooms,
            share: Share::new(Arc::clone(&session.context.backlogs)),
            hinted: None,
            looks: 0,
            acks: acks::Acks::default(),
            collections: HashMap::new(),
            numbers: 0,
            commanded: 0,
            key_told: String::new(),
            challenge: None,
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
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut answered = Vec::new();
        // What waited for the agent to come.
        registration.commands.notify_one();
        let end = loop {
            let step = tokio::select! {
                biased;
                () = stop.cancelled() => Err(shutdown()),
                ending = ending(&mut registration.ending) => Err(ending),
                event = events.recv() => self.attend(event.unwrap_or_else(|| Event::End(Box::new(End::Gone("reading ended"))))).await,
                _ = answers.recv_many(&mut answered, ANSWERS_MAX), if !answers.is_closed() => self.answer(&mut answered).await,
                Some(challenge) = registration.challenges.recv() => self.prove(challenge).await,
                Some(request) = registration.requests.recv() => self.ask(request).await,
                () = registration.commands.notified() => self.command().await,
                Ok(()) = registration.cadence.changed() => {
                    let cadence = *registration.cadence.borrow_and_update();
                    self.set_cadence(cadence).await
                }
                _ = look.tick() => self.look().await,
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
        let count = answers.len();
        let (frames, end) = self.acks.frames(answers.drain(..), Instant::now());
        for body in frames {
            send(&self.frame_tx, body).await?;
        }
        self.rooms.untold.add_permits(count);
        end.map_or(Ok(()), Err)
    }

    async fn attend(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Backlog => {
                self.share.came();
                self.grant().await
            }
            Event::CollectDone(done) => {
                self.collected(*done);
                Ok(())
            }
            Event::CommandStatus(status) => self.status(*status).await,
            Event::Pong(id) => {
                if let Some((_, challenge)) = self.challenge.take_if(|(pinged, _)| *pinged == id) {
                    // Whoever asked may have stopped waiting.
                    let _ = challenge.send(());
                }
                Ok(())
            }
            Event::End(end) => Err(*end),
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

    /// Sends the commands that wait for the agent and were not sent on this stream yet.
    async fn command(&mut self) -> Result<(), End> {
        let session = self.session;
        let generation = session.certificate.generation;
        let commands = session.context.app.commands();
        // Key, the way to it, and what it has signed belong together; nothing waits for the agent meanwhile.
        let held = match commands.hold_key().await {
            Ok(held) => held,
            Err(error) => {
                // They wait, as below.
                tracing::warn!(error = %ErrorChain(&error), "commands not read: which key signs is not known");
                return Ok(());
            }
        };
        let key = commands.key().id;
        let way = match (self.key_told != key).then(|| commands.key_way()).transpose() {
            Ok(way) => way,
            Err(error) => {
                tracing::error!(error = %ErrorChain(&error), "the way to the command key cannot be signed");
                return Ok(());
            }
        };
        let agent = session.admitted.agent;
        let sendings = commands
            .to_send_under(&held, agent, generation, self.commanded)
            .await;
        drop(held);
        if let Some(way) = way {
            if !way.steps.is_empty() {
                send(&self.frame_tx, Body::CommandKeys(way)).await?;
            }
            self.key_told = key;
        }
        let sendings = match sendings {
            Ok(sendings) => sendings,
            Err(error) => {
                // They wait, and are looked for again with the next one or on the next stream.
                tracing::warn!(error = %ErrorChain(&error), "commands not read");
                return Ok(());
            }
        };
        for sending in sendings {
            self.commanded = sending.counter;
            send(&self.frame_tx, Body::Command(sending.envelope)).await?;
        }
        Ok(())
    }

    /// Takes the agent's word of a command, and tells it that it is on disk.
    async fn status(&mut self, status: v1::CommandStatus) -> Result<(), End> {
        let (id, state) = (status.id.clone(), status.state);
        let agent = self.session.admitted.agent;
        match command_report_from_wire(status) {
            Ok(report) => match self.session.context.app.commands().said(agent, &report).await {
                // What is not its own it need not say again.
                Ok(()) | Err(SayError::NotTheirs) => {}
                Err(SayError::Store(error)) => {
                    tracing::warn!(error = %ErrorChain(&error), "an agent's word of a command is not stored");
                    return Ok(());
                }
            },
            Err(error) => {
                // Saying it again would change nothing.
                tracing::warn!(error = %ErrorChain(&error), "an agent's word of a command cannot be taken");
            }
        }
        send(&self.frame_tx, Body::CommandSeen(CommandSeen { id, state })).await
    }

    async fn ask(&mut self, request: AgentRequest) -> Result<(), End> {
        let (collectors, reply) = match request {
            AgentRequest::Collect { collectors, reply } => (collectors, reply),
            AgentRequest::Renew => {
                let before_ms = self.session.certificate.not_after_ms;
                return send(&self.frame_tx, Body::RenewHint(RenewHint { before_ms })).await;
            }
        };
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

    /// Pings for whoever wants to know whether somebody still answers here.
    async fn prove(&mut self, challenge: Challenge) -> Result<(), End> {
        self.numbers += 1;
        self.challenge = Some((self.numbers, challenge));
        let wall_ms = self.session.context.app.clock().now_ms();
        let ping = Ping {
            id: self.numbers,
            wall_ms,
            // Not said with this one: the next of the regular ones says it.
            fleet_size: 0,
        };
        send(&self.frame_tx, Body::Ping(ping)).await
    }

    /// Tells the agent how much backlog it may send, if that has changed.
    async fn grant(&mut self) -> Result<(), End> {
        let Some(backlog_bytes) = self.share.news() else {
            return Ok(());
        };
        let credits = Credits {
            credit_bytes: CREDIT_BYTES,
            backlog_bytes: Some(backlog_bytes),
        };
        send(&self.frame_tx, Body::Credits(credits)).await
    }

    async fn set_cadence(&self, cadence: Option<Cadence>) -> Result<(), End> {
        let Some(cadence) = cadence else {
            return Ok(());
        };
        let set = SetIntervals {
            intervals: vec![interval(cadence)],
            heartbeat_only: cadence.heartbeat_only,
        };
        send(&self.frame_tx, Body::SetIntervals(set)).await
    }

    /// Reminds an agent whose certificate is well past half of its life. Agents renew by themselves at half, give or
    /// take a tenth, unless their clock is wrong.
    async fn hint(&mut self, now_ms: i64) -> Result<(), End> {
        let life = self.session.context.app.settings().agent_certificate_ttl;
        let left_ms = self.session.certificate.not_after_ms.saturating_sub(now_ms);
        let is_due = u128::try_from(left_ms).is_ok_and(|left_ms| left_ms < life.as_millis() * 2 / 5);
        if !is_due || self.hinted.is_some_and(|hinted| hinted.elapsed() < HINT_EVERY) {
            return Ok(());
        }
        self.hinted = Some(Instant::now());
        let hint = RenewHint {
            before_ms: self.session.certificate.not_after_ms,
        };
        send(&self.frame_tx, Body::RenewHint(hint)).await
    }

    /// Looks whether the stream is still what it should be, and pings.
    async fn look(&mut self) -> Result<(), End> {
        let silence = self.progress.silence();
        self.session
            .context
            .app
            .presence()
            .held_up(self.presence, silence.is_none());
        if silence.is_some_and(|silence| SILENCE_MAX <= silence) {
            return Err(End::Gone("no answer to pings for too long"));
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
        self.grant().await?;
        self.hint(now_ms).await?;
        self.looks = self.looks.wrapping_add(1);
        if self.looks % LOOKS_PER_PING != 1 {
            return Ok(());
        }
        let app = &self.session.context.app;
        app.presence().pinged(self.presence, now_ms);
        self.numbers += 1;
        send(
            &self.frame_tx,
            Body::Ping(Ping {
                id: self.numbers,
                wall_ms: now_ms,
                fleet_size: self.session.context.fleet_size(),
            }),
        )
        .await
    }
}

/// Waits until the stream is to be closed from our side.
pub(super) async fn ending(ending: &mut watch::Receiver<Option<Ending>>) -> End {
    let wanted = ending
        .wait_for(Option::is_some)
        .await
        .ok()
        .and_then(|ending| *ending);
    match wanted {
        Some(Ending::Revoked) => close(CloseReason::Revoked, "the identity was revoked", 0, 0),
        Some(Ending::Quarantined) => close(
            CloseReason::Quarantined,
            "the identity is in quarantine: it seems to be in use twice",
            0,
            0,
        ),
        Some(Ending::Again) => close(CloseReason::Overloaded, "connect again", 0, RETRY_AFTER_MS),
        Some(Ending::Replaced) | None => close(
            CloseReason::Replaced,
            "a newer stream of this agent has come",
            0,
            0,
        ),
    }
}
