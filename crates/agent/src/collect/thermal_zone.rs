//! Temperatures the kernel steers by, and what it does about them.

use muster_catalogue::{
    NODE_COOLING_DEVICE_CUR_STATE, NODE_COOLING_DEVICE_MAX_STATE, NODE_THERMAL_ZONE_TEMP,
};

use super::Descriptor;
use super::reading::{Attribute, FileCollector, Reading, every_15s};
use crate::host::HostError;

/// Zones, and devices that cool, told of.
const ITEMS_MAX: usize = 128;
const ROOT: &str = "/sys/class/thermal";

/// The thermal_zone collector.
pub const DESCRIPTOR: Descriptor = every_15s(
    "thermal_zone",
    "temperatures the kernel steers by, and what cools, from /sys/class/thermal",
    |_| Box::new(THERMAL_ZONE),
);

const THERMAL_ZONE: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "no thermal zone and nothing that cools in /sys/class/thermal",
    read,
};

/// Documentation/driver-api/thermal/sysfs-api.rst.
const ZONE: [Attribute; 1] = [Attribute::scaled("temp", NODE_THERMAL_ZONE_TEMP, 0.001)];
const COOLING: [Attribute; 2] = [
    Attribute::plain("cur_state", NODE_COOLING_DEVICE_CUR_STATE),
    Attribute::plain("max_state", NODE_COOLING_DEVICE_MAX_STATE),
];

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    for (stem, label, attributes) in [
        ("thermal_zone", "zone", &ZONE[..]),
        ("cooling_device", "name", &COOLING[..]),
    ] {
        for (number, name) in reading.numbered(ROOT, stem, ITEMS_MAX) {
            let folder = format!("{ROOT}/{name}");
            let kind = reading.files.word(&format!("{folder}/type")).unwrap_or_default();
            let number = number.to_string();
            reading.attributes(&folder, attributes, &[(label, &number), ("type", &kind)]);
        }
    }
    Ok(())
}
