//! Documents name only what exists: paths in backquotes and relative links.

use regex::Regex;

use super::Problem;
use crate::workspace::Workspace;

/// Checks every Markdown file.
pub(super) fn check(workspace: &Workspace) -> Vec<Problem> {
    let quoted =
        Regex::new(r"`((?:\.cargo|\.ci|\.config|crates|deploy|docs|migrations|proto|tests)/[^` ]*)`");
    let quoted = quoted.expect("the pattern is valid");
    let link = Regex::new(r"\]\(([^)#:]+)(?:#[^)]*)?\)").expect("the pattern is valid");
    let mut problems = Vec::new();
    for (file, text) in workspace
        .texts(".md")
        .filter(|(file, _)| !file.path.as_str().contains("/fixtures/"))
    {
        let folder = file.path.parent().unwrap_or_else(|| "".into());
        for (index, line) in text.lines().enumerate() {
            let from_root = quoted
                .captures_iter(line)
                .map(|found| workspace.root.join(&found[1]));
            let from_here = link
                .captures_iter(line)
                .map(|found| workspace.root.join(folder).join(&found[1]));
            for path in from_root.chain(from_here).filter(|path| !path.exists()) {
                let path = path.strip_prefix(&workspace.root).unwrap_or(&path);
                problems.push(Problem::line(
                    &file.path,
                    index + 1,
                    format!("{path} does not exist"),
                ));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_paths_and_links_must_exist() {
        let text = "`crates/nothing/src/lib.rs` and [it](nowhere.md), [web](https://example.org/x), `crates` alone\n";
        let problems = check(&Workspace::of(&[("README.md", text)]));
        let messages: Vec<_> = problems.into_iter().map(|problem| problem.message).collect();
        assert_eq!(
            messages,
            [
                "crates/nothing/src/lib.rs does not exist",
                "nowhere.md does not exist"
            ]
        );
    }
}
