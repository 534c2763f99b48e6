//! `make bench`: what whole processes and the sample store do on this machine, written to docs/benchmarks.md.
//!
//! A controller and simulated agents run as release builds over loopback with everything real: mTLS, fsync, both
//! consumers. Processor time is the controller's own, from the kernel; bytes are counted at the loopback device and on
//! disk. The sample store is measured beside VictoriaMetrics, the agent beside Prometheus's node exporter, in the same
//! run; where they are not installed, how to get them is said and the ratios are left out. Figures are those of the
//! machine they were made on; what counts are ratios and change.

mod agent;
mod budgets;
mod controller;
mod http;
mod loads;
mod machine;
mod million;
mod report;
pub(crate) mod soak;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Map, Value};

use crate::process;

/// Everything that was measured.
#[derive(Default)]
struct Figures {
    /// Lines of criterion.
    criterion: Vec<String>,
    /// What the comparison of the store with its peer found, by name.
    store: Map<String, Value>,
    loads: Vec<loads::Measured>,
    /// Bytes a sample through loopback, of reports of 500 samples, both ways, without connecting.
    wire_bytes_per_sample: f64,
    million: Option<million::Million>,
    /// Resident memory of a controller with ten servers.
    idle_bytes: u64,
    agent: Option<agent::Agent>,
    /// What judging a report takes, by name.
    judging: Map<String, Value>,
}

impl Figures {
    fn store(&self, name: &str) -> Option<f64> {
        self.store.get(name).and_then(Value::as_f64)
    }

    fn judging(&self, name: &str) -> Option<f64> {
        self.judging.get(name).and_then(Value::as_f64)
    }
}

/// Measures everything and writes the document.
pub(crate) fn run(root: &Utf8Path, only_processes: bool) -> anyhow::Result<bool> {
    // First, so that the load it tells is not its own.
    let machine = machine::describe(root)?;
    let mut figures = Figures::default();
    if !only_processes {
        println!("bench: the sample store alone and beside VictoriaMetrics");
        figures.criterion = criterion(root)?;
        figures.store = compare(root)?;
        println!("bench: judging reports");
        figures.judging = last_line(&cargo_bench(root, "muster-alert", "judge", &[])?)?;
    }
    for load in loads::ALL {
        println!("bench: {}", load.name);
        let measured = loads::measure(root, load).with_context(|| format!("measure {}", load.name))?;
        figures.loads.push(measured);
    }
    println!("bench: bytes on the wire");
    figures.wire_bytes_per_sample = loads::wire_bytes_per_sample(root).context("measure the wire")?;
    println!("bench: ten servers");
    figures.idle_bytes = loads::idle_bytes(root).context("measure ten servers")?;
    println!("bench: a million series");
    figures.million = said(million::measure(root).context("measure a million series"));
    println!("bench: the agent of this machine");
    figures.agent = said(agent::measure(root).context("measure the agent"));
    let path = root.join("docs/benchmarks.md");
    let text = report::document(&machine, &figures);
    std::fs::write(&path, text).with_context(|| format!("write {path}"))?;
    println!("bench: wrote {path}");
    Ok(true)
}

/// What was measured; a failure is told, and the other figures are written all the same.
fn said<T>(measured: anyhow::Result<T>) -> Option<T> {
    measured
        .inspect_err(|error| println!("bench: NOT MEASURED: {error:#}"))
        .ok()
}

/// Runs a bench of a package; what it printed.
fn cargo_bench(root: &Utf8Path, package: &str, name: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let mut bench = process::command("cargo", root);
    bench.args(["bench", "--locked", "--package", package, "--bench", name]);
    let text = process::output(bench.arg("--").args(arguments))?;
    println!("{text}");
    Ok(text)
}

/// The lines that say what criterion measured.
fn criterion(root: &Utf8Path) -> anyhow::Result<Vec<String>> {
    let arguments = ["--warm-up-time", "0.5", "--measurement-time", "2"];
    Ok(criterion_lines(&cargo_bench(
        root,
        "muster-samples",
        "ingest",
        &arguments,
    )?))
}

/// Criterion's figures without its comparison with the run before, which was of something else.
fn criterion_lines(text: &str) -> Vec<String> {
    let mut figures = Vec::new();
    let mut before = "";
    for line in text.lines().map(str::trim_end) {
        let is_figure = ["time:", "thrpt:"].iter().any(|word| line.contains(word))
            || ["bytes per sample", "compacted:", "memory for"]
                .iter()
                .any(|start| line.starts_with(start));
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

/// The figures of the store and its peer.
fn compare(root: &Utf8Path) -> anyhow::Result<Map<String, Value>> {
    last_line(&cargo_bench(root, "muster-samples", "compare", &[])?)
}

/// The figures in the last line of what a bench printed.
fn last_line(text: &str) -> anyhow::Result<Map<String, Value>> {
    let last = text.lines().last().context("it printed nothing")?;
    serde_json::from_str(last).with_context(|| format!("read {last:?}"))
}

fn empty_folder(root: &Utf8Path) -> anyhow::Result<Utf8PathBuf> {
    emptied(root.join("target/bench"))
}

/// Makes an empty folder of it, whatever was there.
fn emptied(folder: Utf8PathBuf) -> anyhow::Result<Utf8PathBuf> {
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("empty {folder}"));
        }
        _ => {}
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("make {folder}"))?;
    Ok(folder)
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
            criterion_lines(text),
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
