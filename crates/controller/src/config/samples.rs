//! `[samples]`: the sample store.

use std::time::Duration;

use muster_samples::SeriesLimits;
use serde::Deserialize;

use super::Problems;
use super::auth::duration;

const DAY: Duration = Duration::from_secs(86_400);

/// The sample store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Samples {
    /// How long samples are kept.
    pub retention: Duration,
    /// How long roll-ups to 5 minutes are kept.
    pub retention_5m: Duration,
    /// How long roll-ups to an hour are kept.
    pub retention_1h: Duration,
    /// How many series a server may have, and of what.
    pub series: SeriesLimits,
}

impl Samples {
    /// How long samples are kept unless told otherwise.
    pub const RETENTION_DEFAULT: Duration = Duration::from_secs(7 * 86_400);
    /// How long roll-ups to 5 minutes are kept unless told otherwise.
    pub const RETENTION_5M_DEFAULT: Duration = Duration::from_secs(90 * 86_400);
    /// How long roll-ups to an hour are kept unless told otherwise.
    pub const RETENTION_1H_DEFAULT: Duration = Duration::from_secs(5 * 365 * 86_400);
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSamples {
    retention: Option<String>,
    retention_5m: Option<String>,
    retention_1h: Option<String>,
    series_per_server_max: Option<u32>,
    series_per_family_max: Option<u32>,
    series_reserved: Option<u32>,
}

pub(super) fn default_text() -> String {
    let days = |duration: Duration| format!("{}days", duration.as_secs() / DAY.as_secs());
    format!(
        "[samples]\n\
         # How long samples are kept as they were measured, and summed up by 5 minutes and by the hour; whole days, weeks\n\
         # and years are removed.\n\
         # retention = \"{}\"\n\
         # retention_5m = \"{}\"\n\
         # retention_1h = \"{}\"\n\
         # Most series of one server, most of them about databases, about containers, and about anything that is not\n\
         # the server itself, its storage or its health; and how many are reserved for each of these three. What is\n\
         # beyond is refused, counted and shown.\n\
         # series_per_server_max = {}\n\
         # series_per_family_max = {}\n\
         # series_reserved = {}\n",
        days(Samples::RETENTION_DEFAULT),
        days(Samples::RETENTION_5M_DEFAULT),
        days(Samples::RETENTION_1H_DEFAULT),
        SeriesLimits::PER_SERVER_MAX,
        SeriesLimits::PER_FAMILY_MAX,
        SeriesLimits::RESERVED,
    )
}

impl RawSamples {
    pub(super) fn validate(self, problems: &mut Problems) -> Samples {
        let mut retention = |key: &str, given: Option<String>, default: Duration| {
            let retention = duration(key, given, default, problems);
            if retention < DAY || DAY * 3_650 < retention {
                problems.note(key, &"must be from 1day to 3650days");
            }
            retention
        };
        let samples = retention("samples.retention", self.retention, Samples::RETENTION_DEFAULT);
        let fine = retention(
            "samples.retention_5m",
            self.retention_5m,
            Samples::RETENTION_5M_DEFAULT,
        );
        let coarse = retention(
            "samples.retention_1h",
            self.retention_1h,
            Samples::RETENTION_1H_DEFAULT,
        );
        Samples {
            retention: samples,
            retention_5m: fine,
            retention_1h: coarse,
            series: series(
                [
                    self.series_per_server_max,
                    self.series_per_family_max,
                    self.series_reserved,
                ],
                problems,
            ),
        }
    }
}

fn series([server, family, reserved]: [Option<u32>; 3], problems: &mut Problems) -> SeriesLimits {
    let per_server = server.map_or(SeriesLimits::PER_SERVER_MAX, |series| series as usize);
    let defaults = SeriesLimits::of_server(per_server);
    let given = |given: Option<u32>, default: usize| given.map_or(default, |series| series as usize);
    let per_family = given(family, defaults.per_family_max);
    let reserved = given(reserved, defaults.reserved);
    SeriesLimits {
        per_server_max: problems.bound("samples.series_per_server_max", per_server, 100, 1_000_000),
        per_family_max: problems.bound("samples.series_per_family_max", per_family, 10, 1_000_000),
        reserved: problems.bound("samples.series_reserved", reserved, 0, 1_000_000),
    }
}
