//! What the two processes say to each other: both are the same program, so there is one version of it.
//!
//! The parent can say two things only, as JSON. The child answers in postcard, what it found before how that ended:
//! there may be much of it, every few seconds. Whatever else arrives on either side is an error and ends the connection.

use camino::Utf8PathBuf;
use muster_base::log::Format;
use muster_model::{Facts, RunOutcome};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::facts::read_part;
use crate::part::FromPart;

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

/// What the child says.
#[derive(Debug)]
pub(super) enum FromChild {
    /// Some of what a collector found; its answer comes later.
    Found {
        /// The question's.
        id: u64,
        /// Some of it.
        facts: Facts,
        /// How long the message was.
        bytes: usize,
    },
    /// What became of a question.
    Answer(Answer),
}

/// How each message of the child begins.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Head {
    /// Items found for the question of this id follow, up to the end.
    Found(u64),
    /// Nothing follows.
    Answer(Answer),
}

/// What the child answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    /// The question's.
    pub id: u64,
    /// What became of it.
    pub result: Answered,
}

/// What became of a question.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answered {
    /// The collector ran.
    Ran(Ran),
    /// It did not, for this reason.
    Refused(String),
    /// Nobody asked: the collector of this name has something new to find. The id means nothing.
    Due(String),
}

/// How a run of a collector in the child ended. What it found has come before; of a run
/// that failed that may be a part, which does not count.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ran {
    /// How it ended.
    pub outcome: RunOutcome,
    /// Why it failed or what is absent.
    pub message: String,
    /// How long it took there.
    pub duration_ms: u32,
}

/// A message that makes no sense.
#[derive(Debug, Error)]
pub(super) enum MessageError {
    /// It is not what was expected.
    #[error("parse a message between the agent's processes")]
    Parse(#[from] postcard::Error),
    /// It says what cannot be.
    #[error("a message between the agent's processes makes no sense: {0}")]
    Senseless(String),
}

/// Bytes of a message's beginning, which may be all of it.
///
/// # Errors
/// [`MessageError`] if it cannot be written down.
pub(super) fn encode(head: &Head) -> Result<Vec<u8>, MessageError> {
    Ok(postcard::to_allocvec(head)?)
}

impl FromPart for FromChild {
    type Error = MessageError;

    fn read(message: &[u8]) -> Result<Self, MessageError> {
        let (head, rest) = postcard::take_from_bytes(message)?;
        match head {
            Head::Found(id) => Ok(Self::Found {
                id,
                facts: read_part(rest)?,
                bytes: message.len(),
            }),
            Head::Answer(answer) if rest.is_empty() => Ok(Self::Answer(answer)),
            Head::Answer(_) => Err(MessageError::Senseless(
                "there is more than the answer".to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn odd_bytes_are_refused_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = serde_json::from_slice::<ToChild>(&bytes);
            let _ = FromChild::read(&bytes);
        }
    }

    #[test]
    fn nothing_may_follow_an_answer() {
        let answer = Head::Answer(Answer {
            id: 1,
            result: Answered::Refused("why".to_owned()),
        });
        let mut bytes = encode(&answer).unwrap();
        assert!(matches!(FromChild::read(&bytes), Ok(FromChild::Answer(_))));
        bytes.push(0);
        assert!(matches!(FromChild::read(&bytes), Err(MessageError::Senseless(_))));
    }

    #[test]
    fn there_is_nothing_else_to_ask() {
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
