//! Certificates that renew themselves while everything goes on, and what ends an identity.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use muster_e2e::{Process, World, eventually};
use serde_json::Value;

/// A certificate of a minute, the shortest there is: it is renewed every half.
const SHORT: &str = "[enrolment]\nagent_certificate_ttl = \"1min\"\n";
/// Long enough for an agent that does not renew to be cut off.
const RUN_S: u64 = 80;
/// The slowest of the metrics that are looked at comes every 15 s.
const GAP_MAX_MS: i64 = 25_000;

async fn enrolled(world: &World) -> Result<Process> {
    let enrolled = world.enroll("agent", &world.token_file(1)?)?;
    ensure!(
        enrolled.status.success(),
        "{}",
        String::from_utf8_lossy(&enrolled.stderr)
    );
    world.start_agent("agent", &[])
}

fn identity_file(world: &World) -> PathBuf {
    world.dir().join("agent/identity/identity.json")
}

fn generation(world: &World) -> Result<u64> {
    let identity: Value = serde_json::from_slice(&std::fs::read(identity_file(world))?)?;
    identity["generation"].as_u64().context("generation")
}

async fn online(world: &World) -> Result<Value> {
    let api = world.api().await?;
    eventually(Duration::from_secs(30), async || {
        let servers = api.items("/api/infrastructure/servers").await?;
        let server = servers.first().context("no server")?;
        ensure!(server["status"] == "online", "{server}");
        Ok(server.clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_outlives_its_certificates_without_a_gap() -> Result<()> {
    let mut world = World::prepare()?;
    SHORT.clone_into(&mut world.settings);
    world.start_controller().await?;
    let mut agent = enrolled(&world).await?;
    online(&world).await?;
    let run_s = if std::env::var_os("MUSTER_TEST_FULL").is_some() {
        RUN_S * 10
    } else {
        RUN_S
    };
    // What is tested is that time passes and nothing happens.
    tokio::time::sleep(Duration::from_secs(run_s)).await;

    ensure!(agent.is_running()?, "{}", agent.printed());
    let generation = generation(&world)?;
    // One more than renewals; each certificate is used for 33 s at most.
    ensure!(
        run_s / 33 < generation,
        "generation {generation}: {}",
        agent.printed()
    );
    online(&world).await?;
    let series = world.api().await?.range("node_load1", "{}").await?;
    ensure!(series.len() == 1, "{} series", series.len());
    let times: Vec<i64> = series[0].1.iter().map(|point| point.0).collect();
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).max();
    ensure!(
        longest.is_some_and(|longest| longest <= GAP_MAX_MS),
        "a gap of {longest:?} ms in {times:?}"
    );
    let lived = times.last().context("no samples")? - times[0];
    let run_ms = i64::try_from(run_s)? * 1_000;
    ensure!(run_ms - 30_000 < lived, "samples of {lived} ms only");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_of_a_deleted_server_is_cut_off_within_two_seconds() -> Result<()> {
    let world = World::start().await?;
    let agent = enrolled(&world).await?;
    let server = online(&world).await?;
    let path = format!("/api/infrastructure/servers/{}", server["id"]);
    let (status, said) = world.api().await?.ask("DELETE", &path, None).await?;
    let deleted = Instant::now();
    ensure!(status.is_success(), "{status} {said}");
    eventually(Duration::from_secs(10), async || {
        let said = agent.printed();
        said.contains("revoked").then_some(()).context(said)
    })
    .await?;
    ensure!(
        deleted.elapsed() < Duration::from_secs(2),
        "{:?}",
        deleted.elapsed()
    );
    Ok(())
}
