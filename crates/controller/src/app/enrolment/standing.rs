//! Changing what an agent may do: revocation, quarantine, and the adoption of agents nobody here has enrolled.
//!
//! Invariants: a revocation is in the state database and in the file beside it before whoever wanted it gets an
//! answer; an open stream hears of a change at once; of an agent in quarantine, or one that is held, nothing is taken.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use muster_base::id::{AgentId, ServerId};
use thiserror::Error;
use tokio::sync::broadcast;

use crate::app::audit::{Actor, Entry};
use crate::app::{App, AppError, Page, PageRequest, page};
use crate::identity::PeerCertificate;
use crate::identity::revocations::{Revocations, RevocationsError};
use crate::store::{
    AdoptOutcome, Adoption, AgentRow, HeldRow, QUARANTINED, REVOKED, ServerFields, StoreError,
};

/// Longest name that is kept of an agent that is held, in bytes.
const HOSTNAME_BYTES_MAX: usize = 255;

/// What has changed for an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It may never connect again.
    Revoked(AgentId),
    /// It may not connect until somebody decides.
    Quarantined(AgentId),
    /// It may connect.
    Released(AgentId),
    /// Not of one agent: the roots that all are to trust, or who issues their certificates.
    Roots,
}

/// What an agent may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentStatus {
    /// Connect.
    Active,
    /// Nothing until somebody decides: its identity seems to be in use twice.
    Quarantined,
    /// Nothing until somebody decides: its certificate is ours, its identity is not known here.
    Held,
    /// Nothing for ever.
    Revoked,
}

impl AgentStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Active, Self::Quarantined, Self::Held, Self::Revoked];

    /// The word for it in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Quarantined => QUARANTINED,
            Self::Held => "held",
            Self::Revoked => REVOKED,
        }
    }

    /// The status of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// An agent, for people.
#[derive(Debug, Clone)]
pub struct AgentView {
    /// The agent.
    pub agent: AgentId,
    /// What it may do.
    pub status: AgentStatus,
    /// Why it is not active.
    pub reason: Option<String>,
    /// Since when it is not active, Unix ms.
    pub since_ms: Option<i64>,
    /// The server it reports for.
    pub server: Option<ServerId>,
    /// The server's name, or what the agent calls its server as long as it has none here.
    pub hostname: Option<String>,
    /// Generation of its newest certificate.
    pub generation: Option<u32>,
    /// When that ends, Unix ms.
    pub not_after_ms: i64,
    /// Its version.
    pub agent_version: Option<String>,
    /// Where it came from; only if it is held.
    pub address: Option<String>,
}

/// Why an agent's standing was not changed.
#[derive(Debug, Error)]
pub enum StandingError {
    /// No agent of this id.
    #[error("no agent with id {0}")]
    NoAgent(AgentId),
    /// There is nothing to decide.
    #[error("the agent {0} is neither held nor in quarantine")]
    NotWaiting(AgentId),
    /// The server does not exist.
    #[error("no server with id {0}")]
    NoServer(ServerId),
    /// An agent in quarantine stays with its server.
    #[error("the agent in quarantine belongs to the server {0}, and goes back to no other")]
    OtherServer(ServerId),
    /// The name cannot be taken.
    #[error("a name has 1 to {HOSTNAME_BYTES_MAX} bytes, none a control character")]
    Hostname,
    /// It is revoked, and its stream is closed, but that would not survive the loss of the state database.
    #[error(
        "the agent is revoked, but that could not be written beside the state database; it is tried again"
    )]
    NotKept(#[from] RevocationsError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The revoked agents, in memory and in the file beside the state database.
pub(in crate::app) struct Revoked {
    agents: RwLock<BTreeSet<AgentId>>,
    file: Arc<Mutex<Revocations>>,
}

impl Revoked {
    pub(in crate::app) fn new(file: Revocations) -> Self {
        Self {
            agents: RwLock::new(file.agents()),
            file: Arc::new(Mutex::new(file)),
        }
    }

    pub(super) fn contains(&self, agent: AgentId) -> bool {
        let agents = self.agents.read().unwrap_or_else(PoisonError::into_inner);
        agents.contains(&agent)
    }

    /// From now on they are refused.
    fn note(&self, revoked: &[AgentId]) {
        let mut agents = self.agents.write().unwrap_or_else(PoisonError::into_inner);
        agents.extend(revoked);
    }

    /// Writes them down, and those of earlier that could not be. On disk when this returns without an error.
    async fn keep(&self, revoked: &[AgentId], now_ms: i64) -> Result<(), RevocationsError> {
        let file = Arc::clone(&self.file);
        let revoked: Vec<(AgentId, i64)> = revoked.iter().map(|agent| (*agent, now_ms)).collect();
        let written = tokio::task::spawn_blocking(move || {
            file.lock().unwrap_or_else(PoisonError::into_inner).add(revoked)
        });
        written
            .await
            .unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
    }
}

impl App {
    /// Tells of each change at the moment it happens; whoever holds the agent's stream closes it.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.change_tx.subscribe()
    }

    /// Agents of every standing, in order of their ids.
    ///
    /// # Errors
    /// [`AppError::Cursor`] or a failure of the database.
    pub async fn agents(
        &self,
        status: Option<AgentStatus>,
        request: PageRequest,
    ) -> Result<Page<AgentView>, AppError> {
        let after = request.cursor.as_deref().unwrap_or_default();
        if !after.is_empty() && uuid::Uuid::try_parse(after).is_err() {
            return Err(AppError::Cursor);
        }
        let limit = request.limit();
        let status = status.map(AgentStatus::as_str);
        let (rows, total) = self.store.agents(status, after, u64::from(limit) + 1).await?;
        let names = self.server_names().await?;
        let views = rows.into_iter().map(|row| {
            let name = row.server.and_then(|server| names.get(&server));
            let hostname = name.map(|name| name.hostname.clone());
            AgentView::of(row, hostname)
        });
        Ok(page(views.collect(), limit, total, |view| view.agent.to_string()))
    }

    /// Revokes an agent for good, whatever its standing.
    ///
    /// # Errors
    /// [`StandingError::NoAgent`], [`StandingError::NotKept`], or a failure of the database.
    pub async fn revoke_agent(&self, agent: AgentId, by: Actor) -> Result<(), StandingError> {
        let is_known = self.store.identity(agent).await?.is_some() || self.store.held(agent).await?.is_some();
        if !is_known {
            return Err(StandingError::NoAgent(agent));
        }
        self.store
            .revoke_agent(agent, "revoked by an admin", self.clock.now_ms())
            .await?;
        let kept = self.cut_off(&[agent]).await;
        self.note_local(Entry::allowed(by, "agent.revoke", agent.to_string()))
            .await;
        Ok(kept?)
    }

    /// Lets an agent in that is held or in quarantine: one that is held as the agent of `server`, or of a new server
    /// with the name given or the one it calls itself by.
    ///
    /// # Errors
    /// [`StandingError`].
    pub async fn adopt_agent(
        &self,
        agent: AgentId,
        server: Option<ServerId>,
        hostname: Option<&str>,
        by: Actor,
    ) -> Result<ServerId, StandingError> {
        if hostname.is_some_and(|name| !is_hostname(name)) {
            return Err(StandingError::Hostname);
        }
        let held = self.store.held(agent).await?;
        let stated = held.and_then(|held| held.hostname);
        let name = hostname.map(str::to_owned).or(stated);
        let adoption = Adoption {
            agent,
            server,
            fields: ServerFields::named(&name.unwrap_or_else(|| format!("agent-{agent}"))),
            now_ms: self.clock.now_ms(),
        };
        match self.store.adopt(adoption).await? {
            AdoptOutcome::Done { server, revoked } => {
                self.forget_names().await;
                let _ = self.change_tx.send(Change::Released(agent));
                let kept = self.cut_off(&revoked).await;
                let entry = Entry::allowed(by, "agent.adopt", agent.to_string());
                self.note_local(entry.with_detail(format!("server {server}")))
                    .await;
                kept?;
                Ok(server)
            }
            AdoptOutcome::NotWaiting => Err(StandingError::NotWaiting(agent)),
            AdoptOutcome::NoServer => {
                let server = server.unwrap_or(ServerId(0));
                Err(StandingError::NoServer(server))
            }
            AdoptOutcome::OtherServer(own) => Err(StandingError::OtherServer(own)),
        }
    }

    /// Puts an agent in quarantine: its identity was seen in two places, and nobody can tell which of them is the
    /// right one.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn quarantine(&self, agent: AgentId, reason: &'static str) -> Result<(), StoreError> {
        if self.store.quarantine(agent, reason, self.clock.now_ms()).await? {
            tracing::error!(agent.id = %agent, reason, "agent put in quarantine: its identity is in use twice");
            let entry = Entry::allowed(Actor::System, "agent.quarantine", agent.to_string());
            self.audit.note(entry.with_detail(reason)).await;
        }
        let _ = self.change_tx.send(Change::Quarantined(agent));
        Ok(())
    }

    /// Notes an agent whose identity is not known here, with what it says of itself. At most about once a minute for
    /// each.
    pub async fn hold(&self, peer: &PeerCertificate, remote: SocketAddr, said: Option<(String, String)>) {
        let now_ms = self.clock.now_ms();
        if self.hold_limit.take(peer.agent, now_ms).is_err() {
            return;
        }
        let (hostname, agent_version) = said.unzip();
        let held = HeldRow {
            agent: peer.agent,
            generation: peer.generation,
            serial: peer.serial.clone(),
            key_sha256: peer.key_sha256.to_vec(),
            not_after_ms: peer.not_after_ms,
            hostname: hostname.filter(|name| is_hostname(name)),
            agent_version: agent_version.filter(|version| is_hostname(version)),
            address: remote.ip().to_string(),
            last_ms: now_ms,
        };
        match self.store.hold(held).await {
            Ok(()) => tracing::warn!(
                agent.id = %peer.agent,
                remote = %remote,
                "an agent with a certificate of ours is not known here and is held until an admin decides"
            ),
            Err(error) => {
                tracing::warn!(error = %muster_base::ErrorChain(&error), "an agent that is held was not noted");
            }
        }
    }

    /// Closes the streams of revoked agents and writes the revocations down. To be called after the commit that
    /// revoked them, and before anybody is answered.
    pub(in crate::app) async fn cut_off(&self, revoked: &[AgentId]) -> Result<(), RevocationsError> {
        if revoked.is_empty() {
            return Ok(());
        }
        self.revoked.note(revoked);
        for &agent in revoked {
            tracing::info!(agent.id = %agent, "agent revoked");
            // Nobody listening means that no stream is open.
            let _ = self.change_tx.send(Change::Revoked(agent));
        }
        self.revoked.keep(revoked, self.clock.now_ms()).await
    }

    /// Writes down what was done on this machine; what comes over HTTP is written down there.
    async fn note_local(&self, entry: Entry) {
        if matches!(entry.actor, Actor::Local { .. }) {
            self.audit.note(entry).await;
        }
    }

    /// Writes down revocations that could not be written before.
    pub(in crate::app) async fn keep_revocations(&self) -> Result<(), RevocationsError> {
        self.revoked.keep(&[], self.clock.now_ms()).await
    }
}

impl AgentView {
    fn of(row: AgentRow, hostname: Option<String>) -> Self {
        Self {
            agent: row.agent,
            status: AgentStatus::parse(&row.status).unwrap_or(AgentStatus::Revoked),
            reason: row.reason,
            since_ms: row.since_ms,
            server: row.server,
            hostname: hostname.or(row.hostname),
            generation: row.generation,
            not_after_ms: row.not_after_ms,
            agent_version: row.agent_version,
            address: row.address,
        }
    }
}

fn is_hostname(name: &str) -> bool {
    !name.is_empty() && name.len() <= HOSTNAME_BYTES_MAX && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests;
