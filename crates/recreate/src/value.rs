//! JSON as engines write it: nothing, null, an empty text, list or object are the same to them.

use serde_json::{Map, Value};

/// Whether it says nothing.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether both say the same. Zero and false are not nothing: to an engine they may be a choice.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        // A key that is there may mean something by itself, such as the place of a tmpfs without options.
        (Value::Object(a), Value::Object(b)) => {
            a.keys()
                .chain(b.keys())
                .all(|key| match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => same(a, b),
                    (one, other) => one.or(other).is_none_or(Value::is_null),
                })
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (a, b) => a == b || (is_empty(a) && is_empty(b)),
    }
}

/// A text, or an empty one.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The texts of a list.
pub(crate) fn texts(value: Option<&Value>) -> Vec<&str> {
    let items = value.and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// An object's entries; none where there is no object.
pub(crate) fn entries(value: Option<&Value>) -> Map<String, Value> {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}

/// `KEY=VALUE` as an object; a key without a sign is one that was taken away.
pub(crate) fn environment(value: Option<&Value>) -> Map<String, Value> {
    let pairs = texts(value).into_iter();
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) => (key.to_owned(), Value::from(value)),
            None => (pair.to_owned(), Value::Null),
        })
        .collect()
}

/// The address that Docker makes of an IPv4 address where it is given none.
pub(crate) fn mac_of(address: &str) -> Option<String> {
    let parts: Vec<u8> = address
        .split('.')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let [a, b, c, d] = parts.try_into().ok()?;
    Some(format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}"))
}
