//! Starts a part, keeps it running, and speaks with it.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use camino::Utf8PathBuf;
use muster_base::backoff::Backoff;
use muster_base::shutdown::CancellationToken;
use muster_base::{ErrorChain, heap};
use serde::Serialize;
use thiserror::Error;
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::Kind;
use super::frame::{self, FROM_PART_BYTES_MAX, TO_PART_BYTES_MAX};

/// This program as it runs, also when its file was replaced meanwhile.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";
/// How long the end of a part is waited for once its socket has ended.
const END_MAX: Duration = Duration::from_secs(2);
/// A part that lived so long is started again soon.
const LIVED_WELL: Duration = Duration::from_secs(60);
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// A part is gone for good.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the {part} {why}, and the agent has no rights any more to start it again")]
pub struct Lost {
    part: &'static str,
    why: String,
}

/// How the time with a running part ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The agent ends.
    Shutdown,
    /// It is lost, and how.
    Lost(String),
}

/// Starts a part of the agent, and again when it is lost.
#[derive(Debug)]
pub(crate) struct Starter {
    kind: Kind,
    program: Utf8PathBuf,
    is_only_once: bool,
    backoff: Backoff,
    began: Instant,
}

impl Starter {
    /// Starts parts of this kind, with `is_only_once` by an agent that cannot do so a second time.
    pub(crate) fn new(kind: Kind, program: Utf8PathBuf, is_only_once: bool) -> Self {
        Self {
            kind,
            program,
            is_only_once,
            backoff: Backoff::new(RETRY_FIRST, RETRY_MAX),
            began: Instant::now(),
        }
    }

    /// Starts it.
    ///
    /// # Errors
    /// How it is lost.
    pub(crate) fn start<M: FromPart>(&mut self) -> Result<Running<M>, String> {
        self.began = Instant::now();
        let running = Running::start(self.kind, &self.program);
        let running = running.map_err(|error| format!("can't be started: {}", ErrorChain(&error)))?;
        info!(
            part = self.kind.name,
            pid = running.pid(),
            "part of the agent started"
        );
        Ok(running)
    }

    /// Waits until it may be started again; `false` if the agent ends meanwhile.
    ///
    /// # Errors
    /// [`Lost`] if it can be started only once.
    pub(crate) async fn wait(&mut self, why: String, shutdown: &CancellationToken) -> Result<bool, Lost> {
        let part = self.kind.name;
        if self.is_only_once {
            return Err(Lost { part, why });
        }
        if LIVED_WELL <= self.began.elapsed() {
            self.backoff.reset();
        }
        let delay = self.backoff.next_delay();
        let retry_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        warn!(part, why, retry_ms, "part of the agent lost, it is started again");
        let waited = shutdown.run_until_cancelled(tokio::time::sleep(delay));
        Ok(waited.await.is_some())
    }
}

/// What a part says.
pub(crate) trait FromPart: Sized + Send + 'static {
    /// Why a message makes no sense.
    type Error: std::error::Error;

    /// Reads one message.
    ///
    /// # Errors
    /// If it makes no sense.
    fn read(message: &[u8]) -> Result<Self, Self::Error>;
}

/// A part as it runs, which says `M`.
#[derive(Debug)]
pub(crate) struct Running<M> {
    child: Child,
    writing: OwnedWriteHalf,
    said_rx: mpsc::Receiver<Result<M, String>>,
    write_max: Duration,
    _reader: AbortOnDropHandle<()>,
}

impl<M: FromPart> Running<M> {
    #[expect(clippy::disallowed_methods, reason = "the agent's own program, started again")]
    fn start(kind: Kind, program: &Utf8PathBuf) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let child = Command::new(program)
            .args([kind.argument, "--parent", &std::process::id().to_string()])
            .env_clear()
            .envs(heap::SETTINGS)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        ours.set_nonblocking(true)?;
        let (reading, writing) = UnixStream::from_std(ours)?.into_split();
        let (said_tx, said_rx) = mpsc::channel(1);
        Ok(Self {
            child,
            writing,
            said_rx,
            write_max: kind.write_max,
            _reader: AbortOnDropHandle::new(tokio::spawn(read(reading, said_tx))),
        })
    }
}

impl<M> Running<M> {
    /// Its process id, until it has ended.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends it a message. Not to be given up half way.
    ///
    /// # Errors
    /// How it is lost: what it said last, or how it ended, says more than that it takes no messages.
    pub(crate) async fn send(&mut self, message: &impl Serialize) -> Result<(), String> {
        let Err(otherwise) = self.try_send(message).await else {
            return Ok(());
        };
        Err(match tokio::time::timeout(END_MAX, self.said_rx.recv()).await {
            Ok(Some(Err(why))) => why,
            Ok(None) => self.how_it_ended().await,
            _ => otherwise,
        })
    }

    async fn try_send(&mut self, message: &impl Serialize) -> Result<(), String> {
        let message = serde_json::to_vec(message).map_err(|error| ErrorChain(&error).to_string())?;
        let written = frame::write(&mut self.writing, &message, TO_PART_BYTES_MAX);
        match tokio::time::timeout(self.write_max, written).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("takes no messages: {}", ErrorChain(&error))),
            Err(_) => Err("takes no messages".to_owned()),
        }
    }

    /// What it says next. Nothing is lost if this is given up.
    ///
    /// # Errors
    /// How it is lost.
    pub(crate) async fn next(&mut self) -> Result<M, String> {
        match self.said_rx.recv().await {
            Some(said) => said,
            None => Err(self.how_it_ended().await),
        }
    }

    /// How a part ended whose socket has ended.
    async fn how_it_ended(&mut self) -> String {
        match tokio::time::timeout(END_MAX, self.child.wait()).await {
            Ok(Ok(status)) => described(status),
            _ => "closed its socket".to_owned(),
        }
    }

    /// Has it end: at once if it is lost, else by itself if it can in a moment.
    pub(crate) async fn end(self, how: &End) {
        let Self {
            mut child, writing, ..
        } = self;
        drop(writing);
        if matches!(how, End::Lost(_)) {
            // Gone already, mostly; an agent without rights cannot kill it, but has closed its socket.
            let _ = child.start_kill();
        }
        // What has not ended by then is killed by being let go of.
        let _ = tokio::time::timeout(END_MAX, child.wait()).await;
    }
}

fn described(status: ExitStatus) -> String {
    // `signal: 9 (SIGKILL)` or `exit status: 1`.
    format!("ended by itself or was killed ({status})")
}

/// Reads what a part says until its socket ends or makes no sense.
async fn read<M: FromPart>(socket: OwnedReadHalf, said_tx: mpsc::Sender<Result<M, String>>) {
    let mut socket = BufReader::with_capacity(frame::READ_BYTES, socket);
    loop {
        let next = match frame::read(&mut socket, FROM_PART_BYTES_MAX).await {
            Ok(None) => return,
            Ok(Some(message)) => M::read(&message).map_err(|error| ErrorChain(&error).to_string()),
            Err(error) => Err(ErrorChain(&error).to_string()),
        };
        let next = next.map_err(|why| format!("talks nonsense and was killed: {why}"));
        let is_last = next.is_err();
        if said_tx.send(next).await.is_err() || is_last {
            return;
        }
    }
}
