//! What the agent itself takes of the processor in a sweep over all storage, beside what the tools take that it asks.

use std::ops::{AddAssign, Sub};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use muster_e2e::lab::Lab;
use muster_e2e::{Api, World, eventually};

use super::fleet::{enrol_and_run, server_id};
use super::{PATIENCE, guest};

/// Everything about storage.
const STORAGE: [&str; 9] = [
    "block",
    "btrfs",
    "diskstats",
    "filesystem",
    "lvm",
    "mdadm",
    "smart",
    "swap",
    "zfs",
];

/// Sweeps before it counts, with the one that the agent makes at its start: code that runs for the first time is read
/// from disk, and translated by qemu.
const SWEEPS_FIRST: usize = 3;
const SWEEPS: usize = 10;
/// Collections of a process that has only just started.
const SWEEPS_COLD: usize = 3;
/// How long the agent is watched while it does nothing.
const IDLE: Duration = Duration::from_secs(30);
/// Of what the tools take. The goal is a tenth, which a release on a quiet machine reaches. What is held to leaves room for a
/// machine that is not quite quiet; on a busy one the guest's two processors wait for each other, and a program of several
/// threads pays for it.
const SHARE_MAX: f64 = 0.2;

/// Ticks of a process and of the programs it started and waited for: those of a process that has ended stay in its
/// /proc/PID/stat until its parent takes them (proc(5), fields 14 to 17).
const WATCH: &str = r#"
my $pid = fork; if (!$pid) { open STDOUT, ">", "/dev/null"; exec @ARGV; }
while (1) {
    open my $in, "<", "/proc/$pid/stat"; local $_ = <$in>; s/.*\) //; my @stat = split;
    if ($stat[0] eq "Z") { print $stat[11] + $stat[12], " ", $stat[13] + $stat[14], "\n"; last; }
    select undef, undef, undef, 0.05;
}"#;

/// Ticks of the processor, hundredths of a second.
#[derive(Debug, Clone, Copy, Default)]
struct Ticks {
    own: f64,
    tools: f64,
}

impl AddAssign for Ticks {
    fn add_assign(&mut self, other: Self) {
        self.own += other.own;
        self.tools += other.tools;
    }
}

impl Sub for Ticks {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            own: self.own - other.own,
            tools: self.tools - other.tools,
        }
    }
}

/// Of a process that collects once.
fn of_collect(lab: &Lab, only: &str) -> Result<Ticks> {
    let text = lab.shell(&format!(
        "perl -e '{WATCH}' muster-agent collect --only {only} --format json"
    ))?;
    let (own, tools) = text.trim().split_once(' ').context("two numbers")?;
    Ok(Ticks {
        own: own.parse()?,
        tools: tools.parse()?,
    })
}

/// Of the agent that runs: of the process that reports and of the one with rights. The executor has nothing to do with
/// storage.
fn of_running(lab: &Lab) -> Result<Ticks> {
    let text = lab.shell(
        r#"cd /proc; for pid in [0-9]*; do
            [ "$(readlink $pid/exe)" = /usr/local/bin/muster-agent ] || continue
            echo "$(tr '\0' ' ' <$pid/cmdline)) $(sed 's/.*) //' $pid/stat)"
        done"#,
    )?;
    let (mut ticks, mut processes) = (Ticks::default(), 0);
    for line in text.lines().filter(|line| !line.contains(" executor ")) {
        let (_, stat) = line.split_once(") ").context("no end of the command line")?;
        let fields: Vec<&str> = stat.split(' ').collect();
        let field = |number: usize| -> Result<f64> { Ok(fields.get(number).context("too short")?.parse()?) };
        ticks += Ticks {
            own: field(11)? + field(12)?,
            tools: field(13)? + field(14)?,
        };
        processes += 1;
    }
    ensure!(processes == 2, "not two processes: {text}");
    Ok(ticks)
}

/// An agent that reads storage when it is asked to, and nothing else.
fn settings(lab: &Lab) -> Result<String> {
    let list = lab.shell("muster-agent --list-collectors")?;
    let others = list
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| !STORAGE.contains(name))
        .map(|name| format!("\"{name}\""));
    let others: Vec<String> = others.collect();
    let intervals: String = STORAGE.iter().map(|name| format!("{name} = \"1h\"\n")).collect();
    Ok(format!(
        "[collect]\ndisabled = [{}]\n[collect.intervals]\n{intervals}",
        others.join(", ")
    ))
}

/// How often every collector has run, as told to the controller.
async fn runs(api: &Api) -> Result<usize> {
    let series = api.range("node_scrape_collector_duration_seconds", "{}").await?;
    let runs = |name: &str| {
        let points = series.iter().filter(|(labels, _)| labels["collector"] == name);
        points.map(|(_, points)| points.len()).sum::<usize>()
    };
    let counts = STORAGE.map(runs);
    let (fewest, most) = (counts.iter().min(), counts.iter().max());
    ensure!(fewest == most, "not as often as one another: {counts:?}");
    fewest.copied().context("no collectors")
}

/// Has the agent read all storage once, and waits until it has told of it.
async fn sweep(api: &Api, server: i64, number: usize) -> Result<()> {
    let path = format!("/api/infrastructure/servers/{server}/collect");
    let (status, text) = api.ask("POST", &path, None).await?;
    // On a machine that is busy it takes longer than anybody waits for an answer.
    ensure!(status == 200 || status == 202, "{status} {text}");
    eventually(PATIENCE * 4, async || {
        let runs = runs(api).await?;
        ensure!(runs == number, "{runs} runs instead of {number}");
        Ok(())
    })
    .await
}

/// In words, what a process takes that collects once, without what it takes to start and end.
fn cold(lab: &Lab) -> Result<String> {
    let (mut sweeps, mut starts) = (Ticks::default(), Ticks::default());
    for _ in 0..SWEEPS_COLD {
        sweeps += of_collect(lab, &STORAGE.join(","))?;
        starts += of_collect(lab, "load")?;
    }
    let share = (sweeps.own - starts.own).max(0.0) / sweeps.tools;
    Ok(format!(
        "cold, {SWEEPS_COLD} sweeps: the agent {} ticks, {} of them to start and end, the tools {}: {share:.3}",
        sweeps.own, starts.own, sweeps.tools
    ))
}

/// Of the agent that runs, for so it is used: it starts once. What it takes to tell the controller is counted, and what its
/// two processes take to tell each other: 0.086 and 0.095 of what the tools take (medians of ten sweeps 0.089 and 0.094) on a
/// machine where nothing else was built, and twice that beside builds. Single collections, without what they take to start
/// and end, took 0.14 to 0.16 in the same runs: qemu meets their code for the first time.
/// Programs made without optimisation take several times as much and would tell nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_over_all_storage_takes_little_beside_the_tools() -> Result<()> {
    if std::env::var_os("MUSTER_TEST_PROGRAMS").is_none() {
        println!("skipped: MUSTER_TEST_PROGRAMS names no folder of release builds");
        return Ok(());
    }
    let Some(lab) = guest("cpu")? else { return Ok(()) };
    let disks = lab.shell("lsblk -dno NAME | grep -cv -e sr -e zd -e loop")?;
    println!("{}", cold(&lab)?);
    let world = World::start().await?;
    enrol_and_run(&lab, &world, &settings(&lab)?)?;
    let api = world.api().await?;
    let server = server_id(&api).await?;
    // The agent reads everything at its start.
    eventually(PATIENCE, async || {
        let runs = runs(&api).await?;
        ensure!(runs == 1, "{runs} runs");
        Ok(())
    })
    .await?;
    for number in 2..=SWEEPS_FIRST {
        sweep(&api, server, number).await?;
    }
    let before = of_running(&lab)?;
    tokio::time::sleep(IDLE).await;
    let idle = of_running(&lab)? - before;
    let (mut taken, mut shares) = (Ticks::default(), Vec::new());
    for number in 1..=SWEEPS {
        let before = of_running(&lab)?;
        sweep(&api, server, SWEEPS_FIRST + number).await?;
        let one = of_running(&lab)? - before;
        println!(
            "sweep {number}: the agent {} ticks, the tools {}",
            one.own, one.tools
        );
        taken += one;
        shares.push(one.own / one.tools);
    }
    shares.sort_by(f64::total_cmp);
    let share = shares[SWEEPS / 2];
    println!(
        "warm, {} disks, {SWEEPS} sweeps: the agent {} ticks, the tools {}: {:.3}, at the median {share:.3}; {} ticks in \
         {} s without a sweep",
        disks.trim(),
        taken.own,
        taken.tools,
        taken.own / taken.tools,
        idle.own,
        IDLE.as_secs()
    );
    ensure!(share <= SHARE_MAX, "{share} of what the tools take");
    Ok(())
}
