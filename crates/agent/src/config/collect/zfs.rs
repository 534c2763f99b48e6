//! `[zfs]`: what is expected of ZFS.

use std::time::Duration;

use serde::Deserialize;

use super::parse_duration;
use crate::config::Problems;

/// What is expected of ZFS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zfs {
    /// How long ago the last scrub of a pool may be; `None` for as long as one likes.
    pub scrub_warning_after: Option<Duration>,
}

impl Zfs {
    /// How long ago the last scrub may be unless told otherwise: Debian scrubs on the second Sunday of a month, which
    /// are at most five weeks apart.
    pub const SCRUB_WARNING_AFTER_DEFAULT: Duration = Duration::from_secs(36 * 24 * 3600);
}

impl Default for Zfs {
    fn default() -> Self {
        Self {
            scrub_warning_after: Some(Self::SCRUB_WARNING_AFTER_DEFAULT),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawZfs {
    scrub_warning_after: Option<String>,
}

pub(super) fn validate(raw: RawZfs, problems: &mut Problems) -> Zfs {
    let Some(text) = raw.scrub_warning_after else {
        return Zfs::default();
    };
    let limit = problems.check("zfs.scrub_warning_after", parse_duration(&text));
    Zfs {
        scrub_warning_after: limit.filter(|limit| !limit.is_zero()),
    }
}

pub(super) fn default_text() -> String {
    format!(
        "[zfs]\n# How long ago the last scrub of a pool may be before that is a warning; \"0s\" for as long as one likes.\n\
         # scrub_warning_after = \"{}d\"\n",
        Zfs::SCRUB_WARNING_AFTER_DEFAULT.as_secs() / 86_400
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_is_36_days_and_zero_is_no_limit() {
        let read = |text: Option<&str>| {
            let raw = RawZfs {
                scrub_warning_after: text.map(str::to_owned),
            };
            validate(raw, &mut Problems::default()).scrub_warning_after
        };
        assert_eq!(read(None), Some(Duration::from_secs(36 * 86_400)));
        assert_eq!(read(Some("10d")), Some(Duration::from_secs(10 * 86_400)));
        assert_eq!(read(Some("0s")), None);
    }
}
