//! `make bench`: what whole processes and the sample store do on this machine, written to docs/benchmarks.md.
//!
//! A controller and simulated agents run as release builds over loopback with everything real: mTLS, fsync, both
//! consumers. Processor time is the controller's own, from the kernel; bytes are counted at the loopback device and on
//! disk. Figures are those of the machine they were made on; what counts is their change.

mod controller;
mod machine;
mod report;

use anyhow::{Context as _, bail};
use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;

use self::controller::Controller;
use crate::process;

/// One load.
struct Load {
    name: &'static str,
    agents: u32,
    series: u32,
    /// As `muster-agent-sim --interval` takes it.
    interval: &'static str,
    duration: &'static str,
}

const LOADS: &[Load] = &[
    Load {
        name: "many samples",
        agents: 100,
        series: 500,
        interval: "250ms",
        duration: "20s",
    },
    Load {
        name: "a fleet at its usual pace",
        agents: 1000,
        series: 50,
        interval: "15s",
        duration: "60s",
    },
];

/// What the simulator says at its end.
#[derive(Debug, Deserialize)]
struct Summary {
    produced: u64,
    acked: u64,
    ack_p50_ms: u64,
    ack_p99_ms: u64,
    reconnects: u64,
}

/// What was measured of a load.
struct Measured {
    load: &'static Load,
    summary: Summary,
    /// Processor seconds of the controller while the load ran, connecting included, enrolment and start not.
    cpu_s: f64,
    /// Both directions, with headers and TLS.
    loopback_bytes: u64,
    /// Highest resident memory of the controller, enrolment included.
    memory_peak_bytes: u64,
    /// After the controller stopped in order. The sample store keeps this hour's samples in memory, so all are here.
    intake_bytes: u64,
}

/// Measures everything and writes the document.
pub(crate) fn run(root: &Utf8Path, only_processes: bool) -> anyhow::Result<bool> {
    // First, so that the load it tells is not its own.
    let machine = machine::describe(root)?;
    let criterion = if only_processes {
        Vec::new()
    } else {
        criterion(root)?
    };
    let mut measured = Vec::new();
    for load in LOADS {
        println!("bench: {}", load.name);
        measured.push(measure(root, load).with_context(|| format!("measure {}", load.name))?);
    }
    let path = root.join("docs/benchmarks.md");
    let text = report::document(&machine, &measured, &criterion);
    std::fs::write(&path, text).with_context(|| format!("write {path}"))?;
    println!("bench: wrote {path}");
    Ok(true)
}

/// Runs the benches of the sample store; the lines that say what they measured.
fn criterion(root: &Utf8Path) -> anyhow::Result<Vec<String>> {
    let mut bench = process::command("cargo", root);
    let text = process::output(bench.args([
        "bench",
        "--locked",
        "--package",
        "muster-samples",
        "--bench",
        "ingest",
    ]))?;
    println!("{text}");
    Ok(figures(&text))
}

/// Criterion's figures without its comparison with the run before, which was of something else.
fn figures(text: &str) -> Vec<String> {
    let mut figures = Vec::new();
    let mut before = "";
    for line in text.lines().map(str::trim_end) {
        let is_figure =
            line.contains("time:") || line.contains("thrpt:") || line.starts_with("bytes per sample");
        if is_figure && !line.contains('%') {
            // A long name has a line to itself.
            if line.trim_start().starts_with("time:") {
                figures.push(before.to_owned());
            }
            figures.push(line.to_owned());
        }
        before = line;
    }
    figures
}

fn measure(root: &Utf8Path, load: &'static Load) -> anyhow::Result<Measured> {
    let folder = empty_folder(root)?;
    let mut controller = Controller::start(root, &folder)?;
    let token = controller.token(root, load.agents)?;
    // Once for no time at all: everyone enrols, and what that costs is not part of the figures.
    simulate(root, load, &controller, &token, &folder, "0s")?;
    let (cpu_before, bytes_before) = (controller.cpu_s()?, machine::loopback_bytes()?);
    let summary = simulate(root, load, &controller, &token, &folder, load.duration)?;
    let cpu_s = controller.cpu_s()? - cpu_before;
    let loopback_bytes = machine::loopback_bytes()? - bytes_before;
    let memory_peak_bytes = controller.memory_peak_bytes()?;
    controller.stop(root)?;
    let data = controller.data();
    Ok(Measured {
        load,
        summary,
        cpu_s,
        loopback_bytes,
        memory_peak_bytes,
        intake_bytes: machine::disk_bytes(&data, "intake.db")?,
    })
}

fn empty_folder(root: &Utf8Path) -> anyhow::Result<Utf8PathBuf> {
    let folder = root.join("target/bench");
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("empty {folder}"));
        }
        _ => {}
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("make {folder}"))?;
    Ok(folder)
}

fn simulate(
    root: &Utf8Path,
    load: &Load,
    controller: &Controller,
    token: &Utf8Path,
    folder: &Utf8Path,
    duration: &str,
) -> anyhow::Result<Summary> {
    let [agents, series] = [load.agents, load.series].map(|count| count.to_string());
    let mut sim = process::command(program(root, "muster-agent-sim").as_str(), root);
    sim.env("MUSTER_LOG", "warn")
        .args([
            "--agents",
            &agents,
            "--series",
            &series,
            "--interval",
            load.interval,
            "--duration",
            duration,
        ])
        .args(["--controller", &controller.agents, "--token-file", token.as_str()])
        .args(["--data-dir", folder.join("agents").as_str()]);
    let text = process::output(&mut sim)?;
    let last = text.lines().last().context("the simulator printed nothing")?;
    let summary: Summary = serde_json::from_str(last).with_context(|| format!("read {last:?}"))?;
    if summary.acked < summary.produced {
        bail!(
            "{} of {} samples were never acknowledged",
            summary.produced - summary.acked,
            summary.produced
        );
    }
    Ok(summary)
}

/// Where a release build of ours is.
fn program(root: &Utf8Path, name: &str) -> Utf8PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").and_then(|path| path.into_string().ok());
    root.join(target.unwrap_or_else(|| "target".to_owned()))
        .join("release")
        .join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_their_names_and_lose_the_comparison() {
        let text = "a/b    time:   [1 ms 2 ms 3 ms]\n       thrpt:  [1 2 3]\n change:\n       time:   [-1% +1% +2%]\n\
                    a longer name\n       time:   [4 ms 5 ms 6 ms]\nFound 1 outlier\nbytes per sample: 1.2\n";
        assert_eq!(
            figures(text),
            [
                "a/b    time:   [1 ms 2 ms 3 ms]",
                "       thrpt:  [1 2 3]",
                "a longer name",
                "       time:   [4 ms 5 ms 6 ms]",
                "bytes per sample: 1.2",
            ]
        );
    }
}
