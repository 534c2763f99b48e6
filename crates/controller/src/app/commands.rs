//! Commands: asking an agent to do something, signed, and following what becomes of it.
//!
//! A command is signed with a key that is for nothing else, over bytes that say for whom, how often and until when; the
//! agent judges them by a policy that nobody here can write. It is stored before it is sent, sent again until the agent
//! has answered, and ended here when its time is over. A registry's credential that goes with one is held in memory
//! alone until the command is over: after a restart whoever keeps it sealed is asked again ([`Credentials`]), and if
//! nobody has it the command is ended with that reason.

mod rotation;
mod sending;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use muster_base::ErrorChain;
use muster_base::clock::WallClock;
use muster_base::id::{AgentId, ServerId};
use muster_model::{CommandRefusal, CommandState, Verb};
use muster_proto::convert::{Order, command_from_wire, command_to_wire};
use muster_proto::v1::CommandEnvelope;
use prost::Message as _;
use thiserror::Error;
use tokio::sync::{RwLock, broadcast, watch};
use uuid::Uuid;

use super::audit::{Actor, Audit, Entry, Outcome};
use super::auth::Principal;
use super::{AppError, Page, PageRequest, page};
use crate::identity::{Identity, NextCommandKey};
use crate::store::{CommandFilter, Draft, Issued, PENDING_MAX, Store, StoreError};

pub use self::rotation::{KeyView, RotateError};
pub use self::sending::{HeldKey, SayError, Sending};
pub use crate::store::CommandRow;
pub use muster_proto::v1::RegistryCredential;

/// How long a command may wait for its agent unless whoever asks says otherwise.
pub const TTL_DEFAULT: Duration = Duration::from_secs(10 * 60);
/// The shortest time.
pub const TTL_MIN: Duration = Duration::from_secs(5);
/// The longest time.
pub const TTL_MAX: Duration = Duration::from_secs(7 * 86_400);
/// How long commands that are over are kept.
const KEPT: Duration = Duration::from_secs(90 * 86_400);
/// How many changes a slow reader may be behind before it misses some.
const CHANGES_HELD: usize = 1_024;
/// Commands that are read at once.
const PAGE_ROWS: u64 = 500;
/// Longest name of who asks.
const ISSUER_BYTES_MAX: usize = 200;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    name: String,
    actor: Actor,
}

impl Issuer {
    /// A person, or a program with a token.
    #[must_use]
    pub fn of(principal: &Principal) -> Self {
        Self {
            name: cut(&principal.username),
            actor: principal.actor(),
        }
    }

    /// Work that goes on by itself, by its name.
    #[must_use]
    pub fn task(name: &str) -> Self {
        Self {
            name: cut(&format!("task {name}")),
            actor: Actor::System,
        }
    }

    /// Its name, as commands show it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(ISSUER_BYTES_MAX)].to_owned()
}

/// What goes with a command.
#[derive(Clone, Default)]
pub struct IssueOptions {
    /// How long it may wait for its agent; [`TTL_DEFAULT`] if not given, held between [`TTL_MIN`] and [`TTL_MAX`].
    pub ttl: Option<Duration>,
    /// What the agent shows the registry. Never written down.
    pub credential: Option<RegistryCredential>,
    /// Its id, a UUIDv7 that no other command ever has; one is made if not given.
    pub id: Option<Uuid>,
}

impl std::fmt::Debug for IssueOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The password stays out of every log, also by accident.
        f.debug_struct("IssueOptions")
            .field("ttl", &self.ttl)
            .field("has_credential", &self.credential.is_some())
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Who keeps credentials of registries.
#[async_trait]
pub trait Credentials: Send + Sync {
    /// What an agent shows the registry when it does this; `None` if nothing is set up for it.
    ///
    /// # Errors
    /// In words, why what is set up cannot be had.
    async fn of(&self, verb: &Verb) -> Result<Option<RegistryCredential>, String>;
}

/// Why a command was not issued.
#[derive(Debug, Error)]
pub enum IssueError {
    /// There is no such server.
    #[error("no server with id {0}")]
    NoServer(ServerId),
    /// The server has no agent, or its identity was revoked or is in quarantine.
    #[error("the server has no agent that may connect")]
    NoAgent,
    /// Too much waits for the agent already.
    #[error("{PENDING_MAX} commands wait for the agent already")]
    TooMany,
    /// It says what no agent would take.
    #[error("the command cannot be taken: {0}")]
    Invalid(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a command could not be cancelled.
#[derive(Debug, Error)]
pub enum CancelError {
    /// There is no such command.
    #[error("no command with id {0}")]
    NotFound(Uuid),
    /// It is over.
    #[error("the command is over: it is {}", .0.as_str())]
    Over(CommandState),
    /// The agent could not be asked.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which commands are wanted.
#[derive(Debug, Clone, Default)]
pub struct CommandQuery {
    /// Only to this server.
    pub server: Option<ServerId>,
    /// Only in this state.
    pub state: Option<CommandState>,
    /// Only of this verb, one of [`Verb::NAMES`].
    pub verb: Option<String>,
}

/// All that is about commands. Clones share it.
#[derive(Clone)]
pub struct Commands {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    identity: Arc<Identity>,
    audit: Audit,
    clock: WallClock,
    changed_tx: broadcast::Sender<Arc<CommandRow>>,
    wanted_tx: broadcast::Sender<ServerId>,
    /// How often another key has come to sign since the start.
    rotated_tx: watch::Sender<u64>,
    /// Read by whoever signs or judges what was signed, written by whoever replaces the key. A key in it may be stored or
    /// not, and nothing is signed or judged until that is known.
    signing: RwLock<Option<NextCommandKey>>,
    /// Of commands that wait or are under way.
    credentials: Mutex<HashMap<Uuid, RegistryCredential>>,
    /// Who has those that a restart has lost.
    kept: OnceLock<Arc<dyn Credentials>>,
}

impl Commands {
    pub(super) fn new(store: Store, identity: Arc<Identity>, audit: Audit, clock: WallClock) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                identity,
                audit,
                clock,
                changed_tx: broadcast::Sender::new(CHANGES_HELD),
                wanted_tx: broadcast::Sender::new(CHANGES_HELD),
                rotated_tx: watch::Sender::new(0),
                signing: RwLock::default(),
                credentials: Mutex::default(),
                kept: OnceLock::new(),
            }),
        }
    }

    /// Names who keeps credentials; counts once.
    pub fn keep_credentials_at(&self, kept: Arc<dyn Credentials>) {
        // Whoever was named first stays.
        let _ = self.inner.kept.set(kept);
    }

    /// The credential of a command that needs one: as it was given, or as it is kept.
    async fn credential_of(&self, row: &CommandRow) -> Option<RegistryCredential> {
        let held = self.credentials().get(&row.id).cloned();
        if held.is_some() || !row.needs_credential {
            return held;
        }
        match self.inner.kept.get()?.of(&row.verb).await {
            Ok(found) => {
                let found = found?;
                self.credentials().insert(row.id, found.clone());
                Some(found)
            }
            Err(why) => {
                tracing::error!(command.id = %row.id, why, "a registry's credential cannot be had");
                None
            }
        }
    }

    /// Signs a command, stores it and has it sent, now or when the agent connects within its time.
    ///
    /// # Errors
    /// [`IssueError`]; then nothing was issued.
    pub async fn issue(
        &self,
        server: ServerId,
        verb: Verb,
        issuer: &Issuer,
        options: IssueOptions,
    ) -> Result<CommandRow, IssueError> {
        let name = verb.name();
        let issued = self.try_issue(server, verb, issuer, options).await;
        let target = format!("server/{server}");
        let entry = match &issued {
            Ok(row) => Entry::allowed(issuer.actor.clone(), "command.issue", target)
                .with_detail(format!("{name}, command {}, counter {}", row.id, row.counter)),
            Err(error) => {
                Entry::refused(issuer.actor.clone(), "command.issue", target, error.code()).with_detail(name)
            }
        };
        self.inner.audit.note(entry).await;
        issued
    }

    async fn try_issue(
        &self,
        server: ServerId,
        verb: Verb,
        issuer: &Issuer,
        options: IssueOptions,
    ) -> Result<CommandRow, IssueError> {
        let now_ms = self.inner.clock.now_ms();
        let ttl = options.ttl.unwrap_or(TTL_DEFAULT).clamp(TTL_MIN, TTL_MAX);
        let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let id = options.id.unwrap_or_else(|| new_id(now_ms));
        let draft = Draft {
            id,
            server,
            verb,
            issuer: issuer.name.clone(),
            needs_credential: options.credential.is_some(),
            created_ms: now_ms,
            expires_ms: now_ms.saturating_add(ttl_ms),
        };
        self.check(&draft)?;
        let _held = self.hold_key().await?;
        if let Some(credential) = options.credential {
            self.credentials().insert(id, credential);
        }
        let identity = &self.inner.identity;
        let issued = self
            .inner
            .store
            .issue_command(draft, |draft, agent, generation, counter| {
                sealed(identity, &order(identity, draft, agent, generation, counter)).encode_to_vec()
            });
        let failed = match issued.await {
            Ok(Issued::As(row)) => {
                tracing::info!(command.id = %row.id, server.id = %server, verb = row.verb.name(), "command issued");
                self.tell(&row);
                // Nobody listens while no agent is connected.
                let _ = self.inner.wanted_tx.send(server);
                return Ok(*row);
            }
            Ok(Issued::NoServer) => IssueError::NoServer(server),
            Ok(Issued::NoAgent) => IssueError::NoAgent,
            Ok(Issued::TooMany) => IssueError::TooMany,
            Err(error) => error.into(),
        };
        self.credentials().remove(&id);
        Err(failed)
    }

    /// What an agent would not even read is told to whoever asks, and not sent.
    fn check(&self, draft: &Draft) -> Result<(), IssueError> {
        let order = order(&self.inner.identity, draft, AgentId(Uuid::nil()), 0, 0);
        match command_from_wire(&command_to_wire(&order)) {
            Ok(Some(read)) if read == order => Ok(()),
            Ok(_) => Err(IssueError::Invalid("it cannot be written down".to_owned())),
            Err(error) => Err(IssueError::Invalid(error.to_string())),
        }
    }

    /// One command.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn get(&self, id: Uuid) -> Result<Option<CommandRow>, StoreError> {
        self.inner.store.command(id).await
    }

    /// Commands, newest first.
    ///
    /// # Errors
    /// [`AppError::Cursor`] or a failure of the database.
    pub async fn list(&self, query: CommandQuery, wanted: PageRequest) -> Result<Page<CommandRow>, AppError> {
        let limit = wanted.limit();
        let before = wanted.cursor.as_deref().map(Uuid::parse_str);
        let before = before.transpose().map_err(|_| AppError::Cursor)?;
        let filter = CommandFilter {
            server: query.server,
            state: query.state,
            verb: query.verb,
        };
        let found = self.inner.store.commands(&filter, before, u64::from(limit) + 1);
        let (rows, total) = found.await?;
        Ok(page(rows, limit, total, |row| row.id.to_string()))
    }

    /// Ends a command: at once if it was never sent, else by asking the agent, which answers with a command of its own.
    /// What is returned is the command itself in the first case and the one that cancels in the second.
    ///
    /// # Errors
    /// [`CancelError`].
    pub async fn cancel(&self, id: Uuid, issuer: &Issuer) -> Result<CommandRow, CancelError> {
        let row = self.get(id).await?.ok_or(CancelError::NotFound(id))?;
        if row.state.is_final() {
            return Err(CancelError::Over(row.state));
        }
        if row.sent_ms.is_none() {
            let to = (CommandState::Cancelled, CommandRefusal::Cancelled);
            let message = format!("cancelled by {} before it was sent", issuer.name);
            let now_ms = self.inner.clock.now_ms();
            if let Some(ended) = self.inner.store.end_command(id, to, &message, now_ms).await? {
                let entry = Entry::allowed(issuer.actor.clone(), "command.cancel", format!("command/{id}"));
                self.inner.audit.note(entry).await;
                self.over(&ended);
                return Ok(ended);
            }
        }
        let verb = Verb::Cancel { command: id };
        Ok(self
            .issue(row.server, verb, issuer, IssueOptions::default())
            .await?)
    }

    /// Hears of every command that is issued or changes.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Arc<CommandRow>> {
        self.inner.changed_tx.subscribe()
    }

    /// Hears of every server that something is to be sent to.
    #[must_use]
    pub fn wanted(&self) -> broadcast::Receiver<ServerId> {
        self.inner.wanted_tx.subscribe()
    }

    /// Calls off everything that changes a container and was not begun: what was never sent ends at once, of the rest
    /// the agent is asked to end it. Returns how many these are.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn stop_waiting(&self, issuer: &Issuer, words: &str) -> Result<usize, StoreError> {
        let mut waiting = Vec::new();
        for state in [CommandState::Pending, CommandState::Received] {
            let filter = CommandFilter {
                state: Some(state),
                ..CommandFilter::default()
            };
            let mut before = None;
            loop {
                let found = self.inner.store.commands(&filter, before, PAGE_ROWS).await?;
                before = found.0.last().map(|row| row.id);
                waiting.extend(found.0.into_iter().filter(|row| changes_containers(&row.verb)));
                if before.is_none() {
                    break;
                }
            }
        }
        let message = format!("the freeze switch was set before it was begun: {words}");
        let to = (CommandState::Cancelled, CommandRefusal::Frozen);
        for row in &waiting {
            let now_ms = self.inner.clock.now_ms();
            if row.sent_ms.is_none()
                && let Some(ended) = self.inner.store.end_command(row.id, to, &message, now_ms).await?
            {
                let target = format!("command/{}", row.id);
                let entry = Entry::allowed(issuer.actor.clone(), "command.cancel", target);
                self.inner.audit.note(entry).await;
                self.over(&ended);
                continue;
            }
            // The agent may have begun it by now, and then ends it without harm; or be gone, and never be sent it again.
            let verb = Verb::Cancel { command: row.id };
            let asked = self
                .issue(row.server, verb, issuer, IssueOptions::default())
                .await;
            match asked {
                Err(IssueError::Store(error)) => return Err(error),
                Err(error) => {
                    tracing::warn!(error = %ErrorChain(&error), command.id = %row.id, "a command was not called off");
                }
                Ok(_) => {}
            }
        }
        Ok(waiting.len())
    }

    /// Ends commands whose time is over. To be called every second or so.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn expire(&self) -> Result<usize, StoreError> {
        let over = self
            .inner
            .store
            .expire_commands(self.inner.clock.now_ms())
            .await?;
        for row in &over {
            self.outcome(row, Actor::System).await;
            self.over(row);
        }
        Ok(over.len())
    }

    /// Forgets commands that were over long ago.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn forget_old(&self) -> Result<u64, StoreError> {
        let kept_ms = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        let before_ms = self.inner.clock.now_ms().saturating_sub(kept_ms);
        self.inner.store.forget_commands(before_ms).await
    }

    /// Writes down how a command ended.
    async fn outcome(&self, row: &CommandRow, by: Actor) {
        let reason = CommandRefusal::of_word(&row.reason).as_str();
        let outcome = match row.state {
            CommandState::Refused => Outcome::Refused { reason },
            CommandState::Failed | CommandState::Expired | CommandState::Cancelled => {
                Outcome::Failed { reason }
            }
            CommandState::Unknown => Outcome::Unknown { reason },
            _ => Outcome::Allowed,
        };
        let entry = Entry {
            outcome,
            ..Entry::allowed(by, "command.outcome", format!("command/{}", row.id))
        };
        let detail = format!(
            "{} on server/{}: {} {}",
            row.verb.name(),
            row.server,
            row.state.as_str(),
            row.message
        );
        self.inner.audit.note(entry.with_detail(detail)).await;
    }

    /// Tells of a command that is over, and forgets what was held for it.
    fn over(&self, row: &CommandRow) {
        self.credentials().remove(&row.id);
        self.tell(row);
    }

    fn tell(&self, row: &CommandRow) {
        // Nobody may be listening.
        let _ = self.inner.changed_tx.send(Arc::new(row.clone()));
    }

    fn credentials(&self) -> MutexGuard<'_, HashMap<Uuid, RegistryCredential>> {
        // Nothing in here can panic half way.
        self.inner
            .credentials
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl IssueError {
    const fn code(&self) -> &'static str {
        match self {
            Self::NoServer(_) => "server_not_found",
            Self::NoAgent => "no_agent",
            Self::TooMany => "limit_reached",
            Self::Invalid(_) => "invalid_command",
            Self::Store(_) => "internal",
        }
    }
}

/// Whether a verb changes a container, or images that one may need. Reading and looking after pools do not.
#[must_use]
pub const fn changes_containers(verb: &Verb) -> bool {
    match verb {
        Verb::ContainerStart { .. }
        | Verb::ContainerStop { .. }
        | Verb::ContainerRestart { .. }
        | Verb::ContainerPause { .. }
        | Verb::ContainerUnpause { .. }
        | Verb::ContainerRemove { .. }
        | Verb::ContainerUpdate { .. }
        | Verb::ContainerRollback { .. }
        | Verb::ImagePrune { .. } => true,
        Verb::ContainerLogs { .. } | Verb::PoolScrub { .. } | Verb::Cancel { .. } => false,
    }
}

/// A UUIDv7 of this time.
fn new_id(now_ms: i64) -> Uuid {
    let (seconds, rest_ms) = (now_ms.div_euclid(1_000), now_ms.rem_euclid(1_000));
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let nanos = u32::try_from(rest_ms).unwrap_or(0).saturating_mul(1_000_000);
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos))
}

/// What is signed of a draft.
fn order(identity: &Identity, draft: &Draft, agent: AgentId, generation: u32, counter: u64) -> Order {
    let age_ms = draft.expires_ms.saturating_sub(draft.created_ms);
    Order {
        id: draft.id,
        agent: agent.0,
        generation,
        controller: identity.installation().uuid,
        counter,
        not_after_ms: draft.expires_ms,
        max_age_ms: u32::try_from(age_ms).unwrap_or(u32::MAX),
        issuer: draft.issuer.clone(),
        verb: draft.verb.clone(),
    }
}

/// A signed command.
fn sealed(identity: &Identity, order: &Order) -> CommandEnvelope {
    let command = command_to_wire(order);
    CommandEnvelope {
        signature: identity.sign_command(&command),
        key_id: identity.command_key_id(),
        command,
        registry: None,
    }
}

#[cfg(test)]
mod tests;
