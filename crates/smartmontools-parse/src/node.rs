//! Reading a JSON object field by field, so that a field of the wrong type costs only itself.

use serde_json::{Map, Value};

use crate::problem::Problems;

/// The most elements taken of one list. The longest smartctl prints are the SCT temperature history (478) and
/// logs of some hundred entries; what is longer is cut and noted.
const ELEMENTS_MAX: usize = 1024;

/// An object of the document with its path.
#[derive(Clone)]
pub(crate) struct Node<'a> {
    path: String,
    object: &'a Map<String, Value>,
    problems: &'a Problems,
}

impl<'a> Node<'a> {
    /// The whole document.
    pub(crate) fn root(object: &'a Map<String, Value>, problems: &'a Problems) -> Self {
        Self {
            path: String::new(),
            object,
            problems,
        }
    }

    /// Whether the object has this key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.object.contains_key(key)
    }

    /// Notes a problem if none of these keys is there, where an object without them tells nothing.
    pub(crate) fn expect_one_of(&self, keys: &[&str]) {
        if !keys.iter().any(|key| self.has(key)) {
            self.problem(keys[0], format!("expected {}, found nothing", keys.join(" or ")));
        }
    }

    /// An object below this one that tells nothing without one of these keys.
    pub(crate) fn node_with(&self, key: &str, keys: &[&str]) -> Option<Node<'a>> {
        self.node(key).inspect(|node| node.expect_one_of(keys))
    }

    /// An object below this one.
    pub(crate) fn node(&self, key: &str) -> Option<Node<'a>> {
        match self.object.get(key)? {
            Value::Null => None,
            Value::Object(object) => Some(Node {
                path: self.path_of(key),
                object,
                problems: self.problems,
            }),
            other => self.refuse(key, "an object", other),
        }
    }

    /// A list of objects below this one; nulls in it are holes and are passed over.
    pub(crate) fn nodes(&self, key: &str) -> Vec<Node<'a>> {
        let mut nodes = Vec::new();
        for (index, element) in self.list(key).iter().enumerate() {
            let path = format!("{}[{index}]", self.path_of(key));
            match element {
                Value::Null => {}
                Value::Object(object) => nodes.push(Node {
                    path,
                    object,
                    problems: self.problems,
                }),
                other => self
                    .problems
                    .at(&path, format!("expected an object, found {}", short(other))),
            }
        }
        nodes
    }

    /// A list of texts below this one.
    pub(crate) fn texts(&self, key: &str) -> Vec<String> {
        self.list(key)
            .iter()
            .filter_map(|element| self.element(key, element, "a text", as_text))
            .collect()
    }

    /// A list of whole numbers below this one; nulls are passed over.
    pub(crate) fn numbers(&self, key: &str) -> Vec<i64> {
        self.list(key)
            .iter()
            .filter_map(|element| self.element(key, element, "a whole number", as_signed))
            .collect()
    }

    /// A text, trimmed; absent when empty.
    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.field(key, "a text", as_text).filter(|text| !text.is_empty())
    }

    /// A whole number that is not negative, also when quoted.
    pub(crate) fn unsigned(&self, key: &str) -> Option<u64> {
        self.field(key, "a whole number that is not negative", as_unsigned)
    }

    /// A whole number.
    pub(crate) fn signed(&self, key: &str) -> Option<i64> {
        self.field(key, "a whole number", as_signed)
    }

    /// Any number, also when quoted (`"gigabytes_processed": "111593.179"`).
    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        self.field(key, "a number", as_number)
    }

    /// A yes or no.
    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        self.field(key, "true or false", Value::as_bool)
    }

    /// The raw value, for fields of more than one form.
    pub(crate) fn value(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// Notes a problem of a field.
    pub(crate) fn problem(&self, key: &str, message: impl Into<String>) {
        self.problems.at(&self.path_of(key), message);
    }

    fn list(&self, key: &str) -> &'a [Value] {
        match self.object.get(key) {
            None | Some(Value::Null) => &[],
            Some(Value::Array(list)) if list.len() <= ELEMENTS_MAX => list,
            Some(Value::Array(list)) => {
                self.problem(
                    key,
                    format!("{} elements, only the first {ELEMENTS_MAX} are read", list.len()),
                );
                &list[..ELEMENTS_MAX]
            }
            Some(other) => self.refuse::<&[Value]>(key, "a list", other).unwrap_or_default(),
        }
    }

    fn element<T>(
        &self,
        key: &str,
        element: &Value,
        wanted: &str,
        read: fn(&Value) -> Option<T>,
    ) -> Option<T> {
        if element.is_null() {
            return None;
        }
        read(element).or_else(|| self.refuse(key, wanted, element))
    }

    fn field<T>(&self, key: &str, wanted: &str, read: fn(&Value) -> Option<T>) -> Option<T> {
        let value = self.value(key)?;
        read(value).or_else(|| self.refuse(key, wanted, value))
    }

    fn refuse<T>(&self, key: &str, wanted: &str, found: &Value) -> Option<T> {
        self.problem(key, format!("expected {wanted}, found {}", short(found)));
        None
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

fn as_text(value: &Value) -> Option<String> {
    value.as_str().map(|text| text.trim().to_owned())
}

fn as_unsigned(value: &Value) -> Option<u64> {
    match value {
        // Counters of 128 bits come as numbers too large for 64; as a float they lose digits, not size.
        Value::Number(number) => number
            .as_u64()
            .or_else(|| whole(number.as_f64()?).filter(|_| !number.is_i64())),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// The number when it is whole and not negative, at most the largest `u64`.
fn whole(number: f64) -> Option<u64> {
    // The cast saturates, which is what a counter beyond 64 bits should do.
    (0.0 <= number && number.fract() == 0.0).then_some(number as u64)
}

fn as_signed(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn as_number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite())
}

/// The start of a value as JSON, short enough for a message.
fn short(value: &Value) -> String {
    const CHARS_MAX: usize = 40;
    let text = match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    };
    if text.chars().nth(CHARS_MAX).is_none() {
        return text;
    }
    text.chars().take(CHARS_MAX).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(json: &str, read: impl FnOnce(&Node<'_>) -> T) -> (T, usize) {
        let document: Value = serde_json::from_str(json).unwrap();
        let problems = Problems::default();
        let value = read(&Node::root(document.as_object().unwrap(), &problems));
        (value, problems.into_vec().len())
    }

    #[test]
    fn counters_beyond_64_bits_saturate_and_negative_ones_are_refused() {
        assert_eq!(
            read(r#"{"a":99999999999999999999999}"#, |node| node.unsigned("a")),
            (Some(u64::MAX), 0)
        );
        assert_eq!(read(r#"{"a":"17"}"#, |node| node.unsigned("a")), (Some(17), 0));
        assert_eq!(read(r#"{"a":-1}"#, |node| node.unsigned("a")), (None, 1));
        assert_eq!(read(r#"{"a":1.5}"#, |node| node.unsigned("a")), (None, 1));
    }

    #[test]
    fn null_and_missing_are_absent_without_a_problem() {
        assert_eq!(
            read(r#"{"a":null}"#, |node| (node.unsigned("a"), node.text("b"))),
            ((None, None), 0)
        );
        assert_eq!(read(r#"{"a":[null,{}]}"#, |node| node.nodes("a").len()), (1, 0));
    }

    #[test]
    fn overlong_lists_are_cut_and_noted() {
        let json = format!(r#"{{"a":[{}1]}}"#, "1,".repeat(5000));
        assert_eq!(read(&json, |node| node.numbers("a").len()), (ELEMENTS_MAX, 1));
    }
}
