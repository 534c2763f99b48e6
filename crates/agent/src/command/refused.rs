//! Why a command is not done.

use muster_model::CommandRefusal;
use thiserror::Error;

/// A refusal: a word that does not change, and what people are told.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Refused {
    /// The word.
    pub reason: CommandRefusal,
    /// For people.
    pub message: String,
}

impl Refused {
    /// A refusal for this reason.
    #[must_use]
    pub fn new(reason: CommandRefusal, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}
