//! Values that several fields together give: what a drive is, how warm, how old, how worn it is.
//!
//! Each method says where its value comes from and in which order. What cannot be a real value (a temperature of
//! absolute zero, a hundred years of hours) is absent rather than wrong.

mod counters;
mod raw;
mod self_test;
mod traffic;
mod wear;

use serde::Serialize;

use crate::report::Report;

pub(crate) use raw::is_named;
pub use self_test::SelfTestState;

/// What kind of drive it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceType {
    /// Rotating disk.
    Hdd,
    /// Solid state, not NVMe.
    Ssd,
    /// NVMe.
    Nvme,
    /// Cannot be told.
    Unknown,
}

impl DeviceType {
    /// The name used in APIs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hdd => "hdd",
            Self::Ssd => "ssd",
            Self::Nvme => "nvme",
            Self::Unknown => "unknown",
        }
    }
}

impl Report {
    /// What kind of drive it is: NVMe by protocol, else by the rotation rate, else (old drives do not tell it) by
    /// attributes only one kind has.
    pub fn device_type(&self) -> DeviceType {
        if self.is_nvme() {
            return DeviceType::Nvme;
        }
        match self.rotation_rate {
            Some(0) => DeviceType::Ssd,
            Some(_) => DeviceType::Hdd,
            None if self.scsi.percentage_used.is_some() || self.endurance_used_percent.is_some() => {
                DeviceType::Ssd
            }
            None if self.ata.attributes.iter().any(wear::tells_wear) => DeviceType::Ssd,
            None if self.has_moving_parts() => DeviceType::Hdd,
            None => DeviceType::Unknown,
        }
    }

    /// Whether the device speaks NVMe.
    pub fn is_nvme(&self) -> bool {
        let names_nvme = |text: &Option<String>| {
            text.as_deref()
                .is_some_and(|text| text.eq_ignore_ascii_case("nvme"))
        };
        names_nvme(&self.device.protocol) || self.nvme.health.is_some()
    }

    /// Bytes of the drive: its capacity, for an NVMe drive with several namespaces (which has none) the total, else
    /// the sum of the namespaces.
    pub fn size_bytes(&self) -> Option<u64> {
        let namespaces = || {
            self.nvme
                .namespaces
                .iter()
                .filter_map(|namespace| namespace.size_bytes)
                .reduce(u64::saturating_add)
        };
        self.capacity_bytes
            .or(self.nvme.total_capacity_bytes)
            .or_else(namespaces)
            .filter(|bytes| 0 < *bytes)
    }

    /// Degrees Celsius now: `temperature.current`, else the NVMe health log, the SCSI environmental reports, ATA attribute
    /// 194 or 190. 0 is what drives without a sensor report, and below -40 or above 120 (127 and 255 mean "unset") is no
    /// temperature of a drive that answers; all these are absent.
    pub fn temperature_celsius(&self) -> Option<i64> {
        let from_health_log = || self.nvme.health.as_ref().and_then(|health| health.temperature);
        [
            self.temperature.current,
            from_health_log(),
            self.scsi.environment_temperature,
            self.temperature_attribute(),
        ]
        .into_iter()
        .flatten()
        .find(|celsius| *celsius != 0 && (-40..=120).contains(celsius))
    }

    /// Whole hours switched on: `power_on_time.hours`, which knows the vendors' ways of counting minutes and half
    /// minutes in attribute 9, else the NVMe health log, else attribute 9 where it plainly counts hours. More than a
    /// hundred years is absent.
    pub fn power_on_hours(&self) -> Option<u64> {
        const HOURS_MAX: u64 = 1_000_000;
        let from_health_log = || self.nvme.health.as_ref().and_then(|health| health.power_on_hours);
        let from_attribute = || {
            let attribute = self
                .ata
                .attribute(9)
                .filter(|attribute| attribute.name == "Power_On_Hours")?;
            attribute.raw_number()
        };
        self.power_on_time
            .and_then(|time| time.hours)
            .or_else(from_health_log)
            .or_else(from_attribute)
            .filter(|hours| *hours <= HOURS_MAX)
    }

    /// Times switched on; for SCSI, where that is not counted, start-stop cycles.
    pub fn power_cycles(&self) -> Option<u64> {
        let start_stop = || {
            self.scsi
                .start_stop
                .as_ref()
                .and_then(|counter| counter.accumulated_cycles)
        };
        let health_log = || self.nvme.health.as_ref().and_then(|health| health.power_cycles);
        self.power_cycles.or_else(health_log).or_else(start_stop)
    }

    fn temperature_attribute(&self) -> Option<i64> {
        let attribute = [194, 190]
            .into_iter()
            .filter_map(|id| self.ata.attribute(id))
            .find(|attribute| attribute.name.contains("Temp") || is_named(attribute, &[]))?;
        // The low byte is the temperature now; higher ones are minimum and maximum in one of many orders.
        attribute.raw_value.map(|raw| i64::from((raw & 0xff) as u8 as i8))
    }

    fn has_moving_parts(&self) -> bool {
        const MECHANICAL: [&str; 4] = [
            "Spin_Retry_Count",
            "Seek_Error_Rate",
            "Load_Cycle_Count",
            "Seek_Time_Performance",
        ];
        let mechanical = |name: &str| MECHANICAL.contains(&name);
        self.ata
            .attributes
            .iter()
            .any(|attribute| mechanical(&attribute.name))
            || self
                .scsi
                .start_stop
                .as_ref()
                .is_some_and(|counter| counter.specified_cycles.is_some_and(|cycles| 0 < cycles))
    }
}

#[cfg(test)]
mod tests {
    use crate::parse;

    use super::*;

    #[test]
    fn odd_temperatures_are_absent() {
        for current in ["0", "-273", "32768", "null", "\"warm\""] {
            let report = parse(&format!(
                r#"{{"smartctl":{{}},"temperature":{{"current":{current}}}}}"#
            ))
            .report;
            assert_eq!(report.temperature_celsius(), None, "{current}");
        }
    }

    #[test]
    fn a_missing_temperature_comes_from_the_low_byte_of_the_attribute() {
        let text = r#"{"smartctl":{},"ata_smart_attributes":{"table":[{"id":190,"name":"Airflow_Temperature_Cel",
            "raw":{"value":522125343,"string":"31 (Min/Max 31/31)"}}]}}"#;
        assert_eq!(parse(text).report.temperature_celsius(), Some(31));
    }

    #[test]
    fn an_old_disk_without_rotation_rate_is_told_by_its_seeks() {
        let text = r#"{"smartctl":{},"ata_smart_attributes":{"table":[{"id":7,"name":"Seek_Error_Rate"}]}}"#;
        assert_eq!(parse(text).report.device_type(), DeviceType::Hdd);
        assert_eq!(parse("{}").report.device_type(), DeviceType::Unknown);
    }

    #[test]
    fn impossible_hours_are_absent() {
        let text = r#"{"smartctl":{},"power_on_time":{"hours":18446744073709551615}}"#;
        assert_eq!(parse(text).report.power_on_hours(), None);
    }

    #[test]
    fn a_drive_with_several_namespaces_has_its_total_size() {
        let text = r#"{"smartctl":{},"device":{"protocol":"NVMe"},"nvme_total_capacity":1000}"#;
        assert_eq!(parse(text).report.size_bytes(), Some(1000));
    }
}
