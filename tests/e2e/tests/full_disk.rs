//! An agent whose disk is full goes on, keeps what alerts depend on, loses nothing that was on disk, and is itself again
//! once there is room.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use muster_e2e::disk::SmallDisk;
use muster_e2e::ledger::now_ms;
use muster_e2e::{Process, World, eventually};

const SETTINGS: &str = "[collect.intervals]\nload = \"1s\"\nfilesystem = \"5s\"\n";
const METRIC: &str = "node_load1";
/// The reserve of the spool is 16 MiB, and a segment 8.
const DISK_BYTES: u64 = 64 << 20;
/// Without a controller so many ticks of a second become a report; and a little more.
const REPORT: Duration = Duration::from_secs(18);
/// The goal is 30 s; a machine with other work gets longer.
const BACK_TO_NORMAL_MAX: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(120);
const MOUNTS: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
";
const HOME: &str = "28 27 8:2 / /home rw,relatime - ext4 /dev/sda2 rw\n";
/// How a record of the spool begins, and at which multiples.
const RECORD: u32 = 0x4d52_4543;
const ALIGN: usize = 64;

/// What the server that is watched says of its own filesystems; one of them comes and goes.
fn write_root(root: &Path, has_home: bool) -> Result<()> {
    let statfs = "{\"bsize\":4096,\"blocks\":1000,\"bfree\":900,\"bavail\":900,\"files\":100,\"ffree\":90,\"readonly\":false}";
    let statfs = format!("{{\"/\":{statfs},\"/home\":{statfs}}}");
    let mounts = format!("{MOUNTS}{}", if has_home { HOME } else { "" });
    for (file, text) in [
        ("proc/sys/kernel/hostname", "full-disk\n"),
        ("proc/loadavg", "0.10 0.20 0.30 1/100 4242\n"),
        ("proc/self/mountinfo", &mounts),
        ("muster/statfs.json", &statfs),
    ] {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().context("below the root")?)?;
        // The agent reads it at any time: it gets its name when it is whole.
        let unfinished = path.with_extension("unfinished");
        std::fs::write(&unfinished, text)?;
        std::fs::rename(unfinished, path)?;
    }
    Ok(())
}

/// Files in every folder of the spool but that of acknowledged reports.
fn spool_files(data: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(data.join("spool"))? {
        let entry = entry?;
        if entry.file_name() == "acked" {
            continue;
        }
        files.push(entry.path());
        if entry.file_type()?.is_dir() {
            for file in std::fs::read_dir(entry.path())? {
                files.push(file?.path());
            }
        }
    }
    Ok(files)
}

/// Segments with how many records they hold; those of urgent reports have numbers from 2^31 on.
fn records(data: &Path, is_urgent: bool) -> Result<Vec<usize>> {
    let mut counts = Vec::new();
    for file in spool_files(data)? {
        let number: Option<u32> = file
            .file_name()
            .and_then(|name| name.to_str()?.strip_suffix(".seg")?.parse().ok());
        let Some(number) = number.filter(|number| (1 << 31 <= *number) == is_urgent) else {
            continue;
        };
        ensure!(0 < number, "{}", file.display());
        // It may be gone by now.
        let bytes = std::fs::read(&file).unwrap_or_default();
        let heads = bytes
            .chunks_exact(ALIGN)
            .filter(|at| at[..4] == RECORD.to_le_bytes());
        counts.push(heads.count());
    }
    Ok(counts)
}

/// An agent with its data on a filesystem of its own.
struct Watched {
    world: World,
    disk: SmallDisk,
    data: PathBuf,
    root: PathBuf,
    agent: Process,
}

impl Watched {
    /// `None` where no filesystem can be mounted.
    async fn start() -> Result<Option<Self>> {
        let world = World::start().await?;
        let (data, root) = (world.dir().join("agent"), world.dir().join("root"));
        let Some(disk) = SmallDisk::mount(&data, &world.dir().join("disk"), DISK_BYTES)? else {
            return Ok(None);
        };
        std::fs::write(world.dir().join("agent.toml"), SETTINGS)?;
        write_root(&root, true)?;
        let enrolled = world.enroll("agent", &world.token_file(1)?)?;
        let told = String::from_utf8_lossy(&enrolled.stderr).into_owned();
        ensure!(enrolled.status.success(), "{told}");
        let agent = run_agent(&world, &root)?;
        Ok(Some(Self {
            world,
            disk,
            data,
            root,
            agent,
        }))
    }

    async fn until<T>(&self, check: impl AsyncFnMut() -> Result<T>) -> Result<T> {
        eventually(PATIENCE, check)
            .await
            .with_context(|| self.agent.printed())
    }

    /// Times of the stored samples, Unix milliseconds.
    async fn stored(&self) -> Result<Vec<i64>> {
        let series = self.world.api().await?.range(METRIC, "{}").await?;
        Ok(series
            .iter()
            .flat_map(|(_, points)| points)
            .map(|point| point.0)
            .collect())
    }

    async fn has_more(&self, count: usize) -> Result<()> {
        let before = self.stored().await.map_or(0, |times| times.len());
        self.until(async || {
            let found = self.stored().await?.len();
            ensure!(
                before + count <= found,
                "{found} samples are stored, {before} before"
            );
            Ok(())
        })
        .await
    }

    /// Without a controller what alerts depend on is kept, in room that was taken for it before.
    async fn keeps_what_is_urgent(&mut self) -> Result<()> {
        let before: usize = records(&self.data, true)?.iter().sum();
        write_root(&self.root, false)?;
        self.until(async || {
            let now: usize = records(&self.data, true)?.iter().sum();
            ensure!(before < now, "{now} urgent reports are kept, {before} before");
            Ok(())
        })
        .await?;
        ensure!(self.agent.is_running()?, "{}", self.agent.printed());
        Ok(())
    }

    /// Killed and started again on a disk that is still full; what it had kept is there.
    async fn comes_up_again(&mut self) -> Result<()> {
        self.agent.kill()?;
        self.agent = run_agent(&self.world, &self.root)?;
        self.until(async || {
            let said = self.agent.printed();
            ensure!(said.contains("reports of earlier starts are on disk"), "{said}");
            Ok(())
        })
        .await?;
        let kept: usize = records(&self.data, false)?.iter().sum();
        // Long enough for a report that there is no room for.
        tokio::time::sleep(REPORT).await;
        ensure!(self.agent.is_running()?, "{}", self.agent.printed());
        let still: usize = records(&self.data, false)?.iter().sum();
        ensure!(0 < kept && kept <= still, "{kept} records were kept, {still} are");
        ensure!(
            records(&self.data, false)?.len() == 1,
            "there is room for a new segment"
        );
        Ok(())
    }

    /// With room, what waited in memory is on disk soon. Returns how soon.
    async fn is_normal_again(&self, filler: &Path) -> Result<Duration> {
        std::fs::remove_file(filler)?;
        let freed = Instant::now();
        eventually(BACK_TO_NORMAL_MAX, async || {
            let counts = records(&self.data, false)?;
            ensure!(
                2 <= counts.iter().filter(|count| 0 < **count).count(),
                "{counts:?}"
            );
            Ok(())
        })
        .await
        .with_context(|| self.agent.printed())?;
        Ok(freed.elapsed())
    }
}

fn run_agent(world: &World, root: &Path) -> Result<Process> {
    let settings = world.dir().join("agent.toml");
    let (settings, root) = (settings.to_string_lossy(), root.to_string_lossy());
    world.start_agent("agent", &["--config", &settings, "--root", &root])
}

/// D7
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_on_a_full_disk_goes_on_keeps_what_alerts_depend_on_and_loses_nothing_kept() -> Result<()> {
    let Some(mut watched) = Watched::start().await? else {
        println!("skipped: no small filesystem can be mounted here");
        return Ok(());
    };
    watched.has_more(3).await?;
    watched
        .until(async || {
            let files = spool_files(&watched.data)?;
            let spares = files
                .iter()
                .filter(|file| file.to_string_lossy().contains("/spare-"));
            ensure!(3 <= spares.count(), "{files:?}");
            Ok(())
        })
        .await?;
    watched.world.stop_controller()?;
    watched
        .until(async || {
            let kept: usize = records(&watched.data, false)?.iter().sum();
            ensure!(0 < kept, "nothing is on disk");
            Ok(())
        })
        .await?;
    let filler = watched.disk.fill()?;
    watched.keeps_what_is_urgent().await?;
    // Connected, a full disk is nobody's business.
    watched.world.start_controller().await?;
    watched.has_more(5).await?;

    watched.world.stop_controller()?;
    let away_ms = now_ms();
    let before: usize = records(&watched.data, false)?.iter().sum();
    watched
        .until(async || {
            let now: usize = records(&watched.data, false)?.iter().sum();
            // One or two may have been on their way when the controller went.
            ensure!(before + 2 < now, "what was allocated before takes no more");
            Ok(())
        })
        .await?;
    let killed_ms = now_ms();
    watched.comes_up_again().await?;
    let took = watched.is_normal_again(&filler).await?;

    watched.world.start_controller().await?;
    let back_ms = now_ms();
    let times = watched
        .until(async || {
            let times = watched.stored().await?;
            ensure!(times.iter().any(|time| back_ms < *time), "nothing new is stored");
            let of_outage = times.iter().filter(|time| (away_ms..killed_ms).contains(*time));
            ensure!(0 < of_outage.count(), "nothing of the outage is stored");
            let full = times
                .iter()
                .filter(|time| (killed_ms + 5_000..back_ms).contains(*time));
            ensure!(0 < full.count(), "nothing of the time without room is stored");
            let holes = holes(&times);
            ensure!(holes.len() <= 1, "{holes:?}");
            Ok(times)
        })
        .await?;
    only_the_kill_took_some(&times, killed_ms)?;
    println!(
        "D7: a full disk of {} MiB; {} samples, missing only what the kill took: {:?}; normal {took:?} after space returned",
        DISK_BYTES >> 20,
        times.len(),
        holes(&times)
    );
    Ok(())
}

/// Each sample is stored once, and none is missing but around the kill.
fn only_the_kill_took_some(times: &[i64], killed_ms: i64) -> Result<()> {
    let unique: BTreeSet<i64> = times.iter().copied().collect();
    ensure!(unique.len() == times.len(), "a sample is stored twice");
    for (from, to) in holes(times) {
        ensure!(
            from <= killed_ms && killed_ms <= to,
            "{from} to {to} is missing, killed at {killed_ms}"
        );
    }
    Ok(())
}

/// Where samples of a second's cadence are missing. A loaded machine may skip a tick or some.
fn holes(times: &[i64]) -> Vec<(i64, i64)> {
    let mut times = times.to_vec();
    times.sort_unstable();
    let pairs = times.windows(2).map(|pair| (pair[0], pair[1]));
    pairs.filter(|(from, to)| 8_000 < to - from).collect()
}
