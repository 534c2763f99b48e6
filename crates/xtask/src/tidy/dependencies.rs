//! What comes from outside: licences, bans, duplicate versions, over `cargo metadata` for Linux.
//!
//! Exceptions live in `dependencies.toml` beside this crate's manifest, each with its reason; one that is no longer
//! needed is a problem too, so the list stays true.

mod licence;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use camino::Utf8Path;
use cargo_metadata::{Metadata, MetadataCommand, Package};
use serde::Deserialize;

use super::Problem;
use crate::process;

/// Only Linux: what other systems would pull in is never built.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// What is off as it is shipped, and built by `make test` all the same.
const FEATURES: [&str; 2] = ["--features", "muster-agent/podman-api"];
const RULES: &str = "crates/xtask/dependencies.toml";

/// What may be taken and what not.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    /// SPDX identifiers that may be taken.
    licences: BTreeSet<String>,
    ban: Vec<Entry>,
    duplicate: Vec<Entry>,
}

/// A crate's name, with `*` at its end for a family, and why it is listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    reason: String,
}

impl Entry {
    fn matches(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => self.name == name,
        }
    }
}

/// Every package of the lock file that Linux may need.
pub(super) fn metadata(root: &Utf8Path) -> anyhow::Result<Metadata> {
    let options = ["--locked", "--filter-platform", TARGET]
        .into_iter()
        .chain(FEATURES);
    MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .other_options(options.map(str::to_owned).collect::<Vec<_>>())
        .exec()
        .context("cargo metadata")
}

/// Checks the packages that are really in the graph.
pub(super) fn check(root: &Utf8Path, metadata: &Metadata) -> anyhow::Result<Vec<Problem>> {
    let text = std::fs::read_to_string(root.join(RULES)).with_context(|| format!("read {RULES}"))?;
    let rules: Rules = toml::from_str(&text).with_context(|| format!("parse {RULES}"))?;
    let built = built(root)?;
    let is_built = |package: &&Package| built.contains(&format!("{} v{}", package.name, package.version));
    let packages: Vec<&Package> = metadata.packages.iter().filter(is_built).collect();
    Ok([
        licences(&rules, &packages),
        bans(&rules, &packages),
        duplicates(&rules, &packages),
    ]
    .concat())
}

/// Name and version of what is built. `cargo metadata` also lists what only features nobody asked for would need.
fn built(root: &Utf8Path) -> anyhow::Result<BTreeSet<String>> {
    let mut tree = process::command("cargo", root);
    tree.args([
        "tree",
        "--locked",
        "--workspace",
        "--target",
        TARGET,
        "--edges",
        "normal,build,dev",
    ]);
    tree.args(FEATURES);
    let text = process::output(tree.args(["--prefix", "none", "--format", "{p}"]))?;
    let name_and_version = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    Ok(text.lines().map(name_and_version).collect())
}

fn licences(rules: &Rules, packages: &[&Package]) -> Vec<Problem> {
    let is_fine = |package: &Package| {
        package
            .license
            .as_deref()
            .is_some_and(|spdx| licence::is_allowed(spdx, &rules.licences))
    };
    packages
        .iter()
        .filter(|package| !is_fine(package))
        .map(|package| {
            let licence = package.license.as_deref().unwrap_or("none");
            Problem::file(
                "Cargo.lock",
                format!(
                    "{} {}: licence {licence} is not allowed",
                    package.name, package.version
                ),
            )
        })
        .collect()
}

fn bans(rules: &Rules, packages: &[&Package]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for package in packages {
        for ban in rules.ban.iter().filter(|ban| ban.matches(&package.name)) {
            problems.push(Problem::file(
                "Cargo.lock",
                format!("{} is banned: {}", package.name, ban.reason),
            ));
        }
    }
    problems
}

fn duplicates(rules: &Rules, packages: &[&Package]) -> Vec<Problem> {
    let mut versions: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in packages {
        versions
            .entry(&package.name)
            .or_default()
            .insert(package.version.to_string());
    }
    versions.retain(|_, found| found.len() > 1);
    let unexcused = versions
        .iter()
        .filter(|(name, _)| !rules.duplicate.iter().any(|entry| entry.matches(name)));
    let unexcused = unexcused.map(|(name, found)| {
        let list: Vec<&str> = found.iter().map(String::as_str).collect();
        let message = format!(
            "{name} is there {} times ({}): unify, or say why in {RULES}",
            list.len(),
            list.join(", ")
        );
        Problem::file("Cargo.lock", message)
    });
    let idle = rules
        .duplicate
        .iter()
        .filter(|entry| !versions.keys().any(|name| entry.matches(name)));
    let idle = idle.map(|entry| {
        Problem::file(
            RULES,
            format!(
                "{} has one version now ({}): remove the exception",
                entry.name, entry.reason
            ),
        )
    });
    unexcused.chain(idle).collect()
}
