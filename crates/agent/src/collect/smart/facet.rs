//! A drive's answer as the device resource and its series.

use muster_catalogue::SMARTCTL_DEVICE_SMARTCTL_EXIT_STATUS;
use muster_model::{Attribute, Health, Resource, ResourceKey, ResourceKind, limits};
use serde::de::IgnoredAny;
use smartmontools_parse::report::Wwn;
use smartmontools_parse::{Counter, DeviceType, PowerMode, Report, verdict};

use super::target::Target;
use super::{Reading, ask, series};
use crate::collect::block::identity::{serial_key, worldwide_key};
use crate::collect::block::{Inventory, Worldwide, is_placeholder_serial, tidy};
use crate::collect::draft::{Draft, bounded_key};

/// A drive that answered now.
pub(super) fn awake(draft: &mut Draft, target: &Target, reading: &Reading) {
    // A drive that could not be opened was perhaps not even there.
    let power_state = (reading.report.power_mode() == PowerMode::Active).then_some("active");
    describe(draft, target, reading, power_state, None);
}

/// A drive that sleeps: what was read before, and that it sleeps.
pub(super) fn asleep(draft: &mut Draft, target: &Target, last: &Reading, exit_status: u8) {
    describe(draft, target, last, Some("standby"), Some(exit_status));
}

/// A drive that was not asked now, because its own cadence is slower than the collector's: what was read before.
pub(super) fn kept(draft: &mut Draft, target: &Target, last: &Reading) {
    awake(draft, target, last);
}

/// A drive that has slept since the agent began.
pub(super) fn never_awake(draft: &mut Draft, target: &Target, key: &ResourceKey) {
    let reason = "sleeps, and was left asleep: its SMART data is read when it wakes";
    unknown(draft, target, key, Some("standby"), reason);
}

/// A drive about which smartctl said nothing.
pub(super) fn silent(draft: &mut Draft, target: &Target, key: &ResourceKey, message: &str) {
    unknown(
        draft,
        target,
        key,
        None,
        &format!("its SMART data could not be read: {message}"),
    );
}

fn unknown(draft: &mut Draft, target: &Target, key: &ResourceKey, power_state: Option<&str>, reason: &str) {
    for (name, key) in disks(target, key) {
        let mut resource = Resource::new(ResourceKind::Device, key.clone(), name);
        resource.health = Some(Health::Unknown);
        resource.health_reasons.push(reason.to_owned());
        resource.set("power_state", power_state);
        draft.resource(resource);
    }
}

fn describe(
    draft: &mut Draft,
    target: &Target,
    reading: &Reading,
    power_state: Option<&str>,
    exit_status: Option<u8>,
) {
    for (name, key) in disks(target, &reading.key) {
        let mut resource = resource(&reading.report, key, name);
        resource
            .set("power_state", power_state)
            .set("last_checked", rfc3339_ms(reading.read_ms))
            .set("smart_data_raw", reading.raw.clone());
        if !target.disks.is_empty() {
            // The kernel's word counts: a drive may hide part of itself, or be split into namespaces.
            resource.attributes.remove("size_bytes");
        }
        draft.resource(resource);
    }
    if reading.report.is_of_document() {
        series::drive(draft, &target.label, &reading.report, &reading.key);
    }
    let said = reading.report.smartctl.exit_status.map(|status| status.0);
    if let Some(status) = exit_status.or(said) {
        let labels = [("device", target.label.as_str())];
        let metric = &SMARTCTL_DEVICE_SMARTCTL_EXIT_STATUS;
        draft.sample_of(Some(&reading.key), metric, &labels, f64::from(status));
    }
}

/// The resources a drive is, by name: what the kernel shows (all namespaces of an NVMe controller share its health),
/// else the drive itself.
fn disks<'a>(target: &'a Target, own_key: &'a ResourceKey) -> Vec<(&'a str, &'a ResourceKey)> {
    if target.disks.is_empty() {
        return vec![(&target.label, own_key)];
    }
    target
        .disks
        .iter()
        .map(|(name, key)| (name.as_str(), key))
        .collect()
}

/// What a report says of a drive, judged.
fn resource(report: &Report, key: &ResourceKey, name: &str) -> Resource {
    let mut resource = Resource::new(ResourceKind::Device, key.clone(), name);
    let judged = verdict(report, None);
    resource.health = Some(health(judged.health));
    resource.health_reasons = judged.reasons.into_iter().map(|reason| reason.text).collect();
    let device_type = report.device_type();
    resource
        .set("device_name", Some(name))
        .set(
            "device_type",
            (device_type != DeviceType::Unknown).then(|| device_type.as_str()),
        )
        .set("serial_number", report.serial_number.clone())
        .set(
            "model",
            report
                .model_name
                .clone()
                .or_else(|| report.scsi.model_name.clone()),
        )
        .set("model_family", report.model_family.clone())
        .set("firmware_version", report.firmware_version.clone())
        .set("temperature_celsius", report.temperature_celsius())
        .set("power_on_hours", report.power_on_hours())
        .set("power_cycles", report.power_cycles())
        .set("wear_level_percent", report.wear_level_percent())
        .set("total_bytes_written", report.total_bytes_written())
        .set("total_bytes_read", report.total_bytes_read())
        .set("reallocated_sectors", report.reallocated_sectors())
        .set("pending_sectors", report.pending_sectors())
        .set("uncorrectable_errors", report.uncorrectable_errors())
        .set(
            "smart_passed",
            report.smart_status.as_ref().and_then(|status| status.passed),
        )
        .set("sector_size", report.logical_block_bytes)
        .set("physical_sector_size", report.physical_block_bytes)
        .set("rotation_rate_rpm", report.rotation_rate.filter(|rate| 0 < *rate))
        .set("size_bytes", report.size_bytes());
    logs(&mut resource, report);
    resource
}

/// What the drive's logs come to, and what smartctl's exit status says.
fn logs(resource: &mut Resource, report: &Report) {
    let exit_status = report.smartctl.exit_status;
    let findings = exit_status
        .map(smartmontools_parse::ExitStatus::findings)
        .unwrap_or_default();
    let findings: Vec<String> = findings.into_iter().map(str::to_owned).collect();
    let test = report.self_test();
    let test = test.as_ref();
    let counts = report.ata.error_logs.iter().filter_map(|log| log.count);
    let nvme = report.nvme.health.as_ref();
    let scan = report.scsi.background_scan.as_ref();
    let number = |number: Option<u64>| number.and_then(|number| i64::try_from(number).ok());
    resource
        .set(
            "smartctl_exit_status",
            exit_status.map(|status| i64::from(status.0)),
        )
        .set(
            "smartctl_findings",
            (!findings.is_empty()).then_some(Attribute::List(findings)),
        )
        .set("self_test_type", test.and_then(|test| test.kind.clone()))
        .set("self_test_status", test.and_then(|test| test.text.clone()))
        .set("self_test_passed", test.and_then(|test| test.passed))
        .set("self_test_running", test.map(|test| test.is_running))
        .set(
            "self_test_remaining_percent",
            number(test.and_then(|test| test.remaining_percent)),
        )
        .set(
            "error_log_count",
            number(counts.max().or(nvme.and_then(|health| health.error_log_entries))),
        )
        .set("crc_errors", number(report.counter(Counter::Crc)))
        .set(
            "spare_available_percent",
            number(
                nvme.and_then(|health| health.available_spare)
                    .or(report.spare_available_percent),
            ),
        )
        .set(
            "background_scan_status",
            scan.and_then(|scan| scan.status_text.clone()),
        );
}

/// What a recorded document says of a drive nothing else is known of; `label` is what to call it if it does not say.
pub(crate) fn describe_recorded(draft: &mut Draft, label: &str, text: &str) {
    let parsed = smartmontools_parse::parse(text);
    for problem in &parsed.problems {
        draft.push_problem(ask::field_and_message(problem), problem.line);
    }
    let report = parsed.report;
    let node = report
        .device
        .name
        .as_deref()
        .map(|node| node.strip_prefix("/dev/").unwrap_or(node));
    let label = node.unwrap_or(label).replace('/', "_");
    let key = key_of_report(&report, &label, &Inventory::default());
    let mut resource = resource(&report, &key, &label);
    resource
        .set("power_state", report.is_standby().then_some("standby"))
        .set(
            "last_checked",
            report
                .local_time_s
                .and_then(|time_s| rfc3339_ms(time_s.checked_mul(1000)?)),
        )
        .set("smart_data_raw", compact(text));
    draft.resource(resource);
    if report.is_of_document() {
        series::drive(draft, &label, &report, &key);
    }
    if let Some(status) = report.smartctl.exit_status {
        let labels = [("device", label.as_str())];
        draft.sample_of(
            Some(&key),
            &SMARTCTL_DEVICE_SMARTCTL_EXIT_STATUS,
            &labels,
            f64::from(status.0),
        );
    }
}

fn health(health: smartmontools_parse::Health) -> Health {
    match health {
        smartmontools_parse::Health::Healthy => Health::Healthy,
        smartmontools_parse::Health::Warning => Health::Warning,
        smartmontools_parse::Health::Critical => Health::Critical,
        smartmontools_parse::Health::Failed => Health::Failed,
        smartmontools_parse::Health::Unknown => Health::Unknown,
    }
}

/// The key of a drive that the kernel shows no disk for, or is not asked about: an inventory device of the same model
/// and serial number, else its worldwide name, else model and serial number, else its label.
pub(super) fn key_of_report(report: &Report, label: &str, inventory: &Inventory) -> ResourceKey {
    let serial = report
        .serial_number
        .as_deref()
        .map(tidy)
        .filter(|text| !is_placeholder_serial(text));
    let model = report
        .model_name
        .as_deref()
        .or(report.scsi.model_name.as_deref())
        .map(tidy);
    let same = inventory.devices().find(|(node, _)| {
        serial.is_some() && node.serial == serial && (node.model == model || model.is_none())
    });
    if let Some((_, identity)) = same {
        return identity.key.clone();
    }
    let eui64 = match report.nvme.namespaces.as_slice() {
        [only] => only.eui64.as_deref(),
        _ => None,
    };
    let wwn = report
        .wwn
        .as_ref()
        .and_then(Wwn::hex)
        .or_else(|| report.scsi.logical_unit_id.clone());
    let names = Worldwide::of_report(eui64, wwn.as_deref());
    let key = match (names.best(), serial) {
        (Some((kind, digits)), _) => worldwide_key(kind, digits),
        (None, Some(serial)) => serial_key(model.as_deref().unwrap_or("unknown"), &serial, None),
        (None, None) => format!("device:path:smartctl/{label}"),
    };
    bounded_key(key)
}

/// The document without white space between its words; `None` if it is none, or too long to be kept.
pub(super) fn compact(raw: &str) -> Option<String> {
    serde_json::from_str::<IgnoredAny>(raw).ok()?;
    let mut text = String::with_capacity(raw.len());
    let mut is_in_string = false;
    for part in raw.split_inclusive('"') {
        if is_in_string {
            text.push_str(part);
            is_in_string = !ends_string(part);
        } else {
            text.extend(part.split_ascii_whitespace());
            is_in_string = part.ends_with('"');
        }
    }
    (text.len() <= limits::ATTRIBUTE_BYTES_MAX).then_some(text)
}

/// Whether the quotation mark at the end of this part of a JSON string ends it: one after an odd number of backslashes is
/// of the string (RFC 8259, section 7).
fn ends_string(part: &str) -> bool {
    let before = part.strip_suffix('"').map(str::as_bytes);
    let backslashes = |before: &[u8]| before.iter().rev().take_while(|byte| **byte == b'\\').count();
    before.is_some_and(|before| backslashes(before).is_multiple_of(2))
}

/// A time as text.
fn rfc3339_ms(unix_ms: i64) -> Option<String> {
    jiff::Timestamp::from_millisecond(unix_ms)
        .ok()
        .map(|time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_kept_without_white_space_and_nothing_else_is_kept() {
        let compact_one = r#"{"a":[1,2],"b":"x: y, z","c":{}}"#;
        let with_escapes = r#"{"a \" b\\":"\\\" c ","d":[" "]}"#;
        for (raw, kept) in [
            (compact_one, Some(compact_one)),
            (
                "{\"a\" :[ 1, 2 ],\n\t\"b\":\"x: y, z\",\"c\":{ }}\n",
                Some(compact_one),
            ),
            (with_escapes, Some(with_escapes)),
            (
                r#" { "a \" b\\" : "\\\" c " , "d" : [ " " ] } "#,
                Some(with_escapes),
            ),
            // As smartctl wrote it.
            (
                "{\r\n \"a\": 1.50,\r\n \"a\": 18446744073709551616\r\n}",
                Some(r#"{"a":1.50,"a":18446744073709551616}"#),
            ),
            (r#"{"a":1"#, None),
            (r#"{"a": 1"#, None),
            ("smartctl: not found", None),
            ("", None),
        ] {
            assert_eq!(compact(raw).as_deref(), kept, "{raw}");
        }
        let long = format!("[{}]", "1,".repeat(limits::ATTRIBUTE_BYTES_MAX) + "1");
        assert_eq!(compact(&long), None);
    }
}
