//! The agent port: TLS, limits, and the services behind it.
//!
//! Thin adapters over `app`: who calls is read from the client certificate, the message is converted, the use-case
//! decides. Owns the accept loop, because authentication must come before any expensive work: handshakes and
//! connections are bounded, and a connection that does not get anywhere is cut. Must not know tables.
//!
//! Without a client certificate only enrolment answers, with one that expired a short while ago only renewal; what
//! kind of certificate passes the handshake at all is
//! decided by `identity`, and who of those may open a stream by `app::enrolment`.

mod accept;
mod connection;
pub(crate) mod control;
mod enrolment;
mod link;
mod session;
pub(crate) mod status;

use std::sync::Arc;
use std::time::Duration;

use muster_base::shutdown::CancellationToken;
use muster_proto::v1::agent_link_server::AgentLinkServer;
use muster_proto::v1::enrollment_server::EnrollmentServer;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

use crate::app::App;
use crate::app::ingest::Ingest;
use crate::app::live::Agents;

pub use accept::AcceptMetrics;
pub use session::SessionMetrics;

/// Longest frame on a stream: 64 KiB of a message and its envelope, or a Hello with many ranges.
const FRAME_BYTES_MAX: usize = 80 * 1024;
/// Longest enrolment request; a token and a certificate request are far shorter.
const ENROLMENT_BYTES_MAX: usize = 16 * 1024;
/// Streams of one connection: the agent's one, and room for a mistake.
const STREAMS_MAX: u32 = 8;
/// Bytes of the headers of one call.
const HEADER_BYTES_MAX: u32 = 8 * 1024;
/// Flow control: what a stream may send before we have read it. With thousands of agents and an intake that takes
/// nothing, this is what they fill.
const WINDOW_BYTES: u32 = 64 * 1024;
/// A connection that is silent this long is asked whether it is there.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
/// Without an answer for this long it is closed.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long streams may take to end when the controller shuts down.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Limits of the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Most open connections; beyond it new ones are dropped at once.
    pub connections_max: usize,
    /// Most TLS handshakes at a time; beyond it those that have begun wait.
    pub handshakes_max: usize,
    /// How long a handshake may take, and how long a connection without an agent's stream may be silent after it.
    pub handshake_timeout: Duration,
    /// How long a connection without an agent's stream may live: enrolling or renewing takes a moment.
    pub unattended_lifetime: Duration,
    /// Most connections of one address (of one /64 with IPv6) that have shown no valid certificate; a newer one takes
    /// the place of the oldest.
    pub strangers_per_address_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            handshakes_max: 64,
            handshake_timeout: Duration::from_secs(10),
            unattended_lifetime: Duration::from_secs(30),
            strangers_per_address_max: 2_048,
        }
    }
}

/// What the port works with.
pub struct Parts {
    /// Where agents connect.
    pub listener: TcpListener,
    /// The use-cases.
    pub app: Arc<App>,
    /// The way into the intake.
    pub ingest: Ingest,
    /// The registry of open streams.
    pub agents: Agents,
    /// Limits.
    pub options: Options,
}

/// Counts of the port.
#[derive(Debug, Clone, Default)]
pub struct GrpcMetrics {
    /// Of connections.
    pub accept: Arc<AcceptMetrics>,
    /// Of streams.
    pub session: Arc<SessionMetrics>,
}

/// Why the port does not serve any more.
#[derive(Debug, Error)]
#[error("serve the agent port")]
pub struct ServeError(#[source] tonic::transport::Error);

/// Serves agents until `stop` is cancelled; then every stream gets its Close, and has a few seconds to end.
///
/// # Errors
/// [`ServeError`] if the server fails as a whole; what happens on a connection never does that.
pub async fn serve(parts: Parts, metrics: GrpcMetrics, stop: CancellationToken) -> Result<(), ServeError> {
    let Parts {
        listener,
        app,
        ingest,
        agents,
        options,
    } = parts;
    let (connection_tx, connections) = mpsc::channel(options.handshakes_max.max(1));
    let acceptor = accept::Acceptor {
        listener,
        // The configuration stays; the certificate in it follows renewals.
        tls: app.identity().server_tls_config(),
        clock: app.clock().clone(),
        refusals: app.refusals(),
        options,
        metrics: Arc::clone(&metrics.accept),
    };
    let accepting = tokio::spawn(acceptor.run(connection_tx, stop.clone()));
    let revoking = tokio::spawn(link::close_unwanted(
        Arc::clone(&app),
        agents.clone(),
        stop.clone(),
    ));
    let following = tokio::spawn(link::follow_cadences(
        Arc::clone(&app),
        agents.clone(),
        stop.clone(),
    ));
    let commanding = tokio::spawn(link::follow_commands(
        Arc::clone(&app),
        agents.clone(),
        stop.clone(),
    ));
    let enrolment = EnrollmentServer::new(enrolment::EnrolmentService::new(Arc::clone(&app)))
        .max_decoding_message_size(ENROLMENT_BYTES_MAX);
    let link = AgentLinkServer::new(link::LinkService::new(
        app,
        ingest,
        agents,
        metrics.session,
        stop.clone(),
    ))
    .max_decoding_message_size(FRAME_BYTES_MAX);
    let served = Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(2 * WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_pending_accept_reset_streams(Some(32))
        .add_service(enrolment)
        .add_service(link)
        .serve_with_incoming_shutdown(ReceiverStream::new(connections), stop.clone().cancelled_owned());
    let result = tokio::select! {
        result = served => result,
        () = drained(&stop) => {
            tracing::warn!("some agent streams did not end in time and are cut");
            Ok(())
        }
    };
    accepting.abort();
    revoking.abort();
    following.abort();
    commanding.abort();
    result.map_err(ServeError)
}

/// Ends when streams have had their time after `stop`.
async fn drained(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(DRAIN_MAX).await;
}

#[cfg(test)]
mod tests;
