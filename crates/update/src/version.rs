//! Versions as tags write them, how far one is from another, and what of them is wanted.
//!
//! Tags are no strict semantic versions: `v1.27`, `1.27.3-alpine`, `2024.10.1`, four parts. What has no number at its
//! beginning is no version, and how far it is from another cannot be told.

use std::cmp::Ordering;

use regex::Regex;
use serde::{Deserialize, Serialize};

/// Most parts of a version that count.
const PARTS_MAX: usize = 4;

/// A version that a tag begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its numbers, one to four.
    pub parts: Vec<u64>,
    /// What follows, such as `-alpine`.
    pub suffix: String,
}

impl Version {
    /// Reads a tag.
    #[must_use]
    pub fn parse(tag: &str) -> Option<Self> {
        let text = tag.strip_prefix(['v', 'V']).unwrap_or(tag);
        let end = text
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .unwrap_or(text.len());
        let (numbers, suffix) = text.split_at(end);
        let parts: Option<Vec<u64>> = numbers.split('.').map(|part| part.parse().ok()).collect();
        let parts = parts.filter(|parts| !parts.is_empty() && parts.len() <= PARTS_MAX)?;
        Some(Self {
            parts,
            suffix: suffix.to_owned(),
        })
    }

    fn part(&self, index: usize) -> u64 {
        self.parts.get(index).copied().unwrap_or(0)
    }

    fn compare(&self, other: &Self) -> Ordering {
        (0..PARTS_MAX)
            .map(|index| self.part(index).cmp(&other.part(index)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

/// How far an update goes, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The same tag, built anew.
    Digest,
    /// The third number or a later one.
    Patch,
    /// The second.
    Minor,
    /// The first.
    Major,
    /// It cannot be told: a tag is no version, or goes back, or names another variant.
    Unknown,
}

/// How far updates may go, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Only the same tag, built anew.
    Digest,
    /// Also patches.
    Patch,
    /// Also minor versions.
    Minor,
    /// Everything.
    Major,
}

impl Limit {
    /// Every limit.
    pub const ALL: [Self; 4] = [Self::Digest, Self::Patch, Self::Minor, Self::Major];

    /// The word in JSON and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Digest => "digest",
            Self::Patch => "patch",
            Self::Minor => "minor",
            Self::Major => "major",
        }
    }

    /// Whether it lets a change pass. What cannot be told passes only where everything does.
    #[must_use]
    pub const fn permits(self, change: Change) -> bool {
        match change {
            Change::Digest => true,
            Change::Patch => !matches!(self, Self::Digest),
            Change::Minor => matches!(self, Self::Minor | Self::Major),
            Change::Major | Change::Unknown => matches!(self, Self::Major),
        }
    }
}

impl Change {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Digest => "digest",
            Self::Patch => "patch",
            Self::Minor => "minor",
            Self::Major => "major",
            Self::Unknown => "unknown",
        }
    }
}

/// How far it is from one tag to another.
#[must_use]
pub fn change(from: Option<&str>, to: Option<&str>) -> Change {
    let (Some(from), Some(to)) = (from, to) else {
        return if from == to {
            Change::Digest
        } else {
            Change::Unknown
        };
    };
    if from == to {
        return Change::Digest;
    }
    let (Some(from), Some(to)) = (Version::parse(from), Version::parse(to)) else {
        return Change::Unknown;
    };
    if from.suffix != to.suffix || to.compare(&from).is_lt() {
        return Change::Unknown;
    }
    match (0..PARTS_MAX).find(|index| from.part(*index) != to.part(*index)) {
        Some(0) => Change::Major,
        Some(1) => Change::Minor,
        Some(_) => Change::Patch,
        // `1.27` and `1.27.0`: what the shorter one names may be anything of its own series.
        None => Change::Patch,
    }
}

/// Which versions are wanted: comparisons that must all hold, such as `>=1.2, <2` or `1.27.*`; or a regular expression
/// between slashes that the whole tag must match.
#[derive(Debug, Clone)]
pub enum Requirement {
    /// Comparisons that must all hold.
    Comparisons(Vec<(Comparator, Version)>),
    /// The whole tag matches.
    Pattern(Box<Regex>),
}

/// How a version is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparator {
    /// It is later, or the same.
    AtLeast,
    /// It is later.
    After,
    /// It is earlier, or the same.
    AtMost,
    /// It is earlier.
    Before,
    /// The numbers that are given are the same.
    Begins,
}

impl Requirement {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(pattern) = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            return whole(pattern).map(|regex| Self::Pattern(Box::new(regex)));
        }
        let mut comparisons = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (comparator, rest) = comparator(part);
            let rest = rest.trim().trim_end_matches(['x', '*']).trim_end_matches('.');
            let version = Version::parse(rest).filter(|version| version.suffix.is_empty());
            let Some(version) = version else {
                return Err(format!(
                    "{part:?} is no requirement such as >=1.2, <2, 1.27.* or a regular expression between slashes"
                ));
            };
            match comparator {
                Some(comparator) => comparisons.push((comparator, version)),
                None => {
                    // `^1.2` and `~1.2`: at least that, and the same first number, or first two.
                    let kept = if part.starts_with('~') { 2 } else { 1 };
                    let mut series = version.clone();
                    series.parts.truncate(kept);
                    comparisons.push((Comparator::AtLeast, version));
                    comparisons.push((Comparator::Begins, series));
                }
            }
        }
        Ok(Self::Comparisons(comparisons))
    }

    /// Whether a tag fulfils it. A tag that is no version fulfils no comparison.
    #[must_use]
    pub fn takes(&self, tag: &str) -> bool {
        match self {
            Self::Pattern(regex) => regex.is_match(tag),
            Self::Comparisons(comparisons) => Version::parse(tag).is_some_and(|version| {
                comparisons.iter().all(|(comparator, bound)| match comparator {
                    Comparator::AtLeast => version.compare(bound).is_ge(),
                    Comparator::After => version.compare(bound).is_gt(),
                    Comparator::AtMost => version.compare(bound).is_le(),
                    Comparator::Before => version.compare(bound).is_lt(),
                    Comparator::Begins => version.parts.starts_with(&bound.parts),
                })
            }),
        }
    }
}

fn comparator(part: &str) -> (Option<Comparator>, &str) {
    for (sign, comparator) in [
        (">=", Comparator::AtLeast),
        ("<=", Comparator::AtMost),
        (">", Comparator::After),
        ("<", Comparator::Before),
        ("=", Comparator::Begins),
    ] {
        if let Some(rest) = part.strip_prefix(sign) {
            return (Some(comparator), rest);
        }
    }
    match part.strip_prefix(['^', '~']) {
        Some(rest) => (None, rest),
        None => (Some(Comparator::Begins), part),
    }
}

/// A regular expression that must match the whole text.
pub(crate) fn whole(pattern: &str) -> Result<Regex, String> {
    if 500 < pattern.len() {
        return Err("at most 500 bytes are taken".to_owned());
    }
    regex::RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(1 << 20)
        .build()
        .map_err(|error| {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            format!("is no regular expression: {}", last.trim())
        })
}

/// Whether a pattern with `*` for anything matches a whole tag.
pub(crate) fn glob(pattern: &str, tag: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = tag.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_a_tag_is_from_another() {
        for (from, to, expected) in [
            ("1.27", "1.27", Change::Digest),
            ("latest", "latest", Change::Digest),
            ("1.27.1", "1.27.2", Change::Patch),
            ("1.2.3.4", "1.2.3.5", Change::Patch),
            ("1.27", "1.28", Change::Minor),
            ("v1.27.1", "v1.28.0", Change::Minor),
            ("15", "16", Change::Major),
            ("15-alpine", "16-alpine", Change::Major),
            ("15-alpine", "16", Change::Unknown),
            ("1.28", "1.27", Change::Unknown),
            ("latest", "1.27", Change::Unknown),
            ("1.27", "bookworm", Change::Unknown),
            ("99999999999999999999999", "1", Change::Unknown),
        ] {
            assert_eq!(change(Some(from), Some(to)), expected, "{from} to {to}");
        }
    }

    #[test]
    fn a_limit_lets_nothing_pass_that_goes_further_or_cannot_be_told() {
        let changes = [Change::Digest, Change::Patch, Change::Minor, Change::Major];
        for (n, limit) in Limit::ALL.into_iter().enumerate() {
            let passed = changes.iter().filter(|change| limit.permits(**change)).count();
            assert_eq!(passed, n + 1);
            assert_eq!(limit.permits(Change::Unknown), limit == Limit::Major);
        }
    }

    #[test]
    fn requirements_take_what_they_say() {
        for (text, taken, refused) in [
            (
                ">=1.2, <2",
                &["1.2", "1.9.9", "v1.2.0"][..],
                &["1.1", "2", "2.0.1", "latest"][..],
            ),
            (
                "1.27.*",
                &["1.27", "1.27.3", "1.27.3-alpine"],
                &["1.28", "1.2", "1.270"],
            ),
            ("^1.2", &["1.2", "1.9"], &["1.1", "2.0"]),
            ("~1.2", &["1.2", "1.2.9"], &["1.3", "2"]),
            (
                "/1\\.27-alpine/",
                &["1.27-alpine"],
                &["1.27-alpine3", "x1.27-alpine"],
            ),
        ] {
            let requirement = Requirement::parse(text).unwrap();
            for tag in taken {
                assert!(requirement.takes(tag), "{text} takes {tag}");
            }
            for tag in refused {
                assert!(!requirement.takes(tag), "{text} does not take {tag}");
            }
        }
        for text in ["", "latest", ">= x", "/(/", "1,"] {
            assert!(Requirement::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, tag) in [
            ("1.*", "1.27"),
            ("*", ""),
            ("*-rc*", "2.0-rc1"),
            ("a*b*c", "aXbYbc"),
            ("x", "x"),
        ] {
            assert!(glob(pattern, tag), "{pattern} {tag}");
        }
        for (pattern, tag) in [("1.*", "11.2"), ("x", "xy"), ("*-rc*", "2.0"), ("a*a", "a")] {
            assert!(!glob(pattern, tag), "{pattern} {tag}");
        }
    }
}
