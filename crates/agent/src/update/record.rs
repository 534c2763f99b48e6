//! The journal: one file a transaction, on disk before each call that it tells of.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use muster_base::ErrorChain;
use muster_model::{CommandState, UpdatePlan};
use muster_recreate::Asked;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::warn;
use uuid::Uuid;

use super::unit::Owned;
use crate::durable;

/// So many finished transactions are remembered; unfinished ones always are.
const KEPT: usize = 100;
/// The largest file that is read back.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How far a transaction is: the call that is made next, or was being made when the agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// Nothing was changed but perhaps names of images.
    Pull,
    /// The old container gives up its name.
    Rename,
    /// The new one is made.
    Create,
    /// It is connected to its further networks.
    Connect,
    /// The old one's restart policy is set to no.
    Neutralise,
    /// The old one is stopped.
    Stop,
    /// The new one is started. From here on the way goes forward unless it is not healthy.
    Start,
    /// It is being watched.
    Health,
    /// It has the place; the old one is kept for a while.
    Committed,
    /// All is being put back.
    Undo,
    /// All is as it was.
    Undone,
    /// The old one is gone.
    Done,
    /// Somebody has to look: what should be there is not.
    Stuck,
}

impl Stage {
    /// Whether nothing is left to do.
    pub(super) const fn is_final(self) -> bool {
        matches!(self, Self::Undone | Self::Done | Self::Stuck)
    }
}

/// A step and when it began, Unix ms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) step: String,
    pub(super) at_ms: i64,
}

/// A transaction.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) command: Uuid,
    /// Key of the runtime's resource.
    pub(super) runtime: String,
    pub(super) name: String,
    /// What the old container is called while it is kept.
    pub(super) backup: String,
    pub(super) plan: UpdatePlan,
    pub(super) began_ms: i64,
    pub(super) stage: Stage,
    pub(super) old_id: String,
    pub(super) old_image: String,
    /// The name that keeps the old image from being pruned, once it has it.
    pub(super) rollback_tag: Option<String>,
    /// Digest of the old image, of the container's repository, if it has one.
    #[serde(default)]
    pub(super) old_digest: Option<String>,
    pub(super) new_id: Option<String>,
    pub(super) new_image: Option<String>,
    /// Whether the reference of the plan was given to the new image.
    pub(super) is_retagged: bool,
    /// The image that had it before.
    pub(super) tag_was: Option<String>,
    pub(super) was_running: bool,
    /// Whether the engine was told to stop the old container and its word of that may not have come: it may stop it yet.
    #[serde(default)]
    pub(super) is_stop_sent: bool,
    /// The old container's inspect: where to go back to.
    pub(super) before: Value,
    pub(super) keep_until_ms: Option<i64>,
    pub(super) steps: Vec<Step>,
    pub(super) differences: Vec<Value>,
    pub(super) notes: Vec<String>,
    pub(super) health: Option<String>,
    /// Why it was put back.
    pub(super) cause: Option<String>,
    pub(super) reason: Option<String>,
    /// The digest, when the new image failed by itself.
    pub(super) bad_digest: Option<String>,
    /// Containers that share something of this one and are still to be made again.
    pub(super) dependents: Vec<String>,
    /// For whose sake it is made again, the first first: these are not made again for its sake.
    #[serde(default)]
    pub(super) ancestors: Vec<String>,
    /// Containers that take volumes of this one or are linked to it, and are still to be made again.
    #[serde(default)]
    pub(super) attached: Vec<String>,
    /// Which addresses the container was given on purpose, where its engine does not show it.
    #[serde(default)]
    pub(super) asked: Option<Asked>,
    /// The systemd unit that makes the container.
    #[serde(default)]
    pub(super) unit: Option<Owned>,
    /// What became of it, once that is told.
    pub(super) outcome: Option<(CommandState, String)>,
}

impl Record {
    /// What is told of it.
    pub(super) fn result(&self) -> Value {
        let differences: Vec<&Value> = self.differences.iter().take(200).collect();
        serde_json::json!({
            "container": self.name,
            "from": {"image_id": self.old_image, "container_id": self.old_id},
            "to": {
                "image": self.plan.image, "digest": self.plan.to_digest,
                "image_id": self.new_image, "container_id": self.new_id,
            },
            "steps": self.steps,
            "health": self.health,
            "differences": differences,
            "notes": self.notes,
            "rolled_back": matches!(self.stage, Stage::Undo | Stage::Undone),
            "cause": self.cause,
            "reason": self.reason,
            "bad_digest": self.bad_digest,
            "unit": self.unit.as_ref().map(|owned| &owned.unit),
            "kept_as": (self.stage == Stage::Committed && self.unit.is_none()).then_some(&self.backup),
            "kept_until_ms": self.keep_until_ms,
        })
    }
}

/// The folder of journals.
#[derive(Debug)]
pub(super) struct Journal {
    folder: Utf8PathBuf,
}

impl Journal {
    pub(super) fn new(data_dir: &Utf8Path) -> Self {
        Self {
            folder: data_dir.join("updates"),
        }
    }

    fn path(&self, command: Uuid) -> Utf8PathBuf {
        self.folder.join(format!("{command}.json"))
    }

    /// On disk when this returns.
    pub(super) fn save(&self, record: &Record) -> io::Result<()> {
        let text = serde_json::to_vec(record)?;
        if !self.folder.exists() {
            durable::create_dir(&self.folder)?;
        }
        durable::write(&self.path(record.command), &text, durable::SECRET)
    }

    pub(super) fn load(&self, command: Uuid) -> Option<Record> {
        read(&self.path(command))
    }

    /// All that can be read, oldest first; what can't is told and left where it is.
    pub(super) fn all(&self) -> Vec<Record> {
        let Ok(listed) = std::fs::read_dir(&self.folder) else {
            return Vec::new();
        };
        let paths = listed
            .flatten()
            .filter_map(|entry| Utf8PathBuf::from_path_buf(entry.path()).ok());
        let mut all: Vec<Record> = paths
            .filter(|path| path.extension() == Some("json"))
            .filter_map(|path| read(&path))
            .collect();
        all.sort_by_key(|record| (record.began_ms, record.command));
        all
    }

    /// Forgets the oldest finished ones beyond the bound.
    pub(super) fn trim(&self) {
        let finished: Vec<Record> = self
            .all()
            .into_iter()
            .filter(|record| record.stage.is_final())
            .collect();
        for record in finished.iter().take(finished.len().saturating_sub(KEPT)) {
            // What stays is forgotten the next time.
            let _ = std::fs::remove_file(self.path(record.command));
        }
    }
}

fn read(path: &Utf8Path) -> Option<Record> {
    let size = std::fs::metadata(path).ok()?.len();
    let text = if size <= BYTES_MAX {
        std::fs::read(path).ok()?
    } else {
        Vec::new()
    };
    serde_json::from_slice(&text)
        .inspect_err(
            |error| warn!(path = %path, error = %ErrorChain(error), "journal of an update unreadable"),
        )
        .ok()
}
