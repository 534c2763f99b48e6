//! NVMe controllers, as the kernel names them; their health is told by the collector of SMART.

use muster_catalogue::NODE_NVME_INFO;

use super::Descriptor;
use super::reading::{FileCollector, Reading, every_minute};
use crate::host::HostError;

/// Controllers told of.
const CONTROLLERS_MAX: usize = 128;
const ROOT: &str = "/sys/class/nvme";

/// The nvme collector.
pub const DESCRIPTOR: Descriptor = every_minute("nvme", "NVMe controllers, from /sys/class/nvme", |_| {
    Box::new(NVME)
});

const NVME: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "no NVMe controller in /sys/class/nvme",
    read,
};

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    for (_, name) in reading.numbered(ROOT, "nvme", CONTROLLERS_MAX) {
        let word = |file: &str| {
            reading
                .files
                .word(&format!("{ROOT}/{name}/{file}"))
                .unwrap_or_default()
        };
        let labels = [
            ("device", name.as_str()),
            ("firmware_revision", &word("firmware_rev")),
            ("model", &word("model")),
            ("serial", &word("serial")),
            ("state", &word("state")),
            ("cntlid", &word("cntlid")),
        ];
        reading.draft.sample(&NODE_NVME_INFO, &labels, 1.0);
    }
    Ok(())
}
