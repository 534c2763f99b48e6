//! The kernel's random bits.

use muster_catalogue::{NODE_ENTROPY_AVAILABLE_BITS, NODE_ENTROPY_POOL_SIZE_BITS};

use super::Descriptor;
use super::reading::{FileCollector, Reading, every_15s};
use crate::host::HostError;

/// The entropy collector.
pub const DESCRIPTOR: Descriptor = every_15s("entropy", "random bits at hand", |_| Box::new(ENTROPY));

const ENTROPY: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "/proc/sys/kernel/random does not exist",
    read,
};

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let folder = "/proc/sys/kernel/random";
    reading.file(
        &format!("{folder}/entropy_avail"),
        &NODE_ENTROPY_AVAILABLE_BITS,
        &[],
    );
    reading.file(&format!("{folder}/poolsize"), &NODE_ENTROPY_POOL_SIZE_BITS, &[]);
    Ok(())
}
