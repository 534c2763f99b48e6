//! Tasks that hung for longer than the kernel thinks right.

use muster_catalogue::NODE_KERNEL_HUNG_TASKS_TOTAL;

use super::Descriptor;
use super::reading::{FileCollector, Reading, every_15s};
use crate::host::HostError;

/// The kernel_hung collector.
pub const DESCRIPTOR: Descriptor = every_15s("kernel_hung", "tasks that the kernel found hanging", |_| {
    Box::new(KERNEL_HUNG)
});

const KERNEL_HUNG: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "the kernel does not count tasks that hang (before 6.13)",
    read,
};

/// Documentation/admin-guide/sysctl/kernel.rst, `hung_task_detect_count`.
fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    reading.file(
        "/proc/sys/kernel/hung_task_detect_count",
        &NODE_KERNEL_HUNG_TASKS_TOTAL,
        &[],
    );
    Ok(())
}
