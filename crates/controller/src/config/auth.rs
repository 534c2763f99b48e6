//! `[auth]`: logging in.

use std::time::Duration;

use serde::Deserialize;

use super::Problems;

/// Logging in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// How long an access token lives.
    pub session_ttl: Duration,
    /// Login attempts a minute: for an account from one address, for an account from all addresses it never logged in
    /// from, and for such an address over all accounts.
    pub login_per_min: u32,
}

impl Auth {
    /// How long an access token lives unless told otherwise.
    pub const SESSION_TTL_DEFAULT: Duration = Duration::from_secs(12 * 3_600);
    /// Login attempts a minute unless told otherwise.
    pub const LOGIN_PER_MIN_DEFAULT: u32 = 10;
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAuth {
    session_ttl: Option<String>,
    login_per_min: Option<u32>,
}

pub(super) fn default_text() -> String {
    format!(
        "[auth]\n\
         # How long an access token lives.\n\
         # session_ttl = \"{}\"\n\
         # Login attempts a minute: for an account from one address, for an account from all addresses together that\n\
         # it never logged in from, and for such an address over all accounts.\n\
         # login_per_min = {}\n",
        humantime::format_duration(Auth::SESSION_TTL_DEFAULT),
        Auth::LOGIN_PER_MIN_DEFAULT
    )
}

impl RawAuth {
    pub(super) fn validate(self, problems: &mut Problems) -> Auth {
        let key = "auth.session_ttl";
        let session_ttl = duration(key, self.session_ttl, Auth::SESSION_TTL_DEFAULT, problems);
        problems.bound(key, session_ttl.as_secs(), 60, 365 * 86_400);
        let login_per_min = self.login_per_min.unwrap_or(Auth::LOGIN_PER_MIN_DEFAULT);
        Auth {
            session_ttl,
            login_per_min: problems.bound("auth.login_per_min", login_per_min, 1, 10_000),
        }
    }
}

/// A duration such as `30s` or `12h`.
pub(super) fn duration(
    key: &str,
    written: Option<String>,
    default: Duration,
    problems: &mut Problems,
) -> Duration {
    let parse = |text: String| {
        humantime::parse_duration(&text)
            .map_err(|_| format!("{text:?} is not a duration such as \"30s\" or \"12h\""))
    };
    written
        .and_then(|text| problems.check(key, parse(text)))
        .unwrap_or(default)
}
