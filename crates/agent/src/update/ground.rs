//! What an update stands on: the storage below the image store and the container's volumes.

use async_trait::async_trait;
use muster_model::ContainerTarget;

use crate::host::Host;

/// Room on a filesystem, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What may still be written.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// Asked before an update, which is held while there is an objection.
#[async_trait]
pub trait Ground: Send + Sync {
    /// Why this container is not to be touched now, such as a degraded pool under its volumes.
    async fn objection(&self, target: &ContainerTarget) -> Option<String>;
    /// The room of the filesystem that holds `path`; `None` where that can't be told.
    async fn room(&self, path: &str) -> Option<Room>;
}

/// The filesystems of this server, and no objection but what they say.
#[derive(Debug, Clone)]
pub struct HostGround(pub Host);

#[async_trait]
impl Ground for HostGround {
    async fn objection(&self, _: &ContainerTarget) -> Option<String> {
        None
    }

    async fn room(&self, path: &str) -> Option<Room> {
        let sizes = self.0.statfs(path).await.ok()?;
        Some(Room {
            free: sizes.blocks_available.saturating_mul(sizes.block_bytes),
            total: sizes.blocks.saturating_mul(sizes.block_bytes),
        })
    }
}
