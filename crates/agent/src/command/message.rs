//! What the agent and its executor say to each other, as JSON: both are the same program, so there is one version of it.
//!
//! The agent can pass on what came, and nothing else: an envelope with the time, steps to another command key, the
//! controller's word that it knows an end, and that a stream begins. What of it is done is decided over there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use camino::Utf8PathBuf;
use muster_base::log::Format;
use muster_proto::convert::{CommandReport, command_report_from_wire, command_report_to_wire};
use muster_proto::v1;
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::config::collect::Containers;
use crate::part::{FromPart, PartError};

/// What the executor is told once, before anything else.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// The agent's folder.
    pub data_dir: Utf8PathBuf,
    /// The policy.
    pub policy_file: Utf8PathBuf,
    /// The folder that is read instead of this machine.
    pub root: Option<Utf8PathBuf>,
    /// How log lines look.
    pub log_format: Format,
    /// Which are written.
    pub log_filter: Option<String>,
    /// Which engines there are.
    #[serde(default)]
    pub containers: Containers,
}

/// What the executor may be told.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum ToExecutor {
    /// Once, and first.
    Setup(Setup),
    /// A `CommandEnvelope` as it came, in base64, and the controller's time.
    Envelope { bytes: String, controller_ms: i64 },
    /// A `CommandSeen`, in base64.
    Seen { bytes: String },
    /// `CommandKeys` as they came, in base64.
    Keys { bytes: String },
    /// A stream begins: what the controller may not know is to be told again.
    Attach,
}

/// What the executor says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum FromExecutor {
    /// It is ready; the highest counter that it has written down.
    Ready { counter: u64 },
    /// A `CommandStatus`, in base64.
    Report { bytes: String },
}

impl ToExecutor {
    pub(super) fn envelope(envelope: &v1::CommandEnvelope, controller_ms: i64) -> Self {
        Self::Envelope {
            bytes: BASE64.encode(envelope.encode_to_vec()),
            controller_ms,
        }
    }

    pub(super) fn keys(keys: &v1::CommandKeys) -> Self {
        Self::Keys {
            bytes: BASE64.encode(keys.encode_to_vec()),
        }
    }

    pub(super) const fn is_keys(&self) -> bool {
        matches!(self, Self::Keys { .. })
    }

    pub(super) fn seen(seen: &v1::CommandSeen) -> Self {
        Self::Seen {
            bytes: BASE64.encode(seen.encode_to_vec()),
        }
    }
}

impl FromPart for FromExecutor {
    type Error = PartError;

    fn read(message: &[u8]) -> Result<Self, PartError> {
        Ok(serde_json::from_slice(message)?)
    }
}

impl FromExecutor {
    pub(super) fn report(report: &CommandReport) -> Self {
        Self::Report {
            bytes: BASE64.encode(command_report_to_wire(report).encode_to_vec()),
        }
    }
}

/// A message in base64.
pub(super) fn decoded<T: prost::Message + Default>(bytes: &str) -> Option<T> {
    T::decode(BASE64.decode(bytes).ok()?.as_slice()).ok()
}

/// What an executor says of a command.
pub(super) fn report_of(bytes: &str) -> Option<CommandReport> {
    command_report_from_wire(decoded(bytes)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_nothing_else_to_say() {
        for odd in [
            r#"{"run":{"program":"/bin/sh"}}"#,
            r#"{"envelope":{"bytes":"","controller_ms":1,"verified":true}}"#,
            r#"{"allow":{"verb":"container.start"}}"#,
            "[]",
            "{}",
        ] {
            assert!(serde_json::from_str::<ToExecutor>(odd).is_err(), "{odd}");
        }
        assert!(decoded::<v1::CommandEnvelope>("?").is_none());
        assert!(report_of("AAAA").is_none());
    }
}
