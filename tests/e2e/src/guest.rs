//! A machine of a test's own, whose power can be cut: Debian's kernel in qemu, the controller as its only program, and a
//! disk that loses what was not flushed.

mod archive;
mod disk;
mod image;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

pub use disk::{Disk, Losses};
pub use image::Image;

use crate::Process;

/// What the kernel is told: where to write, and not to spend time on what matters to real machines only.
const KERNEL_ARGS: &str = "console=ttyS0 quiet no_timer_check nowatchdog mitigations=off nokaslr norandmaps \
                           random.trust_cpu=on init_on_alloc=0 reboot=t panic=1";
/// Bytes of memory: the programs are there twice while the kernel unpacks them.
const MEMORY_MIB: &str = "768";

/// A machine that runs; switched off, without a word to it, when dropped.
#[derive(Debug)]
pub struct Guest {
    machine: Process,
}

impl Guest {
    /// Switches a machine on that has this disk; its controller's agent port is reached at `agents`. What it prints is
    /// appended to `log`.
    ///
    /// # Errors
    /// If qemu can't be started.
    pub fn start(image: &Image, disk: &Disk, agents: SocketAddr, log: &Path) -> Result<Self> {
        let text = |path: &Path| path.display().to_string();
        let drive = format!(
            "driver=nbd,server.type=unix,server.path={},node-name=disk,cache.direct=on",
            disk.socket().display()
        );
        let network = format!("user,id=net,restrict=on,hostfwd=tcp:{agents}-:8481");
        let (kernel, initrd) = (text(image.kernel()), text(image.initrd()));
        let args = [
            "-machine",
            "pc,usb=off",
            "-accel",
            "tcg",
            "-cpu",
            "max",
            "-m",
            MEMORY_MIB,
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
            "-serial",
            "stdio",
            "-kernel",
            &kernel,
            "-initrd",
            &initrd,
            "-append",
            KERNEL_ARGS,
            "-blockdev",
            &drive,
            "-device",
            "virtio-blk-pci,drive=disk,write-cache=on",
            "-netdev",
            &network,
            "-device",
            "virtio-net-pci,netdev=net,romfile=",
        ];
        let machine = Process::start(Path::new("qemu-system-x86_64"), &args, log)?;
        Ok(Self { machine })
    }

    /// Everything that machines with this log have printed.
    #[must_use]
    pub fn printed(&self) -> String {
        self.machine.printed()
    }

    /// Returns when the machine has ended by itself, which none is to do.
    ///
    /// # Errors
    /// If the system can't say.
    pub async fn ended(&mut self) -> Result<()> {
        while self.machine.is_running()? {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// Cuts the power: from this moment on nothing reaches the disk, and of what it was not told to flush some is gone.
    ///
    /// # Errors
    /// If the machine can't be ended.
    pub fn cut_power(mut self, disk: &Disk) -> Result<Losses> {
        disk.cut_power(|| self.machine.kill())
    }
}
