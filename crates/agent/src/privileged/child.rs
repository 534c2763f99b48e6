//! The process with rights: no network, no settings of its own, no arguments from outside; asked for a collector by
//! name, it runs it and says what it found.
//!
//! A task for each collector that was ever asked for; one run of each at a time.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8Path;
use muster_base::{ErrorChain, log};
use muster_model::RunOutcome;
use thiserror::Error;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::message::{Answer, Answered, Ran, Setup, ToChild, encode};
use super::parent::KIND;
use crate::collect::due::Due;
use crate::collect::runner::Runner;
use crate::collect::{Context, Descriptor, Place, Tick};
use crate::config::{Config, ConfigError};
use crate::host::{Host, HostError};
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
    answers_tx: mpsc::Sender<Answer>,
    tasks: JoinSet<()>,
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
        let answer = Answer {
            id,
            result: Answered::Refused(refusal.to_owned()),
        };
        // Nobody takes answers when the socket has failed; reading it ends the process then.
        let _ = self.answers_tx.send(answer).await;
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
async fn tell_due(mut due_rx: mpsc::Receiver<&'static str>, answers_tx: mpsc::Sender<Answer>) {
    while let Some(name) = due_rx.recv().await {
        let result = Answered::Due(name.to_owned());
        if answers_tx.send(Answer { id: 0, result }).await.is_err() {
            return;
        }
        tokio::time::sleep(DUE_APART).await;
    }
}

async fn run_lane(
    mut runner: Runner,
    interval: Duration,
    mut asked_rx: mpsc::Receiver<u64>,
    answers_tx: mpsc::Sender<Answer>,
) {
    while let Some(id) = asked_rx.recv().await {
        let tick = runner.run_once(interval).await;
        let result = Answered::Ran(ran(tick));
        if answers_tx.send(Answer { id, result }).await.is_err() {
            return;
        }
    }
}

fn ran(tick: Tick) -> Ran {
    Ran {
        outcome: tick.outcome,
        message: tick.message,
        duration_ms: tick.duration_ms,
        facts: tick.facts.map(Into::into),
    }
}

async fn write_answers(mut socket: OwnedWriteHalf, mut answers_rx: mpsc::Receiver<Answer>) {
    while let Some(answer) = answers_rx.recv().await {
        let id = answer.id;
        let message = encode(&answer).unwrap_or_default();
        drop(answer);
        let written = match message.len() {
            0 => {
                write_failure(
                    &mut socket,
                    id,
                    "what was found cannot be written down".to_owned(),
                )
                .await
            }
            bytes if FROM_PART_BYTES_MAX < bytes => {
                let why =
                    format!("what was found takes {bytes} bytes, more than {FROM_PART_BYTES_MAX} may be");
                write_failure(&mut socket, id, why).await
            }
            _ => part::write(&mut socket, &message, FROM_PART_BYTES_MAX).await,
        };
        if let Err(error) = written {
            debug!(error = %ErrorChain(&error), "answer can't be given");
            return;
        }
    }
}

async fn write_failure(socket: &mut OwnedWriteHalf, id: u64, message: String) -> Result<(), FrameError> {
    let failed = Ran {
        outcome: RunOutcome::Failed,
        message,
        duration_ms: 0,
        facts: None,
    };
    let answer = Answer {
        id,
        result: Answered::Ran(failed),
    };
    let message = encode(&answer).unwrap_or_default();
    part::write(socket, &message, FROM_PART_BYTES_MAX).await
}
