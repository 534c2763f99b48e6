//! Reading the fields of a JSON object one by one, so that every problem is named with its field, and all of them are.

use serde::Serialize;
use serde_json::{Map, Value};

/// Most problems told of one body.
const PROBLEMS_MAX: usize = 50;

/// A field that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldProblem {
    /// Its name; for what lies deeper, with dots, such as `scope.tags`. `body` if it is the whole.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// A JSON object of which fields are taken.
pub(crate) struct Fields {
    prefix: String,
    left: Map<String, Value>,
    problems: Vec<FieldProblem>,
}

impl Fields {
    /// Reads an object; anything else is a problem of `body`.
    pub(crate) fn of(value: Value) -> Result<Self, Vec<FieldProblem>> {
        match value {
            Value::Object(left) => Ok(Self {
                prefix: String::new(),
                left,
                problems: Vec::new(),
            }),
            other => Err(vec![FieldProblem {
                field: "body".to_owned(),
                message: format!("an object is expected, this is {}", kind(&other)),
            }]),
        }
    }

    pub(crate) fn problem(&mut self, field: &str, message: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(FieldProblem {
                field: format!("{}{field}", self.prefix),
                message: message.into(),
            });
        }
    }

    pub(crate) fn has(&self, field: &str) -> bool {
        self.left.get(field).is_some_and(|value| !value.is_null())
    }

    /// Takes a field by its first name that is there; null is absent. Two names of one field at once are a problem.
    pub(crate) fn take(&mut self, names: &[&'static str]) -> Option<(&'static str, Value)> {
        let mut found: Option<(&'static str, Value)> = None;
        for name in names {
            let Some(value) = self.left.remove(*name).filter(|value| !value.is_null()) else {
                continue;
            };
            match &found {
                Some((other, _)) => {
                    let message = format!("is the same as {other}, give one of them");
                    self.problem(name, message);
                }
                None => found = Some((name, value)),
            }
        }
        found
    }

    pub(crate) fn text(&mut self, names: &[&'static str], chars_max: usize) -> Option<String> {
        let (name, value) = self.take(names)?;
        match value {
            Value::String(text) if text.chars().count() <= chars_max => Some(text),
            Value::String(text) => {
                let chars = text.chars().count();
                self.problem(
                    name,
                    format!("is {chars} characters long, at most {chars_max} are taken"),
                );
                None
            }
            other => {
                self.problem(name, format!("a text is expected, this is {}", kind(&other)));
                None
            }
        }
    }

    pub(crate) fn number(&mut self, names: &[&'static str]) -> Option<f64> {
        let (name, value) = self.take(names)?;
        // Forms and query strings bring numbers as text.
        let number = match &value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number.filter(|number| number.is_finite()) {
            Some(number) => Some(number),
            None => {
                self.problem(
                    name,
                    format!("a finite number is expected, this is {}", kind(&value)),
                );
                None
            }
        }
    }

    pub(crate) fn flag(&mut self, names: &[&'static str]) -> Option<bool> {
        let (name, value) = self.take(names)?;
        match &value {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) if text == "true" => Some(true),
            Value::String(text) if text == "false" => Some(false),
            other => {
                self.problem(
                    name,
                    format!("true or false is expected, this is {}", kind(other)),
                );
                None
            }
        }
    }

    /// A word of a list.
    pub(crate) fn word<T>(
        &mut self,
        names: &[&'static str],
        read: impl Fn(&str) -> Option<T>,
        known: &[&str],
    ) -> Option<T> {
        let (name, value) = self.take(names)?;
        let Value::String(text) = &value else {
            let message = format!(
                "one of {} is expected, this is {}",
                known.join(", "),
                kind(&value)
            );
            self.problem(name, message);
            return None;
        };
        let read = read(text);
        if read.is_none() {
            self.problem(
                name,
                format!("one of {} is expected, not {}", known.join(", "), quoted(text)),
            );
        }
        read
    }

    /// A duration in ms: a text such as `10m` or `1h 30m`, or a number of seconds.
    pub(crate) fn duration_ms(&mut self, names: &[&'static str], max_ms: i64) -> Option<i64> {
        let (name, value) = self.take(names)?;
        let read = match &value {
            Value::String(text) => match text.trim().parse::<f64>() {
                Ok(seconds) => Some(seconds * 1_000.0),
                Err(_) => humantime::parse_duration(text.trim())
                    .ok()
                    .map(|duration| duration.as_secs_f64() * 1_000.0),
            },
            Value::Number(number) => number.as_f64().map(|seconds| seconds * 1_000.0),
            _ => None,
        };
        match read {
            Some(ms) if (0.0..=max_ms as f64).contains(&ms) => Some(ms as i64),
            Some(_) => {
                let max = written_duration(max_ms);
                self.problem(name, format!("a duration from 0 to {max} is expected"));
                None
            }
            None => {
                self.problem(
                    name,
                    format!(
                        "a duration such as \"10m\", or a number of seconds, is expected, this is {}",
                        kind(&value)
                    ),
                );
                None
            }
        }
    }

    /// A list, of which each entry is read.
    pub(crate) fn list<T>(
        &mut self,
        names: &[&'static str],
        count_max: usize,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<Vec<T>> {
        let (name, value) = self.take(names)?;
        let Value::Array(values) = value else {
            self.problem(name, format!("a list is expected, this is {}", kind(&value)));
            return None;
        };
        if count_max < values.len() {
            self.problem(
                name,
                format!("has {} entries, at most {count_max} are taken", values.len()),
            );
            return None;
        }
        let mut entries = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            match read(value) {
                Some(entry) => entries.push(entry),
                None => self.problem(
                    &format!("{name}[{index}]"),
                    format!("{expected} is expected, this is {}", kind(value)),
                ),
            }
        }
        Some(entries)
    }

    /// An object inside, read by `read`; its problems become ours.
    pub(crate) fn inside<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Fields) -> T) -> Option<T> {
        let (_, value) = self.take(&[name])?;
        let Value::Object(left) = value else {
            self.problem(name, format!("an object is expected, this is {}", kind(&value)));
            return None;
        };
        let mut fields = Self {
            prefix: format!("{}{name}.", self.prefix),
            left,
            problems: Vec::new(),
        };
        let read = read(&mut fields);
        fields.refuse_rest();
        let room = PROBLEMS_MAX.saturating_sub(self.problems.len());
        self.problems.extend(fields.problems.into_iter().take(room));
        Some(read)
    }

    fn refuse_rest(&mut self) {
        let rest: Vec<String> = self.left.keys().take(PROBLEMS_MAX).cloned().collect();
        for name in rest {
            let shown: String = name.chars().take(64).collect();
            self.problem(&shown, "there is no such field");
        }
    }

    /// Ends the reading: what was read, if there is no problem and nothing is left.
    pub(crate) fn finish<T>(mut self, read: Option<T>) -> Result<T, Vec<FieldProblem>> {
        self.refuse_rest();
        match read {
            Some(read) if self.problems.is_empty() => Ok(read),
            _ => Err(self.problems),
        }
    }
}

/// What a value is, for people.
pub(crate) fn kind(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) => "true or false".to_owned(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => quoted(text),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// A text in quotes, cut to what can be read.
pub(crate) fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(64).collect();
    format!("{cut:?}")
}

/// A duration as people write it.
pub(crate) fn written_duration(ms: i64) -> String {
    let duration = std::time::Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    humantime::format_duration(duration).to_string()
}
