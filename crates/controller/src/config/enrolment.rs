//! `[enrolment]`: making agents of token holders.

use std::time::Duration;

use serde::Deserialize;

use super::Problems;
use super::auth::duration;
use crate::app::enrolment::TTL_MAX;

/// Making agents of token holders.
#[derive(Debug, Clone, PartialEq)]
pub struct Enrolment {
    /// Enrolments a second from one address.
    pub per_address_per_s: f64,
    /// How many of one address may come at once.
    pub burst: u32,
    /// Enrolments a second from all addresses together.
    pub per_s: f64,
    /// How long a token lives unless its maker says otherwise.
    pub token_ttl: Duration,
    /// How long an agent's certificate is valid; agents renew at half of it.
    pub agent_certificate_ttl: Duration,
}

impl Enrolment {
    /// Enrolments a second from one address unless told otherwise.
    pub const PER_ADDRESS_PER_S_DEFAULT: f64 = 1.0;
    /// How many of one address may come at once unless told otherwise.
    pub const BURST_DEFAULT: u32 = 20;
    /// Enrolments a second from all addresses unless told otherwise.
    pub const PER_S_DEFAULT: f64 = 20.0;
    /// How long a token lives unless told otherwise.
    pub const TOKEN_TTL_DEFAULT: Duration = Duration::from_secs(30 * 60);
    /// How long an agent's certificate is valid unless told otherwise.
    pub const CERTIFICATE_TTL_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3_600);
    /// Shorter, and an agent would do little else than renew.
    const CERTIFICATE_TTL_MIN: Duration = Duration::from_secs(60);
    /// Longer, and it would outlive the authority that issued it.
    const CERTIFICATE_TTL_MAX: Duration = Duration::from_secs(90 * 24 * 3_600);
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawEnrolment {
    enrolment_per_address_per_s: Option<f64>,
    enrolment_burst: Option<u32>,
    enrolment_per_s: Option<f64>,
    token_ttl: Option<String>,
    agent_certificate_ttl: Option<String>,
}

pub(super) fn default_text() -> String {
    format!(
        "[enrolment]\n\
         # Enrolments a second from one address, how many of it may come at once, and a second from all together.\n\
         # enrolment_per_address_per_s = {:?}\n\
         # enrolment_burst = {}\n\
         # enrolment_per_s = {:?}\n\
         # How long an enrolment token lives unless its maker says otherwise.\n\
         # token_ttl = \"{}\"\n\
         # How long an agent's certificate is valid; agents renew it when half of that is over.\n\
         # agent_certificate_ttl = \"{}\"\n",
        Enrolment::PER_ADDRESS_PER_S_DEFAULT,
        Enrolment::BURST_DEFAULT,
        Enrolment::PER_S_DEFAULT,
        humantime::format_duration(Enrolment::TOKEN_TTL_DEFAULT),
        humantime::format_duration(Enrolment::CERTIFICATE_TTL_DEFAULT)
    )
}

impl RawEnrolment {
    pub(super) fn validate(self, problems: &mut Problems) -> Enrolment {
        let per_address = self
            .enrolment_per_address_per_s
            .unwrap_or(Enrolment::PER_ADDRESS_PER_S_DEFAULT);
        let per_s = self.enrolment_per_s.unwrap_or(Enrolment::PER_S_DEFAULT);
        let burst = self.enrolment_burst.unwrap_or(Enrolment::BURST_DEFAULT);
        let ttl_key = "enrolment.token_ttl";
        let token_ttl = duration(ttl_key, self.token_ttl, Enrolment::TOKEN_TTL_DEFAULT, problems);
        problems.bound(ttl_key, token_ttl.as_secs(), 1, TTL_MAX.as_secs());
        let certificate_key = "enrolment.agent_certificate_ttl";
        let agent_certificate_ttl = duration(
            certificate_key,
            self.agent_certificate_ttl,
            Enrolment::CERTIFICATE_TTL_DEFAULT,
            problems,
        );
        problems.bound(
            certificate_key,
            agent_certificate_ttl.as_secs(),
            Enrolment::CERTIFICATE_TTL_MIN.as_secs(),
            Enrolment::CERTIFICATE_TTL_MAX.as_secs(),
        );
        Enrolment {
            per_address_per_s: problems.bound(
                "enrolment.enrolment_per_address_per_s",
                per_address,
                0.001,
                100_000.0,
            ),
            burst: problems.bound("enrolment.enrolment_burst", burst, 1, 1_000_000),
            per_s: problems.bound("enrolment.enrolment_per_s", per_s, 0.001, 100_000.0),
            token_ttl,
            agent_certificate_ttl,
        }
    }
}
