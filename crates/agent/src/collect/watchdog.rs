//! Timers that restart a server that hangs.

use muster_catalogue::{
    NODE_WATCHDOG_ACCESS_CS0, NODE_WATCHDOG_BOOTSTATUS, NODE_WATCHDOG_FW_VERSION, NODE_WATCHDOG_INFO,
    NODE_WATCHDOG_NOWAYOUT, NODE_WATCHDOG_PRETIMEOUT_SECONDS, NODE_WATCHDOG_TIMELEFT_SECONDS,
    NODE_WATCHDOG_TIMEOUT_SECONDS,
};

use super::Descriptor;
use super::reading::{Attribute, FileCollector, Reading, every_minute};
use crate::host::HostError;

/// Watchdogs told of.
const WATCHDOGS_MAX: usize = 16;
const ROOT: &str = "/sys/class/watchdog";

/// The watchdog collector.
pub const DESCRIPTOR: Descriptor = every_minute(
    "watchdog",
    "timers that restart a server that hangs, from /sys/class/watchdog",
    |_| Box::new(WATCHDOG),
);

const WATCHDOG: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "no watchdog in /sys/class/watchdog",
    read,
};

/// Documentation/ABI/testing/sysfs-class-watchdog.
const ATTRIBUTES: [Attribute; 7] = [
    Attribute::plain("access_cs0", NODE_WATCHDOG_ACCESS_CS0),
    Attribute::plain("bootstatus", NODE_WATCHDOG_BOOTSTATUS),
    Attribute::plain("fw_version", NODE_WATCHDOG_FW_VERSION),
    Attribute::plain("nowayout", NODE_WATCHDOG_NOWAYOUT),
    Attribute::plain("pretimeout", NODE_WATCHDOG_PRETIMEOUT_SECONDS),
    Attribute::plain("timeleft", NODE_WATCHDOG_TIMELEFT_SECONDS),
    Attribute::plain("timeout", NODE_WATCHDOG_TIMEOUT_SECONDS),
];

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    for (_, name) in reading.numbered(ROOT, "watchdog", WATCHDOGS_MAX) {
        let folder = format!("{ROOT}/{name}");
        reading.attributes(&folder, &ATTRIBUTES, &[("name", &name)]);
        let word = |file: &str| {
            reading
                .files
                .word(&format!("{folder}/{file}"))
                .unwrap_or_default()
        };
        let labels = [
            ("name", name.as_str()),
            ("options", &word("options")),
            ("identity", &word("identity")),
            ("state", &word("state")),
            ("status", &word("status")),
            ("pretimeout_governor", &word("pretimeout_governor")),
        ];
        reading.draft.sample(&NODE_WATCHDOG_INFO, &labels, 1.0);
    }
    Ok(())
}
