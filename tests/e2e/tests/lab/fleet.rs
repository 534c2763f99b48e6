//! The whole way: an agent in the guest, a controller on this machine, and what people see when storage breaks.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use muster_e2e::lab::Lab;
use muster_e2e::{Api, World, eventually};
use serde_json::Value;

use super::{PATIENCE, guest};

/// The guest's name for this machine.
const HOST: &str = "10.0.2.2";

/// Enrols the guest's agent and starts it, reading storage every few seconds.
fn start_agent(lab: &Lab, world: &World) -> Result<()> {
    let settings =
        "[collect.intervals]\nblock = \"10s\"\nmdadm = \"10s\"\nbtrfs = \"10s\"\nfilesystem = \"15s\"\n";
    enrol_and_run(lab, world, settings)
}

/// Enrols the guest's agent and starts it with these settings.
pub(super) fn enrol_and_run(lab: &Lab, world: &World, settings: &str) -> Result<()> {
    lab.put(&world.token_file(1)?, "/root/token")?;
    let controller = format!("{HOST}:{}", world.grpc.port());
    lab.shell(&format!(
        "muster-agent enroll --controller {controller} --token-file /root/token --data-dir /root/agent"
    ))?;
    lab.shell(&format!(
        "printf '{}' > /root/agent.toml; setsid muster-agent run --config /root/agent.toml --data-dir /root/agent \
         >/root/agent.log 2>&1 </dev/null &",
        settings.replace('\n', "\\n")
    ))?;
    lab.shell("sleep 2; pidof muster-agent || { cat /root/agent.log; false; }")?;
    Ok(())
}

pub(super) async fn server_id(api: &Api) -> Result<i64> {
    eventually(PATIENCE, async || {
        let servers = api.items("/api/infrastructure/servers").await?;
        servers.first().context("no server")?["id"]
            .as_i64()
            .context("no id")
    })
    .await
}

/// The disk with this serial number.
async fn disk(api: &Api, serial: &str) -> Result<Value> {
    let found = api
        .items(&format!(
            "/api/infrastructure/devices?serial={serial}&include_gone=true"
        ))
        .await?;
    found
        .into_iter()
        .next()
        .with_context(|| format!("no disk {serial}"))
}

/// Names of what is hit by kind, and its effect.
fn hit(impact: &Value) -> Vec<(String, String, String)> {
    let word = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
    impact["affected"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|item| (word(item, "kind"), word(item, "type"), word(item, "effect")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_impact_of_a_disk_names_exactly_what_is_above_it_through_every_layer() -> Result<()> {
    let Some(lab) = guest("chain")? else { return Ok(()) };
    lab.fault(&["chain"])?;
    let world = World::start().await?;
    start_agent(&lab, &world)?;
    let api = world.api().await?;
    server_id(&api).await?;
    let expected = [
        ("partition", "", "lost"),
        ("pool", "mdadm", "lost"),
        ("mapping", "crypt", "lost"),
        ("pool", "lvm", "lost"),
        ("volume", "thin-pool", "lost"),
        ("volume", "thin", "lost"),
        ("filesystem", "ext4", "lost"),
    ];
    let count = |kinds: &[(String, String, String)]| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (kind, ..) in kinds {
            *counts.entry(kind.clone()).or_default() += 1;
        }
        counts
    };
    let wanted: Vec<_> = expected
        .map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()))
        .to_vec();
    let impact = eventually(PATIENCE, async || {
        let disk = disk(&api, "LABVIRT4").await?;
        let impact = api
            .get(&format!("/api/infrastructure/resources/{}/impact", disk["id"]))
            .await?;
        let found = hit(&impact);
        ensure!(
            count(&found) == count(&wanted),
            "{found:?}, and {wanted:?} is expected"
        );
        Ok(impact)
    })
    .await?;
    for (kind, _, effect) in hit(&impact) {
        ensure!(
            effect == "lost",
            "{kind} is {effect}: the array has one member only"
        );
    }
    ensure!(
        impact["mount_points"][0]["path"] == "/srv/chain",
        "{}",
        impact["mount_points"]
    );
    ensure!(
        impact["undescribed"] == serde_json::json!([]),
        "{}",
        impact["undescribed"]
    );
    println!("what goes down with LABVIRT4: {:?}", hit(&impact));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_pulled_out_is_gone_within_seconds_and_what_it_carried_says_so() -> Result<()> {
    let Some(lab) = guest("pulled")? else {
        return Ok(());
    };
    let world = World::start().await?;
    start_agent(&lab, &world)?;
    let api = world.api().await?;
    let server = server_id(&api).await?;
    let pools = format!("/api/infrastructure/servers/{server}/storage/pools");
    eventually(PATIENCE, async || {
        let disk = disk(&api, "LABSCSI1").await?;
        ensure!(disk["gone_at"].is_null());
        let pools = api.items(&pools).await?;
        let types: Vec<&str> = pools
            .iter()
            .filter_map(|pool| pool["pool_type"].as_str())
            .collect();
        for wanted in ["mdadm", "btrfs", "zfs", "lvm"] {
            ensure!(types.contains(&wanted), "{types:?}");
        }
        for pool in &pools {
            ensure!(pool["health"] == "healthy", "{pool:#}");
        }
        Ok(())
    })
    .await?;
    lab.fault(&["md-fail"])?;
    lab.fault(&["disk-remove", "scsi1"])?;
    lab.shell(
        "sleep 2; dd if=/dev/urandom of=/srv/btrfs/more.bin bs=1M count=4 conv=fsync status=none || true",
    )?;
    eventually(PATIENCE, async || {
        ensure!(
            !disk(&api, "LABSCSI1").await?["gone_at"].is_null(),
            "the disk is still there"
        );
        for wanted in ["mdadm", "btrfs"] {
            let unwell = api
                .items(&format!("/api/infrastructure/storage/pools?pool_type={wanted}"))
                .await?;
            let unwell = unwell.iter().filter(|pool| pool["health"] != "healthy").count();
            ensure!(unwell == 1, "{unwell} of {wanted} are not healthy");
        }
        Ok(())
    })
    .await?;
    let gone = disk(&api, "LABSCSI1").await?;
    let impact = api
        .get(&format!("/api/infrastructure/resources/{}/impact", gone["id"]))
        .await?;
    let paths: Vec<&str> = impact["mount_points"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|place| place["path"].as_str())
        .collect();
    ensure!(paths == ["/srv/btrfs"], "{impact:#}");
    Ok(())
}
