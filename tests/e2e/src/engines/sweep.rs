//! What is left of an engine that was killed: processes and mounts that name its folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Ends every process that was started with a path below `folder` or whose root lies there, and unmounts what is
/// mounted below it. The folder's name is this test's own and found nowhere else.
pub(super) fn sweep(folder: &Path) {
    // A shim that dies may leave a container, and a container that dies a shim: twice finds all.
    for _ in 0..20 {
        let left = processes(folder);
        if left.is_empty() {
            break;
        }
        for pid in left {
            let _ = kill(pid, Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut mounts = mounts(folder);
    mounts.sort();
    for mount in mounts.into_iter().rev() {
        let _ = super::run("umount", &["-l", super::text(&mount)], &[], &[]);
    }
}

fn processes(folder: &Path) -> Vec<Pid> {
    let own = std::process::id();
    let name = folder.to_string_lossy().into_owned();
    let listed = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = listed.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|&id| id != own)
        .filter(|id| {
            let command = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let mounts = std::fs::read_to_string(format!("/proc/{id}/mountinfo")).unwrap_or_default();
            let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/"));
            let names_folder = String::from_utf8_lossy(&command).contains(&name);
            // An agent that looks at it is the test's own, and ended by its handle.
            let is_engine = !command.starts_with(b"muster")
                && !String::from_utf8_lossy(&command).contains("/muster-agent");
            (names_folder && is_engine) || root.is_some_and(|root| root.contains(&name))
        })
        .filter_map(|id| i32::try_from(id).ok().map(Pid::from_raw))
        .collect()
}

fn mounts(folder: &Path) -> Vec<PathBuf> {
    let listed = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = listed.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .map(PathBuf::from)
        .filter(|point| point.starts_with(folder))
        .collect()
}
