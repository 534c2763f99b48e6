//! Uninterruptible power supplies, through the `upsc` of Network UPS Tools.

use std::time::Duration;

use async_trait::async_trait;
use muster_catalogue::{
    MUSTER_UPS_BATTERY_CHARGE_RATIO, MUSTER_UPS_BATTERY_RUNTIME_SECONDS, MUSTER_UPS_BATTERY_VOLTS,
    MUSTER_UPS_INFO, MUSTER_UPS_INPUT_VOLTS, MUSTER_UPS_LOAD_RATIO, MUSTER_UPS_OUTPUT_VOLTS,
    MUSTER_UPS_POWER_WATTS, MUSTER_UPS_STATUS, MUSTER_UPS_TEMPERATURE_CELSIUS, Metric,
};
use muster_parse::upsc::{self, Variables};

use super::draft::Draft;
use super::reading::every_minute;
use super::{CollectError, Collector, Descriptor, Outcome};
use crate::host::{Host, ProgramCall, ProgramError};

/// Supplies asked.
const SUPPLIES_MAX: usize = 8;
/// When one is given up; together they stay within the collector's time.
const DEADLINE: Duration = Duration::from_secs(3);
/// Words of `ups.status` (nut-names), told one by one so that rules can ask for them.
const STATUS: [&str; 12] = [
    "OL", "OB", "LB", "HB", "RB", "CHRG", "DISCHRG", "BYPASS", "OFF", "OVER", "ALARM", "FSD",
];

/// Variable, what it becomes, and what it is multiplied by.
const NUMBERS: [(&str, &Metric, f64); 8] = [
    ("battery.charge", &MUSTER_UPS_BATTERY_CHARGE_RATIO, 0.01),
    ("battery.runtime", &MUSTER_UPS_BATTERY_RUNTIME_SECONDS, 1.0),
    ("battery.voltage", &MUSTER_UPS_BATTERY_VOLTS, 1.0),
    ("input.voltage", &MUSTER_UPS_INPUT_VOLTS, 1.0),
    ("output.voltage", &MUSTER_UPS_OUTPUT_VOLTS, 1.0),
    ("ups.load", &MUSTER_UPS_LOAD_RATIO, 0.01),
    ("ups.realpower", &MUSTER_UPS_POWER_WATTS, 1.0),
    ("ups.temperature", &MUSTER_UPS_TEMPERATURE_CELSIUS, 1.0),
];

/// The ups collector.
pub const DESCRIPTOR: Descriptor = Descriptor {
    timeout: Duration::from_secs(40),
    ..every_minute("ups", "uninterruptible power supplies, through upsc", |_| {
        Box::new(Ups)
    })
};

struct Ups;

#[async_trait]
impl Collector for Ups {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        let mut names = match ask(host, "upsc/list", vec!["-l"]).await {
            Ok(text) => upsc::parse_list(&text),
            Err(ProgramError::NotInstalled { .. }) => recorded(host).await?,
            Err(error) => return Err(error.into()),
        };
        if names.is_empty() {
            return Ok(Outcome::absent(
                "upsc is not installed, or knows of no power supply",
            ));
        }
        let mut draft = Draft::new(DESCRIPTOR.name);
        if SUPPLIES_MAX < names.len() {
            draft.problem(format!(
                "upsc knows {} supplies: only {SUPPLIES_MAX} are asked",
                names.len()
            ));
            names.truncate(SUPPLIES_MAX);
        }
        for name in names {
            let record = format!("upsc/{name}");
            match ask(host, &record, vec![&name]).await {
                Ok(text) => describe(&mut draft, &name, &upsc::parse(&text)),
                Err(error) => draft.error(&name, &error),
            }
        }
        Ok(Outcome::Facts(draft.finish()))
    }
}

/// Below a root the supplies are those whose output is recorded; on a machine without `upsc` there is none.
async fn recorded(host: &Host) -> Result<Vec<String>, CollectError> {
    if host.is_system() {
        return Ok(Vec::new());
    }
    let mut names = host
        .blocking("upsc", |files| files.names("/muster/run/upsc"))
        .await?;
    names.retain(|name| name != "list" && !name.ends_with(".rc"));
    Ok(names)
}

async fn ask(host: &Host, record: &str, args: Vec<&str>) -> Result<String, ProgramError> {
    let call = ProgramCall {
        program: "upsc",
        args,
        record,
        deadline: DEADLINE,
    };
    let output = host.run(&call).await?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn describe(draft: &mut Draft, name: &str, variables: &Variables) {
    let word = |variable: &str| variables.get(variable).map_or("", String::as_str);
    let Some(status) = variables.get("ups.status") else {
        draft.problem(format!("{name} does not say how it is"));
        return;
    };
    let labels = [
        ("ups", name),
        ("manufacturer", word("device.mfr")),
        ("model", word("device.model")),
        ("serial", word("device.serial")),
    ];
    draft.sample(&MUSTER_UPS_INFO, &labels, 1.0);
    for known in STATUS {
        let value = if status.split_ascii_whitespace().any(|word| word == known) {
            1.0
        } else {
            0.0
        };
        draft.sample(&MUSTER_UPS_STATUS, &[("ups", name), ("status", known)], value);
    }
    for (variable, metric, scale) in NUMBERS {
        if let Some(value) = upsc::number(variables, variable) {
            draft.sample(metric, &[("ups", name)], value * scale);
        }
    }
}
