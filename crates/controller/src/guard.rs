//! What any peer may do to a port before it has shown who it is: how many connections it may hold, how fast it may
//! send frames that carry nothing, how long it may leave a write standing.
//!
//! Used by both ports, below HTTP and above TLS. Knows no route, no service and no identity.

mod crowd;
mod meter;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

pub(crate) use self::crowd::{Crowd, Newcomer};
use self::meter::Meter;

/// A peer that takes nothing for this long is gone.
const STALL_MAX: Duration = Duration::from_secs(20);

/// A stream whose peer has to take what it is sent, and may not flood it with frames that carry nothing.
pub(crate) struct Guarded<S> {
    stream: S,
    meter: Meter,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Guarded<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            meter: Meter::new(Instant::now()),
            stalled: None,
        }
    }

    /// Lets a write stand for a while and not longer.
    fn limit<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL_MAX)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut this.stream).poll_read(context, buffer));
        if this.meter.take(&buffer.filled()[before..], Instant::now()) {
            return Poll::Ready(read);
        }
        let flood = "a flood of HTTP/2 frames that carry nothing";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, flood)))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.limit(context, written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        this.limit(context, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.stream).poll_shutdown(context);
        this.limit(context, shut)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.limit(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (near, _far) = tokio::io::duplex(16);
        let began = Instant::now();
        let error = Guarded::new(near).write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(
            (error.kind(), began.elapsed()),
            (io::ErrorKind::TimedOut, STALL_MAX)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_little_by_little_is_waited_for() {
        let (near, mut far) = tokio::io::duplex(16);
        let writing = tokio::spawn(async move { Guarded::new(near).write_all(&[0; 160]).await });
        for _ in 0..10 {
            tokio::time::sleep(STALL_MAX - Duration::from_secs(1)).await;
            far.read_exact(&mut [0; 16]).await.unwrap();
        }
        writing.await.unwrap().unwrap();
    }
}
