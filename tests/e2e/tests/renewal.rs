//! Certificates that renew themselves while everything goes on, and what ends an identity.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use muster_e2e::ledger::{Summary, check_stored, read_journal};
use muster_e2e::{FAST_ENROLMENT, Process, World, eventually, is_full};
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

/// S6: a whole fleet of them, so that there are a thousand renewals in minutes.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_renewals_of_a_fleet_leave_no_gap() -> Result<()> {
    const AGENTS: u32 = 100;
    const SERIES: usize = 5;
    const RENEWALS: u64 = 1_000;
    if !is_full() {
        println!("S6: a thousand renewals take six minutes: in the long form only (make test-full)");
        return Ok(());
    }
    let mut world = World::prepare()?;
    world.settings = format!("{FAST_ENROLMENT}agent_certificate_ttl = \"1min\"\n");
    world.start_controller().await?;
    let series = SERIES.to_string();
    let load = ["--interval", "1s", "--series", &series, "--starts", "1000"];
    let mut sim = world.start_sim(AGENTS, &load)?;
    let renewals = || -> Result<u64> {
        let generations = (0..AGENTS).map(|agent| {
            let file = world.dir().join(format!("sim/{agent}/identity/identity.json"));
            let identity: Value = serde_json::from_slice(&std::fs::read(file)?)?;
            identity["generation"].as_u64().context("generation")
        });
        let generations: Vec<u64> = generations.collect::<Result<_>>()?;
        Ok(generations.iter().map(|generation| generation - 1).sum())
    };
    let journal = world.journal("sim");
    let limit = Duration::from_secs(1_200);
    let began = Instant::now();
    let done = eventually(limit, async || {
        let done = renewals()?;
        ensure!(RENEWALS <= done, "{done} renewals");
        Ok(done)
    })
    .await?;
    let status = sim.stop(Duration::from_secs(90))?;
    ensure!(status.success(), "{}", sim.printed());
    let summary = Summary::of(&sim.printed())?;
    let found = check_stored(&world.api().await?, &read_journal(&journal)?, SERIES, &[]).await?;
    println!(
        "S6: {done} renewals of {AGENTS} agents in {:?}: {} samples made, as many stored; acknowledged within p99 {} ms",
        began.elapsed(),
        summary.produced,
        summary.ack_p99_ms
    );
    ensure!(
        summary.produced == summary.acked && found.all as u64 == summary.produced,
        "{summary:?} and {found:?}"
    );
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
        deleted.elapsed() < Duration::from_secs(if is_full() { 2 } else { 10 }),
        "{:?}",
        deleted.elapsed()
    );
    Ok(())
}
