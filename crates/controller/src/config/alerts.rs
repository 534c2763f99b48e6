//! `[alerts]`: keeping alerts.

use std::time::Duration;

use serde::Deserialize;

use super::Problems;
use super::auth::duration;

const DAY: Duration = Duration::from_secs(86_400);

/// Keeping alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alerts {
    /// How long alerts that are over are kept.
    pub retention: Duration,
}

impl Alerts {
    /// How long alerts that are over are kept unless told otherwise.
    pub const RETENTION_DEFAULT: Duration = Duration::from_secs(365 * 86_400);
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAlerts {
    retention: Option<String>,
}

pub(super) fn default_text() -> String {
    format!(
        "[alerts]\n\
         # How long alerts that are over are kept.\n\
         # retention = \"{}days\"\n",
        Alerts::RETENTION_DEFAULT.as_secs() / DAY.as_secs()
    )
}

impl RawAlerts {
    /// `days` is what the environment says.
    pub(super) fn validate(self, days: Option<&str>, problems: &mut Problems) -> Alerts {
        const KEY: &str = "alerts.retention";
        let given = self.retention.or_else(|| days.map(|days| format!("{days}days")));
        let retention = duration(KEY, given, Alerts::RETENTION_DEFAULT, problems);
        if retention < DAY || DAY * 36_500 < retention {
            problems.note(KEY, &"must be from 1day to 36500days");
        }
        Alerts { retention }
    }
}
