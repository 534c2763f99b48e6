//! The wire is read by people who have only the `.proto` files: everything in them has a comment.
//!
//! Fields written in one run without a blank line may share the comment at the run's head; the values of an enum are
//! said by their names and its comment.

use regex::Regex;

use super::Problem;
use crate::workspace::Workspace;

/// Checks every `.proto` file.
pub(super) fn check(workspace: &Workspace) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (file, text) in workspace.texts(".proto") {
        for (number, what) in uncommented(text) {
            problems.push(Problem::line(
                &file.path,
                number,
                format!("`{what}` has no comment: unit? when is it absent?"),
            ));
        }
    }
    problems
}

/// Line numbers and text of what lacks a comment.
fn uncommented(text: &str) -> Vec<(usize, String)> {
    let block = Regex::new(r"^(message|enum|service|rpc|oneof)\b").expect("the pattern is valid");
    let field = Regex::new(r"^[\w.<>, ]+\s+\w+ = \d+").expect("the pattern is valid");
    let mut found = Vec::new();
    // Does a comment, or a field with one, stand directly above?
    let mut is_covered = false;
    for (index, line) in text.lines().map(str::trim).enumerate() {
        let is_field = field.is_match(line);
        if (is_field || block.is_match(line)) && !is_covered && !line.contains("//") {
            found.push((index + 1, line.to_owned()));
        }
        is_covered = line.starts_with("//") || (is_field && (is_covered || line.contains("//")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_without_a_comment_is_found() {
        let text = "// A.\nmessage A {\n  // B.\n  string b = 1;\n  string c = 2;\n\n  string d = 3;\n}\n";
        assert_eq!(uncommented(text), [(7, "string d = 3;".to_owned())]);
    }

    #[test]
    fn a_message_without_a_comment_is_found() {
        assert_eq!(uncommented("message A {}\n"), [(1, "message A {}".to_owned())]);
    }
}
