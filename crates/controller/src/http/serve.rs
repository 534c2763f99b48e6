//! Accepting HTTP connections: their number, their slowness and their end.
//!
//! Owns the accept loop. Knows no route: it drives any router. A connection whose head does not arrive in time is closed,
//! and before that if many newer ones of its address come; at shutdown no connection is taken any more and open ones may finish what they began.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use muster_base::shutdown::CancellationToken;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::guard::{Crowd, Guarded, Newcomer};

/// Most open connections; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1_024;
/// Most connections of one address that have not asked for anything yet; a newer one takes the place of the oldest.
const STRANGERS_PER_ADDRESS_MAX: usize = 256;
/// Longest time for a TLS handshake, and for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests under way may go on after shutdown began.
const GRACE: Duration = Duration::from_secs(10);
/// Rest after a failed accept, which mostly means that file descriptors ran out.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Where a connection comes from.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Whether it is encrypted.
    pub is_tls: bool,
}

/// Serves `router` on `listener` until `shutdown`, with TLS if a configuration is given.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    router: Router,
    shutdown: CancellationToken,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let crowd = Crowd::new(STRANGERS_PER_ADDRESS_MAX);
    let tasks = TaskTracker::new();
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            break; // The semaphore is never closed.
        };
        let (stream, address) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(error = %error, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_REST).await;
                    continue;
                }
            },
        };
        let (acceptor, router, shutdown) = (acceptor.clone(), router.clone(), shutdown.clone());
        let (newcomer, _) = crowd.enter(address.ip());
        tasks.spawn(async move {
            handle(stream, newcomer, address, acceptor, router, shutdown).await;
            drop(permit);
        });
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(GRACE, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "requests were cut off by shutdown");
    }
}

async fn handle(
    stream: TcpStream,
    newcomer: Newcomer,
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    shutdown: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %error, "could not turn off delays");
    }
    let peer = Peer {
        address,
        is_tls: acceptor.is_some(),
    };
    let Some(acceptor) = acceptor else {
        return drive(stream, newcomer, peer, router, shutdown).await;
    };
    let evicted = newcomer.evicted();
    let accepted = tokio::select! {
        accepted = tokio::time::timeout(HEAD_TIMEOUT, acceptor.accept(stream)) => accepted,
        () = evicted.cancelled() => return,
        () = shutdown.cancelled() => return,
    };
    match accepted {
        Ok(Ok(stream)) => drive(stream, newcomer, peer, router, shutdown).await,
        Ok(Err(error)) => tracing::debug!(peer = %address, error = %error, "TLS handshake failed"),
        Err(_elapsed) => tracing::debug!(peer = %address, "TLS handshake timed out"),
    }
}

async fn drive<I>(stream: I, newcomer: Newcomer, peer: Peer, router: Router, shutdown: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let evicted = newcomer.evicted();
    let newcomer = Arc::new(Mutex::new(Some(newcomer)));
    let silent = silent(Arc::clone(&newcomer));
    let service = router.map_request(move |mut request: Request<hyper::body::Incoming>| {
        // Whoever asks for something is no stranger any more.
        drop(newcomer.lock().unwrap_or_else(PoisonError::into_inner).take());
        request.extensions_mut().insert(peer);
        request
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(64)
        .max_header_list_size(64 * 1024)
        .keep_alive_interval(Some(HEAD_TIMEOUT * 2))
        .keep_alive_timeout(HEAD_TIMEOUT);
    let connection = builder.serve_connection(
        TokioIo::new(Guarded::new(stream)),
        TowerToHyperService::new(service),
    );
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = evicted.cancelled() => return,
        () = silent => return tracing::debug!(peer = %peer.address, "nothing was asked for in time"),
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %peer.address, error = %error, "connection ended early");
    }
}

/// Ends if no request has come in time: the protocol's own limit begins with its first byte.
async fn silent(newcomer: Arc<Mutex<Option<Newcomer>>>) {
    tokio::time::sleep(HEAD_TIMEOUT).await;
    let has_asked = newcomer.lock().unwrap_or_else(PoisonError::into_inner).is_none();
    if has_asked {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
