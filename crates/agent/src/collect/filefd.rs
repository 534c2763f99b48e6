//! Open files of the whole server.

use muster_catalogue::{NODE_FILEFD_ALLOCATED, NODE_FILEFD_MAXIMUM};

use super::Descriptor;
use super::reading::{FileCollector, Reading, every_15s};
use crate::host::HostError;

/// The filefd collector.
pub const DESCRIPTOR: Descriptor = every_15s(
    "filefd",
    "open files of the whole server, from /proc/sys/fs/file-nr",
    |_| Box::new(FILEFD),
);

const FILEFD: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "/proc/sys/fs/file-nr does not exist",
    read,
};

/// Documentation/admin-guide/sysctl/fs.rst: allocated, allocated but unused (always 0 since 2.6), most.
fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let path = "/proc/sys/fs/file-nr";
    let Some(text) = reading.text(path)? else {
        return Ok(());
    };
    let numbers: Option<Vec<u64>> = text
        .split_ascii_whitespace()
        .map(|word| word.parse().ok())
        .collect();
    match numbers.as_deref() {
        Some([allocated, _, most]) => {
            reading.sample(&NODE_FILEFD_ALLOCATED, &[], *allocated as f64);
            reading.sample(&NODE_FILEFD_MAXIMUM, &[], *most as f64);
        }
        _ => reading
            .draft
            .problem(format!("{path}: expected three numbers, found {text:.60?}")),
    }
    Ok(())
}
