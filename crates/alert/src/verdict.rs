//! The verdict on one number. Pure, and the only place where a number is compared with a bound.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Severity;

/// What can be said of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The condition holds, this badly.
    Firing(Severity),
    /// It does not hold.
    Clear,
    /// Nothing can be said, or the number lies between the bound and the one at which it is clear: what was, stays.
    Hold,
}

/// How a number is compared with a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// Above it.
    Gt,
    /// Below it.
    Lt,
    /// At or above it.
    Gte,
    /// At or below it.
    Lte,
    /// The same.
    Eq,
    /// Another.
    Ne,
}

impl Comparison {
    /// Every comparison.
    pub const ALL: [Self; 6] = [Self::Gt, Self::Lt, Self::Gte, Self::Lte, Self::Eq, Self::Ne];

    /// The word used in JSON and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gt => "gt",
            Self::Lt => "lt",
            Self::Gte => "gte",
            Self::Lte => "lte",
            Self::Eq => "eq",
            Self::Ne => "ne",
        }
    }

    /// The sign people write.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Gt => ">",
            Self::Lt => "<",
            Self::Gte => ">=",
            Self::Lte => "<=",
            Self::Eq => "==",
            Self::Ne => "!=",
        }
    }

    /// The comparison of a word or a sign.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|comparison| comparison.as_str() == word || comparison.sign() == word)
    }

    /// Whether `value` stands so to `bound`; never for what is not a number.
    #[must_use]
    pub fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Gt => value > bound,
            Self::Lt => value < bound,
            Self::Gte => value >= bound,
            Self::Lte => value <= bound,
            // Exact on purpose: what is compared so are states and counts.
            #[allow(clippy::float_cmp)]
            Self::Eq => value == bound,
            #[allow(clippy::float_cmp)]
            Self::Ne => !value.is_nan() && value != bound,
        }
    }

    /// Whether more is worse (`Some(true)`), less is worse, or neither.
    #[must_use]
    pub const fn is_upward(self) -> Option<bool> {
        match self {
            Self::Gt | Self::Gte => Some(true),
            Self::Lt | Self::Lte => Some(false),
            Self::Eq | Self::Ne => None,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.sign())
    }
}

/// The bounds of a rule, and how numbers are compared with them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Levels {
    /// How a number is compared.
    pub comparison: Comparison,
    /// The bound of the lesser severity, and that severity.
    pub lower: Option<(Severity, f64)>,
    /// The bound at which it is critical.
    pub critical: Option<f64>,
    /// What a number must be past again, away from the bounds, to be clear; `None`: not past the bounds is enough.
    pub clear: Option<f64>,
}

impl Levels {
    /// What is to be said of `value`; `None` and what is not finite hold.
    #[must_use]
    pub fn judge(&self, value: Option<f64>) -> Verdict {
        let Some(value) = value.filter(|value| value.is_finite()) else {
            return Verdict::Hold;
        };
        if self
            .critical
            .is_some_and(|bound| self.comparison.holds(value, bound))
        {
            return Verdict::Firing(Severity::Critical);
        }
        if let Some((severity, bound)) = self.lower
            && self.comparison.holds(value, bound)
        {
            return Verdict::Firing(severity);
        }
        match (self.clear, self.comparison.is_upward()) {
            (Some(clear), Some(true)) if clear < value => Verdict::Hold,
            (Some(clear), Some(false)) if value < clear => Verdict::Hold,
            _ => Verdict::Clear,
        }
    }

    /// The bound of a severity: what a firing number was past.
    #[must_use]
    pub fn bound(&self, severity: Severity) -> Option<f64> {
        match (severity, self.critical, self.lower) {
            (Severity::Critical, Some(bound), _) => Some(bound),
            (_, _, Some((_, bound))) => Some(bound),
            (_, critical, None) => critical,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: Levels = Levels {
        comparison: Comparison::Gt,
        lower: Some((Severity::Warning, 60.0)),
        critical: Some(70.0),
        clear: Some(55.0),
    };

    #[test]
    fn a_number_fires_clears_or_holds_by_where_it_lies() {
        for (value, expected) in [
            (80.0, Verdict::Firing(Severity::Critical)),
            (70.0, Verdict::Firing(Severity::Warning)),
            (60.1, Verdict::Firing(Severity::Warning)),
            (60.0, Verdict::Hold),
            (55.1, Verdict::Hold),
            (55.0, Verdict::Clear),
            (-1.0, Verdict::Clear),
        ] {
            assert_eq!(LEVELS.judge(Some(value)), expected, "{value}");
        }
    }

    #[test]
    fn what_is_no_number_is_never_clear_by_any_comparison() {
        for comparison in Comparison::ALL {
            let levels = Levels {
                comparison,
                clear: None,
                ..LEVELS
            };
            for value in [None, Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY)] {
                assert_eq!(levels.judge(value), Verdict::Hold, "{comparison:?} {value:?}");
            }
        }
    }

    #[test]
    fn downward_rules_hold_until_the_number_is_above_the_clear_bound() {
        let levels = Levels {
            comparison: Comparison::Lt,
            lower: Some((Severity::Info, 10.0)),
            critical: None,
            clear: Some(15.0),
        };
        assert_eq!(levels.judge(Some(9.0)), Verdict::Firing(Severity::Info));
        assert_eq!(levels.judge(Some(12.0)), Verdict::Hold);
        assert_eq!(levels.judge(Some(15.0)), Verdict::Clear);
    }

    #[test]
    fn words_and_signs_are_the_same_comparison() {
        for comparison in Comparison::ALL {
            assert_eq!(Comparison::from_word(comparison.as_str()), Some(comparison));
            assert_eq!(Comparison::from_word(comparison.sign()), Some(comparison));
        }
        assert_eq!(Comparison::from_word("above"), None);
    }
}
