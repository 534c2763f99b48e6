//! What people write to allow or to exclude versions.

use std::fmt;
use std::str::FromStr;

use regex::Regex;
use semver::VersionReq;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::version::TagVersion;

/// Most characters.
const CHARS_MAX: usize = 512;
/// Most bytes that a compiled expression takes.
const EXPRESSION_BYTES_MAX: usize = 256 * 1_024;

/// Judges tags: `1.2.3` is that version in every family, `>=1.2, <2` and `1.*` are ranges as Cargo reads them,
/// `/^nightly/` is a regular expression on the tag.
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
    Exact,
    Range(VersionReq),
    Expression(Regex),
}

/// Why a text is no requirement.
#[derive(Debug, Error)]
pub enum RequirementError {
    /// It is empty or too long.
    #[error("1 to {CHARS_MAX} characters are needed")]
    Length,
    /// It looks like a range and is none.
    #[error("it is no range of versions such as \">=1.2, <2\"")]
    Range(#[source] semver::Error),
    /// What is between the slashes is no regular expression.
    #[error("it is no regular expression")]
    Expression(#[source] regex::Error),
}

impl Requirement {
    /// Whether a tag is meant.
    #[must_use]
    pub fn matches(&self, tag: &str) -> bool {
        match &self.judge {
            Judge::Exact if tag == self.text => true,
            Judge::Exact => match (TagVersion::parse(&self.text), TagVersion::parse(tag)) {
                (Some(meant), Some(version)) => {
                    meant.numbers() == version.numbers() && meant.suffix().is_empty()
                }
                _ => false,
            },
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

/// Compiles what a person wrote, bounded.
pub(crate) fn compile(expression: &str) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(expression)
        .size_limit(EXPRESSION_BYTES_MAX)
        .build()
}

impl FromStr for Requirement {
    type Err = RequirementError;

    fn from_str(text: &str) -> Result<Self, RequirementError> {
        let text = text.trim();
        if text.is_empty() || CHARS_MAX < text.len() {
            return Err(RequirementError::Length);
        }
        let expression = text
            .strip_prefix('/')
            .and_then(|text| text.strip_suffix('/'))
            .filter(|expression| !expression.is_empty());
        let judge = if let Some(expression) = expression {
            Judge::Expression(compile(expression).map_err(RequirementError::Expression)?)
        } else if text.contains(['<', '>', '=', '^', '~', '*', ',']) {
            Judge::Range(text.parse().map_err(RequirementError::Range)?)
        } else {
            Judge::Exact
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
    fn versions_ranges_and_expressions_are_told_apart() {
        for (text, matching, other) in [
            ("1.2.3", "v1.2.3-alpine", "1.2.4"),
            ("nightly", "nightly", "nightly-2"),
            (">=16, <18", "17.2-bookworm", "18"),
            ("1.*", "1.27-alpine", "2.0"),
            ("~1.2", "1.2.9", "1.3.0"),
            ("/^stable-/", "stable-2", "unstable-2"),
        ] {
            let requirement: Requirement = text.parse().unwrap();
            assert!(requirement.matches(matching), "{text} {matching}");
            assert!(!requirement.matches(other), "{text} {other}");
        }
        assert!("".parse::<Requirement>().is_err());
        assert!(">=x".parse::<Requirement>().is_err());
        assert!("/(/".parse::<Requirement>().is_err());
        assert!("/(a{1000}){1000}/".parse::<Requirement>().is_err());
    }
}
