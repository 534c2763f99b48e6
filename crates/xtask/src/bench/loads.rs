//! Loads: simulated agents and a controller, each a process of its own.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use camino::Utf8Path;
use serde::Deserialize;

use super::controller::{Controller, metric};
use super::{empty_folder, machine, program};
use crate::process;

/// One load.
pub(super) struct Load {
    pub(super) name: &'static str,
    pub(super) agents: u32,
    pub(super) series: u32,
    /// As `muster-agent-sim --interval` takes it.
    pub(super) interval: &'static str,
    pub(super) duration: &'static str,
    /// What was produced and not delivered before the start.
    pub(super) backlog: &'static str,
}

/// Whose samples per second and core are judged.
pub(super) const MANY_SAMPLES: &str = "many samples";

pub(super) const ALL: &[Load] = &[
    Load {
        name: MANY_SAMPLES,
        agents: 100,
        series: 500,
        interval: "50ms",
        duration: "15s",
        backlog: "0",
    },
    Load {
        name: "a fleet at its usual pace",
        agents: 1000,
        series: 50,
        interval: "15s",
        duration: "60s",
        backlog: "0",
    },
];

/// What the simulator says at its end.
#[derive(Debug, Deserialize)]
pub(super) struct Summary {
    pub(super) produced: u64,
    pub(super) acked: u64,
    pub(super) ack_p50_ms: u64,
    pub(super) ack_p99_ms: u64,
    pub(super) reconnects: u64,
}

/// What was measured of a load.
pub(super) struct Measured {
    pub(super) load: &'static Load,
    pub(super) summary: Summary,
    /// Processor seconds of the controller until everything was in the store, connecting included, enrolment and start
    /// not.
    pub(super) cpu_s: f64,
    /// Both directions, with headers and TLS.
    pub(super) loopback_bytes: u64,
    /// Highest resident memory of the controller, enrolment included.
    pub(super) memory_peak_bytes: u64,
    /// After the controller stopped in order. The sample store keeps this hour's samples in memory, so all are here.
    pub(super) intake_bytes: u64,
}

impl Measured {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub(super) fn million_per_s_core(&self) -> f64 {
        self.summary.acked as f64 / 1e6 / self.cpu_s
    }
}

/// A load on a controller of its own.
pub(super) fn measure(root: &Utf8Path, load: &'static Load) -> anyhow::Result<Measured> {
    let folder = empty_folder(root)?;
    let mut fleet = Fleet::enrolled(root, &folder, load)?;
    let (cpu_before, bytes_before) = (fleet.controller.cpu_s()?, machine::loopback_bytes()?);
    let summary = fleet.run(load, load.duration)?;
    let loopback_bytes = machine::loopback_bytes()? - bytes_before;
    // What is acknowledged is durable; that it is in the store too belongs to the work.
    fleet.caught_up()?;
    let cpu_s = fleet.controller.cpu_s()? - cpu_before;
    let memory_peak_bytes = fleet.controller.memory_bytes("VmHWM:")?;
    fleet.controller.stop(root)?;
    Ok(Measured {
        load,
        summary,
        cpu_s,
        loopback_bytes,
        memory_peak_bytes,
        intake_bytes: machine::disk_bytes(&fleet.controller.data(), "intake.db")?,
    })
}

/// Bytes of a sample on the wire, both ways, of reports like those of a real server: 500 samples each. Connecting,
/// definitions and what else a stream costs once are taken out by the difference of two runs.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(super) fn wire_bytes_per_sample(root: &Utf8Path) -> anyhow::Result<f64> {
    const LOAD: Load = Load {
        name: "wire",
        agents: 50,
        series: 500,
        interval: "1s",
        duration: "5s",
        backlog: "0",
    };
    let folder = empty_folder(root)?;
    let mut fleet = Fleet::enrolled(root, &folder, &LOAD)?;
    let mut run = |duration| -> anyhow::Result<(u64, u64)> {
        let before = machine::loopback_bytes()?;
        let summary = fleet.run(&LOAD, duration)?;
        Ok((machine::loopback_bytes()? - before, summary.acked))
    };
    let (short, long) = (run(LOAD.duration)?, run("25s")?);
    let samples = long.1.saturating_sub(short.1);
    if samples == 0 {
        bail!("the longer run sent no more than the shorter one");
    }
    Ok(long.0.saturating_sub(short.0) as f64 / samples as f64)
}

/// How long a controller is left alone before its memory is looked at.
const SETTLING: Duration = Duration::from_secs(10);

/// Resident memory of a controller after ten servers of 500 series each have reported for a while.
pub(super) fn idle_bytes(root: &Utf8Path) -> anyhow::Result<u64> {
    const LOAD: Load = Load {
        name: "ten servers",
        agents: 10,
        series: 500,
        interval: "15s",
        duration: "45s",
        backlog: "0",
    };
    let folder = empty_folder(root)?;
    let mut fleet = Fleet::enrolled(root, &folder, &LOAD)?;
    fleet.run(&LOAD, LOAD.duration)?;
    fleet.caught_up()?;
    // Checking the password for that takes 64 MiB, which the allocator keeps for two seconds and a little.
    std::thread::sleep(SETTLING);
    let bytes = fleet.controller.memory_bytes("VmRSS:")?;
    fleet.controller.stop(root)?;
    Ok(bytes)
}

/// A controller and what is needed to run agents against it.
pub(super) struct Fleet<'a> {
    root: &'a Utf8Path,
    folder: &'a Utf8Path,
    pub(super) controller: Controller,
    token: camino::Utf8PathBuf,
    /// Samples acknowledged so far.
    acked: u64,
}

impl<'a> Fleet<'a> {
    /// Starts a controller and enrols everyone: what that costs is not part of the figures.
    pub(super) fn enrolled(root: &'a Utf8Path, folder: &'a Utf8Path, load: &Load) -> anyhow::Result<Self> {
        let controller = Controller::start(root, folder)?;
        let token = controller.token(root, load.agents)?;
        let mut fleet = Self {
            root,
            folder,
            controller,
            token,
            acked: 0,
        };
        let load = Load {
            backlog: "0",
            ..*load
        };
        fleet.run(&load, "0s")?;
        Ok(fleet)
    }

    /// Runs the agents for a time, until everything is acknowledged.
    pub(super) fn run(&mut self, load: &Load, duration: &str) -> anyhow::Result<Summary> {
        let summary = self.simulate(load, duration)?;
        if summary.acked < summary.produced {
            bail!(
                "{} of {} samples were never acknowledged",
                summary.produced - summary.acked,
                summary.produced
            );
        }
        self.acked += summary.acked;
        Ok(summary)
    }

    fn simulate(&self, load: &Load, duration: &str) -> anyhow::Result<Summary> {
        let [agents, series] = [load.agents, load.series].map(|count| count.to_string());
        let mut sim = process::command(program(self.root, "muster-agent-sim").as_str(), self.root);
        sim.env("MUSTER_LOG", "error")
            .args(["--agents", &agents, "--series", &series, "--values", "mix"])
            .args(["--interval", load.interval, "--duration", duration])
            .args(["--backlog", load.backlog])
            .args([
                "--controller",
                &self.controller.agents,
                "--token-file",
                self.token.as_str(),
            ])
            .args(["--data-dir", self.folder.join("agents").as_str()]);
        // It ends with 1 where something was not acknowledged, and says so in what it prints.
        let text = process::output_in_any_case(&mut sim)?;
        let last = text.lines().last().context("the simulator printed nothing")?;
        serde_json::from_str(last).with_context(|| format!("read {last:?}"))
    }

    /// Waits until everything that was acknowledged is in the sample store.
    #[expect(clippy::cast_precision_loss, reason = "there are far fewer samples than 2^53")]
    pub(super) fn caught_up(&self) -> anyhow::Result<()> {
        const PATIENCE: Duration = Duration::from_secs(300);
        let started = Instant::now();
        loop {
            let metrics = self.controller.metrics()?;
            // Two ticks of an agent may fall on one millisecond where the machine is slow: of these the first stays.
            let seen = metric(&metrics, "muster_samples_appended_total ")?
                + metric(&metrics, "muster_samples_duplicates_total ")?;
            if self.acked as f64 <= seen {
                return Ok(());
            }
            if PATIENCE < started.elapsed() {
                bail!(
                    "{seen} of {} samples are in the store after {PATIENCE:?}",
                    self.acked
                );
            }
            std::thread::sleep(Duration::from_millis(250));
        }
    }
}
