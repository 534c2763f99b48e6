//! Resources as the API shows them.

use std::collections::HashSet;

use muster_base::id::{ResourceId, ServerId};
use muster_model::{Attributes, Health, ResourceKind};

use super::{App, AppError, Page, PageRequest, page};

/// A resource. Times are Unix ms.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceView {
    /// Its id.
    pub id: ResourceId,
    /// The server that has it.
    pub server: ServerId,
    /// What it is.
    pub kind: ResourceKind,
    /// Its lasting name within the server.
    pub key: String,
    /// What people call it now.
    pub name: String,
    /// How well it is.
    pub health: Health,
    /// What the health rests on.
    pub health_reasons: Vec<String>,
    /// Everything else that is known. Raw documents (names ending in `_raw`) only come with [`App::resource`].
    pub attributes: Attributes,
    /// When it was last observed to change or to be gone.
    pub observed_ms: i64,
    /// When it was first seen.
    pub first_seen_ms: i64,
    /// Since when it is gone.
    pub gone_ms: Option<i64>,
}

/// What kernel names of block devices begin with that are memory, files, connections, or drives whose medium comes and goes:
/// they are listed where the server's own list is asked for, but are no disks whose health anybody waits for.
pub(crate) const NO_DISKS: [&str; 6] = ["zram", "ram", "loop", "sr", "fd", "nbd"];

/// Whether a device of this name counts where disks are counted by health.
#[must_use]
pub(crate) fn counts_as_disk(name: &str) -> bool {
    !NO_DISKS.iter().any(|stem| name.starts_with(stem))
}

/// Which resources are wanted.
#[derive(Debug, Clone, Default)]
pub struct ResourceFilter {
    /// Only of this server.
    pub server: Option<ServerId>,
    /// Only of this kind.
    pub kind: Option<ResourceKind>,
    /// Also those that are gone.
    pub include_gone: bool,
    /// Only those that are gone, and since this time or later, Unix ms.
    pub gone_since_ms: Option<i64>,
    /// Of devices only those that count as disks, see `counts_as_disk`.
    pub disks_only: bool,
    /// Only with this health.
    pub health: Option<Health>,
    /// Only of servers of this name.
    pub hostname: Option<String>,
    /// Only disks of this type: `hdd`, `ssd`, `nvme` or `unknown`.
    pub device_type: Option<String>,
    /// Only pools of this type: `mdadm`, `zfs`, `lvm`, `btrfs` or `other`.
    pub pool_type: Option<String>,
    /// Only with this in the model, in any case.
    pub model: Option<String>,
    /// Only with this in the serial number, in any case.
    pub serial: Option<String>,
}

impl App {
    /// Resources of servers that are not deleted, in order of their ids.
    ///
    /// # Errors
    /// [`AppError::NotFound`] if a server is asked for that is not there, [`AppError::Cursor`], or a failure of the
    /// database.
    pub async fn resources(
        &self,
        filter: ResourceFilter,
        wanted: PageRequest,
    ) -> Result<Page<ResourceView>, AppError> {
        if let Some(server) = filter.server {
            self.need_server(server).await?;
        }
        let limit = wanted.limit();
        let (rows, total) = self
            .store
            .resources(&filter, wanted.after()?, u64::from(limit) + 1)
            .await?;
        Ok(page(rows, limit, total, |row| row.id.to_string()))
    }

    /// The ids of all resources that are gone, of servers that are not deleted.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn gone_resources(&self) -> Result<HashSet<ResourceId>, AppError> {
        Ok(self.store.gone_resources().await?)
    }

    /// One resource with its raw documents, gone or not.
    ///
    /// # Errors
    /// [`AppError::NotFound`] or a failure of the database.
    pub async fn resource(&self, id: ResourceId) -> Result<ResourceView, AppError> {
        self.store.resource(id).await?.ok_or(AppError::NotFound {
            what: "resource",
            id: id.0,
        })
    }
}
