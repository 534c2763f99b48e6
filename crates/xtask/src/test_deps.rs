//! The programs that the tests run or compare with.
//!
//! As root they are installed with apt; otherwise the missing ones are named and nothing is started, because a test
//! that quietly skips is worse than one that never ran.

use camino::Utf8Path;

use crate::{process, venv};

/// Program, and the Debian package that has it.
const PROGRAMS: &[(&str, &str)] = &[
    ("cc", "gcc"),
    ("busybox", "busybox-static"),
    ("chromium", "chromium"),
    ("containerd", "containerd"),
    ("df", "coreutils"),
    ("docker", "docker.io"),
    ("docker-registry", "docker-registry"),
    ("dockerd", "docker.io"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("lsblk", "util-linux"),
    ("podman", "podman"),
    ("prometheus", "prometheus"),
    ("prometheus-node-exporter", "prometheus-node-exporter"),
    ("python3", "python3"),
    ("runc", "runc"),
    ("skopeo", "skopeo"),
    ("smartctl", "smartmontools"),
];

/// The same, of programs that boot a guest, which only the long campaigns do.
const GUEST_PROGRAMS: &[(&str, &str)] = &[
    ("mke2fs", "e2fsprogs"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("strip", "binutils"),
];

/// Python packages used as oracles and as other sides.
const PYTHON: &[&str] = &["aiosmtpd", "prometheus-client"];

/// Installs what is missing; whether everything is there now.
pub(crate) fn run(root: &Utf8Path) -> anyhow::Result<bool> {
    let mut needed = missing(PROGRAMS);
    if std::env::var_os("MUSTER_TEST_FULL").is_some() {
        needed.extend(missing(GUEST_PROGRAMS));
    }
    if !needed.is_empty() && !install(root, &needed)? {
        return Ok(false);
    }
    if venv::ensure(root, PYTHON).is_ok() {
        return Ok(true);
    }
    // Debian ships python3 without what `python3 -m venv` needs.
    if !install(root, &["python3-venv"])? {
        return Ok(false);
    }
    venv::ensure(root, PYTHON)?;
    Ok(true)
}

fn missing(programs: &[(&str, &'static str)]) -> Vec<&'static str> {
    let absent = programs
        .iter()
        .filter(|(program, _)| process::find(program).is_none());
    absent.map(|(_, package)| *package).collect()
}

fn install(root: &Utf8Path, packages: &[&str]) -> anyhow::Result<bool> {
    let is_root = process::output(process::command("id", root).arg("-u"))?.trim() == "0";
    if !is_root || process::find("apt-get").is_none() {
        println!("The tests need these packages: {}", packages.join(" "));
        println!(
            "Install them, then start the tests again: sudo apt-get install {}",
            packages.join(" ")
        );
        return Ok(false);
    }
    println!("installing {}", packages.join(" "));
    process::run(process::command("apt-get", root).args(["update", "--quiet", "--quiet"]))?;
    let mut apt = process::command("apt-get", root);
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    process::run(
        apt.args(["install", "--quiet", "--yes", "--no-install-recommends"])
            .args(packages),
    )?;
    Ok(true)
}
