//! The `scan:` lines: scrub, resilver, rebuild of a single vdev, scrub of known errors.
//!
//! `print_scan_scrub_resilver_status`, `print_rebuild_status_impl` and `print_err_scrub_status` of
//! `cmd/zpool/zpool_main.c`. The wording changed with 0.8 (scanned and issued are told apart, `0 days 00:00:01`), 2.0
//! (days only if there are any), 2.2 (`33.0M / 33.0M scanned`) and 2.3.

use serde::Serialize;

use super::number::{date, nice_number, seconds};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ScanKind {
    /// Everything is read and checked.
    Scrub,
    /// A device is filled with what it should hold.
    Resilver,
    /// Only blocks that are known to be damaged are read.
    ErrorScrub,
}

impl ScanKind {
    /// The word in reasons and fields.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scrub => "scrub",
            Self::Resilver => "resilver",
            Self::ErrorScrub => "error_scrub",
        }
    }
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ScanState {
    /// It runs.
    InProgress,
    /// Someone halted it.
    Paused,
    /// It came to its end.
    Finished,
    /// Someone ended it.
    Canceled,
}

impl ScanState {
    /// The word in reasons and fields.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Paused => "paused",
            Self::Finished => "finished",
            Self::Canceled => "canceled",
        }
    }
}

/// When something was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Time {
    /// Unix seconds.
    Unix(i64),
    /// A date and time of the server's own zone, `2026-11-22T00:10:41`.
    Local(String),
}

/// What the running pass of a scan has done; only the JSON form tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pass {
    /// When it began, Unix seconds.
    pub started_s: u64,
    /// How long of it was spent paused.
    pub paused_s: u64,
    /// Bytes for which the reading was asked for.
    pub issued_bytes: u64,
}

/// A scan, as far as it is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scan {
    /// What it is.
    pub kind: ScanKind,
    /// How far it is.
    pub state: ScanState,
    /// The vdev it is about, if not the whole pool.
    pub vdev: Option<String>,
    /// When it began.
    pub started: Option<Time>,
    /// When it ended, by itself or by someone.
    pub ended: Option<Time>,
    /// When it was paused.
    pub paused: Option<Time>,
    /// How long it took.
    pub duration_s: Option<u64>,
    /// Bytes repaired or resilvered.
    pub processed_bytes: Option<u64>,
    /// Errors that could not be repaired.
    pub errors: Option<u64>,
    /// Bytes looked at.
    pub scanned_bytes: Option<u64>,
    /// Bytes for which the reading was asked for.
    pub issued_bytes: Option<u64>,
    /// Bytes in all.
    pub total_bytes: Option<u64>,
    /// How much is done, percent.
    pub percent: Option<f64>,
    /// Bytes a second, as they are issued.
    pub bytes_per_second: Option<u64>,
    /// How long it goes on, seconds, where the tool dares to say.
    pub remaining_s: Option<u64>,
    /// The running pass.
    pub pass: Option<Pass>,
}

impl Scan {
    /// A scan of which nothing else is known.
    #[must_use]
    pub fn new(kind: ScanKind, state: ScanState) -> Self {
        Self {
            kind,
            state,
            vdev: None,
            started: None,
            ended: None,
            paused: None,
            duration_s: None,
            processed_bytes: None,
            errors: None,
            scanned_bytes: None,
            issued_bytes: None,
            total_bytes: None,
            percent: None,
            bytes_per_second: None,
            remaining_s: None,
            pass: None,
        }
    }

    /// Whether it runs or is only halted.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        matches!(self.state, ScanState::InProgress | ScanState::Paused)
    }
}

/// What came of a `scan:` line and those below it.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// There never was one.
    Nothing,
    /// This.
    Scan(Box<Scan>),
}

/// Reads the first line, without its label, and those below it. `Err` says what is odd; the scan may still be told.
pub(super) fn parse(lines: &[&str]) -> (Option<Said>, Vec<String>) {
    let mut odd = Vec::new();
    let Some((first, rest)) = lines.split_first() else {
        return (None, vec!["nothing is said of the scan".to_owned()]);
    };
    let first = first.trim();
    if first == "none requested" {
        return (Some(Said::Nothing), odd);
    }
    let Some(mut scan) = head(first, &mut odd) else {
        odd.push(format!("unknown words of a scan: {first:.120}"));
        return (None, odd);
    };
    for line in rest
        .iter()
        .map(|line| line.trim())
        .filter(|line| !line.is_empty())
    {
        if !progress(line, &mut scan) {
            odd.push(format!("unknown words of a scan: {line:.120}"));
        }
    }
    if scan.is_under_way() && scan.percent.is_none() && scan.kind != ScanKind::ErrorScrub {
        odd.push("a scan is under way, and how far it is is not said".to_owned());
    }
    (Some(Said::Scan(Box::new(scan))), odd)
}

/// The first line: what it is and how far.
fn head(text: &str, odd: &mut Vec<String>) -> Option<Scan> {
    if let Some(rest) = text.strip_prefix("scrubbed ") {
        // "scrubbed 3 error blocks in 2 minutes on DATE".
        let mut scan = Scan::new(ScanKind::ErrorScrub, ScanState::Finished);
        scan.ended = Some(time(rest.rsplit_once(" on ")?.1, odd)?);
        return Some(scan);
    }
    let (kind, rest) = kind(text)?;
    // Releases of before 2011, still seen on old Solaris: "completed after 0h5m with 0 errors on DATE".
    if let Some(rest) = rest.strip_prefix("completed after ") {
        let (span, rest) = rest.split_once(" with ")?;
        let (errors, date) = rest.split_once(" errors on ")?;
        let mut scan = Scan::new(kind, ScanState::Finished);
        scan.duration_s = known(span, seconds(span), odd);
        scan.errors = known(errors, nice_number(errors.trim()), odd);
        scan.ended = time(date, odd);
        return Some(scan);
    }
    // "in progress for 0h1m, 0.17% done, 10h9m to go".
    if let Some(rest) = rest.strip_prefix("in progress for ") {
        let (_, rest) = rest.split_once(", ")?;
        let mut scan = Scan::new(kind, ScanState::InProgress);
        return progress(rest, &mut scan).then_some(scan);
    }
    let (vdev, rest) = match rest.strip_prefix('(').and_then(|rest| rest.split_once(") ")) {
        Some((vdev, rest)) => (Some(vdev.to_owned()), rest),
        None => (None, rest),
    };
    let mut scan = if let Some(date) = rest.strip_prefix("in progress since ") {
        let mut scan = Scan::new(kind, ScanState::InProgress);
        scan.started = time(date, odd);
        scan
    } else if let Some(date) = rest.strip_prefix("paused since ") {
        let mut scan = Scan::new(kind, ScanState::Paused);
        scan.paused = time(date, odd);
        scan
    } else if let Some(date) = rest
        .strip_prefix("canceled on ")
        .or_else(|| rest.strip_prefix("cancelled on "))
    {
        let mut scan = Scan::new(kind, ScanState::Canceled);
        scan.ended = time(date, odd);
        scan
    } else {
        finished(kind, rest, odd)?
    };
    scan.vdev = vdev;
    Some(scan)
}

fn kind(text: &str) -> Option<(ScanKind, &str)> {
    for (word, kind) in [
        ("error scrub ", ScanKind::ErrorScrub),
        ("scrub ", ScanKind::Scrub),
        ("resilvered ", ScanKind::Resilver),
        ("resilver ", ScanKind::Resilver),
    ] {
        if let Some(rest) = text.strip_prefix(word) {
            return Some((kind, rest));
        }
    }
    None
}

/// `repaired 0B in 00:00:01 with 0 errors on DATE`, `16.6M in … with 0 errors on DATE`.
fn finished(kind: ScanKind, text: &str, odd: &mut Vec<String>) -> Option<Scan> {
    let text = text.strip_prefix("repaired ").unwrap_or(text);
    let (amount, rest) = text.split_once(" in ")?;
    let (span, rest) = rest.split_once(" with ")?;
    let (errors, date) = rest
        .split_once(" errors on ")
        .or_else(|| rest.split_once(" error on "))?;
    let mut scan = Scan::new(kind, ScanState::Finished);
    scan.processed_bytes = known(amount, nice_number(amount), odd);
    scan.duration_s = known(span, seconds(span), odd);
    scan.errors = known(errors, nice_number(errors.trim()), odd);
    scan.ended = time(date, odd);
    Some(scan)
}

/// One of the lines below; whether it was understood.
fn progress(line: &str, scan: &mut Scan) -> bool {
    for word in ["scrub started on ", "error scrub started on "] {
        if let Some(text) = line.strip_prefix(word) {
            scan.started = date(text).map(Time::Local);
            return scan.started.is_some();
        }
    }
    // The one piece with a comma of its own.
    let line = line.replace("(scan is slow, no estimated time)", "");
    line.split(", ").all(|part| piece(part.trim(), scan))
}

/// `61.4M scanned at 7.67M/s`, `33.0M / 33.0M scanned`, `374G scanned out of 1.52T at 101M/s`, `18.1M resilvered`,
/// `88.67% done`, `00:01:02 to go`, `no estimated completion time`, …
fn piece(part: &str, scan: &mut Scan) -> bool {
    if part.is_empty() || part == "no estimated completion time" {
        return true;
    }
    if let Some(span) = part.strip_suffix(" to go") {
        scan.remaining_s = seconds(span);
        return scan.remaining_s.is_some();
    }
    if let Some(text) = part.strip_suffix("% done") {
        scan.percent = text
            .trim()
            .parse()
            .ok()
            .filter(|percent: &f64| percent.is_finite());
        return scan.percent.is_some();
    }
    if let Some(text) = part.strip_suffix(" error blocks scrubbed") {
        let numbers = text
            .split_once('/')
            .and_then(|(done, all)| Some((nice_number(done.trim())?, nice_number(all.trim())?)));
        if let Some((done, all)) = numbers.filter(|(_, all)| 0 < *all) {
            scan.percent = Some(100.0 * done as f64 / all as f64);
        }
        return numbers.is_some();
    }
    let Some((amount, rest)) = part.split_once(' ') else {
        return false;
    };
    let Some(number) = nice_number(amount) else {
        return false;
    };
    let (rest, total) = match rest.strip_prefix("/ ").and_then(|rest| rest.split_once(' ')) {
        Some((total, rest)) => (rest, nice_number(total)),
        None => (rest, None),
    };
    let (verb, tail) = rest.split_once(' ').unwrap_or((rest, ""));
    match verb {
        "scanned" => {
            scan.scanned_bytes = Some(number);
            scan.total_bytes = total.or(scan.total_bytes);
            scanned_tail(tail, scan)
        }
        "issued" => {
            scan.issued_bytes = Some(number);
            // What is skipped need not be read: the second total is the one the percentage is of.
            scan.total_bytes = total.or(scan.total_bytes);
            rate_tail(tail, scan)
        }
        "total" => {
            scan.total_bytes = Some(number);
            tail.is_empty()
        }
        "repaired" | "resilvered" => {
            scan.processed_bytes = Some(number);
            tail.is_empty()
        }
        _ => false,
    }
}

/// `at 7.67M/s`, `out of 1.52T at 101M/s`, or nothing. The rate of looking is not the rate of the work.
fn scanned_tail(tail: &str, scan: &mut Scan) -> bool {
    match tail.strip_prefix("out of ") {
        Some(rest) => {
            let (total, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            scan.total_bytes = nice_number(total);
            scan.total_bytes.is_some() && rate_tail(rest, scan)
        }
        None => rate(tail).is_some(),
    }
}

fn rate_tail(tail: &str, scan: &mut Scan) -> bool {
    match rate(tail) {
        Some(found) => {
            scan.bytes_per_second = found.or(scan.bytes_per_second);
            true
        }
        None => false,
    }
}

/// `at 1.89M/s`, `1.89M/s` as rebuilds of 2.0 have it, or nothing; `None` if it is anything else.
fn rate(tail: &str) -> Option<Option<u64>> {
    if tail.is_empty() {
        return Some(None);
    }
    let text = tail.strip_prefix("at ").unwrap_or(tail);
    nice_number(text.strip_suffix("/s")?).map(Some)
}

fn time(text: &str, odd: &mut Vec<String>) -> Option<Time> {
    known(text, date(text), odd).map(Time::Local)
}

fn known<T>(text: &str, value: Option<T>, odd: &mut Vec<String>) -> Option<T> {
    if value.is_none() {
        odd.push(format!("unknown words in a scan: {text:.60}"));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Scan {
        let lines: Vec<&str> = text.lines().collect();
        match parse(&lines) {
            (Some(Said::Scan(scan)), odd) if odd.is_empty() => *scan,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn ends_of_every_release_are_read() {
        for (text, seconds) in [
            (
                "scrub repaired 0B in 00:00:01 with 0 errors on Sun Nov 22 00:10:41 2026",
                1,
            ),
            (
                "scrub repaired 0B in 0 days 03:22:01 with 0 errors on Sun Jul 12 03:46:02 2020",
                12_121,
            ),
            (
                "scrub repaired 0B in 1 days 02:03:04 with 0 errors on Sun Jul 12 03:46:02 2020",
                93_784,
            ),
            (
                "scrub repaired 0 in 3h12m with 0 errors on Sun Jul 12 03:46:02 2015",
                11_520,
            ),
        ] {
            let found = scan(text);
            assert_eq!(
                (found.kind, found.state, found.duration_s, found.errors),
                (ScanKind::Scrub, ScanState::Finished, Some(seconds), Some(0)),
                "{text}"
            );
            assert!(found.ended.is_some());
        }
        let found = scan("resilvered 1.02T in 08:01:02 with 3 errors on Sun Nov  1 00:10:41 2026");
        assert_eq!(
            (found.kind, found.errors, found.processed_bytes),
            (ScanKind::Resilver, Some(3), Some(1_121_501_860_332))
        );
        let found = scan("resilvered (mirror-0) 16.6M in 00:00:02 with 0 errors on Sun Nov  1 00:10:41 2026");
        assert_eq!(found.vdev.as_deref(), Some("mirror-0"));
        assert_eq!(
            scan("scrub canceled on Sun Nov  1 00:10:41 2026").state,
            ScanState::Canceled
        );
    }

    #[test]
    fn progress_of_every_release_is_read() {
        for text in [
            "scrub in progress since Sun Jul 25 16:07:49 2010\n    374G scanned out of 1.52T at 101M/s, 3h18m to go\n    0 repaired, 24.10% done",
            "scrub in progress since Sun Nov 22 00:19:25 2026\n\t1.20T scanned at 4.13M/s, 374G issued at 101M/s, 1.52T total\n\t0B repaired, 24.10% done, 0 days 03:18:00 to go",
            "scrub in progress since Sun Nov 22 00:19:25 2026\n\t1.20T / 1.60T scanned at 4.13M/s, 374G / 1.52T issued at 101M/s\n\t0B repaired, 24.10% done, 03:18:00 to go",
        ] {
            let found = scan(text);
            assert_eq!(found.percent, Some(24.1), "{text}");
            assert_eq!(found.remaining_s, Some(11_880), "{text}");
            assert_eq!(found.bytes_per_second, Some(105_906_176), "{text}");
            assert_eq!(found.total_bytes, Some(1_671_257_674_220), "{text}");
            assert_eq!(found.processed_bytes, Some(0), "{text}");
        }
        let paused = scan(
            "scrub paused since Sun Nov 22 00:20:51 2026\n\tscrub started on Sun Nov 22 00:19:42 2026\n\t33.0M / 33.0M scanned, 17.7M / 33.0M issued\n\t0B repaired, 53.50% done",
        );
        assert_eq!((paused.state, paused.percent), (ScanState::Paused, Some(53.5)));
        assert!(paused.started.is_some() && paused.paused.is_some());
        let rebuild = scan(
            "resilver (draid1:2d:4c:1s-0) in progress since Sun Nov 22 00:19:25 2026\n\t1.1G scanned at 100M/s, 500M issued 50M/s, 2G total\n\t500M resilvered, 25.00% done, no estimated completion time",
        );
        assert_eq!(
            (rebuild.vdev.as_deref(), rebuild.percent),
            (Some("draid1:2d:4c:1s-0"), Some(25.0))
        );
        let blocks =
            scan("error scrub in progress since Sun Nov 22 00:19:25 2026\n\t3/12 error blocks scrubbed");
        assert_eq!((blocks.kind, blocks.percent), (ScanKind::ErrorScrub, Some(25.0)));
        assert_eq!(
            scan("scrubbed 3 error blocks in 2 minutes on Sun Nov 22 00:19:25 2026").state,
            ScanState::Finished
        );
    }

    #[test]
    fn the_oldest_words_and_the_one_with_a_comma_are_read() {
        let done = scan("scrub completed after 0h5m with 0 errors on Sat Mar  5 03:04:05 2011");
        assert_eq!((done.state, done.duration_s), (ScanState::Finished, Some(300)));
        let running = scan("resilver in progress for 0h1m, 0.17% done, 10h9m to go");
        assert_eq!((running.percent, running.remaining_s), (Some(0.17), Some(36_540)));
        let slow = scan(
            "scrub in progress since Sun Jul 25 16:07:49 2010\n    374G scanned out of 1.52T at 1/s, (scan is slow, no estimated time)\n    0 repaired, 24.10% done",
        );
        assert_eq!((slow.percent, slow.remaining_s), (Some(24.1), None));
    }

    #[test]
    fn none_is_told_apart_from_words_that_are_unknown() {
        assert_eq!(parse(&["none requested"]), (Some(Said::Nothing), vec![]));
        for odd in [
            "",
            "trim repaired 0B",
            "scrub repaired",
            "scrub in progress since yesterday",
        ] {
            assert!(!parse(&[odd]).1.is_empty(), "{odd:?}");
        }
        assert!(!parse(&[]).1.is_empty());
        assert!(
            !parse(&["scrub in progress since Sun Nov 22 00:19:25 2026", "\tsoon"])
                .1
                .is_empty()
        );
    }
}
