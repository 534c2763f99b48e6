//! Files from outside: their length, size, name and place.

use super::Problem;
use crate::workspace::{File, Workspace};

/// Lines outside tests that no file may exceed.
const LINES_MAX: usize = 800;
/// Lines outside tests from which a file is worth a second look.
const LINES_MANY: usize = 400;
/// Larger files do not belong into git.
const BYTES_MAX: u64 = 1024 * 1024;
/// Names that say nothing about what is inside.
const GRAB_BAGS: &[&str] = &["util", "utils", "helper", "helpers", "misc", "common"];
/// What the top of the repository holds. A new entry is a decision, not an accident.
const TOP_LEVEL: &[&str] = &[
    ".cargo",
    ".ci",
    ".config",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "buf.yaml",
    "clippy.toml",
    "crates",
    "deploy",
    "docs",
    "migrations",
    "proto",
    "rustfmt.toml",
    "tests",
    "web",
];

/// Checks every file.
pub(super) fn check(workspace: &Workspace) -> Vec<Problem> {
    workspace.files.iter().flat_map(check_file).collect()
}

fn check_file(file: &File) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut problem = |message: String| problems.push(Problem::file(&file.path, message));
    if file.size_bytes > BYTES_MAX {
        problem(format!(
            "{} bytes: files above 1 MiB do not belong into git",
            file.size_bytes
        ));
    }
    let first = file
        .path
        .components()
        .next()
        .map(|part| part.as_str().to_owned())
        .unwrap_or_default();
    if !TOP_LEVEL.contains(&first.as_str()) {
        problem(format!(
            "{first} is new at the top: find it a folder, or add it to TOP_LEVEL in files.rs"
        ));
    }
    let Some(masked) = &file.masked else {
        return problems;
    };
    if masked.line_count() > LINES_MAX {
        problem(format!(
            "{} lines outside tests, {LINES_MAX} at most: split it by what it owns",
            masked.line_count()
        ));
    }
    if file.path.file_name() == Some("mod.rs") {
        problem("a module is `foo.rs` beside `foo/`, so that editors show its name".into());
    }
    let is_grab_bag = |part: &str| GRAB_BAGS.contains(&part.trim_end_matches(".rs"));
    if file.path.components().any(|part| is_grab_bag(part.as_str())) {
        problem("the name says nothing about what is inside: name what the code is about".into());
    }
    problems
}

/// Long files, as notes.
pub(super) fn worth_a_second_look(workspace: &Workspace) -> Vec<String> {
    let long = |lines: usize| (LINES_MANY..=LINES_MAX).contains(&lines);
    workspace
        .rust()
        .filter(|(_, masked)| long(masked.line_count()))
        .map(|(file, masked)| {
            format!(
                "{} has {} lines outside tests; is it still one thing?",
                file.path,
                masked.line_count()
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(&Workspace::of(&[(path, text)]))
            .into_iter()
            .map(|problem| problem.message)
            .collect()
    }

    #[test]
    fn grab_bags_and_mod_files_are_found() {
        assert_eq!(messages("crates/a/src/utils.rs", "").len(), 1);
        assert_eq!(messages("crates/a/src/common/x.rs", "").len(), 1);
        assert_eq!(messages("crates/a/src/x/mod.rs", "").len(), 1);
        assert_eq!(messages("crates/a/src/x.rs", "").len(), 0);
    }

    #[test]
    fn length_counts_without_tests() {
        let long = "fn a() {}\n".repeat(LINES_MAX + 1);
        assert_eq!(messages("crates/a/src/x.rs", &long).len(), 1);
        assert_eq!(messages("crates/a/src/x/tests.rs", &long).len(), 0);
        assert_eq!(
            worth_a_second_look(&Workspace::of(&[("crates/a/src/x.rs", &long[..5000])])).len(),
            1
        );
    }

    #[test]
    fn the_top_level_and_the_size_of_files_are_bounded() {
        assert_eq!(messages("scripts/x.sh", "").len(), 1);
        assert_eq!(messages("docs/x.txt", &"x".repeat(1024 * 1024 + 1)).len(), 1);
    }
}
