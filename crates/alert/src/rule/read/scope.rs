//! Reading what a rule is about.

use serde_json::Value;

use super::ENTRIES_MAX;
use crate::fields::{Fields, kind, quoted};
use crate::rule::{LabelMatcher, Scope, ServerMatch};

pub(super) fn read_scope(fields: &mut Fields) -> Scope {
    let servers = fields.list(
        &["servers"],
        ENTRIES_MAX,
        "the number or the name of a server",
        server_match,
    );
    let tags = fields.list(&["tags"], ENTRIES_MAX, "a tag", |value| {
        value.as_str().filter(|tag| !tag.is_empty()).map(str::to_owned)
    });
    let resources = fields.list(
        &["resources"],
        ENTRIES_MAX,
        "the number of a resource",
        Value::as_i64,
    );
    Scope {
        servers: servers.unwrap_or_default(),
        tags: tags.unwrap_or_default(),
        resources: resources.unwrap_or_default(),
        labels: read_labels(fields),
    }
}

fn server_match(value: &Value) -> Option<ServerMatch> {
    match value {
        Value::Number(number) => number.as_i64().map(ServerMatch::Id),
        Value::String(name) if !name.is_empty() => Some(ServerMatch::Name(name.clone())),
        _ => None,
    }
}

/// Labels: a list of matchers, or an object of values.
fn read_labels(fields: &mut Fields) -> Vec<LabelMatcher> {
    let Some((name, value)) = fields.take(&["labels"]) else {
        return Vec::new();
    };
    let mut matchers = Vec::new();
    let mut add = |fields: &mut Fields, place: String, read: Result<LabelMatcher, String>| match read {
        Ok(matcher) => matchers.push(matcher),
        Err(message) => fields.problem(&place, message),
    };
    match value {
        Value::Array(values) if values.len() <= ENTRIES_MAX => {
            for (index, value) in values.iter().enumerate() {
                let read = match value.as_str() {
                    Some(text) => LabelMatcher::parse(text),
                    None => Err(format!(
                        "a text such as device=\"sda\" is expected, this is {}",
                        kind(value)
                    )),
                };
                add(fields, format!("{name}[{index}]"), read);
            }
        }
        Value::Object(values) if values.len() <= ENTRIES_MAX => {
            for (label, value) in &values {
                let read = match value.as_str() {
                    Some(text) => LabelMatcher::new(label, text, false, false),
                    None => Err(format!("a text is expected, this is {}", kind(value))),
                };
                add(fields, format!("{name}.{}", quoted(label)), read);
            }
        }
        Value::Array(_) | Value::Object(_) => {
            fields.problem(name, format!("at most {ENTRIES_MAX} are taken"));
        }
        other => fields.problem(
            name,
            format!("a list or an object is expected, this is {}", kind(&other)),
        ),
    }
    matchers
}
