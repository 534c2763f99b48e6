//! ZFS: states, errors, scrubs and resilvers, compared with zpool list and zpool status.

use anyhow::{Context as _, Result, ensure};
use muster_e2e::lab::{Facts, Lab};
use serde_json::Value;

use super::{PATIENCE, assert_between, assert_health, assert_no_problems, guest, table};

/// Sum of the counts in the columns of `zpool status -p` over its devices: those whose names begin with virtio, and files.
fn errors(lab: &Lab, pool: &str) -> Result<[u64; 3]> {
    let mut sums = [0; 3];
    for row in table(&lab.shell(&format!("zpool status -p {pool}"))?) {
        let is_device = row
            .first()
            .is_some_and(|name| name.starts_with("virtio-") || name.starts_with("/var/tmp"));
        // A spare has a note in place of counts: "currently in use".
        let is_counted = 5 <= row.len() && row[2].parse::<u64>().is_ok();
        if !is_device || !is_counted {
            continue;
        }
        for (sum, count) in sums.iter_mut().zip(&row[2..5]) {
            *sum += count.parse::<u64>().with_context(|| format!("{row:?}"))?;
        }
    }
    Ok(sums)
}

/// Collects, and compares every pool with what the tools say.
pub(super) fn compared(lab: &Lab) -> Result<Facts> {
    let list = "zpool list -Hp -o name,size,allocated,free,fragmentation,health,guid";
    let facts = lab.collect("block,zfs")?;
    let rows = table(&lab.shell(list)?);
    let known = facts
        .of_kind("pool")
        .filter(|pool| pool["pool_type"] == "zfs")
        .count();
    ensure!(known == rows.len(), "{known} pools, and zpool list has {rows:?}");
    for row in rows {
        let pool = facts.pool("zfs", &row[0])?;
        compare(lab, &row, pool).with_context(|| format!("{row:?}: {pool:#}"))?;
    }
    Ok(facts)
}

fn compare(lab: &Lab, row: &[String], pool: &Value) -> Result<()> {
    ensure!(pool["key"] == format!("pool:zfs:{}", row[6]), "key");
    ensure!(pool["total_size_bytes"].as_u64() == row[1].parse().ok(), "size");
    // What is allocated moves by a transaction or two between the two looks.
    let (used, free): (f64, f64) = (row[2].parse()?, row[3].parse()?);
    assert_between("used", &pool["used_size_bytes"], used, used, 2_000_000.0)?;
    assert_between("free", &pool["available_size_bytes"], free, free, 2_000_000.0)?;
    ensure!(pool["state"] == row[5], "state");
    let [read, write, checksum] = errors(lab, &row[0])?;
    ensure!(
        pool["read_errors"] == read && pool["write_errors"] == write,
        "errors: {read} {write}"
    );
    ensure!(pool["checksum_errors"] == checksum, "checksum errors: {checksum}");
    compare_tree(lab, &row[0], pool)?;
    let is_clean = row[5] == "ONLINE" && read + write + checksum == 0;
    ensure!(
        is_clean || pool["health"] != "healthy",
        "not clean, and called healthy"
    );
    Ok(())
}

/// Every line of the tree: name, state and the three counters.
fn compare_tree(lab: &Lab, name: &str, pool: &Value) -> Result<()> {
    let text = lab.shell(&format!("zpool status -P -p {name}"))?;
    let tree = text.split("STATE").nth(1).unwrap_or_default();
    let tree = tree.split("\nerrors:").next().unwrap_or_default();
    let rows: Vec<Vec<String>> = table(tree)
        .into_iter()
        .skip(1)
        // Headings of classes have one word; spares no counters.
        .filter(|row| 2 <= row.len())
        .collect();
    let own: Vec<Value> = serde_json::from_str(pool["vdevs"].as_str().unwrap_or("[]"))?;
    ensure!(
        own.len() == rows.len(),
        "{} vdevs, and zpool has {rows:?}",
        own.len()
    );
    for (row, vdev) in rows.iter().zip(&own) {
        ensure!(
            vdev["name"] == *row[0] && vdev["state"] == *row[1],
            "{row:?}: {vdev}"
        );
        for (count, field) in row[2..]
            .iter()
            .zip(["read_errors", "write_errors", "checksum_errors"])
        {
            let count = count.parse::<u64>().ok();
            ensure!(
                count.is_none() || vdev[field].as_u64() == count,
                "{row:?}: {vdev}"
            );
        }
    }
    Ok(())
}

#[test]
fn healthy_pools_are_as_the_tools_have_them() -> Result<()> {
    let Some(lab) = guest("zfs-healthy")? else {
        return Ok(());
    };
    let facts = compared(&lab)?;
    assert_no_problems(&facts)?;
    for name in ["tank", "dozer"] {
        let pool = facts.pool("zfs", name)?;
        assert_health(pool, &["healthy"])?;
        ensure!(pool["scan_state"] == "finished", "{pool:#}");
        ensure!(
            !facts.below(pool["key"].as_str().unwrap_or_default()).is_empty(),
            "{name} rests on nothing"
        );
    }
    for row in table(&lab.shell("zfs list -Hp -t filesystem -o used,available,quota,name | grep -v ' '")?) {
        let dataset = facts.one("volume", |volume| {
            volume["name"] == row[3] && volume["volume_type"] == "dataset"
        });
        let dataset = dataset.with_context(|| format!("{row:?}"))?;
        assert_between(
            "used",
            &dataset["used_bytes"],
            row[0].parse()?,
            row[0].parse()?,
            2_000_000.0,
        )?;
        if row[2] != "0" {
            ensure!(
                dataset["quota_bytes"].as_u64() == row[2].parse().ok(),
                "{dataset:#}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_device_that_is_offline_and_its_resilver_are_told() -> Result<()> {
    let Some(lab) = guest("zfs-offline")? else {
        return Ok(());
    };
    lab.fault(&["zfs-offline"])?;
    let facts = compared(&lab)?;
    assert_health(facts.pool("zfs", "tank")?, &["warning", "critical"])?;
    assert_health(facts.pool("zfs", "dozer")?, &["healthy"])?;
    lab.shell("dd if=/dev/urandom of=/tank/db/more.bin bs=1M count=40 conv=fsync status=none")?;
    lab.fault(&["disk-slow", "zfs1", "300000"])?;
    lab.fault(&["zfs-online"])?;
    lab.until(PATIENCE, "zpool status tank | grep -q 'resilver in progress'")?;
    let facts = lab.collect("block,zfs")?;
    let tank = facts.pool("zfs", "tank")?;
    if lab.shell("zpool status tank")?.contains("resilver in progress") {
        ensure!(
            tank["scan_type"] == "resilver" && tank["scan_state"] == "in_progress",
            "{tank:#}"
        );
    }
    lab.fault(&["disk-slow", "zfs1", "0"])?;
    lab.until(PATIENCE, "zpool status tank | grep -q 'scan: resilvered'")?;
    assert_health(compared(&lab)?.pool("zfs", "tank")?, &["healthy"])
}

#[test]
fn checksum_errors_of_a_pool_that_calls_itself_online_are_a_warning() -> Result<()> {
    let Some(lab) = guest("zfs-corrupt")? else {
        return Ok(());
    };
    lab.fault(&["zfs-corrupt"])?;
    let facts = compared(&lab)?;
    let tank = facts.pool("zfs", "tank")?;
    ensure!(
        tank["checksum_errors"].as_u64().is_some_and(|count| 0 < count),
        "{tank:#}"
    );
    assert_health(tank, &["warning", "critical"])?;
    assert_health(facts.pool("zfs", "dozer")?, &["healthy"])?;
    lab.fault(&["disk-slow", "zfs0", "300000"])?;
    lab.fault(&["disk-slow", "zfs1", "300000"])?;
    lab.fault(&["zfs-scrub"])?;
    lab.until(PATIENCE, "zpool status tank | grep -q 'scrub in progress'")?;
    let facts = lab.collect("block,zfs")?;
    let tank = facts.pool("zfs", "tank")?;
    if lab.shell("zpool status tank")?.contains("scrub in progress") {
        ensure!(
            tank["scan_type"] == "scrub" && tank["scan_state"] == "in_progress",
            "{tank:#}"
        );
    }
    Ok(())
}

#[test]
fn lost_data_is_critical_and_a_suspended_pool_has_failed() -> Result<()> {
    let Some(lab) = guest("zfs-lost")? else {
        return Ok(());
    };
    lab.fault(&["zfs-lose-data"])?;
    let facts = compared(&lab)?;
    let tank = facts.pool("zfs", "tank")?;
    assert_health(tank, &["critical", "failed"])?;
    ensure!(tank["damaged_files"].to_string().contains("data.bin"), "{tank:#}");
    // Two faults at once, the second of the other pool: it stands still.
    lab.fault(&["disk-remove", "zfs2"])?;
    lab.fault(&["disk-remove", "zfs3"])?;
    lab.shell("sleep 2; dd if=/dev/urandom of=/dozer/x bs=1M count=4 conv=fsync >/dev/null 2>&1 </dev/null & sleep 8")?;
    lab.until(PATIENCE, "zpool list -H -o health dozer | grep -q SUSPENDED")?;
    let facts = lab.collect("block,zfs")?;
    assert_health(facts.pool("zfs", "dozer")?, &["failed"])?;
    assert_health(facts.pool("zfs", "tank")?, &["critical", "failed"])
}
