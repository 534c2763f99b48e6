//! A TLS stream with what is known of its peer, and a limit on how long it may get nowhere.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::Options;
use super::accept::Open;
use crate::identity::PeerCertificate;

/// Who is at the other end, as the handshake has shown.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// Its address.
    pub(super) remote: SocketAddr,
    /// Its certificate, if it has one. Verified to be ours; whether it may do anything is not decided yet.
    pub(super) certificate: Option<PeerCertificate>,
}

impl Peer {
    /// Whether it has shown a certificate that had not expired then.
    fn is_valid(&self) -> bool {
        self.certificate
            .as_ref()
            .is_some_and(|certificate| !certificate.expired)
    }
}

pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    /// Reading fails after this time: until the first byte of HTTP has come, or for good without a valid certificate.
    deadline: Option<Pin<Box<Sleep>>>,
    _open: Open,
}

impl Connection {
    pub(super) fn new(stream: TlsStream<TcpStream>, peer: Peer, options: &Options, open: Open) -> Self {
        let allowed = if peer.is_valid() {
            options.handshake_timeout
        } else {
            options.anonymous_lifetime
        };
        let deadline = Some(Box::pin(tokio::time::sleep_until(Instant::now() + allowed)));
        Self {
            stream,
            peer,
            deadline,
            _open: open,
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(deadline) = &mut this.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if before < buffer.filled().len() && this.peer.is_valid() {
            this.deadline = None;
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
