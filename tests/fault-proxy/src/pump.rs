//! One direction of one connection: reads, counts, waits as long as the line takes, writes.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::link::{Flow, Line, Link};
use crate::script::{Cut, Direction, Then};

/// Bytes read at once: small, so that a slow line passes them on evenly.
const CHUNK_BYTES: usize = 4 * 1024;
/// Chunks on their way in one direction.
const CHUNKS_MAX: usize = 64;
/// Bytes that one direction of a connection holds at most.
pub const BUFFER_BYTES_MAX: usize = CHUNK_BYTES * CHUNKS_MAX;
/// Bytes thrown away before a direction that loses them is cut.
const DISCARDED_MAX: u64 = 512;

/// How a direction came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The sender has ended it.
    Finished,
    /// It breaks in this way.
    Cut(Then),
}

/// Bytes in one direction of all connections.
#[derive(Debug, Default)]
pub(crate) struct Bytes {
    pub(crate) passed: AtomicU64,
    pub(crate) discarded: AtomicU64,
}

/// One direction.
pub(crate) struct Pump<'a> {
    direction: Direction,
    link: watch::Receiver<Link>,
    cut: Option<Cut>,
    bytes: &'a Bytes,
    /// Bytes that have come.
    seen: u64,
    /// Bytes that were thrown away.
    lost: u64,
}

/// Bytes and when they arrive.
struct Chunk {
    due: Instant,
    bytes: Vec<u8>,
}

impl<'a> Pump<'a> {
    pub(crate) fn new(
        direction: Direction,
        link: watch::Receiver<Link>,
        cut: Option<Cut>,
        bytes: &'a Bytes,
    ) -> Self {
        Self {
            direction,
            link,
            cut: cut.filter(|cut| cut.direction == direction),
            bytes,
            seen: 0,
            lost: 0,
        }
    }

    /// Passes bytes on until the sender ends, the plan breaks it, or one of the sides fails. What was to pass has
    /// passed when this returns in order.
    pub(crate) async fn run(
        mut self,
        from: &mut OwnedReadHalf,
        to: &mut OwnedWriteHalf,
    ) -> io::Result<Ended> {
        let (chunk_tx, chunk_rx) = mpsc::channel(CHUNKS_MAX);
        let writing = write(to, chunk_rx, self.link.clone(), self.direction, self.bytes);
        let reading = async move {
            let ended = self.read(from, &chunk_tx).await;
            drop(chunk_tx);
            ended
        };
        let (ended, ()) = tokio::try_join!(reading, writing)?;
        Ok(ended)
    }

    async fn read(&mut self, from: &mut OwnedReadHalf, chunk_tx: &mpsc::Sender<Chunk>) -> io::Result<Ended> {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let line = flowing(&mut self.link, self.direction).await;
            let read = from.read(&mut buffer).await?;
            if read == 0 {
                return Ok(Ended::Finished);
            }
            let passing = self.passing(read, line);
            if 0 < passing {
                let chunk = Chunk {
                    due: Instant::now() + line.delay + line.sent_again_after(),
                    bytes: buffer[..passing].to_vec(),
                };
                // Refused only when writing has failed, which ends both.
                let _ = chunk_tx.send(chunk).await;
            }
            if let Some(then) = self.account(read, passing) {
                return Ok(Ended::Cut(then));
            }
        }
    }

    /// How many of the bytes that have come may pass.
    fn passing(&self, read: usize, line: Line) -> usize {
        // A direction that has lost bytes can say nothing any more.
        if line.flow == Flow::Discard || 0 < self.lost {
            return 0;
        }
        let left = self
            .cut
            .map_or(u64::MAX, |cut| cut.after_bytes.saturating_sub(self.seen));
        usize::try_from(left).unwrap_or(usize::MAX).min(read)
    }

    /// Counts bytes, and says how the direction breaks if it does so now.
    fn account(&mut self, read: usize, passed: usize) -> Option<Then> {
        self.seen += read as u64;
        let reached = self.cut.filter(|cut| cut.after_bytes <= self.seen);
        if let Some(cut) = reached
            && cut.then != Then::Discard
        {
            return Some(cut.then);
        }
        let lost = (read - passed) as u64;
        self.lost += lost;
        self.bytes.discarded.fetch_add(lost, Ordering::Relaxed);
        reached
            .filter(|_| DISCARDED_MAX <= self.lost)
            .map(|_| Then::Reset)
    }
}

/// Writes chunks when they are due, and no faster than the line.
async fn write(
    to: &mut OwnedWriteHalf,
    mut chunk_rx: mpsc::Receiver<Chunk>,
    mut link: watch::Receiver<Link>,
    direction: Direction,
    bytes: &Bytes,
) -> io::Result<()> {
    let mut free_at = Instant::now();
    while let Some(chunk) = chunk_rx.recv().await {
        tokio::time::sleep_until(chunk.due.max(free_at)).await;
        let line = flowing(&mut link, direction).await;
        to.write_all(&chunk.bytes).await?;
        bytes
            .passed
            .fetch_add(chunk.bytes.len() as u64, Ordering::Relaxed);
        if let Some(bytes_per_s) = line.bytes_per_s {
            let taken = chunk.bytes.len() as f64 / f64::from(bytes_per_s.max(1));
            free_at = free_at.max(Instant::now()) + Duration::from_secs_f64(taken);
        }
    }
    Ok(())
}

/// The line, as soon as it holds nothing back.
async fn flowing(link: &mut watch::Receiver<Link>, direction: Direction) -> Line {
    let found = link
        .wait_for(|link| link.line(direction).flow != Flow::Hold)
        .await
        .map(|link| link.line(direction));
    match found {
        Ok(line) => line,
        // The proxy is going, and every connection with it.
        Err(_) => std::future::pending().await,
    }
}
