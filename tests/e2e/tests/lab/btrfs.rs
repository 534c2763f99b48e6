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
fn errors(lab: &Lab) -> Result<[u64; 5]> {
    let mut sums = [0; 5];
    for row in table(&lab.shell("btrfs device stats /srv/btrfs || true")?) {
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
    let uuid = lab.shell("findmnt -fno UUID /srv/btrfs")?;
    let found = pool(&facts)?;
    ensure!(found["key"] == format!("pool:btrfs:{}", uuid.trim()), "{found:#}");
    let sums = errors(lab)?;
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
    Ok(facts)
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
