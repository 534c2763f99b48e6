//! Time zone and clock sources. The time itself is told by the collector of the operating system.

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use muster_catalogue::{
    NODE_TIME_CLOCKSOURCE_AVAILABLE_INFO, NODE_TIME_CLOCKSOURCE_CURRENT_INFO, NODE_TIME_ZONE_OFFSET_SECONDS,
};

use super::draft::Draft;
use super::reading::{Reading, every_minute, outcome};
use super::{CollectError, Collector, Descriptor, Outcome};
use crate::host::{Files, Host};

/// Clock source devices told of; there is one.
const DEVICES_MAX: usize = 8;

/// The time collector.
pub const DESCRIPTOR: Descriptor = every_minute("time", "time zone and clock sources", |_| Box::new(Time));

struct Time;

#[async_trait]
impl Collector for Time {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        let now_ms = host.now_ms();
        let draft = host
            .blocking(DESCRIPTOR.name, move |files| read(files, now_ms))
            .await?;
        Ok(outcome(draft, "nothing tells of the clock"))
    }
}

fn read(files: &Files, now_ms: i64) -> Draft {
    let mut reading = Reading {
        files,
        draft: Draft::new(DESCRIPTOR.name),
    };
    zone(&mut reading, now_ms);
    let root = "/sys/devices/system/clocksource";
    for (number, name) in reading.numbered(root, "clocksource", DEVICES_MAX) {
        let device = number.to_string();
        let word = |file: &str| files.word(&format!("{root}/{name}/{file}")).unwrap_or_default();
        for source in word("available_clocksource").split_ascii_whitespace() {
            let labels = [("device", device.as_str()), ("clocksource", source)];
            reading.sample(&NODE_TIME_CLOCKSOURCE_AVAILABLE_INFO, &labels, 1.0);
        }
        let current = word("current_clocksource");
        if !current.is_empty() {
            let labels = [("device", device.as_str()), ("clocksource", current.as_str())];
            reading.sample(&NODE_TIME_CLOCKSOURCE_CURRENT_INFO, &labels, 1.0);
        }
    }
    reading.draft
}

/// The zone of localtime(5): what `/etc/localtime` says, and without it UTC.
fn zone(reading: &mut Reading<'_>, now_ms: i64) {
    let zone = match reading.files.bytes("/etc/localtime") {
        Ok(Some(bytes)) => match TimeZone::tzif("localtime", &bytes) {
            Ok(zone) => zone,
            Err(error) => {
                reading.draft.error("/etc/localtime", &error);
                return;
            }
        },
        Ok(None) => TimeZone::UTC,
        Err(error) => {
            reading.draft.error("the time zone", &error);
            return;
        }
    };
    let Ok(now) = Timestamp::from_millisecond(now_ms) else {
        return;
    };
    let info = zone.to_offset_info(now);
    let offset_s = f64::from(info.offset().seconds());
    reading.sample(
        &NODE_TIME_ZONE_OFFSET_SECONDS,
        &[("time_zone", info.abbreviation())],
        offset_s,
    );
}
