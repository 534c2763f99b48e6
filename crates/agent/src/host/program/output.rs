//! What a program writes, taken when it has ended and not whenever it writes.
//!
//! Most programs say less than a pipe holds, so that nobody has to be woken while they write: what they said lies in the
//! pipe when they end. It is looked for in between all the same, for a program that says more waits until there is room.

use std::fs::File;
use std::io::{self, PipeWriter, Read as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Bytes that a pipe shall hold; the kernel takes memory only for what is in it (pipe(7)).
const PIPE_BYTES: i32 = 256 * 1024;
/// How long a program that says little is left alone.
const PAUSE_LONG: Duration = Duration::from_millis(500);
/// The same for one that has filled a good part of a pipe.
const PAUSE_SHORT: Duration = Duration::from_millis(2);
/// What is much, for a pipe that may hold no more than the kernel gives everyone.
const MUCH_BYTES: usize = 32 * 1024;

/// How much a pipe holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// What every pipe does, 64 KiB.
    Little,
    /// Most outputs whole.
    Much,
}

/// Standard output or standard error of a program.
#[derive(Debug)]
pub(super) struct Said {
    pipe: Arc<File>,
    bytes: Vec<u8>,
    limit: usize,
    is_ended: bool,
}

impl Said {
    /// A pipe whose other end is for the program; at most `limit` bytes are taken.
    pub(super) fn pipe(limit: usize, holds: Holds) -> io::Result<(Self, PipeWriter)> {
        let (reader, writer) = io::pipe()?;
        // It belongs to this end only.
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut bytes = Vec::new();
        if holds == Holds::Much {
            // Whoever may have no larger pipe has an ordinary one.
            let _: Result<i32, Errno> = fcntl(&reader, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
            // An empty one would be read into in small steps.
            bytes.reserve(MUCH_BYTES);
        }
        let said = Self {
            pipe: Arc::new(File::from(OwnedFd::from(reader))),
            bytes,
            limit,
            is_ended: false,
        };
        Ok((said, writer))
    }

    /// Takes what is in the pipe.
    pub(super) fn take(&mut self) -> io::Result<()> {
        if self.is_ended || self.is_too_much() {
            return Ok(());
        }
        let room = u64::try_from(self.limit - self.bytes.len()).unwrap_or(u64::MAX);
        match (&*self.pipe)
            .take(room.saturating_add(1))
            .read_to_end(&mut self.bytes)
        {
            Ok(_) => self.is_ended = !self.is_too_much(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Ends when nobody can write any more, the program's children included. What is written wakes nobody: for a pipe
    /// there is no priority data, and its end is told whatever is asked for (epoll_ctl(2)).
    pub(super) fn end(&self) -> impl Future<Output = io::Result<()>> + use<> {
        let pipe = Arc::clone(&self.pipe);
        async move {
            watch(pipe, Interest::PRIORITY)?
                .ready(Interest::PRIORITY)
                .await
                .map(drop)
        }
    }

    /// Takes all that comes, until nobody can write any more or it is too much.
    pub(super) async fn rest(&mut self) -> io::Result<()> {
        self.take()?;
        if self.is_ended || self.is_too_much() {
            return Ok(());
        }
        let waiting = watch(Arc::clone(&self.pipe), Interest::READABLE)?;
        while !self.is_ended && !self.is_too_much() {
            let mut ready = waiting.readable().await?;
            // Before it is read: what comes after that makes it ready again.
            ready.clear_ready();
            self.take()?;
        }
        Ok(())
    }

    pub(super) const fn is_too_much(&self) -> bool {
        self.limit < self.bytes.len()
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[expect(
    deprecated,
    reason = "what replaces it is unsafe for what is no file, and this is one for as long as it is watched"
)]
fn watch(pipe: Arc<File>, interest: Interest) -> io::Result<AsyncFd<Arc<File>>> {
    AsyncFd::with_interest(pipe, interest)
}

/// Takes what there is of both; how long to leave the program alone then.
pub(super) fn take_both(stdout: &mut Said, stderr: &mut Said) -> io::Result<Duration> {
    let before = stdout.bytes.len() + stderr.bytes.len();
    stdout.take()?;
    stderr.take()?;
    let taken = stdout.bytes.len() + stderr.bytes.len() - before;
    Ok(if taken < MUCH_BYTES {
        PAUSE_LONG
    } else {
        PAUSE_SHORT
    })
}

/// How long a program is left alone at first.
pub(super) const PAUSE_FIRST: Duration = PAUSE_LONG;
