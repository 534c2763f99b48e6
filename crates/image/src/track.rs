//! Tracks: which other tags an image may be updated to.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use regex::Regex;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::expression::{self, ExpressionError};
use crate::version::{Step, TagVersion, natural};

/// Most tags that are offered, the best of all.
const CANDIDATES_MAX: usize = 64;

/// Which tags are followed: `digest`, `pattern:<regular expression>`, `semver:patch`, `semver:minor`, `semver:major`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Track {
    /// The same tag, whatever it names.
    Digest,
    /// The highest tag that matches; what the first group captures is what is ordered, if there is one.
    Pattern(Regex),
    /// The highest version of the same family, within a limit.
    Semver(Limit),
}

/// How far a step may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The first two numbers stay.
    Patch,
    /// The first number stays.
    Minor,
    /// Any.
    Major,
}

impl Limit {
    const fn allows(self, step: Step) -> bool {
        match step {
            Step::Digest | Step::Patch => true,
            Step::Minor => matches!(self, Self::Minor | Self::Major),
            Step::Major => matches!(self, Self::Major),
            Step::Unknown => false,
        }
    }
}

/// Why there is no track, or why it leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TrackError {
    /// The text is no track.
    #[error("a track is digest, semver:patch, semver:minor, semver:major or pattern:<regular expression>")]
    Word,
    /// The pattern is no regular expression.
    #[error("the pattern {0}")]
    Pattern(ExpressionError),
    /// The tag in use says no version, so there is no next one.
    #[error("the tag {0} says no version")]
    NoVersion(String),
}

/// A tag that could be next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The tag.
    pub tag: String,
    /// How far it is from the one in use.
    pub step: Step,
}

impl Track {
    /// Whether it needs to know which tags there are.
    #[must_use]
    pub const fn needs_tags(&self) -> bool {
        !matches!(self, Self::Digest)
    }

    /// Tags that could be next, the best first; the one in use is the last of them, because it may name other bytes by
    /// now.
    ///
    /// # Errors
    /// [`TrackError::NoVersion`].
    pub fn candidates<'a>(
        &self,
        current: &str,
        tags: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<Candidate>, TrackError> {
        let mut found = match self {
            Self::Digest => Vec::new(),
            Self::Semver(limit) => by_version(current, tags, *limit)?,
            Self::Pattern(pattern) => by_pattern(current, tags, pattern),
        };
        found.truncate(CANDIDATES_MAX - 1);
        found.push(Candidate {
            tag: current.to_owned(),
            step: Step::Digest,
        });
        Ok(found)
    }
}

fn by_version<'a>(
    current: &str,
    tags: impl IntoIterator<Item = &'a str>,
    limit: Limit,
) -> Result<Vec<Candidate>, TrackError> {
    let version = TagVersion::parse(current).ok_or_else(|| TrackError::NoVersion(current.to_owned()))?;
    let mut newer: Vec<(&str, TagVersion, Step)> = tags
        .into_iter()
        .filter_map(|tag| {
            let other = TagVersion::parse(tag)?;
            let step = version.step_to(&other);
            let is_next = limit.allows(step)
                && version.compare(&other) == Ordering::Less
                && (version.is_unfinished() || !other.is_unfinished());
            is_next.then_some((tag, other, step))
        })
        .collect();
    // Two spellings of one version (1.02 and 1.2) are ordered by their text, so that the answer is always the same.
    newer.sort_by(|one, two| two.1.compare(&one.1).then_with(|| one.0.cmp(two.0)));
    Ok(newer
        .into_iter()
        .map(|(tag, _, step)| Candidate {
            tag: tag.to_owned(),
            step,
        })
        .collect())
}

fn by_pattern<'a>(current: &str, tags: impl IntoIterator<Item = &'a str>, pattern: &Regex) -> Vec<Candidate> {
    let in_use = part(pattern, current);
    let mut newer: Vec<(&str, &str)> = tags
        .into_iter()
        .filter_map(|tag| Some((tag, part(pattern, tag)?)))
        .filter(|(tag, part)| {
            *tag != current && in_use.is_none_or(|in_use| order(in_use, part) == Ordering::Less)
        })
        .collect();
    newer.sort_by(|one, two| order(two.1, one.1).then_with(|| one.0.cmp(two.0)));
    newer
        .into_iter()
        .map(|(tag, _)| Candidate {
            tag: tag.to_owned(),
            step: Step::between(current, tag),
        })
        .collect()
}

/// What of a tag is ordered.
fn part<'a>(pattern: &Regex, tag: &'a str) -> Option<&'a str> {
    let captures = pattern.captures(tag)?;
    Some(captures.get(1).map_or(tag, |group| group.as_str()))
}

fn order(one: &str, two: &str) -> Ordering {
    match (TagVersion::parse(one), TagVersion::parse(two)) {
        (Some(first), Some(second)) if first.is_same_family(&second) => first.compare(&second),
        _ => natural(one, two),
    }
}

impl FromStr for Track {
    type Err = TrackError;

    fn from_str(text: &str) -> Result<Self, TrackError> {
        match text {
            "digest" => Ok(Self::Digest),
            "semver:patch" => Ok(Self::Semver(Limit::Patch)),
            "semver:minor" => Ok(Self::Semver(Limit::Minor)),
            "semver:major" => Ok(Self::Semver(Limit::Major)),
            _ => {
                let pattern = text.strip_prefix("pattern:").ok_or(TrackError::Word)?;
                expression::whole(pattern)
                    .map(Self::Pattern)
                    .map_err(TrackError::Pattern)
            }
        }
    }
}

impl TryFrom<String> for Track {
    type Error = TrackError;

    fn try_from(text: String) -> Result<Self, TrackError> {
        text.parse()
    }
}

impl From<Track> for String {
    fn from(track: Track) -> Self {
        track.to_string()
    }
}

impl fmt::Display for Track {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest => formatter.write_str("digest"),
            Self::Semver(Limit::Patch) => formatter.write_str("semver:patch"),
            Self::Semver(Limit::Minor) => formatter.write_str("semver:minor"),
            Self::Semver(Limit::Major) => formatter.write_str("semver:major"),
            Self::Pattern(pattern) => write!(formatter, "pattern:{}", expression::source(pattern)),
        }
    }
}

impl PartialEq for Track {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TAGS: [&str; 16] = [
        "latest",
        "1.25.0",
        "1.25.1",
        "1.25.9",
        "1.25.10",
        "1.26.0",
        "1.27.0-rc1",
        "2.0.0",
        "1.25.1-alpine",
        "1.26.0-alpine",
        "v1.28.0",
        "1.25",
        "1.26",
        "20240101",
        "mainline",
        "7f3a2b1",
    ];

    fn best(track: &str, current: &str) -> String {
        let track: Track = track.parse().unwrap();
        let candidates = track.candidates(current, TAGS).unwrap();
        assert_eq!(candidates.last().unwrap().tag, current);
        let Candidate { tag, step } = &candidates[0];
        format!("{tag} {}", step.as_str())
    }

    #[test]
    fn the_next_tag_is_the_highest_of_its_family_within_the_limit() {
        for (track, current, expected) in [
            ("digest", "latest", "latest digest"),
            ("semver:patch", "1.25.0", "1.25.10 patch"),
            ("semver:minor", "1.25.0", "1.26.0 minor"),
            ("semver:major", "1.25.0", "2.0.0 major"),
            ("semver:major", "2.0.0", "2.0.0 digest"),
            ("semver:minor", "1.25.1-alpine", "1.26.0-alpine minor"),
            ("semver:minor", "1.25", "1.26 minor"),
            ("semver:minor", "1.26.0-rc1", "1.27.0-rc1 minor"),
            ("pattern:1\\.25\\.\\d+", "1.25.9", "1.25.10 patch"),
            ("pattern:v?(1\\.\\d+\\.0)", "1.25.0", "v1.28.0 unknown"),
            ("pattern:main.*", "latest", "mainline unknown"),
        ] {
            assert_eq!(best(track, current), expected, "{track} {current}");
        }
        let track: Track = "semver:minor".parse().unwrap();
        assert!(matches!(
            track.candidates("latest", TAGS),
            Err(TrackError::NoVersion(_))
        ));
    }

    #[test]
    fn a_track_is_written_as_it_is_read_and_what_is_none_is_refused() {
        for text in [
            "digest",
            "semver:patch",
            "semver:minor",
            "semver:major",
            "pattern:^1\\.\\d+$",
        ] {
            assert_eq!(text.parse::<Track>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "latest",
            "semver",
            "semver:all",
            "pattern:",
            "pattern:(",
            "pattern:a)(b",
        ] {
            assert!(text.parse::<Track>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_older_and_nothing_of_another_family_is_offered(
            current in "[0-9]{1,2}\\.[0-9]{1,2}\\.[0-9]{1,2}(-alpine)?",
            tags in proptest::collection::vec("v?[0-9]{1,2}(\\.[0-9]{1,2}){0,3}(-alpine|-rc1)?", 0..40),
        ) {
            let now = TagVersion::parse(&current).unwrap();
            for limit in [Limit::Patch, Limit::Minor, Limit::Major] {
                let found = Track::Semver(limit).candidates(&current, tags.iter().map(String::as_str)).unwrap();
                for candidate in &found[..found.len() - 1] {
                    let version = TagVersion::parse(&candidate.tag).unwrap();
                    prop_assert!(now.is_same_family(&version) && !version.is_unfinished());
                    prop_assert_eq!(now.compare(&version), Ordering::Less);
                    prop_assert!(limit.allows(candidate.step));
                }
            }
        }
    }
}
