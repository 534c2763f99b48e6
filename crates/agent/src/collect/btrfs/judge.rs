//! How well a BTRFS filesystem is. Pure.

use muster_model::Health;
use muster_parse::btrfs_scrub::{Scrub, ScrubStatus, Status};

/// What the verdict rests on.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Picture {
    /// Devices that are missing.
    pub(super) missing: u64,
    /// Devices in all.
    pub(super) devices: u64,
    /// Profiles in use, such as `raid1`, with the type of their block groups.
    pub(super) profiles: Vec<(String, String)>,
    /// Errors by device and name; `None` if nobody counts them.
    pub(super) errors: Option<Vec<(String, String, u64)>>,
    pub(super) scrub: Option<ScrubStatus>,
}

/// Judges, with the reasons.
pub(super) fn judge(picture: &Picture) -> (Health, Vec<String>) {
    let mut health = Health::Healthy;
    let mut reasons = Vec::new();
    let mut add = |worse: Health, reason: String| {
        health = health.max(worse);
        reasons.push(reason);
    };
    if picture.profiles.is_empty() {
        add(Health::Unknown, "how it is laid out could not be read".to_owned());
    }
    if 0 < picture.missing {
        add_missing(picture, &mut add);
    }
    match &picture.errors {
        None => add(Health::Unknown, "its error counters could not be read".to_owned()),
        Some(errors) => {
            let counted = errors.iter().filter(|(_, _, count)| 0 < *count);
            let list: Vec<String> = counted
                .map(|(device, name, count)| format!("{device} {name} {count}"))
                .collect();
            if !list.is_empty() {
                let text = format!(
                    "errors since the counters were last reset: {}; look at the disk and its cable, scrub, then reset \
                     with btrfs device stats -z",
                    list.join(", ")
                );
                add(Health::Warning, text);
            }
        }
    }
    if let Some(scrub) = &picture.scrub {
        let (worse, reason) = judge_scrub(scrub);
        // That no scrub is known says nothing about the filesystem.
        if let Some(reason) = reason {
            add(
                if worse == Health::Unknown {
                    Health::Healthy
                } else {
                    worse
                },
                reason,
            );
        }
    }
    add_notes(picture, &mut add);
    (health, reasons)
}

/// How many devices a profile can lose, and keep every block.
fn bearable(mode: &str) -> Option<u64> {
    match mode {
        "single" | "dup" | "raid0" => Some(0),
        "raid1" | "raid10" | "raid5" => Some(1),
        "raid1c3" | "raid6" => Some(2),
        "raid1c4" => Some(3),
        _ => None,
    }
}

fn add_missing(picture: &Picture, add: &mut impl FnMut(Health, String)) {
    let count = picture.missing;
    let devices = if count == 1 {
        "a device is missing".to_owned()
    } else {
        format!("{count} devices are missing")
    };
    let lost = picture
        .profiles
        .iter()
        .find(|(_, mode)| bearable(mode).is_some_and(|bearable| bearable < count));
    match lost {
        Some((kind, mode)) => add(
            Health::Failed,
            format!(
                "failed: {devices}, and {kind} with profile {mode} cannot do without; it will not mount again"
            ),
        ),
        None => add(
            Health::Critical,
            format!("degraded: {devices}; replace with btrfs replace, or remove it as \"missing\""),
        ),
    }
}

fn add_notes(picture: &Picture, add: &mut impl FnMut(Health, String)) {
    if 1 < picture.devices {
        let single = |mode: &str| bearable(mode) == Some(0);
        let kinds = picture
            .profiles
            .iter()
            .filter(|(kind, mode)| kind != "system" && single(mode));
        let list: Vec<String> = kinds.map(|(kind, mode)| format!("{kind} ({mode})")).collect();
        if !list.is_empty() {
            let text = format!(
                "no second device holds {}: each device is needed",
                list.join(" and ")
            );
            add(Health::Healthy, text);
        }
    }
}

/// What a scrub's outcome says; without a reason there is nothing to say against it.
pub(super) fn judge_scrub(status: &ScrubStatus) -> (Health, Option<String>) {
    let mut worst = (Health::Healthy, None);
    if status.scrubs.is_empty() {
        return (Health::Unknown, Some("no scrub is known".to_owned()));
    }
    for scrub in &status.scrubs {
        let found = judge_one(scrub);
        if worst.0 < found.0 || worst.1.is_none() {
            worst = found;
        }
    }
    worst
}

fn judge_one(scrub: &Scrub) -> (Health, Option<String>) {
    let at = scrub
        .device
        .as_deref()
        .map_or(String::new(), |device| format!(" on {device}"));
    let count = scrub.error_count();
    if let Some(lost) = scrub.uncorrectable.filter(|lost| 0 < *lost) {
        let text = format!(
            "the last scrub{at} found {lost} errors it could not put right: the files are named in the kernel log; \
             restore them from a backup"
        );
        return (Health::Critical, Some(text));
    }
    if 0 < count {
        let text = format!(
            "the last scrub{at} found {count} errors and put right {}",
            scrub.corrected.unwrap_or(0)
        );
        return (Health::Warning, Some(text));
    }
    let no_end = |word: &str| {
        (
            Health::Unknown,
            Some(format!("the last scrub{at} was {word} before its end")),
        )
    };
    match scrub.status {
        Status::Unknown => (
            Health::Unknown,
            Some("the state of the last scrub is not known".to_owned()),
        ),
        Status::NoStatistics => (Health::Unknown, None),
        Status::Aborted => no_end("aborted"),
        Status::Interrupted => no_end("interrupted"),
        Status::Running | Status::Finished if !scrub.errors_told => (
            Health::Unknown,
            Some("the last scrub does not tell what it found".to_owned()),
        ),
        Status::Running | Status::Finished => (Health::Healthy, None),
    }
}
