//! A Python environment under `target/`, for the few tools and test oracles that PyPI has.

use anyhow::{Context as _, bail};
use camino::{Utf8Path, Utf8PathBuf};

use crate::process;

/// Makes the environment if it is not there, with these packages; its `bin` folder.
///
/// # Errors
/// If python3 is missing, cannot make environments, or PyPI does not answer.
pub(crate) fn ensure(root: &Utf8Path, packages: &[&str]) -> anyhow::Result<Utf8PathBuf> {
    let venv = root.join("target/venv");
    let bin = venv.join("bin");
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|package| !venv.join(format!(".{package}")).exists())
        .collect();
    if missing.is_empty() {
        return Ok(bin);
    }
    if !bin.join("pip").exists() {
        if process::find("python3").is_none() {
            bail!("python3 is not installed");
        }
        process::run(process::command("python3", root).args(["-m", "venv", "--clear", venv.as_str()]))?;
    }
    let mut pip = process::command(bin.join("pip").as_str(), root);
    process::run(
        pip.args(["install", "--quiet", "--disable-pip-version-check"])
            .args(&missing),
    )?;
    for package in missing {
        let stamp = venv.join(format!(".{package}"));
        std::fs::write(&stamp, "").with_context(|| format!("write {stamp}"))?;
    }
    Ok(bin)
}
