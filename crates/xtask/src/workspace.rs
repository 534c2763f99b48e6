//! The workspace as files: what git knows or would add, read once.

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};

use crate::process;
use crate::source::Masked;

/// Everything the checks look at.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: Utf8PathBuf,
    pub(crate) files: Vec<File>,
}

/// One file that is in git, or would be with the next `git add`.
#[derive(Debug)]
pub(crate) struct File {
    /// From the root, with `/`.
    pub(crate) path: Utf8PathBuf,
    pub(crate) size_bytes: u64,
    /// Nothing for what is not UTF-8 or not a file.
    pub(crate) text: Option<String>,
    /// Of Rust sources only.
    pub(crate) masked: Option<Masked>,
}

/// The directory of the workspace this tool was built from.
pub(crate) fn find_root() -> anyhow::Result<Utf8PathBuf> {
    let manifest = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest
        .ancestors()
        .nth(2)
        .context("xtask lies two folders below the root")?;
    Ok(root.to_owned())
}

impl Workspace {
    /// Reads every file.
    pub(crate) fn load(root: &Utf8Path) -> anyhow::Result<Self> {
        let listed = process::output(process::command("git", root).args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--deduplicate",
        ]))?;
        let files = listed
            .split('\0')
            .filter(|path| !path.is_empty())
            .filter_map(|path| File::read(root, path).transpose())
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            root: root.to_owned(),
            files,
        })
    }

    /// Rust sources with their masks.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&File, &Masked)> {
        self.files
            .iter()
            .filter_map(|file| Some((file, file.masked.as_ref()?)))
    }

    /// Files whose name ends in `suffix`, with their text.
    pub(crate) fn texts<'a>(&'a self, suffix: &'a str) -> impl Iterator<Item = (&'a File, &'a str)> {
        self.files
            .iter()
            .filter(move |file| file.path.as_str().ends_with(suffix))
            .filter_map(|file| Some((file, file.text.as_deref()?)))
    }
}

impl File {
    /// Nothing if git lists it but it is deleted in the work tree.
    fn read(root: &Utf8Path, path: &str) -> anyhow::Result<Option<Self>> {
        let absolute = root.join(path);
        let Ok(metadata) = std::fs::metadata(&absolute) else {
            return Ok(None);
        };
        let bytes = if metadata.is_file() {
            std::fs::read(&absolute).with_context(|| format!("read {absolute}"))?
        } else {
            Vec::new()
        };
        Ok(Some(Self {
            size_bytes: metadata.len(),
            ..Self::of(path, bytes)
        }))
    }

    fn of(path: &str, bytes: Vec<u8>) -> Self {
        let size_bytes = bytes.len() as u64;
        let text = String::from_utf8(bytes).ok();
        let mask = if is_test_file(path) {
            Masked::all_test
        } else {
            Masked::new
        };
        Self {
            path: path.into(),
            size_bytes,
            masked: text.as_deref().filter(|_| path.ends_with(".rs")).map(mask),
            text,
        }
    }
}

#[cfg(test)]
impl Workspace {
    /// A workspace of these paths and texts.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let files = files
            .iter()
            .map(|(path, text)| File::of(path, text.as_bytes().to_vec()));
        Self {
            root: Utf8PathBuf::from("/nowhere"),
            files: files.collect(),
        }
    }
}

/// Files that hold nothing but tests or benchmarks.
fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || path.contains("/tests/")
        || path.contains("/benches/")
        || path.starts_with("tests/")
}
