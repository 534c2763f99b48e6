//! Keeps the privileged process running, and asks it.
//!
//! One task owns the child. Whatever goes wrong with it (it dies, it leaves a collection unanswered past its time, it
//! says what makes no sense) ends it: the collections under way fail with the reason, and it is started again after a
//! delay that grows. Questions that come meanwhile wait. An agent that has given its rights up cannot start it again;
//! its task then ends, and with it the agent, for its service manager to start both.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use camino::Utf8PathBuf;
use muster_base::ErrorChain;
use muster_base::backoff::Backoff;
use muster_base::shutdown::CancellationToken;
use muster_model::{Facts, RunOutcome};
use thiserror::Error;
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::frame::{self, FROM_CHILD_BYTES_MAX, TO_CHILD_BYTES_MAX};
use super::message::{Answer, Answered, Setup, ToChild, decode, encode};
use crate::collect::Descriptor;
use crate::collect::due::Due;

/// This program as it runs, also when its file was replaced meanwhile.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// Questions that wait for the child; more wait with whoever asks.
const ASKS_MAX: usize = 16;
/// Questions under way; there are fewer collectors.
const OUTSTANDING_MAX: usize = 64;
/// What the child has, past a collector's own time, to say that it timed out.
const GRACE: Duration = Duration::from_secs(10);
/// How long a message to the child may take; it always reads.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// How long the end of the child is waited for once its socket has ended, to tell how it ended.
const END_MAX: Duration = Duration::from_secs(2);
/// A child that lived so long is started again at once.
const LIVED_WELL: Duration = Duration::from_secs(60);
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// How the child is started.
#[derive(Debug, Clone)]
pub struct Launch {
    program: Utf8PathBuf,
    setup: Setup,
    is_only_once: bool,
    grace: Duration,
}

impl Launch {
    /// This program again, with these settings.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self {
            program: OWN_PROGRAM.into(),
            setup,
            is_only_once: false,
            grace: GRACE,
        }
    }

    /// The same with another program. For tests.
    #[must_use]
    pub fn with_program(self, program: Utf8PathBuf) -> Self {
        Self { program, ..self }
    }

    /// The same, given less time past a collector's own. For tests.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
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

/// Why the privileged process did not run a collector.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PrivilegedError {
    /// It was lost meanwhile.
    #[error("the privileged process {why}")]
    Lost {
        /// How.
        why: String,
    },
    /// It would not.
    #[error("the privileged process refuses: {why}")]
    Refused {
        /// Why.
        why: String,
    },
    /// The agent ends, and it with it.
    #[error("the privileged process has ended")]
    Ended,
}

/// The child is gone for good.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the privileged process {why}, and the agent has no rights any more to start it again")]
pub struct Lost {
    why: String,
}

/// Asks the privileged process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Privileged {
    asks_tx: mpsc::Sender<Ask>,
    figures: Arc<Figures>,
    due: Due,
}

#[derive(Debug, Default)]
struct Figures {
    /// 0 while none runs.
    pid: AtomicU32,
    starts: AtomicU64,
}

#[derive(Debug)]
struct Ask {
    descriptor: &'static Descriptor,
    answer_tx: oneshot::Sender<Result<Collected, PrivilegedError>>,
}

/// One run of a collector over there.
#[derive(Debug, Clone, PartialEq)]
pub struct Collected {
    /// How it ended.
    pub outcome: RunOutcome,
    /// Why it failed or what is absent.
    pub message: String,
    /// What it found.
    pub facts: Option<Facts>,
}

impl Privileged {
    /// Starts the child, now, and the task that keeps it until `shutdown`. The task ends before only if the child is
    /// lost for good.
    pub fn start(launch: Launch, shutdown: CancellationToken) -> (Self, AbortOnDropHandle<Result<(), Lost>>) {
        let (asks_tx, asks_rx) = mpsc::channel(ASKS_MAX);
        let first = Running::start(&launch);
        let figures = Arc::new(Figures::default());
        let due = Due::default();
        let warden = Warden {
            launch,
            asks_rx,
            figures: Arc::clone(&figures),
            due: due.clone(),
            shutdown,
        };
        let task = AbortOnDropHandle::new(tokio::spawn(warden.run(first)));
        (
            Self {
                asks_tx,
                figures,
                due,
            },
            task,
        )
    }

    /// Where the child's collectors tell that they have something new to find.
    #[must_use]
    pub fn due(&self) -> Due {
        self.due.clone()
    }

    /// The child's process id, while one runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        Some(self.figures.pid.load(Ordering::Relaxed)).filter(|&pid| pid != 0)
    }

    /// How often the child had to be started again.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.figures.starts.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// Has a collector run.
    ///
    /// # Errors
    /// [`PrivilegedError`] if the child was lost meanwhile, or refuses.
    pub async fn collect(&self, descriptor: &'static Descriptor) -> Result<Collected, PrivilegedError> {
        let (answer_tx, answer_rx) = oneshot::channel();
        let ask = Ask {
            descriptor,
            answer_tx,
        };
        self.asks_tx.send(ask).await.map_err(|_| PrivilegedError::Ended)?;
        answer_rx.await.map_err(|_| PrivilegedError::Ended)?
    }
}

/// The child as it runs.
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
            .args(["privileged", "--parent", &std::process::id().to_string()])
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

/// How the time with one child ended.
enum End {
    Shutdown,
    Lost(String),
}

/// A question that was passed on.
struct Outstanding {
    ask: Ask,
    due: Instant,
}

struct Warden {
    launch: Launch,
    asks_rx: mpsc::Receiver<Ask>,
    figures: Arc<Figures>,
    due: Due,
    shutdown: CancellationToken,
}

impl Warden {
    async fn run(mut self, first: io::Result<Running>) -> Result<(), Lost> {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX);
        let mut started = first;
        loop {
            let began = Instant::now();
            self.figures.starts.fetch_add(1, Ordering::Relaxed);
            let end = match started {
                Ok(running) => self.attend(running).await,
                Err(error) => End::Lost(format!("can't be started: {}", ErrorChain(&error))),
            };
            let End::Lost(why) = end else {
                return Ok(());
            };
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
                "privileged process lost, it is started again"
            );
            let waited = self.shutdown.run_until_cancelled(tokio::time::sleep(delay));
            if waited.await.is_none() {
                return Ok(());
            }
            started = Running::start(&self.launch);
        }
    }

    /// Passes questions on and answers back until the child is lost or the agent ends.
    async fn attend(&mut self, running: Running) -> End {
        let Running {
            mut child,
            reading,
            writing,
        } = running;
        info!(pid = child.id(), "privileged process started");
        self.figures.pid.store(child.id().unwrap_or(0), Ordering::Relaxed);
        let mut outstanding = BTreeMap::new();
        let end = self.pass_on(reading, writing, &mut child, &mut outstanding).await;
        self.figures.pid.store(0, Ordering::Relaxed);
        // Gone already, mostly; an agent without rights cannot kill it, but has closed its socket.
        let _ = child.start_kill();
        let _ = tokio::time::timeout(END_MAX, child.wait()).await;
        let error = match &end {
            End::Shutdown => PrivilegedError::Ended,
            End::Lost(why) => PrivilegedError::Lost { why: why.clone() },
        };
        for waiting in outstanding.into_values() {
            let Outstanding { ask, .. } = waiting;
            // Whoever asked may have gone.
            let _ = ask.answer_tx.send(Err(error.clone()));
        }
        end
    }

    async fn pass_on(
        &mut self,
        reading: OwnedReadHalf,
        mut writing: OwnedWriteHalf,
        child: &mut Child,
        outstanding: &mut BTreeMap<u64, Outstanding>,
    ) -> End {
        let (answers_tx, mut answers_rx) = mpsc::channel(1);
        let _reader = AbortOnDropHandle::new(tokio::spawn(read_answers(reading, answers_tx)));
        if let Err(why) = send(&mut writing, &ToChild::Setup(self.launch.setup.clone())).await {
            return End::Lost(last_word(&mut answers_rx, child, why).await);
        }
        let mut next_id = 0_u64;
        loop {
            let due = outstanding.values().map(|waiting| waiting.due).min();
            tokio::select! {
                // Questions before answers: one that waits is told of what becomes of this child, and not left for the
                // next. There are few, so answers do not wait for long.
                biased;
                () = self.shutdown.cancelled() => return End::Shutdown,
                Some(ask) = self.asks_rx.recv(), if outstanding.len() < OUTSTANDING_MAX => {
                    let message = ToChild::Collect {
                        id: next_id,
                        collector: ask.descriptor.name.to_owned(),
                    };
                    let due = Instant::now() + ask.descriptor.timeout + self.launch.grace;
                    outstanding.insert(next_id, Outstanding { ask, due });
                    next_id += 1;
                    if let Err(why) = send(&mut writing, &message).await {
                        return End::Lost(last_word(&mut answers_rx, child, why).await);
                    }
                }
                answer = answers_rx.recv() => match answer {
                    Some(Ok(Answer { result: Answered::Due(name), .. })) => match Descriptor::find(&name) {
                        Some(found) => self.due.tell(found.name),
                        None => return End::Lost("told of a collector that there is not".to_owned()),
                    },
                    Some(Ok(answer)) => match outstanding.remove(&answer.id) {
                        Some(waiting) => match collected(answer.result) {
                            // Whoever asked may have gone.
                            Ok(result) => drop(waiting.ask.answer_tx.send(result)),
                            Err(why) => {
                                outstanding.insert(answer.id, waiting);
                                return End::Lost(why);
                            }
                        },
                        None => return End::Lost("answered what nobody asked".to_owned()),
                    },
                    Some(Err(why)) => return End::Lost(why),
                    None => return End::Lost(how_it_ended(child).await),
                },
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    return End::Lost("did not answer in time and was killed".to_owned());
                }
            }
        }
    }
}

/// Sends a message, or says how the child was lost.
async fn send(socket: &mut OwnedWriteHalf, message: &ToChild) -> Result<(), String> {
    let message = encode(message).map_err(|error| ErrorChain(&error).to_string())?;
    let written = frame::write(socket, &message, TO_CHILD_BYTES_MAX);
    match tokio::time::timeout(WRITE_MAX, written).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("takes no messages: {}", ErrorChain(&error))),
        Err(_) => Err("takes no messages".to_owned()),
    }
}

/// Reads answers until the socket ends or makes no sense.
async fn read_answers(socket: OwnedReadHalf, answers_tx: mpsc::Sender<Result<Answer, String>>) {
    let mut socket = BufReader::with_capacity(frame::READ_BYTES, socket);
    loop {
        let next = match frame::read(&mut socket, FROM_CHILD_BYTES_MAX).await {
            Ok(None) => return,
            Ok(Some(message)) => decode::<Answer>(&message).map_err(|error| ErrorChain(&error).to_string()),
            Err(error) => Err(ErrorChain(&error).to_string()),
        };
        let next = next.map_err(|why| format!("talks nonsense and was killed: {why}"));
        let is_last = next.is_err();
        if answers_tx.send(next).await.is_err() || is_last {
            return;
        }
    }
}

/// What an answer says, or why it makes no sense.
fn collected(answered: Answered) -> Result<Result<Collected, PrivilegedError>, String> {
    let ran = match answered {
        Answered::Refused(why) => return Ok(Err(PrivilegedError::Refused { why })),
        Answered::Ran(ran) => ran,
        Answered::Due(_) => return Err("talks nonsense and was killed: that is no answer".to_owned()),
    };
    if ran.facts.is_some() != (ran.outcome == RunOutcome::Facts) {
        return Err("talks nonsense and was killed: facts and outcome do not fit".to_owned());
    }
    let facts = ran.facts.map(Facts::try_from).transpose();
    let facts = facts.map_err(|error| format!("talks nonsense and was killed: {}", ErrorChain(&error)))?;
    Ok(Ok(Collected {
        outcome: ran.outcome,
        message: ran.message,
        facts,
    }))
}

/// Why a child is lost that takes no messages: what it said last, or how it ended, says more than that.
async fn last_word(
    answers_rx: &mut mpsc::Receiver<Result<Answer, String>>,
    child: &mut Child,
    otherwise: String,
) -> String {
    match tokio::time::timeout(END_MAX, answers_rx.recv()).await {
        Ok(Some(Err(why))) => why,
        Ok(None) => how_it_ended(child).await,
        _ => otherwise,
    }
}

/// How a child ended whose socket has ended.
async fn how_it_ended(child: &mut Child) -> String {
    match tokio::time::timeout(END_MAX, child.wait()).await {
        Ok(Ok(status)) => described(status),
        _ => "closed its socket".to_owned(),
    }
}

fn described(status: ExitStatus) -> String {
    // `signal: 9 (SIGKILL)` or `exit status: 1`.
    format!("ended by itself or was killed ({status})")
}
