//! BTRFS filesystems over all their devices: what is allocated, missing devices, error counters, scrubs.
//!
//! `/sys/fs/btrfs` tells nearly all of it to everybody. `btrfs device stats` says which device is which and, on kernels
//! before 5.14, is the only one to count errors; `btrfs scrub status` alone knows of scrubs, and `btrfs device usage` of
//! what is left of each of several devices. All can wait behind work on the disk, so that each has its deadline and
//! none is needed for the rest.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use muster_parse::btrfs_scrub::{self, ScrubStatus};
use muster_parse::btrfs_stats::{self, DeviceStats};
use muster_parse::btrfs_usage::{self, DeviceUsage};
use muster_parse::mounts::{self, Mount};
use muster_parse::{Parsed, Problem};

use super::block::{Inventory, Shared};
use super::draft::Draft;
use super::{CollectError, Collector, Descriptor, Outcome, Place};
use crate::host::{Files, Host, HostError, ProgramCall, ProgramError};

mod describe;
mod judge;
mod sysfs;

use describe::{Known, describe, describe_unmounted};
pub(crate) use describe::{describe_recorded_scrub, describe_recorded_stats};

/// When a call of `btrfs` is given up.
const DEADLINE: Duration = Duration::from_secs(10);
/// Most filesystems that `btrfs` is asked about in one run.
const ASKED_MAX: usize = 16;

/// The btrfs collector.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "btrfs",
    summary: "BTRFS filesystems: devices, allocation, error counters, scrubs",
    interval: Duration::from_secs(60),
    interval_min: Duration::from_secs(5),
    timeout: Duration::from_secs(50),
    place: Place::Privileged,
    build: |context| {
        Box::new(Btrfs {
            shared: Arc::clone(&context.inventory),
            is_without_json: false,
        })
    },
};

struct Btrfs {
    shared: Arc<Shared>,
    /// The installed version has no `--format json`.
    is_without_json: bool,
}

#[async_trait]
impl Collector for Btrfs {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        let mut draft = Draft::new(DESCRIPTOR.name);
        let inventory = self.shared.known(host, &mut draft).await.unwrap_or_default();
        let (shown, zone, mounts) = host.blocking("btrfs", read).await??;
        let unmounted = unmounted(&inventory, &shown);
        if shown.is_empty() && unmounted.is_empty() {
            return Ok(Outcome::absent("no BTRFS filesystem is there"));
        }
        let place = |shown: &sysfs::Shown| mount_of(shown, &mounts, &inventory);
        let asked = shown.iter().take(ASKED_MAX).map(|shown| {
            let mount_point = place(shown);
            let is_without_json = self.is_without_json;
            async move { ask(host, shown, mount_point, is_without_json).await }
        });
        let mut answers = futures::future::join_all(asked).await.into_iter();
        for shown in shown {
            let answer = answers.next().unwrap_or_default();
            self.is_without_json |= answer.is_without_json;
            for (what, problem) in answer.problems {
                draft.push_problem(format!("{what}: {}", problem.message), problem.line);
            }
            let known = Known {
                stats: answer.stats,
                scrub: answer.scrub,
                usage: answer.usage,
                zone: &zone,
                now_ms: host.now_ms(),
            };
            describe(&mut draft, &shown, &known, &inventory);
        }
        for (fsid, devices) in unmounted {
            describe_unmounted(&mut draft, &fsid, &devices, &inventory);
        }
        Ok(Outcome::Facts(draft.finish()))
    }
}

type Found = (Vec<sysfs::Shown>, TimeZone, Vec<Mount>);

fn read(files: &Files) -> Result<Found, HostError> {
    let shown = sysfs::read(files)?;
    if shown.is_empty() {
        return Ok((shown, TimeZone::UTC, Vec::new()));
    }
    let localtime = files.bytes("/etc/localtime").ok().flatten();
    let zone = localtime.and_then(|bytes| TimeZone::tzif("localtime", &bytes).ok());
    let text = ["/proc/1/mountinfo", "/proc/self/mountinfo"]
        .into_iter()
        .find_map(|path| files.text(path).ok().flatten());
    let mounts = text.map(|text| mounts::parse(&text).value).unwrap_or_default();
    Ok((shown, zone.unwrap_or(TimeZone::UTC), mounts))
}

/// Filesystems whose devices are there and that are not mounted, by id, with the kernel names of their devices.
fn unmounted(inventory: &Inventory, shown: &[sysfs::Shown]) -> Vec<(String, Vec<String>)> {
    let of_nodes = inventory.nodes.iter().map(|node| (&node.name, &node.udev));
    let of_partitions = inventory.nodes.iter().flat_map(|node| &node.partitions);
    let all = of_nodes.chain(of_partitions.map(|partition| (&partition.name, &partition.udev)));
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for (name, udev) in all.filter(|(_, udev)| udev.get("ID_FS_TYPE") == Some("btrfs")) {
        let Some(fsid) = udev.get("ID_FS_UUID").map(str::to_ascii_lowercase) else {
            continue;
        };
        if shown.iter().any(|shown| shown.is(&fsid)) {
            continue;
        }
        match found.iter_mut().find(|(known, _)| *known == fsid) {
            Some((_, devices)) => devices.push(name.clone()),
            None => found.push((fsid, vec![name.clone()])),
        }
    }
    found
}

/// Where a filesystem is mounted; the shortest place is taken.
fn mount_of<'a>(shown: &sysfs::Shown, mounts: &'a [Mount], inventory: &Inventory) -> Option<&'a str> {
    let is_it = |mount: &&Mount| {
        let name = inventory.name_of_path(&mount.source);
        let name = name.unwrap_or_else(|| mount.source.trim_start_matches("/dev/"));
        mount.fs_type == "btrfs" && shown.devices.iter().any(|device| device.name == name)
    };
    let points = mounts
        .iter()
        .filter(is_it)
        .map(|mount| mount.mount_point.as_str());
    points.min_by_key(|point| point.len())
}

#[derive(Default)]
struct Answer {
    stats: Option<Vec<DeviceStats>>,
    scrub: Option<ScrubStatus>,
    usage: Vec<DeviceUsage>,
    is_without_json: bool,
    problems: Vec<(String, Problem)>,
}

impl Answer {
    fn note<T>(&mut self, what: &str, parsed: Parsed<T>) -> T {
        let problems = parsed
            .problems
            .into_iter()
            .map(|problem| (what.to_owned(), problem));
        self.problems.extend(problems);
        parsed.value
    }

    fn error(&mut self, what: &str, message: String) {
        let problem = Problem { line: None, message };
        self.problems.push((what.to_owned(), problem));
    }
}

async fn ask(host: &Host, shown: &sysfs::Shown, mount_point: Option<&str>, is_without_json: bool) -> Answer {
    let mut answer = Answer::default();
    let fsid = &shown.fsid;
    // Recorded output needs no place to ask at.
    let Some(place) = mount_point.or((!host.is_system()).then_some("/")) else {
        return answer;
    };
    let record = format!("btrfs/stats-{fsid}");
    let json = vec!["--format", "json", "device", "stats", place];
    let mut text = match is_without_json {
        true => None,
        false => run(host, &record, json, &mut answer).await,
    };
    if text.is_none() && host.is_system() {
        text = run(host, &record, vec!["device", "stats", place], &mut answer).await;
        answer.is_without_json = text.is_some();
    }
    if let Some(text) = text {
        answer.problems.clear();
        answer.stats = Some(answer.note(&record, btrfs_stats::parse(&text)));
    }
    let record = format!("btrfs/scrub-{fsid}");
    if let Some(text) = run(
        host,
        &record,
        vec!["scrub", "status", "--raw", place],
        &mut answer,
    )
    .await
    {
        answer.scrub = Some(answer.note(&record, btrfs_scrub::parse(&text)));
    }
    // Of a single device sysfs tells it.
    if 1 < shown.devices.len() {
        let record = format!("btrfs/usage-{fsid}");
        let args = vec!["device", "usage", "--raw", place];
        if let Some(text) = run(host, &record, args, &mut answer).await {
            answer.usage = answer.note(&record, btrfs_usage::parse(&text));
        }
    }
    answer
}

/// What a call said; `None` if it is not installed, may not be asked, or does not answer, which then is a problem.
async fn run(host: &Host, record: &str, args: Vec<&str>, answer: &mut Answer) -> Option<String> {
    let call = ProgramCall {
        program: "btrfs",
        args,
        record,
        deadline: DEADLINE,
    };
    let output = match host.run(&call).await {
        Ok(output) => output,
        Err(ProgramError::NotInstalled { .. }) => return None,
        Err(error) => {
            answer.error(record, muster_base::ErrorChain(&error).to_string());
            return None;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !text.trim().is_empty() {
        return Some(text);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let is_denied = ["ermission denied", "not permitted"]
        .iter()
        .any(|words| said.contains(words));
    if !is_denied {
        answer.error(record, format!("no answer: {}", said.trim()));
    }
    None
}

#[cfg(test)]
mod tests;
