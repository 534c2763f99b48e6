//! The power goes, again and again, and what was acknowledged is there.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use muster_e2e::guest::{Disk, Guest, Image, Losses};
use muster_e2e::ledger::{Summary, back_to_live, check_stored, now_ms, read_journal};
use muster_e2e::{FAST_ENROLMENT, World, is_full};

const AGENTS: u32 = 5;
const SERIES: usize = 5;
/// So many of them have been heard before the power goes; the others are on their way back.
const HEARD: usize = 3;
const CUTS: u32 = 25;
const DISK_MIB: u32 = 256;
/// A guest boots in seconds; on a loaded machine in many.
const BACK_LIMIT: Duration = Duration::from_secs(600);

/// D2: a real kernel with a real file system, on a disk that loses what it was not told to flush.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_controller_acknowledged_is_there_once_after_each_of_many_power_cuts() -> Result<()> {
    if !is_full() {
        println!("D2: a guest is booted in the long form only (make test-full)");
        return Ok(());
    }
    let mut world = World::prepare()?;
    FAST_ENROLMENT.clone_into(&mut world.settings);
    world.start_controller().await?;
    let series = SERIES.to_string();
    let mut enrolling = world.start_sim(AGENTS, &["--duration", "0", "--series", &series])?;
    enrolling.wait(Duration::from_secs(120))?;
    world.stop_controller()?;
    let load = ["--interval", "0.5s", "--series", &series, "--starts", "1000"];
    let mut sim = world.start_sim(AGENTS, &load)?;

    let image = Image::make(world.dir())?;
    let file_system = world.dir().join("disk");
    Image::file_system(&world.data(), DISK_MIB, &file_system)?;
    let disk = Disk::of(&file_system, world.dir().join("nbd"))?;
    let (journal, log) = (world.journal("sim"), world.dir().join("guest.log"));
    let mut losses = Losses::default();
    for cut in 0..CUTS {
        let mut guest = Guest::start(&image, &disk, world.grpc, &log)?;
        if cut % 4 == 3 {
            // Anywhere: while it boots, while the journals of the last cut are being replayed, or later.
            tokio::time::sleep(Duration::from_millis(fastrand::u64(2_000..15_000))).await;
        } else {
            let back = tokio::select! {
                back = back_to_live(&journal, HEARD, now_ms(), BACK_LIMIT) => back,
                ended = guest.ended() => ended.and_then(|()| bail!("the guest has ended by itself")),
            };
            back.with_context(|| guest.printed())?;
            tokio::time::sleep(Duration::from_millis(fastrand::u64(..2_000))).await;
        }
        if cut % 2 == 0 {
            disk.unflushed(Duration::from_secs(10)).await;
        }
        let lost = guest.cut_power(&disk)?;
        losses.unflushed += lost.unflushed;
        losses.gone += lost.gone;
        losses.torn += lost.torn;
    }
    let acked = read_journal(&journal)?.len();

    // What is left of it is looked at outside.
    disk.save(&file_system)?;
    Image::take_out(&file_system, &world.data())?;
    world.start_controller().await?;
    let before = check_stored(
        &world.api().await?,
        &read_journal(&journal)?[..acked],
        SERIES,
        &[],
    )
    .await?;
    back_to_live(&journal, AGENTS as usize, now_ms(), Duration::from_secs(90)).await?;
    let status = sim.stop(Duration::from_secs(90))?;
    ensure!(status.success(), "{}", sim.printed());
    let summary = Summary::of(&sim.printed())?;
    ensure!(summary.produced == summary.acked, "{summary:?}");
    let found = check_stored(&world.api().await?, &read_journal(&journal)?, SERIES, &[]).await?;
    println!(
        "D2: power cut {CUTS} times with {} writes not flushed, {} of them lost and {} torn: {acked} reports acknowledged \
         by then, {} samples, none missing; {} in the end, each once",
        losses.unflushed, losses.gone, losses.torn, before.acked, found.all
    );
    ensure!(
        found.acked == found.all,
        "{found:?}: something is stored twice, or was not acknowledged"
    );
    ensure!(
        0 < losses.unflushed,
        "{losses:?}: no cut came in the middle of writing"
    );
    Ok(())
}
