//! A part's own side: it is confined, hears what it is set to, and then what it is asked.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use muster_base::ErrorChain;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{debug, info};

use super::Kind;
use super::confine::{ConfineError, Confined, confine};
use super::frame::{self, FrameError, TO_PART_BYTES_MAX};

/// How long the settings may take to come.
const SETUP_MAX: Duration = Duration::from_secs(10);
/// How long the end waits for file work that may hang.
const END_MAX: Duration = Duration::from_millis(200);

/// Why a part ended before its socket did.
#[derive(Debug, Error)]
pub(crate) enum PartError {
    #[error(transparent)]
    Confine(#[from] ConfineError),
    #[error("start a part of the agent")]
    Start(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("parse a message between the agent's processes")]
    Message(#[from] serde_json::Error),
    #[error("no settings came within {} s", SETUP_MAX.as_secs())]
    NoSetup,
    #[error("settings came twice")]
    SecondSetup,
    #[error("something was asked before the settings came")]
    SetupMissing,
}

/// Makes this process a part of process `parent`, and serves it until its socket ends.
pub(crate) fn main<E, F>(kind: Kind, parent: i32, serve: impl FnOnce(Parent, OwnedWriteHalf) -> F) -> ExitCode
where
    E: Error + From<PartError> + 'static,
    F: Future<Output = Result<(), E>>,
{
    match run(kind, parent, serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Logging may not have begun.
            let error = ErrorChain(&error);
            let _ = writeln!(io::stderr(), "muster-agent {}: {error}", kind.argument);
            ExitCode::FAILURE
        }
    }
}

fn run<E, F>(kind: Kind, parent: i32, serve: impl FnOnce(Parent, OwnedWriteHalf) -> F) -> Result<(), E>
where
    E: From<PartError>,
    F: Future<Output = Result<(), E>>,
{
    let confined = confine(parent).map_err(PartError::from)?;
    // One thread: it costs the least memory, and what blocks has threads that come and go.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(PartError::from)?;
    let result = runtime.block_on(async {
        let (parent, writing) = Parent::new(kind, confined)?;
        serve(parent, writing).await
    });
    runtime.shutdown_timeout(END_MAX);
    result
}

/// What the part hears.
#[derive(Debug)]
pub(crate) struct Parent {
    kind: Kind,
    reading: BufReader<OwnedReadHalf>,
    network: Option<nix::Error>,
    /// Those for the whole group (a terminal, a service manager) are the parent's business: taken and never looked at.
    _signals: Vec<Signal>,
}

impl Parent {
    fn new(kind: Kind, confined: Confined) -> Result<(Self, OwnedWriteHalf), PartError> {
        let kinds = [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::hangup(),
        ];
        let signals = kinds.into_iter().map(signal).collect::<Result<_, _>>()?;
        confined.socket.set_nonblocking(true)?;
        let (reading, writing) = UnixStream::from_std(confined.socket)?.into_split();
        let parent = Self {
            kind,
            reading: BufReader::with_capacity(frame::READ_BYTES, reading),
            network: confined.network,
            _signals: signals,
        };
        Ok((parent, writing))
    }

    /// The message that is first; `None` if the socket ends before.
    ///
    /// # Errors
    /// [`PartError`] if it does not come in time or is none.
    pub(crate) async fn first<M: DeserializeOwned>(&mut self) -> Result<Option<M>, PartError> {
        let first = tokio::time::timeout(SETUP_MAX, self.next());
        first.await.map_err(|_| PartError::NoSetup)?
    }

    /// The next message; `None` at the end. Not to be given up half way.
    ///
    /// # Errors
    /// [`PartError`] if it makes no sense.
    pub(crate) async fn next<M: DeserializeOwned>(&mut self) -> Result<Option<M>, PartError> {
        let Some(message) = frame::read(&mut self.reading, TO_PART_BYTES_MAX).await? else {
            return Ok(None);
        };
        Ok(Some(serde_json::from_slice(&message)?))
    }

    /// Says whether there is a network, as soon as something can be said.
    pub(crate) fn log_network(&self) {
        let part = self.kind.name;
        match self.network {
            None => debug!(part, "part of the agent has no network"),
            Some(error) => info!(
                part,
                error = %ErrorChain(&error),
                "part of the agent keeps the machine's network: it may not make one of its own"
            ),
        }
    }
}
