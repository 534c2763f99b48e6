//! `btrfs scrub status`, of a whole filesystem or (`-d`) of each device, plain, `--raw` or `-R`.
//!
//! btrfs-scrub(8), cmds/scrub.c of btrfs-progs 3.12 to 6.16. Since 5.2 there are labels and values; before, sentences
//! (`scrub started at … and finished after 00:00:01`). A scrub has no statistics for its first seconds.

use crate::problem::{Parsed, Problems, excerpt};

/// What is known of a filesystem's last scrub.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct ScrubStatus {
    /// The filesystem's id.
    pub uuid: Option<String>,
    /// The scrub of the whole, or of each device.
    pub scrubs: Vec<Scrub>,
}

/// A scrub.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Scrub {
    /// The device, where each is told of.
    pub device: Option<String>,
    /// When it began, as `Sun Nov 22 00:10:30 2026` in the server's time zone.
    pub started: Option<String>,
    /// How it is or ended.
    pub status: Status,
    /// How long it took or has been running, in seconds.
    pub duration_s: Option<u64>,
    /// Seconds left.
    pub left_s: Option<u64>,
    /// Bytes that are to be read.
    pub total_bytes: Option<u64>,
    /// Bytes that were read; a scrub that ended has read all.
    pub done_bytes: Option<u64>,
    /// Bytes a second.
    pub rate_bytes_per_s: Option<u64>,
    /// Whether the errors are told of at all.
    pub errors_told: bool,
    /// Errors by name: `read`, `super`, `verify`, `csum`; empty if there were none.
    pub errors: Vec<(String, u64)>,
    /// Errors that were put right.
    pub corrected: Option<u64>,
    /// Errors that were not.
    pub uncorrectable: Option<u64>,
    /// Errors that went away when looked at again.
    pub unverified: Option<u64>,
}

/// How a scrub is or ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It runs.
    Running,
    /// It came to its end, whatever it found.
    Finished,
    /// Somebody stopped it, or it could not go on.
    Aborted,
    /// The server went down meanwhile.
    Interrupted,
    /// Nothing is known of any: there was none, or one has just begun.
    NoStatistics,
    /// The word is not known.
    #[default]
    Unknown,
}

impl Scrub {
    /// All errors together.
    pub fn error_count(&self) -> u64 {
        let sum = self
            .errors
            .iter()
            .fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
        let told = [self.corrected, self.uncorrectable, self.unverified];
        sum.max(told.into_iter().flatten().fold(0, u64::saturating_add))
    }
}

/// Reads any form.
pub fn parse(text: &str) -> Parsed<ScrubStatus> {
    let mut problems = Problems::default();
    let mut found = ScrubStatus::default();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if !take(&mut found, line) {
            problems.at_index(
                index,
                format!("expected a label and a value, found \"{}\"", excerpt(line)),
            );
        }
    }
    if found.scrubs.is_empty() {
        problems.overall("expected a scrub's status, found none");
    }
    for scrub in &found.scrubs {
        let name = scrub
            .device
            .as_deref()
            .map_or(String::new(), |device| format!("{}: ", excerpt(device)));
        if scrub.status == Status::Unknown {
            problems.overall(format!("{name}expected a status, found none that is known"));
        } else if scrub.status != Status::NoStatistics && !scrub.errors_told {
            problems.overall(format!(
                "{name}expected a summary of errors, found none: the text may be cut"
            ));
        }
    }
    problems.with(found)
}

fn take(found: &mut ScrubStatus, line: &str) -> bool {
    if let Some(uuid) = line
        .strip_prefix("UUID:")
        .or_else(|| line.strip_prefix("scrub status for "))
    {
        found.uuid = Some(uuid.trim().to_owned());
        return true;
    }
    // `Scrub device /dev/sda (id 1) history`, `scrub device /dev/sda (id 1) status`.
    if let Some(rest) = line
        .strip_prefix("Scrub device ")
        .or_else(|| line.strip_prefix("scrub device "))
    {
        let device = rest.split(" (id ").next().unwrap_or(rest);
        found.scrubs.push(Scrub {
            device: Some(device.to_owned()),
            ..Scrub::default()
        });
        return true;
    }
    if found.scrubs.is_empty() {
        found.scrubs.push(Scrub::default());
    }
    let Some(scrub) = found.scrubs.last_mut() else {
        return false;
    };
    take_value(scrub, line) || take_sentence(scrub, line)
}

/// `Label:   value`.
fn take_value(scrub: &mut Scrub, line: &str) -> bool {
    let Some((label, value)) = line.split_once(':') else {
        return false;
    };
    let value = value.trim();
    match label.trim() {
        "Scrub started" | "Scrub resumed" => scrub.started = Some(value.to_owned()),
        "Status" => scrub.status = status(value),
        "Duration" => scrub.duration_s = seconds(value),
        "Time left" => scrub.left_s = seconds(value),
        "ETA" => {}
        "Total to scrub" => scrub.total_bytes = bytes(value),
        "Bytes scrubbed" => scrub.done_bytes = bytes(value.split('(').next().unwrap_or_default().trim()),
        "Rate" => {
            // Limited ones say so behind: `100.00MiB/s (limit 200.00MiB/s)`.
            let rate = value.split_whitespace().next().unwrap_or_default();
            scrub.rate_bytes_per_s = bytes(rate.trim_end_matches("/s"));
        }
        "Error summary" | "error details" => return take_errors(scrub, value),
        "Corrected" | "corrected_errors" => return number(&mut scrub.corrected, value),
        "Uncorrectable" | "uncorrectable_errors" => return number(&mut scrub.uncorrectable, value),
        "Unverified" | "unverified_errors" => return number(&mut scrub.unverified, value),
        // Counters of -R.
        "read_errors" => return raw_error(scrub, "read", value),
        "csum_errors" => return raw_error(scrub, "csum", value),
        "verify_errors" => return raw_error(scrub, "verify", value),
        "super_errors" => return raw_error(scrub, "super", value),
        "data_bytes_scrubbed" | "tree_bytes_scrubbed" => match value.parse::<u64>() {
            Ok(count) => scrub.done_bytes = Some(scrub.done_bytes.unwrap_or(0).saturating_add(count)),
            Err(_) => return false,
        },
        "data_extents_scrubbed"
        | "tree_extents_scrubbed"
        | "no_csum"
        | "csum_discards"
        | "malloc_errors"
        | "last_physical" => return value.parse::<u64>().is_ok(),
        _ => return false,
    }
    true
}

fn raw_error(scrub: &mut Scrub, name: &str, value: &str) -> bool {
    let Ok(count) = value.parse::<u64>() else {
        return false;
    };
    scrub.errors_told = true;
    if 0 < count {
        scrub.errors.push((name.to_owned(), count));
    }
    true
}

fn number(place: &mut Option<u64>, value: &str) -> bool {
    *place = value.parse().ok();
    place.is_some()
}

/// `no errors found`, or `read=1 verify=2 csum=3`.
fn take_errors(scrub: &mut Scrub, value: &str) -> bool {
    scrub.errors_told = true;
    if value == "no errors found" {
        return true;
    }
    let mut is_known = !value.is_empty();
    for word in value.split_whitespace() {
        match word
            .split_once('=')
            .and_then(|(name, count)| Some((name, count.parse::<u64>().ok()?)))
        {
            Some((name, count)) => scrub.errors.push((name.to_owned(), count)),
            None => is_known = false,
        }
    }
    scrub.errors_told = is_known;
    is_known
}

/// The forms before btrfs-progs 5.2.
fn take_sentence(scrub: &mut Scrub, line: &str) -> bool {
    if line == "no stats available" {
        scrub.status = Status::NoStatistics;
        return true;
    }
    if let Some(rest) = line.strip_prefix("total bytes scrubbed: ") {
        let Some((done, errors)) = rest.split_once(" with ") else {
            return false;
        };
        let count = errors
            .split_whitespace()
            .next()
            .and_then(|count| count.parse::<u64>().ok());
        scrub.done_bytes = bytes(done);
        scrub.errors_told = count.is_some();
        return count.is_some();
    }
    if line.starts_with("corrected errors: ") {
        return line.split(", ").all(|part| match part.split_once(": ") {
            Some(("corrected errors", count)) => number(&mut scrub.corrected, count),
            Some(("uncorrectable errors", count)) => number(&mut scrub.uncorrectable, count),
            Some(("unverified errors", count)) => number(&mut scrub.unverified, count),
            _ => false,
        });
    }
    let start = ["scrub started at ", "scrub resumed at "];
    let Some(rest) = start.iter().find_map(|start| line.strip_prefix(start)) else {
        return false;
    };
    let ends = [
        (" and finished after ", Status::Finished),
        (" and was aborted after ", Status::Aborted),
        (" interrupted after ", Status::Interrupted),
        (" running for ", Status::Running),
    ];
    for (words, status) in ends {
        if let Some((started, after)) = rest.split_once(words) {
            scrub.started = Some(started.trim_end_matches(',').to_owned());
            scrub.status = status;
            scrub.duration_s = seconds(after.split(',').next().unwrap_or_default().trim());
            return true;
        }
    }
    false
}

fn status(word: &str) -> Status {
    match word {
        "running" => Status::Running,
        "finished" => Status::Finished,
        "aborted" => Status::Aborted,
        "interrupted" => Status::Interrupted,
        _ => Status::Unknown,
    }
}

/// `1:02:03`, also `1 days 2:03:04` and plain seconds.
fn seconds(text: &str) -> Option<u64> {
    let (days, time) = match text.split_once(" days ") {
        Some((days, time)) => (days.trim().parse::<u64>().ok()?, time),
        None => (0, text),
    };
    let parts = time.trim().trim_end_matches(" seconds").split(':');
    let in_day = parts
        .map(|part| part.parse::<u64>().ok())
        .try_fold(0_u64, |sum, part| sum.checked_mul(60)?.checked_add(part?))?;
    days.checked_mul(86_400)?.checked_add(in_day)
}

/// `134807552`, `128.56MiB`.
fn bytes(text: &str) -> Option<u64> {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let end = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(end);
    let number: f64 = number.trim().parse().ok()?;
    let power = UNITS.iter().position(|known| *known == unit)?;
    let bytes = number * 1024_f64.powi(i32::try_from(power).ok()?);
    // A text of at most a few digits is never beyond what fits, unless somebody made it so.
    (bytes.is_finite() && (0.0..1.8e19).contains(&bytes)).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Scrub {
        let parsed = parse(text);
        assert!(parsed.problems.is_empty(), "{text}: {:?}", parsed.problems);
        parsed.value.scrubs[0].clone()
    }

    #[test]
    fn a_scrub_that_runs_or_ended_is_read() {
        let running = one(
            "UUID:             c74b0b9a\nScrub started:    Sun Nov 22 01:01:11 2026\nStatus:           running\n\
             Duration:         0:00:10\nTime left:        1:00:13\nETA:              Sun Nov 22 01:01:35 2026\n\
             Total to scrub:   134823936\nBytes scrubbed:   57573376  (42.70%)\nRate:             5757337/s\n\
             Error summary:    no errors found\n",
        );
        assert_eq!(running.status, Status::Running);
        assert_eq!((running.duration_s, running.left_s), (Some(10), Some(3613)));
        assert_eq!(
            (running.total_bytes, running.done_bytes),
            (Some(134_823_936), Some(57_573_376))
        );
        assert_eq!(
            (running.rate_bytes_per_s, running.error_count()),
            (Some(5_757_337), 0)
        );
        let ended = one(
            "UUID: x\nScrub started: Sun Nov 22 00:35:46 2026\nStatus: finished\nDuration: 100:00:05\nTotal to scrub: 128.56MiB\n\
             Rate: 25.71MiB/s (limit 100.00MiB/s)\nError summary:    verify=1 csum=14920\n  Corrected:      14900\n  \
             Uncorrectable:  21\n  Unverified:     0\n",
        );
        assert_eq!((ended.status, ended.error_count()), (Status::Finished, 14921));
        assert_eq!((ended.corrected, ended.uncorrectable), (Some(14900), Some(21)));
        assert_eq!(
            (ended.total_bytes, ended.rate_bytes_per_s),
            (Some(134_804_930), Some(26_958_888))
        );
        assert_eq!(ended.duration_s, Some(360_005));
    }

    #[test]
    fn a_scrub_that_has_just_begun_or_never_did_has_no_statistics() {
        let none = one("UUID:             c74b0b9a\n\tno stats available\n");
        assert_eq!(none.status, Status::NoStatistics);
        let begun = one(
            "UUID: x\n\tno stats available\nTime left:        0:00:00\nETA:  Sun Nov 22 01:00:42 2026\nTotal to scrub: 1\nBytes scrubbed:   0  (0.00%)\nRate: 0/s\nError summary:    no errors found\n",
        );
        assert_eq!((begun.status, begun.done_bytes), (Status::NoStatistics, Some(0)));
        for word in ["aborted", "interrupted"] {
            let ended = one(&format!(
                "Scrub started: x\nStatus: {word}\nDuration: 0:00:01\nError summary: no errors found\n"
            ));
            assert!(matches!(ended.status, Status::Aborted | Status::Interrupted));
        }
    }

    #[test]
    fn old_versions_sentences_are_read() {
        let head = "scrub status for c74b0b9a\n\tscrub started at Sun Nov 22 00:10:30 2026";
        let finished = one(&format!(
            "{head} and finished after 00:00:05\n\ttotal bytes scrubbed: 128.00MiB with 3 errors\n\terror details: csum=3\n\tcorrected errors: 2, uncorrectable errors: 1, unverified errors: 0\n"
        ));
        assert_eq!(
            (finished.status, finished.duration_s, finished.uncorrectable),
            (Status::Finished, Some(5), Some(1))
        );
        assert_eq!(finished.started.as_deref(), Some("Sun Nov 22 00:10:30 2026"));
        let running = one(&format!(
            "{head}, running for 00:00:10\n\ttotal bytes scrubbed: 1.00KiB with 0 errors\n"
        ));
        assert_eq!(
            (running.status, running.done_bytes, running.error_count()),
            (Status::Running, Some(1024), 0)
        );
        let stopped = one(&format!(
            "{head}, interrupted after 00:00:10, not running\n\ttotal bytes scrubbed: 0.00B with 0 errors\n"
        ));
        assert_eq!(
            (stopped.status, stopped.duration_s),
            (Status::Interrupted, Some(10))
        );
        let aborted = one(&format!(
            "{head} and was aborted after 17 seconds\n\ttotal bytes scrubbed: 1.00TiB with 0 errors\n"
        ));
        assert_eq!((aborted.status, aborted.duration_s), (Status::Aborted, Some(17)));
    }

    #[test]
    fn each_device_and_raw_counters_are_read() {
        let parsed = parse(
            "UUID: x\n\nScrub device /dev/sda (id 1) history\nScrub started: x\nStatus: finished\nDuration: 0:00:01\nError summary: no errors found\n\nScrub device /dev/sdb (id 2) history\nScrub started: x\nStatus: finished\n\tdata_extents_scrubbed: 2\n\tread_errors: 0\n\tcsum_errors: 4\n\tuncorrectable_errors: 4\n",
        );
        assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
        let scrubs = &parsed.value.scrubs;
        assert_eq!(
            (scrubs[0].device.as_deref(), scrubs[1].device.as_deref()),
            (Some("/dev/sda"), Some("/dev/sdb"))
        );
        assert_eq!((scrubs[1].error_count(), scrubs[1].uncorrectable), (4, Some(4)));
    }

    #[test]
    fn what_is_not_known_or_cut_is_a_problem() {
        for text in [
            "",
            "ERROR: not a btrfs filesystem\n",
            "UUID: x\nScrub started: y\nStatus: sleeping\nError summary: no errors found\n",
            "UUID: x\nScrub started: y\nStatus: finished\n",
            "UUID: x\nStatus: finished\nError summary: some\n",
            "UUID: x\nStatus: finished\nError summary: no errors found\nNew thing\n",
        ] {
            assert!(!parse(text).problems.is_empty(), "{text}");
        }
    }
}
