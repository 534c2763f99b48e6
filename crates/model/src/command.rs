//! What a controller may ask of an agent: a closed set of verbs, each with its parameters.
//!
//! Nothing in here can carry a program, a shell line or a path. What a server accepts of it is decided by its own local
//! policy; what is asked is signed together with whom it is for and until when.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ResourceKey;

/// A container of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ContainerTarget {
    /// Key of the runtime's resource, such as `runtime:docker`.
    pub runtime: ResourceKey,
    /// The container's name, without a slash.
    pub name: String,
    /// The runtime's id of the container that is meant. With one, another container of that name is left alone.
    pub container_id: Option<String>,
}

/// What a container is replaced by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdatePlan {
    /// The image reference that the container is to be configured with, such as `docker.io/library/nginx:1.27`.
    pub image: String,
    /// Id of the image that the container runs from: with another one, reality has changed and nothing is done.
    pub from_image_id: String,
    /// Digest of what is pulled: that of the tag's index or manifest, `sha256:` and 64 hexadecimal digits.
    pub to_digest: String,
    /// `os/architecture` with perhaps `/variant`. `None`: the engine's own.
    pub platform: Option<String>,
    /// For how long the new container may be on its way to health, in milliseconds; agents take no less than ten seconds.
    pub health_timeout_ms: u64,
    /// For how long it must run without a restart when it has no health check, in milliseconds; agents take no less than
    /// ten seconds.
    pub stable_ms: u64,
    /// For how long the old one is kept, stopped, after the new one was found in health, in milliseconds.
    pub grace_ms: u64,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// Which lines of a container's log are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRange {
    /// Not before this time, Unix ms.
    pub since_ms: Option<i64>,
    /// Not after this time, Unix ms.
    pub until_ms: Option<i64>,
    /// The last so many lines.
    pub tail: Option<u32>,
}

/// Which images are removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneFilter {
    /// Also those with a tag that no container uses; else only those without one.
    pub all: bool,
    /// Only those made longer ago than this, in seconds.
    pub older_than_s: Option<u64>,
    /// Only say what would be removed.
    pub dry_run: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Verb {
    /// Starts a container.
    ContainerStart {
        /// Which one.
        target: ContainerTarget,
    },
    /// Stops it.
    ContainerStop {
        /// Which one.
        target: ContainerTarget,
        /// How long it may take before it is killed, in seconds. `None`: as it is configured.
        timeout_s: Option<u32>,
    },
    /// Stops and starts it.
    ContainerRestart {
        /// Which one.
        target: ContainerTarget,
        /// As for stopping.
        timeout_s: Option<u32>,
    },
    /// Freezes its processes.
    ContainerPause {
        /// Which one.
        target: ContainerTarget,
    },
    /// Lets them go on.
    ContainerUnpause {
        /// Which one.
        target: ContainerTarget,
    },
    /// Removes it, and never its volumes.
    ContainerRemove {
        /// Which one.
        target: ContainerTarget,
        /// Even while it runs.
        force: bool,
    },
    /// Reads from its log.
    ContainerLogs {
        /// Which one.
        target: ContainerTarget,
        /// Which lines.
        range: LogRange,
    },
    /// Replaces it by one of another image.
    ContainerUpdate {
        /// Which one.
        target: ContainerTarget,
        /// By what, and how.
        plan: UpdatePlan,
    },
    /// Goes back to what an update replaced.
    ContainerRollback {
        /// Which one: the one that runs now.
        target: ContainerTarget,
        /// Id of the command that updated it.
        update: Uuid,
    },
    /// Removes images that nothing uses.
    ImagePrune {
        /// Key of the runtime's resource.
        runtime: ResourceKey,
        /// Which ones.
        filter: PruneFilter,
    },
    /// Has a pool read and compared: an md check, a ZFS or BTRFS scrub.
    PoolScrub {
        /// Key of the pool's resource.
        pool: ResourceKey,
    },
    /// Ends another command, as far as it can be ended.
    Cancel {
        /// Its id.
        command: Uuid,
    },
}

impl Verb {
    /// The words by which a local policy, the audit logs and people call it.
    pub const NAMES: [&str; 12] = [
        "container.start",
        "container.stop",
        "container.restart",
        "container.pause",
        "container.unpause",
        "container.remove",
        "container.logs",
        "container.update",
        "container.rollback",
        "image.prune",
        "pool.scrub",
        "cancel",
    ];

    /// Its word in [`Verb::NAMES`].
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ContainerStart { .. } => "container.start",
            Self::ContainerStop { .. } => "container.stop",
            Self::ContainerRestart { .. } => "container.restart",
            Self::ContainerPause { .. } => "container.pause",
            Self::ContainerUnpause { .. } => "container.unpause",
            Self::ContainerRemove { .. } => "container.remove",
            Self::ContainerLogs { .. } => "container.logs",
            Self::ContainerUpdate { .. } => "container.update",
            Self::ContainerRollback { .. } => "container.rollback",
            Self::ImagePrune { .. } => "image.prune",
            Self::PoolScrub { .. } => "pool.scrub",
            Self::Cancel { .. } => "cancel",
        }
    }

    /// The container it is about.
    #[must_use]
    pub const fn container(&self) -> Option<&ContainerTarget> {
        match self {
            Self::ContainerStart { target }
            | Self::ContainerStop { target, .. }
            | Self::ContainerRestart { target, .. }
            | Self::ContainerPause { target }
            | Self::ContainerUnpause { target }
            | Self::ContainerRemove { target, .. }
            | Self::ContainerLogs { target, .. }
            | Self::ContainerUpdate { target, .. }
            | Self::ContainerRollback { target, .. } => Some(target),
            Self::ImagePrune { .. } | Self::PoolScrub { .. } | Self::Cancel { .. } => None,
        }
    }
}

/// How far a command has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandState {
    /// The controller has it, and no agent has said anything of it.
    Pending,
    /// The agent has written it down.
    Received,
    /// The agent will not do it.
    Refused,
    /// It is being done.
    Started,
    /// It was done.
    Succeeded,
    /// It was tried, and what it would have changed is as before unless its message says otherwise.
    Failed,
    /// It was not begun in time.
    Expired,
    /// It was ended before its end.
    Cancelled,
    /// It was begun, and what became of it can't be told.
    Unknown,
}

impl CommandState {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Received,
        Self::Refused,
        Self::Started,
        Self::Succeeded,
        Self::Failed,
        Self::Expired,
        Self::Cancelled,
        Self::Unknown,
    ];

    /// The lower-case word used in JSON and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Received => "received",
            Self::Refused => "refused",
            Self::Started => "started",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }

    /// Whether nothing will come after it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Received | Self::Started)
    }
}

/// What an agent says of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandStatus {
    /// The command's id.
    pub id: Uuid,
    /// How far it is.
    pub state: CommandState,
    /// When that was, Unix ms by the agent's clock.
    pub at_ms: i64,
    /// Progress from 0 to 1, if it can be told.
    pub progress: Option<f64>,
    /// The step that is being done, such as `pull` or `health`; empty where there is none.
    pub step: String,
    /// For people: what is being done, or why it was refused or failed.
    pub message: String,
    /// What came of it, as JSON: log lines, a plan, what was pruned. At most 192 KiB.
    pub result: Option<serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_word_of_its_own() {
        let words: std::collections::BTreeSet<_> = CommandState::ALL.map(CommandState::as_str).into();
        assert_eq!(words.len(), CommandState::ALL.len());
    }

    #[test]
    fn a_verb_is_named_by_its_word() {
        let verb = Verb::PoolScrub {
            pool: ResourceKey::new("pool:zfs:1"),
        };
        assert!(Verb::NAMES.contains(&verb.name()));
        assert!(verb.container().is_none());
    }
}
