//! The accept loop: from a TCP connection to a verified TLS stream.
//!
//! Nothing here may stop the loop: not a peer that stalls, not an exhausted table of files. Handshakes run beside
//! each other, bounded in number and time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use muster_base::ErrorChain;
use muster_base::clock::WallClock;
use muster_base::shutdown::CancellationToken;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;

use super::Options;
use super::connection::{Connection, Peer};
use crate::identity::PeerCertificate;

/// Pause after `accept` failed, which it does when there are no file descriptors left.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// Counts of connections.
#[derive(Debug, Default)]
pub struct AcceptMetrics {
    /// Connections that came.
    pub accepted: AtomicU64,
    /// Connections dropped because there are as many as there may be.
    pub dropped_full: AtomicU64,
    /// Handshakes that failed: no TLS, a foreign certificate, or another that is refused.
    pub handshakes_failed: AtomicU64,
    /// Handshakes that took too long.
    pub handshakes_timed_out: AtomicU64,
    /// Connections open now.
    pub open: AtomicU64,
}

/// Counts a connection as open while it lives.
pub(super) struct Open {
    metrics: Arc<AcceptMetrics>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.open.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) struct Acceptor {
    pub(super) listener: TcpListener,
    pub(super) tls: TlsAcceptor,
    pub(super) clock: WallClock,
    pub(super) options: Options,
    pub(super) metrics: Arc<AcceptMetrics>,
}

type ConnectionTx = mpsc::Sender<Result<Connection, Infallible>>;

impl Acceptor {
    pub(super) async fn run(self, connection_tx: ConnectionTx, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.options.connections_max));
        let handshakes = Arc::new(Semaphore::new(self.options.handshakes_max));
        loop {
            let Ok(handshake) = Arc::clone(&handshakes).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let (stream, remote) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(error = %ErrorChain(&error), "agent connection not accepted");
                    tokio::time::sleep(FAILURE_PAUSE).await;
                    continue;
                }
            };
            add(&self.metrics.accepted);
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                add(&self.metrics.dropped_full);
                continue;
            };
            add(&self.metrics.open);
            let open = Open {
                metrics: Arc::clone(&self.metrics),
                _place: place,
            };
            let shake = self.shake(stream, remote, open, connection_tx.clone());
            tokio::spawn(async move {
                shake.await;
                drop(handshake);
            });
        }
    }

    /// A handshake, and what it leads to.
    fn shake(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
        open: Open,
        connection_tx: ConnectionTx,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (tls, clock) = (self.tls.clone(), self.clock.clone());
        let (options, metrics) = (self.options, Arc::clone(&self.metrics));
        async move {
            // Frames are written whole; waiting to fill a packet only delays an ack.
            let _ = stream.set_nodelay(true);
            let stream = match tokio::time::timeout(options.handshake_timeout, tls.accept(stream)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    add(&metrics.handshakes_failed);
                    tracing::debug!(remote = %remote, error = %ErrorChain(&error), "agent handshake failed");
                    return;
                }
                Err(_) => {
                    add(&metrics.handshakes_timed_out);
                    return;
                }
            };
            let leaf = stream
                .get_ref()
                .1
                .peer_certificates()
                .and_then(|chain| chain.first());
            let certificate = match leaf
                .map(|leaf| PeerCertificate::parse(leaf, clock.now_ms()))
                .transpose()
            {
                Ok(certificate) => certificate,
                Err(error) => {
                    add(&metrics.handshakes_failed);
                    tracing::warn!(remote = %remote, error = %ErrorChain(&error), "client certificate not understood");
                    return;
                }
            };
            let peer = Peer { remote, certificate };
            // If nobody takes it any more, the port is closing.
            let _ = connection_tx
                .send(Ok(Connection::new(stream, peer, &options, open)))
                .await;
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
