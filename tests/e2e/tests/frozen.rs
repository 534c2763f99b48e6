//! One side stands still while its connections stay open: nobody's memory grows, and the other side notices.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use muster_e2e::ledger::{Summary, back_to_live, check_stored, now_ms, percentile, read_journal};
use muster_e2e::memory::resident_bytes;
use muster_e2e::{FAST_ENROLMENT, Fleet, World, eventually, is_full};

const SERIES: usize = 50;
/// What an agent may take more while its controller stands still.
const GROWTH_MAX: u64 = 16 * 1024 * 1024;
/// A peer that stands still is to be noticed within this time, plus the interval of looking.
const NOTICED_MAX: Duration = Duration::from_secs(32);

/// D9: the controller stands still.
#[tokio::test(flavor = "multi_thread")]
async fn agents_wait_for_a_controller_that_stands_still_without_growing() -> Result<()> {
    let seconds = if is_full() { 600 } else { 12 };
    let mut world = World::prepare()?;
    FAST_ENROLMENT.clone_into(&mut world.settings);
    world.start_controller().await?;
    let enrolled = world.enroll("agent", &world.token_file(1)?)?;
    ensure!(
        enrolled.status.success(),
        "{}",
        String::from_utf8_lossy(&enrolled.stderr)
    );
    let agent = world.start_agent("agent", &[])?;
    let series = SERIES.to_string();
    let mut sim = world.start_sim(
        10,
        &["--interval", "0.5s", "--series", &series, "--starts", "1000"],
    )?;
    let journal = world.journal("sim");
    eventually(Duration::from_secs(60), async || {
        ensure!(read_journal(&journal)?.len() > 100, "the load has hardly begun");
        Ok(())
    })
    .await?;

    let before = [resident_bytes(agent.id())?, resident_bytes(sim.id())?];
    let controller = world.controller.as_ref().context("it runs")?;
    controller.freeze()?;
    let mut most = before;
    for _ in 0..seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        most[0] = most[0].max(resident_bytes(agent.id())?);
        most[1] = most[1].max(resident_bytes(sim.id())?);
    }
    controller.go_on()?;
    let times = back_to_live(&journal, 10, now_ms(), Duration::from_secs(120)).await?;
    let grown = [most[0] - before[0], most[1] - before[1]];
    println!(
        "D9: controller frozen for {seconds} s: the agent grew by {} KiB, 10 simulated ones by {} KiB together; back \
         within p99 {:?}",
        grown[0] / 1024,
        grown[1] / 1024,
        percentile(&times, 99)
    );
    ensure!(
        grown[0] <= GROWTH_MAX && grown[1] <= 10 * GROWTH_MAX,
        "{grown:?} bytes"
    );

    let status = sim.stop(Duration::from_secs(60))?;
    ensure!(status.success(), "{}", sim.printed());
    let summary = Summary::of(&sim.printed())?;
    let found = check_stored(&world.api().await?, &read_journal(&journal)?, SERIES, &[]).await?;
    ensure!(summary.produced == found.all as u64, "{summary:?} and {found:?}");
    Ok(())
}

/// D9: an agent stands still in the middle of what it says.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_stands_still_is_noticed_and_disturbs_nobody() -> Result<()> {
    let mut world = World::prepare()?;
    FAST_ENROLMENT.clone_into(&mut world.settings);
    world.start_controller().await?;
    let fast = ["--interval", "20ms", "--series", "500", "--starts", "1000"];
    let frozen = world.start_fleet(&Fleet::new("frozen", 1), &fast)?;
    let frozen_journal = world.journal("frozen");
    eventually(Duration::from_secs(60), async || {
        ensure!(
            read_journal(&frozen_journal)?.len() > 50,
            "the load has hardly begun"
        );
        Ok(())
    })
    .await?;
    // Its server has the name of the other fleet's first one; ids tell them apart.
    let api = world.api().await?;
    let server = api.items("/api/infrastructure/servers").await?.remove(0);
    let id = server["id"].as_i64().context("id")?;
    let series = SERIES.to_string();
    let mut others = world.start_sim(
        10,
        &["--interval", "0.5s", "--series", &series, "--starts", "1000"],
    )?;
    let controller = world.controller.as_ref().context("it runs")?.id();
    let before = resident_bytes(controller)?;

    frozen.freeze()?;
    let began = Instant::now();
    let noticed = eventually(Duration::from_secs(90), async || {
        let server = api.get(&format!("/api/infrastructure/servers/{id}")).await?;
        ensure!(server["status"] != "online", "{server}");
        Ok(began.elapsed())
    })
    .await?;
    // Until the stream is closed as well.
    eventually(Duration::from_secs(60), async || {
        let open = api.figure("muster_sessions_open").await?;
        ensure!(open < 10.5, "{open} sessions are open");
        Ok(())
    })
    .await?;
    let closed = began.elapsed();
    let grown = resident_bytes(controller)?.saturating_sub(before);
    println!(
        "D9: frozen agent not online after {noticed:?}, its stream closed after {closed:?}; the controller grew by {} KiB",
        grown / 1024
    );
    // The ordinary run shares its machine with other tests.
    let noticed_max = NOTICED_MAX * if is_full() { 1 } else { 2 };
    ensure!(noticed <= noticed_max, "noticed after {noticed:?}");
    frozen.go_on()?;
    back_to_live(&frozen_journal, 1, now_ms(), Duration::from_secs(60)).await?;

    let status = others.stop(Duration::from_secs(60))?;
    ensure!(status.success(), "{}", others.printed());
    let summary = Summary::of(&others.printed())?;
    println!("the others: {summary:?}");
    ensure!(
        summary.produced == summary.acked && summary.reconnects == 0,
        "{summary:?}"
    );
    Ok(())
}
