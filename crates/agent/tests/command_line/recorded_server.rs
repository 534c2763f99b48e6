//! `collect` over a recorded server, as golden output.

use serde_json::Value;

use super::{agent, stdout};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/root");

fn collected() -> Value {
    let output = agent(&["collect", "--root", ROOT, "--format", "json"]);
    assert_eq!(output.status.code(), Some(0));
    let mut document: Value = serde_json::from_str(&stdout(&output)).unwrap();
    // What differs from run to run: times, durations and the clock.
    for sample in document["samples"].as_array_mut().unwrap() {
        assert!(sample["time_ms"].is_i64());
        sample["time_ms"] = "[time]".into();
        let name = sample["name"].as_str().unwrap();
        if name == "node_time_seconds" || name == "node_scrape_collector_duration_seconds" {
            sample["value"] = "[value]".into();
        }
    }
    for resource in document["resources"].as_array_mut().unwrap() {
        if let Some(checked) = resource.get_mut("last_checked") {
            *checked = "[time]".into();
        }
    }
    document
}

#[test]
fn resources_links_and_problems_of_a_recorded_server() {
    let mut document = collected();
    for resource in document["resources"].as_array_mut().unwrap() {
        if let Some(raw) = resource.get_mut("smart_data_raw") {
            let text = raw.as_str().unwrap();
            assert!(serde_json::from_str::<Value>(text).unwrap()["smartctl"].is_object());
            *raw = "[raw]".into();
        }
    }
    document.as_object_mut().unwrap().remove("samples");
    insta::assert_json_snapshot!(document);
}

#[test]
fn samples_of_a_recorded_server() {
    let document = collected();
    let line = |sample: &Value| {
        let labels: Vec<_> = sample["labels"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let (name, value) = (sample["name"].as_str().unwrap(), &sample["value"]);
        format!(
            "{name} {{{}}} {value} on {}",
            labels.join(" "),
            sample["resource"].as_str().unwrap()
        )
    };
    let lines: Vec<_> = document["samples"].as_array().unwrap().iter().map(line).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn the_prometheus_text_groups_families_under_help_and_type() {
    let output = agent(&[
        "collect",
        "--root",
        ROOT,
        "--only",
        "load,stat",
        "--format",
        "prometheus",
    ]);
    let text = stdout(&output);
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.contains("scrape_collector_duration"))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}
