//! The accept loop: from a TCP connection to a verified TLS stream.
//!
//! Nothing here may stop the loop: not a peer that stalls, not an exhausted table of files. Handshakes run beside
//! each other, bounded in number and time.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
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
use crate::app::enrolment::Refusals;
use crate::guard::{Crowd, Newcomer};
use crate::identity::{PeerCertificate, refusal_code};

/// Pause after `accept` failed, which it does when there are no file descriptors left.
const FAILURE_PAUSE: Duration = Duration::from_millis(100);

/// How long our part of a handshake takes at most; what is longer waits for the peer, and holds up no other.
const OUR_TURN_MAX: Duration = Duration::from_millis(250);

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
    pub(super) refusals: Arc<Refusals>,
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
            let doorway = Doorway {
                crowd: crowd.clone(),
                address: remote.ip(),
                metrics: Arc::clone(&self.metrics),
            };
            let stranger = Stranger {
                stream,
                remote,
                open: Open {
                    metrics: Arc::clone(&self.metrics),
                    _place: place,
                },
                tls: Arc::clone(&self.tls),
                clock: self.clock.clone(),
                refusals: Arc::clone(&self.refusals),
                options: self.options,
                newcomer: doorway.enter(),
                doorway,
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
    refusals: Arc<Refusals>,
    options: Options,
    doorway: Doorway,
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
            refusals,
            options,
            doorway,
            newcomer,
        } = self;
        // Frames are written whole; waiting to fill a packet only delays an ack.
        let _ = stream.set_nodelay(true);
        // Where packets are lost, a ping must not wait for seconds until it is tried again (tcp(7),
        // TCP_THIN_LINEAR_TIMEOUTS): that would look like a host that is dead.
        let _ = socket2::SockRef::from(&stream).set_tcp_thin_linear_timeouts(true);
        let shaking = doorway.shake(newcomer, stream, tls, &handshakes);
        let shaken = tokio::time::timeout(options.handshake_timeout, shaking).await;
        let stream = match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                add(&open.metrics.handshakes_failed);
                let code = refusal_of(&error);
                refusals.count(code);
                tracing::debug!(remote = %remote, code, error = %ErrorChain(&error), "agent handshake failed");
                return;
            }
            Err(_) => {
                refusals.count("tls_timed_out");
                return add(&open.metrics.handshakes_timed_out);
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
                add(&open.metrics.handshakes_failed);
                refusals.count(error.code());
                tracing::warn!(remote = %remote, error = %ErrorChain(&error), "client certificate not understood");
                return;
            }
        };
        // Whoever has shown a valid certificate is no stranger any more.
        let is_stranger = certificate.as_ref().is_none_or(|certificate| certificate.expired);
        let newcomer = is_stranger.then(|| doorway.enter());
        let cut = newcomer
            .as_ref()
            .map_or_else(CancellationToken::new, Newcomer::evicted);
        let peer = Peer::new(remote, certificate, cut);
        // If nobody takes it any more, the port is closing.
        let _ = connection_tx
            .send(Ok(Connection::new(stream, peer, &options, (open, newcomer))))
            .await;
    }
}

/// The places of those who have not shown who they are.
#[derive(Clone)]
struct Doorway {
    crowd: Crowd,
    address: IpAddr,
    metrics: Arc<AcceptMetrics>,
}

impl Doorway {
    fn enter(&self) -> Newcomer {
        let (newcomer, has_evicted) = self.crowd.enter(self.address);
        if has_evicted {
            add(&self.metrics.evicted);
        }
        newcomer
    }

    /// Shakes hands. While it is the peer's turn it has a place in the doorway, which a newer one may take; while it
    /// is ours, nobody takes it, so that many who come at once all get in.
    async fn shake(
        &self,
        newcomer: Newcomer,
        stream: TcpStream,
        tls: Arc<ServerConfig>,
        handshakes: &Semaphore,
    ) -> io::Result<TlsStream<TcpStream>> {
        // Whoever sends nothing takes no place of those who do: the first message is read outside.
        let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
        let started = unless_evicted(&newcomer, hello).await?;
        drop(newcomer);
        let mut handshake = started.into_stream(tls);
        {
            let _place = handshakes.acquire().await.map_err(io::Error::other)?;
            if let Ok(shaken) = tokio::time::timeout(OUR_TURN_MAX, &mut handshake).await {
                return shaken;
            }
        }
        unless_evicted(&self.enter(), handshake).await
    }
}

async fn unless_evicted<T>(newcomer: &Newcomer, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let done = newcomer.evicted().run_until_cancelled_owned(work).await;
    done.unwrap_or_else(|| Err(io::Error::other("it made room for a newer one")))
}

/// The stable word for why a handshake failed.
fn refusal_of(error: &io::Error) -> &'static str {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    tls.map_or("tls_cut", refusal_code)
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
