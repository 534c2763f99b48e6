//! Conditions on a label, as Prometheus has them.
//!
//! A label that a series does not have counts as empty. Regular expressions are anchored at both ends and
//! compiled once, when the matcher is made; their size is bounded, so that a query cannot eat memory.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use thiserror::Error;

/// Most memory that a compiled expression may take, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// How a label's value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`: is the value.
    Eq,
    /// `!=`: is not the value.
    Ne,
    /// `=~`: the whole of it matches the expression.
    Re,
    /// `!~`: the whole of it does not match the expression.
    Nre,
}

/// The expression cannot be compiled.
#[derive(Debug, Error)]
#[error("bad regular expression {pattern:?}")]
pub struct PatternError {
    /// The expression.
    pub pattern: String,
    /// What is wrong with it.
    #[source]
    pub source: Box<regex::Error>,
}

/// A condition on one label.
///
/// ```
/// use muster_samples::{MatchOp, Matcher};
/// let matcher = Matcher::new("device", MatchOp::Re, "sd.|nvme.*")?;
/// assert!(matcher.matches("sda") && !matcher.matches("sdaa") && !matcher.matches(""));
/// # Ok::<(), muster_samples::PatternError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Matcher {
    name: String,
    op: MatchOp,
    value: String,
    regex: Option<Arc<Regex>>,
}

impl Matcher {
    /// Makes a condition; `__name__` stands for the metric's name.
    ///
    /// # Errors
    /// [`PatternError`] if `value` is to be a regular expression and is none, or one that is too big.
    pub fn new(name: impl Into<String>, op: MatchOp, value: impl Into<String>) -> Result<Self, PatternError> {
        let (name, value) = (name.into(), value.into());
        let regex = match op {
            MatchOp::Eq | MatchOp::Ne => None,
            MatchOp::Re | MatchOp::Nre => Some(Arc::new(compile(&value)?)),
        };
        Ok(Self {
            name,
            op,
            value,
            regex,
        })
    }

    /// The label `name` is `value`.
    #[must_use]
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            op: MatchOp::Eq,
            value: value.into(),
            regex: None,
        }
    }

    /// The label; `__name__` for the metric's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is compared.
    #[must_use]
    pub const fn op(&self) -> MatchOp {
        self.op
    }

    /// What it is compared with.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a label of this value meets the condition; an absent label has the value `""`.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.regex) {
            (MatchOp::Ne, _) => self.value != value,
            (MatchOp::Re, Some(regex)) => regex.is_match(value),
            (MatchOp::Nre, Some(regex)) => !regex.is_match(value),
            // Without an expression there is only equality left.
            (MatchOp::Eq | MatchOp::Re | MatchOp::Nre, _) => self.value == value,
        }
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Eq for Matcher {}

fn compile(pattern: &str) -> Result<Regex, PatternError> {
    // Checked alone first: in parentheses `a)|(b` would be an expression.
    RegexBuilder::new(pattern)
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .and_then(|_| {
            // As in Prometheus a dot also matches a line feed.
            RegexBuilder::new(&format!("^(?:{pattern})$"))
                .dot_matches_new_line(true)
                .size_limit(REGEX_BYTES_MAX)
                .build()
        })
        .map_err(|source| PatternError {
            pattern: pattern.to_owned(),
            source: Box::new(source),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_the_whole_value() {
        let matches =
            |pattern: &str, value: &str| Matcher::new("a", MatchOp::Re, pattern).unwrap().matches(value);
        assert!(matches("a|b", "a") && matches("a|b", "b") && !matches("a|b", "ab"));
        assert!(matches(".*", "") && !matches(".+", "") && matches("x.y", "x\ny"));
        assert!(!Matcher::new("a", MatchOp::Nre, "x.*").unwrap().matches("xyz"));
    }

    #[test]
    fn what_is_no_expression_or_too_big_is_refused() {
        for pattern in ["(", "a)|(b", "*", "(?:(?:(?:a{200}){200}){200})"] {
            let error = Matcher::new("a", MatchOp::Re, pattern).unwrap_err();
            assert!(
                error.to_string().starts_with("bad regular expression"),
                "{pattern}"
            );
        }
    }
}
