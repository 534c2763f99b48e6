//! Debian's `prometheus-node-exporter` beside the agent: the same names, labels and values, but for what
//! `docs/node-exporter.md` lists.

#![expect(clippy::print_stdout, reason = "figures of a test are printed")]

mod exporter;
mod page;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use exporter::{agent_page, exporter_page};
use page::Page;

/// Names and ends (`go_*`) of the document's table.
fn listed_differences() -> Vec<String> {
    const DOCUMENT: &str = include_str!("../../../../docs/node-exporter.md");
    DOCUMENT
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn is_listed(differences: &[String], name: &str) -> bool {
    differences.iter().any(|listed| match listed.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => listed == name,
    })
}

/// What theirs has and ours lacks: names, and labels of names both have.
fn missing(theirs: &Page, ours: &Page) -> BTreeSet<String> {
    let differences = listed_differences();
    let mut missing = BTreeSet::new();
    for name in theirs.names().filter(|name| !is_listed(&differences, name)) {
        let Some(labels) = ours.label_names(name) else {
            missing.insert(name.to_owned());
            continue;
        };
        for label in theirs.label_names(name).unwrap_or_default().difference(&labels) {
            missing.insert(format!("{name}{{{label}}}"));
        }
    }
    missing
}

#[tokio::test]
async fn every_name_and_label_of_the_exporter_is_the_agents_too() -> Result<()> {
    let theirs = exporter_page(None).await?;
    let ours = agent_page(None)?;
    let missing = missing(&theirs, &ours);
    println!(
        "{} names of the exporter, {} of the agent, {} missing",
        theirs.names().count(),
        ours.names().count(),
        missing.len()
    );
    ensure!(missing.is_empty(), "missing: {missing:#?}");
    Ok(())
}
