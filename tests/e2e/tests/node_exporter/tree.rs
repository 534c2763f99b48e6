//! Folders that look like a server: one written out of a single file, one copied from this machine.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Hardware that development machines lack.
const HARDWARE: &str = include_str!("../../fixtures/hardware.tree");
/// Of this machine: what both programs read, as far as it is small files.
const COPIED: [&str; 26] = [
    "etc/os-release",
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/interrupts",
    "proc/loadavg",
    "proc/meminfo",
    "proc/mdstat",
    "proc/net/arp",
    "proc/net/dev",
    "proc/net/netstat",
    "proc/net/snmp",
    "proc/net/snmp6",
    "proc/net/sockstat",
    "proc/net/sockstat6",
    "proc/net/softnet_stat",
    "proc/net/stat",
    "proc/net/udp",
    "proc/net/udp6",
    "proc/pressure",
    "proc/schedstat",
    "proc/stat",
    "proc/sys/fs/file-nr",
    "proc/sys/kernel",
    "proc/sys/net/netfilter",
    "proc/vmstat",
    "sys/devices/system/clocksource/clocksource0",
];
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Writes the hardware below a folder.
pub(crate) fn write_hardware(root: &Path) -> Result<()> {
    let mut file: Option<(PathBuf, String)> = None;
    let finish = |file: Option<(PathBuf, String)>| -> Result<()> {
        if let Some((path, text)) = file {
            fs::create_dir_all(path.parent().context("a file stands in a folder")?)?;
            fs::write(path, text)?;
        }
        Ok(())
    };
    for line in HARDWARE.lines() {
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

/// Copies what both read of this machine.
pub(crate) fn copy_machine(root: &Path) -> Result<()> {
    for path in COPIED {
        copy(&Path::new("/").join(path), &root.join(path))?;
    }
    // Interfaces are links to folders that link back; only their plain files are wanted.
    for name in names(Path::new("/sys/class/net")) {
        let from = Path::new("/sys/class/net").join(&name);
        let to = root.join("sys/class/net").join(&name);
        for file in names(&from) {
            let path = from.join(&file);
            if path.is_file() {
                copy(&path, &to.join(file))?;
            }
        }
        copy(&from.join("statistics"), &to.join("statistics"))?;
    }
    fs::create_dir_all(root.join("proc/1"))?;
    fs::create_dir_all(root.join("proc/self"))?;
    fs::write(root.join("proc/1/mounts"), "/dev/root / ext4 rw 0 0\n")?;
    fs::write(root.join("proc/self/mounts"), "/dev/root / ext4 rw 0 0\n")?;
    fs::write(
        root.join("proc/1/mountinfo"),
        "22 1 8:1 / / rw shared:1 - ext4 /dev/root rw\n",
    )?;
    Ok(())
}

fn names(folder: &Path) -> Vec<std::ffi::OsString> {
    fs::read_dir(folder)
        .map(|entries| {
            entries
                .filter_map(Result::ok)
                .map(|entry| entry.file_name())
                .collect()
        })
        .unwrap_or_default()
}

/// Copies a file or folder as far as it can be read; what is written only or gone is left out.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        for name in names(from) {
            copy(&from.join(&name), &to.join(&name))?;
        }
        return Ok(());
    }
    if !from.is_file() {
        return Ok(());
    }
    let mut bytes = Vec::new();
    let read = fs::File::open(from).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
    if read.is_ok() {
        fs::create_dir_all(to.parent().context("a file stands in a folder")?)?;
        fs::write(to, bytes)?;
    }
    Ok(())
}
