//! `[log]`: how log lines look and which are written.

use muster_base::log::Format;
use serde::Deserialize;

use super::Problems;

/// How to log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// For people or for programs.
    pub format: Format,
    /// Which lines are written, in the syntax of `MUSTER_LOG`; `None` is `info`.
    pub filter: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLog {
    format: Option<String>,
    filter: Option<String>,
}

pub(super) const DEFAULT_TEXT: &str = "[log]\n\
    # text or json.\n\
    # format = \"text\"\n\
    # Which lines are written: a level, or module=level,….\n\
    # filter = \"info\"\n";

impl RawLog {
    pub(super) fn validate(self, problems: &mut Problems) -> Log {
        let format = self
            .format
            .and_then(|word| problems.check("log.format", word.parse::<Format>()));
        Log {
            format: format.unwrap_or_default(),
            filter: self.filter,
        }
    }
}
