//! From an address to a gRPC channel: TCP, then TLS, then HTTP/2 on it, each with its own deadline and error.
//!
//! Nothing is sent on a connection before TLS has verified the controller.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use muster_proto::CONTROLLER_NAME;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use super::tls::WrongController;

const TCP_TIMEOUT: Duration = Duration::from_secs(10);
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
const HTTP2_TIMEOUT: Duration = Duration::from_secs(10);
/// HTTP/2 pings find a dead connection below the stream, also while the stream waits for nothing.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The address does not resolve or does not answer.
    #[error("reach {controller}")]
    Unreachable {
        /// `HOST:PORT`.
        controller: String,
        /// Why not.
        source: io::Error,
    },
    /// Something took too long.
    #[error("{controller} did not complete {what} in {seconds} s")]
    TimedOut {
        /// `HOST:PORT`.
        controller: String,
        /// The step.
        what: &'static str,
        /// The deadline.
        seconds: u64,
    },
    /// The one at the address is not the controller that was looked for. Nothing was sent to it.
    #[error("verify {controller}")]
    WrongController {
        /// `HOST:PORT`.
        controller: String,
        /// In a word.
        source: WrongController,
    },
    /// TLS failed: the certificate, the version, or the controller's own refusal.
    #[error("TLS with {controller}")]
    Tls {
        /// `HOST:PORT`.
        controller: String,
        /// Why.
        source: io::Error,
    },
    /// TLS stands, HTTP/2 on it does not.
    #[error("HTTP/2 with {controller}")]
    Http2 {
        /// `HOST:PORT`.
        controller: String,
        /// Why.
        source: tonic::transport::Error,
    },
}

/// Connects to `controller` (`HOST:PORT`).
pub(super) async fn open(controller: &str, tls: &Arc<ClientConfig>) -> Result<Channel, ConnectError> {
    open_from(None, controller, tls).await
}

/// As [`open`], from an address of this machine; from any if `None`.
pub(super) async fn open_from(
    source: Option<IpAddr>,
    controller: &str,
    tls: &Arc<ClientConfig>,
) -> Result<Channel, ConnectError> {
    let stream = open_tls(source, controller, tls).await?;
    // The channel may ask for its connection once. When that is gone, so is the channel: whoever owns the stream
    // connects anew and greets anew.
    let mut only_stream = Some(stream);
    let connector = tower::service_fn(move |_| {
        let stream = only_stream.take().map(TokioIo::new);
        std::future::ready(stream.ok_or_else(|| io::Error::other("the connection was used before")))
    });
    let endpoint = Endpoint::from_static("http://controller.muster.internal")
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    within(
        "HTTP/2",
        HTTP2_TIMEOUT,
        controller,
        endpoint.connect_with_connector(connector),
    )
    .await?
    .map_err(|source| ConnectError::Http2 {
        controller: controller.to_owned(),
        source,
    })
}

async fn open_tls(
    source: Option<IpAddr>,
    controller: &str,
    tls: &Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let unreachable = |source| ConnectError::Unreachable {
        controller: controller.to_owned(),
        source,
    };
    let tcp = within("TCP", TCP_TIMEOUT, controller, open_tcp(source, controller))
        .await?
        .map_err(unreachable)?;
    tcp.set_nodelay(true).map_err(unreachable)?;
    // Where packets are lost, an answer to a ping must not wait for seconds until it is tried again: that would look like a
    // host that is dead. A kernel without it does what kernels do.
    let _ = socket2::SockRef::from(&tcp).set_tcp_thin_linear_timeouts(true);
    let name = ServerName::try_from(CONTROLLER_NAME).expect("the constant is a DNS name");
    let connector = TlsConnector::from(Arc::clone(tls));
    within("TLS", TLS_TIMEOUT, controller, connector.connect(name, tcp))
        .await?
        .map_err(|source| tls_error(controller, source))
}

async fn open_tcp(source: Option<IpAddr>, controller: &str) -> io::Result<TcpStream> {
    let Some(source) = source else {
        return TcpStream::connect(controller).await;
    };
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "it has no address of the source's kind");
    for address in lookup_host(controller)
        .await?
        .filter(|address| address.is_ipv4() == source.is_ipv4())
    {
        let socket = match source {
            IpAddr::V4(_) => TcpSocket::new_v4(),
            IpAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.bind(SocketAddr::new(source, 0))?;
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn within<F: Future>(
    what: &'static str,
    limit: Duration,
    controller: &str,
    future: F,
) -> Result<F::Output, ConnectError> {
    timeout(limit, future).await.map_err(|_| ConnectError::TimedOut {
        controller: controller.to_owned(),
        what,
        seconds: limit.as_secs(),
    })
}

fn tls_error(controller: &str, source: io::Error) -> ConnectError {
    let controller = controller.to_owned();
    let cause = source
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other))) = cause
        && other.0.is::<WrongController>()
    {
        return ConnectError::WrongController {
            controller,
            source: WrongController,
        };
    }
    ConnectError::Tls { controller, source }
}
