//! What a label must be: `device="sda"`, `fstype!="tmpfs"`, `mountpoint=~"/srv/.*"`, `mountpoint!~"/run.*"`.

use std::fmt;

use muster_model::Labels;
use regex::Regex;

/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1_000;
/// Most memory a compiled pattern may take, in bytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// What one label must be. A label that is not there is empty, as in Prometheus.
#[derive(Debug, Clone)]
pub struct LabelMatcher {
    name: String,
    pattern: String,
    is_negative: bool,
    regex: Option<Regex>,
}

impl LabelMatcher {
    /// Reads `name="value"` and the like; the quotes may be left out.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let position = text.find(['=', '!']).ok_or("there is no = in it")?;
        let (name, rest) = text.split_at(position);
        let name = name.trim();
        let (is_negative, is_regex, value) = if let Some(value) = rest.strip_prefix("=~") {
            (false, true, value)
        } else if let Some(value) = rest.strip_prefix("!~") {
            (true, true, value)
        } else if let Some(value) = rest.strip_prefix("!=") {
            (true, false, value)
        } else if let Some(value) = rest.strip_prefix('=') {
            (false, false, value)
        } else {
            return Err("it needs one of = != =~ !~".to_owned());
        };
        let value = value.trim();
        let value = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'))
            .unwrap_or(value);
        Self::new(name, value, is_negative, is_regex)
    }

    /// A matcher of these parts.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn new(name: &str, value: &str, is_negative: bool, is_regex: bool) -> Result<Self, String> {
        if Labels::new(&[(name, "")]).is_err() {
            return Err("the name of the label is none".to_owned());
        }
        if PATTERN_BYTES_MAX < value.len() {
            return Err(format!("the value is longer than {PATTERN_BYTES_MAX} bytes"));
        }
        let regex = if is_regex {
            let built = regex::RegexBuilder::new(&format!("^(?s:{value})$"))
                .size_limit(COMPILED_BYTES_MAX)
                .build();
            Some(built.map_err(|error| {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                format!("the pattern is none: {}", last.trim_start_matches("error: "))
            })?)
        } else {
            None
        };
        Ok(Self {
            name: name.to_owned(),
            pattern: value.to_owned(),
            is_negative,
            regex,
        })
    }

    /// Whether labels are as they must be.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.name).unwrap_or_default();
        let is_match = match &self.regex {
            Some(regex) => regex.is_match(value),
            None => self.pattern == value,
        };
        is_match != self.is_negative
    }
}

impl fmt::Display for LabelMatcher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match (self.is_negative, self.regex.is_some()) {
            (false, false) => "=",
            (true, false) => "!=",
            (false, true) => "=~",
            (true, true) => "!~",
        };
        write!(formatter, "{}{sign}\"{}\"", self.name, self.pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_read_and_written_and_judge_whole_values() {
        let labels = Labels::of(&[("mountpoint", "/srv/data"), ("fstype", "ext4")]);
        for (text, expected) in [
            ("fstype=\"ext4\"", true),
            ("fstype=ext4", true),
            ("fstype != \"ext4\"", false),
            ("mountpoint=~\"/srv\"", false),
            ("mountpoint=~\"/srv/.*\"", true),
            ("mountpoint!~\"/srv/.*|/\"", false),
            ("device=\"\"", true),
            ("device!=\"\"", false),
        ] {
            let matcher = LabelMatcher::parse(text).unwrap();
            assert_eq!(matcher.matches(&labels), expected, "{text}");
            let again = LabelMatcher::parse(&matcher.to_string()).unwrap();
            assert_eq!(again.matches(&labels), expected, "{text} again");
        }
    }

    #[test]
    fn what_is_no_matcher_says_why() {
        for text in ["", "fstype", "=x", "a b=c", "fstype!x", "a=~\"(\"", "ä=b"] {
            assert!(LabelMatcher::parse(text).is_err(), "{text}");
        }
        assert!(LabelMatcher::new("a", &"x".repeat(1_001), false, false).is_err());
        assert!(LabelMatcher::new("a", "((a{1000}){1000}){1000}", false, true).is_err());
    }
}
