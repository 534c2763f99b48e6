//! Starting other programs: the one place of this tool that does.

use anyhow::{Context as _, bail};
use camino::Utf8Path;
pub(crate) use std::process::Command;
use std::process::Stdio;

/// A command in `directory` that inherits this process's streams.
#[expect(
    clippy::disallowed_methods,
    reason = "a developer's tool starts cargo, git, apt and python"
)]
pub(crate) fn command(program: &str, directory: &Utf8Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory);
    command
}

/// Runs to the end; whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> anyhow::Result<bool> {
    let status = command.status().with_context(|| format!("start {command:?}"))?;
    Ok(status.success())
}

/// Runs to the end, which must be a success.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    if !succeeds(command)? {
        bail!("{command:?} failed");
    }
    Ok(())
}

/// Standard output of a command that must succeed.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed");
    }
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} printed something else than UTF-8"))
}

/// Standard output of a command, whether or not it succeeded.
pub(crate) fn output_in_any_case(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("start {command:?}"))?;
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} printed something else than UTF-8"))
}

/// Where a program is, looked for in `PATH` and the directories that `PATH` of an ordinary user lacks.
pub(crate) fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(Into::into))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}
