//! How an attempt to deliver ended.

use std::time::Duration;

/// Most bytes kept of what the other side answered.
pub const ANSWER_BYTES_MAX: usize = 1_024;
/// Longest wait that the other side may ask for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// What a temporary failure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The other side as a whole: it cannot be reached, or asks for patience. Other news would fare the same.
    Channel,
    /// Perhaps only this message.
    Message,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The other side has it.
    Delivered,
    /// It may work later.
    Temporary {
        /// What is to blame.
        blame: Blame,
        /// How long the other side asked to wait, at most [`RETRY_AFTER_MAX`].
        retry_after: Option<Duration>,
    },
    /// The same message will never be taken: trying again would change nothing.
    Permanent,
}

/// An attempt: how it ended, and what the other side said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// How it ended.
    pub outcome: Outcome,
    /// What the other side answered, or why there was no answer; at most [`ANSWER_BYTES_MAX`] bytes, no secrets.
    pub answer: String,
}

impl Attempt {
    /// The other side has it.
    #[must_use]
    pub fn delivered(answer: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Delivered,
            answer: answer.into(),
        }
    }

    /// The other side cannot be reached or used at the moment.
    #[must_use]
    pub fn unreachable(answer: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Temporary {
                blame: Blame::Channel,
                retry_after: None,
            },
            answer: answer.into(),
        }
    }

    /// It failed, perhaps because of this message.
    #[must_use]
    pub fn temporary(answer: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Temporary {
                blame: Blame::Message,
                retry_after: None,
            },
            answer: answer.into(),
        }
    }

    /// It will never work.
    #[must_use]
    pub fn permanent(answer: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Permanent,
            answer: answer.into(),
        }
    }
}
