//! What a backup says of itself.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The form of the file that this version writes.
pub(super) const FORMAT: u32 = 1;
/// Its name in the archive, where it comes last.
pub(super) const NAME: &str = "manifest.json";

/// What is in a backup, and of what it is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this very form.
    pub format: u32,
    /// Version of the controller that made it.
    pub controller_version: String,
    /// When it was begun, Unix ms: what was acknowledged before is in it.
    pub made_ms: i64,
    /// The installation.
    pub installation: Uuid,
    /// The store.
    pub store_id: Uuid,
    /// The store's epoch when it was made.
    pub store_epoch: u64,
    /// The newest step of the state's schema.
    pub schema_step: String,
    /// Every file, in the order of the archive.
    pub files: Vec<FileEntry>,
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its path in the data folder.
    pub name: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// SHA-256 of its content, lower-case hexadecimal.
    pub sha256: String,
    /// Whether it is damaged where it comes from, and was taken as it was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_damaged: bool,
}

impl Manifest {
    /// Bytes of all files together.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }
}
