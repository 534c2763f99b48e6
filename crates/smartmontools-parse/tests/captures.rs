//! Walks the captures of real drives and of the storage lab, in the folder that `MUSTER_FIXTURES` names.

#![allow(
    clippy::unwrap_used,
    reason = "a capture that cannot be read must stop the test"
)]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use smartmontools_parse::{Health, Parsed, Verdict, parse, scan, verdict};

/// Every capture of a real drive: file name, text, and the same text as plain JSON.
fn captures() -> Vec<(String, String, Value)> {
    let mut paths = list("smartctl");
    if paths.is_empty() {
        println!("skipped: no captures of real drives here (MUSTER_FIXTURES)");
    }
    paths.sort();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let json = serde_json::from_str(&text).unwrap();
        (
            path.file_name().unwrap().to_string_lossy().into_owned(),
            text,
            json,
        )
    };
    paths.iter().map(read).collect()
}

/// What is in a folder of the captures, nothing for one that is not there.
fn list(folder: &str) -> Vec<PathBuf> {
    root().map(|root| entries(&root.join(folder))).unwrap_or_default()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default()
}

#[allow(
    clippy::disallowed_methods,
    reason = "a test finds its captures by the environment"
)]
fn root() -> Option<PathBuf> {
    std::env::var_os("MUSTER_FIXTURES").map(PathBuf::from)
}

fn judged(text: &str) -> (Parsed, Verdict) {
    let parsed = parse(text);
    let verdict = verdict(&parsed.report, None);
    (parsed, verdict)
}

#[test]
fn every_field_a_capture_has_is_read_without_a_problem() {
    for (name, text, json) in captures() {
        let Parsed { report, problems } = parse(&text);
        assert_eq!(problems, [], "{name}");
        assert_eq!(
            report.serial_number.as_deref(),
            json["serial_number"].as_str(),
            "{name}"
        );
        let model = json["model_name"].as_str().or(json["scsi_model_name"].as_str());
        assert_eq!(report.model_name.as_deref(), model, "{name}");
        let size = json["user_capacity"]["bytes"]
            .as_u64()
            .or(json["nvme_total_capacity"].as_u64());
        assert_eq!(report.size_bytes(), size, "{name}");
        assert_eq!(
            report.temperature_celsius(),
            json["temperature"]["current"].as_i64(),
            "{name}"
        );
        assert_eq!(
            report.power_on_hours(),
            json["power_on_time"]["hours"].as_u64(),
            "{name}"
        );
        let attributes = json["ata_smart_attributes"]["table"]
            .as_array()
            .map_or(0, Vec::len);
        assert_eq!(report.ata.attributes.len(), attributes, "{name}");
        let used = &json["nvme_smart_health_information_log"]["percentage_used"];
        if let Some(used) = used.as_f64() {
            assert_eq!(report.wear_level_percent(), Some(used), "{name}");
        }
    }
}

#[test]
fn a_drive_that_calls_itself_failing_is_failed_and_no_other_is() {
    for (name, text, json) in captures() {
        let (_, verdict) = judged(&text);
        let passed = json["smart_status"]["passed"].as_bool();
        assert_eq!(
            verdict.health == Health::Failed,
            passed == Some(false),
            "{name}: {verdict:?}"
        );
        assert_ne!(verdict.health, Health::Unknown, "{name}: {verdict:?}");
    }
}

#[test]
fn drives_with_damage_are_not_healthy_and_drives_without_are() {
    const DAMAGE: [u64; 5] = [5, 184, 187, 197, 198];
    for (name, text, json) in captures() {
        let (_, verdict) = judged(&text);
        let table = json["ata_smart_attributes"]["table"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let is_damaged = table.iter().any(|attribute| {
            DAMAGE.contains(&attribute["id"].as_u64().unwrap())
                && attribute["raw"]["value"].as_u64() != Some(0)
        });
        let is_good = json["smart_status"]["passed"].as_bool() == Some(true) && !is_damaged;
        assert_eq!(verdict.health == Health::Healthy, is_good, "{name}: {verdict:?}");
        // However worn by use, no capture without a failing status has more than a few hundred bad sectors.
        assert_ne!(verdict.health, Health::Critical, "{name}: {verdict:?}");
    }
}

#[test]
fn every_verdict_says_what_it_rests_on() {
    println!(
        "{:<44}{:>7} {:>4} {:>6} {:>6} {:>5} {:>5} {:<4} {:>9} health",
        "model", "hours", "°C", "wear", "realloc", "pend", "unc", "type", "TB written"
    );
    for (_, text, _) in captures() {
        let (Parsed { report, .. }, verdict) = judged(&text);
        assert!(!verdict.reasons.is_empty());
        assert_eq!(verdict.health, verdict.reasons[0].health);
        let show = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let wear = report
            .wear_level_percent()
            .map_or_else(|| "-".to_owned(), |wear| format!("{wear:.1}"));
        println!(
            "{:<44}{:>7} {:>4} {:>6} {:>6} {:>5} {:>5} {:<4} {:>9} {}",
            report.model_name.clone().unwrap_or_default(),
            show(report.power_on_hours()),
            report.temperature_celsius().unwrap_or_default(),
            wear,
            show(report.reallocated_sectors()),
            show(report.pending_sectors()),
            show(report.uncorrectable_errors()),
            report.device_type().as_str(),
            report
                .total_bytes_written()
                .map_or_else(|| "-".to_owned(), |bytes| format!("{:.1}", bytes as f64 / 1e12)),
            verdict.health.as_str(),
        );
        for reason in verdict
            .reasons
            .iter()
            .filter(|reason| reason.code != "smart_status_passed")
        {
            println!(
                "      {:<8} {}: {}",
                reason.health.as_str(),
                reason.code,
                reason.text
            );
        }
    }
}

/// QEMU's drives in every state of the storage lab: only the NVMe drive can be made to fail.
#[test]
fn every_output_of_the_lab_reads_and_only_the_failing_drive_fails() {
    let suites = list("lab").into_iter().filter(|path| path.is_dir());
    let states: Vec<PathBuf> = suites.flat_map(|suite| entries(&suite)).collect();
    if states.is_empty() {
        println!("skipped: no captures of the lab here (MUSTER_FIXTURES)");
    }
    for path in states.iter().flat_map(|state| entries(state)) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("smartctl-") || !name.ends_with(".json") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        if name.starts_with("smartctl-scan") {
            let scan = scan::parse(&text);
            assert!(
                scan.problems.is_empty() && !scan.devices.is_empty(),
                "{}",
                path.display()
            );
            continue;
        }
        let (Parsed { problems, .. }, verdict) = judged(&text);
        assert_eq!(problems, [], "{}", path.display());
        let is_warned = path.to_string_lossy().contains("nvme-warn");
        let expected = match name.as_str() {
            name if name.contains("LABNVME") && is_warned => Health::Failed,
            name if name.contains("LABNVME") || name.contains("LABSATA") => Health::Healthy,
            _ => Health::Unknown,
        };
        assert_eq!(verdict.health, expected, "{}: {verdict:?}", path.display());
    }
}
