//! How answers look: a table for people, JSON or YAML for programs, all of the same value.
//!
//! JSON and YAML are what the controller answered, whole. A table shows chosen columns. Whatever came from elsewhere is
//! freed of control characters before a terminal sees it.

pub(crate) mod spark;
pub(crate) mod tree;

use std::io::{self, Write as _};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use crate::client::ClientError;

/// How an answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs: what the controller answered.
    Json,
    /// The same as YAML.
    Yaml,
}

/// A column of a table: its heading, and what it shows of an item.
pub(crate) struct Column {
    heading: &'static str,
    show: Box<dyn Fn(&Value) -> String>,
}

impl Column {
    /// Shows what `show` makes of an item.
    pub(crate) fn new(heading: &'static str, show: impl Fn(&Value) -> String + 'static) -> Self {
        Self {
            heading,
            show: Box::new(show),
        }
    }

    /// Shows a field as it is.
    pub(crate) fn field(heading: &'static str, field: &'static str) -> Self {
        Self::new(heading, move |item| word(&item[field]))
    }

    /// Shows a field that is a time, as how long ago or ahead that is.
    pub(crate) fn age(heading: &'static str, field: &'static str) -> Self {
        Self::new(heading, move |item| age(&item[field]))
    }
}

/// A value in one word or a few.
pub(crate) fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(word).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// How long ago a time is, or how far ahead.
pub(crate) fn age(value: &Value) -> String {
    let Some(time) = value
        .as_str()
        .and_then(|text| text.parse::<jiff::Timestamp>().ok())
    else {
        return word(value);
    };
    let seconds = jiff::Timestamp::now().duration_since(time).as_secs();
    let span = span(seconds.unsigned_abs());
    if seconds < 0 {
        format!("in {span}")
    } else {
        format!("{span} ago")
    }
}

/// A span of time in its greatest unit.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Bytes as makers of disks count them.
pub(crate) fn size(bytes: f64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes;
    let mut unit = 0;
    while 1000.0 <= value && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(value < 10.0 && 0 < unit);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// Text without what could steer a terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|character| {
            let is_odd = character.is_control() && character != '\n'
                || ('\u{202a}'..='\u{202e}').contains(&character)
                || ('\u{2066}'..='\u{2069}').contains(&character);
            if is_odd { '\u{fffd}' } else { character }
        })
        .collect()
}

impl Output {
    /// Shows a list.
    pub(crate) fn list(self, items: &[Value], columns: &[Column]) -> Result<(), ClientError> {
        match self {
            Self::Table if items.is_empty() => say("there is none"),
            Self::Table => print(&table(items, columns)),
            Self::Json | Self::Yaml => self.value(&Value::Array(items.to_vec())),
        }
    }

    /// Shows one thing: its fields below each other.
    pub(crate) fn one(self, item: &Value) -> Result<(), ClientError> {
        let Self::Table = self else {
            return self.value(item);
        };
        let mut table = plain();
        for (name, value) in item.as_object().into_iter().flatten() {
            let is_time = name.ends_with("_at") || name == "last_seen";
            let text = word(value);
            let text = if is_time && text != "-" {
                format!("{text} ({})", age(value))
            } else {
                text
            };
            table.add_row([clean(name), clean(&text)]);
        }
        print(&format!("{table}\n"))
    }

    /// Shows a value as it is.
    pub(crate) fn value(self, value: &Value) -> Result<(), ClientError> {
        let text = match self {
            Self::Json | Self::Table => {
                format!(
                    "{}\n",
                    serde_json::to_string_pretty(value).expect("a value is JSON")
                )
            }
            Self::Yaml => serde_norway::to_string(value).expect("what JSON can say YAML can say"),
        };
        print(&text)
    }
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// A table of these columns.
pub(crate) fn table(items: &[Value], columns: &[Column]) -> String {
    let mut table = plain();
    table.set_header(columns.iter().map(|column| column.heading));
    for item in items {
        table.add_row(columns.iter().map(|column| clean(&(column.show)(item))));
    }
    format!("{}\n", table.trim_fmt())
}

/// Writes an answer.
pub(crate) fn print(text: &str) -> Result<(), ClientError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|source| ClientError::Output { source }),
    }
}

/// Says something that is no answer: on standard error, so that a program that reads the answer is not disturbed.
pub(crate) fn say(text: &str) -> Result<(), ClientError> {
    writeln!(io::stderr(), "{}", clean(text)).map_err(|source| ClientError::Output { source })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_shows_what_is_chosen_and_steers_no_terminal() {
        let items = [
            json!({"id": 1, "name": "web\u{1b}[2J\u{202e}", "tags": ["a", "b"], "on": true}),
            json!({"id": 20, "name": "", "tags": [], "on": null}),
        ];
        let columns = [
            Column::field("ID", "id"),
            Column::field("NAME", "name"),
            Column::field("TAGS", "tags"),
            Column::field("ON", "on"),
        ];
        let shown = table(&items, &columns);
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'));
        let lines: Vec<Vec<&str>> = shown
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(lines[0], ["ID", "NAME", "TAGS", "ON"]);
        assert_eq!(lines[1], ["1", "web\u{fffd}[2J\u{fffd}", "a,b", "yes"]);
        assert_eq!(lines[2], ["20", "-", "-", "-"]);
    }

    #[test]
    fn spans_are_in_the_unit_people_would_take() {
        assert_eq!([5, 130, 7_300, 200_000].map(span), ["5 s", "2 min", "2 h", "2 d"]);
    }

    #[test]
    fn what_is_no_time_is_shown_as_it_is() {
        assert_eq!(age(&json!(null)), "-");
        assert_eq!(age(&json!("yesterday")), "yesterday");
        assert!(age(&json!("2020-01-01T00:00:00Z")).ends_with(" d ago"));
    }
}
