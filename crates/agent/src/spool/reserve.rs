//! The lane of urgent reports: segments that are allocated before they are needed, so that it works on a full disk.
//!
//! There are at most [`SEGMENTS`] of them, in use or spare, whatever the epochs: one of which everything is settled
//! becomes a spare again under another name, and keeps its blocks. Spares lie in the spool's own folder.

use camino::{Utf8Path, Utf8PathBuf};
use tracing::warn;

use super::files::Files;
use super::format;

/// Files of the lane.
pub(super) const SEGMENTS: usize = 4;
/// All they take together.
const LANE_BYTES: u64 = 16 * 1024 * 1024;
const PREFIX: &str = "spare-";

/// Spare segments.
#[derive(Debug)]
pub(super) struct Reserve {
    dir: Utf8PathBuf,
    segment_bytes: u64,
    spares: Vec<Utf8PathBuf>,
    made: u32,
}

impl Reserve {
    /// What lies in the spool's folder, of which `names` are there.
    pub(super) fn new(dir: &Utf8Path, names: &[String], lane_bytes: u64) -> Self {
        let spares = names.iter().filter(|name| name.starts_with(PREFIX));
        let numbers = names
            .iter()
            .filter_map(|name| name.strip_prefix(PREFIX)?.parse().ok());
        Self {
            made: numbers.max().unwrap_or(0),
            spares: spares.map(|name| dir.join(name)).collect(),
            dir: dir.to_owned(),
            segment_bytes: lane_bytes / SEGMENTS as u64,
        }
    }

    /// The lane's size unless a test wants another.
    pub(super) const fn lane_bytes() -> u64 {
        LANE_BYTES
    }

    pub(super) const fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.segment_bytes * self.spares.len() as u64
    }

    /// Whether the lane is as large as it may be, with what is `in_use`.
    pub(super) const fn is_full(&self, in_use: usize) -> bool {
        SEGMENTS <= self.spares.len() + in_use
    }

    /// Makes spares until there are enough beside those `in_use`.
    pub(super) fn restock(&mut self, files: &dyn Files, in_use: usize) -> std::io::Result<()> {
        while !self.is_full(in_use) {
            let path = self.next_path();
            files.create(&path, self.segment_bytes, &[])?;
            self.spares.push(path);
        }
        Ok(())
    }

    /// The next spare; it is no spare any more.
    pub(super) fn take(&mut self) -> Option<Utf8PathBuf> {
        self.spares.pop()
    }

    /// Gives the room of one spare back to the file system, unless it is the last. Returns whether it did.
    pub(super) fn shrink(&mut self, files: &dyn Files) -> bool {
        if self.spares.len() < 2 {
            return false;
        }
        self.spares.pop().is_some_and(|path| files.remove(&path).is_ok())
    }

    /// Makes a spare of a segment that nobody needs.
    pub(super) fn give(&mut self, files: &dyn Files, segment: &Utf8Path) -> std::io::Result<()> {
        let path = self.next_path();
        // No file's beginning: nothing of it counts any more.
        files.recycle(segment, &path, &[0; format::HEADER_BYTES])?;
        self.spares.push(path);
        Ok(())
    }

    /// Saves the lane's segments of a folder that is about to be removed.
    pub(super) fn reclaim(&mut self, files: &dyn Files, folder: &Utf8Path) {
        let names = files.list(folder).unwrap_or_default();
        let segments = names.iter().filter(|name| {
            let number = name.strip_suffix(".seg").and_then(|number| number.parse().ok());
            number.is_some_and(format::is_urgent)
        });
        for name in segments {
            if SEGMENTS <= self.spares.len() {
                return;
            }
            if let Err(error) = self.give(files, &folder.join(name)) {
                warn!(folder = %folder, error = %error, "a segment of the urgent lane is made anew");
            }
        }
    }

    fn next_path(&mut self) -> Utf8PathBuf {
        self.made += 1;
        self.dir.join(format!("{PREFIX}{:08}", self.made))
    }
}
