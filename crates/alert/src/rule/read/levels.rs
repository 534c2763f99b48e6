//! Reading the bounds of a rule.

use super::COMPARISONS;
use crate::fields::Fields;
use crate::rule::RuleKind;
use crate::{Comparison, Levels, Severity};

/// Bounds, by either naming: `threshold` with `severity`, or one for each severity.
pub(super) fn read_levels(fields: &mut Fields, kind: Option<RuleKind>, severity: Severity) -> Option<Levels> {
    let is_compared = fields.has("condition") || fields.has("operator");
    let is_bounded = [
        "threshold",
        "warning_threshold",
        "warning",
        "critical_threshold",
        "critical",
    ]
    .iter()
    .any(|name| fields.has(name));
    let comparison = fields.word(&["condition", "operator"], Comparison::from_word, &COMPARISONS);
    let plain = fields.number(&["threshold"]);
    let warning = fields.number(&["warning_threshold", "warning"]);
    let critical = fields.number(&["critical_threshold", "critical"]);
    let clear = fields.number(&["clear_threshold", "clear"]);
    if kind == Some(RuleKind::Absence) {
        for (name, is_given) in [
            ("condition", comparison.is_some()),
            ("threshold", plain.is_some()),
            ("warning_threshold", warning.is_some()),
            ("critical_threshold", critical.is_some()),
            ("clear_threshold", clear.is_some()),
        ] {
            if is_given {
                fields.problem(name, "an absence has none: it fires when nothing comes");
            }
        }
        return Some(Levels {
            comparison: Comparison::Ne,
            lower: None,
            critical: None,
            clear: None,
        });
    }
    if !is_bounded {
        fields.problem(
            "threshold",
            "is required, or warning_threshold or critical_threshold",
        );
    }
    let comparison = match (comparison, kind) {
        (None, Some(RuleKind::Growth)) if !is_compared => Comparison::Gt,
        (None, _) => {
            if !is_compared {
                fields.problem(
                    "condition",
                    format!("is required: one of {}", COMPARISONS.join(", ")),
                );
            }
            return None;
        }
        (Some(comparison), _) => comparison,
    };
    if matches!(kind, Some(RuleKind::Growth | RuleKind::Forecast)) && comparison.is_upward().is_none() {
        fields.problem(
            "condition",
            "gt, gte, lt or lte is expected here: what grows passes a number, it is not one",
        );
    }
    let (lower, critical) = assign_severities(fields, plain, warning, critical, severity)?;
    check_order(fields, comparison, lower.map(|(_, bound)| bound), critical, clear);
    Some(Levels {
        comparison,
        lower,
        critical,
        clear,
    })
}

type Bounds = (Option<(Severity, f64)>, Option<f64>);

fn assign_severities(
    fields: &mut Fields,
    plain: Option<f64>,
    warning: Option<f64>,
    critical: Option<f64>,
    severity: Severity,
) -> Option<Bounds> {
    match (plain, warning, critical) {
        (None, None, None) => None,
        (Some(_), Some(_), _) => {
            fields.problem("threshold", "is the same as warning_threshold, give one of them");
            None
        }
        (Some(_), None, Some(_)) if severity == Severity::Critical => {
            fields.problem(
                "threshold",
                "is the same as critical_threshold when the severity is critical",
            );
            None
        }
        (Some(plain), None, None) if severity == Severity::Critical => Some((None, Some(plain))),
        (Some(plain), None, critical) => Some((Some((severity, plain)), critical)),
        (None, warning, critical) => Some((warning.map(|bound| (Severity::Warning, bound)), critical)),
    }
}

fn check_order(
    fields: &mut Fields,
    comparison: Comparison,
    lower: Option<f64>,
    critical: Option<f64>,
    clear: Option<f64>,
) {
    let Some(is_upward) = comparison.is_upward() else {
        if clear.is_some() {
            fields.problem("clear_threshold", "eq and ne have none");
        }
        return;
    };
    let is_past = |a: f64, b: f64| if is_upward { b < a } else { a < b };
    if let (Some(lower), Some(critical)) = (lower, critical)
        && !is_past(critical, lower)
    {
        let side = if is_upward { "above" } else { "below" };
        fields.problem(
            "critical_threshold",
            format!("must be {side} the lesser threshold, {lower}"),
        );
    }
    if let (Some(bound), Some(clear)) = (lower.or(critical), clear)
        && is_past(clear, bound)
    {
        let side = if is_upward { "above" } else { "below" };
        fields.problem(
            "clear_threshold",
            format!("must not be {side} the threshold, {bound}"),
        );
    }
}
