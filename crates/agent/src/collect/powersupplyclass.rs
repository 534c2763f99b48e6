//! Batteries and mains.

use muster_catalogue::{
    NODE_POWER_SUPPLY_AUTHENTIC, NODE_POWER_SUPPLY_CALIBRATE, NODE_POWER_SUPPLY_CAPACITY,
    NODE_POWER_SUPPLY_CAPACITY_ALERT_MAX, NODE_POWER_SUPPLY_CAPACITY_ALERT_MIN,
    NODE_POWER_SUPPLY_CHARGE_AMPERE, NODE_POWER_SUPPLY_CHARGE_CONTROL_LIMIT,
    NODE_POWER_SUPPLY_CHARGE_CONTROL_LIMIT_MAX, NODE_POWER_SUPPLY_CHARGE_COUNTER,
    NODE_POWER_SUPPLY_CHARGE_EMPTY, NODE_POWER_SUPPLY_CHARGE_EMPTY_DESIGN, NODE_POWER_SUPPLY_CHARGE_FULL,
    NODE_POWER_SUPPLY_CHARGE_FULL_DESIGN, NODE_POWER_SUPPLY_CHARGE_TERM_CURRENT,
    NODE_POWER_SUPPLY_CONSTANT_CHARGE_CURRENT, NODE_POWER_SUPPLY_CONSTANT_CHARGE_CURRENT_MAX,
    NODE_POWER_SUPPLY_CONSTANT_CHARGE_VOLTAGE, NODE_POWER_SUPPLY_CONSTANT_CHARGE_VOLTAGE_MAX,
    NODE_POWER_SUPPLY_CURRENT_AMPERE, NODE_POWER_SUPPLY_CURRENT_BOOT, NODE_POWER_SUPPLY_CURRENT_MAX,
    NODE_POWER_SUPPLY_CYCLECOUNT, NODE_POWER_SUPPLY_ENERGY_EMPTY, NODE_POWER_SUPPLY_ENERGY_EMPTY_DESIGN,
    NODE_POWER_SUPPLY_ENERGY_FULL, NODE_POWER_SUPPLY_ENERGY_FULL_DESIGN, NODE_POWER_SUPPLY_ENERGY_WATTHOUR,
    NODE_POWER_SUPPLY_INFO, NODE_POWER_SUPPLY_INPUT_CURRENT_LIMIT, NODE_POWER_SUPPLY_ONLINE,
    NODE_POWER_SUPPLY_POWER_WATT, NODE_POWER_SUPPLY_PRECHARGE_CURRENT, NODE_POWER_SUPPLY_PRESENT,
    NODE_POWER_SUPPLY_TEMP_ALERT_MAX_CELSIUS, NODE_POWER_SUPPLY_TEMP_ALERT_MIN_CELSIUS,
    NODE_POWER_SUPPLY_TEMP_AMBIENT_CELSIUS, NODE_POWER_SUPPLY_TEMP_AMBIENT_MAX_CELSIUS,
    NODE_POWER_SUPPLY_TEMP_AMBIENT_MIN_CELSIUS, NODE_POWER_SUPPLY_TEMP_CELSIUS,
    NODE_POWER_SUPPLY_TEMP_MAX_CELSIUS, NODE_POWER_SUPPLY_TEMP_MIN_CELSIUS,
    NODE_POWER_SUPPLY_TIME_TO_EMPTY_SECONDS, NODE_POWER_SUPPLY_TIME_TO_FULL_SECONDS,
    NODE_POWER_SUPPLY_VOLTAGE_BOOT, NODE_POWER_SUPPLY_VOLTAGE_MAX, NODE_POWER_SUPPLY_VOLTAGE_MAX_DESIGN,
    NODE_POWER_SUPPLY_VOLTAGE_MIN, NODE_POWER_SUPPLY_VOLTAGE_MIN_DESIGN, NODE_POWER_SUPPLY_VOLTAGE_OCV,
    NODE_POWER_SUPPLY_VOLTAGE_VOLT,
};

use super::Descriptor;
use super::reading::{Attribute, FileCollector, Reading, every_15s};
use crate::host::HostError;

/// Supplies told of.
const SUPPLIES_MAX: usize = 32;
const ROOT: &str = "/sys/class/power_supply";
const MICRO: f64 = 1e-6;
const TENTH: f64 = 0.1;

/// The powersupplyclass collector.
pub const DESCRIPTOR: Descriptor = every_15s(
    "powersupplyclass",
    "batteries and mains, from /sys/class/power_supply",
    |_| Box::new(POWERSUPPLYCLASS),
);

const POWERSUPPLYCLASS: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "no battery and no mains in /sys/class/power_supply",
    read,
};

/// Documentation/ABI/testing/sysfs-class-power.
const ATTRIBUTES: [Attribute; 49] = [
    Attribute::plain("authentic", NODE_POWER_SUPPLY_AUTHENTIC),
    Attribute::plain("calibrate", NODE_POWER_SUPPLY_CALIBRATE),
    Attribute::plain("capacity", NODE_POWER_SUPPLY_CAPACITY),
    Attribute::plain("capacity_alert_max", NODE_POWER_SUPPLY_CAPACITY_ALERT_MAX),
    Attribute::plain("capacity_alert_min", NODE_POWER_SUPPLY_CAPACITY_ALERT_MIN),
    Attribute::plain("cycle_count", NODE_POWER_SUPPLY_CYCLECOUNT),
    Attribute::plain("online", NODE_POWER_SUPPLY_ONLINE),
    Attribute::plain("present", NODE_POWER_SUPPLY_PRESENT),
    Attribute::plain("time_to_empty_now", NODE_POWER_SUPPLY_TIME_TO_EMPTY_SECONDS),
    Attribute::plain("time_to_full_now", NODE_POWER_SUPPLY_TIME_TO_FULL_SECONDS),
    Attribute::scaled("current_boot", NODE_POWER_SUPPLY_CURRENT_BOOT, MICRO),
    Attribute::scaled("current_max", NODE_POWER_SUPPLY_CURRENT_MAX, MICRO),
    Attribute::scaled("current_now", NODE_POWER_SUPPLY_CURRENT_AMPERE, MICRO),
    Attribute::scaled("energy_empty", NODE_POWER_SUPPLY_ENERGY_EMPTY, MICRO),
    Attribute::scaled(
        "energy_empty_design",
        NODE_POWER_SUPPLY_ENERGY_EMPTY_DESIGN,
        MICRO,
    ),
    Attribute::scaled("energy_full", NODE_POWER_SUPPLY_ENERGY_FULL, MICRO),
    Attribute::scaled("energy_full_design", NODE_POWER_SUPPLY_ENERGY_FULL_DESIGN, MICRO),
    Attribute::scaled("energy_now", NODE_POWER_SUPPLY_ENERGY_WATTHOUR, MICRO),
    Attribute::scaled("voltage_boot", NODE_POWER_SUPPLY_VOLTAGE_BOOT, MICRO),
    Attribute::scaled("voltage_max", NODE_POWER_SUPPLY_VOLTAGE_MAX, MICRO),
    Attribute::scaled("voltage_max_design", NODE_POWER_SUPPLY_VOLTAGE_MAX_DESIGN, MICRO),
    Attribute::scaled("voltage_min", NODE_POWER_SUPPLY_VOLTAGE_MIN, MICRO),
    Attribute::scaled("voltage_min_design", NODE_POWER_SUPPLY_VOLTAGE_MIN_DESIGN, MICRO),
    Attribute::scaled("voltage_now", NODE_POWER_SUPPLY_VOLTAGE_VOLT, MICRO),
    Attribute::scaled("voltage_ocv", NODE_POWER_SUPPLY_VOLTAGE_OCV, MICRO),
    Attribute::scaled(
        "charge_control_limit",
        NODE_POWER_SUPPLY_CHARGE_CONTROL_LIMIT,
        MICRO,
    ),
    Attribute::scaled(
        "charge_control_limit_max",
        NODE_POWER_SUPPLY_CHARGE_CONTROL_LIMIT_MAX,
        MICRO,
    ),
    Attribute::scaled("charge_counter", NODE_POWER_SUPPLY_CHARGE_COUNTER, MICRO),
    Attribute::scaled("charge_empty", NODE_POWER_SUPPLY_CHARGE_EMPTY, MICRO),
    Attribute::scaled(
        "charge_empty_design",
        NODE_POWER_SUPPLY_CHARGE_EMPTY_DESIGN,
        MICRO,
    ),
    Attribute::scaled("charge_full", NODE_POWER_SUPPLY_CHARGE_FULL, MICRO),
    Attribute::scaled("charge_full_design", NODE_POWER_SUPPLY_CHARGE_FULL_DESIGN, MICRO),
    Attribute::scaled("charge_now", NODE_POWER_SUPPLY_CHARGE_AMPERE, MICRO),
    Attribute::scaled(
        "charge_term_current",
        NODE_POWER_SUPPLY_CHARGE_TERM_CURRENT,
        MICRO,
    ),
    Attribute::scaled(
        "constant_charge_current",
        NODE_POWER_SUPPLY_CONSTANT_CHARGE_CURRENT,
        MICRO,
    ),
    Attribute::scaled(
        "constant_charge_current_max",
        NODE_POWER_SUPPLY_CONSTANT_CHARGE_CURRENT_MAX,
        MICRO,
    ),
    Attribute::scaled(
        "constant_charge_voltage",
        NODE_POWER_SUPPLY_CONSTANT_CHARGE_VOLTAGE,
        MICRO,
    ),
    Attribute::scaled(
        "constant_charge_voltage_max",
        NODE_POWER_SUPPLY_CONSTANT_CHARGE_VOLTAGE_MAX,
        MICRO,
    ),
    Attribute::scaled("precharge_current", NODE_POWER_SUPPLY_PRECHARGE_CURRENT, MICRO),
    Attribute::scaled(
        "input_current_limit",
        NODE_POWER_SUPPLY_INPUT_CURRENT_LIMIT,
        MICRO,
    ),
    Attribute::scaled("power_now", NODE_POWER_SUPPLY_POWER_WATT, MICRO),
    Attribute::scaled("temp", NODE_POWER_SUPPLY_TEMP_CELSIUS, TENTH),
    Attribute::scaled("temp_alert_max", NODE_POWER_SUPPLY_TEMP_ALERT_MAX_CELSIUS, TENTH),
    Attribute::scaled("temp_alert_min", NODE_POWER_SUPPLY_TEMP_ALERT_MIN_CELSIUS, TENTH),
    Attribute::scaled("temp_ambient", NODE_POWER_SUPPLY_TEMP_AMBIENT_CELSIUS, TENTH),
    Attribute::scaled(
        "temp_ambient_alert_max",
        NODE_POWER_SUPPLY_TEMP_AMBIENT_MAX_CELSIUS,
        TENTH,
    ),
    Attribute::scaled(
        "temp_ambient_alert_min",
        NODE_POWER_SUPPLY_TEMP_AMBIENT_MIN_CELSIUS,
        TENTH,
    ),
    Attribute::scaled("temp_max", NODE_POWER_SUPPLY_TEMP_MAX_CELSIUS, TENTH),
    Attribute::scaled("temp_min", NODE_POWER_SUPPLY_TEMP_MIN_CELSIUS, TENTH),
];

/// What is said in words.
const WORDS: [&str; 11] = [
    "capacity_level",
    "charge_type",
    "health",
    "manufacturer",
    "model_name",
    "scope",
    "serial_number",
    "status",
    "technology",
    "type",
    "usb_type",
];

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let names = reading.files.names(ROOT);
    for name in reading.first(ROOT, names, SUPPLIES_MAX) {
        let folder = format!("{ROOT}/{name}");
        let words: Vec<(&'static str, String)> = WORDS
            .into_iter()
            .filter_map(|word| Some((word, reading.files.word(&format!("{folder}/{word}"))?)))
            .collect();
        let mut labels = vec![("power_supply", name.as_str())];
        labels.extend(words.iter().map(|(label, value)| (*label, value.as_str())));
        reading.draft.sample(&NODE_POWER_SUPPLY_INFO, &labels, 1.0);
        reading.attributes(&folder, &ATTRIBUTES, &[("power_supply", &name)]);
    }
    Ok(())
}
