//! `parse smartctl` over captures of real drives, where they are to be had.

use std::path::PathBuf;

use serde_json::Value;

use super::{agent, stderr, stdout};

/// The captures, in the folder that the environment names; they are too many to be part of the repository.
fn captures() -> Vec<PathBuf> {
    let folder = std::env::var_os("MUSTER_FIXTURES").map(|root| PathBuf::from(root).join("smartctl"));
    let Some(Ok(entries)) = folder.map(std::fs::read_dir) else {
        println!("skipped: no captures of real drives here (MUSTER_FIXTURES)");
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort_unstable();
    paths
}

fn parse(path: &std::path::Path) -> Value {
    let output = agent(&["parse", "smartctl", path.to_str().unwrap()]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}: {}",
        path.display(),
        stderr(&output)
    );
    serde_json::from_str(&stdout(&output)).unwrap()
}

#[test]
fn every_capture_is_one_device_with_what_the_drive_says() {
    for path in captures() {
        let said: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let document = parse(&path);
        let resources = document["resources"].as_array().unwrap();
        assert_eq!(resources.len(), 1, "{}", path.display());
        let device = &resources[0];
        for (ours, theirs) in [
            ("serial_number", &said["serial_number"]),
            ("temperature_celsius", &said["temperature"]["current"]),
            ("power_on_hours", &said["power_on_time"]["hours"]),
            ("smart_passed", &said["smart_status"]["passed"]),
        ] {
            let is_told = !theirs.is_null() && theirs != &Value::from(0);
            if is_told {
                assert_eq!(&device[ours], theirs, "{ours} of {}", path.display());
            }
        }
        if said["smart_status"]["passed"] == false {
            assert_ne!(device["health"], "healthy", "{}", path.display());
        }
        assert!(
            !device["health_reasons"].as_array().unwrap().is_empty(),
            "{}",
            path.display()
        );
        assert!(
            !device["key"].as_str().unwrap().starts_with("device:path:"),
            "{}",
            path.display()
        );
    }
}

#[test]
fn a_cut_capture_has_problems_and_is_never_healthy() {
    let folder = tempfile::tempdir().unwrap();
    for path in captures() {
        let bytes = std::fs::read(&path).unwrap();
        for part in [3, 10, 17] {
            let cut = folder.path().join("cut.json");
            std::fs::write(&cut, &bytes[..bytes.len() * part / 20]).unwrap();
            let document = parse(&cut);
            assert_eq!(
                document["resources"][0]["health"],
                "unknown",
                "{}",
                path.display()
            );
            assert!(
                !document["problems"].as_array().unwrap().is_empty(),
                "{}",
                path.display()
            );
        }
    }
}
