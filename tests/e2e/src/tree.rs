//! Folders that look like a server, written out of a single text.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Writes a tree below a folder: `== path` begins a file, `-> path target` is a symbolic link; lines before are comments.
///
/// # Errors
/// If something can't be written.
pub fn write(text: &str, root: &Path) -> Result<()> {
    let mut file: Option<(PathBuf, String)> = None;
    for line in text.lines() {
        if let Some(path) = line.strip_prefix("== ") {
            finish(file.replace((root.join(path), String::new())))?;
        } else if let Some(link) = line.strip_prefix("-> ") {
            finish(file.take())?;
            let (path, target) = link.split_once(' ').context("a link has a target")?;
            let path = root.join(path);
            fs::create_dir_all(path.parent().context("a link stands in a folder")?)?;
            std::os::unix::fs::symlink(target, path)?;
        } else if let Some((_, text)) = &mut file {
            text.push_str(line);
            text.push('\n');
        }
    }
    finish(file)
}

fn finish(file: Option<(PathBuf, String)>) -> Result<()> {
    if let Some((path, text)) = file {
        fs::create_dir_all(path.parent().context("a file stands in a folder")?)?;
        fs::write(path, text)?;
    }
    Ok(())
}
