//! Copying the store while it works, for backups.

use camino::Utf8Path;

use super::Store;
use crate::error::StoreError;

impl Store {
    /// Copies everything that is sealed into an empty folder, which is made if need be. What is in memory is not
    /// in it: whoever copies keeps the intake from [`Store::safe_position`] on, asked for **before** the call, and
    /// copies that afterwards. Appending, sealing and reading go on meanwhile. The copy is synced when this returns
    /// and can be opened as a store.
    ///
    /// # Errors
    /// [`StoreError`] if something cannot be read or written; what was copied so far is of no use then.
    pub fn copy_to(&self, dir: &Utf8Path) -> Result<(), StoreError> {
        std::fs::create_dir_all(dir).map_err(|source| StoreError::io("create", dir, source))?;
        // Files come and go only under this lock; rows may be added.
        let _maintenance = self.shared.maintenance.lock();
        self.shared.chunks.copy_to(dir)?;
        // After the chunks: each was written after the series in it.
        let path = dir.join("index.db");
        self.shared.index_db.lock().copy_to(&path)?;
        crate::sqlite::sync_folder_of(&path)
    }
}
