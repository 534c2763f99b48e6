//! `[audit]`: keeping who did what.

use std::time::Duration;

use serde::Deserialize;

use super::Problems;
use super::auth::duration;
use crate::app::audit::RETENTION_DEFAULT;

/// Keeping who did what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// How long entries are kept.
    pub retention: Duration,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAudit {
    retention: Option<String>,
}

pub(super) fn default_text() -> String {
    format!(
        "[audit]\n\
         # How long it is kept who did what.\n\
         # retention = \"{}\"\n",
        humantime::format_duration(RETENTION_DEFAULT)
    )
}

impl RawAudit {
    pub(super) fn validate(self, problems: &mut Problems) -> Audit {
        const KEY: &str = "audit.retention";
        let retention = duration(KEY, self.retention, RETENTION_DEFAULT, problems);
        problems.bound(KEY, retention.as_secs(), 86_400, 100 * 31_557_600);
        Audit { retention }
    }
}
