//! LVM: volumes, thin pools and missing disks, compared with lvs and vgs.

use anyhow::{Context as _, Result, ensure};
use muster_e2e::lab::{Facts, Lab};
use serde_json::Value;

use super::{PATIENCE, assert_between, assert_health, assert_no_problems, guest};

fn rows(text: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.trim().split(';').map(str::to_owned).collect();
    text.lines()
        .filter(|line| line.contains(';'))
        .map(cells)
        .collect()
}

/// Collects, and compares every volume and group with what the tools say.
fn compared(lab: &Lab) -> Result<Facts> {
    let facts = lab.collect("block,lvm")?;
    let report = |what: &str, fields: &str| {
        lab.shell(&format!(
            "{what} --noheadings --units b --nosuffix --separator ';' -o {fields} 2>/dev/null"
        ))
    };
    for row in rows(&report(
        "lvs",
        "lv_uuid,lv_name,lv_size,data_percent,metadata_percent",
    )?) {
        let volume = facts.one("volume", |volume| {
            volume["key"] == format!("volume:lvm:{}", row[0])
        })?;
        compare(&row, volume).with_context(|| format!("{row:?}: {volume:#}"))?;
    }
    for row in rows(&report(
        "vgs",
        "vg_uuid,vg_name,vg_size,vg_free,vg_missing_pv_count,pv_count",
    )?) {
        let group = facts.one("pool", |pool| pool["key"] == format!("pool:lvm:{}", row[0]))?;
        ensure!(
            group["total_size_bytes"].as_u64() == row[2].parse().ok(),
            "{row:?}: {group:#}"
        );
        ensure!(
            group["available_size_bytes"].as_u64() == row[3].parse().ok(),
            "{row:?}: {group:#}"
        );
        ensure!(
            row[4] == "0" || group["health"] != "healthy",
            "{row:?}: {group:#}"
        );
    }
    Ok(facts)
}

fn compare(row: &[String], volume: &Value) -> Result<()> {
    ensure!(volume["size_bytes"].as_u64() == row[2].parse().ok(), "size");
    for (field, told) in [("data_percent", &row[3]), ("metadata_percent", &row[4])] {
        if let Ok(percent) = told.parse::<f64>() {
            assert_between(field, &volume[field], percent, percent, 1.0)?;
        }
    }
    Ok(())
}

fn volume<'a>(facts: &'a Facts, name: &str) -> Result<&'a Value> {
    facts.one("volume", |volume| volume["lv_name"] == name)
}

#[test]
fn volumes_are_as_the_tools_have_them_and_a_full_thin_pool_is_told() -> Result<()> {
    let Some(lab) = guest("lvm-thin")? else {
        return Ok(());
    };
    let facts = compared(&lab)?;
    assert_no_problems(&facts)?;
    for name in ["linear", "striped", "mirrored", "pool", "thin1", "thin2", "swap"] {
        assert_health(volume(&facts, name)?, &["healthy"])?;
    }
    assert_health(facts.pool("lvm", "vg0")?, &["healthy"])?;
    lab.fault(&["thin-full"])?;
    let facts = compared(&lab)?;
    assert_health(volume(&facts, "pool")?, &["critical", "failed"])?;
    assert_health(volume(&facts, "mirrored")?, &["healthy"])
}

#[test]
fn a_snapshot_that_overflowed_and_a_missing_disk_are_told() -> Result<()> {
    let Some(lab) = guest("lvm-missing")? else {
        return Ok(());
    };
    lab.fault(&["snap-fill"])?;
    let facts = compared(&lab)?;
    assert_health(volume(&facts, "linear-snap")?, &["critical", "failed"])?;
    assert_health(volume(&facts, "linear")?, &["healthy"])?;
    lab.fault(&["raid-lv-fail"])?;
    lab.until(
        PATIENCE,
        "vgs --noheadings -o vg_missing_pv_count vg0 2>/dev/null | grep -q 1",
    )?;
    let facts = compared(&lab)?;
    assert_health(facts.pool("lvm", "vg0")?, &["warning", "critical", "failed"])?;
    assert_health(volume(&facts, "mirrored")?, &["warning", "critical"])
}
