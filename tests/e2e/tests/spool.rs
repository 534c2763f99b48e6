//! What an agent collects while its controller is away outlives the agent.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use muster_e2e::{Process, World, eventually};

/// A sample a second, so that minutes need not pass.
const SETTINGS: &str = "[collect.intervals]\nload = \"1s\"\n";
const METRIC: &str = "node_load1";
/// Reports that must be on the agent's disk before it dies.
const KEPT_REPORTS: u64 = 2;

struct Watched {
    world: World,
    agent: Process,
}

impl Watched {
    async fn start() -> Result<Self> {
        let world = World::start().await?;
        let enrolled = world.enroll("agent", &world.token_file(1)?)?;
        ensure!(
            enrolled.status.success(),
            "{}",
            String::from_utf8_lossy(&enrolled.stderr)
        );
        std::fs::write(world.dir().join("agent.toml"), SETTINGS)?;
        let agent = run_agent(&world)?;
        Ok(Self { world, agent })
    }

    /// Times of the stored samples, Unix milliseconds.
    async fn stored(&self) -> Result<Vec<i64>> {
        let series = self.world.api().await?.range(METRIC, "{}").await?;
        ensure!(series.len() == 1, "{} series", series.len());
        Ok(series[0].1.iter().map(|point| point.0).collect())
    }
}

fn run_agent(world: &World) -> Result<Process> {
    let settings = world.dir().join("agent.toml");
    world.start_agent("agent", &["--config", &settings.to_string_lossy()])
}

/// The highest number that the agent says is on its disk, of any epoch.
fn kept(spool: &Path) -> Result<u64> {
    let mut highest = 0;
    for folder in std::fs::read_dir(spool)? {
        let mark: PathBuf = folder?.path().join("mark");
        let Ok(bytes) = std::fs::read(mark) else { continue };
        for place in bytes.chunks(64) {
            let number = place.get(..8).and_then(|number| number.try_into().ok());
            highest = highest.max(number.map_or(0, u64::from_le_bytes));
        }
    }
    Ok(highest)
}

#[expect(
    clippy::disallowed_methods,
    reason = "what is stored is compared with when it happened"
)]
fn now_ms() -> Result<i64> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(i64::try_from(now.as_millis())?)
}

/// D3
#[tokio::test(flavor = "multi_thread")]
async fn reports_made_without_a_controller_outlive_a_killed_agent() -> Result<()> {
    let mut watched = Watched::start().await?;
    eventually(Duration::from_secs(60), async || {
        ensure!(3 <= watched.stored().await?.len(), "too few samples");
        Ok(())
    })
    .await
    .with_context(|| watched.agent.printed())?;
    watched.world.stop_controller()?;
    let away_ms = now_ms()?;
    let spool = watched.world.dir().join("agent/spool");
    let before = eventually(Duration::from_secs(90), async || {
        let kept = kept(&spool)?;
        ensure!(0 < kept, "nothing is on disk");
        Ok(kept)
    })
    .await?;
    eventually(Duration::from_secs(90), async || {
        let kept = kept(&spool)?;
        ensure!(before + KEPT_REPORTS <= kept, "{before} and then {kept}");
        Ok(())
    })
    .await?;
    watched.agent.kill()?;
    let killed_ms = now_ms()?;
    watched.agent = run_agent(&watched.world)?;
    watched.world.start_controller().await?;

    let times = eventually(Duration::from_secs(90), async || {
        let times = watched.stored().await?;
        let last = times.last().copied().unwrap_or(0);
        ensure!(killed_ms + 1_000 < last, "nothing new is stored");
        let away = times.iter().filter(|time| (away_ms..killed_ms).contains(time));
        ensure!(0 < away.count(), "nothing of the outage is stored");
        Ok(times)
    })
    .await
    .with_context(|| watched.agent.printed())?;
    let unique: BTreeSet<i64> = times.iter().copied().collect();
    ensure!(unique.len() == times.len(), "a sample is stored twice");
    // One hole may be there: what the killed process had not made a report of.
    let holes: Vec<_> = times
        .windows(2)
        .filter(|pair| 2_500 < pair[1] - pair[0])
        .collect();
    ensure!(holes.len() <= 1, "{holes:?}");
    let hole = holes.first().map(|pair| (pair[0], pair[1]));
    if let Some((from, to)) = hole {
        ensure!(
            from <= killed_ms && killed_ms <= to,
            "{hole:?}, killed at {killed_ms}"
        );
    }
    let delivered = times.iter().filter(|time| (away_ms..killed_ms).contains(time));
    println!(
        "outage of {} s: {} samples replayed, hole at the kill {hole:?}",
        (killed_ms - away_ms) / 1_000,
        delivered.count()
    );
    Ok(())
}
