//! md: members, rebuilds, checks and other levels, compared with /proc/mdstat.

use anyhow::{Context as _, Result, ensure};
use muster_e2e::lab::{Facts, Lab};
use serde_json::Value;

use super::{PATIENCE, assert_between, assert_health, assert_no_problems, guest};

/// An array as /proc/mdstat has it.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    name: String,
    level: String,
    blocks: u64,
    /// Wanted and working members, for levels that have redundancy.
    disks: Option<(u64, u64)>,
    /// Action and percent.
    running: Option<(String, f64)>,
}

fn mdstat(text: &str) -> Result<Vec<Told>> {
    let mut arrays: Vec<Told> = Vec::new();
    for line in text.lines() {
        if let Some((name, rest)) = line.split_once(" : ") {
            if !name.starts_with("md") {
                continue;
            }
            let level = rest
                .split_whitespace()
                .find(|word| word.starts_with("raid") || *word == "linear");
            arrays.push(Told {
                name: name.to_owned(),
                level: level.unwrap_or_default().to_owned(),
                blocks: 0,
                disks: None,
                running: None,
            });
            continue;
        }
        let Some(array) = arrays.last_mut() else { continue };
        if let Some((blocks, rest)) = line.trim().split_once(" blocks") {
            array.blocks = blocks.parse().with_context(|| line.to_owned())?;
            let counts = rest.split(['[', ']']).find(|part| part.contains('/'));
            if let Some((wanted, working)) = counts.and_then(|counts| counts.split_once('/')) {
                array.disks = Some((wanted.parse()?, working.parse()?));
            }
        }
        for (word, action) in [
            ("recovery", "recover"),
            ("resync", "resync"),
            ("check", "check"),
            ("reshape", "reshape"),
        ] {
            let Some((_, rest)) = line.split_once(&format!("{word} =")) else {
                continue;
            };
            let percent = rest.split('%').next().unwrap_or_default().trim();
            array.running = Some((
                action.to_owned(),
                percent.parse().with_context(|| line.to_owned())?,
            ));
        }
    }
    Ok(arrays)
}

/// Collects, and compares every array with what the kernel said before and after. Returns what was collected.
fn compared(lab: &Lab) -> Result<Facts> {
    let before = mdstat(&lab.shell("cat /proc/mdstat")?)?;
    let facts = lab.collect("block,mdadm")?;
    let after = mdstat(&lab.shell("cat /proc/mdstat")?)?;
    let known = facts.of_kind("pool").filter(|pool| pool["pool_type"] == "mdadm");
    ensure!(
        known.count() == before.len(),
        "{before:?}, {:#}",
        facts.0["resources"]
    );
    for (told, later) in before.iter().zip(&after) {
        let array = facts.one("pool", |pool| pool["device_name"] == told.name)?;
        compare(told, later, array).with_context(|| format!("{told:?}: {array:#}"))?;
    }
    Ok(facts)
}

fn compare(told: &Told, later: &Told, array: &Value) -> Result<()> {
    ensure!(array["raid_level"] == told.level, "level {}", array["raid_level"]);
    ensure!(
        array["total_size_bytes"] == told.blocks * 1024,
        "size {}",
        array["total_size_bytes"]
    );
    if let Some((wanted, working)) = told.disks
        && told.disks == later.disks
    {
        ensure!(
            array["device_count"] == wanted,
            "wanted {}",
            array["device_count"]
        );
        ensure!(
            array["missing_device_count"] == wanted - working,
            "missing {}",
            array["missing_device_count"]
        );
        let is_healthy = array["health"] == "healthy";
        ensure!(!is_healthy || wanted == working, "degraded, and called healthy");
    }
    match (&told.running, &later.running) {
        (Some((action, percent)), Some((_, then))) => {
            ensure!(array["sync_action"] == *action, "action {}", array["sync_action"]);
            assert_between("progress", &array["sync_percent"], *percent, *then, 0.2)?;
        }
        (None, None) => ensure!(array["sync_percent"].is_null(), "progress of nothing"),
        // It began or ended in between.
        _ => {}
    }
    Ok(())
}

#[test]
fn arrays_are_as_the_kernel_has_them_in_every_state_of_a_mirror() -> Result<()> {
    let Some(lab) = guest("md-mirror")? else {
        return Ok(());
    };
    let facts = compared(&lab)?;
    assert_no_problems(&facts)?;
    for array in facts.of_kind("pool") {
        assert_health(array, &["healthy"])?;
    }
    // A scheduled check is no reason to worry.
    lab.fault(&["md-check", "1000"])?;
    lab.until(PATIENCE, "grep -q 'check =' /proc/mdstat")?;
    let facts = compared(&lab)?;
    for array in facts.of_kind("pool") {
        assert_health(array, &["healthy"])?;
    }
    lab.fault(&["md-full-speed"])?;
    lab.until(PATIENCE, "! grep -qE 'check =|DELAYED' /proc/mdstat")?;
    lab.fault(&["md-fail"])?;
    let facts = compared(&lab)?;
    assert_health(mirror(&facts)?, &["warning", "critical"])?;
    assert_health(parity(&facts)?, &["healthy"])?;
    lab.shell("dd if=/dev/urandom of=/srv/mirror/more.bin bs=1M count=40 conv=fsync status=none")?;
    lab.fault(&["md-readd", "500"])?;
    lab.until(PATIENCE, "grep -q 'recovery =' /proc/mdstat")?;
    let facts = compared(&lab)?;
    assert_health(mirror(&facts)?, &["warning", "critical"])?;
    ensure!(mirror(&facts)?["sync_action"] == "recover");
    lab.fault(&["md-full-speed"])?;
    lab.until(PATIENCE, "! grep -q 'recovery =' /proc/mdstat")?;
    assert_health(mirror(&compared(&lab)?)?, &["healthy"])
}

#[test]
fn a_rebuild_and_two_lost_members_of_a_raid5_are_told_apart() -> Result<()> {
    let Some(lab) = guest("md-parity")? else {
        return Ok(());
    };
    lab.fault(&["md5-fail"])?;
    let facts = compared(&lab)?;
    assert_health(parity(&facts)?, &["warning", "critical"])?;
    assert_health(mirror(&facts)?, &["healthy"])?;
    lab.fault(&["md5-rebuild", "300"])?;
    lab.until(PATIENCE, "grep -q 'recovery =' /proc/mdstat")?;
    assert_health(parity(&compared(&lab)?)?, &["warning", "critical"])?;
    // The second one goes while the first is being replaced; md notices when it writes.
    lab.fault(&["disk-remove", "virt2"])?;
    lab.shell("sleep 2; timeout 20 dd if=/dev/urandom of=/srv/parity/more.bin bs=1M count=4 conv=fsync status=none || true")?;
    lab.until(PATIENCE, "grep -q '3/1' /proc/mdstat")?;
    assert_health(parity(&compared(&lab)?)?, &["failed"])
}

#[test]
fn every_level_and_a_delayed_resync_is_understood() -> Result<()> {
    let Some(lab) = guest("md-levels")? else {
        return Ok(());
    };
    lab.fault(&["md-levels"])?;
    lab.until(PATIENCE, "! grep -qE 'resync|DELAYED' /proc/mdstat")?;
    let facts = compared(&lab)?;
    let levels: Vec<&str> = facts
        .of_kind("pool")
        .filter_map(|pool| pool["raid_level"].as_str())
        .collect();
    for level in ["raid0", "linear", "raid6", "raid10", "raid5", "raid1"] {
        ensure!(levels.contains(&level), "{level} is not among {levels:?}");
    }
    for array in facts.of_kind("pool") {
        assert_health(array, &["healthy"])?;
    }
    Ok(())
}

#[test]
fn a_resync_that_runs_and_one_that_waits_are_no_fault() -> Result<()> {
    let Some(lab) = guest("md-resync")? else {
        return Ok(());
    };
    lab.fault(&["md-resync", "200"])?;
    lab.until(PATIENCE, "grep -q DELAYED /proc/mdstat")?;
    let facts = compared(&lab)?;
    let states: Vec<&str> = facts
        .of_kind("pool")
        .filter_map(|pool| pool["sync_state"].as_str())
        .collect();
    ensure!(
        states.contains(&"running") && states.contains(&"delayed"),
        "{states:?}"
    );
    for array in [mirror(&facts)?, parity(&facts)?] {
        assert_health(array, &["healthy"])?;
    }
    Ok(())
}

fn by_path<'a>(facts: &'a Facts, level: &str, bytes_above: u64) -> Result<&'a Value> {
    facts.one("pool", |pool| {
        pool["raid_level"] == level
            && pool["total_size_bytes"]
                .as_u64()
                .is_some_and(|bytes| bytes_above < bytes)
    })
}

/// The RAID1 of two SATA disks; its number differs between boots.
fn mirror(facts: &Facts) -> Result<&Value> {
    by_path(facts, "raid1", 200 << 20)
}

/// The RAID5 of three virtio disks.
fn parity(facts: &Facts) -> Result<&Value> {
    by_path(facts, "raid5", 200 << 20)
}
