//! What the two processes say to each other, as JSON: both are the same program, so there is one version of it.
//!
//! The parent can say two things only. Whatever else arrives on either side is an error and ends the connection.

use camino::Utf8PathBuf;
use muster_base::log::Format;
use muster_model::RunOutcome;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::facts::WireFacts;

/// What the child is told once, before anything else.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// The settings as they were read, TOML; the child checks them itself.
    pub settings: String,
    /// The folder that is read instead of this machine.
    pub root: Option<Utf8PathBuf>,
    /// How log lines look.
    pub log_format: Format,
    /// Which are written.
    pub log_filter: Option<String>,
}

/// What the child may be told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum ToChild {
    /// Once, and first.
    Setup(Setup),
    /// Run a collector.
    Collect {
        /// Comes back with the answer.
        id: u64,
        /// Its name; only those of [`Place::Privileged`](crate::collect::Place) run.
        collector: String,
    },
}

/// What the child answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    /// The question's.
    pub id: u64,
    /// What became of it.
    pub result: Answered,
}

/// What became of a question.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answered {
    /// The collector ran.
    Ran(Ran),
    /// It did not, for this reason.
    Refused(String),
    /// Nobody asked: the collector of this name has something new to find. The id means nothing.
    Due(String),
}

/// One run of a collector in the child.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ran {
    /// How it ended.
    pub outcome: RunOutcome,
    /// Why it failed or what is absent.
    pub message: String,
    /// How long it took there.
    pub duration_ms: u32,
    /// What it found.
    pub facts: Option<WireFacts>,
}

/// A message that makes no sense.
#[derive(Debug, Error)]
pub(super) enum MessageError {
    /// It is not what was expected.
    #[error("parse a message between the agent's processes")]
    Parse(#[from] serde_json::Error),
    /// It says what cannot be.
    #[error("a message between the agent's processes makes no sense: {0}")]
    Senseless(String),
}

/// Bytes of a message.
///
/// # Errors
/// [`MessageError`] if it cannot be shown as JSON.
pub(super) fn encode(message: &impl Serialize) -> Result<Vec<u8>, MessageError> {
    Ok(serde_json::to_vec(message)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn odd_bytes_are_refused_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = serde_json::from_slice::<ToChild>(&bytes);
            let _ = serde_json::from_slice::<Answer>(&bytes);
        }
    }

    #[test]
    fn there_is_nothing_else_to_say() {
        for odd in [
            r#"{"run":{"program":"/bin/sh"}}"#,
            r#"{"collect":{"id":1,"collector":"smart","args":["-s","off"]}}"#,
            r#"{"collect":{"id":-1,"collector":"smart"}}"#,
            "[]",
            "{}",
        ] {
            assert!(serde_json::from_str::<ToChild>(odd).is_err(), "{odd}");
        }
    }
}
