//! What a container's own labels say of its updates.
//!
//! Whoever may start a container may set them, which is not whoever administers Muster: so they narrow what a policy
//! permits, unless the policy says that they may do more, or that they mean nothing.

use std::collections::BTreeMap;

use crate::{Limit, Mode};

/// The names that mean something.
pub mod names {
    /// `manual`, `notify`, `scheduled` or `automatic`.
    pub const MODE: &str = "muster.update.mode";
    /// `digest`, `patch`, `minor` or `major`: how far updates may go.
    pub const TRACK: &str = "muster.update.track";
    /// `true`: it is not updated by itself.
    pub const EXCLUDE: &str = "muster.update.exclude";
    /// How long an image must have been known, such as `3d`.
    pub const MIN_AGE: &str = "muster.update.min-age";
    /// Every one of them.
    pub const ALL: [&str; 4] = [MODE, TRACK, EXCLUDE, MIN_AGE];
}

/// What the labels of a container say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// The mode that is wanted.
    pub mode: Option<Mode>,
    /// How far updates may go.
    pub track: Option<Limit>,
    /// Whether it is left alone.
    pub exclude: bool,
    /// How long an image must have been known, ms.
    pub min_age_ms: Option<i64>,
    /// Labels of ours whose value is not understood, with what was expected. Such a container is left alone: what its
    /// owner meant cannot be told.
    pub not_understood: Vec<String>,
}

impl Labels {
    /// Reads those that mean something.
    #[must_use]
    pub fn read(labels: &BTreeMap<String, String>) -> Self {
        let mut read = Self::default();
        for (name, value) in labels.range("muster.update.".to_owned()..) {
            if !name.starts_with("muster.update.") {
                break;
            }
            let word = value.trim().to_ascii_lowercase();
            let expected = match name.as_str() {
                names::MODE => {
                    read.mode = Mode::from_word(&word);
                    read.mode
                        .is_none()
                        .then_some("manual, notify, scheduled or automatic")
                }
                names::TRACK => {
                    read.track = Limit::ALL.into_iter().find(|limit| limit.as_str() == word);
                    read.track.is_none().then_some("digest, patch, minor or major")
                }
                names::EXCLUDE => match word.as_str() {
                    "true" | "1" | "yes" => {
                        read.exclude = true;
                        None
                    }
                    "false" | "0" | "no" => None,
                    _ => Some("true or false"),
                },
                names::MIN_AGE => {
                    read.min_age_ms = age_ms(&word);
                    read.min_age_ms
                        .is_none()
                        .then_some("a duration such as 12h or 3d")
                }
                _ => Some("one of the names that are documented"),
            };
            if let Some(expected) = expected {
                let shown: String = value.chars().take(60).collect();
                read.not_understood
                    .push(format!("{name}={shown}: {expected} is expected"));
            }
        }
        read
    }
}

/// Reads `12h`, `3d`, `2w` or `30m`.
pub(crate) fn age_ms(text: &str) -> Option<i64> {
    let text = text.trim();
    let at = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(at);
    let unit_ms: i64 = match unit.trim() {
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        "w" => 7 * 86_400_000,
        _ => return None,
    };
    number
        .parse::<i64>()
        .ok()?
        .checked_mul(unit_ms)
        .filter(|ms| *ms <= 366 * 86_400_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Labels {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Labels::read(&pairs.collect())
    }

    #[test]
    fn labels_are_read_and_what_is_not_understood_is_said() {
        let labels = read(&[
            ("muster.update.mode", "Automatic"),
            ("muster.update.track", "minor"),
            ("muster.update.exclude", "false"),
            ("muster.update.min-age", "3d"),
            ("com.example.other", "x"),
            ("muster.updates", "x"),
        ]);
        assert_eq!(labels.mode, Some(Mode::Automatic));
        assert_eq!(labels.track, Some(Limit::Minor));
        assert_eq!(labels.min_age_ms, Some(259_200_000));
        assert!(!labels.exclude && labels.not_understood.is_empty());
        for wrong in [
            ("muster.update.mode", "yes"),
            ("muster.update.track", "latest"),
            ("muster.update.exclude", "maybe"),
            ("muster.update.min-age", "soon"),
            ("muster.update.min-age", "999999d"),
            ("muster.update.excluding", "true"),
        ] {
            assert_eq!(read(&[wrong]).not_understood.len(), 1, "{wrong:?}");
        }
    }
}
