//! `buf lint` over the protobuf files and `typos` over everything, from PyPI.
//!
//! Where PyPI cannot be reached they are left out and that is said: they guard style, not behaviour.

use camino::Utf8Path;

use crate::{process, venv};

/// Runs both; whether both are content.
pub(crate) fn run(root: &Utf8Path) -> anyhow::Result<bool> {
    let buf = run_tool(root, "buf-bin", &["buf", "lint"])?;
    let typos = run_tool(
        root,
        "typos",
        &["typos", "--config", ".config/typos.toml", "--format", "brief"],
    )?;
    Ok(buf && typos)
}

fn run_tool(root: &Utf8Path, package: &str, words: &[&str]) -> anyhow::Result<bool> {
    let bin = match venv::ensure(root, &[package]) {
        Ok(bin) => bin,
        Err(error) => {
            println!(
                "lint: {} left out, since {package} could not be had from PyPI: {error:#}",
                words[0]
            );
            return Ok(true);
        }
    };
    let mut tool = process::command(bin.join(words[0]).as_str(), root);
    process::succeeds(tool.args(&words[1..]))
}
