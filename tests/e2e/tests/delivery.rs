//! What was acknowledged is stored, once, whatever happens to the controller and to agents.

use std::time::Duration;

use anyhow::{Result, ensure};
use muster_e2e::ledger::{Summary, back_to_live, check_stored, read_journal};
use muster_e2e::{FAST_ENROLMENT, World, eventually, is_full};

const AGENTS: u32 = 50;
const SERIES: usize = 10;

/// D1
#[tokio::test(flavor = "multi_thread")]
async fn a_controller_killed_again_and_again_keeps_all_it_acknowledged() -> Result<()> {
    let kills = if is_full() { 200 } else { 20 };
    let mut world = World::prepare()?;
    FAST_ENROLMENT.clone_into(&mut world.settings);
    world.start_controller().await?;
    let series = SERIES.to_string();
    let load = ["--interval", "0.5s", "--series", &series, "--starts", "1000"];
    let mut sim = world.start_sim(AGENTS, &load)?;
    // Kills while agents are enrolled are another test's matter (identity): here they would make servers that share
    // their names.
    let journal = world.journal("sim");
    eventually(Duration::from_secs(60), async || read_journal(&journal).map(drop)).await?;
    back_to_live(&journal, AGENTS as usize, 0, Duration::from_secs(90)).await?;
    let mut agents_killed = 0;
    for kill in 0..kills {
        // The moment of the kill is what is being varied; nothing is awaited here.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(200..2_000))).await;
        // Each at least once, whatever chance says.
        if kill == 1 || (1 < kill && fastrand::bool()) {
            sim.kill()?;
            agents_killed += 1;
            sim = world.start_sim(AGENTS, &load)?;
        } else {
            world.kill_controller()?;
            world.start_controller().await?;
        }
    }
    // Agents that were killed last must be running before they can be asked to end.
    let heard_ms = read_journal(&journal)?.iter().map(|line| line.first_ms).max();
    let since_ms = heard_ms.unwrap_or_default() + 1;
    back_to_live(&journal, AGENTS as usize, since_ms, Duration::from_secs(90)).await?;
    let status = sim.stop(Duration::from_secs(60))?;
    ensure!(status.success(), "{}", sim.printed());
    let summary = Summary::of(&sim.printed())?;
    ensure!(summary.produced == summary.acked, "{summary:?}");

    let journal = read_journal(&journal)?;
    let found = check_stored(&world.api().await?, &journal, SERIES, &[]).await?;
    ensure!(
        AGENTS as usize * SERIES * kills / 2 < found.acked,
        "only {} samples: the load was too small to mean anything",
        found.acked
    );
    println!(
        "D1: {kills} kills, {agents_killed} of them of agents: {} reports acknowledged, 0 lost, 0 twice ({} samples, {} \
         more stored than agents had heard of)",
        journal.len(),
        found.acked,
        found.all - found.acked
    );

    // The same after an orderly restart, when heads come from the intake again.
    world.stop_controller()?;
    world.start_controller().await?;
    let again = check_stored(&world.api().await?, &journal, SERIES, &[]).await?;
    ensure!(again == found, "{again:?} after a restart, {found:?} before");
    Ok(())
}
