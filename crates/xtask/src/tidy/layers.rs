//! Which crate of the workspace may rest on which: the map of ARCHITECTURE.md as a table.

use cargo_metadata::{DependencyKind, Metadata};

use super::Problem;

/// Crate, and the crates of ours it may use outside tests.
const LAYERS: &[(&str, &[&str])] = &[
    (
        "muster-agent",
        &[
            "muster-base",
            "muster-catalogue",
            "muster-model",
            "muster-parse",
            "muster-proto",
            "muster-recreate",
            "muster-trim",
            "smartmontools-parse",
        ],
    ),
    (
        "muster-agent-sim",
        &[
            "muster-agent",
            "muster-base",
            "muster-catalogue",
            "muster-mix",
            "muster-model",
            "muster-proto",
        ],
    ),
    ("muster-alert", &["muster-catalogue", "muster-model"]),
    ("muster-base", &[]),
    ("muster-catalogue", &["muster-model"]),
    ("muster-cli", &["muster-base"]),
    (
        "muster-controller",
        &[
            "muster-alert",
            "muster-base",
            "muster-catalogue",
            "muster-image",
            "muster-migrations",
            "muster-model",
            "muster-notify",
            "muster-proto",
            "muster-samples",
            "muster-update",
            "smartmontools-parse",
        ],
    ),
    (
        "muster-e2e",
        &[
            "muster-base",
            "muster-fault-proxy",
            "muster-model",
            "muster-proto",
        ],
    ),
    ("muster-fake-engine", &[]),
    ("muster-fault-proxy", &[]),
    ("muster-image", &[]),
    ("muster-migrations", &[]),
    ("muster-mix", &[]),
    ("muster-model", &["muster-base"]),
    ("muster-notify", &["muster-alert", "muster-base", "muster-model"]),
    ("muster-parse", &[]),
    ("muster-proto", &["muster-base", "muster-model"]),
    ("muster-recreate", &[]),
    ("muster-samples", &["muster-base", "muster-model"]),
    ("muster-simulation", &[]),
    ("muster-trim", &[]),
    ("muster-update", &["muster-alert", "muster-image"]),
    ("smartmontools-parse", &[]),
    ("xtask", &[]),
];

/// Every dependency that points the wrong way, and every crate without a layer.
pub(super) fn check(metadata: &Metadata) -> Vec<Problem> {
    let members = metadata.workspace_packages();
    let is_ours = |name: &str| members.iter().any(|member| member.name.as_str() == name);
    let mut problems = Vec::new();
    for package in &members {
        let manifest = package
            .manifest_path
            .strip_prefix(&metadata.workspace_root)
            .unwrap_or(&package.manifest_path);
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == package.name.as_str()) else {
            let message = "this crate has no layer yet: add it to LAYERS in crates/xtask/src/tidy/layers.rs";
            problems.push(Problem::file(manifest, message));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let is_wrong =
                dependency.kind != DependencyKind::Development && is_ours(name) && !allowed.contains(&name);
            if is_wrong {
                let message = format!(
                    "{} may not rest on {name}: the layers are in ARCHITECTURE.md",
                    package.name
                );
                problems.push(Problem::file(manifest, message));
            }
        }
    }
    problems
}
