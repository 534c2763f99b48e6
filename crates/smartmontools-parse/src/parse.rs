//! From text to [`Report`].

mod ata;
mod nvme;
mod scsi;

use serde::Serialize;
use serde_json::Value;

use crate::exit_status::ExitStatus;
use crate::node::Node;
use crate::problem::{Problem, Problems};
use crate::report::{Device, Message, PowerOnTime, Report, SmartStatus, Smartctl, Temperature, Wwn};

/// What was read, beside what could not be.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Parsed {
    /// Everything that was understood.
    pub report: Report,
    /// Everything that was not.
    pub problems: Vec<Problem>,
}

/// Reads the output of `smartctl --json`. Never panics; text that is not one whole JSON object gives an empty report.
pub fn parse(text: &str) -> Parsed {
    let problems = Problems::default();
    let mut report = match serde_json::from_str::<Value>(text.trim_start_matches('\u{feff}')) {
        Err(error) => {
            problems.not_json(&error);
            Report::default()
        }
        Ok(Value::Object(document)) => {
            let root = Node::root(&document, &problems);
            if !root.has("smartctl") && !root.has("device") {
                problems.at(
                    "",
                    "expected the output of smartctl --json, found neither smartctl nor device",
                );
            }
            read_report(&root)
        }
        Ok(_) => {
            problems.at(
                "",
                "expected the output of smartctl --json, found JSON that is not an object",
            );
            Report::default()
        }
    };
    let problems = problems.into_vec();
    report.unread = unread(&problems);
    Parsed { report, problems }
}

/// The fields among these problems that a verdict rests on, and the mark of problems that were left out. The counts in
/// attributes are not among them: the verdict itself sees when one is missing.
fn unread(problems: &[Problem]) -> Vec<String> {
    problems
        .iter()
        .filter(|problem| is_decisive(&problem.field))
        .map(|problem| problem.field.clone())
        .collect()
}

fn is_decisive(field: &str) -> bool {
    const WHOLE: [&str; 12] = [
        "smart_status",
        "smart_support",
        "smartctl.exit_status",
        "endurance_used",
        "ata_device_statistics",
        "ata_smart_error_log",
        "ata_smart_self_test_log",
        "nvme_self_test_log",
        "scsi_grown_defect_list",
        "scsi_pending_defects",
        "scsi_percentage_used",
        "scsi_self_test_",
    ];
    const ATTRIBUTES: [&str; 9] = [
        "ata_smart_attributes",
        "table",
        "id",
        "name",
        "value",
        "thresh",
        "when_failed",
        "flags",
        "prefailure",
    ];
    const HEALTH_LOG: [&str; 6] = [
        "nvme_smart_health_information_log",
        "critical_warning",
        "available_spare",
        "available_spare_threshold",
        "media_errors",
        "percentage_used",
    ];
    const COUNTERS: [&str; 5] = [
        "scsi_error_counter_log",
        "read",
        "write",
        "verify",
        "total_uncorrected_errors",
    ];
    let leaf = field.rsplit('.').next().unwrap_or(field);
    let leaf = leaf.split('[').next().unwrap_or(leaf);
    let is_among = |leaves: &[&str]| field.starts_with(leaves[0]) && leaves.contains(&leaf);
    field.is_empty()
        || WHOLE.iter().any(|prefix| field.starts_with(prefix))
        || (is_among(&ATTRIBUTES) && !field.contains("raw."))
        || is_among(&HEALTH_LOG)
        || is_among(&COUNTERS)
}

fn read_report(root: &Node<'_>) -> Report {
    let capacity = root.node("user_capacity");
    let (smart_available, smart_enabled) = read_support(root);
    let scsi = scsi::read(root);
    Report {
        json_format_version: version(root, "json_format_version"),
        smartctl: root
            .node("smartctl")
            .map(|node| read_smartctl(&node))
            .unwrap_or_default(),
        local_time_s: root.node("local_time").and_then(|node| node.signed("time_t")),
        device: root
            .node("device")
            .map(|node| read_device(&node))
            .unwrap_or_default(),
        model_family: root.text("model_family"),
        // Until 7.2 SCSI had model_name, since 7.3 only scsi_model_name.
        model_name: root
            .text("model_name")
            .or_else(|| scsi.model_name.clone())
            .or_else(|| joined_model(&scsi)),
        serial_number: root.text("serial_number"),
        firmware_version: root.text("firmware_version").or_else(|| scsi.revision.clone()),
        wwn: root.node("wwn").and_then(|node| read_wwn(&node)),
        capacity_bytes: capacity.as_ref().and_then(|node| node.unsigned("bytes")),
        capacity_blocks: capacity.as_ref().and_then(|node| node.unsigned("blocks")),
        logical_block_bytes: root.unsigned("logical_block_size"),
        physical_block_bytes: root.unsigned("physical_block_size"),
        rotation_rate: root.unsigned("rotation_rate"),
        form_factor: root.node("form_factor").and_then(|node| node.text("name")),
        in_database: root.flag("in_smartctl_database"),
        trim_supported: root.node("trim").and_then(|node| node.flag("supported")),
        smart_available,
        smart_enabled,
        smart_status: root.node("smart_status").map(|node| read_status(&node)),
        temperature: root
            .node("temperature")
            .map(|node| read_temperature(&node))
            .unwrap_or_default(),
        power_on_time: root.node("power_on_time").map(|node| PowerOnTime {
            hours: node.unsigned("hours"),
            minutes: node.unsigned("minutes"),
        }),
        power_cycles: root.unsigned("power_cycle_count"),
        endurance_used_percent: root
            .node("endurance_used")
            .and_then(|node| node.unsigned("current_percent")),
        spare_available_percent: root
            .node("spare_available")
            .and_then(|node| node.unsigned("current_percent")),
        ata: ata::read(root),
        nvme: nvme::read(root),
        scsi,
        unread: Vec::new(),
    }
}

fn joined_model(scsi: &crate::report::Scsi) -> Option<String> {
    match (&scsi.vendor, &scsi.product) {
        (Some(vendor), Some(product)) => Some(format!("{vendor} {product}")),
        (None, Some(product)) => Some(product.clone()),
        _ => None,
    }
}

fn read_smartctl(node: &Node<'_>) -> Smartctl {
    let exit_status = node.unsigned("exit_status").and_then(|status| {
        let status = u8::try_from(status).ok().map(ExitStatus);
        if status.is_none() {
            node.problem("exit_status", "expected at most 255");
        }
        status
    });
    let messages = node.nodes("messages").into_iter().filter_map(|message| {
        Some(Message {
            severity: message.text("severity"),
            text: message.text("string")?,
        })
    });
    Smartctl {
        version: version(node, "version"),
        svn_revision: node.text("svn_revision"),
        build_info: node.text("build_info"),
        platform_info: node.text("platform_info"),
        database_version: node
            .node("drive_database_version")
            .and_then(|version| version.text("string")),
        argv: node.texts("argv"),
        exit_status,
        messages: messages.collect(),
    }
}

fn version(node: &Node<'_>, key: &str) -> Option<(u32, u32)> {
    if !node.has(key) {
        return None;
    }
    match node.numbers(key).as_slice() {
        [major, minor, ..] => Some((u32::try_from(*major).ok()?, u32::try_from(*minor).ok()?)),
        _ => {
            node.problem(key, "expected major and minor number");
            None
        }
    }
}

fn read_device(node: &Node<'_>) -> Device {
    Device {
        name: node.text("name"),
        info_name: node.text("info_name"),
        kind: node.text("type"),
        protocol: node.text("protocol"),
    }
}

fn read_wwn(node: &Node<'_>) -> Option<Wwn> {
    Some(Wwn {
        naa: node.unsigned("naa")?,
        oui: node.unsigned("oui")?,
        id: node.unsigned("id")?,
    })
}

/// An object since 7.0; a plain truth value is what some wrappers make of it.
fn read_support(root: &Node<'_>) -> (Option<bool>, Option<bool>) {
    match root.value("smart_support") {
        Some(Value::Bool(supported)) => (Some(*supported), Some(*supported)),
        _ => match root.node("smart_support") {
            Some(node) => (node.flag("available"), node.flag("enabled")),
            None => (None, None),
        },
    }
}

fn read_status(node: &Node<'_>) -> SmartStatus {
    let scsi = node.node("scsi");
    SmartStatus {
        passed: node.flag("passed"),
        nvme_value: node.node("nvme").and_then(|nvme| nvme.unsigned("value")),
        scsi_asc: scsi.as_ref().and_then(|scsi| scsi.unsigned("asc")),
        scsi_ascq: scsi.as_ref().and_then(|scsi| scsi.unsigned("ascq")),
        scsi_text: scsi.as_ref().and_then(|scsi| scsi.text("ie_string")),
    }
}

fn read_temperature(node: &Node<'_>) -> Temperature {
    Temperature {
        current: node.signed("current"),
        lifetime_max: node.signed("lifetime_max"),
        lifetime_min: node.signed("lifetime_min"),
        op_limit_max: node.signed("op_limit_max"),
        limit_max: node.signed("limit_max"),
        critical_limit_max: node.signed("critical_limit_max"),
        drive_trip: node.signed("drive_trip"),
    }
}
