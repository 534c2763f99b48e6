//! Reading fields of a JSON object one by one, so that a field of the wrong type costs only itself.

use serde_json::{Map, Value};

use crate::problem::{Problems, excerpt};

/// One object and the problems met while reading it.
pub(crate) struct Fields<'a> {
    /// What the object is called in messages.
    pub(crate) subject: &'a str,
    pub(crate) object: &'a Map<String, Value>,
    pub(crate) problems: &'a mut Problems,
}

impl Fields<'_> {
    /// A trimmed text, absent when null, missing or empty. Numbers are taken as printed: some versions of a tool
    /// quote what others do not.
    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        match self.object.get(key)? {
            Value::Null => None,
            Value::String(text) => Some(text.trim())
                .filter(|text| !text.is_empty())
                .map(str::to_owned),
            Value::Number(number) => Some(number.to_string()),
            other => self.refuse(key, "a text", other),
        }
    }

    /// A whole number that is not negative, also when quoted.
    pub(crate) fn unsigned(&mut self, key: &str) -> Option<u64> {
        let value = self.object.get(key)?;
        let number = match value {
            Value::Null => return None,
            Value::Number(number) => number.as_u64(),
            Value::String(text) if text.trim().is_empty() => return None,
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.or_else(|| self.refuse(key, "a whole number", value))
    }

    /// A yes or no, also as 0 and 1, quoted or not.
    pub(crate) fn flag(&mut self, key: &str) -> Option<bool> {
        let value = self.object.get(key)?;
        match value {
            Value::Null => None,
            Value::Bool(flag) => Some(*flag),
            Value::Number(number) if number.as_u64() == Some(0) => Some(false),
            Value::Number(number) if number.as_u64() == Some(1) => Some(true),
            Value::String(text) => match text.trim() {
                "0" | "false" => Some(false),
                "1" | "true" => Some(true),
                "" => None,
                _ => self.refuse(key, "yes or no", value),
            },
            other => self.refuse(key, "yes or no", other),
        }
    }

    fn refuse<T>(&mut self, key: &str, wanted: &str, found: &Value) -> Option<T> {
        let found = excerpt(&found.to_string());
        self.problems.overall(format!(
            "{}: expected {wanted} in {key}, found {found}",
            self.subject
        ));
        None
    }
}
