//! Whether nobody but root can change a file: itself, or what its path leads to.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use thiserror::Error;

/// Write permission of the group and of everybody else.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// In a folder with it only the owner of a file may remove or rename it (inode(7)).
const STICKY: u32 = 0o1000;

/// Why a file is not trusted.
#[derive(Debug, Error)]
pub enum TrustError {
    /// It cannot be looked at.
    #[error("look at {path}")]
    Look {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is not a file.
    #[error("{path} is not a file")]
    NoFile {
        /// The path.
        path: Utf8PathBuf,
    },
    /// It belongs to somebody else.
    #[error("{path} belongs to user {owner} and not to root")]
    Owner {
        /// The file or a folder above it.
        path: Utf8PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Others may write to it.
    #[error("{path} may be written to by others than root: its mode is {mode:o}")]
    Mode {
        /// The file or a folder above it.
        path: Utf8PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

/// The file without symbolic links in its path, if nobody but root can change it or put another in its place.
///
/// # Errors
/// [`TrustError`].
pub fn trusted(path: &Utf8Path) -> Result<Utf8PathBuf, TrustError> {
    let look = |path: &Utf8Path| {
        let path = path.to_owned();
        move |source| TrustError::Look { path, source }
    };
    let real = path.canonicalize_utf8().map_err(look(path))?;
    for place in real.ancestors() {
        let found = place.symlink_metadata().map_err(look(place))?;
        if place == real && !found.is_file() {
            return Err(TrustError::NoFile { path: real });
        }
        judge(place, &found)?;
    }
    Ok(real)
}

fn judge(path: &Utf8Path, found: &Metadata) -> Result<(), TrustError> {
    let path = path.to_owned();
    let (owner, mode) = (found.uid(), found.mode() & 0o7777);
    if owner != 0 {
        return Err(TrustError::Owner { path, owner });
    }
    let is_guarded = found.is_dir() && mode & STICKY != 0;
    if mode & WRITABLE_BY_OTHERS != 0 && !is_guarded {
        return Err(TrustError::Mode { path, mode });
    }
    Ok(())
}
