//! The table of guarantees names tests that exist: a promise whose proof was renamed away is no promise.

use regex::Regex;

use super::Problem;
use crate::workspace::Workspace;

const TABLE: &str = "docs/guarantees.md";

/// Checks each "`test` in `file`" of the table.
pub(super) fn check(workspace: &Workspace) -> Vec<Problem> {
    let named = Regex::new(r"`([a-z0-9_]+)` in `([^`]+\.rs)`").expect("the pattern is valid");
    let mut problems = Vec::new();
    for (file, text) in workspace.texts(".md").filter(|(file, _)| file.path == TABLE) {
        for (index, line) in text.lines().enumerate() {
            for found in named.captures_iter(line) {
                let (test, path) = (&found[1], &found[2]);
                let function = format!("fn {test}(");
                let exists = workspace
                    .texts(".rs")
                    .any(|(source, code)| source.path == path && code.contains(&function));
                if !exists {
                    let message = format!("{path} has no test {test}");
                    problems.push(Problem::line(&file.path, index + 1, message));
                }
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_is_gone_is_named_with_its_file() {
        let table = "| D1 | `it_holds` in `crates/a/src/lib.rs`, `it_is_gone` in `crates/a/src/lib.rs` |\n";
        let problems = check(&Workspace::of(&[
            (TABLE, table),
            ("crates/a/src/lib.rs", "fn it_holds() {}\n"),
        ]));
        let messages: Vec<_> = problems.into_iter().map(|problem| problem.message).collect();
        assert_eq!(messages, ["crates/a/src/lib.rs has no test it_is_gone"]);
    }
}
