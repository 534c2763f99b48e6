//! The server's clocks.

use std::time::Duration;

use muster_base::clock::WallClock;
use muster_model::Clock;
use nix::time::{ClockId, clock_gettime};

use super::Files;

/// The file with the boot's id (random(4)).
pub(super) const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Reads wall clock and time since boot; what cannot be read is 0.
pub(super) fn read(files: &Files, wall: &WallClock, is_system: bool, boot_id: String) -> Clock {
    let boottime = if is_system {
        clock_gettime(ClockId::CLOCK_BOOTTIME)
            .map(Duration::from)
            .unwrap_or_default()
    } else {
        recorded_uptime(files).unwrap_or_default()
    };
    Clock {
        wall_ms: wall.now_ms(),
        boottime_ms: i64::try_from(boottime.as_millis()).unwrap_or(i64::MAX),
        boot_id,
    }
}

/// The first number of `/proc/uptime`, seconds since boot with suspend included.
fn recorded_uptime(files: &Files) -> Option<Duration> {
    let text = files.word("/proc/uptime")?;
    let seconds: f64 = text.split_ascii_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}
