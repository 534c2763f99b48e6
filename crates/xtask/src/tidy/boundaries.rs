//! Who may name what: the boundaries that ARCHITECTURE.md lists, over source text.
//!
//! Comments and strings do not count, tests do only where a rule says so: a parser's tests read fixtures.

use regex::Regex;

use super::Problem;
use crate::workspace::Workspace;

/// Names that only some places may use.
struct Boundary {
    /// Matched against code.
    names: &'static str,
    /// Path prefixes the rule is about; all of the workspace if empty.
    within: &'static [&'static str],
    /// Path prefixes where the names are at home.
    home: &'static [&'static str],
    covers_tests: bool,
    reason: &'static str,
}

const PURE: &[&str] = &[
    "crates/alert/src/",
    "crates/image/src/",
    "crates/recreate/src/",
    "crates/update/src/",
    "crates/parse/src/",
    "crates/smartmontools-parse/src/",
];

const BOUNDARIES: &[Boundary] = &[
    Boundary {
        names: r"\bstd::(fs|process|net|env|io|time::SystemTime)\b|\btokio\b|\bnix::",
        within: PURE,
        home: &[],
        covers_tests: false,
        reason: "parsers, images' names and the judging of alerts are pure: text or numbers in, types out",
    },
    Boundary {
        names: r"\btonic(_prost)?\b",
        within: &[],
        home: &[
            "crates/proto/",
            "crates/agent/src/uplink",
            "crates/agent/src/enrol",
            "crates/controller/src/grpc",
            "crates/agent-sim/",
            "crates/cli/src/client",
            // Scripted peers.
            "crates/agent/tests/",
            "crates/controller/tests/",
        ],
        covers_tests: true,
        reason: "only the two ends of the wire know how calls are made",
    },
    Boundary {
        names: r"\bmuster_proto::v1\b|\bprost::",
        within: &[],
        home: &[
            "crates/proto/",
            "crates/agent/src/uplink",
            "crates/agent/src/enrol",
            "crates/controller/src/grpc",
            // Accepted reports are kept in the form they came in; this file is where it is packed and unpacked.
            "crates/controller/src/intake/codec.rs",
            // A command is verified and kept as the very bytes that were signed.
            "crates/agent/src/command",
            "crates/controller/src/app/commands",
            "crates/agent-sim/",
            "crates/cli/src/client",
        ],
        covers_tests: false,
        reason: "generated types end in muster_proto::convert; use the types of muster-model",
    },
    Boundary {
        names: r"\baxum\b",
        within: &[],
        home: &["crates/controller/src/http"],
        covers_tests: true,
        reason: "only http knows how requests are served; use-cases live in app",
    },
    Boundary {
        names: r"\bsea_orm(_migration)?\b",
        within: &[],
        home: &["crates/controller/src/store", "migrations/"],
        covers_tests: true,
        reason: "only store knows how state is kept",
    },
    Boundary {
        names: r"\brusqlite\b",
        within: &[],
        home: &[
            "crates/samples/",
            "crates/controller/src/intake",
            // Copies whole databases, whatever is in them.
            "crates/controller/src/backup/copy.rs",
            "crates/controller/src/backup/error.rs",
        ],
        covers_tests: false,
        reason: "the intake and the sample store have files of their own; everything else goes through store",
    },
    Boundary {
        names: r"\blettre\b",
        within: &[],
        home: &["crates/notify/src/smtp.rs", "crates/notify/src/kind/email.rs"],
        covers_tests: true,
        reason: "only the mail channel knows how mail is written and sent",
    },
    Boundary {
        names: r"\bCommand::new\b|\bstd::process::Command\b|\btokio::process\b",
        within: &[],
        home: &[
            "crates/agent/src/host",
            // The agent starts itself.
            "crates/agent/src/part/parent.rs",
            "crates/cli/src/up",
            "crates/xtask/src/process.rs",
        ],
        covers_tests: false,
        reason: "programs run only through Host: absolute path, fixed arguments, empty environment, no shell",
    },
    Boundary {
        names: r"#\[ignore",
        within: &[],
        home: &[],
        covers_tests: true,
        reason: "a test that cannot run here says so and why when it runs; an ignored one is forgotten",
    },
];

/// Every use of a name outside its home.
pub(super) fn check(workspace: &Workspace) -> Vec<Problem> {
    let starts = |path: &str, prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
    let mut problems = Vec::new();
    for boundary in BOUNDARIES {
        let names = Regex::new(boundary.names).expect("patterns in the table are valid");
        for (file, masked) in workspace.rust() {
            let path = file.path.as_str();
            let is_covered = boundary.within.is_empty() || starts(path, boundary.within);
            if !is_covered || starts(path, boundary.home) {
                continue;
            }
            let lines: Vec<(usize, &str)> = if boundary.covers_tests {
                masked.all_code().collect()
            } else {
                masked.code().collect()
            };
            for (number, line) in lines {
                if let Some(found) = names.find(line) {
                    let message = format!("`{}` has no place here: {}", found.as_str(), boundary.reason);
                    problems.push(Problem::line(path, number, message));
                }
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&Workspace::of(&[(path, text)])).len()
    }

    #[test]
    fn a_name_is_at_home_in_one_place_only() {
        let text = "use axum::Router;\n";
        assert_eq!(found("crates/controller/src/http/servers.rs", text), 0);
        assert_eq!(found("crates/controller/src/app/servers.rs", text), 1);
        assert_eq!(
            found(
                "crates/agent/src/run.rs",
                "use tonic::Status;\nuse sea_orm::Value;\n"
            ),
            2
        );
    }

    #[test]
    fn what_is_only_talked_about_is_no_use() {
        let text = "//! Knows nothing of axum.\nconst A: &str = \"tonic\";\n";
        assert_eq!(found("crates/controller/src/app.rs", text), 0);
    }

    #[test]
    fn parsers_read_files_only_in_their_tests() {
        let text = "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert_eq!(found("crates/parse/src/mdstat.rs", text), 0);
        assert_eq!(found("crates/parse/src/mdstat.rs", "use std::fs;\n"), 1);
        assert_eq!(found("crates/parse/tests/fixtures.rs", "use std::fs;\n"), 0);
        assert_eq!(found("crates/agent/src/durable.rs", "use std::fs;\n"), 0);
    }

    #[test]
    fn programs_are_started_in_few_places() {
        let text = "fn run() { Command::new(path); }\n";
        assert_eq!(found("crates/agent/src/collect/smart.rs", text), 1);
        assert_eq!(found("crates/agent/src/host/program.rs", text), 0);
    }

    #[test]
    fn no_test_is_ignored() {
        assert_eq!(found("tests/e2e/tests/a.rs", "#[ignore]\nfn a() {}\n"), 1);
    }
}
