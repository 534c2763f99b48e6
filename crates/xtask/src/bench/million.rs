//! A controller with a million active series: its memory, and how soon it is back after a restart.

use std::time::{Duration, Instant};

use anyhow::bail;
use camino::Utf8Path;

use super::controller::{Controller, metric};
use super::loads::{Fleet, Load};
use super::{empty_folder, http};

const LOAD: Load = Load {
    name: "a million series",
    agents: 2_000,
    series: 500,
    interval: "15s",
    duration: "30s",
    // A window of the store: nothing of it is sealed while this runs, and more is never in memory.
    backlog: "30m",
};
/// What was measured.
pub(super) struct Million {
    pub(super) series: f64,
    /// Highest resident memory, a whole window of samples in it.
    pub(super) memory_peak_bytes: u64,
    /// Samples in memory at the end, for each series.
    pub(super) samples_per_series: f64,
    /// What the samples in memory took.
    pub(super) head_bytes: f64,
    /// From start until the ports are served, which begins when what was kept has been checked and opened.
    pub(super) accepts: Duration,
    /// From start until queries are complete.
    pub(super) answers: Duration,
    /// Acknowledged while it ran.
    pub(super) samples: u64,
}

pub(super) fn measure(root: &Utf8Path) -> anyhow::Result<Million> {
    let folder = empty_folder(root)?;
    let mut fleet = Fleet::enrolled(root, &folder, &LOAD)?;
    let samples = fleet.run(&LOAD, LOAD.duration)?.acked;
    fleet.caught_up()?;
    let memory_peak_bytes = fleet.controller.memory_bytes("VmHWM:")?;
    let metrics = fleet.controller.metrics()?;
    let metric = |name: &str| metric(&metrics, name);
    let (series, head_samples) = (
        metric("muster_samples_series ")?,
        metric("muster_samples_head_samples ")?,
    );
    let head_bytes = metric("muster_samples_head_bytes ")?;
    fleet.controller.stop(root)?;
    let (accepts, answers) = restart(root, &folder, &fleet.controller)?;
    Ok(Million {
        series,
        memory_peak_bytes,
        samples_per_series: head_samples / series.max(1.0),
        head_bytes,
        accepts,
        answers,
        samples,
    })
}

/// Starts it again where it was.
fn restart(root: &Utf8Path, folder: &Utf8Path, before: &Controller) -> anyhow::Result<(Duration, Duration)> {
    const PATIENCE: Duration = Duration::from_secs(120);
    let started = Instant::now();
    let address = before.http.clone();
    let accepting = std::thread::spawn(move || {
        while started.elapsed() < PATIENCE {
            // A connection alone would say nothing: the kernel takes it before anybody serves it.
            if http::request(&address, "GET", "/healthz", None, "").is_ok() {
                return Some(started.elapsed());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    });
    let mut controller = Controller::start_at(root, folder, (&before.http, &before.agents))?;
    let answers = started.elapsed();
    let Ok(Some(accepts)) = accepting.join() else {
        bail!("the restarted controller accepts nobody");
    };
    controller.stop(root)?;
    Ok((accepts, answers))
}
