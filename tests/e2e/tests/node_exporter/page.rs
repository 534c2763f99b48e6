//! A page of metrics in the Prometheus text format, as far as the two programs write it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};

/// Labels of one series.
pub(crate) type Labels = BTreeMap<String, String>;

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
