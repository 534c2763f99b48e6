//! The checks that no compiler makes: each is a function over the workspace that lists problems.
//!
//! A rule here has a reason, and the reason is part of the message; an exception is written beside the rule.

mod boundaries;
mod dependencies;
mod files;
mod guarantees;
mod layers;
mod manifests;
mod paths;
mod proto;
mod sources;

use std::fmt;

use camino::Utf8PathBuf;

use crate::workspace::Workspace;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    path: Utf8PathBuf,
    line: Option<usize>,
    message: String,
}

impl Problem {
    fn file(path: impl Into<Utf8PathBuf>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line: None,
            message: message.into(),
        }
    }

    fn line(path: impl Into<Utf8PathBuf>, line: usize, message: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            ..Self::file(path, message)
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Runs every check and prints what it found; whether all is well.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<bool> {
    let metadata = dependencies::metadata(&workspace.root)?;
    let mut problems = [
        boundaries::check(workspace),
        files::check(workspace),
        sources::check(workspace),
        proto::check(workspace),
        paths::check(workspace),
        guarantees::check(workspace),
        manifests::check(workspace)?,
        layers::check(&metadata),
        dependencies::check(&workspace.root, &metadata)?,
    ]
    .concat();
    problems.sort();
    for problem in &problems {
        println!("{problem}");
    }
    for file in files::worth_a_second_look(workspace) {
        println!("note: {file}");
    }
    println!(
        "tidy: {} problems in {} files",
        problems.len(),
        workspace.files.len()
    );
    Ok(problems.is_empty())
}
