//! A page of metrics in the Prometheus text format, as far as the two programs write it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};

/// Labels of one series.
pub(crate) type Labels = BTreeMap<String, String>;

/// What makes two series the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum With {
    /// Name and labels.
    Labels,
    /// The number besides.
    Values,
}

/// What comparing two pages brought.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// Series with the same labels and number.
    pub(crate) equal: usize,
    /// What is wrong with the others.
    pub(crate) different: Vec<String>,
}

/// Series by name.
#[derive(Debug, Default)]
pub(crate) struct Page {
    families: BTreeMap<String, Vec<(Labels, f64)>>,
}

impl Page {
    /// Reads every sample.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut page = Self::default();
        for line in text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let (series, value) = line
                .rsplit_once(' ')
                .with_context(|| format!("no value: {line}"))?;
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = parse_labels(labels).with_context(|| format!("labels: {line}"))?;
            let value = value.parse().with_context(|| format!("value: {line}"))?;
            page.families
                .entry(name.to_owned())
                .or_default()
                .push((labels, value));
        }
        Ok(page)
    }

    /// Every name.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.families.keys().map(String::as_str)
    }

    /// The names of all labels that any series of a name has and that are not empty; `None` if there is no such name.
    pub(crate) fn label_names(&self, name: &str) -> Option<BTreeSet<&str>> {
        let series = self.families.get(name)?;
        Some(
            series
                .iter()
                .flat_map(|(labels, _)| labels.keys().map(String::as_str))
                .collect(),
        )
    }
}

impl Page {
    /// The same without the series of devices whose names begin so.
    pub(crate) fn without_devices(&self, start: &str) -> Self {
        self.without("device", start)
    }

    /// The same without the series in which the value of a label begins so.
    pub(crate) fn without(&self, label: &str, start: &str) -> Self {
        let is_kept = |labels: &Labels| labels.get(label).is_none_or(|value| !value.starts_with(start));
        let families = self.families.iter().map(|(name, series)| {
            let kept = series.iter().filter(|(labels, _)| is_kept(labels)).cloned();
            (name.clone(), kept.collect())
        });
        Self {
            families: families.collect(),
        }
    }

    /// What another page has too, label for label and with the same number.
    pub(crate) fn unchanged_in(&self, other: &Self) -> Self {
        let families = self.families.iter().map(|(name, series)| {
            let others = other.families.get(name).map(Vec::as_slice).unwrap_or_default();
            let kept = series.iter().filter(|series| others.contains(series)).cloned();
            (name.clone(), kept.collect())
        });
        Self {
            families: families.collect(),
        }
    }

    /// What another page has too, label for label, whatever its number.
    pub(crate) fn still_in(&self, other: &Self) -> Self {
        let families = self.families.iter().map(|(name, series)| {
            let others = other.families.get(name).map(Vec::as_slice).unwrap_or_default();
            let is_there = |labels: &Labels| others.iter().any(|(have, _)| have == labels);
            let kept = series.iter().filter(|(labels, _)| is_there(labels)).cloned();
            (name.clone(), kept.collect())
        });
        Self {
            families: families.collect(),
        }
    }

    /// Looks for every series of the other page's names: the same labels, and the same number if values are
    /// compared. Ours may have labels more, and empty ones count as none; paths of theirs begin with the root they
    /// read.
    pub(crate) fn compare(&self, other: &Self, names: &[&str], root: &Path, with: With) -> Compared {
        let mut compared = Compared::default();
        let root = root.to_string_lossy();
        for name in names {
            let ours = self.families.get(*name).map(Vec::as_slice).unwrap_or_default();
            for (labels, value) in other.families.get(*name).into_iter().flatten() {
                let is_same = |(have, number): &&(Labels, f64)| {
                    let has = |(label, text): (&String, &String)| {
                        let text = text.replacen(root.as_ref(), "", 1);
                        text.is_empty() || have.get(label) == Some(&text)
                    };
                    labels.iter().all(has) && (with == With::Labels || is_close(*number, *value))
                };
                if ours.iter().any(|series| is_same(&series)) {
                    compared.equal += 1;
                } else {
                    let near: Vec<_> = ours.iter().take(3).collect();
                    compared
                        .different
                        .push(format!("{name}{labels:?} {value}, ours: {near:?}"));
                }
            }
        }
        compared
    }
}

impl Page {
    /// Whether there is a series that is written `name{label=value,…}` here, whatever labels it has besides.
    pub(crate) fn has(&self, series: &str) -> bool {
        self.value(series).is_some()
    }

    /// The number of such a series.
    pub(crate) fn value(&self, series: &str) -> Option<f64> {
        let (name, wanted) = series.split_once('{').unwrap_or((series, "}"));
        let wanted = wanted.trim_end_matches('}');
        let found = self.families.get(name)?.iter().find(|(labels, _)| {
            wanted
                .split(',')
                .filter_map(|pair| pair.split_once('='))
                .all(|(label, value)| labels.get(label).is_some_and(|have| have == value))
        });
        found.map(|(_, number)| *number)
    }
}

/// The same but for how a factor was multiplied.
fn is_close(ours: f64, theirs: f64) -> bool {
    (ours - theirs).abs() <= theirs.abs() * 1e-9 || ours == theirs
}

/// Reads `name="value",…}`.
fn parse_labels(text: &str) -> Option<Labels> {
    let mut labels = Labels::new();
    let mut rest = text;
    while !rest.starts_with('}') {
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next()? {
                (place, '"') => break place + 1,
                (_, '\\') => match chars.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.insert(name.trim_start_matches(',').to_owned(), value);
        rest = &after[end..];
    }
    Some(labels)
}
