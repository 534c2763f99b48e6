//! Backup of the data folder while the controller runs, and restoring it.
//!
//! A backup is one file: a zstd-compressed tar of consistent copies of every database, with a manifest at its end. It
//! never holds the sealing key. Copies are made in the order state, samples, intake, with deletion held from before the
//! first until after the last: whatever the state says was applied and the samples have not sealed is still in the
//! intake when that is copied, so that nothing acknowledged before the backup began can be missing from it.
//!
//! Restoring checks everything before it touches anything, builds the new data beside the old, and then swaps them in a
//! way that a crash at any moment either has not begun or is finished at the next start. A restored store has a new
//! epoch: agents send again what it does not list, and what was handed out since (enrolment tokens, sessions) is void.

mod archive;
mod copy;
mod error;
mod hold;
mod make;
mod manifest;
mod restore;
mod swap;

pub use archive::verify;
pub use error::BackupError;
pub use hold::{DeletionHold, Held};
pub use make::{clear_leftovers, make};
pub use manifest::{FileEntry, Manifest};
pub use restore::{Restored, restore};
pub use swap::finish as finish_restore;

/// The sample store's folder in the data folder.
const SAMPLES_DIR: &str = "samples";

#[cfg(test)]
mod tests;
