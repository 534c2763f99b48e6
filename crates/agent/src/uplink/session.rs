//! One stream, from `Hello` to its end.

#[cfg(feature = "testing")]
mod driven;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use muster_model::{CommandRefusal, RangeSet};
use muster_proto::PROTOCOL_VERSION;
use muster_proto::convert::{
    CommandReport, command_report_to_wire, ranges_from_wire, ranges_to_wire, uuid_from_wire,
};
use muster_proto::v1::agent_frame::Body as AgentBody;
use muster_proto::v1::agent_link_client::AgentLinkClient;
use muster_proto::v1::agent_message::Body as MessageBody;
use muster_proto::v1::controller_frame::Body as ControllerBody;
use muster_proto::v1::{
    Ack, AgentFrame, Close, CloseReason, CollectDone, CollectNow, Command, CommandEnvelope, CommandState,
    CommandStatus, ControllerFrame, Credits, HeldEpoch, Hello, Interval, NeedDefinitions, Ping, Pong,
    Welcome,
};
use prost::Message as _;
use rustls::ClientConfig;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::{debug, info, warn};

use super::connect;
use super::ended::{Ended, SessionError};
use super::outgoing::Outgoing;
use super::{AGENT_VERSION, Cadence, Collected, Control, Uplink};
use crate::command::link::Link;
use crate::outbox::{Credit, Refusal, StoreMark};

#[cfg(feature = "testing")]
pub use self::driven::{Driven, Over};

/// The controller pings every 10 s; after this long without a frame it is gone.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long a controller may take to welcome.
pub(super) const WELCOME_TIMEOUT: Duration = Duration::from_secs(20);
/// Frames between the session and the connection; with 64 KiB each this bounds what a slow link holds up.
const FRAMES_MAX: usize = 4;
/// Longest frame of a controller.
const CONTROLLER_FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Requests for definitions without an acknowledgement between them, after which the stream is given up.
const DEFINITION_REQUESTS_MAX: u32 = 5;
/// What of the alert lane may be unacknowledged where the controller says nothing of it.
const ALERT_BYTES: u64 = 256 * 1024;
/// Collections that may be asked for at once.
const COLLECTIONS_MAX: usize = 8;
/// Intervals taken from one frame.
const INTERVALS_MAX: usize = 256;

/// A stream and what was said on it.
pub(super) struct Session<'a> {
    uplink: &'a Uplink,
    tls: watch::Receiver<Arc<ClientConfig>>,
    outgoing: Outgoing,
    credit: Credit,
    fleet_size: u32,
    is_welcome: bool,
    acks: u64,
    definition_requests: u32,
    collections: FuturesUnordered<BoxFuture<'static, CollectDone>>,
}

impl<'a> Session<'a> {
    /// A session with what `tls` holds now, until that changes.
    pub(super) fn new(uplink: &'a Uplink, tls: watch::Receiver<Arc<ClientConfig>>, in_order: bool) -> Self {
        Self {
            uplink,
            tls,
            outgoing: Outgoing::new(in_order),
            credit: credit(0, None, None),
            fleet_size: 0,
            is_welcome: false,
            acks: 0,
            definition_requests: 0,
            collections: FuturesUnordered::new(),
        }
    }

    /// Whether the controller has welcomed the agent.
    pub(super) const fn is_welcome(&self) -> bool {
        self.is_welcome
    }

    /// Whether anything was acknowledged: only then the next try may come as quickly as the first one.
    pub(super) const fn was_of_use(&self) -> bool {
        0 < self.acks
    }

    /// How many agents the controller says it has; 0 if it did not say.
    pub(super) const fn fleet_size(&self) -> u32 {
        self.fleet_size
    }

    /// Connects, greets and stays until the stream ends.
    pub(super) async fn run(&mut self) -> Result<Ended, SessionError> {
        let tls = Arc::clone(&self.tls.borrow_and_update());
        let channel = connect::open_from(self.uplink.source, &self.uplink.config.controller, &tls).await?;
        let mut client = AgentLinkClient::new(channel).max_decoding_message_size(CONTROLLER_FRAME_BYTES_MAX);
        let (frames_tx, frames_rx) = mpsc::channel(FRAMES_MAX);
        let counter = match &self.uplink.commands {
            Some(commands) => commands.counter().await,
            None => None,
        };
        let hello = AgentFrame {
            body: Some(AgentBody::Hello(self.hello(counter))),
        };
        frames_tx.try_send(hello).map_err(|_| SessionError::Closed)?;
        let greeting = async {
            let mut inbound = client.connect(ReceiverStream::new(frames_rx)).await?.into_inner();
            let first = inbound.message().await?;
            Ok::<_, Status>((inbound, first))
        };
        let (inbound, first) = tokio::time::timeout(WELCOME_TIMEOUT, greeting)
            .await
            .map_err(|_| SessionError::NoWelcome)??;
        match first.and_then(|frame| frame.body) {
            Some(ControllerBody::Welcome(welcome)) => self.welcome(welcome)?,
            Some(ControllerBody::Close(close)) => return Ok(self.close(close)),
            _ => return Err(SessionError::NotAWelcome),
        }
        self.stay(inbound, frames_tx).await
    }

    async fn stay(
        &mut self,
        mut inbound: Streaming<ControllerFrame>,
        frames_tx: mpsc::Sender<AgentFrame>,
    ) -> Result<Ended, SessionError> {
        let outbox = &self.uplink.outbox;
        let mut silent_at = Instant::now() + SILENCE_MAX;
        loop {
            self.outgoing.refill(outbox, self.credit)?;
            tokio::select! {
                frame = inbound.message() => {
                    let Some(frame) = frame? else {
                        return Ok(Ended::WithoutReason);
                    };
                    silent_at = Instant::now() + SILENCE_MAX;
                    if let Some(ended) = self.take(frame)? {
                        return Ok(ended);
                    }
                }
                permit = frames_tx.reserve(), if !self.outgoing.is_empty() => {
                    let permit = permit.map_err(|_| SessionError::Closed)?;
                    if let Some(frame) = self.outgoing.pop() {
                        permit.send(frame);
                    }
                }
                Some(done) = self.collections.next(), if !self.collections.is_empty() => {
                    self.outgoing.control(MessageBody::CollectDone(done))?;
                }
                report = next_report(self.uplink.commands.as_ref()), if self.outgoing.has_room() => {
                    let status = command_report_to_wire(&report);
                    self.outgoing.control(MessageBody::CommandStatus(status))?;
                }
                () = outbox.changed() => {}
                // Whoever asked for a collection waits on this stream for its end.
                Ok(()) = self.tls.changed(), if self.collections.is_empty() => return Ok(Ended::Renewed),
                () = tokio::time::sleep_until(silent_at) => return Err(SessionError::Silent),
            }
        }
    }

    fn hello(&self, command_counter: Option<u64>) -> Hello {
        let outbox = &self.uplink.outbox;
        let store = outbox.store();
        Hello {
            protocol: PROTOCOL_VERSION,
            agent_version: AGENT_VERSION.to_owned(),
            hostname: self.uplink.config.hostname.clone(),
            clock: Some(self.uplink.clocks.now().into()),
            epoch: outbox.epoch(),
            epochs: outbox
                .listed()
                .into_iter()
                .map(|held| HeldEpoch {
                    epoch: held.epoch,
                    held: ranges_to_wire(&held.held),
                    definitions: held.definitions,
                    last_clock: held.last_clock.map(Into::into),
                })
                .collect(),
            store_id: store
                .map(|store| store.id.as_bytes().to_vec())
                .unwrap_or_default(),
            store_epoch: store.map_or(0, |store| store.epoch),
            built_ms: crate::clocks::BUILT_MS,
            command_counter,
        }
    }

    fn welcome(&mut self, welcome: Welcome) -> Result<(), SessionError> {
        if welcome.protocol != PROTOCOL_VERSION {
            return Err(SessionError::Protocol {
                theirs: welcome.protocol,
            });
        }
        let store = StoreMark {
            id: uuid_from_wire("store_id", &welcome.store_id)?,
            epoch: welcome.store_epoch,
        };
        let outbox = &self.uplink.outbox;
        self.credit = credit(welcome.credit_bytes, welcome.backlog_bytes, welcome.alert_bytes);
        self.fleet_size = welcome.fleet_size;
        self.is_welcome = true;
        self.uplink.connected();
        let waiting: Vec<u64> = outbox.epochs().into_iter().map(|held| held.epoch).collect();
        for held in outbox.listed() {
            let state = welcome.epochs.iter().find(|state| state.epoch == held.epoch);
            if state.is_none() && !waiting.contains(&held.epoch) {
                // Nothing of it waits, and nothing was said of it: that is no word of a loss.
                continue;
            }
            let stored = state.map_or(Ok(RangeSet::default()), |state| ranges_from_wire(&state.stored))?;
            let defined = state.map_or(0, |state| state.definitions);
            self.outgoing
                .start_after(held.epoch, defined.min(held.definitions));
            let acked = if held.epoch == outbox.epoch() {
                outbox.welcome(&stored, store)
            } else {
                outbox.welcome_past(held.epoch, &stored)
            };
            self.acks += acked.len() as u64;
            self.uplink.tell_acked(held.epoch, acked);
        }
        outbox.push_gaps(self.uplink.clocks.now());
        self.set_cadence(welcome.intervals, welcome.heartbeat_only);
        if let Some(commands) = &self.uplink.commands {
            commands.attach();
        }
        Ok(())
    }

    /// Takes a frame; `Some` if it is the last one.
    fn take(&mut self, frame: ControllerFrame) -> Result<Option<Ended>, SessionError> {
        match frame.body {
            Some(ControllerBody::Ack(ack)) => self.ack(&ack)?,
            Some(ControllerBody::NeedDefinitions(need)) => self.need_definitions(&need)?,
            Some(ControllerBody::CollectNow(request)) => self.collect_now(request)?,
            Some(ControllerBody::SetIntervals(set)) => self.set_cadence(set.intervals, set.heartbeat_only),
            Some(ControllerBody::Credits(Credits {
                credit_bytes,
                backlog_bytes,
            })) => self.credit = credit(credit_bytes, backlog_bytes, Some(self.credit.alert_bytes)),
            Some(ControllerBody::Ping(ping)) => self.pong(&ping)?,
            Some(ControllerBody::RenewHint(hint)) => {
                info!(
                    before_ms = hint.before_ms,
                    "the controller would have the certificate renewed"
                );
                self.uplink.credentials.hint();
            }
            Some(ControllerBody::Command(envelope)) => self.command(&envelope)?,
            Some(ControllerBody::CommandKeys(keys)) => {
                if let Some(commands) = &self.uplink.commands {
                    commands.keys(keys);
                }
            }
            Some(ControllerBody::CommandSeen(seen)) => {
                if let Some(commands) = &self.uplink.commands {
                    commands.seen(&seen);
                }
            }
            Some(ControllerBody::Close(close)) => return Ok(Some(self.close(close))),
            Some(ControllerBody::Welcome(_)) => return Err(SessionError::NotAWelcome),
            // A kind of frame of a newer controller.
            None => debug!("frame of an unknown kind is ignored"),
        }
        Ok(None)
    }

    fn ack(&mut self, ack: &Ack) -> Result<(), SessionError> {
        let stored = ranges_from_wire(&ack.stored)?;
        let acked = self.uplink.outbox.ack(ack.epoch, &stored);
        self.acks += acked.len() as u64;
        self.definition_requests = 0;
        self.uplink.tell_acked(ack.epoch, acked);
        Ok(())
    }

    fn need_definitions(&mut self, need: &NeedDefinitions) -> Result<(), SessionError> {
        self.definition_requests += 1;
        if DEFINITION_REQUESTS_MAX < self.definition_requests {
            return Err(SessionError::DefinitionsAskedAgain);
        }
        self.outgoing.define_from(need.epoch, need.from_id);
        self.outgoing.forget_next();
        self.uplink.outbox.rewind();
        Ok(())
    }

    fn collect_now(&mut self, request: CollectNow) -> Result<(), SessionError> {
        let epoch = self.uplink.outbox.epoch();
        let refusal = |message: &str| CollectDone {
            request_id: request.request_id,
            success: false,
            message: message.to_owned(),
            epoch,
            last_sequence: 0,
        };
        if COLLECTIONS_MAX <= self.collections.len() {
            return self
                .outgoing
                .control(MessageBody::CollectDone(refusal("too many collections at once")));
        }
        let (reply, answer) = oneshot::channel();
        let control = Control::CollectNow {
            collectors: request.collectors,
            reply,
        };
        let is_taken = self
            .uplink
            .control_tx
            .as_ref()
            .is_some_and(|tx| tx.try_send(control).is_ok());
        if !is_taken {
            return self
                .outgoing
                .control(MessageBody::CollectDone(refusal("the agent can't collect now")));
        }
        let abandoned = refusal("the agent gave up the collection");
        self.collections.push(Box::pin(async move {
            match answer.await {
                Ok(Collected {
                    success,
                    message,
                    last_sequence,
                }) => CollectDone {
                    success,
                    message,
                    last_sequence,
                    ..abandoned
                },
                Err(_) => abandoned,
            }
        }));
        Ok(())
    }

    fn set_cadence(&self, intervals: Vec<Interval>, heartbeat_only: bool) {
        if intervals.is_empty() && !heartbeat_only {
            return;
        }
        let wanted = intervals.into_iter().take(INTERVALS_MAX).map(|interval| {
            let every = Duration::from_millis(interval.interval_ms.into());
            (interval.collector, Some(every).filter(|every| !every.is_zero()))
        });
        let cadence = Cadence {
            intervals: wanted.collect(),
            heartbeat_only,
        };
        let sent = self
            .uplink
            .control_tx
            .as_ref()
            .map(|tx| tx.try_send(Control::SetCadence(cadence)));
        if let Some(Err(_)) = sent {
            warn!("intervals from the controller are lost: too many requests at once");
        }
    }

    fn pong(&mut self, ping: &Ping) -> Result<(), SessionError> {
        self.uplink.credentials.time().learn_and_keep(ping.wall_ms);
        if ping.fleet_size != 0 {
            self.fleet_size = ping.fleet_size;
        }
        self.outgoing.pong(Pong {
            id: ping.id,
            clock: Some(self.uplink.clocks.now().into()),
        })
    }

    /// Hands a command on as it came.
    fn command(&mut self, envelope: &CommandEnvelope) -> Result<(), SessionError> {
        match &self.uplink.commands {
            Some(commands) => {
                commands.command(envelope, self.uplink.credentials.now_ms());
                Ok(())
            }
            None => self.refuse(envelope),
        }
    }

    /// Answers a command where nothing takes any. The id is read to name the command, and nothing else of it.
    fn refuse(&mut self, envelope: &CommandEnvelope) -> Result<(), SessionError> {
        let id = Command::decode(envelope.command.as_slice())
            .map(|command| command.id)
            .unwrap_or_default();
        warn!(
            key_id = envelope.key_id,
            "a command was refused: nothing takes any here"
        );
        self.outgoing.control(MessageBody::CommandStatus(CommandStatus {
            id,
            state: CommandState::Refused.into(),
            progress: None,
            message: "this agent takes no commands".to_owned(),
            reason: CommandRefusal::NoExecutor.as_str().to_owned(),
            ..CommandStatus::default()
        }))
    }

    fn close(&self, close: Close) -> Ended {
        let reason = close.reason();
        if reason == CloseReason::BadFrame && close.sequence != 0 {
            match self.uplink.outbox.refused(close.sequence) {
                Refusal::ReplacedByGap => {
                    warn!(
                        sequence = close.sequence,
                        "report was refused twice and is now a gap"
                    );
                }
                Refusal::SentAgain | Refusal::NotHeld => {}
            }
        }
        Ended::Closed {
            reason,
            message: close.message,
            sequence: close.sequence,
            retry_after: Duration::from_millis(close.retry_after_ms.into()),
        }
    }
}

/// What is to be told of commands; never, where nothing takes any.
async fn next_report(commands: Option<&Link>) -> CommandReport {
    match commands {
        Some(commands) => commands.next_report().await,
        None => std::future::pending().await,
    }
}

/// The controller's word on credit; backlog never has more than half.
fn credit(all_bytes: u64, backlog_bytes: Option<u64>, alert_bytes: Option<u64>) -> Credit {
    let half = all_bytes / 2;
    Credit {
        all_bytes,
        backlog_bytes: backlog_bytes.unwrap_or(half).min(half),
        alert_bytes: alert_bytes.unwrap_or(ALERT_BYTES),
    }
}
