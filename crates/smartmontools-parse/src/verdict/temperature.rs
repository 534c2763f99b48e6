//! Temperature against what the drive can stand.
//!
//! Its own limits come first: NVMe warning and critical composite temperature, ATA SCT limits, SCSI trip temperature.
//! Where it names none, what makers commonly specify: 60 °C for disks, 70 °C for SSDs, 80 °C for NVMe.

use crate::derived::DeviceType;
use crate::overrides::Overrides;
use crate::report::Report;

use super::{Health, Reason};

pub(super) fn judge(report: &Report, overrides: &Overrides) -> Option<Reason> {
    let celsius = report.temperature_celsius()?;
    let temperature = &report.temperature;
    let decided = [
        (
            "temperature_critical",
            Health::Critical,
            overrides.temperature_critical,
        ),
        ("temperature_high", Health::Warning, overrides.temperature_warning),
    ];
    for (code, health, limit) in decided {
        if let Some(limit) = limit.filter(|limit| *limit <= celsius) {
            let text = format!(
                "{celsius} °C has reached the limit of {limit} °C set for this drive; check cooling and air flow"
            );
            return Some(Reason::new(code, health, text));
        }
    }
    let critical = first([
        temperature.critical_limit_max,
        report.nvme.critical_temperature,
        temperature.limit_max,
        temperature.drive_trip,
        report.scsi.drive_trip,
    ])
    // A limit that somebody set takes the place of the drive's own.
    .filter(|_| overrides.temperature_critical.is_none());
    if let Some(limit) = critical.filter(|limit| *limit <= celsius) {
        let text = format!(
            "{celsius} °C has reached the drive's critical limit of {limit} °C; cool it or switch it off"
        );
        return Some(Reason::new("temperature_critical", Health::Critical, text));
    }
    if overrides.temperature_warning.is_some() {
        return None;
    }
    let warning = first([temperature.op_limit_max, report.nvme.warning_temperature]);
    if let Some(limit) = warning.filter(|limit| *limit <= celsius) {
        let text =
            format!("{celsius} °C has reached the drive's limit of {limit} °C; check cooling and air flow");
        return Some(Reason::new("temperature_high", Health::Warning, text));
    }
    let usual = match report.device_type() {
        DeviceType::Hdd => 60,
        DeviceType::Ssd | DeviceType::Unknown => 70,
        DeviceType::Nvme => 80,
    };
    let is_hot = critical.is_none() && warning.is_none() && usual < celsius;
    let text = || {
        format!(
            "{celsius} °C is more than the {usual} °C such drives are usually made for; check cooling and air flow"
        )
    };
    is_hot.then(|| Reason::new("temperature_high", Health::Warning, text()))
}

/// The first limit that can be one: 0 means unset, and drives fill unused fields with extremes.
fn first<const N: usize>(limits: [Option<i64>; N]) -> Option<i64> {
    limits
        .into_iter()
        .flatten()
        .find(|limit| (40..=125).contains(limit))
}
