//! Who notices when the controller itself is gone: a watcher outside, and the agents.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use muster_e2e::ledger::now_ms;
use muster_e2e::sink::Sink;
use muster_e2e::{World, eventually};

use super::ALLOW_LOOPBACK;

const PATIENCE: Duration = Duration::from_secs(90);
/// How often a sign of life is given in this test, ms; the default is every 30 s.
const EVERY_MS: i64 = 5_000;
/// A watcher outside knows by then, ms.
const NOTICED_MS: i64 = 120_000;

/// D16: without a sign of life for a minute a watcher raises the alarm. The signs come while the controller works, stop
/// when it stands still or is dead, and come again.
#[tokio::test(flavor = "multi_thread")]
async fn signs_of_life_stop_with_the_controller_and_come_again_with_it() -> Result<()> {
    let sink = Sink::start().await?;
    let mut world = World::prepare()?;
    let file = world.dir().join("heartbeat-url");
    std::fs::write(&file, sink.url("/ping/canary"))?;
    world.settings = format!(
        "{ALLOW_LOOPBACK}heartbeat_url_file = \"{}\"\nheartbeat_every = \"{}s\"\n",
        file.display(),
        EVERY_MS / 1_000
    );
    world.start_controller().await?;
    let beats = async |more: usize| {
        let from = sink.asked().len();
        eventually(PATIENCE, async || {
            let beats = sink.asked();
            ensure!(from + more <= beats.len(), "{} beats", beats.len());
            ensure!(
                beats.iter().all(|beat| beat.line == "GET /ping/canary"),
                "{beats:?}"
            );
            Ok(())
        })
        .await
    };
    beats(2).await?;

    let running = world.controller.as_ref().context("the controller runs")?;
    running.freeze()?;
    let (frozen_ms, known) = (now_ms(), sink.asked().len());
    tokio::time::sleep(Duration::from_secs(8)).await;
    // One may have been on its way.
    ensure!(
        sink.asked().len() <= known + 1,
        "a frozen controller gives signs of life"
    );
    running.go_on()?;
    beats(1).await?;

    world.kill_controller()?;
    let (killed_ms, known) = (now_ms(), sink.asked().len());
    tokio::time::sleep(Duration::from_secs(8)).await;
    let after = sink.asked();
    ensure!(after.len() <= known + 1, "a dead controller gives signs of life");
    let last_ms = after.last().map_or(0, |beat| beat.at_ms);
    // A watcher that waits for a minute, as such services can be told to at the default pace, knows after:
    let noticed_ms = last_ms - killed_ms + 60_000;
    println!(
        "signs stop at once when frozen at {frozen_ms} or killed: a watcher of a minute knows {noticed_ms} ms after"
    );
    ensure!(noticed_ms < NOTICED_MS, "{noticed_ms} ms");
    world.start_controller().await?;
    beats(1).await
}

/// D16: an agent whose controller is gone runs what its administrator has named, once, and once more when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_tells_its_administrator_once_that_the_controller_is_gone() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root has files that are root's");
        return Ok(());
    }
    let mut world = World::start().await?;
    let enrolled = world.enroll("agent", &world.token_file(1)?)?;
    ensure!(enrolled.status.success(), "{enrolled:?}");
    let (program, heard) = (world.dir().join("ring"), world.dir().join("heard"));
    std::fs::write(
        &program,
        format!("#!/bin/sh\necho \"$*\" >> {}\n", heard.display()),
    )?;
    let settings = world.dir().join("agent.toml");
    let text = format!(
        "[alarm]\ncommand = [\"{}\", \"--to\", \"ops\"]\nafter = \"2s\"\n",
        program.display()
    );
    std::fs::write(&settings, text)?;
    std::fs::set_permissions(&settings, std::fs::Permissions::from_mode(0o644))?;
    let more = ["--config", &settings.to_string_lossy()];

    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o777))?;
    let mut refused = world.start_agent("agent", &more)?;
    let status = refused.wait(PATIENCE)?;
    ensure!(!status.success(), "{}", refused.printed());
    ensure!(
        refused
            .printed()
            .contains("may be written to by others than root"),
        "{}",
        refused.printed()
    );

    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let mut agent = world.start_agent("agent", &more)?;
    let api = world.api().await?;
    eventually(PATIENCE, async || {
        ensure!(1.0 <= api.figure("muster_sessions_open").await?, "not connected");
        Ok(())
    })
    .await?;
    let told = || std::fs::read_to_string(&heard).unwrap_or_default();
    ensure!(told().is_empty(), "{}", told());
    world.kill_controller()?;
    let lost_ms = now_ms();
    eventually(PATIENCE, async || {
        ensure!(
            told() == "--to ops controller_lost\n",
            "{:?}\n{}",
            told(),
            agent.printed()
        );
        Ok(())
    })
    .await?;
    println!("told after {} ms, set to 2000", now_ms() - lost_ms);
    world.start_controller().await?;
    let api = world.api().await?;
    eventually(PATIENCE, async || {
        ensure!(1.0 <= api.figure("muster_sessions_open").await?, "not connected");
        Ok(())
    })
    .await?;
    // That it is back is told ten minutes after the first at the earliest; the unit tests have the clock for that.
    ensure!(told() == "--to ops controller_lost\n", "{:?}", told());
    ensure!(
        agent.stop(Duration::from_secs(60))?.success(),
        "{}",
        agent.printed()
    );
    Ok(())
}
