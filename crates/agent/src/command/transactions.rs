//! What replaces a container and goes back: a seam, because it has a journal of its own and outlives its command.

use async_trait::async_trait;
use muster_base::shutdown::CancellationToken;
use muster_model::{CommandState, ContainerTarget, UpdatePlan, Verb};
use serde_json::Value;
use thiserror::Error;
use uuid::Uuid;

use crate::runtime::RegistryAuth;

/// Hears how far a command is. Cheap to call: what comes too often is left out.
pub trait Tell: Send + Sync {
    /// A step is being done: its word such as `pull`, how far it is from 0 to 1 if that can be told, and for people what
    /// is being done.
    fn step(&self, step: &'static str, progress: Option<f64>, message: &str);
}

/// Why an update or its way back did not succeed.
#[derive(Debug, Error)]
pub enum TransactionError {
    /// It was not begun: nothing was changed.
    #[error("{message}")]
    Refused {
        /// A stable word for why, such as `reality_changed`.
        reason: &'static str,
        /// For people.
        message: String,
    },
    /// It was begun and did not succeed; what it would have changed is as before unless the message says otherwise.
    #[error("{message}")]
    Failed {
        /// A stable word for why, such as `unhealthy`.
        reason: &'static str,
        /// For people.
        message: String,
        /// What is known of it, as JSON.
        result: Option<Value>,
    },
    /// It was cancelled in time, and what it would have changed is as before.
    #[error("{message}")]
    Cancelled {
        /// For people.
        message: String,
    },
    /// What became of it can't be told.
    #[error("{message}")]
    Unknown {
        /// For people.
        message: String,
    },
}

/// What became of a command that was under way: its id, its end, words for people, and what came of it.
pub type Reconciled = (Uuid, CommandState, String, Option<Value>);

/// How a transaction stands of which it was told that its end can't be told.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// Nothing more is to be heard of it.
    Over,
    /// It is gone on with as soon as that is possible.
    Unfinished,
    /// It has come to its end since.
    Ended(Reconciled),
}

/// Updates of containers, each one a transaction with a journal.
#[async_trait]
pub trait Transactions: Send + Sync {
    /// Replaces a container; what came of it, as JSON.
    ///
    /// # Errors
    /// [`TransactionError`].
    async fn update(
        &self,
        command: Uuid,
        target: &ContainerTarget,
        plan: &UpdatePlan,
        auth: Option<RegistryAuth>,
        tell: &dyn Tell,
        cancel: &CancellationToken,
    ) -> Result<Value, TransactionError>;

    /// Goes back to what the command `update` replaced. `auth` is shown to its own registry alone, if the image has to be
    /// pulled again.
    ///
    /// # Errors
    /// [`TransactionError`].
    async fn rollback(
        &self,
        command: Uuid,
        target: &ContainerTarget,
        update: Uuid,
        auth: Option<RegistryAuth>,
        tell: &dyn Tell,
        cancel: &CancellationToken,
    ) -> Result<Value, TransactionError>;

    /// Brings what was under way when the agent ended to its end, one way or the other, and says what became of each
    /// command. Called once, before any command is accepted.
    async fn reconcile(&self) -> Vec<Reconciled>;

    /// How the transaction of a command stands.
    fn standing(&self, command: Uuid, verb: &Verb) -> Standing;
}
