//! docs/collectors.md, docs/default-rules.md, docs/metrics.md and the example settings in deploy/ say what the code says:
//! these tests make what they must be, and compare. Examples of docs/alerts.md are read as the controller reads them.
//!
//! `cargo xtask docs` runs it with `MUSTER_WRITE_DOCS` set; then it writes the files instead.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use camino::Utf8Path;

use muster_agent::collect::{ALL, Place};
use muster_catalogue::alias::ALIASES;
use muster_catalogue::{FAMILIES, all};
use muster_controller::config::Overrides;

const HEAD: &str = "<!-- Made from the code by `cargo xtask docs`; edit that instead. -->\n\n";

#[test]
fn the_document_of_collectors_is_current() {
    check("docs/collectors.md", &collectors());
}

#[test]
fn the_document_of_default_rules_is_current() {
    check("docs/default-rules.md", &default_rules());
}

#[test]
fn every_example_of_the_document_of_alerts_is_taken() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/alerts.md");
    let text = fs::read_to_string(path).unwrap();
    let examples = |kind: &str| -> Vec<String> {
        let begin = format!("```yaml {kind}\n");
        let parts = text.split(&begin).skip(1);
        parts
            .map(|rest| rest.split_once("```").unwrap().0.to_owned())
            .collect()
    };
    let mut kinds = Vec::new();
    for example in examples("rule") {
        let rules = muster_alert::rule::read_yaml(&example).unwrap();
        kinds.extend(rules.into_iter().map(|rule| rule.kind.as_str()));
    }
    assert_eq!(kinds, muster_alert::RuleKind::ALL.map(|kind| kind.as_str()));
    let silences = examples("silence");
    assert_eq!(silences.len(), 3, "one of each form");
    for example in silences {
        let body = serde_norway::from_str(&example).unwrap();
        muster_alert::mute::read(body, 1_800_000_000_000).unwrap();
    }
}

#[test]
fn the_document_of_metrics_is_current() {
    check("docs/metrics.md", &metrics());
}

#[test]
fn the_agents_example_settings_are_its_defaults_and_parse() {
    let text = muster_agent::config::Config::default_text();
    check("deploy/agent.toml", &text);
    let path = Utf8Path::new("deploy/agent.toml");
    for text in [&text, &with_settings(&text)] {
        muster_agent::config::Config::parse(path, text).unwrap();
    }
}

#[test]
fn the_controllers_example_settings_are_its_defaults_and_parse() {
    let text = muster_controller::config::Config::default_text();
    check("deploy/controller.toml", &text);
    let (path, home) = (
        Utf8Path::new("deploy/controller.toml"),
        Utf8Path::new("/var/lib/muster"),
    );
    for text in [&text, &with_settings(&text)] {
        muster_controller::config::Config::parse(path, text, Overrides::default(), home).unwrap();
    }
}

/// The example with every setting it shows in force.
fn with_settings(text: &str) -> String {
    let is_name = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let uncommented = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(setting) if setting.split_once(" = ").is_some_and(|(name, _)| is_name(name)) => setting,
        _ => line,
    });
    uncommented.map(|line| format!("{line}\n")).collect()
}

fn check(name: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    if std::env::var_os("MUSTER_WRITE_DOCS").is_some() {
        fs::write(&path, wanted).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == wanted,
        "{name} is not what the code says: run `cargo xtask docs` and commit the result"
    );
}

fn collectors() -> String {
    let mut text = format!(
        "{HEAD}# Collectors\n\nAll are on by default: a server that lacks what one reads reports it absent, which is no \
         failure.\n\n| name | reads | every | at least | gives up after | rights |\n|---|---|---|---|---|---|\n"
    );
    for descriptor in ALL {
        let rights = match descriptor.place {
            Place::Net => "none",
            Place::Privileged => "privileged",
        };
        let [every, at_least, timeout] =
            [descriptor.interval, descriptor.interval_min, descriptor.timeout].map(duration);
        let (name, summary) = (descriptor.name, descriptor.summary);
        writeln!(
            text,
            "| `{name}` | {summary} | {every} | {at_least} | {timeout} | {rights} |"
        )
        .unwrap();
    }
    text
}

fn default_rules() -> String {
    let mut text = format!(
        "{HEAD}# Default rules\n\nThey come with Muster and are enabled. `muster rules set` changes them, `muster rules \
         disable` switches them off; one that is deleted does not come again. What rules are: see [alerts](alerts.md).\n"
    );
    for default in muster_alert::defaults::all() {
        let rule = default.rule;
        let mut severities: Vec<&str> = rule
            .levels
            .lower
            .map(|(severity, _)| severity.as_str())
            .into_iter()
            .chain(rule.levels.critical.map(|_| "critical"))
            .collect();
        if severities.is_empty() {
            severities.push(rule.severity.as_str());
        }
        let of = rule.resource_kind.map_or("any", |kind| kind.as_str());
        let lasting = match u64::try_from(rule.for_ms).unwrap() {
            0 => String::new(),
            for_ms => format!(", for {}", duration(Duration::from_millis(for_ms))),
        };
        let labels: Vec<String> = rule
            .scope
            .labels
            .iter()
            .map(|label| format!(", `{label}`"))
            .collect();
        let (name, condition, labels, severities) = (
            &rule.name,
            rule.condition(),
            labels.concat(),
            severities.join(", "),
        );
        writeln!(
            text,
            "\n## {name}\n\n`{condition}`{labels}{lasting}; of: {of}; {severities}; key `{}`\n\n{}",
            default.key, rule.description
        )
        .unwrap();
    }
    text
}

fn metrics() -> String {
    let mut text = format!(
        "{HEAD}# Metrics\n\nNames, labels, types and units are those of the stock exporters where one has the number; \
         the rest starts with `muster_`. When they are read, every series also has `job`, `instance` and `server_id`.\n\n\
         | name | type | unit | alias | help |\n|---|---|---|---|---|\n"
    );
    for metric in all() {
        row(
            &mut text,
            metric.name,
            metric.metric_type.as_str(),
            metric.unit,
            metric.help,
        );
    }
    for family in FAMILIES {
        row(
            &mut text,
            &family.name("*"),
            family.metric_type.as_str(),
            family.unit,
            family.help,
        );
    }
    text.push_str(
        "\n## Aliases\n\nShort names that rules may use instead of a metric's: what they are of, and how their number is \
         had.\n\n| alias | of a | unit | means |\n|---|---|---|---|\n",
    );
    for alias in ALIASES {
        let (name, subject, unit) = (alias.name, alias.subject.as_str(), alias.unit);
        writeln!(text, "| `{name}` | {subject} | {unit} | `{}` |", alias.meaning).unwrap();
    }
    text
}

fn row(text: &mut String, name: &str, metric_type: &str, unit: &str, help: &str) {
    let is_of = |metric: &str| metric == name || family_of(metric).is_some_and(|family| family == name);
    let aliases: Vec<String> = ALIASES
        .iter()
        .filter(|alias| alias.picks().iter().any(|pick| is_of(pick.metric)))
        .map(|alias| format!("`{}`", alias.name))
        .collect();
    let aliases = aliases.join(", ");
    writeln!(text, "| `{name}` | {metric_type} | {unit} | {aliases} | {help} |").unwrap();
}

/// The first family that has a metric, written with `*`; none if the metric stands for itself.
fn family_of(metric: &str) -> Option<String> {
    if all().any(|known| known.name == metric) {
        return None;
    }
    FAMILIES.iter().map(|family| family.name("*")).find(|family| {
        family
            .split_once('*')
            .is_some_and(|(start, end)| metric.starts_with(start) && metric.ends_with(end))
    })
}

/// As people write it: the largest unit that leaves no rest.
fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        s if s % 3600 == 0 => format!("{} h", s / 3600),
        s if s % 60 == 0 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}
