//! The stream service: who may open one, and the task that then owns it.

use std::sync::Arc;

use muster_base::shutdown::CancellationToken;
use muster_proto::v1::agent_link_server::AgentLink;
use muster_proto::v1::{AgentFrame, ControllerFrame};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::connection::Peer;
use super::session::{self, SessionMetrics};
use super::status;
use crate::app::App;
use crate::app::ingest::Ingest;
use crate::app::live::Agents;

/// Frames that may wait for a slow peer; acks are few and small.
const OUTBOUND_MAX: usize = 64;

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

#[tonic::async_trait]
impl AgentLink for LinkService {
    type ConnectStream = ReceiverStream<Result<ControllerFrame, Status>>;

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
            return Err(status::certificate_required());
        };
        let admitted = self.context.app.admit(certificate).await.map_err(|error| {
            tracing::warn!(remote = %remote, agent.id = %certificate.agent, error = %error, "agent not admitted");
            self.context.metrics.count_refused();
            status::of_admit(&error)
        })?;
        let (frame_tx, frames) = mpsc::channel(OUTBOUND_MAX);
        let session = session::Session::new(
            Arc::clone(&self.context),
            (admitted, certificate.clone()),
            peer,
            frame_tx,
        );
        tokio::spawn(session.run(request.into_inner()));
        Ok(Response::new(ReceiverStream::new(frames)))
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

/// Closes the streams of identities at the moment they are revoked.
pub(super) async fn close_revoked(app: Arc<App>, agents: Agents, stop: CancellationToken) {
    let mut revocations = app.revocations();
    loop {
        let revoked = tokio::select! {
            () = stop.cancelled() => return,
            revoked = revocations.recv() => revoked,
        };
        match revoked {
            Ok(agent) => agents.revoke(agent),
            // Some were missed: every open stream has to come again and be judged anew.
            Err(RecvError::Lagged(_)) => agents.close_all(),
            Err(RecvError::Closed) => return,
        }
    }
}
