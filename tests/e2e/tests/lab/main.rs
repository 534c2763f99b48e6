//! The agent on real storage, in a guest (tests/lab): healthy, then broken in every way that a guest can be broken, and
//! always compared with what the tools themselves say.
//!
//! Only with `make lab-test`: the guest is built once, in minutes, and needs root and Debian's mirror.

mod btrfs;
mod cpu;
mod exporter;
mod fleet;
mod layout;
mod lvm;
mod md;
mod smart;
mod zfs;

use std::time::Duration;

use anyhow::{Result, ensure};
use muster_e2e::lab::{self, Facts, Lab};
use serde_json::Value;

/// What the guest does in seconds; it is ten to twenty times slower than the machine, and that may be busy.
const PATIENCE: Duration = Duration::from_secs(240);

/// A guest in the saved state, or nothing if none is asked for.
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn guest(name: &str) -> Result<Option<Lab>> {
    if !lab::is_wanted() {
        println!("skipped: tests in the guest run with `make lab-test`");
        return Ok(None);
    }
    Lab::up(name).map(Some)
}

/// Health of a resource, and that it says what it rests on.
fn assert_health(resource: &Value, expected: &[&str]) -> Result<()> {
    let health = resource["health"].as_str().unwrap_or_default();
    ensure!(
        expected.contains(&health),
        "{} is {health}, and {expected:?} is expected: {}",
        resource["key"],
        resource["health_reasons"]
    );
    let reasons = resource["health_reasons"].as_array();
    ensure!(
        health == "healthy" || reasons.is_some_and(|reasons| !reasons.is_empty()),
        "{} does not say why it is {health}",
        resource["key"]
    );
    Ok(())
}

/// That a number lies between what the tool said before and after, in either order, give or take `slack`.
fn assert_between(what: &str, value: &Value, before: f64, after: f64, slack: f64) -> Result<()> {
    let number = value.as_f64();
    let (low, high) = (before.min(after) - slack, before.max(after) + slack);
    ensure!(
        number.is_some_and(|number| (low..=high).contains(&number)),
        "{what} is {value}, and the tool says {before} before and {after} after"
    );
    Ok(())
}

/// The columns of a table without a heading, a line each.
fn table(text: &str) -> Vec<Vec<String>> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(words)
        .collect()
}

/// Nothing of a healthy guest may be a problem that nobody expects.
fn assert_no_problems(facts: &Facts) -> Result<()> {
    ensure!(facts.problems().is_empty(), "{:#?}", facts.problems());
    Ok(())
}
