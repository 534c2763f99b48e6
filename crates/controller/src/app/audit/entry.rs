//! An entry of the audit log: as it is handed in, and as it is shown.

use std::net::IpAddr;

use muster_base::id::AgentId;

use super::chain::hex;
use crate::store::AuditRow;

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A person, by a session.
    User {
        /// Id of the account.
        id: i64,
        /// Its name.
        name: String,
    },
    /// A program with an API token.
    ApiToken {
        /// Id of the token.
        id: i64,
        /// Name of the account it belongs to.
        user: String,
    },
    /// An agent, known by its certificate.
    Agent(AgentId),
    /// Whoever may use the data folder: through the control socket or the command line.
    Local {
        /// The account on this machine.
        uid: u32,
    },
    /// The controller itself.
    System,
    /// Somebody who did not show who it is.
    Nobody,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Allowed,
    /// It was not done; the reason is a stable word.
    Refused {
        /// Why.
        reason: &'static str,
    },
    /// It was allowed, and did not succeed; the reason is a stable word.
    Failed {
        /// Why.
        reason: &'static str,
    },
    /// It was about to be tried, and nobody knows whether it was done; the reason is a stable word.
    Unknown {
        /// Why.
        reason: &'static str,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Who did it.
    pub actor: Actor,
    /// Where from, if over a network.
    pub peer: Option<IpAddr>,
    /// What: `noun.verb`.
    pub action: &'static str,
    /// To what; cut at 512 bytes.
    pub target: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What else is worth knowing, never a secret; cut at 2 KiB.
    pub detail: String,
}

/// An entry as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its number in the chain.
    pub id: i64,
    /// When, Unix ms.
    pub time_ms: i64,
    /// `user`, `api_token`, `agent`, `local`, `system` or `nobody`.
    pub actor_kind: String,
    /// Id of the account, token or agent; the user id on this machine.
    pub actor_id: String,
    /// Name of the account; of an API token, of its owner.
    pub actor_name: String,
    /// Where from.
    pub peer: String,
    /// What.
    pub action: String,
    /// To what.
    pub target: String,
    /// `allowed`, `refused`, `failed` or `unknown`.
    pub outcome: String,
    /// Why it was refused or failed, or is not known.
    pub reason: String,
    /// What else is worth knowing.
    pub detail: String,
    /// How many events it stands for.
    pub count: i64,
    /// HMAC of the entry and of all before, lower-case hexadecimal.
    pub hash: String,
}

/// Which entries are wanted.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only of the account with this name.
    pub actor: Option<String>,
    /// Only of this kind.
    pub action: Option<String>,
    /// Only since then, Unix ms.
    pub from_ms: Option<i64>,
    /// Only before then, Unix ms.
    pub to_ms: Option<i64>,
}

impl Entry {
    /// Something that was done.
    #[must_use]
    pub fn allowed(actor: Actor, action: &'static str, target: impl Into<String>) -> Self {
        Self {
            actor,
            peer: None,
            action,
            target: target.into(),
            outcome: Outcome::Allowed,
            detail: String::new(),
        }
    }

    /// Something that was not done.
    #[must_use]
    pub fn refused(
        actor: Actor,
        action: &'static str,
        target: impl Into<String>,
        reason: &'static str,
    ) -> Self {
        Self {
            outcome: Outcome::Refused { reason },
            ..Self::allowed(actor, action, target)
        }
    }

    /// Where it came from.
    #[must_use]
    pub const fn from_peer(mut self, peer: IpAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    /// What else is worth knowing; never a secret.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

impl From<AuditRow> for Recorded {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id,
            time_ms: row.time_ms,
            actor_kind: row.actor_kind,
            actor_id: row.actor_id,
            actor_name: row.actor_name,
            peer: row.peer,
            action: row.action,
            target: row.target,
            outcome: row.outcome,
            reason: row.reason,
            detail: row.detail,
            count: row.count,
            hash: hex(&row.hash),
        }
    }
}
