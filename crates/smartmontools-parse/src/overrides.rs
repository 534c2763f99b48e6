//! What somebody has decided about one drive, against the rules for all.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Decisions about one drive. They soften and sharpen warnings; what the drive itself calls failed stays failed, and
/// what could not be read stays unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Overrides {
    /// Codes of reasons ([`crate::Reason::code`]) that are notes from now on.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub ignore: BTreeSet<String>,
    /// Rules for single ATA attributes, by number.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<u8, AttributeRule>,
    /// Degrees Celsius from which the drive is too warm, instead of its own limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_warning: Option<i64>,
    /// Degrees Celsius from which the drive is in danger, instead of its own limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature_critical: Option<i64>,
}

/// A rule for one attribute. Its limits take the place of the usual judgement of its count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttributeRule {
    /// Whatever it says is a note.
    #[serde(skip_serializing_if = "is_false")]
    pub ignore: bool,
    /// Raw count from which it is a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<u64>,
    /// Raw count from which it is critical.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub critical: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl AttributeRule {
    /// Whether it has a limit.
    pub(crate) const fn has_limits(self) -> bool {
        self.warning.is_some() || self.critical.is_some()
    }
}

impl Overrides {
    /// Most codes and most attributes: more is no decision about a drive but a mistake.
    pub const ENTRIES_MAX: usize = 64;

    /// Whether nothing is decided.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is wrong with it, if anything: the field and the words.
    ///
    /// # Errors
    /// The first mistake.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if Self::ENTRIES_MAX < self.ignore.len() {
            return Err((
                "ignore",
                format!("at most {} codes can be ignored", Self::ENTRIES_MAX),
            ));
        }
        let is_code = |code: &String| {
            (1..=64).contains(&code.len())
                && code
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit())
        };
        if let Some(code) = self.ignore.iter().find(|code| !is_code(code)) {
            return Err((
                "ignore",
                format!("{code:.64?} is no code of a reason, such as crc_errors"),
            ));
        }
        if Self::ENTRIES_MAX < self.attributes.len() {
            return Err((
                "attributes",
                format!("at most {} attributes can have rules", Self::ENTRIES_MAX),
            ));
        }
        for (id, rule) in &self.attributes {
            if rule.ignore && rule.has_limits() {
                return Err((
                    "attributes",
                    format!("attribute {id} cannot be ignored and have limits"),
                ));
            }
            if !rule.ignore && !rule.has_limits() {
                return Err((
                    "attributes",
                    format!("attribute {id} has a rule that says nothing"),
                ));
            }
            if let (Some(warning), Some(critical)) = (rule.warning, rule.critical)
                && critical < warning
            {
                return Err((
                    "attributes",
                    format!("attribute {id} is critical before it is a warning"),
                ));
            }
        }
        let is_limit = |limit: Option<i64>| limit.is_none_or(|celsius| (1..=125).contains(&celsius));
        if !is_limit(self.temperature_warning) {
            return Err((
                "temperature_warning",
                "from 1 to 125 degrees Celsius is possible".to_owned(),
            ));
        }
        if !is_limit(self.temperature_critical) {
            return Err((
                "temperature_critical",
                "from 1 to 125 degrees Celsius is possible".to_owned(),
            ));
        }
        if let (Some(warning), Some(critical)) = (self.temperature_warning, self.temperature_critical)
            && critical < warning
        {
            return Err(("temperature_critical", "it lies below the warning".to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named() {
        let of = |text: &str| {
            serde_json::from_str::<Overrides>(text)
                .unwrap()
                .check()
                .map_err(|(field, _)| field)
        };
        assert_eq!(of("{}"), Ok(()));
        assert_eq!(
            of(r#"{"ignore":["crc_errors"],"attributes":{"5":{"warning":10,"critical":50}}}"#),
            Ok(())
        );
        assert_eq!(of(r#"{"ignore":["Robert'); DROP"]}"#), Err("ignore"));
        assert_eq!(of(r#"{"attributes":{"5":{}}}"#), Err("attributes"));
        assert_eq!(
            of(r#"{"attributes":{"5":{"ignore":true,"warning":1}}}"#),
            Err("attributes")
        );
        assert_eq!(
            of(r#"{"attributes":{"5":{"warning":9,"critical":1}}}"#),
            Err("attributes")
        );
        assert_eq!(of(r#"{"temperature_warning":0}"#), Err("temperature_warning"));
        assert_eq!(
            of(r#"{"temperature_warning":60,"temperature_critical":50}"#),
            Err("temperature_critical")
        );
        assert!(serde_json::from_str::<Overrides>(r#"{"attributes":{"256":{"ignore":true}}}"#).is_err());
        assert!(serde_json::from_str::<Overrides>(r#"{"igonre":[]}"#).is_err());
    }
}
