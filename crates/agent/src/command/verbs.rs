//! What each verb does, how it is told afterwards whether it was done, and how long it may take.
//!
//! A verb is a fixed sequence of typed calls of an engine, or of a program with arguments of our own and a word to a file
//! of the kernel. What is reached already is success and says so, so each of them may be asked for twice.

mod prune;
mod scrub;

use std::sync::Arc;
use std::time::Duration;

use muster_base::ErrorChain;
use muster_base::shutdown::CancellationToken;
use muster_model::{CommandRefusal, CommandState, ContainerTarget, LogRange, ResourceKey, Verb};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Engines;
use super::journal::Ended;
use super::policy::{Allowed, Container};
use super::refused::Refused;
use super::transactions::{Tell, TransactionError, Transactions};
use crate::host::Host;
use crate::runtime::{Engine, EngineError, RegistryAuth};

/// Most bytes of log lines in an answer, well below what a result may have with its quotes.
const LOG_BYTES_MAX: usize = 96 * 1024;
/// Longest time that a verb may take which is no transaction.
pub(super) const TIME_MAX: Duration = Duration::from_secs(2 * 3_600);

/// What verbs work with.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) host: Host,
    pub(super) engines: Arc<dyn Engines>,
    pub(super) transactions: Option<Arc<dyn Transactions>>,
}

/// How a verb ended, without its time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outcome {
    pub(super) state: CommandState,
    pub(super) reason: Option<CommandRefusal>,
    pub(super) word: String,
    pub(super) message: String,
    pub(super) result: Option<Value>,
}

impl Outcome {
    pub(super) fn done(message: impl Into<String>) -> Self {
        Self {
            state: CommandState::Succeeded,
            reason: None,
            word: String::new(),
            message: message.into(),
            result: None,
        }
    }

    pub(super) fn ended(state: CommandState, reason: CommandRefusal, message: impl Into<String>) -> Self {
        Self {
            state,
            reason: Some(reason),
            word: reason.as_str().to_owned(),
            message: message.into(),
            result: None,
        }
    }

    pub(super) fn failed(reason: CommandRefusal, message: impl Into<String>) -> Self {
        Self::ended(CommandState::Failed, reason, message)
    }

    fn with(self, result: Value) -> Self {
        Self {
            result: Some(result),
            ..self
        }
    }

    pub(super) fn at(self, at_ms: i64) -> Ended {
        Ended {
            state: self.state,
            reason: self.word,
            message: self.message,
            result: self.result,
            at_ms,
        }
    }
}

impl From<Refused> for Outcome {
    fn from(refused: Refused) -> Self {
        Self::ended(CommandState::Refused, refused.reason, refused.message)
    }
}

/// A call that was not answered may have been done.
fn failed(error: &EngineError) -> Outcome {
    let message = ErrorChain(error).to_string();
    match error {
        EngineError::TimedOut { .. } => {
            Outcome::ended(CommandState::Unknown, CommandRefusal::TimedOut, message)
        }
        EngineError::NotFound { .. } => Outcome::failed(CommandRefusal::NoSuchTarget, message),
        error if error.is_unanswered() => {
            Outcome::ended(CommandState::Unknown, CommandRefusal::Failed, message)
        }
        _ => Outcome::failed(CommandRefusal::Failed, message),
    }
}

/// A command's target as it was found, before anything is done to it.
pub(super) enum Found {
    Container(Arc<dyn Engine>, Container),
    Runtime(Arc<dyn Engine>),
    Nothing,
}

impl Tools {
    /// Finds what a verb is about, and has the policy judge what was found. Changes nothing.
    pub(super) async fn find(&self, verb: &Verb, allowed: &Allowed) -> Result<Found, Refused> {
        if let Verb::ImagePrune { runtime, .. } = verb {
            return Ok(Found::Runtime(self.engine(runtime).await?));
        }
        let Some(target) = verb.container() else {
            return Ok(Found::Nothing);
        };
        let engine = self.engine(&target.runtime).await?;
        let container = match engine.inspect(&target.name).await {
            Ok(container) => Container(container),
            Err(error @ EngineError::NotFound { .. }) => {
                // Gone already, by whomever: what was wanted, unless it is another one that was meant.
                if matches!(verb, Verb::ContainerRemove { .. }) {
                    return Ok(Found::Runtime(engine));
                }
                return Err(Refused::new(
                    CommandRefusal::NoSuchTarget,
                    ErrorChain(&error).to_string(),
                ));
            }
            Err(error) => {
                return Err(Refused::new(
                    CommandRefusal::NoSuchTarget,
                    ErrorChain(&error).to_string(),
                ));
            }
        };
        check_id(target, &container)?;
        match verb {
            Verb::ContainerUpdate { plan, .. } => allowed.judge(&container, Some(&plan.image))?,
            Verb::ContainerRollback { .. } => allowed.judge(&container, None)?,
            _ => {}
        }
        Ok(Found::Container(engine, container))
    }

    async fn engine(&self, key: &ResourceKey) -> Result<Arc<dyn Engine>, Refused> {
        let found = self.engines.engine(key).await;
        let message = format!("there is no runtime {key} here");
        found.ok_or_else(|| Refused::new(CommandRefusal::NoSuchTarget, message))
    }

    /// Does it. It was written down before that it is being done.
    pub(super) async fn run(
        &self,
        (id, verb): (Uuid, &Verb),
        found: Found,
        auth: Option<RegistryAuth>,
        tell: &dyn Tell,
        cancel: &CancellationToken,
    ) -> Outcome {
        match (verb, found) {
            (Verb::ContainerUpdate { target, plan }, _) => match &self.transactions {
                Some(transactions) => {
                    transaction(transactions.update(id, target, plan, auth, tell, cancel).await)
                }
                None => no_transactions(),
            },
            (Verb::ContainerRollback { target, update }, _) => match &self.transactions {
                Some(transactions) => transaction(
                    transactions
                        .rollback(id, target, *update, auth, tell, cancel)
                        .await,
                ),
                None => no_transactions(),
            },
            (Verb::ContainerLogs { range, .. }, Found::Container(engine, container)) => {
                tokio::select! {
                    outcome = logs(engine.as_ref(), &container, range) => outcome,
                    () = cancel.cancelled() => cancelled(),
                }
            }
            (Verb::ContainerRemove { .. }, Found::Runtime(_)) => Outcome::done("it is gone already"),
            (Verb::ImagePrune { filter, .. }, Found::Runtime(engine)) => {
                let now_ms = self.host.clock().wall_ms;
                prune::run(engine.as_ref(), (filter, now_ms), tell, cancel).await
            }
            (Verb::PoolScrub { pool }, _) => scrub::run(&self.host, pool).await,
            (verb, Found::Container(engine, container)) => simple(engine.as_ref(), verb, &container)
                .await
                .unwrap_or_else(|error| failed(&error)),
            _ => Outcome::failed(CommandRefusal::Unsupported, "this agent cannot do that"),
        }
    }

    /// What became of a verb that was begun before this process was, from what is there now. It is never done again.
    pub(super) async fn reconcile(&self, verb: &Verb) -> Outcome {
        let unknown = || {
            Outcome::ended(
                CommandState::Unknown,
                CommandRefusal::Interrupted,
                "the agent ended while this was being done, and it can't be told whether it was",
            )
        };
        match verb {
            Verb::ContainerLogs { .. } => Outcome::failed(
                CommandRefusal::Interrupted,
                "the agent ended while it was reading; nothing was changed",
            ),
            Verb::PoolScrub { pool } => match scrub::is_running(&self.host, pool).await {
                Some(true) => Outcome::done("it runs; the agent ended while it was being started"),
                _ => unknown(),
            },
            _ => match verb.container() {
                Some(target) => self.reached(verb, target).await.unwrap_or_else(unknown),
                None => unknown(),
            },
        }
    }

    /// Whether a container is as the verb would leave it.
    async fn reached(&self, verb: &Verb, target: &ContainerTarget) -> Option<Outcome> {
        let engine = self.engines.engine(&target.runtime).await?;
        let container = match engine.inspect(&target.name).await {
            Ok(container) => Container(container),
            Err(EngineError::NotFound { .. }) if matches!(verb, Verb::ContainerRemove { .. }) => {
                return Some(Outcome::done(
                    "it is gone; the agent ended while it was being removed",
                ));
            }
            Err(_) => return None,
        };
        check_id(target, &container).ok()?;
        let is = |word, wanted| state(&container, word) == Some(wanted);
        let is_reached = match verb {
            Verb::ContainerStart { .. } => is("Running", true),
            Verb::ContainerStop { .. } => is("Running", false),
            Verb::ContainerPause { .. } => is("Paused", true),
            Verb::ContainerUnpause { .. } => is("Running", true) && is("Paused", false),
            _ => false,
        };
        is_reached.then(|| Outcome::done("it is so; the agent ended while it was being done"))
    }
}

fn check_id(target: &ContainerTarget, container: &Container) -> Result<(), Refused> {
    let Some(meant) = &target.container_id else {
        return Ok(());
    };
    // People and engines shorten ids; twelve digits is the shortest that engines show.
    if 12 <= meant.len() && container.id().starts_with(meant.as_str()) {
        return Ok(());
    }
    let message = format!(
        "{} is another container now than the one that is meant",
        target.name
    );
    Err(Refused::new(CommandRefusal::RealityChanged, message))
}

/// What its state says of a word such as `Running`; `None` if nothing: then it is neither so nor not so.
fn state(container: &Container, word: &str) -> Option<bool> {
    container.0["State"][word].as_bool()
}

/// The verbs that are one call. The container is named by its id: whatever got its name meanwhile is another one.
async fn simple(engine: &dyn Engine, verb: &Verb, container: &Container) -> Result<Outcome, EngineError> {
    let id = container.id();
    let is = |word, wanted| state(container, word) == Some(wanted);
    Ok(match verb {
        Verb::ContainerStart { .. } if is("Running", true) => Outcome::done("it runs already"),
        Verb::ContainerStart { .. } => {
            engine.start(id).await?;
            Outcome::done("started")
        }
        Verb::ContainerStop { .. } if is("Running", false) => Outcome::done("it does not run"),
        Verb::ContainerStop { timeout_s, .. } => {
            engine.stop(id, *timeout_s).await?;
            Outcome::done("stopped")
        }
        Verb::ContainerRestart { timeout_s, .. } => {
            engine.restart(id, *timeout_s).await?;
            Outcome::done("restarted")
        }
        Verb::ContainerPause { .. } if is("Paused", true) => Outcome::done("it is paused already"),
        Verb::ContainerPause { .. } => {
            engine.pause(id).await?;
            Outcome::done("paused")
        }
        Verb::ContainerUnpause { .. } if is("Paused", false) => Outcome::done("it is not paused"),
        Verb::ContainerUnpause { .. } => {
            engine.unpause(id).await?;
            Outcome::done("goes on")
        }
        Verb::ContainerRemove { force, .. } if !is("Running", false) && !force => Outcome::failed(
            CommandRefusal::RealityChanged,
            "it runs; stop it first, or ask with force",
        ),
        Verb::ContainerRemove { force, .. } => {
            engine.remove(id, *force).await?;
            Outcome::done("removed; its volumes are kept")
        }
        _ => Outcome::failed(CommandRefusal::Unsupported, "this agent cannot do that"),
    })
}

async fn logs(engine: &dyn Engine, container: &Container, range: &LogRange) -> Outcome {
    match engine.logs(container.id(), range, LOG_BYTES_MAX).await {
        Ok(chunks) => {
            let lines: Vec<Value> = chunks
                .into_iter()
                .map(|line| json!({"stream": if line.is_stderr { "stderr" } else { "stdout" }, "text": line.text}))
                .collect();
            Outcome::done(format!("{} lines", lines.len())).with(json!({"lines": lines}))
        }
        Err(error) => failed(&error),
    }
}

pub(super) fn cancelled() -> Outcome {
    Outcome::ended(
        CommandState::Cancelled,
        CommandRefusal::Cancelled,
        "it was cancelled",
    )
}

fn no_transactions() -> Outcome {
    let message = "this agent cannot update containers";
    Outcome::failed(CommandRefusal::Unsupported, message)
}

fn transaction(ended: Result<Value, TransactionError>) -> Outcome {
    let worded = |state, reason: &str, message, result| Outcome {
        state,
        reason: Some(CommandRefusal::of_word(reason)),
        word: reason.to_owned(),
        message,
        result,
    };
    match ended {
        Ok(result) => Outcome::done("done").with(result),
        Err(TransactionError::Refused { reason, message }) => {
            worded(CommandState::Refused, reason, message, None)
        }
        Err(TransactionError::Failed {
            reason,
            message,
            result,
        }) => worded(CommandState::Failed, reason, message, result),
        Err(TransactionError::Cancelled { message }) => {
            Outcome::ended(CommandState::Cancelled, CommandRefusal::Cancelled, message)
        }
        Err(TransactionError::Unknown { message }) => {
            Outcome::ended(CommandState::Unknown, CommandRefusal::Interrupted, message)
        }
    }
}
