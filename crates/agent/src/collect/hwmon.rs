//! Temperatures, fans, voltages and power from the sensors of the machine.

use std::collections::{BTreeMap, HashSet};

use muster_catalogue::{
    Family, NODE_HWMON, NODE_HWMON_AMPS, NODE_HWMON_BEEP_ENABLED, NODE_HWMON_CELSIUS, NODE_HWMON_CHIP_NAMES,
    NODE_HWMON_JOULES, NODE_HWMON_MEGAHERTZ, NODE_HWMON_RPM, NODE_HWMON_SECONDS, NODE_HWMON_SENSOR_LABEL,
    NODE_HWMON_VOLTAGE_REGULATOR_VERSION, NODE_HWMON_VOLTS, NODE_HWMON_WATTS,
};
use muster_parse::hwmon::{self, Properties, Unit};

use super::Descriptor;
use super::reading::{FileCollector, Reading, every_15s};
use crate::host::HostError;

/// Chips told of.
const CHIPS_MAX: usize = 64;
/// Sensors of one chip told of.
const SENSORS_MAX: usize = 64;

/// The hwmon collector.
pub const DESCRIPTOR: Descriptor = every_15s(
    "hwmon",
    "temperatures, fans, voltages and power, from /sys/class/hwmon",
    |_| Box::new(HWMON),
);

const HWMON: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "no sensors (a virtual machine, or no driver for them)",
    read,
};

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let root = "/sys/class/hwmon";
    let mut taken = HashSet::new();
    for (number, name) in reading.numbered(root, "hwmon", CHIPS_MAX) {
        let folder = format!("{root}/{name}");
        let human = reading
            .files
            .word(&format!("{folder}/name"))
            .map(|name| hwmon::clean(&name));
        let human = human.filter(|name| !name.is_empty());
        let mut chip = chip(reading, &folder)
            .or_else(|| human.clone())
            .unwrap_or_else(|| name.clone());
        // Two chips on one device must not share their series.
        if !taken.insert(chip.clone()) {
            chip = format!("{chip}_{number}");
            taken.insert(chip.clone());
        }
        if let Some(human) = human {
            let labels = [("chip", chip.as_str()), ("chip_name", human.as_str())];
            reading.sample(&NODE_HWMON_CHIP_NAMES, &labels, 1.0);
        }
        let sensors = sensors(reading, &folder);
        for (sensor, properties) in reading.first(&folder, sensors.into_iter().collect(), SENSORS_MAX) {
            describe(reading, &chip, &sensor, &properties);
        }
    }
    Ok(())
}

/// A name that stays when modules are loaded in another order: bus and device below `/sys/devices`.
fn chip(reading: &Reading<'_>, folder: &str) -> Option<String> {
    let real = reading.files.resolve(folder);
    let device = reading.files.resolve_link(&format!("{real}/device"))?;
    let mut parts = device.rsplit('/');
    let (device, bus) = (hwmon::clean(parts.next()?), hwmon::clean(parts.next()?));
    match (bus.is_empty(), device.is_empty()) {
        (_, true) => None,
        (true, false) => Some(device),
        (false, false) => Some(format!("{bus}_{device}")),
    }
}

/// Every file of a sensor, by sensor; some old drivers have them in the folder of the device.
fn sensors(reading: &Reading<'_>, folder: &str) -> BTreeMap<(&'static str, u32), Properties> {
    let mut sensors: BTreeMap<(&'static str, u32), Properties> = BTreeMap::new();
    for folder in [folder.to_owned(), format!("{folder}/device")] {
        for name in reading.files.names(&folder) {
            let Some(file) = hwmon::parse_name(&name) else {
                continue;
            };
            if let Some(value) = reading.files.word(&format!("{folder}/{name}")) {
                sensors
                    .entry((file.kind, file.number))
                    .or_default()
                    .insert(file.property, value);
            }
        }
    }
    sensors
}

fn describe(reading: &mut Reading<'_>, chip: &str, sensor: &(&'static str, u32), properties: &Properties) {
    let (kind, number) = *sensor;
    let name = format!("{kind}{number}");
    let labels = [("chip", chip), ("sensor", name.as_str())];
    if let Some(label) = properties.get("label").filter(|_| kind != "freq") {
        let labels = [labels[0], labels[1], ("label", label.as_str())];
        reading.sample(&NODE_HWMON_SENSOR_LABEL, &labels, 1.0);
    }
    let parsed = hwmon::readings(kind, properties);
    for found in parsed.value {
        match found.unit {
            Unit::BeepEnabled => reading.sample(&NODE_HWMON_BEEP_ENABLED, &labels, found.value),
            Unit::RegulatorVersion => {
                reading.sample(&NODE_HWMON_VOLTAGE_REGULATOR_VERSION, &labels, found.value);
            }
            Unit::Megahertz => {
                let sensor = properties.get("label").map(|label| hwmon::clean(label));
                let labels = [labels[0], ("sensor", sensor.as_deref().unwrap_or(&name))];
                reading
                    .draft
                    .sample_in_with(&NODE_HWMON_MEGAHERTZ, &found.name, &labels, found.value);
            }
            unit => reading
                .draft
                .sample_in_with(family(unit), &found.name, &labels, found.value),
        }
    }
    reading
        .draft
        .parser_problems(&format!("{chip} {name}"), parsed.problems);
}

fn family(unit: Unit) -> &'static Family {
    match unit {
        Unit::Celsius => &NODE_HWMON_CELSIUS,
        Unit::Volts => &NODE_HWMON_VOLTS,
        Unit::Amps => &NODE_HWMON_AMPS,
        Unit::Joules => &NODE_HWMON_JOULES,
        Unit::Watts => &NODE_HWMON_WATTS,
        Unit::Rpm => &NODE_HWMON_RPM,
        Unit::Seconds => &NODE_HWMON_SECONDS,
        Unit::Megahertz => &NODE_HWMON_MEGAHERTZ,
        Unit::Plain | Unit::BeepEnabled | Unit::RegulatorVersion => &NODE_HWMON,
    }
}
