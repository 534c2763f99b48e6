//! One stream of one agent, from its Hello to its Close.
//!
//! Two halves: [`reader`] turns frames into messages and hands them to the intake, waiting when the intake is full;
//! this one answers: acks, definitions that are missing, pings, requests of people, the end. The halves are apart so
//! that an intake without room stops the reading and nothing else.
//!
//! Invariants: nothing is acknowledged here that the intake has not answered as stored; who the agent is comes from
//! [`Admitted`] alone; what is unanswered of one stream is bounded; a stream that breaks a rule is closed with the
//! reason, and what came before the breach stays valid.

mod acks;
mod backlog;
mod clone;
mod conversation;
mod metrics;
mod note;
mod reader;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use muster_base::ErrorChain;
use muster_base::shutdown::CancellationToken;
use muster_model::Clock;
use muster_proto::PROTOCOL_VERSION;
use muster_proto::convert::ranges_to_wire;
use muster_proto::v1::controller_frame::Body;
use muster_proto::v1::{
    AgentFrame, Close, CloseReason, ControllerFrame, EpochState, Hello, Interval, Welcome, agent_frame,
};
use tokio::sync::mpsc;
use tonic::Streaming;
use tracing::Instrument as _;

use self::conversation::Conversation;
use self::metrics::{Breach, Skewed};
use super::connection::{Attended, Peer};
use crate::app::App;
use crate::app::enrolment::Admitted;
use crate::app::ingest::{Ingest, Source, Timeline};
use crate::app::live::{Agents, Cadence, Registration};
use crate::app::presence;
use crate::identity::PeerCertificate;
use crate::store::StoreError;

pub(super) use backlog::Backlogs;
pub use metrics::SessionMetrics;

/// Bytes of report messages that an agent may have unacknowledged.
const CREDIT_BYTES: u64 = 1024 * 1024;
/// Bytes of reports on the alert lane that an agent may have unacknowledged beside those.
const ALERT_BYTES: u64 = 256 * 1024;
/// How long an agent may take to say Hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a frame may wait for a peer that does not read.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// Epochs that a Hello may list, and that reports of one stream may be of.
const EPOCHS_MAX: usize = 64;
/// After a failure of ours, the agent should wait this long.
const RETRY_AFTER_MS: u32 = 5_000;
/// A restart takes about this long; then agents come back, spread over a time that the fleet's size gives.
const RESTART_MS: u32 = 1_000;
/// How long the last frame may wait.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What all sessions share.
pub(super) struct Context {
    pub(super) app: Arc<App>,
    pub(super) ingest: Ingest,
    pub(super) agents: Agents,
    pub(super) metrics: Arc<SessionMetrics>,
    pub(super) backlogs: Arc<Backlogs>,
    pub(super) stop: CancellationToken,
}

impl Context {
    /// How many agents there are, as far as they were seen.
    fn fleet_size(&self) -> u32 {
        // Whoever asks is one of them.
        u32::try_from(self.app.presence().known_count().max(1)).unwrap_or(u32::MAX)
    }
}

/// How a stream ends.
#[derive(Debug)]
enum End {
    /// With a Close of ours.
    Close(Close),
    /// With a Close for what came in.
    Breach(Breach, Close),
    /// The agent went, or can't be reached.
    Gone(&'static str),
}

/// Boxed, because a channel has room for 32 of them from the start.
type FrameTx = mpsc::Sender<Box<ControllerFrame>>;

pub(super) struct Session {
    context: Arc<Context>,
    admitted: Admitted,
    certificate: PeerCertificate,
    remote: SocketAddr,
    /// Ends the connection below.
    cut: CancellationToken,
    _attended: Attended,
    frame_tx: FrameTx,
}

impl Session {
    /// A stream of `peer`, which was admitted with this certificate.
    pub(super) fn new(
        context: Arc<Context>,
        (admitted, certificate): (Admitted, PeerCertificate),
        peer: &Peer,
        frame_tx: FrameTx,
    ) -> Self {
        Self {
            context,
            admitted,
            certificate,
            remote: peer.remote,
            cut: peer.cut.clone(),
            _attended: peer.attend(),
            frame_tx,
        }
    }

    /// Serves the stream until it ends.
    pub(super) async fn run(self, inbound: Streaming<AgentFrame>) {
        let span = tracing::info_span!(
            "agent",
            server.id = %self.admitted.server,
            agent.id = %self.admitted.agent,
            remote = %self.remote
        );
        let counted = self.context.metrics.opened();
        self.serve(inbound).instrument(span).await;
        drop(counted);
    }

    async fn serve(self, mut inbound: Streaming<AgentFrame>) {
        let frame_tx = self.frame_tx.clone();
        let metrics = Arc::clone(&self.context.metrics);
        let cut = self.cut.clone();
        let end = match self.first_frame(&mut inbound).await {
            Ok(hello) => self.attend(hello, inbound).await,
            Err(end) => end,
        };
        if let End::Breach(breach, _) = &end {
            metrics.count_breach(*breach);
        }
        match end {
            End::Close(close) | End::Breach(_, close) => {
                tracing::info!(reason = ?close.reason(), explanation = close.message, sequence = close.sequence, "agent stream closed");
                metrics.count_close(close.reason());
                // The peer may not be reading any more; the stream ends either way.
                if tokio::time::timeout(CLOSE_TIMEOUT, send(&frame_tx, Body::Close(close)))
                    .await
                    .is_err()
                {
                    cut.cancel();
                }
            }
            End::Gone(why) => {
                tracing::info!(why, "agent stream ended");
                // Whoever does not read holds what it was sent as long as the connection lives.
                cut.cancel();
            }
        }
    }

    async fn first_frame(&self, inbound: &mut Streaming<AgentFrame>) -> Result<Hello, End> {
        let frame = tokio::select! {
            () = self.context.stop.cancelled() => return Err(shutdown()),
            frame = tokio::time::timeout(HELLO_TIMEOUT, inbound.message()) => frame,
        };
        let hello = match frame {
            Ok(Ok(Some(AgentFrame {
                body: Some(agent_frame::Body::Hello(hello)),
            }))) => hello,
            Ok(Ok(Some(_))) => return Err(bad_frame(Breach::Hello, "the first frame must be Hello", 0)),
            Ok(Ok(None)) => return Err(End::Gone("before its Hello")),
            Ok(Err(status)) => return Err(reader::unreadable(&status)),
            Err(_) => return Err(bad_frame(Breach::Hello, "no Hello came", 0)),
        };
        if hello.protocol == 0 {
            return Err(bad_frame(Breach::Hello, "protocol 0 is not spoken here", 0));
        }
        if EPOCHS_MAX < hello.epochs.len() {
            return Err(bad_frame(Breach::Hello, "Hello lists too many epochs", 0));
        }
        Ok(hello)
    }

    /// Registers the stream, welcomes the agent and serves it.
    async fn attend(self, hello: Hello, inbound: Streaming<AgentFrame>) -> End {
        // Before the cursors are read: what an older stream still hands in is then behind it.
        let mut registration = self
            .context
            .agents
            .register(self.admitted.server, self.admitted.agent);
        if let Err(end) = clone::settle(&self, &mut registration).await {
            return end;
        }
        if let Err(error) = self.count_on(&hello).await {
            tracing::warn!(error = %ErrorChain(&error), "the counter of an agent's commands not read");
            return overloaded("the controller cannot take agents now", 0);
        }
        let welcome = match self.welcome(&hello).await {
            Ok(welcome) => welcome,
            Err(end) => return end,
        };
        let now_ms = self.context.app.clock().now_ms();
        let presence = self
            .context
            .app
            .presence()
            .connected(self.admitted.server, now_ms);
        tracing::info!(
            agent.version = hello.agent_version,
            hostname = hello.hostname,
            epoch = hello.epoch,
            "agent connected"
        );
        let news = note::News::new(&self.context, &self.admitted, &hello, now_ms);
        let end = match send(&self.frame_tx, Body::Welcome(welcome)).await {
            Ok(()) => {
                // Not before the Welcome: an agent that comes back must not wait for a table.
                tokio::spawn(news.note().in_current_span());
                self.converse(&hello, inbound, registration, presence).await
            }
            Err(end) => end,
        };
        self.context.app.presence().disconnected(presence);
        end
    }

    /// Commands go on above what the agent has seen: after a restore it has seen more than is known here.
    async fn count_on(&self, hello: &Hello) -> Result<(), StoreError> {
        let commands = self.context.app.commands();
        let counter = hello.command_counter.unwrap_or(0);
        commands.counter_said(self.admitted.agent, counter).await
    }

    async fn welcome(&self, hello: &Hello) -> Result<Welcome, End> {
        let mut epochs: Vec<u64> = hello.epochs.iter().map(|held| held.epoch).collect();
        if !epochs.contains(&hello.epoch) {
            epochs.push(hello.epoch);
        }
        let cursors = self
            .context
            .ingest
            .cursors(self.admitted.agent, epochs)
            .await
            .map_err(|error| {
                tracing::warn!(error = %ErrorChain(&error), "cursors of an agent not read");
                overloaded("the controller cannot take reports now", 0)
            })?;
        let identity = self.context.app.identity();
        Ok(Welcome {
            protocol: hello.protocol.min(PROTOCOL_VERSION),
            store_id: identity.installation().store_id.as_bytes().to_vec(),
            store_epoch: identity.installation().store_epoch,
            epochs: cursors
                .iter()
                .map(|cursor| EpochState {
                    epoch: cursor.epoch,
                    stored: ranges_to_wire(&cursor.ranges),
                    definitions: cursor.definitions,
                })
                .collect(),
            intervals: vec![interval(self.cadence())],
            heartbeat_only: self.cadence().heartbeat_only,
            credit_bytes: CREDIT_BYTES,
            // One report may always be on its way; whoever sends it gets a share.
            backlog_bytes: Some(0),
            fleet_size: self.context.fleet_size(),
            alert_bytes: Some(ALERT_BYTES),
        })
    }

    const fn cadence(&self) -> Cadence {
        Cadence {
            interval_s: self.admitted.collection_interval_s,
            heartbeat_only: !self.admitted.monitoring_enabled,
        }
    }

    /// What is known of the agent's clocks at the start.
    fn timeline(hello: &Hello, now_ms: i64) -> Timeline {
        let lasts = hello.epochs.iter().filter_map(|held| held.last_clock.clone());
        let lasts: Vec<Clock> = lasts.filter_map(|clock| Clock::try_from(clock).ok()).collect();
        Timeline::new(hello.built_ms, &lasts, now_ms)
    }

    async fn converse(
        &self,
        hello: &Hello,
        inbound: Streaming<AgentFrame>,
        registration: Registration,
        presence: presence::Connection,
    ) -> End {
        let (answer_tx, answers) = mpsc::unbounded_channel();
        let (event_tx, events) = mpsc::channel(reader::EVENTS_MAX);
        let progress = Arc::new(reader::Progress::new());
        let (source, now_ms) = (
            Source {
                agent: self.admitted.agent,
                server: self.admitted.server,
            },
            self.context.app.clock().now_ms(),
        );
        let rooms = reader::Rooms::new();
        let ingest = self.context.ingest.clone();
        let mut reader = reader::Reader {
            context: Arc::clone(&self.context),
            source,
            epochs: vec![hello.epoch],
            presence,
            progress: Arc::clone(&progress),
            rooms: rooms.clone(),
            timeline: Self::timeline(hello, now_ms),
            skewed: Skewed::new(&self.context.metrics),
            ways: reader::Ways::new(&ingest, source, &answer_tx),
            answer_tx,
            event_tx,
        };
        if let Some(clock) = hello.clock.clone().and_then(|clock| Clock::try_from(clock).ok()) {
            reader.clock(&clock, now_ms);
        }
        let reading = tokio::spawn(reader.run(inbound).in_current_span());
        let conversation = Conversation::new(self, presence, progress, rooms, self.frame_tx.clone());
        conversation.run(registration, answers, events, reading).await
    }
}

async fn send(frame_tx: &FrameTx, body: Body) -> Result<(), End> {
    let frame = Box::new(ControllerFrame { body: Some(body) });
    match frame_tx.send_timeout(frame, SEND_TIMEOUT).await {
        Ok(()) => Ok(()),
        Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(End::Gone("it does not read")),
        Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(End::Gone("connection lost")),
    }
}

fn close(reason: CloseReason, message: &str, sequence: u64, retry_after_ms: u32) -> End {
    End::Close(Close {
        reason: reason.into(),
        message: message.to_owned(),
        sequence,
        retry_after_ms,
    })
}

fn bad_frame(breach: Breach, message: &str, sequence: u64) -> End {
    let close = Close {
        reason: CloseReason::BadFrame.into(),
        message: message.to_owned(),
        sequence,
        retry_after_ms: 0,
    };
    End::Breach(breach, close)
}

/// One interval for all collectors; 0 leaves it to the agent.
fn interval(cadence: Cadence) -> Interval {
    Interval {
        collector: String::new(),
        interval_ms: cadence.interval_s.unwrap_or(0).saturating_mul(1_000),
    }
}

fn overloaded(message: &str, sequence: u64) -> End {
    close(CloseReason::Overloaded, message, sequence, RETRY_AFTER_MS)
}

fn shutdown() -> End {
    close(
        CloseReason::Shutdown,
        "the controller is restarting or shutting down",
        0,
        RESTART_MS,
    )
}
