//! What updates need of others: what registries know, and the way to agents.

use std::sync::Arc;

use async_trait::async_trait;
use muster_base::id::ServerId;
use muster_model::{CommandStatus, Verb};
use muster_update::{Candidate, Limit};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use uuid::Uuid;

use crate::registry::Progress;
use crate::store::StoreError;

/// What is asked of a registry for a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The image reference it is configured with.
    pub image: String,
    /// `os/architecture` with perhaps `/variant`.
    pub platform: Option<String>,
    /// Digest of what it runs, of its own repository; `None` if it was built here or is not known.
    pub current_digest: Option<String>,
    /// Every digest of what it runs, `repo@sha256:…`.
    pub repo_digests: Vec<String>,
    /// Id of the image that it runs.
    pub image_id: String,
    /// How far updates go.
    pub limit: Option<Limit>,
    /// Which tags are wanted.
    pub allowed_versions: Option<String>,
    /// Which tags are not.
    pub excluded_versions: Vec<String>,
    /// For how long a digest must have been known, in milliseconds.
    pub min_age_ms: i64,
    /// When the container was made, Unix ms.
    pub created_ms: Option<i64>,
    /// Digests that did harm somewhere, of tags or of platforms: passed over where there is anything else.
    pub bad: Arc<[String]>,
}

/// What registries know.
#[async_trait]
pub trait Candidates: Send + Sync {
    /// What there is for a container, of what is known; asks nobody.
    async fn candidate(&self, asked: &Asked) -> Candidate;

    /// Has registries asked now about these, and says how far that is.
    ///
    /// # Errors
    /// In words, why nobody can be asked.
    async fn check(&self, asked: &[Asked], progress: &Progress) -> Result<(), String>;
}

/// What an agent is to be told.
#[derive(Debug, Clone)]
pub struct Order {
    /// Whose agent.
    pub server: ServerId,
    /// What.
    pub verb: Verb,
    /// Who wants it: the name of an account, or `policy` or `rollout` with a number.
    pub by: String,
    /// What it is for; `None` for what people want once.
    pub reference: Option<OrderReference>,
    /// The image that may have to be pulled for it, where the verb does not name it.
    pub pulls: Option<String>,
}

/// What an order is for, never used for anything else: its command is found again by it, whoever ended meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderReference {
    /// What is done, of which update, in which attempt.
    pub name: String,
    /// When that began, Unix ms.
    pub begun_ms: i64,
}

impl OrderReference {
    /// The id of the command that is issued for this: the same each time, and in the order of times as every other.
    #[must_use]
    pub fn command_id(&self) -> Uuid {
        let digest = Sha256::digest(self.name.as_bytes());
        let mut rest = [0; 10];
        rest.copy_from_slice(&digest[..10]);
        let begun_ms = u64::try_from(self.begun_ms).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(begun_ms, &rest).into_uuid()
    }
}

/// Why an agent was not told.
#[derive(Debug, Error)]
pub enum IssueError {
    /// The server is not there, has no agent, or is not connected.
    #[error("{0}")]
    NotConnected(String),
    /// The order cannot be one.
    #[error("{0}")]
    Refused(String),
    /// Nobody is there to pass it on.
    #[error("this controller passes no commands on: {0}")]
    Unavailable(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The way to agents.
#[async_trait]
pub trait Issue: Send + Sync {
    /// Writes a command down and has it sent. Returns its id.
    ///
    /// # Errors
    /// [`IssueError`]; then there is no command.
    async fn issue(&self, order: Order) -> Result<Uuid, IssueError>;

    /// The command with a reference, if there is one.
    ///
    /// # Errors
    /// A failure of the database.
    async fn find(&self, reference: &OrderReference) -> Result<Option<Uuid>, IssueError>;

    /// How far a command is; `None` if there is none of that id.
    ///
    /// # Errors
    /// A failure of the database.
    async fn status(&self, id: Uuid) -> Result<Option<CommandStatus>, IssueError>;
}
