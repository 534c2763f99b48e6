//! The process with rights: no network, no settings of its own, no arguments from outside; asked for a collector by
//! name, it runs it and says what it found.
//!
//! A task for each collector that was ever asked for; one run of each at a time.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8Path;
use muster_base::shutdown::CancellationToken;
use muster_base::{ErrorChain, log};
use muster_model::{Facts, RunOutcome};
use thiserror::Error;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::facts::{items, write_part};
use super::message::{Answer, Answered, Head, MessageError, Ran, Setup, ToChild, encode};
use super::parent::KIND;
use crate::collect::due::Due;
use crate::collect::runner::Runner;
use crate::collect::{Context, Descriptor, Place, Tick};
use crate::config::{Config, ConfigError};
use crate::host::{Host, HostError};
use crate::memory;
use crate::part::{self, FROM_PART_BYTES_MAX, FrameError, Parent, PartError};

/// Answers that wait for the socket; when full, collectors wait.
const ANSWERS_MAX: usize = 4;
/// Changes that wait to be passed on; one that finds no room comes with those.
const DUE_MAX: usize = 1;
/// How far apart changes are passed on.
const DUE_APART: Duration = Duration::from_millis(250);

/// Why the child ended before its socket did.
#[derive(Debug, Error)]
enum ChildError {
    #[error(transparent)]
    Part(#[from] PartError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Host(#[from] HostError),
}

/// Why an answer was not written.
#[derive(Debug, Error)]
enum WriteError {
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Runs the child of process `parent` until its socket ends.
#[must_use]
pub fn main(parent: i32) -> ExitCode {
    part::main(KIND, parent, serve)
}

async fn serve(mut parent: Parent, writing: OwnedWriteHalf) -> Result<(), ChildError> {
    let setup = match parent.first().await? {
        None => return Ok(()),
        Some(ToChild::Setup(setup)) => setup,
        Some(ToChild::Collect { .. }) => return Err(PartError::SetupMissing.into()),
    };
    let mut lanes = Lanes::new(&setup, writing)?;
    parent.log_network();
    while let Some(message) = parent.next().await? {
        match message {
            ToChild::Setup(_) => return Err(PartError::SecondSetup.into()),
            ToChild::Collect { id, collector } => lanes.ask(id, &collector).await,
        }
    }
    Ok(())
}

/// The collectors that were asked for, each with its task; dropping it ends them.
struct Lanes {
    host: Host,
    context: Context,
    lanes: BTreeMap<&'static str, mpsc::Sender<u64>>,
    answers_tx: mpsc::Sender<Reply>,
    tasks: JoinSet<()>,
}

/// An answer, and what was found.
struct Reply {
    answer: Answer,
    facts: Option<Facts>,
}

impl Reply {
    fn new(id: u64, result: Answered) -> Self {
        Self {
            answer: Answer { id, result },
            facts: None,
        }
    }

    fn of(id: u64, tick: Tick) -> Self {
        let ran = Ran {
            outcome: tick.outcome,
            message: tick.message,
            duration_ms: tick.duration_ms,
        };
        Self {
            facts: tick.facts,
            ..Self::new(id, Answered::Ran(ran))
        }
    }
}

impl Lanes {
    fn new(setup: &Setup, socket: OwnedWriteHalf) -> Result<Self, ChildError> {
        let config = Config::parse(Utf8Path::new("settings"), &setup.settings)?;
        log::init(setup.log_format, setup.log_filter.as_deref());
        let host = match &setup.root {
            Some(root) => Host::under(root)?,
            None => Host::system(),
        };
        let (answers_tx, answers_rx) = mpsc::channel(ANSWERS_MAX);
        let mut tasks = JoinSet::new();
        // It ends with the others, when its parent does.
        tasks.spawn(memory::give_back_often(CancellationToken::new()));
        tasks.spawn(write_answers(socket, answers_rx));
        let (due_tx, due_rx) = mpsc::channel(DUE_MAX);
        tasks.spawn(tell_due(due_rx, answers_tx.clone()));
        let context = Context {
            due: Due::passed_on(due_tx),
            ..Context::new(Arc::new(config.collect))
        };
        Ok(Self {
            host,
            context,
            lanes: BTreeMap::new(),
            answers_tx,
            tasks,
        })
    }

    /// Has a collector run, or says why not.
    async fn ask(&mut self, id: u64, name: &str) {
        let refusal = match Descriptor::find(name) {
            None => "there is no such collector",
            Some(found) if found.place != Place::Privileged => "this collector needs no rights",
            Some(found) => match self.lane(found).try_send(id) {
                Ok(()) => return,
                Err(_) => "the collector runs already",
            },
        };
        warn!(collector = name, why = refusal, "collection refused");
        let reply = Reply::new(id, Answered::Refused(refusal.to_owned()));
        // Nobody takes answers when the socket has failed; reading it ends the process then.
        let _ = self.answers_tx.send(reply).await;
    }

    fn lane(&mut self, descriptor: &'static Descriptor) -> &mpsc::Sender<u64> {
        self.lanes.entry(descriptor.name).or_insert_with(|| {
            let (asked_tx, asked_rx) = mpsc::channel(1);
            let runner = Runner::silent(descriptor, self.host.clone(), self.context.clone());
            let run = run_lane(runner, descriptor.interval, asked_rx, self.answers_tx.clone());
            self.tasks.spawn(run);
            asked_tx
        })
    }
}

/// Passes on which collectors have something new to find, no more often than the parent could use.
async fn tell_due(mut due_rx: mpsc::Receiver<&'static str>, answers_tx: mpsc::Sender<Reply>) {
    while let Some(name) = due_rx.recv().await {
        let result = Answered::Due(name.to_owned());
        if answers_tx.send(Reply::new(0, result)).await.is_err() {
            return;
        }
        tokio::time::sleep(DUE_APART).await;
    }
}

async fn run_lane(
    mut runner: Runner,
    interval: Duration,
    mut asked_rx: mpsc::Receiver<u64>,
    answers_tx: mpsc::Sender<Reply>,
) {
    while let Some(id) = asked_rx.recv().await {
        let tick = runner.run_once(interval).await;
        if answers_tx.send(Reply::of(id, tick)).await.is_err() {
            return;
        }
    }
}

async fn write_answers(mut socket: OwnedWriteHalf, mut answers_rx: mpsc::Receiver<Reply>) {
    while let Some(Reply { mut answer, facts }) = answers_rx.recv().await {
        let written = async {
            if let Some(facts) = facts
                && let Err(why) = write_facts(&mut socket, answer.id, facts).await?
            {
                answer.result = Answered::Ran(Ran {
                    outcome: RunOutcome::Failed,
                    message: why,
                    duration_ms: 0,
                });
            }
            let message = encode(&Head::Answer(answer))?;
            Ok::<_, WriteError>(part::write(&mut socket, &message, FROM_PART_BYTES_MAX).await?)
        };
        if let Err(error) = written.await {
            debug!(error = %ErrorChain(&error), "answer can't be given");
            return;
        }
    }
}

/// Writes what was found, part by part; or says why all of it is not to be told.
async fn write_facts(
    socket: &mut OwnedWriteHalf,
    id: u64,
    facts: Facts,
) -> Result<Result<(), String>, WriteError> {
    let mut items = items(facts).peekable();
    let mut bytes = 0;
    while items.peek().is_some() {
        let part = match write_part(encode(&Head::Found(id))?, &mut items) {
            Ok(part) => part,
            Err(error) => {
                return Ok(Err(format!(
                    "what was found can't be written down: {}",
                    ErrorChain(&error)
                )));
            }
        };
        bytes += part.len();
        if FROM_PART_BYTES_MAX < bytes {
            return Ok(Err(format!(
                "what was found takes more than the {FROM_PART_BYTES_MAX} bytes it may"
            )));
        }
        part::write(socket, &part, FROM_PART_BYTES_MAX).await?;
    }
    Ok(Ok(()))
}
