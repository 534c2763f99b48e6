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

/// Why nothing was passed on, as it is told of a command.
type Unpassed = (CommandRefusal, &'static str);

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
    way: Mutex<Way>,
    is_started: AtomicBool,
}

#[derive(Debug, Default)]
struct Way {
    known: Option<v1::CommandKeys>,
    /// Whether there was no room for it: it goes before the next envelope, which may be signed by the key it leads to.
    is_due: bool,
    /// How many ways wait for the executor, among envelopes that were signed before and after each.
    queued: usize,
}

impl Keys {
    fn way(&self) -> MutexGuard<'_, Way> {
        // Nothing in here can panic half way.
        self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an executor that starts is told before all that waits for it. A way that waits itself has its place behind the
    /// envelopes that were signed before it.
    fn first(&self) -> Option<ToExecutor> {
        let way = self.way();
        way.known
            .as_ref()
            .filter(|_| way.queued == 0)
            .map(ToExecutor::keys)
    }

    /// Notes that a message has left the queue.
    fn left(&self, message: &ToExecutor) {
        if message.is_keys() {
            let mut way = self.way();
            way.queued = way.queued.saturating_sub(1);
        }
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
            let mut way = self.keys.way();
            let passed = self
                .pass_due(&mut way)
                .and_then(|()| self.pass(ToExecutor::envelope(envelope, controller_ms)));
            drop(way);
            passed.err()
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
        let mut way = self.keys.way();
        way.known = Some(keys);
        way.is_due = self.keys.is_started.load(Ordering::SeqCst);
        if self.pass_due(&mut way).is_err() {
            warn!("a way of command keys waits until the executor takes it");
        }
    }

    /// Passes the way on if that is due. What already waits for the executor is before it, as it was signed before it.
    fn pass_due(&self, way: &mut Way) -> Result<(), Unpassed> {
        if let (true, Some(keys)) = (way.is_due, &way.known) {
            self.pass(ToExecutor::keys(keys))?;
            way.queued += 1;
        }
        way.is_due = false;
        Ok(())
    }

    fn pass(&self, message: ToExecutor) -> Result<(), Unpassed> {
        self.to_tx.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                (CommandRefusal::Busy, "too much waits for the agent's executor")
            }
            mpsc::error::TrySendError::Closed(_) => {
                (CommandRefusal::NoExecutor, "the agent's executor does not run")
            }
        })
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
        let keys = self.keys.first();
        for message in [Some(setup), keys, waiting].into_iter().flatten() {
            running.send(&message).await.map_err(End::Lost)?;
        }
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return Err(End::Shutdown),
                Some(message) = self.to_rx.recv() => {
                    self.keys.left(&message);
                    running.send(&message).await.map_err(End::Lost)?;
                }
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::command::message::decoded;

    /// A link to an executor that runs and reads nothing but what a test takes.
    fn link() -> (Link, mpsc::Receiver<ToExecutor>) {
        let (to_tx, to_rx) = mpsc::channel(WAITING_MAX);
        let keys = Arc::<Keys>::default();
        keys.is_started.store(true, Ordering::SeqCst);
        let link = Link {
            to_tx,
            reports: Arc::default(),
            counter: watch::channel(Some(1)).1,
            keys,
        };
        (link, to_rx)
    }

    fn way(mark: u8) -> v1::CommandKeys {
        let step = v1::CommandKeyStep {
            step: vec![mark],
            ..v1::CommandKeyStep::default()
        };
        v1::CommandKeys { steps: vec![step] }
    }

    fn envelope(id: Uuid) -> v1::CommandEnvelope {
        let command = v1::Command {
            id: id.as_bytes().to_vec(),
            ..v1::Command::default()
        };
        v1::CommandEnvelope {
            command: command.encode_to_vec(),
            ..v1::CommandEnvelope::default()
        }
    }

    /// What waits for the executor, in order.
    fn waiting(to_rx: &mut mpsc::Receiver<ToExecutor>) -> Vec<String> {
        let mut all = Vec::new();
        while let Ok(message) = to_rx.try_recv() {
            all.push(match message {
                ToExecutor::Keys { bytes } => {
                    let keys: v1::CommandKeys = decoded(&bytes).unwrap();
                    format!("keys {}", keys.steps[0].step[0])
                }
                ToExecutor::Envelope { .. } => "envelope".to_owned(),
                _ => "other".to_owned(),
            });
        }
        all
    }

    fn fill(link: &Link, count: usize) {
        for _ in 0..count {
            link.seen(&v1::CommandSeen::default());
        }
    }

    #[tokio::test]
    async fn a_way_for_which_there_was_no_room_goes_before_the_next_envelope_and_once() {
        let (link, mut to_rx) = link();
        fill(&link, WAITING_MAX);
        link.keys(way(1));
        // Of two that found no room the last one counts.
        link.keys(way(2));
        let early = Uuid::new_v4();
        link.command(&envelope(early), 0);
        let report = link.reports.take().expect("it is refused while there is no room");
        assert_eq!(
            (report.status.id, report.reason.as_str()),
            (early, CommandRefusal::Busy.as_str())
        );
        assert_eq!(waiting(&mut to_rx), vec!["other"; WAITING_MAX]);
        link.command(&envelope(Uuid::new_v4()), 0);
        link.command(&envelope(Uuid::new_v4()), 0);
        assert_eq!(waiting(&mut to_rx), ["keys 2", "envelope", "envelope"]);
        assert!(link.reports.take().is_none(), "nothing was refused");
    }

    #[tokio::test]
    async fn an_envelope_goes_only_behind_the_way_that_is_due() {
        let (link, mut to_rx) = link();
        fill(&link, WAITING_MAX);
        link.keys(way(1));
        // Room for one: that is the way's, and the envelope is refused.
        assert!(to_rx.try_recv().is_ok());
        link.command(&envelope(Uuid::new_v4()), 0);
        let report = link.reports.take().expect("it is refused");
        assert_eq!(report.reason, CommandRefusal::Busy.as_str());
        let all = waiting(&mut to_rx);
        assert_eq!(all.last().map(String::as_str), Some("keys 1"));
        assert!(!all.contains(&"envelope".to_owned()));
        link.command(&envelope(Uuid::new_v4()), 0);
        assert_eq!(waiting(&mut to_rx), ["envelope"]);
    }

    #[tokio::test]
    async fn an_executor_that_starts_again_is_not_told_of_a_key_before_what_the_old_one_signed() {
        let (link, mut to_rx) = link();
        link.command(&envelope(Uuid::new_v4()), 0);
        link.keys(way(1));
        assert!(link.keys.first().is_none(), "it waits behind the envelope");
        while let Ok(message) = to_rx.try_recv() {
            link.keys.left(&message);
        }
        // Taken by one that may have died of it.
        assert!(link.keys.first().is_some_and(|first| first.is_keys()));
    }

    #[tokio::test]
    async fn a_way_is_kept_for_an_executor_that_is_not_there_yet() {
        let (link, mut to_rx) = link();
        link.keys.is_started.store(false, Ordering::SeqCst);
        link.keys(way(1));
        link.command(&envelope(Uuid::new_v4()), 0);
        // The keeper of its process tells it before anything that waits.
        assert_eq!(waiting(&mut to_rx), ["envelope"]);
        assert_eq!(link.keys.way().known, Some(way(1)));
    }
}
