//! A guest laid out in other levels and stacks than the saved one, and broken in several places at once, all of it
//! compared with the tools.

use anyhow::{Context as _, Result, ensure};
use muster_e2e::lab::{Facts, Lab};
use serde_json::Value;

use super::{assert_health, assert_no_problems, btrfs, guest, lvm, md, zfs};

const UNWELL: &[&str] = &["warning", "critical", "failed"];

fn array<'a>(facts: &'a Facts, name: &str) -> Result<&'a Value> {
    facts.one("pool", |pool| {
        pool["array_name"]
            .as_str()
            .and_then(|name| name.split_once(':'))
            .is_some_and(|(_, own)| own == name)
    })
}

/// Each of these, by name, in one of these states.
fn assert_all<'a>(expected: &[(&str, &[&str])], find: impl Fn(&str) -> Result<&'a Value>) -> Result<()> {
    for (name, health) in expected {
        assert_health(find(name)?, health).with_context(|| (*name).to_owned())?;
    }
    Ok(())
}

#[test]
fn arrays_of_every_level_with_two_faults_at_once_are_as_mdadm_has_them() -> Result<()> {
    let Some(lab) = guest("layout-md")? else {
        return Ok(());
    };
    lab.fault(&["layout", "md"])?;
    let facts = md::compared(&lab)?;
    assert_no_problems(&facts)?;
    ensure!(
        facts
            .of_kind("pool")
            .filter(|pool| pool["pool_type"] == "mdadm")
            .count()
            == 13
    );
    lab.fault(&["layout", "md-faults"])?;
    let facts = md::compared(&lab)?;
    let is = |expected: &[(&str, &[&str])]| assert_all(expected, |name| array(&facts, name));
    is(&[
        ("six", &["critical"]),
        ("offset", &["critical"]),
        ("journalled", &["critical"]),
        ("near", &["critical"]),
        ("line", &["warning"]),
        ("far", &["healthy"]),
        ("growing", &["healthy"]),
        ("three", &["healthy"]),
        ("stripe", &["healthy"]),
        ("nested", &["healthy"]),
        ("with space", &["healthy"]),
        ("mirror", &["healthy"]),
    ])?;
    // 0.90 has no name.
    let four = facts.one("pool", |pool| pool["raid_level"] == "raid4")?;
    assert_health(four, &["critical"])?;
    // And now a disk that all of them have a part on, until the array on top of two of them has noticed too.
    lab.fault(&["disk-remove", "virt3"])?;
    lab.until(
        super::PATIENCE,
        "! lsblk -dno SERIAL | grep -q LABVIRT3 && grep -q '2/1' /proc/mdstat",
    )?;
    let facts = lab.collect("block,mdadm")?;
    let is = |expected: &[(&str, &[&str])]| assert_all(expected, |name| array(&facts, name));
    is(&[
        ("six", &["failed"]),
        ("offset", &["failed"]),
        ("near", &["failed"]),
        ("stripe", &["failed"]),
        ("line", &["failed"]),
        ("nested", &["critical"]),
        ("journalled", &["critical"]),
        ("growing", UNWELL),
        ("far", UNWELL),
        ("three", UNWELL),
        ("with space", &["critical"]),
        ("mirror", &["healthy"]),
    ])
}

#[test]
fn volumes_of_every_kind_with_two_faults_at_once_are_as_lvs_has_them() -> Result<()> {
    let Some(lab) = guest("layout-lvm")? else {
        return Ok(());
    };
    lab.fault(&["layout", "lvm"])?;
    let facts = lvm::compared(&lab)?;
    assert_no_problems(&facts)?;
    for (name, kind) in [
        ("one-two", "raid1"),
        ("five", "raid5"),
        ("six", "raid6"),
        ("ten", "raid10"),
        ("zero", "raid0"),
        ("old", "mirror"),
        ("plain", "linear"),
        ("plain-snap", "snapshot"),
        ("slow", "cache"),
        ("wslow", "writecache"),
        ("pool", "thin_pool"),
        ("thin", "thin"),
        ("deep", "linear"),
    ] {
        let volume = lvm::volume(&facts, name)?;
        ensure!(volume["volume_type"] == kind, "{volume:#}");
        assert_health(volume, &["healthy"])?;
    }
    ensure!(
        lvm::volume(&facts, "slow")?["cache_mode"] == "writethrough",
        "cache mode"
    );
    nested(&lab)?;
    lab.fault(&["layout", "lvm-faults"])?;
    let facts = lvm::compared(&lab)?;
    let is = |expected: &[(&str, &[&str])]| assert_all(expected, |name| lvm::volume(&facts, name));
    is(&[
        ("pool", &["critical", "failed"]),
        ("thin", &["critical"]),
        ("plain-snap", &["failed"]),
        ("plain", &["healthy"]),
        ("one-two", &["warning", "critical"]),
        ("five", &["critical"]),
        ("deep", &["healthy"]),
    ])?;
    assert_health(facts.pool("lvm", "big")?, UNWELL)?;
    assert_health(facts.pool("lvm", "inner")?, &["healthy"])
}

/// A filesystem on a volume of a group that lies on encryption on a volume of another group, mounted at a place with a
/// blank in its name: every layer rests on the one below.
fn nested(lab: &Lab) -> Result<()> {
    let facts = lab.collect("block,lvm,filesystem")?;
    let place = facts.one("filesystem", |found| found["mountpoint"] == "/srv/deep down")?;
    let mut level = vec![place["key"].as_str().unwrap_or_default().to_owned()];
    let mut seen = level.clone();
    while let Some(key) = level.pop() {
        for below in facts.below(&key) {
            if !seen.contains(&below) {
                seen.push(below.clone());
                level.push(below);
            }
        }
    }
    let count = |start: &str| seen.iter().filter(|key| key.starts_with(start)).count();
    // Two volumes, two groups, and the five disks of the lower group.
    for (start, wanted) in [
        ("volume:lvm:", 2),
        ("pool:lvm:", 2),
        ("mapping:crypt:", 1),
        ("device:", 5),
    ] {
        ensure!(count(start) == wanted, "{start} {}: {seen:#?}", count(start));
    }
    Ok(())
}

#[test]
fn filesystems_in_every_profile_with_a_device_gone_are_as_btrfs_has_them() -> Result<()> {
    let Some(lab) = guest("layout-btrfs")? else {
        return Ok(());
    };
    lab.fault(&["layout", "btrfs"])?;
    let labels = ["my data", "alone", "five", "ten", "spread"];
    let facts = lab.collect("block,btrfs,filesystem")?;
    assert_no_problems(&facts)?;
    for label in labels {
        let found = btrfs::compare(&lab, &facts, &format!("/srv/b/{label}"))?;
        assert_health(found, &["healthy"])?;
        ensure!(found["label"] == label, "{found:#}");
    }
    lab.fault(&["disk-remove", "scsi1"])?;
    lab.until(super::PATIENCE, "! lsblk -dno SERIAL | grep -q LABSCSI1")?;
    lab.fault(&["layout", "btrfs-faults"])?;
    let facts = lab.collect("block,btrfs,filesystem")?;
    for (label, health) in [
        ("my data", ["critical"].as_slice()),
        ("alone", &["healthy"]),
        ("five", &["critical"]),
        ("ten", &["critical"]),
        ("spread", &["failed"]),
    ] {
        assert_health(facts.pool("btrfs", label)?, health)?;
    }
    Ok(())
}

#[test]
fn pools_of_other_shapes_with_two_faults_at_once_are_as_zpool_has_them() -> Result<()> {
    let Some(lab) = guest("layout-zfs")? else {
        return Ok(());
    };
    lab.fault(&["layout", "zfs"])?;
    let facts = zfs::compared(&lab)?;
    assert_no_problems(&facts)?;
    for name in ["two", "three", "spread", "smaller", "dup", "tank"] {
        assert_health(facts.pool("zfs", name)?, &["healthy"])?;
    }
    ensure!(facts.pool("zfs", "two")?["raid_level"] == "raidz2");
    lab.fault(&["layout", "zfs-faults"])?;
    let facts = zfs::compared(&lab)?;
    let is = |expected: &[(&str, &[&str])]| assert_all(expected, |name| facts.pool("zfs", name));
    is(&[
        ("two", &["warning", "critical"]),
        ("three", UNWELL),
        ("spread", UNWELL),
        ("smaller", &["healthy"]),
        ("dup", &["healthy"]),
        ("tank", &["healthy"]),
    ])
}
