//! The accept loop: from a TCP connection to a verified TLS stream.
//!
//! Nothing here may stop the loop: not a peer that stalls, not an exhausted table of files. Handshakes run beside
//! each other, bounded in number and time.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use muster_base::ErrorChain;
use muster_base::clock::WallClock;
use muster_base::shutdown::CancellationToken;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::Options;
use super::connection::{Connection, Peer};
use crate::guard::{Crowd, Newcomer};
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
    /// Connections that had not shown who they are and made room for newer ones of the same address.
    pub evicted: AtomicU64,
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
    pub(super) tls: Arc<ServerConfig>,
    pub(super) clock: WallClock,
    pub(super) options: Options,
    pub(super) metrics: Arc<AcceptMetrics>,
}

type ConnectionTx = mpsc::Sender<Result<Connection, Infallible>>;

impl Acceptor {
    pub(super) async fn run(self, connection_tx: ConnectionTx, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.options.connections_max));
        let crowd = Crowd::new(self.options.strangers_per_address_max);
        let handshakes = Arc::new(Semaphore::new(self.options.handshakes_max));
        loop {
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
            let (place_of_strangers, has_evicted) = crowd.enter(remote.ip());
            if has_evicted {
                add(&self.metrics.evicted);
            }
            let stranger = Stranger {
                stream,
                remote,
                open: Open {
                    metrics: Arc::clone(&self.metrics),
                    _place: place,
                },
                tls: Arc::clone(&self.tls),
                clock: self.clock.clone(),
                options: self.options,
                newcomer: place_of_strangers,
            };
            tokio::spawn(stranger.introduce(Arc::clone(&handshakes), connection_tx.clone()));
        }
    }
}

/// A connection of which nothing is known yet.
struct Stranger {
    stream: TcpStream,
    remote: SocketAddr,
    open: Open,
    tls: Arc<ServerConfig>,
    clock: WallClock,
    options: Options,
    newcomer: Newcomer,
}

impl Stranger {
    /// The handshake, and what it leads to.
    async fn introduce(self, handshakes: Arc<Semaphore>, connection_tx: ConnectionTx) {
        let Self {
            stream,
            remote,
            open,
            tls,
            clock,
            options,
            newcomer,
        } = self;
        let cut = newcomer.evicted();
        // Frames are written whole; waiting to fill a packet only delays an ack.
        let _ = stream.set_nodelay(true);
        let shaking = tokio::time::timeout(options.handshake_timeout, shake(stream, tls, &handshakes));
        let Some(shaken) = cut.run_until_cancelled(shaking).await else {
            return;
        };
        let stream = match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                add(&open.metrics.handshakes_failed);
                tracing::debug!(remote = %remote, error = %ErrorChain(&error), "agent handshake failed");
                return;
            }
            Err(_) => return add(&open.metrics.handshakes_timed_out),
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
                add(&open.metrics.handshakes_failed);
                tracing::warn!(remote = %remote, error = %ErrorChain(&error), "client certificate not understood");
                return;
            }
        };
        let peer = Peer::new(remote, certificate, cut);
        // Whoever has shown a valid certificate is no stranger any more.
        let newcomer = Some(newcomer).filter(|_| !peer.is_valid());
        // If nobody takes it any more, the port is closing.
        let _ = connection_tx
            .send(Ok(Connection::new(stream, peer, &options, (open, newcomer))))
            .await;
    }
}

async fn shake(
    stream: TcpStream,
    tls: Arc<ServerConfig>,
    handshakes: &Semaphore,
) -> io::Result<TlsStream<TcpStream>> {
    // Whoever sends nothing takes no place of those who do: the first message is read outside.
    let started = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
    let _place = handshakes.acquire().await.map_err(io::Error::other)?;
    started.into_stream(tls).await
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
