//! The way from the stream to the executor and back, and the keeping of its process.
//!
//! Nothing is decided here. The process is started with the agent where commands were taken before or the agent gives its
//! rights up, and else with the first command. One that is lost is started again; what was under way is looked at then.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use muster_base::ErrorChain;
use muster_base::backoff::Backoff;
use muster_base::shutdown::CancellationToken;
use muster_model::CommandRefusal;
use muster_proto::convert::CommandReport;
use muster_proto::v1;
use prost::Message as _;
use thiserror::Error;
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::child::refusal;
use super::executor::folder;
use super::message::{FromExecutor, ToExecutor, report_of};
use super::pinned::claimed_id;
use super::reports::Reports;
use crate::privileged::frame::{self, FROM_CHILD_BYTES_MAX, TO_CHILD_BYTES_MAX};

pub use super::message::Setup;

/// This program as it runs, also when its file was replaced meanwhile.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// Messages that wait for the executor; more envelopes are refused.
const WAITING_MAX: usize = 64;
/// Longest envelope; commands are a few hundred bytes.
const ENVELOPE_BYTES_MAX: usize = 64 * 1024;
/// How long a message to the executor may take; it always reads, but for the time that it looks at what was under way.
const WRITE_MAX: Duration = Duration::from_secs(60);
/// How long the end of the process is waited for.
const END_MAX: Duration = Duration::from_secs(2);
/// How long a stream waits for the executor to say how far its counter is.
const READY_MAX: Duration = Duration::from_secs(10);
const LIVED_WELL: Duration = Duration::from_secs(60);
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// How the executor is started.
#[derive(Debug, Clone)]
pub struct Launch {
    program: Utf8PathBuf,
    setup: Setup,
    is_only_once: bool,
}

impl Launch {
    /// This program again, with these settings.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self {
            program: OWN_PROGRAM.into(),
            setup,
            is_only_once: false,
        }
    }

    /// The same with another program. For tests.
    #[must_use]
    pub fn with_program(self, program: Utf8PathBuf) -> Self {
        Self { program, ..self }
    }

    /// The same, by an agent that cannot start it a second time.
    #[must_use]
    pub fn only_once(self) -> Self {
        Self {
            is_only_once: true,
            ..self
        }
    }
}

/// The executor is gone for good.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the executor {why}, and the agent has no rights any more to start it again")]
pub struct Lost {
    why: String,
}

/// The way to the executor. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Link {
    to_tx: mpsc::Sender<ToExecutor>,
    reports: Arc<Reports>,
    counter: watch::Receiver<Option<u64>>,
}

impl std::fmt::Debug for ToExecutor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // An envelope may carry a password.
        f.write_str("ToExecutor")
    }
}

impl Link {
    /// Starts the executor, now or when it is needed, and the task that keeps it until `shutdown`.
    pub fn start(launch: Launch, shutdown: CancellationToken) -> (Self, AbortOnDropHandle<Result<(), Lost>>) {
        let (to_tx, to_rx) = mpsc::channel(WAITING_MAX);
        let (counter_tx, counter) = watch::channel(None);
        let reports = Arc::<Reports>::default();
        let was_used = folder(&launch.setup.data_dir).join("journal").exists();
        let first = (launch.is_only_once || was_used).then(|| Running::start(&launch));
        if first.is_none() {
            counter_tx.send_replace(Some(0));
        }
        let warden = Warden {
            launch,
            to_rx,
            reports: Arc::clone(&reports),
            counter_tx,
            shutdown,
        };
        let task = AbortOnDropHandle::new(tokio::spawn(warden.run(first)));
        (
            Self {
                to_tx,
                reports,
                counter,
            },
            task,
        )
    }

    /// Passes an envelope on, or refuses it because nobody takes it.
    pub(crate) fn command(&self, envelope: &v1::CommandEnvelope, controller_ms: i64) {
        let refused = if ENVELOPE_BYTES_MAX < envelope.encoded_len() {
            Some((CommandRefusal::Malformed, "it is longer than a command may be"))
        } else {
            let message = ToExecutor::envelope(envelope, controller_ms);
            match self.to_tx.try_send(message) {
                Ok(()) => None,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    Some((CommandRefusal::Busy, "too much waits for the agent's executor"))
                }
                Err(mpsc::error::TrySendError::Closed(_)) => {
                    Some((CommandRefusal::NoExecutor, "the agent's executor does not run"))
                }
            }
        };
        if let (Some((reason, message)), Some(id)) = (refused, claimed_id(envelope)) {
            warn!(reason = reason.as_str(), "a command was refused");
            self.reports.put(refusal(id, reason, message));
        }
    }

    /// Passes on that the controller knows how a command stands.
    pub(crate) fn seen(&self, seen: &v1::CommandSeen) {
        // If there is no room, it is told again on the next stream.
        let _ = self.to_tx.try_send(ToExecutor::seen(seen));
    }

    /// Passes on that a stream begins.
    pub(crate) fn attach(&self) {
        if self.counter.borrow().is_some_and(|counter| counter == 0) {
            // Nothing was ever commanded, or nobody is there yet who would know.
            return;
        }
        let _ = self.to_tx.try_send(ToExecutor::Attach);
    }

    /// Highest counter that was written down, waiting a moment for an executor that is just starting.
    pub(crate) async fn counter(&self) -> Option<u64> {
        let mut counter = self.counter.clone();
        let known = tokio::time::timeout(READY_MAX, counter.wait_for(Option::is_some)).await;
        known.ok()?.ok().and_then(|counter| *counter)
    }

    /// What is to be told next of commands. Nothing is lost if this is dropped.
    pub(crate) async fn next_report(&self) -> CommandReport {
        loop {
            if let Some(report) = self.reports.take() {
                return report;
            }
            self.reports.changed().await;
        }
    }
}

/// The process as it runs.
struct Running {
    child: Child,
    reading: OwnedReadHalf,
    writing: OwnedWriteHalf,
}

impl Running {
    #[expect(clippy::disallowed_methods, reason = "the agent's own program, started again")]
    fn start(launch: &Launch) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let child = Command::new(&launch.program)
            .args(["executor", "--parent", &std::process::id().to_string()])
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        ours.set_nonblocking(true)?;
        let (reading, writing) = UnixStream::from_std(ours)?.into_split();
        Ok(Self {
            child,
            reading,
            writing,
        })
    }
}

struct Warden {
    launch: Launch,
    to_rx: mpsc::Receiver<ToExecutor>,
    reports: Arc<Reports>,
    counter_tx: watch::Sender<Option<u64>>,
    shutdown: CancellationToken,
}

/// How the time with one process ended.
enum End {
    Shutdown,
    Lost(String),
}

impl Warden {
    async fn run(mut self, first: Option<io::Result<Running>>) -> Result<(), Lost> {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX);
        let mut waiting = None;
        let mut started = match first {
            Some(first) => first,
            None => {
                let shutdown = self.shutdown.clone();
                let Some(Some(message)) = shutdown.run_until_cancelled(self.to_rx.recv()).await else {
                    return Ok(());
                };
                waiting = Some(message);
                Running::start(&self.launch)
            }
        };
        loop {
            let began = Instant::now();
            let end = match started {
                Ok(running) => self.attend(running, waiting.take()).await,
                Err(error) => End::Lost(format!("can't be started: {}", ErrorChain(&error))),
            };
            let End::Lost(why) = end else { return Ok(()) };
            if self.launch.is_only_once {
                return Err(Lost { why });
            }
            if LIVED_WELL <= began.elapsed() {
                backoff.reset();
            }
            let delay = backoff.next_delay();
            warn!(
                why,
                retry_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
                "executor lost, it is started again"
            );
            let waited = self.shutdown.run_until_cancelled(tokio::time::sleep(delay));
            if waited.await.is_none() {
                return Ok(());
            }
            // Whatever the controller may not know is told on the stream that is open.
            waiting = Some(ToExecutor::Attach);
            started = Running::start(&self.launch);
        }
    }

    async fn attend(&mut self, running: Running, waiting: Option<ToExecutor>) -> End {
        let Running {
            mut child,
            reading,
            mut writing,
        } = running;
        info!(pid = child.id(), "executor started");
        let (said_tx, mut said) = mpsc::channel(1);
        let _reader = AbortOnDropHandle::new(tokio::spawn(read(reading, said_tx)));
        let end = self.pass_on(&mut writing, &mut said, waiting).await;
        drop(writing);
        if let End::Lost(_) = end {
            // Gone already, mostly; an agent without rights cannot kill it, but has closed its socket.
            let _ = child.start_kill();
        }
        if tokio::time::timeout(END_MAX, child.wait()).await.is_err() {
            let _ = child.start_kill();
        }
        end
    }

    async fn pass_on(
        &mut self,
        writing: &mut OwnedWriteHalf,
        said: &mut mpsc::Receiver<Result<FromExecutor, String>>,
        waiting: Option<ToExecutor>,
    ) -> End {
        let setup = ToExecutor::Setup(self.launch.setup.clone());
        for message in [Some(setup), waiting].into_iter().flatten() {
            if let Err(why) = send(writing, &message).await {
                return End::Lost(why);
            }
        }
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return End::Shutdown,
                Some(message) = self.to_rx.recv() => {
                    if let Err(why) = send(writing, &message).await {
                        return End::Lost(why);
                    }
                }
                next = said.recv() => match next {
                    Some(Ok(FromExecutor::Ready { counter })) => {
                        self.counter_tx.send_replace(Some(counter));
                    }
                    Some(Ok(FromExecutor::Report { bytes })) => match report_of(&bytes) {
                        Some(report) => {
                            self.counter_tx.send_if_modified(|known| {
                                let is_news = *known < Some(report.counter);
                                if is_news {
                                    *known = Some(report.counter);
                                }
                                is_news
                            });
                            self.reports.put(report);
                        }
                        None => return End::Lost("talks nonsense and was killed".to_owned()),
                    },
                    Some(Err(why)) => return End::Lost(why),
                    None => return End::Lost("ended by itself or was killed".to_owned()),
                },
            }
        }
    }
}

async fn send(writing: &mut OwnedWriteHalf, message: &ToExecutor) -> Result<(), String> {
    let bytes = serde_json::to_vec(message).map_err(|error| error.to_string())?;
    match tokio::time::timeout(WRITE_MAX, frame::write(writing, &bytes, TO_CHILD_BYTES_MAX)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("takes no messages: {}", ErrorChain(&error))),
        Err(_) => Err("takes no messages".to_owned()),
    }
}

/// Reads what the executor says until the socket ends or makes no sense.
async fn read(reading: OwnedReadHalf, said_tx: mpsc::Sender<Result<FromExecutor, String>>) {
    let mut reading = BufReader::with_capacity(frame::READ_BYTES, reading);
    loop {
        let next = match frame::read(&mut reading, FROM_CHILD_BYTES_MAX).await {
            Ok(None) => return,
            Ok(Some(message)) => serde_json::from_slice(&message).map_err(|error| error.to_string()),
            Err(error) => Err(ErrorChain(&error).to_string()),
        };
        let next = next.map_err(|why| format!("talks nonsense and was killed: {why}"));
        let is_last = next.is_err();
        if said_tx.send(next).await.is_err() || is_last {
            return;
        }
    }
}
