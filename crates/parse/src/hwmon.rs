//! Sensors below `/sys/class/hwmon`: what a file's name says, and what its number means.
//!
//! Documentation/hwmon/sysfs-interface.rst: `temp1_input` is in thousandths of a degree, `in0_input` of a volt, `fan1_input`
//! in turns a minute, `power1_average` in microwatts. Names of metrics are made as `node_exporter` makes them.

use std::collections::BTreeMap;

use crate::problem::{Parsed, Problems, excerpt};

/// The numbers and texts of one sensor, by the end of the file's name; the value of `pwm1` has none.
pub type Properties = BTreeMap<String, String>;

/// What is known of a sensor's file by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// `temp`, `fan`, …
    pub kind: &'static str,
    /// Which of them; 0 if there is but one.
    pub number: u32,
    /// `input`, `max`, …; empty if the file is the value itself.
    pub property: String,
}

const KINDS: [&str; 14] = [
    "vrm",
    "beep_enable",
    "update_interval",
    "in",
    "cpu",
    "fan",
    "pwm",
    "temp",
    "curr",
    "power",
    "energy",
    "humidity",
    "intrusion",
    "freq",
];

/// Splits a file's name; `None` if it is none of a sensor.
#[must_use]
pub fn parse_name(name: &str) -> Option<File> {
    let digits = name.find(|c: char| c.is_ascii_digit()).unwrap_or(name.len());
    let (kind, rest) = name.split_at(digits);
    let kind = KINDS.into_iter().find(|known| *known == kind)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, rest) = rest.split_at(end);
    let property = match rest {
        "" => "",
        _ => rest.strip_prefix('_').filter(|property| !property.is_empty())?,
    };
    Some(File {
        kind,
        number: if number.is_empty() {
            0
        } else {
            number.parse().ok()?
        },
        property: property.to_owned(),
    })
}

/// Lowercase, with `_` for whatever may not stand in a name.
#[must_use]
pub fn clean(name: &str) -> String {
    let lower = name.to_lowercase();
    let replaced: String = lower
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == ':' || c == '_' {
                c
            } else {
                '_'
            }
        })
        .collect();
    replaced.trim_matches('_').to_owned()
}

/// What a number is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum Unit {
    /// Degrees.
    Celsius,
    /// Volts.
    Volts,
    /// Amperes.
    Amps,
    /// Joules since some time.
    Joules,
    /// Watts.
    Watts,
    /// Turns a minute.
    Rpm,
    /// Seconds.
    Seconds,
    /// Megahertz.
    Megahertz,
    /// Whether the chip may beep.
    BeepEnabled,
    /// Which voltages the processor expects.
    RegulatorVersion,
    /// No unit, or the chip's own.
    Plain,
}

/// One number.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Reading {
    /// Kind and property: `temp_max`.
    pub name: String,
    /// In its unit.
    pub value: f64,
    /// The unit.
    pub unit: Unit,
}

/// The numbers of one sensor in base units.
#[must_use]
pub fn readings(kind: &str, properties: &Properties) -> Parsed<Vec<Reading>> {
    let mut problems = Problems::default();
    let mut readings = Vec::new();
    for (property, text) in properties.iter().filter(|(property, _)| *property != "label") {
        let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) else {
            problems.overall(format!("{property} is no number: \"{}\"", excerpt(text)));
            continue;
        };
        let (unit, scale) = unit(kind, property);
        // Only a frequency with a label can be told from others.
        if unit == Unit::Megahertz && !properties.contains_key("label") {
            continue;
        }
        readings.push(Reading {
            name: name(kind, property, properties.contains_key("")),
            value: number * scale,
            unit,
        });
    }
    problems.with(readings)
}

fn name(kind: &str, property: &str, has_bare: bool) -> String {
    let end = match property {
        "" => String::new(),
        "input" if !has_bare => String::new(),
        "beep" => "_beep_enabled".to_owned(),
        _ => format!("_{}", clean(property)),
    };
    match (kind, property) {
        ("freq", "input") => "freq_freq".to_owned(),
        _ => format!("{kind}{end}"),
    }
}

fn unit(kind: &str, property: &str) -> (Unit, f64) {
    const MILLI: f64 = 1e-3;
    const MICRO: f64 = 1e-6;
    match (kind, property) {
        ("beep_enable", _) => (Unit::BeepEnabled, 1.0),
        ("vrm", _) => (Unit::RegulatorVersion, 1.0),
        ("update_interval", _) => (Unit::Seconds, MILLI),
        (_, "fault" | "alarm" | "beep") => (Unit::Plain, 1.0),
        ("in" | "cpu", _) => (Unit::Volts, MILLI),
        ("temp", "type") => (Unit::Plain, 1.0),
        ("temp", _) => (Unit::Celsius, MILLI),
        ("curr", _) => (Unit::Amps, MILLI),
        ("energy", _) => (Unit::Joules, MICRO),
        ("power", "accuracy") | ("humidity", _) => (Unit::Plain, MICRO),
        ("power", "average_interval" | "average_interval_min" | "average_interval_max") => {
            (Unit::Seconds, MILLI)
        }
        ("power", _) => (Unit::Watts, MICRO),
        ("fan", "input" | "min" | "max" | "target") => (Unit::Rpm, 1.0),
        ("freq", "input") => (Unit::Megahertz, MICRO),
        _ => (Unit::Plain, 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_split_and_strangers_passed_over() {
        let file = parse_name("power1_average_interval").unwrap();
        assert_eq!(
            (file.kind, file.number, file.property.as_str()),
            ("power", 1, "average_interval")
        );
        assert_eq!(parse_name("update_interval").unwrap().property, "");
        assert_eq!(parse_name("pwm2").unwrap().number, 2);
        for stranger in [
            "name",
            "temp1x",
            "temp1_",
            "in_voltage0_raw",
            "uevent",
            "temp99999999999_input",
        ] {
            assert_eq!(parse_name(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn numbers_come_in_base_units_under_the_exporters_names() {
        let properties = Properties::from([
            ("input".to_owned(), "-7500".to_owned()),
            ("crit_alarm".to_owned(), "1".to_owned()),
            ("fault".to_owned(), "0".to_owned()),
            ("max".to_owned(), "hot".to_owned()),
        ]);
        let parsed = readings("temp", &properties);
        let found: Vec<_> = parsed
            .value
            .iter()
            .map(|reading| (reading.name.as_str(), reading.value, reading.unit))
            .collect();
        assert_eq!(
            found,
            [
                ("temp_crit_alarm", 0.001, Unit::Celsius),
                ("temp_fault", 0.0, Unit::Plain),
                ("temp", -7.5, Unit::Celsius),
            ]
        );
        assert_eq!(parsed.problems.len(), 1);
    }
}
