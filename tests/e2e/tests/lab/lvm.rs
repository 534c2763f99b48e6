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
pub(super) fn compared(lab: &Lab) -> Result<Facts> {
    let facts = lab.collect("block,lvm")?;
    let report = |what: &str, fields: &str| {
        lab.shell(&format!(
            "{what} --noheadings --units b --nosuffix --separator ';' -o {fields} 2>/dev/null"
        ))
    };
    let volumes = rows(&report(
        "lvs",
        "lv_uuid,lv_name,lv_size,data_percent,metadata_percent,sync_percent,lv_attr,lv_health_status,vg_name,pool_lv",
    )?);
    for row in &volumes {
        let volume = facts.one("volume", |volume| {
            volume["key"] == format!("volume:lvm:{}", row[0])
        })?;
        let pool = volumes
            .iter()
            .find(|pool| (&pool[8], &pool[1]) == (&row[8], &row[9]));
        compare(row, pool, volume).with_context(|| format!("{row:?}: {volume:#}"))?;
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

/// Compares a volume with its row of lvs, and with that of the pool from which it takes its room.
fn compare(row: &[String], pool: Option<&Vec<String>>, volume: &Value) -> Result<()> {
    ensure!(volume["size_bytes"].as_u64() == row[2].parse().ok(), "size");
    for (field, told) in [
        ("data_percent", &row[3]),
        ("metadata_percent", &row[4]),
        ("sync_percent", &row[5]),
    ] {
        if let Ok(percent) = told.parse::<f64>() {
            assert_between(field, &volume[field], percent, percent, 1.0)?;
        }
    }
    ensure!(volume["lv_attr"] == *row[6], "lv_attr {}", volume["lv_attr"]);
    let letter = |place: usize| row[6].chars().nth(place - 1).unwrap_or(' ');
    let percent = |told: &str| told.parse::<f64>().unwrap_or(0.0);
    // Pools and snapshots fill up; a thin volume that is written all over is no fault of its own.
    let is_filling = matches!(letter(1), 't' | 's' | 'S') && 80.0 <= percent(&row[3]).max(percent(&row[4]));
    // Of a cache the same field says something else.
    let is_copied = matches!(letter(1), 'r' | 'R' | 'm' | 'M') && !row[5].is_empty();
    let is_in_step = !is_copied || 100.0 <= percent(&row[5]);
    let is_of_full_pool = pool.is_some_and(|pool| !pool[7].is_empty() || 100.0 <= percent(&pool[3]));
    let is_well = row[7].is_empty()
        && matches!(letter(5), 'a')
        && letter(9) == '-'
        && !is_filling
        && !is_of_full_pool
        && is_in_step;
    let health = volume["health"].as_str().unwrap_or_default();
    if is_well {
        ensure!(health == "healthy", "nothing is wrong, and it is called {health}");
    } else if letter(5) != '-' {
        ensure!(health != "healthy", "called healthy");
    }
    Ok(())
}

pub(super) fn volume<'a>(facts: &'a Facts, name: &str) -> Result<&'a Value> {
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
