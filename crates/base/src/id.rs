//! Newtypes for the ids that travel between modules.

use serde::{Deserialize, Serialize};

/// Id of a resource on the controller; one space for all kinds, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResourceId(pub i64);

/// Id of a server: the [`ResourceId`] of its `server` resource, kept apart by type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServerId(pub i64);

impl ServerId {
    /// The resource that stands for the server itself.
    #[must_use]
    pub const fn resource(self) -> ResourceId {
        ResourceId(self.0)
    }
}

/// An agent's identity as its certificate states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AgentId(pub uuid::Uuid);

macro_rules! display {
    ($($name:ident),*) => {$(
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
display!(ResourceId, ServerId, AgentId);
