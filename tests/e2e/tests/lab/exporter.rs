//! The storage series beside those of `node_exporter`, on the same real storage.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use muster_e2e::lab::Lab;

use super::{PATIENCE, guest};

const EXPORTER: &str = "/usr/bin/prometheus-node-exporter";
/// Asks for its page with nothing but a shell.
const ASK: &str = r"exec 3<>/dev/tcp/127.0.0.1/9111 && printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3 && cat <&3";
/// It takes the name of a dataset for ended at its first blank.
const BLANK: &str = "dozer/with";

/// Numbers by series: names and labels as both print them.
type Page = BTreeMap<String, f64>;

fn page(text: &str) -> Result<Page> {
    let is_ours = |line: &&str| {
        ["node_md_", "node_btrfs_", "node_zfs_"]
            .iter()
            .any(|start| line.starts_with(start))
            && !line.contains(BLANK)
    };
    text.lines()
        .filter(is_ours)
        .map(|line| {
            let (series, value) = line.trim().rsplit_once(' ').with_context(|| line.to_owned())?;
            Ok((series.to_owned(), value.parse()?))
        })
        .collect()
}

fn theirs(lab: &Lab) -> Result<Page> {
    page(&lab.shell(ASK)?)
}

/// What it says the same before and after the agent was asked has stood still between.
#[test]
fn every_series_of_md_btrfs_and_zfs_that_the_exporter_has_is_the_agents_too() -> Result<()> {
    let Some(lab) = guest("exporter")? else {
        return Ok(());
    };
    ensure!(
        Path::new(EXPORTER).is_file(),
        "{EXPORTER} is missing: cargo xtask test-deps installs it"
    );
    lab.put(Path::new(EXPORTER), "/usr/local/bin/exporter")?;
    lab.shell(
        "setsid exporter --web.listen-address=127.0.0.1:9111 --collector.disable-defaults --collector.mdadm \
         --collector.btrfs --collector.zfs >/root/exporter.log 2>&1 </dev/null &",
    )?;
    lab.until(PATIENCE, &format!("{ASK} | grep -q ^node_md_disks"))?;
    // A failed member has series of its own.
    lab.fault(&["md-fail"])?;
    let before = theirs(&lab)?;
    let ours =
        page(&lab.shell("muster-agent collect --only mdadm,btrfs,zfs,zfs_kstat --format prometheus")?)?;
    let after = theirs(&lab)?;
    let missing: Vec<&String> = before
        .keys()
        .filter(|series| !ours.contains_key(*series))
        .collect();
    let still = before
        .iter()
        .filter(|(series, value)| after.get(*series) == Some(value));
    let (same, other): (Vec<_>, Vec<_>) = still.partition(|(series, value)| ours.get(*series) == Some(value));
    println!(
        "{} series of the exporter, {} not the agent's; {} stood still and are equal, {} are not",
        before.len(),
        missing.len(),
        same.len(),
        other.len()
    );
    ensure!(missing.is_empty(), "missing: {missing:#?}");
    ensure!(
        other.is_empty(),
        "{:#?}",
        other
            .iter()
            .map(|(series, value)| format!("{series} {value}, ours {:?}", ours.get(*series)))
            .collect::<Vec<_>>()
    );
    ensure!(100 < same.len(), "hardly anything was compared");
    Ok(())
}
