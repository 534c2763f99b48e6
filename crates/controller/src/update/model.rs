//! Updates, records and notices as types; in tables most of them is JSON.

use muster_update::Change;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::seam::OrderReference;
use crate::store::{HistoryRow, NoticeRow, StoreError, UpdateRow};

/// How far an update is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateState {
    /// It is there, and nobody said anything of it.
    Pending,
    /// It is wanted.
    Approved,
    /// It is not wanted.
    Rejected,
    /// It was begun.
    InProgress,
    /// The container runs it.
    Completed,
    /// It was tried, and the container is as before.
    Failed,
    /// It was tried or done, and taken back.
    RolledBack,
    /// It was begun, and nobody knows what became of it.
    Unknown,
}

impl UpdateState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Approved,
        Self::Rejected,
        Self::InProgress,
        Self::Completed,
        Self::Failed,
        Self::RolledBack,
        Self::Unknown,
    ];

    /// The word in JSON and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::Unknown => "unknown",
        }
    }

    /// The state of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether it may still be begun by itself.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Approved)
    }
}

/// What is known of an update besides its columns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateBody {
    /// Name of the container.
    pub container_name: String,
    /// What it is configured with.
    pub from_image: String,
    /// Id of the image that it runs.
    pub from_image_id: String,
    /// Digest of what it runs.
    pub from_digest: Option<String>,
    /// What it would be configured with.
    pub to_image: String,
    /// How far the update goes.
    pub change: Option<Change>,
    /// When the digest was first seen, Unix ms.
    pub first_seen_ms: Option<i64>,
    /// Where it is told what is new.
    pub release_notes: Option<String>,
    /// Who approved or rejected it.
    pub decided_by: Option<String>,
    /// When, Unix ms.
    pub decided_ms: Option<i64>,
    /// What they said.
    pub note: Option<String>,
    /// Why the server's own policy did not let it, the last time.
    pub refused: Option<String>,
    /// Why the server held it, the last time: not for good.
    pub held: Option<String>,
    /// Until when it is not tried again for that, Unix ms.
    pub held_until_ms: Option<i64>,
    /// Digest of what of it is for the platform.
    pub platform_digest: Option<String>,
    /// How often it was begun.
    pub attempts: u32,
    /// The command that does it, or did it.
    pub command_id: Option<Uuid>,
    /// Whether that command takes the update back.
    pub is_rollback: bool,
    /// Its record.
    pub history_id: Option<i64>,
    /// The roll-out that has it.
    pub rollout_id: Option<i64>,
    /// Who wanted it begun.
    pub begun_by: Option<String>,
    /// When it was begun, Unix ms.
    pub begun_ms: Option<i64>,
    /// Why nobody knows what became of it.
    pub unknown: Option<String>,
    /// Since when nobody does, Unix ms; `None` again once nobody looks any more.
    pub unknown_since_ms: Option<i64>,
}

/// What a container could be updated to.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// Its number.
    pub id: i64,
    /// The server.
    pub server_id: i64,
    /// The container.
    pub container_id: i64,
    /// The digest that is offered.
    pub digest: String,
    /// How far it is.
    pub state: UpdateState,
    /// The rest.
    pub body: UpdateBody,
    /// When it was first offered, Unix ms.
    pub created_ms: i64,
    /// When it changed last, Unix ms.
    pub changed_ms: i64,
}

impl Update {
    /// Whether it was begun, and what became of it is still to be found out.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        match self.state {
            UpdateState::InProgress => true,
            UpdateState::Unknown => self.body.unknown_since_ms.is_some(),
            _ => false,
        }
    }

    /// Under what the command of its current attempt is found again.
    pub(super) fn reference(&self) -> OrderReference {
        let way = if self.body.is_rollback {
            "rollback"
        } else {
            "update"
        };
        OrderReference {
            name: format!("{way}:{}:{}", self.id, self.body.attempts),
            begun_ms: self.body.begun_ms.unwrap_or(self.created_ms),
        }
    }

    pub(super) fn row(&self) -> Result<UpdateRow, StoreError> {
        Ok(UpdateRow {
            id: self.id,
            server_id: self.server_id,
            container_id: self.container_id,
            digest: self.digest.clone(),
            state: self.state.as_str().to_owned(),
            body: write(&self.body)?,
            created_ms: self.created_ms,
            changed_ms: self.changed_ms,
        })
    }
}

impl TryFrom<UpdateRow> for Update {
    type Error = StoreError;

    fn try_from(row: UpdateRow) -> Result<Self, StoreError> {
        let Some(state) = UpdateState::from_word(&row.state) else {
            return Err(StoreError::Corrupt {
                what: "container_update.state",
                value: row.state,
            });
        };
        Ok(Self {
            id: row.id,
            server_id: row.server_id,
            container_id: row.container_id,
            digest: row.digest,
            state,
            body: read("container_update.body", row.body)?,
            created_ms: row.created_ms,
            changed_ms: row.changed_ms,
        })
    }
}

/// What is known of a record besides its columns; the names are the predecessor's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryBody {
    /// Name of the container.
    pub container_name: String,
    /// `update` or `rollback`.
    pub update_type: String,
    /// What it was configured with.
    pub from_image: String,
    /// Its tag.
    pub from_tag: Option<String>,
    /// Its digest.
    pub from_digest: Option<String>,
    /// What it was to be configured with.
    pub to_image: String,
    /// Its tag.
    pub to_tag: Option<String>,
    /// Its digest.
    pub to_digest: Option<String>,
    /// How far the update goes.
    pub change: Option<Change>,
    /// Why it failed; for people.
    pub error_message: Option<String>,
    /// What the agent said last.
    pub execution_log: Option<String>,
    /// What came of it, as the agent says.
    pub result: Option<serde_json::Value>,
    /// `manual`, `auto`, `policy`, or `user:` with a name.
    pub triggered_by: String,
    /// Whether the old container runs again.
    pub rolled_back: bool,
    /// When that was, Unix ms.
    pub rolled_back_ms: Option<i64>,
    /// The command.
    pub command_id: Option<Uuid>,
    /// The policy that decided.
    pub policy_id: Option<i64>,
    /// The roll-out it was part of.
    pub rollout_id: Option<i64>,
}

/// What became of an update.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// Its number.
    pub id: i64,
    /// The server.
    pub server_id: i64,
    /// The container.
    pub container_id: i64,
    /// The update.
    pub update_id: i64,
    /// How it is, or how it ended.
    pub status: UpdateState,
    /// The rest.
    pub body: HistoryBody,
    /// When it was begun, Unix ms.
    pub started_ms: i64,
    /// When it was over, Unix ms.
    pub completed_ms: Option<i64>,
}

impl History {
    pub(super) fn row(&self) -> Result<HistoryRow, StoreError> {
        Ok(HistoryRow {
            id: self.id,
            server_id: self.server_id,
            container_id: self.container_id,
            update_id: self.update_id,
            status: self.status.as_str().to_owned(),
            body: write(&self.body)?,
            started_ms: self.started_ms,
            completed_ms: self.completed_ms,
        })
    }
}

impl TryFrom<HistoryRow> for History {
    type Error = StoreError;

    fn try_from(row: HistoryRow) -> Result<Self, StoreError> {
        let Some(status) = UpdateState::from_word(&row.status) else {
            return Err(StoreError::Corrupt {
                what: "update_history.status",
                value: row.status,
            });
        };
        Ok(Self {
            id: row.id,
            server_id: row.server_id,
            container_id: row.container_id,
            update_id: row.update_id,
            status,
            body: read("update_history.body", row.body)?,
            started_ms: row.started_ms,
            completed_ms: row.completed_ms,
        })
    }
}

/// What is known of a notice besides its columns; the names are the predecessor's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NoticeBody {
    /// `available`, `start`, `success` or `failure`; `unhealthy` or `healthy` of a container itself.
    pub notification_type: String,
    /// One line.
    pub title: String,
    /// The rest.
    pub message: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// Numbers of the channels it is for; empty for all that are enabled.
    pub channels: Vec<i64>,
    /// `pending`, until it was handed to the channels, then `sent`; what became of it there is in their deliveries.
    /// `kept` if it is for no channel.
    pub status: String,
    /// Under what the channels know it.
    pub delivery: String,
}

/// A notice of something that happened to an update.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// Its number.
    pub id: i64,
    /// The container.
    pub container_id: Option<i64>,
    /// The record it is of.
    pub update_history_id: Option<i64>,
    /// The rest.
    pub body: NoticeBody,
    /// When it was written, Unix ms.
    pub created_ms: i64,
}

impl TryFrom<NoticeRow> for Notice {
    type Error = StoreError;

    fn try_from(row: NoticeRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            container_id: row.container_id,
            update_history_id: row.update_history_id,
            body: read("update_notification.body", row.body)?,
            created_ms: row.created_ms,
        })
    }
}

/// What people say of a runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostSettings {
    /// What they call it.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether its containers may be updated; yes if nothing is said.
    pub enabled: Option<bool>,
}

/// The one switch that stops everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Freeze {
    /// Whether it is on.
    pub frozen: bool,
    /// Why.
    pub reason: String,
    /// Who set it.
    pub by: String,
    /// When, Unix ms.
    #[serde(skip)]
    pub changed_ms: i64,
}

impl Freeze {
    /// Why nothing is changed, if it is on.
    #[must_use]
    pub fn words(&self) -> Option<&str> {
        self.frozen.then_some(self.reason.as_str())
    }
}

pub(super) fn read<T: DeserializeOwned>(
    what: &'static str,
    body: serde_json::Value,
) -> Result<T, StoreError> {
    let text = body.to_string();
    serde_json::from_value(body).map_err(|_| StoreError::Corrupt { what, value: text })
}

pub(super) fn write<T: Serialize>(body: &T) -> Result<serde_json::Value, StoreError> {
    serde_json::to_value(body).map_err(|error| StoreError::Corrupt {
        what: "a document of updates",
        value: error.to_string(),
    })
}
