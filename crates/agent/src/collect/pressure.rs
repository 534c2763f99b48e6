//! How long tasks were held up for want of CPU, memory, I/O, or by interrupts.

use muster_catalogue::{
    Metric, NODE_PRESSURE_CPU_WAITING_SECONDS_TOTAL, NODE_PRESSURE_IO_STALLED_SECONDS_TOTAL,
    NODE_PRESSURE_IO_WAITING_SECONDS_TOTAL, NODE_PRESSURE_IRQ_STALLED_SECONDS_TOTAL,
    NODE_PRESSURE_MEMORY_STALLED_SECONDS_TOTAL, NODE_PRESSURE_MEMORY_WAITING_SECONDS_TOTAL,
};
use muster_parse::pressure;

use super::Descriptor;
use super::reading::{FileCollector, Reading, every_15s};
use crate::host::HostError;

/// The pressure collector.
pub const DESCRIPTOR: Descriptor = every_15s(
    "pressure",
    "how long tasks were held up for want of CPU, memory or I/O, from /proc/pressure",
    |_| Box::new(PRESSURE),
);

const PRESSURE: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "the kernel does not measure pressure (before 4.20, or without psi=1)",
    read,
};

/// A file, what "some" becomes and what "full" becomes. For a CPU "full" says nothing (Documentation/accounting/psi.rst),
/// for interrupts there is no "some".
const FILES: [(&str, Option<&Metric>, Option<&Metric>); 4] = [
    ("cpu", Some(&NODE_PRESSURE_CPU_WAITING_SECONDS_TOTAL), None),
    (
        "io",
        Some(&NODE_PRESSURE_IO_WAITING_SECONDS_TOTAL),
        Some(&NODE_PRESSURE_IO_STALLED_SECONDS_TOTAL),
    ),
    (
        "memory",
        Some(&NODE_PRESSURE_MEMORY_WAITING_SECONDS_TOTAL),
        Some(&NODE_PRESSURE_MEMORY_STALLED_SECONDS_TOTAL),
    ),
    ("irq", None, Some(&NODE_PRESSURE_IRQ_STALLED_SECONDS_TOTAL)),
];

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    for (file, some, full) in FILES {
        let path = format!("/proc/pressure/{file}");
        // With psi=0 the files are there and reading them is refused (EOPNOTSUPP), which is as good as absent.
        let Some(text) = reading.files.text(&path).unwrap_or_default() else {
            continue;
        };
        let parsed = pressure::parse(&text);
        let seconds = |us: u64| us as f64 / 1e6;
        for (metric, us) in [(some, parsed.value.some_us), (full, parsed.value.full_us)] {
            if let (Some(metric), Some(us)) = (metric, us) {
                reading.sample(metric, &[], seconds(us));
            }
        }
        reading.draft.parser_problems(&path, parsed.problems);
    }
    Ok(())
}
