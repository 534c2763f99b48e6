//! The proxy: accepts connections, gives each its number and plan, and is told what to do while it runs.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;
use crate::flap::Flapping;
use crate::link::Link;
use crate::pump::Bytes;
use crate::script::Script;

/// Connections at a time; more are reset at once.
const CONNECTIONS_MAX: u64 = 10_000;
/// Pause after `accept` failed, which it does when there are no file descriptors left.
const FAILURE_PAUSE: Duration = Duration::from_millis(50);

/// What a proxy has seen so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Connections that came.
    pub connections: u64,
    /// Connections that are there now.
    pub open: u64,
    /// Connections that broke: by their plan, by [`FaultProxy::cut_all`], or because a side failed.
    pub cuts: u64,
    /// Bytes that clients have sent and the server got.
    pub up_bytes: u64,
    /// Bytes that the server has sent and clients got.
    pub down_bytes: u64,
    /// Bytes that were thrown away, of both directions.
    pub discarded_bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    connections: AtomicU64,
    open: AtomicU64,
    cuts: AtomicU64,
    pub(crate) up: Bytes,
    pub(crate) down: Bytes,
}

impl Counts {
    pub(crate) fn count_cut(&self) {
        self.cuts.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a test may change while connections run.
struct Control {
    upstream: SocketAddr,
    script: Script,
    /// Cancelled to cut all connections there are; new ones get the next.
    cut: CancellationToken,
}

/// A running proxy; when it is dropped all its connections are reset.
pub struct FaultProxy {
    address: SocketAddr,
    link: watch::Sender<Link>,
    control: Arc<Mutex<Control>>,
    counts: Arc<Counts>,
    accepting: JoinHandle<()>,
}

impl FaultProxy {
    /// Listens on a port of its own on loopback and passes on to `upstream`, for now without doing anything to it.
    ///
    /// # Errors
    /// If no port is to be had.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let link = watch::Sender::new(Link::CLEAR);
        let control = Arc::new(Mutex::new(Control {
            upstream,
            script: Script::none(),
            cut: CancellationToken::new(),
        }));
        let counts = Arc::new(Counts::default());
        let accepting = tokio::spawn(accept(
            listener,
            link.clone(),
            Arc::clone(&control),
            Arc::clone(&counts),
        ));
        Ok(Self {
            address,
            link,
            control,
            counts,
            accepting,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts the line into this state, for all connections and at once.
    pub fn set_link(&self, link: Link) {
        self.link.send_replace(link);
    }

    /// The state of the line.
    #[must_use]
    pub fn link(&self) -> Link {
        *self.link.borrow()
    }

    /// Connections that come from now on have their fate from `script`.
    pub fn set_script(&self, script: impl Into<Script>) {
        lock(&self.control).script = script.into();
    }

    /// Connections that come from now on go to `upstream`.
    pub fn set_upstream(&self, upstream: SocketAddr) {
        lock(&self.control).upstream = upstream;
    }

    /// Resets all connections there are.
    pub fn cut_all(&self) {
        let cut = std::mem::take(&mut lock(&self.control).cut);
        cut.cancel();
    }

    /// Switches between two states of the line, each for `period`, beginning with `down`; until the answer is
    /// dropped, which leaves the line in the state `up`.
    #[must_use]
    pub fn flap(&self, up: Link, down: Link, period: Duration) -> Flapping {
        Flapping::start(self.link.clone(), up, down, period)
    }

    /// What it has seen so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
        Stats {
            connections: read(&counts.connections),
            open: read(&counts.open),
            cuts: read(&counts.cuts),
            up_bytes: read(&counts.up.passed),
            down_bytes: read(&counts.down.passed),
            discarded_bytes: read(&counts.up.discarded) + read(&counts.down.discarded),
        }
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        lock(&self.control).cut.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    link: watch::Sender<Link>,
    control: Arc<Mutex<Control>>,
    counts: Arc<Counts>,
) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(FAILURE_PAUSE).await;
            continue;
        };
        let number = counts.connections.fetch_add(1, Ordering::Relaxed);
        if CONNECTIONS_MAX <= counts.open.load(Ordering::Relaxed) {
            // A socket that the client has left already needs no reset.
            let _ = client.set_zero_linger();
            continue;
        }
        counts.open.fetch_add(1, Ordering::Relaxed);
        let connection = connection(client, number, &link, &control, &counts);
        let counts = Arc::clone(&counts);
        tokio::spawn(async move {
            connection.run().await;
            counts.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn connection(
    client: TcpStream,
    number: u64,
    link: &watch::Sender<Link>,
    control: &Mutex<Control>,
    counts: &Arc<Counts>,
) -> Connection {
    let control = lock(control);
    Connection {
        client,
        upstream: control.upstream,
        plan: control.script.plan(number),
        link: link.subscribe(),
        counts: Arc::clone(counts),
        cut: control.cut.clone(),
    }
}

fn lock(control: &Mutex<Control>) -> MutexGuard<'_, Control> {
    // A script that panics leaves nothing half changed.
    control.lock().unwrap_or_else(PoisonError::into_inner)
}
