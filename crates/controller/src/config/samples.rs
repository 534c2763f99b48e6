//! `[samples]`: the sample store.

use std::time::Duration;

use serde::Deserialize;

use super::Problems;
use super::auth::duration;

const DAY: Duration = Duration::from_secs(86_400);

/// The sample store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Samples {
    /// How long samples are kept.
    pub retention: Duration,
}

impl Samples {
    /// How long samples are kept unless told otherwise.
    pub const RETENTION_DEFAULT: Duration = Duration::from_secs(7 * 86_400);
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSamples {
    retention: Option<String>,
}

pub(super) fn default_text() -> String {
    format!(
        "[samples]\n\
         # How long samples are kept; whole days are removed.\n\
         # retention = \"{}\"\n",
        humantime::format_duration(Samples::RETENTION_DEFAULT)
    )
}

impl RawSamples {
    pub(super) fn validate(self, problems: &mut Problems) -> Samples {
        let retention = duration(
            "samples.retention",
            self.retention,
            Samples::RETENTION_DEFAULT,
            problems,
        );
        if retention < DAY || DAY * 3_650 < retention {
            problems.note("samples.retention", &"must be from 1day to 3650days");
        }
        Samples { retention }
    }
}
