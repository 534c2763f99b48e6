//! The stream service: who may open one, and the task that then owns it.

use std::sync::Arc;
use std::time::Duration;

use muster_base::ErrorChain;
use muster_base::shutdown::CancellationToken;
use muster_proto::v1::agent_link_server::AgentLink;
use muster_proto::v1::{AgentFrame, ControllerFrame, agent_frame};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::StreamExt as _;
use tokio_stream::adapters::Map;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::connection::Peer;
use super::session::{self, SessionMetrics};
use super::status;
use crate::app::App;
use crate::app::enrolment::{AdmitError, Change};
use crate::app::ingest::Ingest;
use crate::app::live::{Agents, Ending};

/// Frames that may wait for a slow peer; acks are few and small.
const OUTBOUND_MAX: usize = 64;
/// Between two agents that are asked to renew.
const BETWEEN_HINTS: Duration = Duration::from_millis(50);
/// How often commands are looked for whose time is over.
const EXPIRED_EVERY: Duration = Duration::from_secs(1);
/// How long an agent that gets no stream may take to say who it is.
const INTRODUCTION_MAX: Duration = Duration::from_secs(5);

pub(super) struct LinkService {
    context: Arc<session::Context>,
}

impl LinkService {
    pub(super) fn new(
        app: Arc<App>,
        ingest: Ingest,
        agents: Agents,
        metrics: Arc<SessionMetrics>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            context: Arc::new(session::Context {
                app,
                ingest,
                agents,
                metrics,
                backlogs: Arc::default(),
                stop,
            }),
        }
    }
}

/// What goes out on a stream.
type Frames =
    Map<ReceiverStream<Box<ControllerFrame>>, fn(Box<ControllerFrame>) -> Result<ControllerFrame, Status>>;

#[tonic::async_trait]
impl AgentLink for LinkService {
    type ConnectStream = Frames;

    async fn connect(
        &self,
        request: Request<Streaming<AgentFrame>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let Some(
            ref peer @ Peer {
                remote,
                certificate: Some(ref certificate),
                ..
            },
        ) = peer
        else {
            self.context.app.refusals().count(status::CERTIFICATE_REQUIRED);
            return Err(status::certificate_required());
        };
        let app = &self.context.app;
        let admitted = match app.admit(certificate).await {
            Ok(admitted) => admitted,
            Err(error) => {
                tracing::warn!(remote = %remote, agent.id = %certificate.agent, error = %error, "agent not admitted");
                self.context.metrics.count_refused();
                if matches!(error, AdmitError::Held) {
                    app.hold(certificate, remote, introduction(request.into_inner()).await)
                        .await;
                }
                return Err(status::of_admit(&error));
            }
        };
        let (frame_tx, frames) = mpsc::channel(OUTBOUND_MAX);
        let session = session::Session::new(
            Arc::clone(&self.context),
            (admitted, certificate.clone()),
            peer,
            frame_tx,
        );
        tokio::spawn(session.run(request.into_inner()));
        Ok(Response::new(ReceiverStream::new(frames).map(|frame| Ok(*frame))))
    }
}

/// Tells agents of the cadences that people set.
pub(super) async fn follow_cadences(app: Arc<App>, agents: Agents, stop: CancellationToken) {
    let mut cadences = app.cadences();
    loop {
        let set = tokio::select! {
            () = stop.cancelled() => return,
            set = cadences.recv() => set,
        };
        match set {
            Ok((server, cadence)) => agents.set_cadence(server, cadence),
            // Some were missed: every agent has to come again, and reads its cadence then.
            Err(RecvError::Lagged(_)) => agents.close_all(),
            Err(RecvError::Closed) => return,
        }
    }
}

/// Tells agents' streams of commands that are issued, and ends those whose time is over.
pub(super) async fn follow_commands(app: Arc<App>, agents: Agents, stop: CancellationToken) {
    let mut wanted = app.commands().wanted();
    let mut rotated = app.commands().rotated();
    let mut look = tokio::time::interval(EXPIRED_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            server = wanted.recv() => match server {
                Ok(server) => agents.command(server),
                Err(RecvError::Lagged(_)) => agents.command_all(),
                Err(RecvError::Closed) => return,
            },
            Ok(()) = rotated.changed() => agents.command_all(),
            _ = look.tick() => {
                if let Err(error) = app.commands().expire().await {
                    tracing::warn!(error = %ErrorChain(&error), "commands whose time is over are not ended yet");
                }
            }
        }
    }
}

/// What an agent that gets no stream says of itself, for whoever has to decide about it: its name and version.
async fn introduction(mut inbound: Streaming<AgentFrame>) -> Option<(String, String)> {
    let first = tokio::time::timeout(INTRODUCTION_MAX, inbound.message())
        .await
        .ok()?
        .ok()??;
    match first.body {
        Some(agent_frame::Body::Hello(hello)) => Some((hello.hostname, hello.agent_version)),
        _ => None,
    }
}

/// Has connected agents renew their certificates, so that they get the roots of now. A few every second: each costs
/// signatures and a new connection. One that is busy renews by itself in its time.
async fn ask_all_to_renew(agents: Agents) {
    for (server, _) in agents.connected() {
        let _ = agents.renew(server);
        tokio::time::sleep(BETWEEN_HINTS).await;
    }
}

/// Closes the streams of agents at the moment they may not connect any more.
pub(super) async fn close_unwanted(app: Arc<App>, agents: Agents, stop: CancellationToken) {
    let mut changes = app.changes();
    loop {
        let change = tokio::select! {
            () = stop.cancelled() => return,
            change = changes.recv() => change,
        };
        match change {
            Ok(Change::Revoked(agent)) => agents.cut(agent, Ending::Revoked),
            Ok(Change::Quarantined(agent)) => agents.cut(agent, Ending::Quarantined),
            Ok(Change::Released(agent)) => agents.allow(agent),
            Ok(Change::Roots) => {
                let asking = stop
                    .clone()
                    .run_until_cancelled_owned(ask_all_to_renew(agents.clone()));
                tokio::spawn(asking);
            }
            // Some were missed: every open stream has to come again and be judged anew.
            Err(RecvError::Lagged(_)) => agents.close_all(),
            Err(RecvError::Closed) => return,
        }
    }
}
