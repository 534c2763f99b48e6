//! A command as it is kept, and what is asked and answered about commands.

use muster_base::id::{AgentId, ServerId};
use muster_model::{CommandState, Verb};
use serde_json::Value;
use uuid::Uuid;

use crate::store::entity::command;
use crate::store::identities::agent_id;
use crate::store::{StoreError, corrupt};

/// A command as it is kept; times are Unix ms.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandRow {
    /// Its id, UUIDv7: later ones sort behind.
    pub id: Uuid,
    /// The server it is for.
    pub server: ServerId,
    /// The server's agent when it was issued.
    pub agent: AgentId,
    /// The generation of the agent's identity it is signed for.
    pub generation: u32,
    /// Rises with each command to this agent.
    pub counter: u64,
    /// What is to be done.
    pub verb: Verb,
    /// Who asked.
    pub issuer: String,
    /// How far it is.
    pub state: CommandState,
    /// Progress from 0 to 1, if it can be told.
    pub progress: Option<f64>,
    /// The step that is being done; empty: none.
    pub step: String,
    /// For people.
    pub message: String,
    /// A stable word for why it was refused or did not succeed; empty: none.
    pub reason: String,
    /// What came of it.
    pub result: Option<Value>,
    /// Whether it is of use only together with a registry's credential, which is kept nowhere.
    pub needs_credential: bool,
    /// When it was asked for.
    pub created_ms: i64,
    /// When it is not begun any more.
    pub expires_ms: i64,
    /// When it was sent last.
    pub sent_ms: Option<i64>,
    /// When the agent had it, by the agent's clock, as all times of the agent.
    pub received_ms: Option<i64>,
    /// When it was begun.
    pub started_ms: Option<i64>,
    /// When it was over.
    pub finished_ms: Option<i64>,
    /// When anything of this last changed, by the controller's clock.
    pub changed_ms: i64,
    /// The serialised envelope.
    pub(crate) envelope: Vec<u8>,
}

/// Which commands are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct CommandFilter {
    pub(crate) server: Option<ServerId>,
    pub(crate) state: Option<CommandState>,
    pub(crate) verb: Option<String>,
}

/// A command to be issued.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) id: Uuid,
    pub(crate) server: ServerId,
    pub(crate) verb: Verb,
    pub(crate) issuer: String,
    pub(crate) needs_credential: bool,
    pub(crate) created_ms: i64,
    pub(crate) expires_ms: i64,
}

/// How issuing ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Issued {
    /// It is stored.
    As(Box<CommandRow>),
    /// There is no such server.
    NoServer,
    /// The server has no agent that may connect.
    NoAgent,
    /// Too many wait for the agent.
    TooMany,
}

/// What became of an agent's word.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    /// It is news, and stored.
    News(Box<CommandRow>),
    /// It was known, or comes too late.
    Known,
    /// This agent was never given such a command.
    NotTheirs,
}

impl TryFrom<command::Model> for CommandRow {
    type Error = StoreError;

    fn try_from(row: command::Model) -> Result<Self, StoreError> {
        let mut states = CommandState::ALL.into_iter();
        let Some(state) = states.find(|state| state.as_str() == row.state) else {
            return Err(corrupt("command.state", row.state));
        };
        let id = Uuid::parse_str(&row.id).map_err(|_| corrupt("command.id", row.id.as_str()))?;
        let verb = serde_json::from_str(&row.body).map_err(|_| corrupt("command.body", row.body))?;
        let result = row.result.map(|text| serde_json::from_str(&text));
        Ok(Self {
            id,
            server: ServerId(row.server_id),
            agent: agent_id(&row.agent)?,
            generation: u32::try_from(row.generation).unwrap_or(0),
            counter: u64::try_from(row.counter).unwrap_or(0),
            verb,
            issuer: row.issuer,
            state,
            progress: row.progress,
            step: row.step,
            message: row.message,
            reason: row.reason,
            result: result
                .transpose()
                .map_err(|_| corrupt("command.result", "no JSON"))?,
            needs_credential: row.needs_credential,
            created_ms: row.created_ms,
            expires_ms: row.expires_ms,
            sent_ms: row.sent_ms,
            received_ms: row.received_ms,
            started_ms: row.started_ms,
            finished_ms: row.finished_ms,
            changed_ms: row.changed_ms,
            envelope: row.envelope,
        })
    }
}

/// Rows as they are read.
pub(super) fn rows(found: Vec<command::Model>) -> Result<Vec<CommandRow>, StoreError> {
    found.into_iter().map(CommandRow::try_from).collect()
}
