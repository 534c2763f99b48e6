//! What an update stands on: the storage below the image store and the container's volumes.

mod storage;

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
    /// Why this container, whose data and image lie at these places, is not to be touched now, such as a degraded pool
    /// below them.
    async fn objection(&self, target: &ContainerTarget, places: &[String]) -> Option<String>;
    /// The room of the filesystem that holds `path`; `None` where that can't be told.
    async fn room(&self, path: &str) -> Option<Room>;
}

/// The storage of this server, looked at anew by the collectors that tell of it: whatever the controller knows.
#[derive(Debug, Clone)]
pub struct HostGround(pub Host);

#[async_trait]
impl Ground for HostGround {
    async fn objection(&self, _: &ContainerTarget, places: &[String]) -> Option<String> {
        storage::objection(&self.0, places).await
    }

    async fn room(&self, path: &str) -> Option<Room> {
        let sizes = self.0.statfs(path).await.ok()?;
        Some(Room {
            free: sizes.blocks_available.saturating_mul(sizes.block_bytes),
            total: sizes.blocks.saturating_mul(sizes.block_bytes),
        })
    }
}
