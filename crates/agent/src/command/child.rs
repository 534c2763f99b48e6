//! The executor's process: rights, no network, no arguments from outside, one thread.
//!
//! What is under way when it ends is in the journal. Without a usable journal or audit log it stays, and refuses every
//! command with the reason.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use muster_base::clock::WallClock;
use muster_base::{ErrorChain, log};
use muster_model::{CommandRefusal, CommandState, CommandStatus};
use muster_proto::convert::{CommandReport, command_state_from_wire};
use muster_proto::v1;
use thiserror::Error;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;
use tracing::{debug, error, warn};
use uuid::Uuid;

use super::engines::Known;
use super::executor::{Executor, Parts};
use super::link::KIND;
use super::message::{FromExecutor, Setup, ToExecutor, decoded};
use super::pinned::claimed_id;
use crate::clocks::ClockReader;
use crate::host::{Host, HostError};
use crate::part::{self, FROM_PART_BYTES_MAX, Parent, PartError};
use crate::update::{self, HostGround, HostUnits, Patience, Transactions, Updater};

/// How often what updates have left is cleared away.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// Words of refusals that wait for the socket, where there is no executor.
const REFUSALS_MAX: usize = 64;

/// Why the executor ended before its socket did.
#[derive(Debug, Error)]
enum ChildError {
    #[error(transparent)]
    Part(#[from] PartError),
    #[error(transparent)]
    Host(#[from] HostError),
}

/// Runs the executor of process `parent` until its socket ends.
#[must_use]
pub fn main(parent: i32) -> ExitCode {
    part::main(KIND, parent, serve)
}

async fn serve(mut parent: Parent, writing: OwnedWriteHalf) -> Result<(), ChildError> {
    let setup = match parent.first().await? {
        None => return Ok(()),
        Some(ToExecutor::Setup(setup)) => setup,
        Some(_) => return Err(PartError::SetupMissing.into()),
    };
    log::init(setup.log_format, setup.log_filter.as_deref());
    parent.log_network();
    let (refusal_tx, refusals) = mpsc::channel(REFUSALS_MAX);
    let serving = open(setup, refusal_tx).await?;
    let writer = tokio::spawn(tell(writing, serving.clone(), refusals));
    let taken = take(&mut parent, &serving).await;
    writer.abort();
    taken
}

/// What serves: an executor, or the reason why there is none.
#[derive(Clone)]
enum Serving {
    Open(Executor),
    Closed(String, mpsc::Sender<CommandReport>),
}

async fn open(setup: Setup, refusal_tx: mpsc::Sender<CommandReport>) -> Result<Serving, ChildError> {
    let host = match &setup.root {
        Some(root) => Host::under(root)?,
        None => Host::system(),
    };
    let engines = Arc::new(Known::new(host.clone(), setup.containers));
    let clock = host.clone();
    // What was under way is brought to its end by engines that are there.
    engines.look().await;
    let updater = Arc::new(Updater::new(
        Arc::clone(&engines) as Arc<dyn update::Engines>,
        (
            Arc::new(HostGround(host.clone())),
            Arc::new(HostUnits(host.clone())),
        ),
        &setup.data_dir,
        ClockReader::new(move || clock.clock()),
        Patience::default(),
    ));
    let parts = Parts {
        data_dir: setup.data_dir,
        policy_file: setup.policy_file,
        host,
        engines: Arc::clone(&engines) as Arc<dyn super::Engines>,
        transactions: Some(Arc::clone(&updater) as Arc<dyn Transactions>),
    };
    let looking = async move {
        loop {
            tokio::time::sleep(TIDY_EVERY).await;
            engines.look().await;
            updater.tidy().await;
        }
    };
    Ok(match Executor::open(parts).await {
        Ok(executor) => {
            // Ends with the process.
            tokio::spawn(looking);
            Serving::Open(executor)
        }
        Err(error) => {
            let why = ErrorChain(&error).to_string();
            error!(error = why, "no command is taken");
            Serving::Closed(why, refusal_tx)
        }
    })
}

async fn take(parent: &mut Parent, serving: &Serving) -> Result<(), ChildError> {
    while let Some(message) = parent.next().await? {
        match message {
            ToExecutor::Setup(_) => return Err(PartError::SecondSetup.into()),
            ToExecutor::Envelope { bytes, controller_ms } => match decoded(&bytes) {
                Some(envelope) => accept(serving, envelope, controller_ms).await,
                None => warn!("an envelope cannot be read and is left out"),
            },
            ToExecutor::Seen { bytes } => {
                if let (Serving::Open(executor), Some(seen)) = (serving, decoded::<v1::CommandSeen>(&bytes))
                    && let Ok(id) = Uuid::from_slice(&seen.id)
                {
                    executor.seen(id, command_state_from_wire(seen.state));
                }
            }
            ToExecutor::Keys { bytes } => {
                if let (Serving::Open(executor), Some(keys)) = (serving, decoded::<v1::CommandKeys>(&bytes)) {
                    executor.take_keys(&keys);
                }
            }
            ToExecutor::Attach => {
                if let Serving::Open(executor) = serving {
                    executor.tell_again();
                }
            }
        }
    }
    Ok(())
}

async fn accept(serving: &Serving, envelope: v1::CommandEnvelope, controller_ms: i64) {
    match serving {
        Serving::Open(executor) => executor.accept(envelope, controller_ms).await,
        Serving::Closed(why, refusal_tx) => {
            if let Some(id) = claimed_id(&envelope) {
                let report = refusal(id, CommandRefusal::NotWritten, why);
                // Whoever floods is not told all of it.
                let _ = refusal_tx.try_send(report);
            }
        }
    }
}

/// A refusal of what no executor has seen.
pub(super) fn refusal(id: Uuid, reason: CommandRefusal, message: &str) -> CommandReport {
    CommandReport {
        status: CommandStatus {
            id,
            state: CommandState::Refused,
            at_ms: WallClock::system().now_ms(),
            progress: None,
            step: String::new(),
            message: message.to_owned(),
            result: None,
        },
        reason: reason.as_str().to_owned(),
        counter: 0,
        audit: None,
    }
}

/// Says that it is ready, and then what becomes of commands.
async fn tell(mut writing: OwnedWriteHalf, serving: Serving, mut refusals: mpsc::Receiver<CommandReport>) {
    let counter = match &serving {
        Serving::Open(executor) => executor.counter(),
        Serving::Closed(..) => 0,
    };
    let mut message = Some(FromExecutor::Ready { counter });
    loop {
        let next = match message.take() {
            Some(message) => message,
            None => {
                let report = match &serving {
                    Serving::Open(executor) => executor.next_report().await,
                    Serving::Closed(..) => match refusals.recv().await {
                        Some(report) => report,
                        None => return,
                    },
                };
                FromExecutor::report(&report)
            }
        };
        let bytes = serde_json::to_vec(&next).unwrap_or_default();
        if let Err(error) = part::write(&mut writing, &bytes, FROM_PART_BYTES_MAX).await {
            debug!(error = %ErrorChain(&error), "what becomes of a command can't be told");
            return;
        }
    }
}

/// The agent's folder as the executor sees it: it does not start where the agent did.
pub(crate) fn absolute(path: Utf8PathBuf) -> io::Result<Utf8PathBuf> {
    if path.is_absolute() {
        return Ok(path);
    }
    let here = Utf8PathBuf::from_path_buf(std::env::current_dir()?);
    here.map(|here| here.join(path))
        .map_err(|_| io::Error::other("the current folder's name is no text"))
}
