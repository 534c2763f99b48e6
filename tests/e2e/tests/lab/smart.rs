//! SMART of emulated ATA and NVMe drives, compared with smartctl.

use anyhow::{Result, ensure};
use muster_e2e::lab::{Facts, Lab};
use serde_json::Value;

use super::{assert_health, guest};

fn disk<'a>(facts: &'a Facts, serial: &str) -> Result<&'a Value> {
    facts.one("device", |device| device["serial_number"] == serial)
}

/// What smartctl says of a disk by its serial number.
fn smartctl(lab: &Lab, serial: &str) -> Result<Value> {
    let command = format!(
        "smartctl -a -j /dev/$(lsblk -dnro NAME,SERIAL | awk '$2 == \"{serial}\" {{print $1}}') || true"
    );
    Ok(serde_json::from_str(&lab.shell(&command)?)?)
}

fn compare(lab: &Lab, facts: &Facts, serial: &str) -> Result<()> {
    let (device, told) = (disk(facts, serial)?, smartctl(lab, serial)?);
    for (field, said) in [
        ("model", &told["model_name"]),
        ("firmware_version", &told["firmware_version"]),
        ("power_on_hours", &told["power_on_time"]["hours"]),
        ("smart_passed", &told["smart_status"]["passed"]),
        ("temperature_celsius", &told["temperature"]["current"]),
        ("size_bytes", &told["user_capacity"]["bytes"]),
    ] {
        ensure!(
            said.is_null()
                || device[field] == *said
                || device[field].as_f64() == said.as_f64() && said.is_number(),
            "{serial}: {field} is {}, and smartctl says {said}",
            device[field]
        );
    }
    Ok(())
}

#[test]
fn drives_are_as_smartctl_has_them_and_a_warning_of_nvme_is_heard() -> Result<()> {
    let Some(lab) = guest("smart")? else { return Ok(()) };
    let facts = lab.collect("block,smart")?;
    for serial in ["LABSATA0", "LABSATA1", "LABSATA2", "LABSATA3", "LABNVME0"] {
        compare(&lab, &facts, serial)?;
        assert_health(disk(&facts, serial)?, &["healthy"])?;
    }
    for serial in ["LABVIRT1", "LABUSB0"] {
        // Nothing to read is never good.
        assert_health(disk(&facts, serial)?, &["unknown"])?;
    }
    lab.fault(&["nvme-warn", "13"])?;
    let facts = lab.collect("block,smart")?;
    compare(&lab, &facts, "LABNVME0")?;
    assert_health(disk(&facts, "LABNVME0")?, &["critical", "failed"])?;
    assert_health(disk(&facts, "LABSATA0")?, &["healthy"])
}
