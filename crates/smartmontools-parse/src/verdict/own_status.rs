//! What the drive says of itself, and whether there is anything to judge at all.

use crate::exit_status::ExitStatus;
use crate::report::{Device, NvmeHealthLog, Report};

use super::{Health, Reason, self_test};

/// At least one reason: the drive's own word, or why there is none.
pub(super) fn judge(report: &Report) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let exit_status = report.smartctl.exit_status.unwrap_or_default();
    if let Some(reason) = failing(report, exit_status) {
        reasons.push(reason);
    } else if let Some(reason) = unread(report, exit_status) {
        reasons.push(reason);
    } else {
        reasons.push(own_word(report));
        reasons.extend(values_unread(report, exit_status));
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

/// A drive that calls itself good and shows none of its counters: nobody has looked at those, and drives call
/// themselves bad late. A SCSI drive may have none to show, as virtual ones do, so it is judged on its word unless
/// asking for them failed.
fn values_unread(report: &Report, exit_status: ExitStatus) -> Option<Reason> {
    let is_scsi = report
        .device
        .protocol
        .as_deref()
        .is_some_and(|name| name.eq_ignore_ascii_case("scsi"));
    let has_counters = report.has_health_data() || !report.ata.statistics.is_empty();
    let are_read = if report.is_nvme() {
        report
            .nvme
            .health
            .as_ref()
            .is_some_and(|health| *health != NvmeHealthLog::default())
    } else if !report.ata.attributes.is_empty() {
        true
    } else if is_scsi {
        has_counters || !exit_status.some_command_failed()
    } else {
        has_counters && !exit_status.some_command_failed()
    };
    let text = || format!("its values could not be read{}", said(report));
    (!are_read).then(|| Reason::new("values_unread", Health::Unknown, text()))
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

/// Findings smartctl put into its exit status, where the output does not hold them itself. A table that shows no such
/// thing does not take back what smartctl found, but it makes "failing" a matter to look into.
fn from_exit_status(report: &Report, exit_status: ExitStatus) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let attributes = &report.ata.attributes;
    let shows_prefail = attributes
        .iter()
        .any(|attribute| attribute.flags.prefailure && attribute.when_failed.as_deref() == Some("now"));
    let shows_failed = attributes.iter().any(|attribute| attribute.when_failed.is_some());
    if exit_status.prefail_now() && attributes.is_empty() {
        let text = "attributes that foretell failure are at or below their threshold; back up now and replace the drive";
        reasons.push(Reason::new("prefail_attribute", Health::Failed, text));
    } else if exit_status.prefail_now() && !shows_prefail {
        let text = "smartctl found attributes that foretell failure at or below their threshold, and the table does not \
                    show which; back up, and read them with smartctl --attributes";
        reasons.push(Reason::new("prefail_attribute", Health::Warning, text));
    }
    if exit_status.failed_in_past() && !shows_failed {
        let text =
            "attributes were at or below their threshold in the past; read them with smartctl --attributes";
        reasons.push(Reason::new("attribute_failed_before", Health::Warning, text));
    }
    let counts_errors = report
        .ata
        .error_logs
        .iter()
        .any(|log| log.count.is_some_and(|count| 0 < count));
    if exit_status.error_log_not_empty() && !counts_errors {
        let text = "the drive's error log has entries; read them with smartctl --log=error";
        reasons.push(Reason::note("error_log", text));
    }
    if exit_status.self_test_errors() && self_test::judge(report, None).is_none() {
        let text = "the self-test log holds errors; run an extended self-test (smartctl --test=long)";
        reasons.push(Reason::new("self_test_failed", Health::Warning, text));
    }
    reasons
}
