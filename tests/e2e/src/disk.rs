//! Filesystems of a test's own: one that is full, and one whose disk fails.
//!
//! Both need root and loop devices; where nothing can be mounted there is none, and the test says that it was skipped.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// A small filesystem; unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// An ext4 in the file `image`, or else a filesystem in memory, seen in `folder`; `None` where nothing can be
    /// mounted.
    ///
    /// # Errors
    /// If the folder or the image cannot be made.
    pub fn mount(folder: &Path, image: &Path, bytes: u64) -> Result<Option<Self>> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(None);
        }
        std::fs::create_dir_all(folder)?;
        let mounted = make_ext4(image, bytes)
            .and_then(|()| run(&["mount", "-o", "loop", text(image), text(folder)]))
            .or_else(|_| mount_memory(folder, bytes));
        Ok(mounted.is_ok().then(|| Self {
            folder: folder.to_owned(),
        }))
    }

    /// Takes all that is free; returns the file that does.
    ///
    /// # Errors
    /// If that file cannot be made.
    pub fn fill(&self) -> Result<PathBuf> {
        let filler = self.folder.join("filler");
        fill(&filler)?;
        Ok(filler)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whatever still uses it ends with the test.
        let _ = run(&["umount", "-l", text(&self.folder)]);
    }
}

/// An ext4 whose disk takes no more blocks when told to: writes and syncs fail with EIO, then the kernel makes the
/// filesystem read-only.
///
/// The disk is a sparse image in a filesystem in memory. While that one has room, the disk works; when it has none, the
/// loop device answers with an error, as a disk does that has no spare sectors left.
#[derive(Debug)]
pub struct FailingDisk {
    folder: PathBuf,
    below: PathBuf,
    device: String,
}

impl FailingDisk {
    /// A disk that works so far, seen in `folder`, kept in `below`; `None` where nothing can be mounted.
    ///
    /// # Errors
    /// If the folders cannot be made.
    pub fn mount(folder: &Path, below: &Path, bytes: u64) -> Result<Option<Self>> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(None);
        }
        std::fs::create_dir_all(folder)?;
        std::fs::create_dir_all(below)?;
        if mount_memory(below, bytes).is_err() {
            return Ok(None);
        }
        let mut disk = Self {
            folder: folder.to_owned(),
            below: below.to_owned(),
            device: String::new(),
        };
        let mounted = make_ext4(&disk.image(), bytes * 4).and_then(|()| disk.attach());
        Ok(mounted.is_ok().then_some(disk))
    }

    /// From now on it takes no block that it did not have.
    ///
    /// # Errors
    /// If what takes its room cannot be made.
    pub fn fail(&self) -> Result<()> {
        fill(&self.below.join("filler"))
    }

    /// Mends the disk and what the failure has left in the filesystem. Nothing may use it.
    ///
    /// # Errors
    /// If it is in use, or cannot be mended.
    pub fn mend(&mut self) -> Result<()> {
        // A process that was killed a moment ago may still be letting go of its files.
        let mut unmounted = run(&["umount", text(&self.folder)]);
        for _ in 0..100 {
            if unmounted.is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
            unmounted = run(&["umount", text(&self.folder)]);
        }
        unmounted?;
        run(&["losetup", "--detach", &self.device])?;
        std::fs::remove_file(self.below.join("filler"))?;
        // 1 says that it has found something to mend and has done so.
        let status = output(&["e2fsck", "-f", "-y", text(&self.image())])?
            .status
            .code();
        ensure!(
            matches!(status, Some(0 | 1)),
            "the filesystem cannot be mended: {status:?}"
        );
        self.attach()
    }

    fn attach(&mut self) -> Result<()> {
        let told = output(&["losetup", "--find", "--show", text(&self.image())])?;
        ensure!(told.status.success(), "no loop device");
        self.device = String::from_utf8(told.stdout)?.trim().to_owned();
        // Blocks one by one: of a longer write that fits only in part, the loop device says that all of it was done.
        let name = self.device.trim_start_matches("/dev/");
        std::fs::write(format!("/sys/block/{name}/queue/max_sectors_kb"), "4")?;
        run(&["mount", &self.device, text(&self.folder)])
    }

    fn image(&self) -> PathBuf {
        self.below.join("image")
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        // Lazily: whatever still uses it ends with the test.
        let _ = run(&["umount", "-l", text(&self.folder)]);
        if !self.device.is_empty() {
            let _ = run(&["losetup", "--detach", &self.device]);
        }
        let _ = run(&["umount", "-l", text(&self.below)]);
    }
}

fn make_ext4(image: &Path, bytes: u64) -> Result<()> {
    File::create(image)?.set_len(bytes)?;
    run(&["mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", text(image)])
}

fn mount_memory(folder: &Path, bytes: u64) -> Result<()> {
    let size = format!("size={bytes}");
    run(&["mount", "-t", "tmpfs", "-o", &size, "tmpfs", text(folder)])
}

/// Takes all that is free of a filesystem.
fn fill(path: &Path) -> Result<()> {
    let mut file = File::create(path)?;
    for block in [1 << 20, 1 << 12, 1] {
        let zeroes = vec![0; block];
        while file.write_all(&zeroes).is_ok() {}
    }
    // What does not fit any more may be told only now.
    let _ = file.sync_all();
    Ok(())
}

fn run(command: &[&str]) -> Result<()> {
    let told = output(command)?;
    ensure!(
        told.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&told.stderr)
    );
    Ok(())
}

fn output(command: &[&str]) -> Result<Output> {
    let (program, args) = command.split_first().context("a command has a name")?;
    #[expect(
        clippy::disallowed_methods,
        reason = "a filesystem of one's own is had with the system's programs"
    )]
    let output = std::process::Command::new(program).args(args).output()?;
    Ok(output)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("test folders have plain names")
}
