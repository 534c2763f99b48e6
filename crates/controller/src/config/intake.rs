//! `[intake]`: the log of reports.

use serde::Deserialize;

use super::Problems;

/// The log of reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Intake {
    /// Bytes of reports that consumers have not passed yet at which nothing more is taken.
    pub size_bytes_max: u64,
    /// Share of the filesystem, in percent, that has to stay free for reports to be taken.
    pub free_percent_min: f64,
    /// Most series of one agent.
    pub series_per_agent: u32,
}

impl Intake {
    /// The default of [`Intake::size_bytes_max`].
    pub const SIZE_BYTES_MAX_DEFAULT: u64 = 8 * 1024 * 1024 * 1024;
    /// The default of [`Intake::free_percent_min`].
    pub const FREE_PERCENT_MIN_DEFAULT: f64 = 5.0;
    /// The default of [`Intake::series_per_agent`].
    pub const SERIES_PER_AGENT_DEFAULT: u32 = muster_model::limits::SERIES_PER_AGENT_MAX as u32;
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawIntake {
    size_bytes_max: Option<u64>,
    free_percent_min: Option<f64>,
    series_per_agent: Option<u32>,
}

pub(super) fn default_text() -> String {
    format!(
        "[intake]\n\
         # Bytes of reports not yet worked in, and the share of the filesystem that has to stay free, at which agents\n\
         # are told to keep their reports.\n\
         # size_bytes_max = {}\n\
         # free_percent_min = {:?}\n\
         # Most series of one agent; samples of more are refused, counted and shown.\n\
         # series_per_agent = {}\n",
        Intake::SIZE_BYTES_MAX_DEFAULT,
        Intake::FREE_PERCENT_MIN_DEFAULT,
        Intake::SERIES_PER_AGENT_DEFAULT
    )
}

impl RawIntake {
    pub(super) fn validate(self, problems: &mut Problems) -> Intake {
        let size = self.size_bytes_max.unwrap_or(Intake::SIZE_BYTES_MAX_DEFAULT);
        let free = self.free_percent_min.unwrap_or(Intake::FREE_PERCENT_MIN_DEFAULT);
        let series = self.series_per_agent.unwrap_or(Intake::SERIES_PER_AGENT_DEFAULT);
        Intake {
            size_bytes_max: problems.bound("intake.size_bytes_max", size, 16 * 1024 * 1024, 1 << 50),
            free_percent_min: problems.bound("intake.free_percent_min", free, 0.0, 90.0),
            series_per_agent: problems.bound("intake.series_per_agent", series, 100, 1_000_000),
        }
    }
}
