//! `cargo xtask soak`: the ticks of eight hours in half an hour, and whether memory stays flat meanwhile.
//!
//! The agent of this machine runs with every collector as often as it may (15 times as often for most), beside a
//! simulated fleet at 15 times its pace. Every minute three agents start anew and deliver what they had kept, back to the
//! evening of a day that is over, so that windows close and are sealed and that day is compacted again and again. The
//! fleet is the same from the first minute to the last: whatever grows does not grow with it.
//!
//! The controller's clock is not accelerated: the samples of a window that is not over grow until it is, for half an
//! hour of real time whatever the pace. So the eight hours begin after [`WARM_UP_MINUTES`], when as much is sealed as comes.
//! Judged is what processes have of their own. Pages of the program's file are shown beside it: there are never more than
//! the file has, and the kernel maps them in pieces of up to megabytes and takes them back, so that they come and go in steps.

mod chart;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};

use super::controller::{Controller, metric};
use super::{agent, emptied, machine, program};
use crate::process;

/// How often memory is looked at.
const EVERY: Duration = Duration::from_secs(5);
/// How often what was undelivered comes.
const PAST_EVERY: Duration = Duration::from_secs(60);
/// What goes before: a window of the sample store, five minutes until it is sealed, and a minute for whoever does that.
pub(crate) const WARM_UP_MINUTES: u64 = 36;
/// By how much memory may grow in the eight hours, along the line of least squares.
const GROWTH_MAX: f64 = 0.05;
/// And what it may grow by in any case: steps of the allocator, in bytes.
const GROWTH_BYTES_MAX: f64 = 1024.0 * 1024.0;
/// Ticks that an agent has kept, as many as those of eleven hours.
const PAST_TICKS: u64 = 11 * 240;
/// How far before midnight what it has kept begins.
const PAST_BEFORE_MIDNIGHT: Duration = Duration::from_hours(6);
/// A day is compacted half an hour after its end, by a task that runs every quarter of an hour.
const COMPACTED_AFTER: Duration = Duration::from_hours(1);

/// Memory at one moment.
#[derive(Debug)]
struct Sample {
    /// Since the eight hours began; below 0 while warming up.
    at_s: f64,
    agent: Held,
    controller: Held,
    /// What of the controller's are samples of windows that are not over.
    heads_bytes: f64,
}

/// What a program holds.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    /// All of it.
    bytes: f64,
    /// Without pages of files.
    own_bytes: f64,
}

impl Held {
    fn by(id: u32) -> anyhow::Result<Self> {
        let memory = agent::tree_memory(id)?;
        Ok(Self {
            bytes: memory.pss as f64,
            own_bytes: memory.pss.saturating_sub(memory.files) as f64,
        })
    }
}

/// What memory did in the eight hours.
struct Trend {
    first_bytes: f64,
    /// Along the line of least squares, from end to end.
    growth_bytes: f64,
    peak_bytes: f64,
}

impl Trend {
    fn is_flat(&self) -> bool {
        self.growth_bytes <= (self.first_bytes * GROWTH_MAX).max(GROWTH_BYTES_MAX)
    }
}

/// Runs it and writes the document; whether memory was flat.
pub(crate) fn run(root: &Utf8Path, minutes: u64, warm_up_minutes: u64) -> anyhow::Result<bool> {
    let warm_up = Duration::from_mins(warm_up_minutes);
    let whole = warm_up + Duration::from_mins(minutes);
    let machine = machine::describe(root)?;
    let folder = emptied(root.join("target/soak"))?;
    let mut controller = Controller::start(root, &folder)?;
    let token = controller.token(root, 100)?;
    let settings = settings(root, &folder)?;
    let agent = agent::start(root, &folder, &controller, &token, Some(&settings))?;
    let mut fleet = Fleet::start(root, &folder, &controller, &token, whole)?;
    let started = Instant::now();
    let mut samples = Vec::new();
    let mut so_far = fs::File::create(folder.join("samples")).context("write the samples so far")?;
    let mut past_at = Duration::ZERO;
    while started.elapsed() < whole {
        if past_at <= started.elapsed() {
            fleet.deliver_past()?;
            past_at += PAST_EVERY;
        }
        let sample = Sample {
            at_s: started.elapsed().as_secs_f64() - warm_up.as_secs_f64(),
            agent: Held::by(agent.id()).context("the agent ended")?,
            controller: Held::by(controller.id()).context("the controller ended")?,
            heads_bytes: metric(&controller.metrics()?, "muster_samples_head_bytes ")?,
        };
        // What an end before the end leaves.
        writeln!(so_far, "{sample:?}")?;
        samples.push(sample);
        std::thread::sleep(EVERY);
    }
    let metrics = controller.metrics()?;
    fleet.stop(root)?;
    drop(agent);
    controller.stop(root)?;
    let of_agent = trend(&samples, |sample| sample.agent.own_bytes);
    let of_controller = trend(&samples, |sample| sample.controller.own_bytes);
    let is_flat = of_agent.is_flat() && of_controller.is_flat();
    let peak = |held: fn(&Sample) -> Held| trend(&samples, |sample| held(sample).bytes).peak_bytes;
    let trends = [
        ("agent", &of_agent, peak(|sample| sample.agent)),
        ("controller", &of_controller, peak(|sample| sample.controller)),
    ];
    let text = document(&machine, (minutes, warm_up_minutes), &trends, &metrics)?;
    fs::write(root.join("docs/soak.svg"), chart::svg(&samples)).context("write docs/soak.svg")?;
    fs::write(root.join("docs/soak.md"), text).context("write docs/soak.md")?;
    println!(
        "soak: wrote docs/soak.md; {}",
        if is_flat { "flat" } else { "NOT flat" }
    );
    let compacted = metric(&metrics, COMPACTED)?;
    anyhow::ensure!(
        0.0 < compacted,
        "no day was compacted meanwhile: that part was not watched"
    );
    Ok(is_flat)
}

/// How long before now what agents have kept begins: in the evening of the last day that is over for long enough to be
/// compacted, at whatever hour this runs.
fn past_length(now: Duration) -> Duration {
    const DAY_S: u64 = 24 * 3600;
    let judged_s = now.as_secs() - COMPACTED_AFTER.as_secs();
    let midnight_s = judged_s - judged_s % DAY_S;
    Duration::from_secs(now.as_secs() - midnight_s) + PAST_BEFORE_MIDNIGHT
}

/// What the controller counts days of a group that were compacted by.
const COMPACTED: &str = "muster_samples_compacted_total ";

/// Every collector as often as it may, from the settings that say how often that is.
fn settings(root: &Utf8Path, folder: &Utf8Path) -> anyhow::Result<Utf8PathBuf> {
    let defaults = fs::read_to_string(root.join("deploy/agent.toml")).context("read deploy/agent.toml")?;
    let mut text = "[collect.intervals]\n".to_owned();
    for (name, least) in least_intervals(&defaults) {
        writeln!(text, "{name} = \"{least}\"")?;
    }
    let path = folder.join("agent.toml");
    fs::write(&path, text).with_context(|| format!("write {path}"))?;
    Ok(path)
}

/// Collectors and their shortest intervals: lines such as `# cpu = "15s"  # …; at least 1s`.
fn least_intervals(settings: &str) -> Vec<(&str, &str)> {
    let intervals = settings
        .lines()
        .skip_while(|line| *line != "[collect.intervals]")
        .skip(1);
    let intervals = intervals.take_while(|line| !line.is_empty());
    intervals
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("# ")?.split_once(" = ")?;
            Some((name, rest.rsplit_once("at least ")?.1))
        })
        .collect()
}

/// Simulated agents: those that live all the time, and those with a past.
struct Fleet<'a> {
    root: &'a Utf8Path,
    folder: &'a Utf8Path,
    address: String,
    token: &'a Utf8Path,
    living: agent::Running,
}

impl<'a> Fleet<'a> {
    fn start(
        root: &'a Utf8Path,
        folder: &'a Utf8Path,
        controller: &Controller,
        token: &'a Utf8Path,
        whole: Duration,
    ) -> anyhow::Result<Self> {
        let duration = format!("{}s", whole.as_secs() + 600);
        let mut living = simulator(root, folder, &controller.agents, token, "living");
        living.args([
            "--agents",
            "20",
            "--series",
            "20",
            "--interval",
            "1s",
            "--duration",
            &duration,
        ]);
        Ok(Self {
            root,
            folder,
            address: controller.agents.clone(),
            token,
            living: agent::Running::of(living.spawn().context("start muster-agent-sim")?),
        })
    }

    /// Has three agents start, deliver all they have kept, and end.
    fn deliver_past(&mut self) -> anyhow::Result<()> {
        let length = past_length(std::time::UNIX_EPOCH.elapsed().context("the clock is set")?);
        let (length, interval) = (
            format!("{}s", length.as_secs()),
            format!("{}s", length.as_secs() / PAST_TICKS),
        );
        let mut past = simulator(self.root, self.folder, &self.address, self.token, "past");
        past.args([
            "--agents",
            "3",
            "--series",
            "20",
            "--interval",
            &interval,
            "--duration",
            "1s",
        ])
        .args(["--backlog", &length]);
        process::output(&mut past).map(drop)
    }

    fn stop(self, root: &Utf8Path) -> anyhow::Result<()> {
        process::run(process::command("kill", root).args(["-TERM", &self.living.id().to_string()]))?;
        drop(self.living);
        Ok(())
    }
}

fn simulator(
    root: &Utf8Path,
    folder: &Utf8Path,
    address: &str,
    token: &Utf8Path,
    name: &str,
) -> process::Command {
    let mut command = process::command(program(root, "muster-agent-sim").as_str(), root);
    command
        .args([
            "--controller",
            address,
            "--token-file",
            token.as_str(),
            "--values",
            "mix",
        ])
        .args(["--data-dir", folder.join(name).as_str()])
        .env("MUSTER_LOG", "error")
        .stdout(std::process::Stdio::null());
    command
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn trend(samples: &[Sample], bytes: impl Fn(&Sample) -> f64) -> Trend {
    let points: Vec<(f64, f64)> = samples
        .iter()
        .filter(|sample| 0.0 <= sample.at_s)
        .map(|sample| (sample.at_s, bytes(sample)))
        .collect();
    let count = points.len().max(1) as f64;
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (mean_x, mean_y) = (mean(&|point| point.0), mean(&|point| point.1));
    let spread = mean(&|point| (point.0 - mean_x).powi(2));
    let slope = mean(&|point| (point.0 - mean_x) * (point.1 - mean_y)) / spread.max(f64::EPSILON);
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Trend {
            first_bytes: 0.0,
            growth_bytes: 0.0,
            peak_bytes: 0.0,
        };
    };
    Trend {
        first_bytes: mean_y + slope * (first.0 - mean_x),
        growth_bytes: slope * (last.0 - first.0),
        peak_bytes: points.iter().map(|point| point.1).fold(0.0, f64::max),
    }
}

fn document(
    machine: &[(&str, String)],
    (minutes, warm_up): (u64, u64),
    trends: &[(&str, &Trend, f64)],
    metrics: &str,
) -> anyhow::Result<String> {
    let mut text = format!(
        "<!-- Made by `cargo xtask soak`; run that instead of editing. -->\n\n# Soak\n\n\
         {minutes} minutes. The agent of this machine ran every collector as often as it may, {hours:.1} hours' worth of \
         ticks\nof most; 20 simulated agents ran at 15 times their pace; every minute three more started anew and \
         delivered\nwhat they had kept since the day before, so that windows closed and days were compacted again. The \
         {warm_up} minutes\nbefore that are warming up: the controller's clock is not accelerated, and the samples of a \
         window of half an\nhour are in memory until it is over, so that for so long there are more of them each \
         minute. Memory is the\nproportional set size, summed over processes, every 5 s, without pages of files: those of \
         the program itself are\nnever more than it has, and the kernel maps and takes them back in pieces as it likes. \
         With them is beside it. Flat:\nalong the line of least squares it grows by at most 5 % or 1 MiB in the {minutes} \
         minutes.\n\n\
         ![memory](soak.svg)\n\n| | |\n|---|---|\n",
        hours = minutes as f64 * 15.0 / 60.0
    );
    for (name, value) in machine {
        writeln!(text, "| {name} | {value} |")?;
    }
    text.push_str("\n| | at first | growth | peak | peak with files | |\n|---|---|---|---|---|---|\n");
    let mib = |bytes: f64| format!("{:.2} MiB", bytes / f64::from(1 << 20));
    for (name, trend, peak_whole) in trends {
        let verdict = if trend.is_flat() { "flat" } else { "**not flat**" };
        let (first, growth, peak, whole) = (
            mib(trend.first_bytes),
            mib(trend.growth_bytes),
            mib(trend.peak_bytes),
            mib(*peak_whole),
        );
        writeln!(
            text,
            "| {name} | {first} | {growth} | {peak} | {whole} | {verdict} |"
        )?;
    }
    text.push_str("\nWhat the controller did meanwhile:\n\n| | |\n|---|---|\n");
    for (name, what) in [
        ("muster_samples_appended_total ", "samples appended"),
        ("muster_samples_sealed_total ", "samples sealed"),
        (COMPACTED, "days of a server's collector compacted"),
    ] {
        writeln!(text, "| {what} | {:.0} |", metric(metrics, name)?)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(bytes: impl Fn(f64) -> f64) -> Vec<Sample> {
        (0..400)
            .map(|n| Sample {
                at_s: f64::from(n - 100) * 5.0,
                agent: Held {
                    bytes: 0.0,
                    own_bytes: bytes(f64::from(n)),
                },
                controller: Held::default(),
                heads_bytes: 0.0,
            })
            .collect()
    }

    #[test]
    fn what_grows_is_not_flat_and_what_swings_is() {
        let mib = f64::from(1 << 20);
        let agent = |sample: &Sample| sample.agent.own_bytes;
        let swinging = trend(&samples(|n| mib * (10.0 + (n / 7.0).sin())), agent);
        assert!(swinging.is_flat(), "{}", swinging.growth_bytes);
        let growing = trend(&samples(|n| mib * (10.0 + n / 100.0)), agent);
        assert!(!growing.is_flat());
        assert!(
            (growing.growth_bytes / mib - 3.0).abs() < 0.1,
            "{}",
            growing.growth_bytes
        );
        // What it takes to warm up is no growth.
        let warming = trend(&samples(|n| mib * n.min(50.0)), agent);
        assert!(warming.is_flat());
    }

    #[test]
    fn what_was_kept_begins_on_a_day_that_is_compacted_at_any_hour() {
        const MIDNIGHT_S: u64 = 20_000 * 24 * 3600;
        for minute in (0..24 * 60).step_by(7) {
            let now = Duration::from_secs(MIDNIGHT_S + minute * 60);
            let length = past_length(now);
            let begins_s = now.as_secs() - length.as_secs();
            let ends_s = (begins_s / (24 * 3600) + 1) * 24 * 3600;
            assert!(ends_s + COMPACTED_AFTER.as_secs() <= now.as_secs(), "{minute}");
            assert_eq!(ends_s - begins_s, PAST_BEFORE_MIDNIGHT.as_secs());
            // Each of them brings a tick at least every minute.
            assert!(length.as_secs() / PAST_TICKS < 60, "{minute}");
        }
    }

    #[test]
    fn every_collector_has_a_shortest_interval() {
        let text = "[collect.intervals]\n# cpu = \"15s\"  # time; at least 1s\n# smart = \"30m\"  # x; at least 1m\n\n# n = \"1s\"\n";
        assert_eq!(least_intervals(text), [("cpu", "1s"), ("smart", "1m")]);
    }
}
