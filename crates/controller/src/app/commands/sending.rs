//! What is sent on an agent's stream, and what comes back on it.

use muster_base::id::AgentId;
use muster_model::{CommandRefusal, CommandState};
use muster_proto::convert::{CommandReport, command_from_wire};
use muster_proto::v1::CommandEnvelope;
use prost::Message as _;
use thiserror::Error;
use tokio::sync::RwLockReadGuard;

use super::{CommandRow, Commands, changes_containers, sealed};
use crate::app::audit::{Actor, Entry};
use crate::identity::NextCommandKey;
use crate::store::{Said, StoreError};

/// A command as it is sent.
#[derive(Clone)]
pub struct Sending {
    /// Its counter.
    pub counter: u64,
    /// The envelope, with the credential that goes with it.
    pub envelope: CommandEnvelope,
}

/// Why an agent's word of a command was not stored.
#[derive(Debug, Error)]
pub enum SayError {
    /// This agent was never given such a command.
    #[error("the agent speaks of a command that is not its own")]
    NotTheirs,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// As long as it is there, the key that signs commands stays the same.
#[derive(Debug)]
pub struct HeldKey<'a>(
    #[expect(dead_code, reason = "it is held")] RwLockReadGuard<'a, Option<NextCommandKey>>,
);

impl Commands {
    /// What is to be sent to an agent whose certificate is of this generation, in order, of counters above `after`.
    /// What the database holds is sent only if our own key has signed it: whoever can write rows can command nobody.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn to_send(
        &self,
        agent: AgentId,
        generation: Option<u32>,
        after: u64,
    ) -> Result<Vec<Sending>, StoreError> {
        let held = self.hold_key().await?;
        self.to_send_under(&held, agent, generation, after).await
    }

    /// Keeps the key that signs from being replaced. Where a rotation broke off, it is found out first which one that is.
    ///
    /// # Errors
    /// A failure of the database: which key signs is not known.
    pub async fn hold_key(&self) -> Result<HeldKey<'_>, StoreError> {
        loop {
            let held = self.inner.signing.read().await;
            if held.is_none() {
                return Ok(HeldKey(held));
            }
            drop(held);
            let mut doubtful = self.inner.signing.write().await;
            self.settle_key(&mut doubtful).await?;
        }
    }

    /// The same while the key is held: what is sent is signed by the key that was seen meanwhile.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn to_send_under(
        &self,
        _: &HeldKey<'_>,
        agent: AgentId,
        generation: Option<u32>,
        after: u64,
    ) -> Result<Vec<Sending>, StoreError> {
        let now_ms = self.inner.clock.now_ms();
        let waiting = self.inner.store.pending_commands(agent, now_ms).await?;
        let is_frozen = !waiting.is_empty() && self.inner.store.frozen().await?.is_some();
        let mut sendings = Vec::new();
        for row in waiting.into_iter().filter(|row| after < row.counter) {
            // One that was sent and not answered is not sent again while the freeze switch is on; its time passes.
            if is_frozen && changes_containers(&row.verb) {
                continue;
            }
            let Some(mut envelope) = self.renewed(&row, generation) else {
                self.refuse(
                    &row,
                    (CommandState::Refused, CommandRefusal::BadSignature),
                    now_ms,
                )
                .await?;
                continue;
            };
            let credential = self.credential_of(&row).await;
            if row.needs_credential && credential.is_none() {
                self.refuse(
                    &row,
                    (CommandState::Failed, CommandRefusal::CredentialLost),
                    now_ms,
                )
                .await?;
                continue;
            }
            let store = &self.inner.store;
            let generation = generation.unwrap_or(row.generation);
            store
                .command_sent(row.id, generation, &envelope.encode_to_vec(), now_ms)
                .await?;
            envelope.registry = credential;
            sendings.push(Sending {
                counter: row.counter,
                envelope,
            });
        }
        Ok(sendings)
    }

    /// The envelope of a row if it is ours and says what the row says, for the generation that the agent has now.
    fn renewed(&self, row: &CommandRow, generation: Option<u32>) -> Option<CommandEnvelope> {
        let identity = &self.inner.identity;
        let envelope = CommandEnvelope::decode(row.envelope.as_slice()).ok()?;
        if !identity.has_signed_command(&envelope.command, &envelope.signature) {
            return None;
        }
        let mut order = command_from_wire(&envelope.command).ok()??;
        let is_of_row = order.id == row.id
            && order.agent == row.agent.0
            && order.counter == row.counter
            && order.verb == row.verb
            && order.not_after_ms == row.expires_ms;
        if !is_of_row {
            return None;
        }
        match generation {
            Some(generation) if generation != order.generation => {
                order.generation = generation;
                Some(sealed(identity, &order))
            }
            _ => Some(CommandEnvelope {
                registry: None,
                ..envelope
            }),
        }
    }

    /// Ends a command that is not sent.
    async fn refuse(
        &self,
        row: &CommandRow,
        to: (CommandState, CommandRefusal),
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let message = match to.1 {
            CommandRefusal::BadSignature => {
                "what the state database holds was not signed by this controller, and was not sent"
            }
            _ => {
                "its registry credential was lost with a restart of the controller, and none is set up: ask again"
            }
        };
        tracing::error!(command.id = %row.id, reason = to.1.as_str(), "command not sent");
        let ended = self.inner.store.end_command(row.id, to, message, now_ms).await?;
        if let Some(ended) = ended {
            self.outcome(&ended, Actor::System).await;
            self.over(&ended);
        }
        Ok(())
    }

    /// Takes what an agent says of its highest counter when it connects: commands go on above it.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn counter_said(&self, agent: AgentId, counter: u64) -> Result<(), StoreError> {
        self.inner.store.raise_command_counter(agent, counter).await
    }

    /// Takes an agent's word of a command. When this returns it is on disk, and the agent may be told so.
    ///
    /// # Errors
    /// [`SayError`].
    pub async fn said(&self, agent: AgentId, report: &CommandReport) -> Result<(), SayError> {
        let store = &self.inner.store;
        self.watch_audit(agent, report).await?;
        store.raise_command_counter(agent, report.counter).await?;
        let now_ms = self.inner.clock.now_ms();
        let row = match store.command_said(agent, report, now_ms).await? {
            Said::News(row) => row,
            Said::Known => return Ok(()),
            Said::NotTheirs => {
                let target = format!("command/{}", report.status.id);
                let entry = Entry::refused(Actor::Agent(agent), "command.outcome", target, "not_theirs");
                self.inner.audit.note(entry).await;
                return Err(SayError::NotTheirs);
            }
        };
        if row.state.is_final() {
            tracing::info!(command.id = %row.id, state = row.state.as_str(), reason = row.reason, "command is over");
            self.outcome(&row, Actor::Agent(agent)).await;
            self.over(&row);
        } else {
            self.tell(&row);
        }
        Ok(())
    }

    /// An agent's own audit log only grows. One that has become shorter, or another at the same length, was changed.
    async fn watch_audit(&self, agent: AgentId, report: &CommandReport) -> Result<(), StoreError> {
        let Some(audit) = report.audit else {
            return Ok(());
        };
        let known = self.inner.store.agent_audit_head(agent).await?;
        let is_changed = known.is_some_and(|(entries, hash)| {
            audit.entries < entries || (audit.entries == entries && audit.hash.as_slice() != hash)
        });
        if is_changed && report.status.state.is_final() {
            tracing::error!(agent.id = %agent, "the agent's own audit log is not the one it was");
            let target = format!("agent/{agent}");
            let entry = Entry::refused(Actor::Agent(agent), "agent.audit", target, "chain_broken");
            let detail = format!("{} entries now, more were known", audit.entries);
            self.inner.audit.note(entry.with_detail(detail)).await;
        }
        Ok(())
    }
}
