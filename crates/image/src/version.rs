//! Versions in tags. Tags are no semantic versions: they have a `v` before, one to four numbers, and what the image is
//! built on behind. Only tags of one family (same words around the numbers, same count of numbers) are compared.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// Most characters of a tag.
const TAG_CHARS_MAX: usize = 128;
/// Most numbers between dots.
const NUMBERS_MAX: usize = 4;
/// From here on a first number is a year or a date, which no count of releases is compared with.
const CALENDAR_FROM: u64 = 1_000;
/// Words before a number that is part of their name: `debian-12` is not the twelfth build of something.
const SYSTEMS: [&str; 12] = [
    "alpine",
    "alma",
    "almalinux",
    "centos",
    "debian",
    "el",
    "fedora",
    "ol",
    "photon",
    "rocky",
    "ubi",
    "ubuntu",
];
/// Words of builds: `ls45`, `r1`.
const BUILDS: [&str; 6] = ["ls", "r", "rev", "build", "p", "patch"];
/// Words of versions that are not finished.
const UNFINISHED: [&str; 21] = [
    "alpha",
    "beta",
    "canary",
    "cr",
    "dev",
    "develop",
    "ea",
    "edge",
    "experimental",
    "insider",
    "insiders",
    "milestone",
    "next",
    "nightly",
    "pre",
    "preview",
    "rc",
    "snapshot",
    "test",
    "testing",
    "unstable",
];

/// How far a step from one version to another goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The same tag, other bytes.
    Digest,
    /// The third number, a later one, or the build.
    Patch,
    /// The second number.
    Minor,
    /// The first number.
    Major,
    /// It cannot be told: one of the two says no version, or they are of different families.
    Unknown,
}

impl Step {
    /// As it is stored and shown.
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

    /// How far it is from one tag to another. Which of them is newer does not matter.
    #[must_use]
    pub fn between(from: &str, to: &str) -> Self {
        if from == to {
            return Self::Digest;
        }
        match (TagVersion::parse(from), TagVersion::parse(to)) {
            (Some(from), Some(to)) => from.step_to(&to),
            _ => Self::Unknown,
        }
    }

    /// How far an update goes. One that goes back to an older version is [`Step::Unknown`]: whoever permits small steps
    /// has not permitted that.
    #[must_use]
    pub fn forward(from: &str, to: &str) -> Self {
        match (TagVersion::parse(from), TagVersion::parse(to)) {
            (Some(from), Some(to)) if to.compare(&from).is_lt() => Self::Unknown,
            _ => Self::between(from, to),
        }
    }
}

/// The version that a tag says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagVersion {
    prefix: String,
    numbers: Vec<u64>,
    /// `rc1`; none for a finished version.
    unfinished: Option<String>,
    /// What is behind, with `#` for the number of a build.
    suffix: String,
    builds: Vec<u64>,
}

impl TagVersion {
    /// Reads a tag; `None` if it says no version, as `latest`, `alpine` and commit ids do.
    #[must_use]
    pub fn parse(tag: &str) -> Option<Self> {
        if tag.is_empty() || TAG_CHARS_MAX < tag.len() || !tag.is_ascii() {
            return None;
        }
        let start = tag.find(|letter: char| letter.is_ascii_digit())?;
        let (prefix, rest) = tag.split_at(start);
        let end = rest
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .unwrap_or(rest.len());
        let (numbers, rest) = rest.split_at(end);
        let numbers: Vec<u64> = numbers
            .split('.')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        if NUMBERS_MAX < numbers.len() {
            return None;
        }
        let mut version = Self {
            prefix: prefix.to_ascii_lowercase(),
            numbers,
            unfinished: None,
            suffix: String::new(),
            builds: Vec::new(),
        };
        version.read_rest(rest)?;
        Some(version)
    }

    fn read_rest(&mut self, rest: &str) -> Option<()> {
        let is_separated = rest.starts_with(['-', '_', '+']);
        let mut before = String::new();
        let words = rest.split(['-', '_', '+']).skip(usize::from(is_separated));
        for (index, word) in words.filter(|word| !word.is_empty()).enumerate() {
            let word = word.to_ascii_lowercase();
            if self.unfinished.is_none() && is_unfinished(&word) {
                self.unfinished = Some(word);
                continue;
            }
            if index == 0 && !is_separated {
                // `7f3a2b1` is a commit, not version 7.
                return None;
            }
            match build_of(&before, &word) {
                Some((name, build)) => {
                    self.suffix.push_str(&format!("-{name}#"));
                    self.builds.push(build);
                }
                None => {
                    self.suffix.push('-');
                    self.suffix.push_str(&word);
                }
            }
            before = word;
        }
        Some(())
    }

    /// Its numbers, the most important first: one to four.
    #[must_use]
    pub fn numbers(&self) -> &[u64] {
        &self.numbers
    }

    /// Whether it is an alpha, beta, release candidate or the like.
    #[must_use]
    pub const fn is_unfinished(&self) -> bool {
        self.unfinished.is_some()
    }

    /// Words behind the numbers, such as `-alpine`.
    #[must_use]
    pub fn suffix(&self) -> &str {
        &self.suffix
    }

    /// Whether two versions can be compared: same words around as many numbers, neither a date where the other is none.
    #[must_use]
    pub fn is_same_family(&self, other: &Self) -> bool {
        let is_calendar = |version: &Self| CALENDAR_FROM <= version.numbers[0];
        self.prefix == other.prefix
            && self.suffix == other.suffix
            && self.numbers.len() == other.numbers.len()
            && is_calendar(self) == is_calendar(other)
    }

    /// How far it is to another.
    #[must_use]
    pub fn step_to(&self, other: &Self) -> Step {
        if !self.is_same_family(other) {
            return Step::Unknown;
        }
        let mut pairs = self.numbers.iter().zip(&other.numbers);
        match pairs.position(|(from, to)| from != to) {
            Some(0) => Step::Major,
            Some(1) => Step::Minor,
            _ => Step::Patch,
        }
    }

    /// Its place among its family.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        let by_numbers = self.numbers.cmp(&other.numbers);
        by_numbers
            .then_with(|| match (&self.unfinished, &other.unfinished) {
                (None, None) => Ordering::Equal,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some(one), Some(two)) => natural(one, two),
            })
            .then_with(|| self.builds.cmp(&other.builds))
    }

    /// As a semantic version: what is missing is 0, a fourth number is left out.
    pub(crate) fn to_semver(&self) -> semver::Version {
        let number = |index: usize| self.numbers.get(index).copied().unwrap_or(0);
        let mut version = semver::Version::new(number(0), number(1), number(2));
        if let Some(word) = &self.unfinished {
            version.pre = semver::Prerelease::new(word).unwrap_or(semver::Prerelease::EMPTY);
        }
        version
    }
}

/// `rc1`, `rc.1`, `beta`, `a1`; a single letter needs a number.
fn is_unfinished(word: &str) -> bool {
    let end = word
        .find(|letter: char| !letter.is_ascii_alphabetic())
        .unwrap_or(word.len());
    let (name, rest) = word.split_at(end);
    let digits = rest.trim_start_matches('.');
    let is_counted = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    is_counted && (UNFINISHED.contains(&name) || (matches!(name, "a" | "b" | "m") && !digits.is_empty()))
}

/// Name and number of a build's word.
fn build_of<'a>(before: &str, word: &'a str) -> Option<(&'a str, u64)> {
    let start = word.find(|letter: char| letter.is_ascii_digit())?;
    let (name, digits) = word.split_at(start);
    let number = digits.parse().ok()?;
    let is_build = if name.is_empty() {
        !SYSTEMS.contains(&before)
    } else {
        BUILDS.contains(&name)
    };
    is_build.then_some((name, number))
}

/// Compares texts as people order them: runs of digits by their number.
pub(crate) fn natural(one: &str, two: &str) -> Ordering {
    let (mut one, mut two) = (one, two);
    loop {
        let (run_one, rest_one) = run(one);
        let (run_two, rest_two) = run(two);
        let ordering = match (number_of(run_one), number_of(run_two)) {
            (Some(first), Some(second)) => first.len().cmp(&second.len()).then(first.cmp(second)),
            _ => run_one.cmp(run_two),
        };
        if ordering != Ordering::Equal || run_one.is_empty() || run_two.is_empty() {
            return ordering;
        }
        (one, two) = (rest_one, rest_two);
    }
}

/// The beginning of a text that is all digits, or has none.
fn run(text: &str) -> (&str, &str) {
    let is_digit = text.starts_with(|letter: char| letter.is_ascii_digit());
    let end = text
        .find(|letter: char| letter.is_ascii_digit() != is_digit)
        .unwrap_or(text.len());
    text.split_at(end)
}

/// The digits of a run without leading zeros, so that longer is larger.
fn number_of(run: &str) -> Option<&str> {
    run.starts_with(|letter: char| letter.is_ascii_digit())
        .then(|| run.trim_start_matches('0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(tag: &str) -> TagVersion {
        TagVersion::parse(tag).unwrap_or_else(|| panic!("{tag}"))
    }

    #[test]
    fn versions_are_read_from_what_people_write_as_tags() {
        for (tag, numbers, suffix, is_unfinished) in [
            ("16", &[16][..], "", false),
            ("v1.2", &[1, 2], "", false),
            ("1.2.3", &[1, 2, 3], "", false),
            ("1.2.3.4567", &[1, 2, 3, 4567], "", false),
            ("1.27-alpine", &[1, 27], "-alpine", false),
            ("1.27.3-alpine3.20", &[1, 27, 3], "-alpine3.20", false),
            ("16.4-debian-12-r5", &[16, 4], "-debian-12-r#", false),
            ("5.14.0-ls245", &[5, 14, 0], "-ls#", false),
            ("3.13.0rc1-slim", &[3, 13, 0], "-slim", true),
            ("2.0.0-beta.3", &[2, 0, 0], "", true),
            ("17beta1-bookworm", &[17], "-bookworm", true),
            ("1.0.0-SNAPSHOT", &[1, 0, 0], "", true),
            ("RELEASE.2024-10-02", &[2024], "-#-#", false),
            ("2024.10.1", &[2024, 10, 1], "", false),
            ("24.04", &[24, 4], "", false),
        ] {
            let version = of(tag);
            assert_eq!(version.numbers(), numbers, "{tag}");
            assert_eq!(version.suffix(), suffix, "{tag}");
            assert_eq!(version.is_unfinished(), is_unfinished, "{tag}");
        }
    }

    #[test]
    fn what_says_no_version_is_none() {
        for tag in [
            "",
            "latest",
            "alpine",
            "7f3a2b1",
            "1.2.3.4.5",
            "1..2",
            "99999999999999999999999",
        ] {
            assert_eq!(TagVersion::parse(tag), None, "{tag}");
        }
    }

    #[test]
    fn a_step_is_named_after_the_first_number_that_differs() {
        for (from, to, step) in [
            ("1.2.3", "1.2.4", Step::Patch),
            ("1.2.3", "1.3.0", Step::Minor),
            ("1.2.3", "2.0.0", Step::Major),
            ("16", "17", Step::Major),
            ("1.2.3-ls1", "1.2.3-ls2", Step::Patch),
            ("1.2.3.4", "1.2.3.5", Step::Patch),
            ("1.2.3", "1.2.3", Step::Digest),
            ("latest", "latest", Step::Digest),
            ("1.2", "1.2.1", Step::Unknown),
            ("1.2-alpine", "1.3", Step::Unknown),
            ("1.2-alpine3.18", "1.3-alpine3.19", Step::Unknown),
            ("v1.2", "1.3", Step::Unknown),
            ("16", "20240101", Step::Unknown),
            ("latest", "1.2", Step::Unknown),
        ] {
            assert_eq!(Step::between(from, to), step, "{from} {to}");
            assert_eq!(Step::forward(from, to), step, "{from} {to}");
        }
        for (from, to) in [("1.28", "1.27"), ("1.2.3", "1.2.3-rc1"), ("15.2-ls2", "15.2-ls1")] {
            assert_eq!(Step::forward(from, to), Step::Unknown, "{from} {to}");
        }
    }

    #[test]
    fn versions_are_ordered_as_they_were_released() {
        let ordered = [
            "1.9.0",
            "1.10.0-alpha2",
            "1.10.0-beta1",
            "1.10.0-rc2",
            "1.10.0-rc10",
            "1.10.0",
            "1.10.1",
            "2.0.0",
        ];
        for pair in ordered.windows(2) {
            assert_eq!(of(pair[0]).compare(&of(pair[1])), Ordering::Less, "{pair:?}");
        }
        assert_eq!(of("1.0-ls9").compare(&of("1.0-ls10")), Ordering::Less);
    }

    proptest! {
        #[test]
        fn no_tag_panics_and_the_order_is_one(
            one in "[a-z0-9._-]{0,24}|v?[0-9]{1,3}(\\.[0-9]{1,3}){0,3}(-rc[0-9]|-alpine)?",
            two in "v?[0-9]{1,3}(\\.[0-9]{1,3}){0,3}(-rc[0-9]|-alpine)?",
            text in "\\PC{0,40}",
        ) {
            let _ = TagVersion::parse(&text);
            if let (Some(one), Some(two)) = (TagVersion::parse(&one), TagVersion::parse(&two)) {
                prop_assert_eq!(one.compare(&two), two.compare(&one).reverse());
                prop_assert_eq!(one.step_to(&two), two.step_to(&one));
            }
            prop_assert_eq!(natural(&one, &text), natural(&text, &one).reverse());
        }
    }
}
