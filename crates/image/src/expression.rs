//! Regular expressions and wildcards that people write to say which images or tags they mean.

use regex::Regex;
use thiserror::Error;

/// Most bytes of a regular expression.
const BYTES_MAX: usize = 512;
/// Most bytes that a compiled one takes.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// Why a text is no regular expression that is taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExpressionError {
    /// It is empty or too long.
    #[error("is no regular expression of 1 to {BYTES_MAX} bytes")]
    Length,
    /// It cannot be read, or is too large when compiled.
    #[error("is no regular expression: {0}")]
    Syntax(String),
}

/// Compiles an expression that must match the whole text: `1\.2` is not to find `11.2-rc1`.
///
/// # Errors
/// [`ExpressionError`].
pub fn whole(expression: &str) -> Result<Regex, ExpressionError> {
    if expression.is_empty() || BYTES_MAX < expression.len() {
        return Err(ExpressionError::Length);
    }
    // By itself too: `a)(b` would be one only within the group.
    compile(expression)?;
    compile(&format!("^(?:{expression})$"))
}

fn compile(expression: &str) -> Result<Regex, ExpressionError> {
    regex::RegexBuilder::new(expression)
        .size_limit(COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| {
            // The lines before the last draw where it is.
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            ExpressionError::Syntax(last.trim().to_owned())
        })
}

/// What [`whole`] was given.
pub(crate) fn source(whole: &Regex) -> &str {
    let text = whole.as_str();
    let inner = text.strip_prefix("^(?:").and_then(|text| text.strip_suffix(")$"));
    inner.unwrap_or(text)
}

/// Whether a pattern, with `*` for anything, matches a whole text.
///
/// ```
/// assert!(muster_image::matches_wildcard("1.*-alpine", "1.27-alpine"));
/// assert!(!muster_image::matches_wildcard("1.*", "11.2"));
/// ```
#[must_use]
pub fn matches_wildcard(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_whole_texts_and_are_bounded() {
        let expression = whole("1\\.27|latest").unwrap();
        assert!(expression.is_match("1.27") && expression.is_match("latest"));
        assert!(!expression.is_match("11.27") && !expression.is_match("latest-1"));
        assert_eq!(source(&expression), "1\\.27|latest");
        for text in ["", "(", "a)(b", "(a{1000}){1000}", &"x".repeat(513)] {
            assert!(whole(text).is_err(), "{text}");
        }
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, tag) in [
            ("1.*", "1.27"),
            ("*", ""),
            ("*-rc*", "2.0-rc1"),
            ("a*b*c", "aXbYbc"),
            ("x", "x"),
        ] {
            assert!(matches_wildcard(pattern, tag), "{pattern} {tag}");
        }
        for (pattern, tag) in [("1.*", "11.2"), ("x", "xy"), ("*-rc*", "2.0"), ("a*a", "a")] {
            assert!(!matches_wildcard(pattern, tag), "{pattern} {tag}");
        }
    }
}
