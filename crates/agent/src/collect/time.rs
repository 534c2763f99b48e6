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
pub const DESCRIPTOR: Descriptor =
    every_minute("time", "time zone and clock sources", |_| Box::<Time>::default());

#[derive(Default)]
struct Time {
    known: Option<Known>,
}

/// What `/etc/localtime` said, and what that means.
struct Known {
    bytes: Vec<u8>,
    zone: TimeZone,
}

#[async_trait]
impl Collector for Time {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        let (now_ms, mut known) = (host.now_ms(), self.known.take());
        let reading = host.blocking(DESCRIPTOR.name, move |files| {
            let draft = read(files, now_ms, &mut known);
            (draft, known)
        });
        let (draft, known) = reading.await?;
        self.known = known;
        Ok(outcome(draft, "nothing tells of the clock"))
    }
}

fn read(files: &Files, now_ms: i64, known: &mut Option<Known>) -> Draft {
    let mut reading = Reading {
        files,
        draft: Draft::new(DESCRIPTOR.name),
    };
    zone(&mut reading, now_ms, known);
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

/// The zone of localtime(5): what `/etc/localtime` says, and without it UTC. What it said before is not parsed again.
fn zone(reading: &mut Reading<'_>, now_ms: i64, known: &mut Option<Known>) {
    let zone = match (reading.files.bytes("/etc/localtime"), known.as_ref()) {
        (Ok(Some(bytes)), Some(known)) if known.bytes == bytes => known.zone.clone(),
        (Ok(Some(bytes)), _) => match TimeZone::tzif("localtime", &bytes) {
            Ok(zone) => known.insert(Known { bytes, zone }).zone.clone(),
            Err(error) => {
                reading.draft.error("/etc/localtime", &error);
                return;
            }
        },
        (Ok(None), _) => TimeZone::UTC,
        (Err(error), _) => {
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
