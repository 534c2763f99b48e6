//! Which versions people want.

use std::fmt;
use std::str::FromStr;

use regex::Regex;
use semver::VersionReq;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::expression::{ExpressionError, whole};
use crate::version::TagVersion;

/// Most characters.
const CHARS_MAX: usize = 512;

/// Judges tags: `>=1.2, <2`, `1.27.*`, `^1` and `~1.2` are ranges as Cargo reads them, `1.27` is that version and every
/// one that begins with it, and `/(stable|nightly)-.*/` is a regular expression that the whole tag matches.
///
/// A tag that says no version, or an unfinished one, is in no range.
///
/// ```
/// let wanted: muster_image::Requirement = ">=1.2, <2".parse()?;
/// assert!(wanted.matches("v1.9-alpine") && !wanted.matches("2.0") && !wanted.matches("latest"));
/// # Ok::<(), muster_image::RequirementError>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Requirement {
    text: String,
    judge: Judge,
}

#[derive(Debug, Clone)]
enum Judge {
    Range(VersionReq),
    Expression(Regex),
}

/// Why a text is no requirement.
#[derive(Debug, Error)]
pub enum RequirementError {
    /// It is empty or too long.
    #[error("1 to {CHARS_MAX} characters are needed")]
    Length,
    /// It is no range of versions.
    #[error("is no requirement such as >=1.2, <2, 1.27.* or a regular expression between slashes")]
    Range(#[source] semver::Error),
    /// What is between the slashes is no regular expression.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
}

impl Requirement {
    /// Whether a tag is meant.
    #[must_use]
    pub fn matches(&self, tag: &str) -> bool {
        match &self.judge {
            Judge::Range(range) => {
                TagVersion::parse(tag).is_some_and(|version| range.matches(&version.to_semver()))
            }
            Judge::Expression(expression) => expression.is_match(tag),
        }
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Reads a range. Cargo would read a bare `1.27` as `^1.27`; people who name a version of an image mean that version.
fn range(text: &str) -> Result<VersionReq, semver::Error> {
    let parts = text.split(',').map(str::trim).map(|part| {
        let is_bare = part.starts_with(|letter: char| letter.is_ascii_digit());
        let sign = if is_bare && !part.contains(['*', 'x', 'X']) {
            "="
        } else {
            ""
        };
        format!("{sign}{part}")
    });
    VersionReq::parse(&parts.collect::<Vec<_>>().join(","))
}

impl FromStr for Requirement {
    type Err = RequirementError;

    fn from_str(text: &str) -> Result<Self, RequirementError> {
        let text = text.trim();
        if text.is_empty() || CHARS_MAX < text.chars().count() {
            return Err(RequirementError::Length);
        }
        let expression = text.strip_prefix('/').and_then(|text| text.strip_suffix('/'));
        let judge = match expression {
            Some(expression) => Judge::Expression(whole(expression)?),
            None => Judge::Range(range(text).map_err(RequirementError::Range)?),
        };
        Ok(Self {
            text: text.to_owned(),
            judge,
        })
    }
}

impl TryFrom<String> for Requirement {
    type Error = RequirementError;

    fn try_from(text: String) -> Result<Self, RequirementError> {
        text.parse()
    }
}

impl From<Requirement> for String {
    fn from(requirement: Requirement) -> Self {
        requirement.text
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl PartialEq for Requirement {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_take_what_they_say() {
        for (text, taken, refused) in [
            (
                ">=1.2, <2",
                &["1.2", "1.9.9", "v1.2.0", "1.9-alpine"][..],
                &["1.1", "2", "2.0.1", "latest", "1.9-rc1", "7f3a2b1"][..],
            ),
            (
                "1.27.*",
                &["1.27", "1.27.3", "1.27.3-alpine"],
                &["1.28", "1.2", "1.270"],
            ),
            ("1.27", &["1.27", "v1.27.3-alpine"], &["1.28", "1.2"]),
            ("=1.27.1", &["1.27.1", "1.27.1.4"], &["1.27.2"]),
            ("1.x", &["1.27"], &["2.0"]),
            ("^1.2", &["1.2", "1.9"], &["1.1", "2.0"]),
            ("~1.2", &["1.2", "1.2.9"], &["1.3", "2"]),
            (">=16, <18", &["17.2-bookworm"], &["18"]),
            (
                "/1\\.27-alpine/",
                &["1.27-alpine"],
                &["1.27-alpine3", "x1.27-alpine"],
            ),
        ] {
            let requirement: Requirement = text.parse().unwrap();
            for tag in taken {
                assert!(requirement.matches(tag), "{text} takes {tag}");
            }
            for tag in refused {
                assert!(!requirement.matches(tag), "{text} does not take {tag}");
            }
        }
    }

    #[test]
    fn what_is_no_requirement_is_refused() {
        for text in [
            "",
            "latest",
            "new ones",
            ">= x",
            ">=x",
            "/(/",
            "//",
            "1,",
            ",",
            "1.2.3.4",
            "/(a{1000}){1000}/",
        ] {
            assert!(text.parse::<Requirement>().is_err(), "{text}");
        }
    }
}
