//! Times that zpool prints in the server's own zone.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use muster_parse::zpool::Time;

use crate::host::{Files, Host};

/// Longest file of a time zone that is used, in bytes.
const ZONE_BYTES_MAX: usize = 256 * 1024;

/// The zone that programs without `TZ` use: `/etc/localtime`, else UTC (tzset(3)).
pub(super) async fn zone(host: &Host) -> TimeZone {
    host.blocking("time zone", read).await.unwrap_or(TimeZone::UTC)
}

fn read(files: &Files) -> TimeZone {
    let bytes = files.bytes("/etc/localtime").ok().flatten();
    bytes
        .filter(|bytes| bytes.len() <= ZONE_BYTES_MAX)
        .and_then(|bytes| TimeZone::tzif("localtime", &bytes).ok())
        .unwrap_or(TimeZone::UTC)
}

/// Unix seconds; `None` without a zone for a time that needs one.
pub(super) fn unix_s(time: &Time, zone: Option<&TimeZone>) -> Option<i64> {
    match time {
        Time::Unix(seconds) => Some(*seconds),
        Time::Local(text) => {
            let local: DateTime = text.parse().ok()?;
            let zoned = local.to_zoned(zone?.clone()).ok()?;
            Some(zoned.timestamp().as_second())
        }
    }
}

/// The time as text: with zone if that is known.
pub(super) fn shown(time: &Time, zone: Option<&TimeZone>) -> Option<String> {
    match (unix_s(time, zone), time) {
        (Some(seconds), _) => jiff::Timestamp::from_second(seconds)
            .ok()
            .map(|time| time.to_string()),
        (None, Time::Local(text)) => Some(text.clone()),
        (None, Time::Unix(_)) => None,
    }
}
