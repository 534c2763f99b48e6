//! Self-tests the drive has run.
//!
//! The newest test that came to an end decides. One that failed means the drive could not read itself or its parts do
//! not work: critical. A failed one followed by a good one counts as a warning until a good *extended* test has outdated
//! it, since a short test reads only a little of the disk (smartctl counts that as `error_count_outdated`).

use crate::report::{Report, SelfTestLog};

use super::{Health, Reason};

pub(super) fn judge(report: &Report) -> Option<Reason> {
    ata(report).or_else(|| nvme(report)).or_else(|| scsi(report))
}

fn failed(kind: Option<&str>, hours: Option<u64>, result: Option<&str>) -> Reason {
    let kind = kind.unwrap_or("self-test");
    let when = hours
        .map(|hours| format!(" at {hours} hours"))
        .unwrap_or_default();
    let result = result.map(|result| format!(" ({result})")).unwrap_or_default();
    let text = format!(
        "the last self-test ({kind}) failed{when}{result}; back up, repeat it with smartctl --test=long, replace the drive if it fails again"
    );
    Reason::new("self_test_failed", Health::Critical, text)
}

fn ata(report: &Report) -> Option<Reason> {
    // The extended log holds what the standard one does, and more.
    let log = report
        .ata
        .self_test_logs
        .iter()
        .max_by_key(|log| (log.tests.len(), log.kind == "extended"));
    let newest = log.and_then(|log| log.tests.iter().find(|test| test.status.outcome().is_some()));
    if let Some(test) = newest.filter(|test| test.status.outcome() == Some(false)) {
        return Some(failed(
            test.kind.as_deref(),
            test.lifetime_hours,
            test.status.text.as_deref(),
        ));
    }
    if let Some(reason) = log.and_then(not_outdated) {
        return Some(reason);
    }
    // How the last test ended is also in the drive's status byte, where no log was asked for.
    let status = report
        .ata
        .self_test_status
        .as_ref()
        .filter(|_| newest.is_none())?;
    (status.outcome() == Some(false)).then(|| failed(None, None, status.text.as_deref()))
}

fn not_outdated(log: &SelfTestLog) -> Option<Reason> {
    let errors = log
        .error_count?
        .saturating_sub(log.error_count_outdated.unwrap_or(0));
    let text =
        format!("{errors} failed self-tests that no newer extended test outdates; run smartctl --test=long");
    (0 < errors).then(|| Reason::new("self_test_failed_before", Health::Warning, text))
}

fn nvme(report: &Report) -> Option<Reason> {
    let test = report
        .nvme
        .self_tests
        .iter()
        .find(|test| test.outcome().is_some())?;
    let is_failed = test.outcome() == Some(false);
    is_failed.then(|| {
        failed(
            test.kind.as_deref(),
            test.power_on_hours,
            test.result_text.as_deref(),
        )
    })
}

fn scsi(report: &Report) -> Option<Reason> {
    let test = report
        .scsi
        .self_tests
        .iter()
        .find(|test| test.outcome().is_some())?;
    let is_failed = test.outcome() == Some(false);
    is_failed.then(|| {
        failed(
            test.kind.as_deref(),
            test.power_on_hours,
            test.result_text.as_deref(),
        )
    })
}
