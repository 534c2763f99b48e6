//! The verdict on a disk as the API shows it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use smartmontools_parse::report::Attribute;
use smartmontools_parse::trend::WearOut;
use smartmontools_parse::{Counter, Overrides};
use utoipa::ToSchema;

use super::history::Trend;
use crate::app::devices::{Accepted, Decided, JudgedDevice};
use crate::http::extract::rfc3339;

/// The verdict on a disk.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Verdict")]
pub(in crate::http) struct VerdictBody {
    /// Id of the device.
    device_id: i64,
    /// `healthy`, `warning`, `critical`, `failed` or `unknown`: the worst of the reasons.
    health: &'static str,
    /// What it rests on and what to do, worst first. A reason that is `healthy` is a note.
    reasons: Vec<ReasonBody>,
    /// The damage that somebody accepted; null if nobody did.
    baseline: Option<BaselineBody>,
    /// Rules of the disk's own; null if there are none.
    overrides: Option<OverridesShown>,
    /// SMART attributes of an ATA disk.
    attributes: Vec<AttributeBody>,
    /// How much of its endurance it has used, and when all of it will be.
    wear: WearBody,
    /// How warm it was in the last 30 days; null without a history.
    temperature: Option<TemperatureBody>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ReasonBody {
    /// Stable name of the rule; null where the reason is not one of SMART's.
    code: Option<&'static str>,
    /// What this reason alone amounts to.
    health: &'static str,
    /// What was found and what to do.
    text: String,
    /// The ATA attribute it rests on.
    attribute: Option<u8>,
}

#[derive(Debug, Serialize, ToSchema)]
struct BaselineBody {
    /// When it was accepted.
    acknowledged_at: String,
    /// Who accepted it.
    acknowledged_by: String,
    /// What they noted.
    note: Option<String>,
    /// The counts that were accepted.
    #[schema(value_type = BTreeMap<String, u64>)]
    counts: BTreeMap<Counter, u64>,
    /// Attributes that had been at or below their threshold before.
    failed_before: BTreeSet<u8>,
}

#[derive(Debug, Serialize, ToSchema)]
struct OverridesShown {
    /// When they were made.
    changed_at: String,
    /// Who made them.
    changed_by: String,
    /// The rules.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    rules: Overrides,
}

#[derive(Debug, Serialize, ToSchema)]
struct AttributeBody {
    /// Number.
    id: u8,
    /// Name.
    name: String,
    /// Normalised value.
    value: Option<u8>,
    /// Worst normalised value.
    worst: Option<u8>,
    /// Value at or below which the attribute fails.
    thresh: Option<u8>,
    /// Raw value as one number.
    raw_value: Option<u64>,
    /// Raw value as smartctl reads it.
    raw: Option<String>,
    /// `now`, `past` or null.
    when_failed: Option<String>,
    /// Whether failing means that the end is near.
    prefailure: bool,
    /// Its count that was accepted.
    accepted: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
struct WearBody {
    /// Percent used now.
    used_percent: Option<f64>,
    /// `at`, `reached`, `not_in_sight` or `cannot_tell`.
    outcome: &'static str,
    /// When all of the rated endurance will be used, at the pace of the history.
    worn_out_at: Option<String>,
    /// Percent a year.
    percent_per_year: Option<f64>,
    /// Days of history it rests on.
    span_days: Option<f64>,
    /// Why it cannot be told.
    reason: Option<&'static str>,
}

#[derive(Debug, Serialize, ToSchema)]
struct TemperatureBody {
    /// Lowest, degrees Celsius.
    min: f64,
    /// Highest.
    max: f64,
    /// Mean.
    mean: f64,
    /// Change a day; null below two days of history.
    celsius_per_day: Option<f64>,
    /// Days of history.
    span_days: f64,
}

impl VerdictBody {
    pub(super) fn of(judged: JudgedDevice, trend: &Trend) -> Self {
        let baseline = judged.judgement.baseline;
        let accepted = |id: u8| {
            let counts = &baseline.as_ref()?.baseline.counts;
            let counter = Counter::ALL
                .into_iter()
                .find(|counter| counter.attribute() == Some(id))?;
            counts.get(&counter).copied()
        };
        let report = judged.report;
        let used_percent = report.as_ref().and_then(|report| report.wear_level_percent());
        let used_percent = used_percent.or(trend.wear.last().map(|point| point.1));
        let attributes = report.map(|report| report.ata.attributes).unwrap_or_default();
        let attributes = attributes.into_iter().map(|attribute| {
            let accepted = accepted(attribute.id);
            AttributeBody::of(attribute, accepted)
        });
        let attributes = attributes.collect();
        let device = judged.device;
        let reasons = match judged.verdict {
            Some(verdict) => verdict.reasons.into_iter().map(ReasonBody::from).collect(),
            None => device
                .health_reasons
                .into_iter()
                .map(|text| ReasonBody {
                    code: None,
                    health: device.health.as_str(),
                    text,
                    attribute: None,
                })
                .collect(),
        };
        Self {
            device_id: device.id.0,
            health: device.health.as_str(),
            reasons,
            baseline: baseline.map(BaselineBody::from),
            overrides: judged.judgement.overrides.map(OverridesShown::from),
            attributes,
            wear: WearBody::of(used_percent, trend.wear_out),
            temperature: trend.temperature.map(|trend| TemperatureBody {
                min: trend.min,
                max: trend.max,
                mean: trend.mean,
                celsius_per_day: trend.celsius_per_day,
                span_days: trend.span_days,
            }),
        }
    }
}

impl From<smartmontools_parse::Reason> for ReasonBody {
    fn from(reason: smartmontools_parse::Reason) -> Self {
        Self {
            code: Some(reason.code),
            health: reason.health.as_str(),
            text: reason.text,
            attribute: reason.attribute,
        }
    }
}

impl From<Accepted> for BaselineBody {
    fn from(accepted: Accepted) -> Self {
        Self {
            acknowledged_at: rfc3339(accepted.at_ms),
            acknowledged_by: accepted.by,
            note: accepted.note,
            counts: accepted.baseline.counts,
            failed_before: accepted.baseline.failed_before,
        }
    }
}

impl From<Decided> for OverridesShown {
    fn from(decided: Decided) -> Self {
        Self {
            changed_at: rfc3339(decided.at_ms),
            changed_by: decided.by,
            rules: decided.overrides,
        }
    }
}

impl AttributeBody {
    fn of(attribute: Attribute, accepted: Option<u64>) -> Self {
        Self {
            id: attribute.id,
            name: attribute.name,
            value: attribute.value,
            worst: attribute.worst,
            thresh: attribute.thresh,
            raw_value: attribute.raw_value,
            raw: attribute.raw_string,
            when_failed: attribute.when_failed,
            prefailure: attribute.flags.prefailure,
            accepted,
        }
    }
}

impl WearBody {
    fn of(used_percent: Option<f64>, wear_out: WearOut) -> Self {
        let none = Self {
            used_percent,
            outcome: "cannot_tell",
            worn_out_at: None,
            percent_per_year: None,
            span_days: None,
            reason: None,
        };
        match wear_out {
            WearOut::At {
                at_ms,
                percent_per_year,
                span_days,
            } => Self {
                outcome: "at",
                worn_out_at: Some(rfc3339(at_ms)),
                percent_per_year: Some(percent_per_year),
                span_days: Some(span_days),
                ..none
            },
            WearOut::NotInSight {
                percent_per_year,
                span_days,
            } => Self {
                outcome: "not_in_sight",
                percent_per_year: Some(percent_per_year),
                span_days: Some(span_days),
                ..none
            },
            WearOut::Reached => Self {
                outcome: "reached",
                ..none
            },
            WearOut::CannotTell { reason } => Self {
                reason: Some(reason),
                ..none
            },
        }
    }
}
