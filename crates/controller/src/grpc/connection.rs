//! A TLS stream with what is known of its peer, and limits on how long it may get nowhere.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use muster_base::shutdown::CancellationToken;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

use super::Options;
use super::accept::Open;
use crate::guard::{Guarded, Newcomer};
use crate::identity::PeerCertificate;

/// Who is at the other end, as the handshake has shown.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    /// Its address.
    pub(super) remote: SocketAddr,
    /// Its certificate, if it has one. Verified to be ours; whether it may do anything is not decided yet.
    pub(super) certificate: Option<PeerCertificate>,
    /// Ends the connection.
    pub(super) cut: CancellationToken,
    /// Streams that are attended to.
    attended: Arc<AtomicUsize>,
}

impl Peer {
    pub(super) fn new(
        remote: SocketAddr,
        certificate: Option<PeerCertificate>,
        cut: CancellationToken,
    ) -> Self {
        Self {
            remote,
            certificate,
            cut,
            attended: Arc::default(),
        }
    }

    /// Has the connection live as long as the answer does.
    pub(super) fn attend(&self) -> Attended {
        self.attended.fetch_add(1, Ordering::Relaxed);
        Attended(Arc::clone(&self.attended))
    }

    fn is_attended(&self) -> bool {
        0 < self.attended.load(Ordering::Relaxed)
    }
}

/// A stream of an agent that was admitted; its connection may be idle, and live as long as the stream does.
#[derive(Debug)]
pub(super) struct Attended(Arc<AtomicUsize>);

impl Drop for Attended {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) struct Connection {
    stream: Guarded<TlsStream<TcpStream>>,
    peer: Peer,
    /// Without a stream, something has to come within this time, again and again.
    idle: Limit,
    /// Without a stream, the connection ends after this time.
    age: Limit,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _open: (Open, Option<Newcomer>),
}

/// A time after which reading fails.
struct Limit {
    after: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Limit {
    fn new(after: Duration) -> Self {
        Self {
            after,
            sleep: Box::pin(tokio::time::sleep(after)),
        }
    }

    fn restart(&mut self) {
        self.sleep.as_mut().reset(Instant::now() + self.after);
    }

    /// Whether it is over; while there is a stream it begins anew instead.
    fn is_over(&mut self, context: &mut Context<'_>, is_attended: bool) -> bool {
        while self.sleep.as_mut().poll(context).is_ready() {
            if !is_attended {
                return true;
            }
            self.restart();
        }
        false
    }
}

impl Connection {
    pub(super) fn new(
        stream: TlsStream<TcpStream>,
        peer: Peer,
        options: &Options,
        open: (Open, Option<Newcomer>),
    ) -> Self {
        Self {
            stream: Guarded::new(stream),
            idle: Limit::new(options.handshake_timeout),
            age: Limit::new(options.unattended_lifetime),
            cut: Box::pin(peer.cut.clone().cancelled_owned()),
            peer,
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
        let is_attended = this.peer.is_attended();
        if this.cut.as_mut().poll(context).is_ready()
            || this.idle.is_over(context, is_attended)
            || this.age.is_over(context, is_attended)
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if before < buffer.filled().len() && !is_attended {
            this.idle.restart();
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
