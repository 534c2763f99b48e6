//! Whether SELinux is on, and how strict it is.

use muster_catalogue::{NODE_SELINUX_CONFIG_MODE, NODE_SELINUX_CURRENT_MODE, NODE_SELINUX_ENABLED};

use super::Descriptor;
use super::reading::{FileCollector, Reading, every_minute};
use crate::host::HostError;

/// The selinux collector.
pub const DESCRIPTOR: Descriptor =
    every_minute("selinux", "whether SELinux is on, and how strict it is", |_| {
        Box::new(SELINUX)
    });

const SELINUX: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "/sys/fs does not exist",
    read,
};

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let Some(now) = reading.number("/sys/fs/selinux/enforce") else {
        if reading.files.list("/sys/fs")?.is_some() {
            reading.sample(&NODE_SELINUX_ENABLED, &[], 0.0);
        }
        return Ok(());
    };
    reading.sample(&NODE_SELINUX_ENABLED, &[], 1.0);
    reading.sample(&NODE_SELINUX_CURRENT_MODE, &[], now);
    let config = reading.side_text("/etc/selinux/config").unwrap_or_default();
    let configured = match setting(&config, "SELINUX") {
        Some("enforcing") => 1.0,
        Some("permissive") => 0.0,
        Some(_) | None => -1.0,
    };
    reading.sample(&NODE_SELINUX_CONFIG_MODE, &[], configured);
    Ok(())
}

/// The value of a setting of selinux_config(5).
fn setting<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.trim().split_once('='))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}
