//! What was acknowledged is stored, once, whatever happens to the controller.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use muster_e2e::{Api, World};

const SERIES: usize = 20;

/// One line of the simulator's journal: what it was told is durable.
#[derive(Debug)]
struct Acked {
    agent: String,
    first_ms: i64,
    last_ms: i64,
}

fn read_journal(world: &World) -> Result<Vec<Acked>> {
    let text = std::fs::read_to_string(world.dir().join("journal"))?;
    text.lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let [agent, _epoch, _sequence, first_ms, last_ms] = fields[..] else {
                anyhow::bail!("journal line {line:?}");
            };
            Ok(Acked {
                agent: agent.to_owned(),
                first_ms: first_ms.parse()?,
                last_ms: last_ms.parse()?,
            })
        })
        .collect()
}

/// Every acknowledged tick is there in every series, once, with the value that was sent; nothing else is.
async fn check_against_journal(api: &Api, world: &World) -> Result<usize> {
    let mut acked: BTreeMap<String, Vec<Acked>> = BTreeMap::new();
    for line in read_journal(world)? {
        acked.entry(line.agent.clone()).or_default().push(line);
    }
    let mut checked = 0;
    for (agent, lines) in &acked {
        let stored = api
            .range("muster_sim_value", &format!("{{instance=\"{agent}\"}}"))
            .await?;
        ensure!(stored.len() == SERIES, "{agent} has {} series", stored.len());
        for (labels, points) in &stored {
            let doubled = points
                .windows(2)
                .find(|pair| pair[1].0 <= pair[0].0 || pair[1].1 <= pair[0].1);
            ensure!(doubled.is_none(), "{labels}: {doubled:?}");
            for line in lines {
                let from = points.partition_point(|point| point.0 < line.first_ms);
                let to = points.partition_point(|point| point.0 <= line.last_ms);
                ensure!(from < to, "{labels}: acknowledged {line:?} and not stored");
                ensure!(
                    points[from].0 == line.first_ms,
                    "{labels}: first of {line:?} is not stored"
                );
                ensure!(
                    points[to - 1].0 == line.last_ms,
                    "{labels}: last of {line:?} is not stored"
                );
                checked += to - from;
            }
        }
    }
    Ok(checked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_killed_again_and_again_keeps_all_it_acknowledged() -> Result<()> {
    let kills = if std::env::var_os("MUSTER_TEST_FULL").is_some() {
        200
    } else {
        20
    };
    let mut world = World::start().await?;
    let series = SERIES.to_string();
    let mut sim = world.start_sim(5, &["--interval", "0.2s", "--series", &series])?;
    for _ in 0..kills {
        // The moment of the kill is what is being varied; nothing is awaited here.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(200..1_500))).await;
        world.kill_controller()?;
        world.start_controller().await?;
    }
    let status = sim.stop(Duration::from_secs(60))?;
    ensure!(status.success(), "{}", sim.printed());
    let printed = sim.printed();
    let summary: serde_json::Value = serde_json::from_str(printed.lines().last().context("no summary")?)
        .with_context(|| printed.clone())?;
    ensure!(summary["produced"] == summary["acked"], "{summary}");

    let api = world.api().await?;
    let checked = check_against_journal(&api, &world).await?;
    ensure!(
        summary["acked"].as_u64() == Some(checked as u64),
        "{summary}, but {checked} are stored"
    );
    ensure!(
        5 * SERIES * kills < checked,
        "only {checked} samples: the load was too small to mean anything"
    );

    // The same after an orderly restart, when heads come from the intake again.
    world.stop_controller()?;
    world.start_controller().await?;
    let again = check_against_journal(&world.api().await?, &world).await?;
    ensure!(again == checked, "{again} after a restart, {checked} before");
    Ok(())
}
