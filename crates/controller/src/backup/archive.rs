//! The file of a backup: a tar of databases, the manifest last, compressed with zstd.
//!
//! Reading trusts nothing: names are compared with those that a backup may have, every byte is hashed, and what the
//! manifest does not say, or says otherwise, is damage.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};

use camino::Utf8Path;
use sha2::{Digest as _, Sha256};

use super::manifest::{self, FileEntry, Manifest};
use super::{BackupError, SAMPLES_DIR};
use crate::intake;
use crate::run::STATE_FILE;

/// Chunks are compressed already; what is won is mostly in state and intake.
const ZSTD_LEVEL: i32 = 3;
/// Longest manifest that is read, in bytes: a store of many years has some thousand files.
const MANIFEST_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What a zstd frame begins with.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// An archive being written.
pub(super) struct ArchiveWriter<W: Write> {
    tar: tar::Builder<zstd::Encoder<'static, W>>,
    files: Vec<FileEntry>,
}

impl<W: Write> ArchiveWriter<W> {
    pub(super) fn new(out: W) -> io::Result<Self> {
        let mut encoder = zstd::Encoder::new(out, ZSTD_LEVEL)?;
        encoder.include_checksum(true)?;
        Ok(Self {
            tar: tar::Builder::new(encoder),
            files: Vec::new(),
        })
    }

    /// Adds a file that nobody changes any more.
    pub(super) fn add(&mut self, name: &str, path: &Utf8Path, is_damaged: bool) -> io::Result<&FileEntry> {
        let file = File::open(path)?;
        let size_bytes = file.metadata()?.len();
        let mut hashing = Hashing::new(file.take(size_bytes));
        self.tar
            .append_data(&mut header(size_bytes), name, &mut hashing)?;
        self.files.push(FileEntry {
            name: name.to_owned(),
            size_bytes,
            sha256: hashing.hex(),
            is_damaged,
        });
        Ok(self.files.last().expect("one was just added"))
    }

    /// Adds the manifest, with the files that were added, and ends the archive.
    pub(super) fn finish(mut self, mut manifest: Manifest) -> io::Result<(W, Manifest)> {
        manifest.files = self.files;
        let text = serde_json::to_vec_pretty(&manifest)?;
        self.tar
            .append_data(&mut header(text.len() as u64), manifest::NAME, text.as_slice())?;
        let mut out = self.tar.into_inner()?.finish()?;
        out.flush()?;
        Ok((out, manifest))
    }
}

/// Checks a backup without restoring it: everything is there, and as it was written.
///
/// # Errors
/// [`BackupError`] with what is wrong.
pub fn verify(path: &Utf8Path) -> Result<Manifest, BackupError> {
    read(path, |_, content| io::copy(content, &mut io::sink()).map(|_| ()))
}

/// Whether a file begins as a backup does.
pub(super) fn is_archive(path: &Utf8Path) -> Result<bool, BackupError> {
    let mut file = File::open(path).map_err(BackupError::io("open", path))?;
    let mut magic = [0; 4];
    Ok(file.read_exact(&mut magic).is_ok() && magic == ZSTD_MAGIC)
}

/// Reads a backup, hands each file to `take`, and compares all of it with the manifest. Whatever `take` has made of the
/// files must not be used unless this succeeds.
pub(super) fn read(
    path: &Utf8Path,
    mut take: impl FnMut(&str, &mut dyn Read) -> io::Result<()>,
) -> Result<Manifest, BackupError> {
    if !is_archive(path)? {
        let what = "it does not begin as one";
        return Err(BackupError::NotABackup {
            path: path.to_owned(),
            what,
        });
    }
    let file = File::open(path).map_err(BackupError::io("open", path))?;
    let decoder = zstd::Decoder::new(BufReader::new(file)).map_err(BackupError::Unreadable)?;
    let mut tar = tar::Archive::new(decoder);
    let mut found = Vec::new();
    let mut manifest = None;
    for entry in tar.entries().map_err(BackupError::Unreadable)? {
        let mut entry = entry.map_err(BackupError::Unreadable)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if manifest.is_some() {
            return Err(damaged(format!("{name} comes after the manifest")));
        }
        if name == manifest::NAME {
            manifest = Some(read_manifest(&mut entry)?);
            continue;
        }
        if !is_expected(&name) {
            return Err(damaged(format!("it holds a file named {name:?}")));
        }
        let mut hashing = Hashing::new(&mut entry);
        take(&name, &mut hashing).map_err(BackupError::Unreadable)?;
        // What `take` has left is hashed too.
        io::copy(&mut hashing, &mut io::sink()).map_err(BackupError::Unreadable)?;
        found.push((name, hashing.count, hashing.hex()));
    }
    // The checksum of the compression is behind the end of the tar.
    io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(BackupError::Unreadable)?;
    let manifest = manifest.ok_or_else(|| damaged("it has no manifest".to_owned()))?;
    compare(&manifest, &found)?;
    Ok(manifest)
}

fn read_manifest(entry: &mut impl Read) -> Result<Manifest, BackupError> {
    /// What every form has.
    #[derive(serde::Deserialize)]
    struct AnyForm {
        format: u32,
        controller_version: String,
    }
    let mut text = Vec::new();
    entry
        .take(MANIFEST_BYTES_MAX)
        .read_to_end(&mut text)
        .map_err(BackupError::Unreadable)?;
    let unreadable = |error: serde_json::Error| damaged(format!("its manifest cannot be read: {error}"));
    let any: AnyForm = serde_json::from_slice(&text).map_err(unreadable)?;
    if manifest::FORMAT < any.format {
        return Err(BackupError::NewerFormat {
            version: any.controller_version,
        });
    }
    serde_json::from_slice(&text).map_err(unreadable)
}

fn compare(manifest: &Manifest, found: &[(String, u64, String)]) -> Result<(), BackupError> {
    if manifest.files.len() != found.len() {
        let what = format!("{} files of {} are there", found.len(), manifest.files.len());
        return Err(damaged(what));
    }
    for (entry, (name, size_bytes, sha256)) in manifest.files.iter().zip(found) {
        if entry.name != *name || entry.size_bytes != *size_bytes || entry.sha256 != *sha256 {
            return Err(damaged(format!("{name} is not as it was written")));
        }
    }
    if !found.iter().any(|(name, ..)| name == STATE_FILE) {
        return Err(damaged(format!("{STATE_FILE} is missing")));
    }
    Ok(())
}

/// Whether a backup may hold a file of this name: nothing else is ever written.
fn is_expected(name: &str) -> bool {
    let is_plain = |name: &str| {
        name.ends_with(".db")
            && !name.starts_with('.')
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    };
    match name.split_once('/') {
        None => name == STATE_FILE || name == intake::FILE_NAME,
        Some((folder, file)) => folder == SAMPLES_DIR && is_plain(file),
    }
}

fn damaged(what: String) -> BackupError {
    BackupError::Damaged { what }
}

fn header(size_bytes: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size_bytes);
    header.set_mode(0o600);
    header
}

/// Hashes what passes.
struct Hashing<R> {
    inner: R,
    hash: Sha256,
    count: u64,
}

impl<R> Hashing<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            count: 0,
        }
    }

    fn hex(self) -> String {
        let bytes = self.hash.finalize();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.count += count as u64;
        Ok(count)
    }
}
