//! `muster-controller agent` and `muster-controller ca`.

use clap::{Args, Subcommand};
use uuid::Uuid;

use crate::control::Trust;
use crate::identity::Step;

#[derive(Debug, Subcommand)]
pub(super) enum Agent {
    /// Lists agents with their status and server.
    List {
        /// Only those that are active, quarantined, held or revoked.
        #[arg(long)]
        status: Option<String>,
    },
    /// Lets an agent in that is held (its certificate is ours, but this state database does not know it) or in
    /// quarantine (its identity was seen twice).
    Adopt(Adopt),
    /// Revokes an agent for good; its stream is closed at once.
    Revoke {
        /// Its id.
        agent: Uuid,
    },
}

#[derive(Debug, Args)]
pub(super) struct Adopt {
    /// Its id.
    agent: Uuid,
    /// The server that an agent which is held shall report for, whose former agent it replaces; without it, a new one.
    #[arg(long, value_name = "ID", conflicts_with = "hostname")]
    server: Option<i64>,
    /// The name of the new server; what the agent calls itself if not given.
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
}

/// Replaces the root in phases: prepare, issue, switch, retire. Each can be rolled back until the last.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(super) enum Ca {
    /// Prints where the replacement of the root is, and how many agents have followed.
    Status,
    /// Prints the certificates of the roots (PEM), for `muster login --ca FILE` and browsers.
    Root,
    /// Makes the next root, and has agents trust both.
    Prepare,
    /// Issues agents' certificates from the next root.
    Issue,
    /// Shows a certificate of the next root to agents.
    Switch,
    /// Goes one phase back.
    Rollback,
    /// Ends the replacement: the key of the root before is deleted. Agents that slept through it come back for 90 days.
    Retire {
        /// Certificates of the root before are worth nothing at once, as it must be if its key was stolen. Agents that
        /// have not followed have to be enrolled again.
        #[arg(long)]
        now: bool,
    },
}

impl From<Agent> for Trust {
    fn from(asked: Agent) -> Self {
        match asked {
            Agent::List { status } => Self::Agents { status },
            Agent::Adopt(Adopt {
                agent,
                server,
                hostname,
            }) => Self::Adopt {
                agent,
                server_id: server,
                hostname,
            },
            Agent::Revoke { agent } => Self::Revoke { agent },
        }
    }
}

impl From<Ca> for Trust {
    fn from(asked: Ca) -> Self {
        let step = match asked {
            Ca::Status => return Self::CaStatus,
            Ca::Root => return Self::CaRoot,
            Ca::Prepare => Step::Prepare,
            Ca::Issue => Step::Issue,
            Ca::Switch => Step::Switch,
            Ca::Rollback => Step::Rollback,
            Ca::Retire { now: false } => Step::Retire,
            Ca::Retire { now: true } => Step::RetireNow,
        };
        Self::CaStep { step }
    }
}
