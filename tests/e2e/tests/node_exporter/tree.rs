//! Folders that look like a server: two written out of single files, one copied from this machine.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Hardware that development machines lack.
const HARDWARE: &str = include_str!("../../fixtures/hardware.tree");
/// A real guest with every kind of storage.
const GUEST: &str = include_str!("../../fixtures/lab-guest.tree");
/// Of this machine: what both programs read, as far as it is small files.
const COPIED: [&str; 27] = [
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
    "run/udev/data",
    "sys/devices/system/clocksource/clocksource0",
];
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Folders of links to devices, whose own folders lie elsewhere and link back.
const DEVICES: [&str; 10] = [
    "sys/block",
    "sys/class/drm",
    "sys/class/hwmon",
    "sys/class/infiniband",
    "sys/class/net",
    "sys/class/nvme",
    "sys/class/power_supply",
    "sys/class/powercap",
    "sys/class/thermal",
    "sys/class/watchdog",
];
/// Folders that hold what they tell of.
const UNFOLLOWED: [&str; 4] = [
    "sys/class/dmi/id",
    "sys/devices/system/cpu/cpu0",
    "sys/devices/system/cpu/cpu1",
    "sys/devices/system/edac/mc",
];
/// A device's own folder has its parts and their counters below it.
const DEVICE_DEPTH: usize = 3;

/// Writes the hardware below a folder.
pub(crate) fn write_hardware(root: &Path) -> Result<()> {
    muster_e2e::tree::write(HARDWARE, root)
}

/// Writes what was recorded of a guest below a folder.
pub(crate) fn write_guest(root: &Path) -> Result<()> {
    muster_e2e::tree::write(GUEST, root)
}

/// Copies what both read of this machine.
pub(crate) fn copy_machine(root: &Path) -> Result<()> {
    for path in COPIED {
        copy(&Path::new("/").join(path), &root.join(path))?;
    }
    for path in DEVICES {
        copy_devices(&Path::new("/").join(path), root)?;
    }
    for path in UNFOLLOWED {
        let from = Path::new("/").join(path);
        if from.is_dir() {
            copy_unfollowed(&from, &root.join(path), DEVICE_DEPTH)?;
        }
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

/// Copies the links of a folder as they are, and the folders they lead to.
fn copy_devices(from: &Path, root: &Path) -> Result<()> {
    for name in names(from) {
        let link = from.join(name);
        let (Ok(target), Ok(folder)) = (fs::read_link(&link), fs::canonicalize(&link)) else {
            continue;
        };
        let to = root.join(link.strip_prefix("/")?);
        fs::create_dir_all(to.parent().context("a link stands in a folder")?)?;
        symlink(target, to)?;
        copy_unfollowed(&folder, &root.join(folder.strip_prefix("/")?), DEVICE_DEPTH)?;
    }
    Ok(())
}

/// Copies a folder with its links as links.
fn copy_unfollowed(from: &Path, to: &Path, depth: usize) -> Result<()> {
    fs::create_dir_all(to)?;
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        let Ok(kind) = fs::symlink_metadata(&from).map(|metadata| metadata.file_type()) else {
            continue;
        };
        if kind.is_file() {
            copy(&from, &to)?;
        } else if kind.is_dir() && 0 < depth {
            copy_unfollowed(&from, &to, depth - 1)?;
        } else if kind.is_symlink() && fs::symlink_metadata(&to).is_err() {
            symlink(fs::read_link(&from)?, to)?;
        }
    }
    Ok(())
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
