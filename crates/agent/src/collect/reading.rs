//! The short way to write a collector that only reads files: what is absent, and one function over a [`Reading`].
//!
//! The function runs on a thread that may block, once a run for all its files. What is not there it leaves out, what
//! makes no sense becomes a problem, and a run that brought nothing at all is absent. It keeps nothing between runs.

use std::time::Duration;

use async_trait::async_trait;
use muster_catalogue::{Family, Metric};

use super::draft::Draft;
use super::{CollectError, Collector, Context, Descriptor, Outcome, Place};
use crate::host::{Files, Host, HostError};

/// A label and its value.
pub(super) type Label<'a> = (&'static str, &'a str);

/// A collector of the system's numbers: every 15 s.
pub(super) const fn every_15s(
    name: &'static str,
    summary: &'static str,
    build: fn(&Context) -> Box<dyn Collector>,
) -> Descriptor {
    Descriptor {
        name,
        summary,
        interval: Duration::from_secs(15),
        interval_min: Duration::from_secs(1),
        timeout: Duration::from_secs(10),
        place: Place::Net,
        build,
    }
}

/// A collector of what seldom changes: every minute.
pub(super) const fn every_minute(
    name: &'static str,
    summary: &'static str,
    build: fn(&Context) -> Box<dyn Collector>,
) -> Descriptor {
    Descriptor {
        interval: Duration::from_secs(60),
        interval_min: Duration::from_secs(5),
        ..every_15s(name, summary, build)
    }
}

/// What such a collector does.
pub(super) type Read = fn(&mut Reading<'_>) -> Result<(), HostError>;

/// A collector that only reads files.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileCollector {
    /// Its name, as in the descriptor.
    pub name: &'static str,
    /// What to say when nothing was found.
    pub absent: &'static str,
    /// Reads everything.
    pub read: Read,
}

#[async_trait]
impl Collector for FileCollector {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        let Self { name, absent, read } = *self;
        let work = move |files: &Files| {
            let mut reading = Reading {
                files,
                draft: Draft::new(name),
            };
            read(&mut reading).map(|()| reading.draft)
        };
        Ok(outcome(host.blocking(name, work).await??, absent))
    }
}

/// The facts, or absent if there are none.
pub(super) fn outcome(draft: Draft, absent: &str) -> Outcome {
    let facts = draft.finish();
    if facts.samples.is_empty() && facts.resources.is_empty() && facts.problems.is_empty() {
        return Outcome::absent(absent);
    }
    Outcome::Facts(facts)
}

/// A file with one number, and what it becomes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attribute {
    /// Its name in the folder.
    pub file: &'static str,
    /// What it becomes.
    pub metric: Metric,
    /// What it is multiplied by: millidegrees by 0.001.
    pub scale: f64,
}

impl Attribute {
    /// A number in the metric's own unit.
    pub(super) const fn plain(file: &'static str, metric: Metric) -> Self {
        Self::scaled(file, metric, 1.0)
    }

    /// A number in a smaller or larger unit.
    pub(super) const fn scaled(file: &'static str, metric: Metric, scale: f64) -> Self {
        Self { file, metric, scale }
    }
}

/// One run over the server's files.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    /// The files.
    pub files: &'a Files,
    /// What was found.
    pub draft: Draft,
}

impl Reading<'_> {
    /// The text of a file that the collector rests on; `None` if there is none.
    pub(super) fn text(&self, path: &str) -> Result<Option<String>, HostError> {
        self.files.text(path)
    }

    /// The text of a file beside others; that it cannot be read is a problem.
    pub(super) fn side_text(&mut self, path: &str) -> Option<String> {
        match self.files.text(path) {
            Ok(text) => text,
            Err(error) => {
                self.draft.error("a file beside others", &error);
                None
            }
        }
    }

    /// Adds a sample on the server.
    pub(super) fn sample(&mut self, metric: &Metric, labels: &[Label<'_>], value: f64) {
        self.draft.sample(metric, labels, value);
    }

    /// Adds a sample of a family.
    pub(super) fn sample_in(&mut self, family: &Family, middle: &str, value: f64) {
        self.draft.sample_in(family, middle, value);
    }

    /// The number in a small file. Drivers answer with errors where they have no value, so that what cannot be read
    /// is as good as absent; what is there and no number is a problem.
    pub(super) fn number(&mut self, path: &str) -> Option<f64> {
        let word = self.files.word(path)?;
        let number = parse_number(&word);
        if number.is_none() {
            self.draft
                .problem(format!("{path}: expected a number, found {word:.60?}"));
        }
        number
    }

    /// Adds the number in a small file, if there is one.
    pub(super) fn file(&mut self, path: &str, metric: &Metric, labels: &[Label<'_>]) {
        if let Some(value) = self.number(path) {
            self.sample(metric, labels, value);
        }
    }

    /// Adds every attribute that the folder has.
    pub(super) fn attributes(&mut self, folder: &str, attributes: &[Attribute], labels: &[Label<'_>]) {
        let mut path = format!("{folder}/");
        let start = path.len();
        for attribute in attributes {
            path.truncate(start);
            path.push_str(attribute.file);
            if let Some(value) = self.number(&path) {
                self.sample(&attribute.metric, labels, value * attribute.scale);
            }
        }
    }

    /// The first names that are wanted, by number where they end in one; that there are more is a problem.
    pub(super) fn numbered(&mut self, folder: &str, stem: &str, max: usize) -> Vec<(u32, String)> {
        let mut found: Vec<(u32, String)> = self
            .files
            .names(folder)
            .into_iter()
            .filter_map(|name| Some((name.strip_prefix(stem)?.parse().ok()?, name)))
            .collect();
        found.sort_unstable();
        self.first(folder, found, max)
    }

    /// Cuts a list to its bound.
    pub(super) fn first<T>(&mut self, what: &str, mut list: Vec<T>, max: usize) -> Vec<T> {
        if max < list.len() {
            self.draft.problem(format!(
                "{what} has {} entries: only {max} are told of",
                list.len()
            ));
            list.truncate(max);
        }
        list
    }
}

/// Decimal, or hexadecimal after `0x`.
fn parse_number(word: &str) -> Option<f64> {
    match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(|number| number as f64),
        None => word.parse().ok().filter(|number: &f64| number.is_finite()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_or_hexadecimal_and_nothing_else() {
        assert_eq!(parse_number("0x1003"), Some(4099.0));
        assert_eq!(parse_number("-1"), Some(-1.0));
        for odd in ["", "nan", "inf", "0xg", "1 2", "yes"] {
            assert_eq!(parse_number(odd), None, "{odd}");
        }
    }
}
