//! Sources from inside: module documentation, and markers of unfinished work.

use regex::Regex;

use super::Problem;
use crate::workspace::Workspace;

/// Checks every source.
pub(super) fn check(workspace: &Workspace) -> Vec<Problem> {
    [undocumented_modules(workspace), unfinished(workspace)].concat()
}

/// Every module says at its head what it owns; `tests.rs` says it with its name.
fn undocumented_modules(workspace: &Workspace) -> Vec<Problem> {
    workspace
        .texts(".rs")
        .filter(|(file, text)| !text.starts_with("//!") && file.path.file_name() != Some("tests.rs"))
        .map(|(file, _)| {
            Problem::line(
                &file.path,
                1,
                "begin with `//!`: what the module owns and must not know",
            )
        })
        .collect()
}

/// Unfinished work is an issue, and the marker names it.
fn unfinished(workspace: &Workspace) -> Vec<Problem> {
    let marker = Regex::new(r"\b(TODO|FIXME|XXX|HACK)\b(\(#\d+\))?").expect("the pattern is valid");
    let is_loose = |line: &str| marker.captures_iter(line).any(|found| found.get(2).is_none());
    let message = "unfinished work without an issue: write the marker as NAME(#number), or finish it";
    let mut problems = Vec::new();
    for (file, masked) in workspace.rust() {
        let lines = masked.comments().filter(|(_, line)| is_loose(line));
        problems.extend(lines.map(|(number, _)| Problem::line(&file.path, number, message)));
    }
    for suffix in [".proto", ".toml", ".service", "Makefile"] {
        for (file, text) in workspace.texts(suffix) {
            let lines = text.lines().enumerate().filter(|(_, line)| is_loose(line));
            problems.extend(lines.map(|(index, _)| Problem::line(&file.path, index + 1, message)));
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
    fn unfinished_work_names_its_issue() {
        assert_eq!(found("crates/a/src/x.rs", "//! A.\n// TODO: later\n"), 1);
        assert_eq!(found("crates/a/src/x.rs", "//! A.\n// TODO(#12): later\n"), 0);
        assert_eq!(
            found("crates/a/src/x.rs", "//! A.\nconst A: &str = \"TODO\";\n"),
            0
        );
        assert_eq!(found("proto/muster/v1/x.proto", "// FIXME\n"), 1);
    }

    #[test]
    fn modules_say_what_they_own() {
        assert_eq!(found("crates/a/src/x.rs", "fn a() {}\n"), 1);
        assert_eq!(found("crates/a/src/x/tests.rs", "fn a() {}\n"), 0);
    }
}
