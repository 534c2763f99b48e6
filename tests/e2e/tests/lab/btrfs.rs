//! BTRFS: error counters, corruption and a missing device, compared with btrfs device stats.

use anyhow::{Context as _, Result, ensure};
use muster_e2e::lab::{Facts, Lab};
use serde_json::Value;

use super::{assert_health, assert_no_problems, guest, table};

const KINDS: [&str; 5] = [
    "write_io_errs",
    "read_io_errs",
    "flush_io_errs",
    "corruption_errs",
    "generation_errs",
];

/// Sums of the five counters over all devices, as the tool has them.
fn errors(lab: &Lab, place: &str) -> Result<[u64; 5]> {
    let mut sums = [0; 5];
    for row in table(&lab.shell(&format!("btrfs device stats '{place}' || true"))?) {
        let kind = row[0].rsplit('.').next().unwrap_or_default();
        if let Some(place) = KINDS.iter().position(|known| *known == kind) {
            sums[place] += row[1].parse::<u64>().with_context(|| format!("{row:?}"))?;
        }
    }
    Ok(sums)
}

fn pool(facts: &Facts) -> Result<&Value> {
    facts.one("pool", |pool| pool["pool_type"] == "btrfs")
}

fn compared(lab: &Lab) -> Result<Facts> {
    let facts = lab.collect("block,btrfs,filesystem")?;
    compare(lab, &facts, "/srv/btrfs")?;
    Ok(facts)
}

/// Compares one filesystem with what the tools say, and returns it.
pub(super) fn compare<'a>(lab: &Lab, facts: &'a Facts, place: &str) -> Result<&'a Value> {
    let uuid = lab.shell(&format!("findmnt -fno UUID '{place}'"))?;
    let found = facts.one("pool", |pool| {
        pool["key"] == format!("pool:btrfs:{}", uuid.trim())
    })?;
    let sums = errors(lab, place)?;
    for (field, sum) in [
        "write_errors",
        "read_errors",
        "flush_errors",
        "corruption_errors",
        "generation_errors",
    ]
    .iter()
    .zip(sums)
    {
        ensure!(found[*field] == sum, "{field}: the tool says {sum}: {found:#}");
    }
    ensure!(
        sums.iter().sum::<u64>() == 0 || found["health"] != "healthy",
        "{found:#}"
    );
    let usage = lab.shell(&format!("btrfs filesystem usage --raw '{place}'"))?;
    let bytes = |label: &str| {
        let line = usage.lines().find_map(|line| line.trim().strip_prefix(label));
        line.and_then(|rest| rest.trim().parse::<u64>().ok())
    };
    let is_missing = bytes("Device missing:") != Some(0) || usage.contains("missing,");
    ensure!(!is_missing || found["health"] != "healthy", "{usage}: {found:#}");
    if found["missing_device_count"] == 0 {
        for (label, field) in [
            ("Device size:", "total_size_bytes"),
            ("Device allocated:", "allocated_bytes"),
            ("Device unallocated:", "unallocated_bytes"),
        ] {
            ensure!(
                found[field].as_u64() == bytes(label),
                "{label} {usage}: {found:#}"
            );
        }
    }
    for (kind, field) in [("Data,", "raid_level"), ("Metadata,", "metadata_profile")] {
        let line = usage.lines().find_map(|line| line.strip_prefix(kind));
        let told = line.and_then(|line| line.split(':').next()).unwrap_or_default();
        ensure!(found[field] == told.to_lowercase(), "{kind}{told}: {found:#}");
    }
    Ok(found)
}

#[test]
fn corruption_that_a_scrub_finds_is_told() -> Result<()> {
    let Some(lab) = guest("btrfs-corrupt")? else {
        return Ok(());
    };
    let facts = compared(&lab)?;
    assert_no_problems(&facts)?;
    assert_health(pool(&facts)?, &["healthy"])?;
    lab.fault(&["btrfs-corrupt"])?;
    let facts = compared(&lab)?;
    assert_health(pool(&facts)?, &["warning", "critical"])
}

#[test]
fn a_device_that_is_gone_is_told() -> Result<()> {
    let Some(lab) = guest("btrfs-gone")? else {
        return Ok(());
    };
    lab.fault(&["disk-remove", "scsi1"])?;
    lab.shell(
        "sleep 2; dd if=/dev/urandom of=/srv/btrfs/more.bin bs=1M count=4 conv=fsync status=none || true",
    )?;
    let facts = compared(&lab)?;
    assert_health(pool(&facts)?, &["warning", "critical", "failed"])
}
