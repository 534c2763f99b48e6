//! What the drive says of itself, and whether there is anything to judge at all.

use crate::exit_status::ExitStatus;
use crate::report::{Device, Report};

use super::{Health, Reason};

/// At least one reason: the drive's own word, or why there is none.
pub(super) fn judge(report: &Report) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let exit_status = report.smartctl.exit_status.unwrap_or_default();
    if let Some(reason) = failing(report, exit_status) {
        reasons.push(reason);
    } else {
        reasons.push(unread(report, exit_status).unwrap_or_else(|| own_word(report)));
    }
    if report.smart_enabled == Some(false) && scsi_without_exceptions(report) {
        let text = "informational exceptions are off, so the drive does not warn by itself; switch them on with smartctl --smart=on";
        reasons.push(Reason::note("exceptions_off", text));
    }
    reasons.extend(unreadable_fields(report));
    reasons.extend(from_exit_status(report, exit_status));
    reasons
}

/// The drive's own verdict is taken as it is, whatever else looks good: drives give it late, not early.
fn failing(report: &Report, exit_status: ExitStatus) -> Option<Reason> {
    let status = report.smart_status.as_ref();
    let says_failed = status.and_then(|status| status.passed) == Some(false);
    if !says_failed && !exit_status.disk_failing() {
        return None;
    }
    let exception = status.and_then(|status| status.scsi_text.as_deref());
    let why = exception.map(|text| format!(": {text}")).unwrap_or_default();
    let advice = if only_warm(report) {
        "its temperature alone makes it say so: cool it, and read it again"
    } else {
        "back up now and replace it"
    };
    let text = format!("the drive reports that it is failing (SMART status not passed{why}); {advice}");
    Some(Reason::new("smart_status_failed", Health::Failed, text))
}

/// Whether an NVMe drive's only warning is its temperature.
fn only_warm(report: &Report) -> bool {
    const TEMPERATURE_BIT: u64 = 1 << 1;
    let bits = report
        .nvme
        .health
        .as_ref()
        .and_then(|health| health.critical_warning);
    bits == Some(TEMPERATURE_BIT)
}

/// Why nothing was read, if so.
fn unread(report: &Report, exit_status: ExitStatus) -> Option<Reason> {
    let unknown = |code, text: String| Some(Reason::new(code, Health::Unknown, text));
    if report.is_standby() {
        return unknown(
            "standby",
            "the drive sleeps and was left alone; values are those of the last reading".to_owned(),
        );
    }
    if report.smart_enabled == Some(false) && !scsi_without_exceptions(report) {
        return unknown(
            "smart_disabled",
            "SMART is switched off; switch it on with smartctl --smart=on".to_owned(),
        );
    }
    let said = said(report);
    if exit_status.nothing_read() {
        return unknown("not_read", format!("smartctl could not read the drive{said}"));
    }
    if report.smart_available == Some(false) {
        let hint = "; behind a USB bridge or RAID controller a device type may help (smartctl --device)";
        return unknown("smart_unavailable", format!("the device offers no SMART{hint}"));
    }
    if report.device == Device::default() && report.serial_number.is_none() && report.smart_status.is_none() {
        return unknown("no_data", "no usable output of smartctl".to_owned());
    }
    None
}

/// Whether this is a SCSI drive that was read, and only its informational exceptions are off, which is what "SMART
/// disabled" means there: it does not raise its hand by itself, but its counters of damage are kept and were read.
fn scsi_without_exceptions(report: &Report) -> bool {
    report.smart_status.is_some() && report.scsi.grown_defects.is_some() && report.scsi.read.is_some()
}

/// What the drive says when it does not say it fails.
fn own_word(report: &Report) -> Reason {
    if report.smart_status.as_ref().and_then(|status| status.passed) == Some(true) {
        return Reason::note(
            "smart_status_passed",
            "the drive calls itself good (SMART status passed)",
        );
    }
    // What smartctl prints as an NVMe drive's status is exactly this field.
    if report
        .nvme
        .health
        .as_ref()
        .and_then(|health| health.critical_warning)
        == Some(0)
    {
        return Reason::note(
            "smart_status_passed",
            "the drive calls itself good (no critical warning)",
        );
    }
    let text = format!("the drive's own verdict is missing{}", said(report));
    Reason::new("no_own_status", Health::Unknown, text)
}

/// The first error smartctl printed, for the end of a sentence.
fn said(report: &Report) -> String {
    const CHARS_MAX: usize = 200;
    let messages = &report.smartctl.messages;
    let error = messages
        .iter()
        .find(|message| message.severity.as_deref() == Some("error"))
        .or(messages.first());
    match error {
        Some(message) => format!(": {}", message.text.chars().take(CHARS_MAX).collect::<String>()),
        None => String::new(),
    }
}

fn unreadable_fields(report: &Report) -> Option<Reason> {
    const NAMED_MAX: usize = 3;
    if report.unread.is_empty() {
        return None;
    }
    let whole = "the document";
    let names = report
        .unread
        .iter()
        .take(NAMED_MAX)
        .map(|field| if field.is_empty() { whole } else { field });
    let names: Vec<&str> = names.collect();
    let text = format!("fields that decide could not be understood: {}", names.join(", "));
    Some(Reason::new("unreadable_fields", Health::Unknown, text))
}

/// Findings smartctl put into its exit status, where the output does not hold them itself.
fn from_exit_status(report: &Report, exit_status: ExitStatus) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let no_attributes = report.ata.attributes.is_empty();
    if exit_status.prefail_now() && no_attributes {
        let text = "attributes that foretell failure are at or below their threshold; back up now and replace the drive";
        reasons.push(Reason::new("prefail_attribute", Health::Failed, text));
    }
    if exit_status.failed_in_past() && no_attributes {
        let text =
            "attributes were at or below their threshold in the past; read them with smartctl --attributes";
        reasons.push(Reason::new("attribute_failed_before", Health::Warning, text));
    }
    if exit_status.self_test_errors() && report.ata.self_test_logs.is_empty() {
        let text = "the self-test log holds errors; run an extended self-test (smartctl --test=long)";
        reasons.push(Reason::new("self_test_failed", Health::Warning, text));
    }
    reasons
}
