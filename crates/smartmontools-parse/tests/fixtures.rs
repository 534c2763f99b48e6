//! Every output in `fixtures/` reads and is judged as recorded, and no damage to it makes a drive healthy.

#![allow(
    clippy::unwrap_used,
    reason = "a fixture that cannot be read must stop the test"
)]

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};
use smartmontools_parse::{
    AttributeRule, Baseline, Counter, Health, Overrides, PowerMode, parse, scan, verdict, verdict_with,
};

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn fixture(name: &str) -> String {
    text(
        &PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures")
            .join(name),
    )
}

/// Every output of a drive.
fn outputs() -> Vec<(String, String)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let list = |folder: &str| {
        fs::read_dir(root.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
    };
    let mut paths: Vec<PathBuf> = list("lab").chain(list("synthetic")).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| {
            (
                path.file_stem().unwrap().to_string_lossy().into_owned(),
                text(path),
            )
        })
        .collect()
}

fn health(text: &str) -> Health {
    verdict(&parse(text).report, None).health
}

/// What is derived of a report, and what is judged of it.
fn summary(text: &str) -> Value {
    let parsed = parse(text);
    let report = &parsed.report;
    json!({
        "problems": parsed.problems,
        "serial": report.serial_number,
        "model": report.model_name,
        "wwn": report.wwn.and_then(|wwn| wwn.hex()),
        "size_bytes": report.size_bytes(),
        "type": report.device_type(),
        "temperature_celsius": report.temperature_celsius(),
        "power_on_hours": report.power_on_hours(),
        "power_cycles": report.power_cycles(),
        "wear_level_percent": report.wear_level_percent(),
        "reallocated_sectors": report.reallocated_sectors(),
        "pending_sectors": report.pending_sectors(),
        "uncorrectable_errors": report.uncorrectable_errors(),
        "total_bytes_written": report.total_bytes_written(),
        "total_bytes_read": report.total_bytes_read(),
        "power_mode": report.power_mode(),
        "verdict": verdict(report, None),
    })
}

#[test]
fn every_output_of_the_lab_is_read_as_recorded() {
    insta::glob!("../fixtures/lab", "*.json", |path| {
        insta::assert_json_snapshot!(parse(&text(path)));
    });
}

#[test]
fn every_output_is_judged_as_recorded() {
    insta::glob!("../fixtures", "{lab,synthetic}/*.json", |path| {
        insta::assert_json_snapshot!(summary(&text(path)));
    });
}

#[test]
fn every_scan_reads_as_recorded() {
    insta::glob!("../fixtures/scan", "*.json", |path| {
        insta::assert_json_snapshot!(scan::parse(&text(path)));
    });
}

#[test]
fn each_state_of_a_drive_has_its_health() {
    let expected = [
        ("synthetic/ata-healthy-old", Health::Healthy),
        ("synthetic/ata-cable-errors", Health::Healthy),
        ("synthetic/ata-was-too-warm", Health::Healthy),
        ("synthetic/ata-seagate-composites", Health::Healthy),
        ("synthetic/ata-self-test-outdated", Health::Healthy),
        ("synthetic/ata-pending-sectors", Health::Warning),
        ("synthetic/ata-failed-in-past", Health::Warning),
        ("synthetic/ata-recent-unreadable", Health::Warning),
        ("synthetic/ata-ssd-worn-out", Health::Warning),
        ("synthetic/ata-ssd-statistics", Health::Warning),
        ("synthetic/ata-hot", Health::Warning),
        ("synthetic/ata-many-reallocated", Health::Critical),
        ("synthetic/ata-end-to-end", Health::Critical),
        ("synthetic/ata-self-test-read-failure", Health::Critical),
        ("synthetic/ata-failing-now", Health::Failed),
        ("synthetic/ata-smart-disabled", Health::Unknown),
        ("synthetic/ata-standby", Health::Unknown),
        ("synthetic/nvme-healthy", Health::Healthy),
        ("synthetic/nvme-without-status", Health::Healthy),
        ("synthetic/nvme-worn-out", Health::Warning),
        ("synthetic/nvme-media-errors", Health::Warning),
        ("synthetic/nvme-self-test-failed", Health::Critical),
        ("synthetic/nvme-spare-low", Health::Failed),
        ("synthetic/nvme-read-only", Health::Failed),
        ("synthetic/nvme-too-hot", Health::Failed),
        ("synthetic/scsi-healthy-old", Health::Healthy),
        ("synthetic/scsi-ssd", Health::Healthy),
        ("synthetic/scsi-environment-temperature", Health::Healthy),
        ("synthetic/scsi-grown-defects", Health::Warning),
        ("synthetic/scsi-uncorrected", Health::Warning),
        ("synthetic/scsi-self-test-failed", Health::Critical),
        ("synthetic/scsi-failing", Health::Failed),
        ("lab/bookworm-nvme-failing", Health::Failed),
        ("lab/bookworm-sata-disk", Health::Healthy),
        ("lab/bookworm-scsi-without-smart", Health::Unknown),
        ("lab/bookworm-usb-bridge", Health::Unknown),
        ("lab/bookworm-virtio", Health::Unknown),
    ];
    for (name, health_wanted) in expected {
        assert_eq!(health(&fixture(&format!("{name}.json"))), health_wanted, "{name}");
    }
}

#[test]
fn no_cut_of_an_output_is_healthy() {
    for (name, text) in outputs() {
        let whole = text.trim_end().len();
        // Every place of a short output, and of a long one some of each kind and all near its end.
        let step = 1 + whole / 500;
        for length in (0..whole).step_by(step).chain(whole.saturating_sub(50)..whole) {
            let Some(cut) = text.get(..length) else { continue };
            let parsed = parse(cut);
            assert_eq!(
                verdict(&parsed.report, None).health,
                Health::Unknown,
                "{name} cut at {length}"
            );
            assert_eq!(parsed.problems.len(), 1, "{name} cut at {length}");
        }
    }
}

#[test]
fn nothing_usable_is_unknown_and_says_why() {
    for text in [
        "",
        "null",
        "[]",
        "{}",
        "7",
        "{\"smartctl\":7}",
        "smartctl 7.3 2022-02-28 r5338",
        "\u{feff}",
    ] {
        let parsed = parse(text);
        let verdict = verdict(&parsed.report, None);
        assert_eq!(verdict.health, Health::Unknown, "{text}");
        assert!(
            !verdict.reasons.is_empty() && !parsed.problems.is_empty(),
            "{text}"
        );
    }
}

#[test]
fn a_drive_that_calls_itself_good_and_shows_no_values_is_unknown() {
    let bare = |protocol: &str, exit_status: u8| {
        format!(
            r#"{{"smartctl":{{"exit_status":{exit_status}}},"device":{{"protocol":"{protocol}"}},"serial_number":"S",
            "smart_status":{{"passed":true}}}}"#
        )
    };
    for (protocol, exit_status) in [
        ("ATA", 0),
        ("ATA", 4),
        ("NVMe", 0),
        ("NVMe", 4),
        ("SCSI", 4),
        ("", 0),
    ] {
        let verdict = verdict(&parse(&bare(protocol, exit_status)).report, None);
        assert_eq!(verdict.health, Health::Unknown, "{protocol} {exit_status}");
        assert_eq!(verdict.reasons[0].text, "its values could not be read");
        assert_eq!(verdict.reasons[1].code, "smart_status_passed");
    }
    assert_eq!(
        health(&bare("SCSI", 0)),
        Health::Healthy,
        "it may have none to show"
    );
}

#[test]
fn losing_its_table_or_log_makes_a_healthy_drive_unknown() {
    for (name, field) in [
        ("lab/bookworm-sata-disk", "/ata_smart_attributes"),
        ("lab/bookworm-nvme", "/nvme_smart_health_information_log"),
    ] {
        let mut document: Value = serde_json::from_str(&fixture(&format!("{name}.json"))).unwrap();
        assert_eq!(health(&document.to_string()), Health::Healthy, "{name}");
        document.as_object_mut().unwrap().remove(&field[1..]);
        assert_eq!(health(&document.to_string()), Health::Unknown, "{name}");
    }
}

#[test]
fn findings_of_the_exit_status_count_beside_a_good_table() {
    let cases = [
        (0, Health::Healthy, None),
        (4, Health::Healthy, None),
        (16, Health::Warning, Some("prefail_attribute")),
        (32, Health::Warning, Some("attribute_failed_before")),
        (64, Health::Healthy, Some("error_log")),
        (128, Health::Warning, Some("self_test_failed")),
    ];
    for (exit_status, wanted, code) in cases {
        let mut document: Value = serde_json::from_str(&fixture("synthetic/ata-healthy-old.json")).unwrap();
        document["smartctl"]["exit_status"] = json!(exit_status);
        let verdict = verdict(&parse(&document.to_string()).report, None);
        assert_eq!(verdict.health, wanted, "{exit_status}: {verdict:?}");
        let has = |code| verdict.reasons.iter().any(|reason| reason.code == code);
        assert!(code.is_none_or(has), "{exit_status}: {verdict:?}");
    }
}

/// Replaces every value of a document, one at a time, by values of other types.
fn mutations(document: &Value) -> Vec<(String, Value)> {
    let mut paths = Vec::new();
    collect_paths(document, String::new(), &mut paths);
    let others = [
        json!("odd"),
        json!({"odd": []}),
        json!([[]]),
        json!(-7.5),
        json!(true),
    ];
    let mutate = |path: &String, other: &Value| {
        let mut mutated = document.clone();
        *mutated.pointer_mut(path).unwrap() = other.clone();
        (format!("{path} = {other}"), mutated)
    };
    let fits = |path: &String, other: &Value| {
        document.pointer(path).is_some_and(Value::is_string) && other.is_string()
    };
    let pairs = paths
        .iter()
        .flat_map(|path| others.iter().map(move |other| (path, other)));
    pairs
        .filter(|(path, other)| !fits(path, other))
        .map(|(path, other)| mutate(path, other))
        .collect()
}

fn collect_paths(value: &Value, path: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, child) in object {
                collect_paths(
                    child,
                    format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")),
                    paths,
                );
            }
        }
        Value::Array(list) => {
            for (index, child) in list.iter().enumerate() {
                collect_paths(child, format!("{path}/{index}"), paths);
            }
        }
        _ => {}
    }
    if !path.is_empty() {
        paths.push(path);
    }
}

#[test]
fn no_single_wrong_value_makes_a_damaged_drive_healthy() {
    for (name, text) in outputs() {
        let is_damaged = |text: &str| !matches!(health(text), Health::Healthy | Health::Unknown);
        // Without its temperature a hot drive is one whose temperature nobody knows, not a damaged one.
        if !is_damaged(&text) || name == "ata-hot" {
            continue;
        }
        for (what, mutated) in mutations(&serde_json::from_str(&text).unwrap()) {
            assert_ne!(health(&mutated.to_string()), Health::Healthy, "{name}: {what}");
        }
    }
}

#[test]
fn a_wrong_value_costs_only_its_field() {
    let mut document: Value = serde_json::from_str(&fixture("lab/bookworm-sata-disk.json")).unwrap();
    document["temperature"]["current"] = json!("warm");
    document["power_on_time"] = json!([1]);
    document["rotation_rate"] = json!(-5);
    let parsed = parse(&document.to_string());
    let fields: Vec<&str> = parsed
        .problems
        .iter()
        .map(|problem| problem.field.as_str())
        .collect();
    assert_eq!(fields, ["rotation_rate", "temperature.current", "power_on_time"]);
    assert_eq!(parsed.report.serial_number.as_deref(), Some("LABSATA0"));
    // Both are still known from the attributes.
    assert_eq!(parsed.report.temperature_celsius(), Some(31));
    assert_eq!(parsed.report.power_on_hours(), Some(1));
    assert_eq!(verdict(&parsed.report, None).health, Health::Healthy);
}

#[test]
fn accepted_damage_is_a_note_and_its_growth_is_not() {
    let mut document: Value = serde_json::from_str(&fixture("synthetic/ata-pending-sectors.json")).unwrap();
    let baseline = Baseline::of(&parse(&document.to_string()).report);
    assert_eq!(baseline.get(Counter::Pending), 8);
    let judge = |document: &Value| verdict(&parse(&document.to_string()).report, Some(&baseline));
    assert_eq!(judge(&document).health, Health::Healthy);
    let table = document["ata_smart_attributes"]["table"].as_array_mut().unwrap();
    let pending = table.iter_mut().find(|attribute| attribute["id"] == 197).unwrap();
    pending["raw"] = json!({"value": 9, "string": "9"});
    let grown = judge(&document);
    assert_eq!(grown.health, Health::Warning);
    assert!(
        grown.reasons[0].text.contains("1 more than accepted"),
        "{}",
        grown.reasons[0].text
    );
}

#[test]
fn a_baseline_never_hides_what_the_drive_says_itself() {
    let report = parse(&fixture("synthetic/ata-failing-now.json")).report;
    assert_eq!(
        verdict(&report, Some(&Baseline::of(&report))).health,
        Health::Failed
    );
}

#[test]
fn a_count_that_is_no_damage_is_news_once_it_grows_past_what_was_accepted() {
    let of = |count: u64| {
        let document = with_attribute("synthetic/ata-pending-sectors.json", 199, |attribute| {
            attribute["raw"] = json!({"value": count, "string": count.to_string()});
        });
        parse(&document.to_string()).report
    };
    let baseline = Baseline::of(&of(5));
    assert_eq!(verdict(&of(5), Some(&baseline)).health, Health::Healthy);
    let grown = verdict(&of(6), Some(&baseline));
    assert_eq!(
        (grown.health, grown.reasons[0].code),
        (Health::Warning, "crc_errors")
    );
    assert!(
        grown.reasons[0].text.contains("1 more than the 5"),
        "{}",
        grown.reasons[0].text
    );
}

#[test]
fn an_override_changes_warnings_and_never_what_the_drive_says_itself() {
    let pending = parse(&fixture("synthetic/ata-pending-sectors.json")).report;
    let rule = |rule: AttributeRule| Overrides {
        attributes: [(197, rule), (198, rule)].into(),
        ..Overrides::default()
    };
    let judged = |overrides: &Overrides| verdict_with(&pending, None, overrides);
    let ignore = AttributeRule {
        ignore: true,
        ..AttributeRule::default()
    };
    assert_eq!(judged(&Overrides::default()).health, Health::Warning);
    let ignored = judged(&rule(ignore));
    assert_eq!(ignored.health, Health::Healthy);
    assert!(
        ignored
            .reasons
            .iter()
            .any(|reason| reason.text.ends_with("(ignored by an override)"))
    );
    let limits = |warning, critical| {
        rule(AttributeRule {
            ignore: false,
            warning,
            critical,
        })
    };
    assert_eq!(judged(&limits(Some(100), None)).health, Health::Healthy);
    assert_eq!(judged(&limits(Some(1), Some(8))).health, Health::Critical);
    let by_code = Overrides {
        ignore: ["pending_sectors".to_owned(), "offline_uncorrectable".to_owned()].into(),
        ..Overrides::default()
    };
    assert_eq!(judged(&by_code).health, Health::Healthy);
    // Whatever is ignored, a drive that calls itself failing is failed, and one that was not read is unknown.
    for (name, expected) in [
        ("ata-failing-now", Health::Failed),
        ("ata-standby", Health::Unknown),
    ] {
        let report = parse(&fixture(&format!("synthetic/{name}.json"))).report;
        let codes = verdict(&report, None)
            .reasons
            .iter()
            .map(|reason| reason.code.to_owned())
            .collect();
        let all = Overrides {
            ignore: codes,
            attributes: (0..=255).map(|id| (id, ignore)).collect(),
            ..Overrides::default()
        };
        assert_eq!(
            verdict_with(&report, Some(&Baseline::of(&report)), &all).health,
            expected,
            "{name}"
        );
    }
}

#[test]
fn a_temperature_limit_set_for_a_drive_takes_the_place_of_its_own() {
    let hot = parse(&fixture("synthetic/ata-hot.json")).report;
    assert_ne!(verdict(&hot, None).health, Health::Healthy);
    let celsius = hot.temperature_celsius().unwrap();
    let set = |warning, critical| Overrides {
        temperature_warning: Some(warning),
        temperature_critical: Some(critical),
        ..Overrides::default()
    };
    assert_eq!(
        verdict_with(&hot, None, &set(celsius + 1, celsius + 2)).health,
        Health::Healthy
    );
    assert_eq!(
        verdict_with(&hot, None, &set(celsius, celsius + 1)).health,
        Health::Warning
    );
    assert_eq!(
        verdict_with(&hot, None, &set(celsius - 1, celsius)).health,
        Health::Critical
    );
}

/// Changes one attribute of an output.
fn with_attribute(name: &str, id: u64, change: impl FnOnce(&mut Value)) -> Value {
    let mut document: Value = serde_json::from_str(&fixture(name)).unwrap();
    let table = document["ata_smart_attributes"]["table"].as_array_mut().unwrap();
    change(table.iter_mut().find(|attribute| attribute["id"] == id).unwrap());
    document
}

#[test]
fn a_normalised_value_without_a_threshold_says_nothing_of_spare_blocks() {
    let judge = |thresh: u64| {
        let document = with_attribute("synthetic/ata-ssd-worn-out.json", 5, |attribute| {
            attribute["raw"] = json!({"value": 2, "string": "2"});
            attribute["value"] = json!(47);
            attribute["thresh"] = json!(thresh);
        });
        health(&document.to_string())
    };
    assert_eq!(judge(0), Health::Warning);
    assert_eq!(judge(10), Health::Critical);
}

#[test]
fn a_self_test_that_failed_years_ago_is_a_warning() {
    let mut document: Value =
        serde_json::from_str(&fixture("synthetic/ata-self-test-read-failure.json")).unwrap();
    assert_eq!(health(&document.to_string()), Health::Critical);
    document["power_on_time"]["hours"] = json!(60_000);
    assert_eq!(health(&document.to_string()), Health::Warning);
}

#[test]
fn sleep_is_told_from_absence() {
    let asleep = parse(&fixture("synthetic/ata-standby.json")).report;
    assert_eq!(asleep.power_mode(), PowerMode::Standby);
    assert!(asleep.is_standby());
    let gone = parse(
        r#"{"smartctl":{"exit_status":2,"messages":[{"string":"Smartctl open device: /dev/sdz failed: No such device","severity":"error"}]}}"#,
    );
    assert!(!gone.report.is_standby());
    let verdict = verdict(&gone.report, None);
    assert_eq!(verdict.reasons[0].code, "not_read");
    assert!(
        verdict.reasons[0].text.ends_with("No such device"),
        "{}",
        verdict.reasons[0].text
    );
}

proptest! {
    #[test]
    fn no_text_makes_the_parsers_panic(text in "\\PC*|([ \\n:0-9a-z_\"{}\\[\\],.-]{0,400})") {
        prop_assert_eq!(health(&text), Health::Unknown);
        let _ = scan::parse(&text);
    }

    #[test]
    fn no_bytes_make_the_parsers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let text = String::from_utf8_lossy(&bytes);
        prop_assert_eq!(health(&text), Health::Unknown);
        let _ = scan::parse(&text);
    }

    /// Two wrong values at once, anywhere: nothing panics, and no damaged drive becomes healthy by losing the type of what
    /// proves it.
    #[test]
    fn no_value_makes_the_derived_values_panic(seed: u64, number in any::<i64>()) {
        let all = outputs();
        let (_, text) = &all[(seed % all.len() as u64) as usize];
        let mut document: Value = serde_json::from_str(text).unwrap();
        let mut paths = Vec::new();
        collect_paths(&document, String::new(), &mut paths);
        for shift in [8, 24] {
            let path = &paths[((seed >> shift) % paths.len() as u64) as usize];
            if let Some(value) = document.pointer_mut(path) {
                *value = json!(number);
            }
        }
        let _ = summary(&document.to_string());
    }
}
