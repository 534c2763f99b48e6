//! What a guest boots: Debian's kernel for clouds, and an archive with busybox, the few modules a virtual disk and
//! network need, and the controller under test.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::archive::Archive;
use crate::binary;

const INIT: &[u8] = include_bytes!("init");
/// The package that always depends on the newest kernel.
const KERNEL: &str = "linux-image-cloud-amd64";
/// In the order in which they can be loaded.
const MODULES: &[&str] = &[
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
];
const FOLDERS: &[&str] = &["dev", "proc", "sys", "tmp", "data"];

/// A kernel and its first file system.
#[derive(Debug)]
pub struct Image {
    kernel: PathBuf,
    initrd: PathBuf,
}

impl Image {
    /// Puts one together in `folder`, with the controller as it was built. The kernel is loaded with apt and kept beside
    /// the built programs.
    ///
    /// # Errors
    /// If a program is missing that this takes, or the kernel can't be had.
    pub fn make(folder: &Path) -> Result<Self> {
        let controller = binary("muster-controller");
        let kept = controller
            .parent()
            .context("programs lie in a folder")?
            .join("guest-kernel");
        if !kept.join("boot").is_dir() {
            load_kernel(&kept)?;
        }
        let files = files_below(&kept)?;
        let named = |begins: &str| {
            let is = |path: &&PathBuf| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with(begins))
            };
            files
                .iter()
                .find(is)
                .with_context(|| format!("no {begins} in {KERNEL}"))
        };
        let mut archive = Archive::default();
        for folder in FOLDERS {
            archive.add_folder(folder);
        }
        let mut order = String::new();
        for module in MODULES {
            let name = format!("{module}.ko");
            archive.add_file(&format!("modules/{name}"), &std::fs::read(named(&name)?)?);
            order.push_str(&name);
            order.push('\n');
        }
        archive.add_file("modules/order", order.as_bytes());
        archive.add_file("init", INIT);
        let stripped = folder.join("muster-controller");
        run("strip", &["-o", &text(&stripped), &text(&controller)], folder)?;
        add_program(&mut archive, "bin/muster-controller", &stripped)?;
        add_program(&mut archive, "bin/busybox", Path::new("/bin/busybox"))?;
        let initrd = folder.join("initrd");
        std::fs::write(&initrd, archive.finish())?;
        Ok(Self {
            kernel: named("vmlinuz-")?.clone(),
            initrd,
        })
    }

    /// The kernel's file.
    #[must_use]
    pub fn kernel(&self) -> &Path {
        &self.kernel
    }

    /// The archive's file.
    #[must_use]
    pub fn initrd(&self) -> &Path {
        &self.initrd
    }

    /// Makes a file system of this size that holds `data` as its folder `muster`, in a file.
    ///
    /// # Errors
    /// If e2fsprogs are missing or fail.
    pub fn file_system(data: &Path, mib: u32, path: &Path) -> Result<()> {
        let root = path.with_extension("root");
        std::fs::create_dir_all(&root)?;
        std::fs::rename(data, root.join("muster"))?;
        let size = format!("{mib}M");
        let args = ["-q", "-F", "-t", "ext4", "-d", &text(&root), &text(path), &size];
        run("mke2fs", &args, &root)?;
        Ok(std::fs::remove_dir_all(&root)?)
    }

    /// Takes the folder `muster` out of such a file, whose file system is first made whole from its journal, and puts it
    /// in the place `data`.
    ///
    /// # Errors
    /// If the file system is damaged, or e2fsprogs are missing.
    pub fn take_out(path: &Path, data: &Path) -> Result<()> {
        let folder = path.parent().context("a file lies in a folder")?;
        run("e2fsck", &["-p", &text(path)], folder)?;
        let out = path.with_extension("out");
        std::fs::create_dir_all(&out)?;
        run(
            "debugfs",
            &["-R", &format!("rdump /muster {}", out.display()), &text(path)],
            folder,
        )?;
        Ok(std::fs::rename(out.join("muster"), data)?)
    }
}

/// Loads the newest kernel of the running Debian and unpacks it.
fn load_kernel(folder: &Path) -> Result<()> {
    let unfinished = folder.with_extension("unfinished");
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished)?;
    }
    std::fs::create_dir_all(&unfinished)?;
    let depends = run("apt-cache", &["depends", KERNEL], &unfinished)?;
    let package = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .with_context(|| format!("apt knows no {KERNEL}"))?;
    run(
        "apt-get",
        &["download", "-qq", "-o", "APT::Sandbox::User=root", package],
        &unfinished,
    )?;
    let files = files_below(&unfinished)?;
    let loaded = files.first().context("apt-get download left no file")?;
    run("dpkg-deb", &["-x", &text(loaded), "."], &unfinished)?;
    std::fs::remove_file(loaded)?;
    Ok(std::fs::rename(&unfinished, folder)?)
}

/// Adds a program and the libraries it is linked with.
fn add_program(archive: &mut Archive, path: &str, program: &Path) -> Result<()> {
    archive.add_file(path, &std::fs::read(program)?);
    let folder = program.parent().context("a program lies in a folder")?;
    // It complains of programs that need no libraries.
    let linked = run("ldd", &[&text(program)], folder).unwrap_or_default();
    for library in linked.split_whitespace().filter(|word| word.starts_with('/')) {
        archive.add_file(library.trim_start_matches('/'), &std::fs::read(library)?);
    }
    Ok(())
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Runs a program of the system to its end, in a folder, and returns what it printed.
fn run(program: &str, args: &[&str], folder: &Path) -> Result<String> {
    #[expect(clippy::disallowed_methods, reason = "the system's own tools make the guest")]
    let ran = Command::new(program)
        .args(args)
        .current_dir(folder)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program} is missing: `cargo xtask test-deps` names what is"))?;
    // e2fsck says 1 when it had something to do.
    let is_good = ran.status.success() || (program == "e2fsck" && ran.status.code() == Some(1));
    ensure!(
        is_good,
        "{program} {args:?}: {}: {}",
        ran.status,
        String::from_utf8_lossy(&ran.stderr)
    );
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}
