//! What is said on the control socket.

use serde::{Deserialize, Serialize};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", deny_unknown_fields)]
pub enum Request {
    /// Makes an enrolment token; answered by [`MadeToken`].
    #[serde(rename = "token.create")]
    TokenCreate {
        /// How long it lives, in seconds; the setting's default if not given.
        ttl_s: Option<u64>,
        /// How many agents it may make.
        uses: u32,
        /// The server it is bound to.
        server_id: Option<i64>,
    },
    /// Makes an access token of the first admin; answered by [`MadeToken`].
    #[serde(rename = "session.create")]
    SessionCreate,
    /// Makes a backup; answered by frames, see [`super::transfer`].
    #[serde(rename = "backup")]
    Backup,
    /// About agents and the certificate authority; answered by [`Told`](super::Told).
    #[serde(rename = "trust")]
    Trust {
        /// What.
        trust: super::Trust,
    },
    /// How the controller is; answered by [`Status`].
    #[serde(rename = "status")]
    Status,
}

/// A token of either kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeToken {
    /// Its text.
    pub token: String,
}

/// How the controller is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it started, Unix ms.
    pub started_ms: i64,
    /// Agents with an open stream.
    pub connected_agents: usize,
}

/// An answer: what was asked for, or why not.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer<T> {
    /// What was asked for.
    Ok(T),
    /// Why not, for people.
    Error(String),
}
