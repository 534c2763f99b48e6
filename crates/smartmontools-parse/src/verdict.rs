//! What a report says of the drive's health, in words and with what to do.
//!
//! The verdict is the worst of its reasons. Two rules stand above all others:
//!
//! - **Nothing unread is healthy.** A drive is healthy only if it was read, SMART is on, the drive itself says it is
//!   good, and nothing a verdict rests on was unreadable. Otherwise it is unknown, unless something that *was* read
//!   proves damage.
//! - **Age is no damage.** Hours, cycles, load counts and corrected errors never count; every drive that lives long
//!   has many.
//!
//! A reason whose own health is [`Health::Healthy`] is a note: worth knowing, no ground for worry.

mod attributes;
mod counts;
mod nvme;
mod overridden;
mod own_status;
mod rates;
mod self_test;
mod temperature;

use serde::{Deserialize, Serialize};

use crate::baseline::Baseline;
use crate::overrides::Overrides;
use crate::report::Report;

/// Health of a drive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// The drive calls itself good and nothing speaks against it.
    Healthy,
    /// Watch it, have a replacement at hand.
    Warning,
    /// Replace it soon.
    Critical,
    /// Replace it now.
    Failed,
    /// Cannot be told.
    #[default]
    Unknown,
}

impl Health {
    /// The name used in APIs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// Proven damage is worse than not knowing, not knowing is worse than being healthy.
    fn rank(self) -> u8 {
        match self {
            Self::Healthy => 0,
            Self::Unknown => 1,
            Self::Warning => 2,
            Self::Critical => 3,
            Self::Failed => 4,
        }
    }
}

/// One ground of a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Stable name of the rule.
    pub code: &'static str,
    /// What this ground alone amounts to; [`Health::Healthy`] for a note.
    pub health: Health,
    /// What was found and what to do.
    pub text: String,
    /// The ATA attribute it rests on, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attribute: Option<u8>,
}

impl Reason {
    fn new(code: &'static str, health: Health, text: impl Into<String>) -> Self {
        Self {
            code,
            health,
            text: text.into(),
            attribute: None,
        }
    }

    /// The same, resting on an ATA attribute.
    fn of_attribute(mut self, attribute: Option<u8>) -> Self {
        self.attribute = attribute;
        self
    }

    fn note(code: &'static str, text: impl Into<String>) -> Self {
        Self::new(code, Health::Healthy, text)
    }
}

/// What a report says of the drive's health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The worst of the reasons.
    pub health: Health,
    /// Every ground, worst first; never empty.
    pub reasons: Vec<Reason>,
}

/// Judges a report. With a baseline, damage that was accepted becomes a note and only what came on top counts.
pub fn verdict(report: &Report, baseline: Option<&Baseline>) -> Verdict {
    verdict_with(report, baseline, &Overrides::default())
}

/// Judges a report as [`verdict`] does, with what somebody has decided about this drive. Neither a baseline nor an
/// override softens what the drive itself calls failed, or makes anything of what could not be read.
pub fn verdict_with(report: &Report, baseline: Option<&Baseline>, overrides: &Overrides) -> Verdict {
    let mut reasons = own_status::judge(report);
    reasons.extend(nvme::judge(report));
    reasons.extend(attributes::judge(report, baseline));
    reasons.extend(counts::judge(report, baseline));
    reasons.extend(self_test::judge(report, baseline));
    reasons.extend(self_test::running(report));
    reasons.extend(temperature::judge(report, overrides));
    overridden::apply(&mut reasons, report, overrides);
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.health.rank())); // Stable: rules keep their order.
    let health = reasons.first().map(|reason| reason.health).unwrap_or_default();
    Verdict { health, reasons }
}
