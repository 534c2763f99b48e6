//! What a controller does when its disk is full or damaged, and when it is told to end.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use muster_e2e::disk::{FailingDisk, SmallDisk};
use muster_e2e::ledger::{Acked, check_stored, read_journal};
use muster_e2e::{Process, World, eventually, is_full, run_to_end};

const SERIES: usize = 20;
const PATIENCE: Duration = Duration::from_secs(60);

fn text(path: &Path) -> &str {
    path.to_str().expect("test folders have plain names")
}

async fn readiness(world: &World) -> Result<(u16, String)> {
    let answer = reqwest::get(format!("http://{}/readyz", world.http)).await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// Waits until `by` more reports are acknowledged; returns all.
async fn grown(world: &World, by: usize) -> Result<Vec<Acked>> {
    let file = world.journal("sim");
    let before = read_journal(&file).map_or(0, |lines| lines.len());
    eventually(PATIENCE, async || {
        let lines = read_journal(&file)?;
        ensure!(
            before + by <= lines.len(),
            "{} lines, {before} before",
            lines.len()
        );
        Ok(lines)
    })
    .await
}

/// Everything that was produced is acknowledged, and everything acknowledged is there; returns how much that is.
async fn settle(world: &World, mut sim: Process) -> Result<usize> {
    let status = sim.stop(Duration::from_secs(90))?;
    ensure!(status.success(), "{}", sim.printed());
    let acked = read_journal(&world.journal("sim"))?;
    Ok(check_stored(&world.api().await?, &acked, SERIES, &[])
        .await?
        .acked)
}

/// O5 and D8
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_makes_the_controller_read_only_until_there_is_room_again() -> Result<()> {
    let mut world = World::prepare()?;
    let Some(disk) = SmallDisk::mount(&world.data(), &world.dir().join("disk"), 96 << 20)? else {
        println!("skipped: no small filesystem can be mounted here");
        return Ok(());
    };
    world.start_controller().await?;
    let api = world.api().await?;
    let series = SERIES.to_string();
    let sim = world.start_sim(5, &["--interval", "0.2s", "--series", &series])?;
    grown(&world, 50).await?;

    let filler = disk.fill()?;
    let reason = eventually(PATIENCE, async || {
        let (status, reason) = readiness(&world).await?;
        ensure!(status == 503, "{status} {reason}");
        Ok(reason)
    })
    .await?;
    ensure!(reason.contains("read-only"), "{reason}");
    // Nothing is acknowledged any more once what was under way is through, and what was is answered.
    eventually(PATIENCE, async || {
        let before = read_journal(&world.journal("sim"))?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let after = read_journal(&world.journal("sim"))?;
        ensure!(
            before.len() == after.len(),
            "reports are acknowledged on a full disk"
        );
        Ok(())
    })
    .await?;
    let answered = api.range("muster_sim_value", "{series=\"0\"}").await?;
    ensure!(answered.len() == 5, "{} series to query", answered.len());
    let metrics = api.ask("GET", "/metrics", None).await?.1;
    ensure!(metrics.contains("muster_intake_full 1"), "{metrics}");

    std::fs::remove_file(&filler)?;
    let begun = Instant::now();
    eventually(Duration::from_secs(30), async || {
        let (status, reason) = readiness(&world).await?;
        ensure!(status == 200, "{status} {reason}");
        Ok(())
    })
    .await?;
    let back = begun.elapsed();
    grown(&world, 50).await?;
    let all = settle(&world, sim).await?;
    println!("O5: read-only while the disk was full, back by itself {back:?} after; all {all} samples there");
    Ok(())
}

/// D8
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_under_load_costs_nothing_that_was_acknowledged() -> Result<()> {
    let mut world = World::prepare()?;
    let Some(mut disk) = FailingDisk::mount(&world.data(), &world.dir().join("below"), 64 << 20)? else {
        println!("skipped: no disk that fails can be made here");
        return Ok(());
    };
    world.start_controller().await?;
    let series = SERIES.to_string();
    let sim = world.start_sim(5, &["--interval", "0.2s", "--series", &series])?;
    let rounds = if is_full() { 20 } else { 2 };
    for round in 0..rounds {
        grown(&world, 50).await?;
        disk.fail()?;
        let reason = eventually(PATIENCE, async || {
            let (status, reason) = readiness(&world).await?;
            ensure!(status == 503, "round {round}: {status} {reason}");
            Ok(reason)
        })
        .await?;
        ensure!(reason.contains("read-only"), "{reason}");
        eventually(PATIENCE, async || {
            ensure!(
                round < commits_failed(&world)?,
                "round {round}: no commit of reports has failed yet"
            );
            Ok(())
        })
        .await?;
        // As when a machine is taken down to replace its disk.
        world.kill_controller()?;
        disk.mend()?;
        world.start_controller().await?;
    }
    grown(&world, 50).await?;
    let failed_commits = commits_failed(&world)?;
    let log = world
        .controller
        .as_ref()
        .context("the controller runs")?
        .printed();
    ensure!(log.contains("disk I/O error"), "the disk did not fail:\n{log}");
    let all = settle(&world, sim).await?;
    println!(
        "D8: {rounds} times EIO and then a read-only filesystem under load, {failed_commits} commits failed, all {all} \
         samples acknowledged there"
    );
    Ok(())
}

/// How often reports could not be written, by all controllers on the world's data so far.
fn commits_failed(world: &World) -> Result<usize> {
    let log = world
        .controller
        .as_ref()
        .context("the controller runs")?
        .printed();
    Ok(log.matches("nothing of it is acknowledged").count())
}

/// O5
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_state_database_is_never_served_and_a_backup_helps() -> Result<()> {
    let mut world = World::start().await?;
    let mut sim = world.start_sim(3, &["--interval", "0.2s", "--series", "20"])?;
    let acked = grown(&world, 20).await?;
    ensure!(sim.stop(PATIENCE)?.success(), "{}", sim.printed());
    let (file, data) = (world.dir().join("backup"), world.data());
    let backed_up = run_to_end(
        "muster-controller",
        &["backup", text(&file), "--data-dir", text(&data)],
    )?;
    ensure!(
        backed_up.status.success(),
        "{}",
        String::from_utf8_lossy(&backed_up.stderr)
    );
    world.stop_controller()?;
    let state = data.join("state.db");
    let whole = std::fs::read(&state)?;
    let (mut refused, mut random) = (0, fastrand::Rng::with_seed(5));
    let tries = 5;
    for _ in 0..tries {
        let mut damaged = whole.clone();
        let page = random.usize(1..whole.len() / 4096) * 4096;
        // The structure of a page: its kind and where its cells are.
        for byte in &mut damaged[page..page + 16] {
            *byte ^= random.u8(1..);
        }
        std::fs::write(&state, damaged)?;
        match world.start_controller().await {
            // The page was in no use.
            Ok(()) => world.stop_controller()?,
            Err(error) => {
                let told = format!("{error:?}");
                ensure!(
                    told.contains("damaged") && told.contains("muster-controller restore"),
                    "{told}"
                );
                refused += 1;
            }
        }
        std::fs::write(&state, &whole)?;
    }
    ensure!(0 < refused, "no damage was seen");
    std::fs::write(&state, &whole[..whole.len() / 2])?;
    let restored = run_to_end(
        "muster-controller",
        &["restore", text(&file), "--data-dir", text(&data)],
    )?;
    ensure!(
        restored.status.success(),
        "{}",
        String::from_utf8_lossy(&restored.stderr)
    );
    world.start_controller().await?;
    let checked = check_stored(&world.api().await?, &acked, SERIES, &[])
        .await?
        .acked;
    println!(
        "O5: {refused} of {tries} damaged states refused with what to do, the others unharmed; {checked} samples restored"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_told_to_end_under_load_ends_in_order_and_starts_quickly() -> Result<()> {
    let mut world = World::start().await?;
    let series = SERIES.to_string();
    let sim = world.start_sim(20, &["--interval", "0.1s", "--series", &series])?;
    let (mut slowest_end, mut slowest_start) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..3 {
        grown(&world, 200).await?;
        let begun = Instant::now();
        world.stop_controller()?;
        slowest_end = slowest_end.max(begun.elapsed());
        let begun = Instant::now();
        world.start_controller().await?;
        slowest_start = slowest_start.max(begun.elapsed());
    }
    let mut controller = world.controller.take().context("the controller runs")?;
    // On a machine that is busy with other things a part may be cut off, which loses nothing.
    let cut_off = controller.printed().matches("did not end in time").count();
    ensure!(controller.is_running()?);
    world.controller = Some(controller);
    let all = settle(&world, sim).await?;
    println!(
        "drain: ended within {slowest_end:?} under load with {cut_off} parts cut off, ready again within {slowest_start:?}, all {all} samples there"
    );
    Ok(())
}
