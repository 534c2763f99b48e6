//! The program as people and outside checks use it: arguments in; standard output, standard error, exit code out.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it skipped"
)]

mod captures;
mod recorded_server;

use std::process::{Command, Output};

/// Runs the agent with an environment without settings of its own.
#[expect(clippy::disallowed_methods, reason = "the test starts the program under test")]
fn agent(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_muster-agent"))
        .args(args)
        .env_remove("MUSTER_LOG")
        .env_remove("MUSTER_AGENT_CONFIG")
        .env_remove("MUSTER_AGENT_DATA_DIR")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn what_cannot_be_used_ends_with_2_and_says_what_there_is() {
    for (args, expected) in [
        (
            &["parse", "nonsense", "/dev/null"][..],
            "there are btrfs-device-stats, btrfs-scrub, diskstats, docker-inspect, lsblk, ",
        ),
        (
            &["parse", "mounts", "/nonexistent"],
            "read /nonexistent: No such file or directory",
        ),
        (
            &["collect", "--only", "cpu,gpu"],
            "no collector \"gpu\"; there are arp, block",
        ),
        (
            &["--config", "/nonexistent", "--check-config"],
            "read settings from /nonexistent",
        ),
        (
            &[
                "enroll",
                "--controller",
                "127.0.0.1",
                "--token-file",
                "/nonexistent",
            ],
            "HOST:PORT",
        ),
        (&["run", "--controller", "::1:8481"], "HOST:PORT"),
        (&[], "Usage"),
    ] {
        let output = agent(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            stderr(&output).contains(expected),
            "{args:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn the_printed_default_settings_are_usable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    let printed = agent(&["--print-default-config"]);
    std::fs::write(&path, &printed.stdout).unwrap();
    let checked = agent(&["--config", path.to_str().unwrap(), "--check-config"]);
    assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
}

#[test]
fn a_damaged_table_of_sizes_is_named_by_its_real_path() {
    let root = tempfile::tempdir().unwrap();
    let table = root.path().join("muster/statfs.json");
    std::fs::create_dir(root.path().join("muster")).unwrap();
    std::fs::write(&table, "{").unwrap();
    let output = agent(&["collect", "--root", root.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let expected = format!("parse {}", table.display());
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
}

#[test]
fn a_root_that_is_no_folder_is_a_failure() {
    let output = agent(&["collect", "--root", "/dev/null", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("open /dev/null as root"),
        "{}",
        stderr(&output)
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn an_empty_root_has_nothing_and_that_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let output = agent(&[
        "collect",
        "--root",
        folder.path().to_str().unwrap(),
        "--format",
        "json",
    ]);
    assert_eq!(output.status.code(), Some(0));
    let document: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(document["problems"], serde_json::json!([]));
    let kinds: Vec<_> = document["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|resource| &resource["kind"])
        .collect();
    assert_eq!(kinds, ["server"]);
}

#[test]
fn collectors_are_listed() {
    let output = agent(&["--list-collectors"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        stdout(&output)
            .lines()
            .any(|line| line.starts_with("filesystem "))
    );
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test looks at the program under test"
)]
fn the_program_can_be_anywhere_in_memory_and_its_tables_are_read_only() {
    let mut readelf = Command::new("readelf");
    readelf.args(["--file-header", "--dynamic", "--program-headers", "--wide"]);
    let output = readelf.arg(env!("CARGO_BIN_EXE_muster-agent")).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stdout(&output);
    let has = |words: &[&str]| {
        said.lines()
            .any(|line| words.iter().all(|word| line.contains(word)))
    };
    assert!(has(&["Type:", "DYN"]), "{said}");
    assert!(has(&["GNU_RELRO"]) && has(&["FLAGS", "NOW"]), "{said}");
    assert!(has(&["GNU_STACK", " RW "]), "{said}");
}
