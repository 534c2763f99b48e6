//! The archive that a kernel unpacks as its first file system: cpio in the form "newc" (`initramfs buffer format` in the
//! kernel's documents).

use std::collections::BTreeSet;
use std::path::Path;

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_755;

/// An archive being made.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    entries: u32,
}

impl Archive {
    /// Adds a folder and those it lies in.
    pub(super) fn add_folder(&mut self, path: &str) {
        if let Some(parent) = Path::new(path).parent().and_then(Path::to_str)
            && !parent.is_empty()
        {
            self.add_folder(parent);
        }
        if self.folders.insert(path.to_owned()) {
            self.add(path, FOLDER, &[]);
        }
    }

    /// Adds a file that may be run, and the folders it lies in.
    pub(super) fn add_file(&mut self, path: &str, content: &[u8]) {
        if let Some(folder) = Path::new(path).parent().and_then(Path::to_str)
            && !folder.is_empty()
        {
            self.add_folder(folder);
        }
        self.add(path, FILE, content);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn add(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(content.len()).expect("a program is smaller than 4 GiB");
        let name_size = u32::try_from(path.len() + 1).expect("paths are short");
        // Inode, mode, user, group, links, time, size, four device numbers, size of the name, checksum.
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
