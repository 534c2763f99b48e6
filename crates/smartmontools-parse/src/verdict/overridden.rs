//! What somebody has decided about this drive, applied to the reasons that the rules found.

use crate::baseline::Counter;
use crate::overrides::{AttributeRule, Overrides};
use crate::report::Report;

use super::{Health, Reason};

/// Applies decisions. Only warnings and what is critical can change: failed is the drive's own word (or that of its
/// thresholds), and unknown is no opinion that somebody could overrule.
pub(super) fn apply(reasons: &mut Vec<Reason>, report: &Report, overrides: &Overrides) {
    for (id, rule) in &overrides.attributes {
        if rule.has_limits() {
            reasons.retain(|reason| !is_replaced(reason, *id));
            reasons.extend(against_limits(report, *id, *rule));
        }
    }
    for reason in reasons {
        let is_soft = matches!(reason.health, Health::Warning | Health::Critical);
        let by_attribute = reason
            .attribute
            .and_then(|id| overrides.attributes.get(&id))
            .is_some_and(|rule| rule.ignore);
        if is_soft && (by_attribute || overrides.ignore.contains(reason.code)) {
            reason.health = Health::Healthy;
            reason.text.push_str(" (ignored by an override)");
        }
    }
}

/// Whether limits for an attribute take a reason's place: those that judge its count, not its threshold.
fn is_replaced(reason: &Reason, id: u8) -> bool {
    let judges_count = !matches!(
        reason.code,
        "prefail_attribute"
            | "damage_attribute"
            | "old_age_attribute"
            | "attribute_failed_before"
            | "too_warm"
    );
    reason.attribute == Some(id) && judges_count && reason.health != Health::Unknown
}

fn against_limits(report: &Report, id: u8, rule: AttributeRule) -> Option<Reason> {
    let attribute = report.ata.attribute(id)?;
    let is_counted = Counter::ALL.iter().any(|counter| counter.attribute() == Some(id));
    // A count of damage is read as such; any other attribute as the number that smartctl prints.
    let count = if is_counted {
        attribute.raw_number()?
    } else {
        attribute.raw_long()?
    };
    let name = &attribute.name;
    let reached = |limit: Option<u64>| limit.filter(|limit| *limit <= count);
    let (health, text) = if let Some(limit) = reached(rule.critical) {
        let text = format!(
            "attribute {id} {name} is {count}, and {limit} is set as critical for this drive; back up and replace it"
        );
        (Health::Critical, text)
    } else if let Some(limit) = reached(rule.warning) {
        let text = format!(
            "attribute {id} {name} is {count}, and {limit} is set as a warning for this drive; look into it"
        );
        (Health::Warning, text)
    } else {
        (
            Health::Healthy,
            format!("attribute {id} {name} is {count}, below the limit set for this drive"),
        )
    };
    Some(Reason::new("attribute_limit", health, text).of_attribute(Some(id)))
}
