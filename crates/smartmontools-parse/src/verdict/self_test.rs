//! Self-tests the drive has run.
//!
//! The newest test that came to an end decides. One that failed means the drive could not read itself or its parts do
//! not work: critical, or a warning when it is more than a year of running ago and nobody has tested since. A
//! failed one followed by a good one counts as a warning until a good *extended* test has outdated it, since a short
//! test reads only a little of the disk (smartctl counts that as `error_count_outdated`).

use crate::baseline::Baseline;
use crate::report::Report;

use super::{Health, Reason};

/// A test that failed, whatever the protocol.
struct Failure<'a> {
    kind: Option<&'a str>,
    result: Option<&'a str>,
    /// Running hours since then, if known.
    hours_ago: Option<u64>,
}

pub(super) fn judge(report: &Report, baseline: Option<&Baseline>) -> Option<Reason> {
    let failure = ata(report).or_else(|| nvme(report)).or_else(|| scsi(report));
    failure
        .map(|failure| failure.reason())
        .or_else(|| not_outdated(report, baseline))
}

impl Failure<'_> {
    fn reason(&self) -> Reason {
        const OLD_HOURS: u64 = 8760;
        let kind = self.kind.unwrap_or("kind unknown");
        let result = self
            .result
            .map(|result| format!(", {result}"))
            .unwrap_or_default();
        let when = self
            .hours_ago
            .map(|hours| format!(" {hours} running hours ago"))
            .unwrap_or_default();
        let is_old = self.hours_ago.is_some_and(|hours| OLD_HOURS < hours);
        let (health, advice) = if is_old {
            (
                Health::Warning,
                "run an extended one (smartctl --test=long) to see what became of it",
            )
        } else {
            (
                Health::Critical,
                "back up, run an extended one (smartctl --test=long), replace the drive if it fails too",
            )
        };
        let text = format!("the last self-test ({kind}{result}) failed{when}; {advice}");
        Reason::new("self_test_failed", health, text)
    }
}

fn ata(report: &Report) -> Option<Failure<'_>> {
    /// Hours in the log have 16 bits.
    const WRAP: u64 = 1 << 16;
    let newest = report
        .ata_log()
        .and_then(|log| log.tests.iter().find(|test| test.status.outcome().is_some()));
    let Some(test) = newest else {
        // How the last test ended is also in the drive's status byte, where no log was asked for.
        let status = report
            .ata
            .self_test_status
            .as_ref()
            .filter(|status| status.outcome() == Some(false))?;
        return Some(Failure {
            kind: None,
            result: status.text.as_deref(),
            hours_ago: None,
        });
    };
    let ago = |logged: u64| Some((report.power_on_hours()? % WRAP + WRAP - logged % WRAP) % WRAP);
    (test.status.outcome() == Some(false)).then(|| Failure {
        kind: test.kind.as_deref(),
        result: test.status.text.as_deref(),
        hours_ago: test.lifetime_hours.and_then(ago),
    })
}

fn nvme(report: &Report) -> Option<Failure<'_>> {
    let test = report
        .nvme
        .self_tests
        .iter()
        .find(|test| test.outcome().is_some())?;
    (test.outcome() == Some(false)).then(|| Failure {
        kind: test.kind.as_deref(),
        result: test.result_text.as_deref(),
        hours_ago: hours_since(report, test.power_on_hours),
    })
}

fn scsi(report: &Report) -> Option<Failure<'_>> {
    let test = report
        .scsi
        .self_tests
        .iter()
        .find(|test| test.outcome().is_some())?;
    (test.outcome() == Some(false)).then(|| Failure {
        kind: test.kind.as_deref(),
        result: test.result_text.as_deref(),
        hours_ago: hours_since(report, test.power_on_hours),
    })
}

fn hours_since(report: &Report, logged: Option<u64>) -> Option<u64> {
    report.power_on_hours()?.checked_sub(logged?)
}

fn not_outdated(report: &Report, baseline: Option<&Baseline>) -> Option<Reason> {
    let errors = report.self_test_errors().filter(|errors| 0 < *errors)?;
    if baseline.is_some_and(|baseline| errors <= baseline.self_test_errors) {
        let text = format!(
            "self-tests that failed and that no newer extended one outdates: {errors}; seen and accepted"
        );
        return Some(Reason::note("self_test_failed_before", text));
    }
    let text = format!(
        "self-tests that failed and that no newer extended one outdates: {errors}; run smartctl --test=long"
    );
    Some(Reason::new("self_test_failed_before", Health::Warning, text))
}

/// The self-test that runs now, for people who wonder why the drive is slow.
pub(super) fn running(report: &Report) -> Option<Reason> {
    let test = report.self_test().filter(|test| test.is_running)?;
    let kind = test.kind.map(|kind| format!(" ({kind})")).unwrap_or_default();
    let left = test
        .remaining_percent
        .map(|percent| format!(", {percent} % left"))
        .unwrap_or_default();
    let text = format!("a self-test{kind} is running{left}");
    Some(Reason::note("self_test_running", text))
}
