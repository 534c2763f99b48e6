//! Series: a metric name and labels on a resource.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
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

/// Labels of a series, sorted by name, each name once. The metric's name is not among them. Cheap to clone.
///
/// An agent has thousands of these and a controller millions, so all of a series are one text: before each name and each
/// value stands the character whose number is its length in bytes.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Labels(Arc<str>);

impl Labels {
    /// Sorts and checks pairs.
    ///
    /// # Errors
    /// [`LabelError`] for a bad name, a value beyond its bound, a repeated name or too many pairs.
    pub fn new<S: AsRef<str>>(pairs: &[(S, S)]) -> Result<Self, LabelError> {
        if limits::LABELS_PER_SERIES_MAX < pairs.len() {
            return Err(LabelError::TooMany { count: pairs.len() });
        }
        let mut sorted: Vec<(&str, &str)> = Vec::with_capacity(pairs.len());
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), value.as_ref());
            check_name(name)?;
            if limits::LABEL_VALUE_BYTES_MAX < value.len() {
                return Err(LabelError::ValueTooLong {
                    name: name.to_owned(),
                    bytes: value.len(),
                });
            }
            sorted.push((name, value));
        }
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(LabelError::Duplicate {
                name: pair[0].0.to_owned(),
            });
        }
        Ok(Self::of_sorted(&sorted))
    }

    /// Labels whose names are constants of ours; values beyond the bound are cut at a character.
    ///
    /// # Panics
    /// In debug builds, if a name occurs twice.
    #[must_use]
    pub fn of(pairs: &[(&'static str, &str)]) -> Self {
        let mut sorted: Vec<(&str, &str)> = pairs
            .iter()
            .map(|(name, value)| {
                let end = value.floor_char_boundary(limits::LABEL_VALUE_BYTES_MAX);
                (*name, &value[..end])
            })
            .collect();
        sorted.sort_unstable();
        debug_assert!(
            sorted.windows(2).all(|pair| pair[0].0 != pair[1].0),
            "a label name occurs twice"
        );
        Self::of_sorted(&sorted)
    }

    fn of_sorted(sorted: &[(&str, &str)]) -> Self {
        let bytes = sorted
            .iter()
            .map(|(name, value)| name.len() + value.len() + 4)
            .sum();
        let mut text = String::with_capacity(bytes);
        for part in sorted.iter().flat_map(|(name, value)| [name, value]) {
            let length = u32::try_from(part.len()).ok().and_then(char::from_u32);
            text.push(length.expect("names and values are far shorter than there are characters"));
            text.push_str(part);
        }
        Self(text.into())
    }

    /// The pairs in order of their names.
    #[must_use]
    pub fn iter(&self) -> LabelPairs<'_> {
        LabelPairs { rest: &self.0 }
    }

    /// The value of a label.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(other, _)| *other == name)
            .map(|(_, value)| value)
    }

    /// Whether there are no labels.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether somebody else has these very labels.
    #[must_use]
    pub fn are_shared(&self) -> bool {
        1 < Arc::strong_count(&self.0)
    }

    /// How many labels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = LabelPairs<'a>;

    fn into_iter(self) -> LabelPairs<'a> {
        self.iter()
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other)
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

/// A list of pairs.
impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pairs = serializer.serialize_seq(Some(self.len()))?;
        for pair in self {
            pairs.serialize_element(&pair)?;
        }
        pairs.end()
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = Vec::<(String, String)>::deserialize(deserializer)?;
        Self::new(&pairs).map_err(D::Error::custom)
    }
}

/// The pairs of [`Labels`], one after the other.
#[derive(Debug, Clone)]
pub struct LabelPairs<'a> {
    rest: &'a str,
}

impl<'a> LabelPairs<'a> {
    fn part(&mut self) -> Option<&'a str> {
        let length = self.rest.chars().next()?;
        let bytes = usize::try_from(u32::from(length)).ok()?;
        let (part, rest) = self.rest[length.len_utf8()..].split_at_checked(bytes)?;
        self.rest = rest;
        Some(part)
    }
}

impl<'a> Iterator for LabelPairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.part()?, self.part()?))
    }
}

/// What an agent says once about a series before it sends ids only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SeriesDef {
    /// Metric name, such as `node_load1`.
    pub name: Cow<'static, str>,
    /// The series' own labels; `job`, `instance`, `server_id` and tags are joined when reading.
    pub labels: Labels,
    /// Type of the metric.
    pub metric_type: MetricType,
    /// Base unit (`bytes`, `seconds`, `celsius`, …); empty if the number has none.
    pub unit: Cow<'static, str>,
    /// The collector that reads it.
    pub collector: Cow<'static, str>,
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

/// Checks the name of a metric or a label. Metric names may have colons by the exposition format, but those are for
/// recording rules: we take none.
///
/// # Errors
/// [`LabelError::Name`] if it is none.
pub fn check_name(name: &str) -> Result<(), LabelError> {
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
        let labels = Labels::new(&[pair("mode", "idle"), pair("cpu", "0")]).unwrap();
        assert_eq!(
            labels.iter().collect::<Vec<_>>(),
            [("cpu", "0"), ("mode", "idle")]
        );
        assert_eq!((labels.get("mode"), labels.get("x")), (Some("idle"), None));
    }

    #[test]
    fn values_of_any_length_and_characters_come_back() {
        let value = "\u{7f}\u{80}\u{1f4be}".repeat(29);
        for end in 0..=limits::LABEL_VALUE_BYTES_MAX.min(value.len()) {
            let cut = &value[..value.floor_char_boundary(end)];
            let labels = Labels::of(&[("b", cut), ("a", ""), ("c", "\u{0}")]);
            assert_eq!(
                labels.iter().collect::<Vec<_>>(),
                [("a", ""), ("b", cut), ("c", "\u{0}")]
            );
        }
    }

    #[test]
    fn labels_are_ordered_by_names_and_then_values_whatever_their_lengths() {
        let of = |value: &str| Labels::of(&[("a", value), ("b", "1")]);
        assert!(of("10") < of("9") && of("9") < Labels::of(&[("aa", "1")]));
        assert!(Labels::default() < of("") && Labels::of(&[("a", "9")]) < of("9"));
    }

    #[test]
    fn what_is_read_is_checked() {
        let text = r#"[["cpu","0"],["mode","idle"]]"#;
        let labels = Labels::of(&[("mode", "idle"), ("cpu", "0")]);
        assert_eq!(serde_json::to_string(&labels).unwrap(), text);
        assert_eq!(serde_json::from_str::<Labels>(text).unwrap(), labels);
        assert!(serde_json::from_str::<Labels>(r#"[["1cpu","0"]]"#).is_err());
    }

    #[test]
    fn what_is_at_the_limit_is_taken_and_one_more_is_refused() {
        let value = "v".repeat(limits::LABEL_VALUE_BYTES_MAX);
        assert!(Labels::new(&[pair("a", &value)]).is_ok());
        assert!(matches!(
            Labels::new(&[pair("a", &format!("{value}v"))]),
            Err(LabelError::ValueTooLong { bytes: 257, .. })
        ));
        let many = |n: usize| (0..n).map(|i| pair(&format!("l{i}"), "")).collect::<Vec<_>>();
        assert!(Labels::new(&many(limits::LABELS_PER_SERIES_MAX)).is_ok());
        assert!(Labels::new(&many(limits::LABELS_PER_SERIES_MAX + 1)).is_err());
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
            assert!(Labels::new(&[pair(name, "v")]).is_err(), "{name:?}");
        }
        assert!(matches!(
            Labels::new(&[pair("a", "1"), pair("a", "2")]),
            Err(LabelError::Duplicate { .. })
        ));
    }
}
