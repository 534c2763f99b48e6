//! The way from the stream to the executor and back, and the keeping of its process.
//!
//! Nothing is decided here. The process is started with the agent where commands were taken before or the agent gives its
//! rights up, and else with the first command. One that is lost is started again; what was under way is looked at then.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use camino::Utf8PathBuf;
use muster_base::shutdown::CancellationToken;
use muster_model::CommandRefusal;
use muster_proto::convert::CommandReport;
use muster_proto::v1;
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::child::refusal;
use super::executor::folder;
use super::message::{FromExecutor, ToExecutor, report_of};
use super::pinned::claimed_id;
use super::reports::Reports;
use crate::part::{End, Kind, Lost, OWN_PROGRAM, Running, Starter};

pub use super::message::Setup;

/// What the command line and logs call it. It always reads, but for the time that it looks at what was under way.
pub(super) const KIND: Kind = Kind {
    argument: "executor",
    name: "executor",
    write_max: Duration::from_secs(60),
};
/// Messages that wait for the executor; more envelopes are refused.
const WAITING_MAX: usize = 64;
/// Longest envelope; commands are a few hundred bytes.
const ENVELOPE_BYTES_MAX: usize = 64 * 1024;
/// Longest way of keys: 32 steps are some 12 KiB.
const KEYS_BYTES_MAX: usize = 64 * 1024;
/// How long a stream waits for the executor to say how far its counter is.
const READY_MAX: Duration = Duration::from_secs(10);

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

/// The way to the executor. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Link {
    to_tx: mpsc::Sender<ToExecutor>,
    reports: Arc<Reports>,
    counter: watch::Receiver<Option<u64>>,
    keys: Arc<Keys>,
}

/// The way of command keys as it came last: an executor that is started later has it first of all.
#[derive(Debug, Default)]
struct Keys {
    known: Mutex<Option<v1::CommandKeys>>,
    is_started: AtomicBool,
}

impl Keys {
    fn known(&self) -> MutexGuard<'_, Option<v1::CommandKeys>> {
        // Nothing in here can panic half way.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        let keys = Arc::<Keys>::default();
        let was_used = folder(&launch.setup.data_dir).join("journal").exists();
        let mut starter = Starter::new(KIND, launch.program.clone(), launch.is_only_once);
        let first = (launch.is_only_once || was_used).then(|| starter.start());
        if first.is_none() {
            counter_tx.send_replace(Some(0));
        }
        let warden = Warden {
            launch,
            starter,
            to_rx,
            reports: Arc::clone(&reports),
            counter_tx,
            keys: Arc::clone(&keys),
            shutdown,
        };
        let task = AbortOnDropHandle::new(tokio::spawn(warden.run(first)));
        (
            Self {
                to_tx,
                reports,
                counter,
                keys,
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

    /// Keeps the way of command keys for whoever is started, and passes it on to whoever runs. None is started for it.
    pub(crate) fn keys(&self, keys: v1::CommandKeys) {
        if KEYS_BYTES_MAX < keys.encoded_len() {
            warn!("a way of command keys is too long and is left out");
            return;
        }
        let message = ToExecutor::keys(&keys);
        *self.keys.known() = Some(keys);
        if self.keys.is_started.load(Ordering::SeqCst) && self.to_tx.try_send(message).is_err() {
            // It comes again with the next stream.
            warn!("a way of command keys could not be passed on");
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

struct Warden {
    launch: Launch,
    starter: Starter,
    to_rx: mpsc::Receiver<ToExecutor>,
    reports: Arc<Reports>,
    counter_tx: watch::Sender<Option<u64>>,
    keys: Arc<Keys>,
    shutdown: CancellationToken,
}

/// An executor that was started, or how it is lost.
type Started = Result<Running<FromExecutor>, String>;

impl Warden {
    async fn run(mut self, first: Option<Started>) -> Result<(), Lost> {
        let mut waiting = None;
        let mut started = match first {
            Some(first) => first,
            None => {
                let shutdown = self.shutdown.clone();
                let Some(Some(message)) = shutdown.run_until_cancelled(self.to_rx.recv()).await else {
                    return Ok(());
                };
                waiting = Some(message);
                self.starter.start()
            }
        };
        loop {
            let end = match started {
                Ok(running) => self.attend(running, waiting.take()).await,
                Err(why) => End::Lost(why),
            };
            let End::Lost(why) = end else { return Ok(()) };
            if !self.starter.wait(why, &self.shutdown).await? {
                return Ok(());
            }
            // Whatever the controller may not know is told on the stream that is open.
            waiting = waiting.or(Some(ToExecutor::Attach));
            started = self.starter.start();
        }
    }

    async fn attend(&mut self, mut running: Running<FromExecutor>, waiting: Option<ToExecutor>) -> End {
        let Err(end) = self.pass_on(&mut running, waiting).await;
        running.end(&end).await;
        end
    }

    async fn pass_on(
        &mut self,
        running: &mut Running<FromExecutor>,
        waiting: Option<ToExecutor>,
    ) -> Result<Infallible, End> {
        let setup = ToExecutor::Setup(self.launch.setup.clone());
        // First it is said that one runs, then what is known is read: whatever comes meanwhile is passed on, perhaps twice.
        self.keys.is_started.store(true, Ordering::SeqCst);
        let keys = self.keys.known().as_ref().map(ToExecutor::keys);
        for message in [Some(setup), keys, waiting].into_iter().flatten() {
            running.send(&message).await.map_err(End::Lost)?;
        }
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return Err(End::Shutdown),
                Some(message) = self.to_rx.recv() => running.send(&message).await.map_err(End::Lost)?,
                said = running.next() => {
                    said.and_then(|said| self.take(said)).map_err(End::Lost)?;
                }
            }
        }
    }

    /// Keeps what the executor says, or says why it makes no sense.
    fn take(&self, said: FromExecutor) -> Result<(), String> {
        match said {
            FromExecutor::Ready { counter } => {
                self.counter_tx.send_replace(Some(counter));
            }
            FromExecutor::Report { bytes } => {
                let report = report_of(&bytes).ok_or("talks nonsense and was killed: that is no report")?;
                self.counter_tx.send_if_modified(|known| {
                    let is_news = *known < Some(report.counter);
                    if is_news {
                        *known = Some(report.counter);
                    }
                    is_news
                });
                self.reports.put(report);
            }
        }
        Ok(())
    }
}
