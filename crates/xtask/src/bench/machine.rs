//! The machine that is measured on: what it is, and what it counts.

use anyhow::Context as _;
use camino::Utf8Path;

use crate::process;

/// Lines that say what the figures were made on.
pub(super) fn describe(root: &Utf8Path) -> anyhow::Result<Vec<(&'static str, String)>> {
    let read = |path: &str| std::fs::read_to_string(path).with_context(|| format!("read {path}"));
    let say = |program: &str, arguments: &[&str]| -> anyhow::Result<String> {
        Ok(process::output(process::command(program, root).args(arguments))?
            .trim()
            .to_owned())
    };
    let cpuinfo = read("/proc/cpuinfo")?;
    let model = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split_once(": "));
    let meminfo = read("/proc/meminfo")?;
    let memory_kib = meminfo
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse::<u64>().ok())
        .unwrap_or(0);
    let load = read("/proc/loadavg")?
        .split_whitespace()
        .next()
        .unwrap_or("unknown")
        .to_owned();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    Ok(vec![
        ("date", say("date", &["-u", "+%Y-%m-%d"])?),
        (
            "commit",
            say("git", &["describe", "--always", "--dirty", "--abbrev=12"])?,
        ),
        (
            "processor",
            format!("{cores} x {}", model.map_or("unknown", |(_, name)| name)),
        ),
        ("memory", format!("{} GiB", (memory_kib + (1 << 19)) >> 20)),
        ("load before it began (an idle machine has near 0)", load),
        ("kernel", say("uname", &["-sr"])?),
        ("compiler", say("rustc", &["--version"])?),
    ])
}

/// Bytes that have gone through the loopback device; each is counted once.
pub(super) fn loopback_bytes() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/net/dev").context("read /proc/net/dev")?;
    let received = text.lines().find_map(|line| line.trim().strip_prefix("lo:"));
    let received = received.and_then(|fields| fields.split_whitespace().next()?.parse().ok());
    received.context("/proc/net/dev has no loopback device")
}

/// Bytes that files below a folder take on disk, of those whose name starts so. A folder that is not there takes none.
pub(super) fn disk_bytes(folder: &Utf8Path, start: &str) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error).with_context(|| format!("list {folder}")),
    };
    for entry in entries {
        let entry = entry.with_context(|| format!("list {folder}"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let metadata = entry
            .metadata()
            .with_context(|| format!("look at {folder}/{name}"))?;
        if metadata.is_dir() {
            bytes += disk_bytes(&folder.join(&name), start)?;
        } else if name.starts_with(start) {
            // In units of 512 bytes, whatever the filesystem's block size is.
            bytes += metadata.blocks() * 512;
        }
    }
    Ok(bytes)
}
