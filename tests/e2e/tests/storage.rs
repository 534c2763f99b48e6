//! From a recorded server's kernel to what goes down with its disk, over whole processes.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use muster_e2e::{World, eventually, tree};
use serde_json::Value;

/// Recorded in the guest of tests/lab: partition, array, LUKS, volume group, thin pool, thin volume, ext4.
const CHAIN: &str = include_str!("../fixtures/chain.tree");
/// A loaded machine takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn the_impact_of_a_recorded_disk_names_every_layer_up_to_its_mount_point_and_nothing_else() -> Result<()>
{
    let world = World::start().await?;
    let root = world.dir().join("root");
    tree::write(CHAIN, &root)?;
    let enrolled = world.enroll("agent", &world.token_file(1)?)?;
    ensure!(
        enrolled.status.success(),
        "{}",
        String::from_utf8_lossy(&enrolled.stderr)
    );
    let root = root.display().to_string();
    let _agent = world.start_agent("agent", &["--root", &root])?;
    let api = world.api().await?;
    let impact = eventually(PATIENCE, async || {
        let disks = api.items("/api/infrastructure/devices?serial=LABVIRT4").await?;
        let id = &disks.first().context("no such disk")?["id"];
        let impact = api
            .get(&format!("/api/infrastructure/resources/{id}/impact"))
            .await?;
        ensure!(impact["undescribed"] == serde_json::json!([]), "{impact:#}");
        ensure!(
            impact["affected"].as_array().is_some_and(|hit| 6 < hit.len()),
            "{impact:#}"
        );
        Ok(impact)
    })
    .await?;
    let hit = |field: &str| -> Vec<&str> {
        let affected = impact["affected"].as_array().into_iter().flatten();
        affected.filter_map(|one| one[field].as_str()).collect()
    };
    let mut kinds = hit("kind");
    kinds.sort_unstable();
    ensure!(
        kinds
            == [
                "filesystem",
                "mapping",
                "partition",
                "pool",
                "pool",
                "volume",
                "volume"
            ],
        "{kinds:?}: {impact:#}"
    );
    ensure!(hit("effect").iter().all(|effect| *effect == "lost"), "{impact:#}");
    let places: Vec<&Value> = impact["mount_points"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|place| &place["path"])
        .collect();
    ensure!(places == ["/srv/chain"], "{impact:#}");
    println!("what goes down with the disk: {:?}", hit("key"));
    Ok(())
}
