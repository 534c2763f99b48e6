//! Writing files that must be whole after a power cut.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};

use camino::Utf8Path;

/// For files that nobody but the agent may read.
pub(crate) const SECRET: u32 = 0o600;
/// For files that anyone may read.
pub(crate) const PUBLIC: u32 = 0o644;

/// Writes a file so that after a crash it has its old content or the new one, and never a part. When this returns,
/// file and name are on disk.
pub(crate) fn write(path: &Utf8Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = path.with_extension("new");
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let made = make(&temporary, bytes, mode).and_then(|()| std::fs::rename(&temporary, path));
    if made.is_err() {
        // On a full disk half a file must not keep the room; if it can't be removed now, the next write does it.
        let _ = std::fs::remove_file(&temporary);
    }
    made?;
    sync_parent(path)
}

fn make(path: &Utf8Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a folder that only the agent may enter, and those above it that are missing.
pub(crate) fn create_dir(path: &Utf8Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    sync_parent(path)
}

/// Waits until the names in the folder of `path` are on disk.
pub(crate) fn sync_parent(path: &Utf8Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}
