//! Keeps the privileged process running, and asks it.
//!
//! One task owns the child. Whatever goes wrong with it (it dies, it leaves a collection unanswered past its time, it
//! says what makes no sense) ends it: the collections under way fail with the reason, and it is started again after a
//! delay that grows. Questions that come meanwhile wait. An agent that has given its rights up cannot start it again;
//! its task then ends, and with it the agent, for its service manager to start both.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use camino::Utf8PathBuf;
use muster_base::shutdown::CancellationToken;
use muster_model::{Facts, RunOutcome};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::message::{Answer, Answered, FromChild, Setup, ToChild};
use crate::collect::Descriptor;
use crate::collect::due::Due;
use crate::part::{End, FROM_PART_BYTES_MAX, Kind, Lost, OWN_PROGRAM, Running, Starter};

/// What the command line and logs call it. A message to it may take long only when something is wrong: it always reads.
pub(super) const KIND: Kind = Kind {
    argument: "privileged",
    name: "privileged process",
    write_max: Duration::from_secs(10),
};
/// Questions that wait for the child; more wait with whoever asks.
const ASKS_MAX: usize = 16;
/// Questions under way; there are fewer collectors.
const OUTSTANDING_MAX: usize = 64;
/// What the child has, past a collector's own time, to say that it timed out.
const GRACE: Duration = Duration::from_secs(10);

/// Said of a child whose answer is to no question.
const UNASKED: &str = "answered what nobody asked";

/// Said of one that answers a question before it has answered another.
const AT_ONCE: &str = "talks nonsense and was killed: it gives two answers at once";

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
        let mut starter = Starter::new(KIND, launch.program.clone(), launch.is_only_once);
        let first = starter.start();
        let figures = Arc::new(Figures::default());
        let due = Due::default();
        let warden = Warden {
            launch,
            starter,
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

/// A question that was passed on.
struct Outstanding {
    ask: Ask,
    due: Instant,
}

/// What has come of the answer that is being given. There is one at a time.
struct Gathered {
    id: u64,
    facts: Facts,
    bytes: usize,
}

struct Warden {
    launch: Launch,
    starter: Starter,
    asks_rx: mpsc::Receiver<Ask>,
    figures: Arc<Figures>,
    due: Due,
    shutdown: CancellationToken,
}

impl Warden {
    async fn run(mut self, first: Result<Running<FromChild>, String>) -> Result<(), Lost> {
        let mut started = first;
        loop {
            self.figures.starts.fetch_add(1, Ordering::Relaxed);
            let end = match started {
                Ok(running) => self.attend(running).await,
                Err(why) => End::Lost(why),
            };
            let End::Lost(why) = end else {
                return Ok(());
            };
            if !self.starter.wait(why, &self.shutdown).await? {
                return Ok(());
            }
            started = self.starter.start();
        }
    }

    /// Passes questions on and answers back until the child is lost or the agent ends.
    async fn attend(&mut self, mut running: Running<FromChild>) -> End {
        self.figures
            .pid
            .store(running.pid().unwrap_or(0), Ordering::Relaxed);
        let mut outstanding = BTreeMap::new();
        let Err(end) = self.pass_on(&mut running, &mut outstanding).await;
        self.figures.pid.store(0, Ordering::Relaxed);
        running.end(&end).await;
        let error = match &end {
            End::Shutdown => PrivilegedError::Ended,
            End::Lost(why) => PrivilegedError::Lost { why: why.clone() },
        };
        for waiting in outstanding.into_values() {
            // Whoever asked may have gone.
            let _ = waiting.ask.answer_tx.send(Err(error.clone()));
        }
        end
    }

    async fn pass_on(
        &mut self,
        running: &mut Running<FromChild>,
        outstanding: &mut BTreeMap<u64, Outstanding>,
    ) -> Result<Infallible, End> {
        let setup = ToChild::Setup(self.launch.setup.clone());
        running.send(&setup).await.map_err(End::Lost)?;
        let mut next_id = 0_u64;
        let mut gathered = None;
        loop {
            let due = outstanding.values().map(|waiting| waiting.due).min();
            tokio::select! {
                // Questions before answers: one that waits is told of what becomes of this child, and not left for the
                // next. There are few, so answers do not wait for long.
                biased;
                () = self.shutdown.cancelled() => return Err(End::Shutdown),
                Some(ask) = self.asks_rx.recv(), if outstanding.len() < OUTSTANDING_MAX => {
                    let message = ToChild::Collect {
                        id: next_id,
                        collector: ask.descriptor.name.to_owned(),
                    };
                    let due = Instant::now() + ask.descriptor.timeout + self.launch.grace;
                    outstanding.insert(next_id, Outstanding { ask, due });
                    next_id += 1;
                    running.send(&message).await.map_err(End::Lost)?;
                }
                said = running.next() => {
                    let taken = said.and_then(|said| self.take(said, outstanding, &mut gathered));
                    taken.map_err(End::Lost)?;
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    return Err(End::Lost("did not answer in time and was killed".to_owned()));
                }
            }
        }
    }

    /// Gathers what was found and hands an answer to whoever asked, or says why it makes no sense.
    fn take(
        &self,
        said: FromChild,
        outstanding: &mut BTreeMap<u64, Outstanding>,
        gathered: &mut Option<Gathered>,
    ) -> Result<(), String> {
        let Answer { id, result } = match said {
            FromChild::Answer(answer) => answer,
            FromChild::Found { id, facts, bytes } => {
                if !outstanding.contains_key(&id) {
                    return Err(UNASKED.to_owned());
                }
                return gather(gathered, id, facts, bytes);
            }
        };
        if let Answered::Due(name) = &result {
            let found = Descriptor::find(name).ok_or("told of a collector that there is not")?;
            self.due.tell(found.name);
            return Ok(());
        }
        if !outstanding.contains_key(&id) {
            return Err(UNASKED.to_owned());
        }
        let found = gathered.take();
        if found.as_ref().is_some_and(|found| found.id != id) {
            return Err(AT_ONCE.to_owned());
        }
        // Whoever asked for what makes no sense is told so with all others.
        let collected = collected(result, found.map(|found| found.facts))?;
        if let Some(waiting) = outstanding.remove(&id) {
            // Whoever asked may have gone.
            let _ = waiting.ask.answer_tx.send(collected);
        }
        Ok(())
    }
}

/// Adds to what has come of an answer, or says why that makes no sense.
fn gather(gathered: &mut Option<Gathered>, id: u64, facts: Facts, bytes: usize) -> Result<(), String> {
    let so_far = gathered.get_or_insert_with(|| Gathered {
        id,
        facts: Facts::default(),
        bytes: 0,
    });
    if so_far.id != id {
        return Err(AT_ONCE.to_owned());
    }
    so_far.bytes = so_far.bytes.saturating_add(bytes);
    if FROM_PART_BYTES_MAX < so_far.bytes {
        return Err(format!(
            "found more than {FROM_PART_BYTES_MAX} bytes and was killed"
        ));
    }
    so_far.facts.append(facts);
    Ok(())
}

/// What an answer says with what was found before it, or why the two make no sense.
fn collected(answered: Answered, found: Option<Facts>) -> Result<Result<Collected, PrivilegedError>, String> {
    let misfit = || "talks nonsense and was killed: facts and outcome do not fit".to_owned();
    let ran = match answered {
        Answered::Ran(ran) => ran,
        Answered::Refused(why) if found.is_none() => return Ok(Err(PrivilegedError::Refused { why })),
        Answered::Refused(_) | Answered::Due(_) => return Err(misfit()),
    };
    let facts = match ran.outcome {
        RunOutcome::Facts => Some(found.unwrap_or_default()),
        // The rest of it could not be written down.
        RunOutcome::Failed => None,
        _ if found.is_none() => None,
        _ => return Err(misfit()),
    };
    Ok(Ok(Collected {
        outcome: ran.outcome,
        message: ran.message,
        facts,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_gathered_up_to_the_bound_and_one_at_a_time() {
        let mut gathered = None;
        let mut take = |id, bytes| gather(&mut gathered, id, Facts::default(), bytes);
        assert_eq!(take(1, FROM_PART_BYTES_MAX - 1), Ok(()));
        assert_eq!(take(2, 1), Err(AT_ONCE.to_owned()));
        assert_eq!(take(1, 1), Ok(()));
        assert!(take(1, 1).unwrap_err().contains("more than"));
    }
}
