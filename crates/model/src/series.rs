//! Series: a metric name and labels on a resource.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{MetricType, ResourceKey, limits};

/// Why a set of labels was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LabelError {
    /// The name is empty, too long, or has characters beyond `[a-zA-Z_][a-zA-Z0-9_]*`.
    #[error("bad name {name:?}")]
    Name {
        /// The offending name, cut to a printable length.
        name: String,
    },
    /// The value is longer than a label value may be.
    #[error("value of label {name} is {bytes} bytes long")]
    ValueTooLong {
        /// The label's name.
        name: String,
        /// The length of its value.
        bytes: usize,
    },
    /// A name occurs twice.
    #[error("label {name} occurs twice")]
    Duplicate {
        /// The label's name.
        name: String,
    },
    /// There are more labels than a series may have.
    #[error("{count} labels")]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

/// Labels of a series, sorted by name, each name once. The metric's name is not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Labels(Vec<(Cow<'static, str>, String)>);

impl Labels {
    /// Sorts and checks pairs.
    ///
    /// # Errors
    /// [`LabelError`] for a bad name, a value beyond its bound, a repeated name or too many pairs.
    pub fn new(pairs: Vec<(String, String)>) -> Result<Self, LabelError> {
        if limits::LABELS_PER_SERIES_MAX < pairs.len() {
            return Err(LabelError::TooMany { count: pairs.len() });
        }
        for (name, value) in &pairs {
            check_name(name)?;
            if limits::LABEL_VALUE_BYTES_MAX < value.len() {
                return Err(LabelError::ValueTooLong {
                    name: name.clone(),
                    bytes: value.len(),
                });
            }
        }
        let mut pairs: Vec<(Cow<'static, str>, String)> = pairs
            .into_iter()
            .map(|(name, value)| (Cow::Owned(name), value))
            .collect();
        pairs.sort_unstable();
        if let Some(pair) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(LabelError::Duplicate {
                name: pair[0].0.clone().into_owned(),
            });
        }
        Ok(Self(pairs))
    }

    /// Labels whose names are constants of ours; values beyond the bound are cut at a character.
    ///
    /// # Panics
    /// In debug builds, if a name occurs twice.
    #[must_use]
    pub fn of(pairs: &[(&'static str, &str)]) -> Self {
        let mut sorted: Vec<_> = pairs
            .iter()
            .map(|(name, value)| {
                let end = value.floor_char_boundary(limits::LABEL_VALUE_BYTES_MAX);
                (Cow::Borrowed(*name), value[..end].to_owned())
            })
            .collect();
        sorted.sort_unstable();
        debug_assert!(
            sorted.windows(2).all(|pair| pair[0].0 != pair[1].0),
            "a label name occurs twice"
        );
        Self(sorted)
    }

    /// The pairs in order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + '_ {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.as_str()))
    }

    /// The value of a label.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let index = self
            .0
            .binary_search_by(|(other, _)| other.as_ref().cmp(name))
            .ok()?;
        Some(&self.0[index].1)
    }

    /// Whether there are no labels.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many labels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// What an agent says once about a series before it sends ids only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SeriesDef {
    /// Metric name, such as `node_load1`.
    pub name: String,
    /// The series' own labels; `job`, `instance`, `server_id` and tags are joined when reading.
    pub labels: Labels,
    /// Type of the metric.
    pub metric_type: MetricType,
    /// Base unit (`bytes`, `seconds`, `celsius`, …); empty if the number has none.
    pub unit: String,
    /// The collector that reads it.
    pub collector: String,
    /// The resource it belongs to.
    pub resource_key: ResourceKey,
    /// How often a sample is expected, in milliseconds; 0 if it has no cadence.
    pub interval_ms: u32,
}

impl SeriesDef {
    /// Checks the name (labels were checked when they were made).
    ///
    /// # Errors
    /// [`LabelError::Name`] if the metric's name is not one.
    pub fn check(&self) -> Result<(), LabelError> {
        check_name(&self.name)
    }
}

/// Metric names may have colons by the exposition format, but those are for recording rules: we take none.
fn check_name(name: &str) -> Result<(), LabelError> {
    let mut bytes = name.bytes();
    let starts_well = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if starts_well
        && name.len() <= limits::NAME_BYTES_MAX
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        return Ok(());
    }
    let end = name.floor_char_boundary(limits::NAME_BYTES_MAX);
    Err(LabelError::Name {
        name: name[..end].to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn labels_are_sorted_and_found() {
        let labels = Labels::new(vec![pair("mode", "idle"), pair("cpu", "0")]).unwrap();
        assert_eq!(
            labels.iter().collect::<Vec<_>>(),
            [("cpu", "0"), ("mode", "idle")]
        );
        assert_eq!((labels.get("mode"), labels.get("x")), (Some("idle"), None));
    }

    #[test]
    fn what_is_at_the_limit_is_taken_and_one_more_is_refused() {
        let value = "v".repeat(limits::LABEL_VALUE_BYTES_MAX);
        assert!(Labels::new(vec![pair("a", &value)]).is_ok());
        assert!(matches!(
            Labels::new(vec![pair("a", &format!("{value}v"))]),
            Err(LabelError::ValueTooLong { bytes: 257, .. })
        ));
        let many = |n: usize| (0..n).map(|i| pair(&format!("l{i}"), "")).collect::<Vec<_>>();
        assert!(Labels::new(many(limits::LABELS_PER_SERIES_MAX)).is_ok());
        assert!(Labels::new(many(limits::LABELS_PER_SERIES_MAX + 1)).is_err());
    }

    #[test]
    fn bad_and_repeated_names_are_refused() {
        for name in [
            "",
            "1a",
            "a-b",
            "ä",
            "a:b",
            &"n".repeat(limits::NAME_BYTES_MAX + 1),
        ] {
            assert!(Labels::new(vec![pair(name, "v")]).is_err(), "{name:?}");
        }
        assert!(matches!(
            Labels::new(vec![pair("a", "1"), pair("a", "2")]),
            Err(LabelError::Duplicate { .. })
        ));
    }
}
