//! md: members, rebuilds, checks and other levels, compared with /proc/mdstat.

use std::collections::BTreeMap;

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

/// Labels and values of `mdadm --detail`, by the kernel's name of the array.
type Details = BTreeMap<String, BTreeMap<String, String>>;

fn details(lab: &Lab) -> Result<Details> {
    let text = lab.shell("for d in /dev/md[0-9]*; do [ ! -b $d ] || mdadm --detail $d; done")?;
    let mut all = Details::new();
    let mut name = String::new();
    for line in text.lines() {
        if let Some(device) = line.strip_prefix("/dev/") {
            name = device.trim_end_matches(':').to_owned();
        } else if let Some((label, value)) = line.split_once(" : ") {
            let labels = all.entry(name.clone()).or_default();
            labels.insert(label.trim().to_owned(), value.trim().to_owned());
        }
    }
    Ok(all)
}

/// Collects, and compares every array with what the kernel and mdadm said before and after. Returns what was collected.
pub(super) fn compared(lab: &Lab) -> Result<Facts> {
    let (before, detail) = (mdstat(&lab.shell("cat /proc/mdstat")?)?, details(lab)?);
    let facts = lab.collect("block,mdadm")?;
    let (after, later) = (mdstat(&lab.shell("cat /proc/mdstat")?)?, details(lab)?);
    for (name, told) in &detail {
        // What changed meanwhile is told by neither.
        let state = told.get("State");
        if state.is_none() || later.get(name).and_then(|later| later.get("State")) != state {
            continue;
        }
        let array = facts.one("pool", |pool| pool["device_name"] == *name)?;
        compare_detail(told, array).with_context(|| format!("{told:?}: {array:#}"))?;
    }
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

fn compare_detail(told: &BTreeMap<String, String>, array: &Value) -> Result<()> {
    let number = |label: &str| told.get(label).and_then(|value| value.parse::<u64>().ok());
    for (label, field) in [
        ("Raid Devices", "device_count"),
        ("Failed Devices", "failed_device_count"),
        ("Active Devices", "working_device_count"),
    ] {
        // Of levels without redundancy nobody counts who works.
        let is_same = array[field].is_null() || array[field].as_u64() == number(label);
        ensure!(is_same, "{field}: {}", array[field]);
    }
    // "… (local to host lab)" behind the UUID of 0.90.
    let uuid = told.get("UUID").and_then(|uuid| uuid.split(' ').next());
    ensure!(
        uuid.is_none_or(|uuid| array["uuid"] == uuid),
        "uuid {}",
        array["uuid"]
    );
    let name = told.get("Name").and_then(|name| name.split("  (").next());
    ensure!(
        name.is_none_or(|name| array["array_name"] == name.trim()),
        "name {}",
        array["array_name"]
    );
    if let Some(kib) = told.get("Chunk Size").and_then(|size| size.strip_suffix('K')) {
        let bytes = kib.parse::<u64>()? * 1024;
        ensure!(
            array["chunk_size_bytes"] == bytes,
            "chunk {}",
            array["chunk_size_bytes"]
        );
    }
    let states = told.get("State").context("no state")?;
    let states: Vec<&str> = states.split(',').map(str::trim).collect();
    let health = array["health"].as_str().unwrap_or_default();
    let is_well = states
        .iter()
        .all(|state| ["clean", "active", "checking", "reshaping"].contains(state))
        && number("Failed Devices") == Some(0);
    if states.contains(&"FAILED") {
        ensure!(health == "failed", "FAILED, and called {health}");
    } else if is_well {
        ensure!(health == "healthy", "nothing is wrong, and it is called {health}");
    } else {
        ensure!(health != "healthy", "{states:?}, and called healthy");
    }
    Ok(())
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
