//! Backups of a controller at work, and what a restored one knows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use muster_e2e::ledger::{Acked, check_stored, read_journal};
use muster_e2e::{Api, World, eventually, is_full, run_to_end};
use serde_json::Value;

const SERIES: usize = 50;
const AGENTS: usize = 20;

/// Runs a command of the controller that must succeed; returns the JSON it printed.
fn controller(args: &[&str]) -> Result<Value> {
    let output = run_to_end("muster-controller", args)?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{args:?}: {told}");
    serde_json::from_slice(&output.stdout).context(told)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("test folders have plain names")
}

fn back_up(world: &World, name: &str) -> Result<(PathBuf, Value)> {
    let file = world.dir().join(name);
    let made = controller(&["backup", text(&file), "--data-dir", text(&world.data())])?;
    Ok((file, made))
}

/// A controller of its own on what was backed up.
async fn restored(from: &World, file: &Path) -> Result<(World, Value)> {
    let mut world = World::prepare()?;
    std::fs::create_dir(world.data())?;
    for name in ["secret.key", "admin-password"] {
        std::fs::copy(from.data().join(name), world.data().join(name))?;
    }
    let told = controller(&["restore", text(file), "--data-dir", text(&world.data())])?;
    world.start_controller().await?;
    Ok((world, told))
}

async fn reports_stored(api: &Api) -> Result<usize> {
    let series = api.range("muster_sim_value", "{series=\"0\"}").await?;
    Ok(series.iter().map(|(_, points)| points.len()).sum())
}

/// O2
#[tokio::test(flavor = "multi_thread")]
async fn backups_made_under_load_hold_everything_acknowledged_before_they_began() -> Result<()> {
    let backups = if is_full() { 20 } else { 3 };
    let world = World::start().await?;
    let series = SERIES.to_string();
    let load = ["--interval", "0.1s", "--series", &series];
    let mut sim = world.start_sim(u32::try_from(AGENTS)?, &load)?;
    let journal_file = world.journal("sim");
    let mut made = Vec::new();
    for number in 0..backups {
        let seen = made
            .last()
            .map_or(0, |(_, acked): &(PathBuf, Vec<Acked>)| acked.len());
        let acked = eventually(Duration::from_secs(60), async || {
            let acked = read_journal(&journal_file)?;
            ensure!(
                seen + AGENTS * 10 <= acked.len(),
                "{} reports acknowledged",
                acked.len()
            );
            Ok(acked)
        })
        .await?;
        let (file, told) = back_up(&world, &format!("backup-{number}"))?;
        ensure!(told["damaged"] == 0, "{told}");
        made.push((file, acked));
    }
    let status = sim.stop(Duration::from_secs(60))?;
    ensure!(status.success(), "{}", sim.printed());

    let mut checked = 0;
    for (file, acked) in &made {
        let (copy, _) = restored(&world, file).await?;
        checked += check_stored(&copy.api().await?, acked, SERIES, &[]).await?.acked;
    }
    let all: usize = made.iter().map(|(_, acked)| acked.len() * SERIES).sum();
    ensure!(checked == all, "{checked} of {all}");
    println!(
        "O2: {backups}/{backups} backups under load restored, {checked} samples acknowledged before them all there"
    );
    Ok(())
}

/// O2
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_replaces_nothing_and_a_restore_takes_no_running_controller() -> Result<()> {
    let mut world = World::start().await?;
    let (file, _) = back_up(&world, "backup")?;
    let data = world.data();
    let whole = std::fs::read(&file)?;
    for args in [
        ["backup", text(&file), "--data-dir", text(&data)],
        ["restore", text(&file), "--data-dir", text(&data)],
    ] {
        let output = run_to_end("muster-controller", &args)?;
        ensure!(
            output.status.code() == Some(1) && output.stdout.is_empty(),
            "{args:?}"
        );
    }
    ensure!(std::fs::read(&file)? == whole, "an existing backup was changed");
    // Without a controller, the command makes it itself.
    world.stop_controller()?;
    let (alone, _) = back_up(&world, "alone")?;
    let of = |file: &Path| controller(&["verify", text(file)]);
    ensure!(of(&file)?["store_epoch"] == of(&alone)?["store_epoch"]);
    // Nor is anything restored where the sealing key is not.
    let elsewhere = world.dir().join("elsewhere");
    let refused = run_to_end(
        "muster-controller",
        &["restore", text(&file), "--data-dir", text(&elsewhere)],
    )?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(
        refused.status.code() == Some(1) && told.contains("--secret-key-file"),
        "{told}"
    );
    Ok(())
}

/// O1
#[tokio::test(flavor = "multi_thread")]
async fn a_controller_restored_to_an_older_state_is_a_new_epoch_and_agents_go_on() -> Result<()> {
    let mut world = World::start().await?;
    let mut sim = world.start_sim(3, &["--interval", "0.2s", "--series", "5"])?;
    let journal_file = world.journal("sim");
    let grown = async |by: usize| {
        let before = read_journal(&journal_file).map_or(0, |lines| lines.len());
        eventually(Duration::from_secs(60), async || {
            let lines = read_journal(&journal_file)?;
            ensure!(
                before + by <= lines.len(),
                "{} lines, {before} before",
                lines.len()
            );
            Ok(lines)
        })
        .await
    };
    let before_backup = grown(30).await?;
    let (file, made) = back_up(&world, "backup")?;
    grown(30).await?;
    let old_token = world.token_file(1)?;
    let old_session = world.api().await?;
    world.stop_controller()?;
    let told = controller(&["restore", text(&file), "--data-dir", text(&world.data())])?;
    ensure!(told["store_epoch"] != made["store_epoch"], "{told}");
    world.start_controller().await?;

    // What was handed out is void.
    let (status, _) = old_session
        .ask("GET", "/api/infrastructure/servers", None)
        .await?;
    ensure!(status == 401, "{status}");
    ensure!(!world.enroll("late", &old_token)?.status.success());
    // What was acknowledged before the backup is there, and agents deliver again.
    let api = world.api().await?;
    check_stored(&api, &before_backup, 5, &[]).await?;
    let stored = reports_stored(&api).await?;
    grown(30).await?;
    ensure!(
        stored + 15 < reports_stored(&api).await?,
        "no news after the restore"
    );
    let status = sim.stop(Duration::from_secs(60))?;
    ensure!(status.success(), "{}", sim.printed());
    Ok(())
}

/// Times of the samples of a gauge that an agent sends each second, Unix milliseconds.
async fn load_times(world: &World) -> Result<Vec<i64>> {
    let series = world.api().await?.range("node_load1", "{}").await?;
    ensure!(series.len() == 1, "{} series", series.len());
    Ok(series[0].1.iter().map(|point| point.0).collect())
}

/// Waits until `more` samples after those of `before` are stored.
async fn more_loads(world: &World, before: &[i64], more: usize) -> Result<Vec<i64>> {
    let last = before.last().copied().unwrap_or(0);
    eventually(Duration::from_secs(90), async || {
        let times = load_times(world).await?;
        let new = times.iter().filter(|time| last < **time).count();
        ensure!(more <= new, "{new} of {more} new samples");
        Ok(times)
    })
    .await
}

/// O1
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_after_the_backup_is_there_again_after_the_restore_once() -> Result<()> {
    let mut world = World::start().await?;
    let enrolled = world.enroll("agent", &world.token_file(1)?)?;
    let told = String::from_utf8_lossy(&enrolled.stderr).into_owned();
    ensure!(enrolled.status.success(), "{told}");
    let settings = world.dir().join("agent.toml");
    std::fs::write(&settings, "[collect.intervals]\nload = \"1s\"\n")?;
    let start = |world: &World| world.start_agent("agent", &["--config", text(&settings)]);
    let mut agent = start(&world)?;
    let before = more_loads(&world, &[], 3)
        .await
        .with_context(|| agent.printed())?;
    let (file, _) = back_up(&world, "backup")?;
    // Of two starts of the agent: the first is an earlier one when the controller comes back.
    let first = more_loads(&world, &before, 6).await?;
    ensure!(
        agent.stop(Duration::from_secs(60))?.success(),
        "{}",
        agent.printed()
    );
    agent = start(&world)?;
    let acked = more_loads(&world, &first, 6).await?;
    world.stop_controller()?;
    controller(&["restore", text(&file), "--data-dir", text(&world.data())])?;
    world.start_controller().await?;

    let refilled = eventually(Duration::from_secs(90), async || {
        let times = load_times(&world).await?;
        let missing = acked.iter().filter(|time| !times.contains(time)).count();
        ensure!(missing == 0, "{missing} of {} samples are missing", acked.len());
        Ok(times)
    })
    .await
    .with_context(|| agent.printed())?;
    let unique: std::collections::BTreeSet<i64> = refilled.iter().copied().collect();
    ensure!(unique.len() == refilled.len(), "a sample is stored twice");
    more_loads(&world, &refilled, 3).await?;
    println!(
        "O1: {} samples acknowledged, {} of them after the backup, all there once after the restore",
        acked.len(),
        acked.len() - before.len()
    );
    Ok(())
}
