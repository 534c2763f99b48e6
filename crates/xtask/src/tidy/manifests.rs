//! Manifests of the members: versions and lints are declared only in the root.

use anyhow::Context as _;
use toml::{Table, Value};

use super::Problem;
use crate::workspace::Workspace;

/// The one crate that may allow a piece of unsafe code, and so cannot take over that it is forbidden.
const UNSAFE: &str = "crates/trim/Cargo.toml";

/// Checks every member's manifest.
pub(super) fn check(workspace: &Workspace) -> anyhow::Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for (file, text) in workspace.texts("/Cargo.toml") {
        let manifest: Table = text.parse().with_context(|| format!("parse {}", file.path))?;
        let is_inherited = |value: Option<&Value>| {
            value
                .and_then(|value| value.get("workspace"))
                .and_then(Value::as_bool)
                == Some(true)
        };
        if !is_inherited(manifest.get("lints")) && file.path != UNSAFE {
            problems.push(Problem::file(
                &file.path,
                "write `[lints] workspace = true`: lints are declared in the root",
            ));
        }
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let entries = manifest.get(section).and_then(Value::as_table);
            for (name, value) in entries
                .into_iter()
                .flatten()
                .filter(|(_, value)| !is_inherited(Some(value)))
            {
                let message =
                    format!("{name} = {value}: versions are declared in the root's [workspace.dependencies]");
                problems.push(Problem::file(&file.path, message));
            }
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_lints_are_inherited() {
        let good = "[lints]\nworkspace = true\n[dependencies]\nserde.workspace = true\n";
        let bad = "[dependencies]\nserde = \"1\"\n[dev-dependencies]\ntempfile = { version = \"3\" }\n";
        assert_eq!(
            check(&Workspace::of(&[("crates/a/Cargo.toml", good)])).unwrap(),
            []
        );
        assert_eq!(
            check(&Workspace::of(&[("crates/a/Cargo.toml", bad)]))
                .unwrap()
                .len(),
            3
        );
    }
}
