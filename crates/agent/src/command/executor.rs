//! Takes commands, judges them, has them done, and says what became of them.
//!
//! The order is fixed: verify the bytes, read those bytes, look for whom they are, refuse what was seen, write down that
//! it came, judge its time and the policy, write down that it is allowed, look at what is there and judge that, write down
//! that it is begun, do it, write down how it ended, tell it until the controller has written it down too. When one of
//! these writes fails, nothing after it happens; how it ended is tried to be written until it is.
//!
//! Bounds: `RUNNING_MAX` at once, one on a container, and as many open ones as the journal takes.

mod admission;
mod ending;
mod rotation;
mod telling;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use futures::FutureExt as _;
use muster_base::ErrorChain;
use muster_base::shutdown::CancellationToken;
use muster_model::{CommandRefusal, CommandState, Verb};
use muster_proto::convert::{CommandReport, Order};
use muster_proto::v1;
use thiserror::Error;
use tokio::task::JoinSet;
use tracing::{error, info};
use uuid::Uuid;

use self::ending::{Unwritten, outcome_of};
use self::telling::Teller;
use super::Engines;
use super::audit::{AuditError, AuditLog, Event};
use super::journal::{Journal, JournalError, Open};
use super::pinned::Pinned;
use super::policy::Allowed;
use super::refused::Refused;
use super::reports::Reports;
use super::transactions::Transactions;
use super::verbs::{Found, Outcome, TIME_MAX, Tools, cancelled};
use crate::host::Host;
use crate::identity::{IdentityDir, IdentityError};
use crate::runtime::RegistryAuth;

/// Most commands that are done at once.
const RUNNING_MAX: usize = 16;
/// How often it is looked whether something is under way.
const IDLE_EVERY: Duration = Duration::from_millis(2);

/// Why commands cannot be taken at all.
#[derive(Debug, Error)]
pub enum ExecutorError {
    /// There is no usable identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The audit log cannot be used.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// What the executor is made of.
pub struct Parts {
    /// The agent's folder.
    pub data_dir: Utf8PathBuf,
    /// The policy.
    pub policy_file: Utf8PathBuf,
    /// The server.
    pub host: Host,
    /// Its engines.
    pub engines: Arc<dyn Engines>,
    /// What updates containers; `None`: nothing does.
    pub transactions: Option<Arc<dyn Transactions>>,
}

/// Takes commands. Clones share it.
#[derive(Clone)]
pub struct Executor {
    inner: Arc<Inner>,
}

struct Inner {
    dir: IdentityDir,
    /// As it was at the start, but for generation and keys.
    pinned: Pinned,
    policy_file: Utf8PathBuf,
    /// Of journal and audit log.
    folder: Utf8PathBuf,
    tools: Tools,
    state: Mutex<State>,
    tasks: Mutex<JoinSet<()>>,
    reports: Arc<Reports>,
}

struct State {
    journal: Journal,
    audit: AuditLog,
    running: BTreeMap<Uuid, Running>,
    /// Commands that are over, and of whose ends not all is written down.
    unwritten: BTreeMap<Uuid, Unwritten>,
    /// Commands whose ends the controller knows, which is not written down.
    confirmed: BTreeSet<Uuid>,
    /// Transactions that are not over, with why not.
    unfinished: BTreeMap<Uuid, String>,
    /// Whether one task looks at these three again.
    is_going_on: bool,
    /// The latest time that a signed command was issued at.
    signed_ms: i64,
    /// Keys that sign commands.
    keys: Vec<[u8; 32]>,
}

struct Running {
    cancel: CancellationToken,
    /// Whether it is past the point where it can be ended.
    is_final: bool,
    /// What it has for itself alone.
    target: Option<String>,
}

/// When a command came.
#[derive(Debug, Clone, Copy)]
struct Came {
    boottime_ms: i64,
    controller_ms: i64,
}

/// Folder of journal and audit log below the agent's.
#[must_use]
pub fn folder(data_dir: &Utf8Path) -> Utf8PathBuf {
    data_dir.join("commands")
}

impl Executor {
    /// Opens journal and audit log, brings what was under way to its end, and is ready for commands then.
    ///
    /// # Errors
    /// [`ExecutorError`].
    pub async fn open(parts: Parts) -> Result<Self, ExecutorError> {
        let dir = IdentityDir::below(&parts.data_dir);
        let folder = folder(&parts.data_dir);
        let pinned = Pinned::load(&dir, &folder)?;
        let journal = Journal::open(&folder, parts.host.clock().wall_ms)?;
        let audit = AuditLog::open(&folder)?;
        let executor = Self {
            inner: Arc::new(Inner {
                dir,
                pinned: pinned.clone(),
                policy_file: parts.policy_file,
                tools: Tools {
                    host: parts.host,
                    engines: parts.engines,
                    transactions: parts.transactions,
                },
                state: Mutex::new(State {
                    journal,
                    audit,
                    running: BTreeMap::new(),
                    unwritten: BTreeMap::new(),
                    confirmed: BTreeSet::new(),
                    unfinished: BTreeMap::new(),
                    is_going_on: false,
                    signed_ms: 0,
                    keys: pinned.keys.clone(),
                }),
                folder,
                tasks: Mutex::default(),
                reports: Arc::default(),
            }),
        };
        executor.reconcile().await;
        Ok(executor)
    }

    /// Highest counter of this controller that was written down.
    #[must_use]
    pub fn counter(&self) -> u64 {
        self.inner.lock().journal.counter(self.inner.pinned.controller)
    }

    /// What is to be told, next.
    pub async fn next_report(&self) -> CommandReport {
        loop {
            if let Some(report) = self.inner.reports.take() {
                return report;
            }
            self.inner.reports.changed().await;
        }
    }

    /// Tells again what the controller may not know: to be called whenever a stream begins.
    pub fn tell_again(&self) {
        let state = self.inner.lock();
        for (id, open) in state.journal.open_commands() {
            self.inner.put(&state, *id, open);
        }
    }

    /// Takes the controller's word that it has written a state down.
    pub fn seen(&self, id: Uuid, seen: CommandState) {
        self.inner.confirmed(id, seen);
    }

    /// Takes the way of command keys exactly as it came, as far as it goes on from the key that counts.
    pub fn take_keys(&self, keys: &v1::CommandKeys) {
        self.inner.take_keys(keys);
    }

    /// Takes an envelope exactly as it came. `controller_ms` is the controller's time, as far as it is known.
    pub async fn accept(&self, envelope: v1::CommandEnvelope, controller_ms: i64) {
        let came = Came {
            boottime_ms: self.inner.tools.host.clock().boottime_ms,
            controller_ms,
        };
        match self.inner.admit(&envelope, came) {
            Ok(Some((order, allowed))) => self.begin(order, allowed, envelope.registry, came),
            Ok(None) => {}
            Err(refused) => self.inner.refuse_unwritten(&envelope, refused),
        }
    }

    /// Waits until nothing is under way. For tests.
    pub async fn idle(&self) {
        loop {
            {
                let mut tasks = self.inner.tasks();
                while tasks.try_join_next().is_some() {}
                if tasks.is_empty() {
                    return;
                }
            }
            tokio::time::sleep(IDLE_EVERY).await;
        }
    }

    /// Ends what is under way without a word, as the end of the process would. For tests.
    pub async fn kill(self) {
        let mut tasks = std::mem::take(&mut *self.inner.tasks());
        tasks.shutdown().await;
    }

    fn begin(&self, order: Order, allowed: Allowed, registry: Option<v1::RegistryCredential>, came: Came) {
        let inner = Arc::clone(&self.inner);
        let mut tasks = self.inner.tasks();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let auth = registry.map(|registry| RegistryAuth {
                registry: registry.registry,
                username: registry.username,
                password: registry.password,
            });
            let run = AssertUnwindSafe(inner.run(&order, &allowed, auth, came)).catch_unwind();
            if run.await.is_err() {
                // What it was in the midst of nobody knows; its container is free for other commands again.
                error!(command.id = %order.id, "a command panicked");
                let message = "the agent has a defect and gave it up, so it can't be told what was done";
                inner.finish(
                    order.id,
                    Outcome::ended(CommandState::Unknown, CommandRefusal::Failed, message),
                );
            }
        });
    }

    /// Looks at what was under way when the process before this one ended.
    async fn reconcile(&self) {
        let inner = &self.inner;
        let mut ended: BTreeMap<Uuid, Outcome> = BTreeMap::new();
        if let Some(transactions) = &inner.tools.transactions {
            ended.extend(transactions.reconcile().await.into_iter().map(outcome_of));
        }
        let left: Vec<(Uuid, Open)> = {
            let state = inner.lock();
            let open = state.journal.open_commands().iter();
            let left = open.filter(|(_, open)| open.ended.is_none());
            left.map(|(id, open)| (*id, open.clone())).collect()
        };
        for (id, open) in left {
            let outcome = match (ended.remove(&id), open.started_ms) {
                (Some(outcome), _) => outcome,
                (None, None) => Outcome::failed(
                    CommandRefusal::Interrupted,
                    "the agent ended before this was begun; nothing was done",
                ),
                (None, Some(_)) => inner.tools.reconcile(&open.verb).await,
            };
            inner.finish(id, outcome);
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panics half way has written nothing that does not stand in the files.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> i64 {
        self.tools.host.clock().wall_ms
    }

    /// The generation may have changed since the start: a renewal writes it down.
    fn pinned_now(&self) -> Pinned {
        let generation = self.dir.load().map(|identity| identity.generation);
        Pinned {
            generation: generation.unwrap_or(self.pinned.generation),
            keys: self.lock().keys.clone(),
            ..self.pinned.clone()
        }
    }

    /// Looks at what is there, and does it.
    async fn run(self: &Arc<Self>, order: &Order, allowed: &Allowed, auth: Option<RegistryAuth>, came: Came) {
        let outcome = match &order.verb {
            Verb::Cancel { command } => self.cancel(order.id, *command),
            verb => match self.tools.find(verb, allowed).await {
                Ok(found) => self.act(order, found, auth, came).await,
                Err(refused) => refused.into(),
            },
        };
        self.finish(order.id, outcome);
    }

    async fn act(
        self: &Arc<Self>,
        order: &Order,
        found: Found,
        auth: Option<RegistryAuth>,
        came: Came,
    ) -> Outcome {
        let cancel = match self.start(order, came) {
            Ok(cancel) => cancel,
            Err(outcome) => return outcome,
        };
        let tell = Teller::new(Arc::clone(self), order.id);
        let work = self
            .tools
            .run((order.id, &order.verb), found, auth, &tell, &cancel);
        // A transaction has limits of its own, and must not be dropped in its middle.
        if is_transaction(&order.verb) {
            return work.await;
        }
        match tokio::time::timeout(TIME_MAX, work).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::ended(
                CommandState::Unknown,
                CommandRefusal::TimedOut,
                "it took too long and was given up",
            ),
        }
    }

    /// Writes down that it is begun, if it still may be.
    #[expect(clippy::result_large_err, reason = "an outcome is made once for each command")]
    fn start(&self, order: &Order, came: Came) -> Result<CancellationToken, Outcome> {
        let mut state = self.lock();
        self.in_time(&state, order, came)?;
        let can_be_ended = is_transaction(&order.verb)
            || matches!(order.verb, Verb::ContainerLogs { .. } | Verb::ImagePrune { .. });
        let Some(running) = state.running.get_mut(&order.id) else {
            return Err(cancelled());
        };
        if running.cancel.is_cancelled() {
            return Err(cancelled());
        }
        running.is_final = !can_be_ended;
        let cancel = running.cancel.clone();
        if let Err(error) = state.journal.started(order.id, self.now_ms()) {
            error!(error = %ErrorChain(&error), "a command is not begun: it cannot be written down");
            return Err(Refused::new(CommandRefusal::NotWritten, ErrorChain(&error).to_string()).into());
        }
        info!(command.id = %order.id, verb = order.verb.name(), issuer = order.issuer, "command begun");
        if let Some(open) = state.journal.open_commands().get(&order.id) {
            self.put(&state, order.id, open);
        }
        Ok(cancel)
    }

    fn cancel(&self, by: Uuid, command: Uuid) -> Outcome {
        let mut state = self.lock();
        if let Err(error) = state.journal.started(by, self.now_ms()) {
            return Refused::new(CommandRefusal::NotWritten, ErrorChain(&error).to_string()).into();
        }
        match state.running.get(&command) {
            None => Outcome::failed(CommandRefusal::NoSuchTarget, "no such command is under way here"),
            Some(running) if running.is_final => Outcome::failed(
                CommandRefusal::Unsupported,
                "it is past the point where it could be ended",
            ),
            Some(running) => {
                running.cancel.cancel();
                Outcome::done("it was told to end; how it ended is its own last word")
            }
        }
    }
}

const fn is_transaction(verb: &Verb) -> bool {
    matches!(
        verb,
        Verb::ContainerUpdate { .. } | Verb::ContainerRollback { .. }
    )
}

fn event_of(id: Uuid, open: &Open, decision: &str) -> Event {
    let on = open
        .verb
        .container()
        .map(|target| format!(" {} on {}", target.name, target.runtime));
    Event {
        who: open.issuer.clone(),
        command: id.to_string(),
        what: format!("{}{}", open.verb.name(), on.unwrap_or_default()),
        bytes: open.bytes_sha256.clone(),
        decision: decision.to_owned(),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests;
