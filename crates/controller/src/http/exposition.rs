//! Writing the Prometheus text format 0.0.4.
//!
//! Pure: families of rows in, text out, in pieces of bounded size, so that a fleet's worth of series is never one
//! string in memory. Knows nothing of where the rows come from.

use std::fmt::Write as _;
use std::sync::Arc;

use muster_model::MetricType;

/// The media type of the text format, with its version.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A piece is handed on when it has grown past this many bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// One line: a series and its value at a time.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// The metric's name.
    pub(super) name: Arc<str>,
    /// Label names and values, in the order they are written.
    pub(super) labels: Vec<(String, String)>,
    /// The value.
    pub(super) value: f64,
    /// Its time, Unix milliseconds; without one it holds when it is read.
    pub(super) time_ms: Option<i64>,
}

/// What stands above the rows of one metric.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'a> {
    /// One sentence; an empty one is left out.
    pub(super) help: &'a str,
    /// The metric's type.
    pub(super) metric_type: MetricType,
}

/// Writes rows, which must be grouped by name, as pieces of text. `head` is asked once for each name.
pub(super) fn pieces<H>(rows: Vec<Row>, head: H) -> impl Iterator<Item = String>
where
    H: Fn(&str) -> (String, MetricType),
{
    let mut rows = rows.into_iter();
    let mut current: Option<Arc<str>> = None;
    std::iter::from_fn(move || {
        let mut piece = String::new();
        for row in rows.by_ref() {
            if current.as_ref() != Some(&row.name) {
                let (help, metric_type) = head(&row.name);
                let head = Head {
                    help: &help,
                    metric_type,
                };
                write_head(&mut piece, &row.name, head);
                current = Some(Arc::clone(&row.name));
            }
            write_row(&mut piece, &row);
            if PIECE_BYTES < piece.len() {
                break;
            }
        }
        (!piece.is_empty()).then_some(piece)
    })
}

fn write_head(out: &mut String, name: &str, head: Head<'_>) {
    if !head.help.is_empty() {
        out.push_str("# HELP ");
        out.push_str(name);
        out.push(' ');
        escape(out, head.help, false);
        out.push('\n');
    }
    out.push_str("# TYPE ");
    out.push_str(name);
    out.push(' ');
    out.push_str(head.metric_type.as_str());
    out.push('\n');
}

fn write_row(out: &mut String, row: &Row) {
    out.push_str(&row.name);
    for (index, (name, value)) in row.labels.iter().enumerate() {
        out.push(if index == 0 { '{' } else { ',' });
        out.push_str(name);
        out.push_str("=\"");
        escape(out, value, true);
        out.push('"');
    }
    if !row.labels.is_empty() {
        out.push('}');
    }
    out.push(' ');
    write_value(out, row.value);
    match row.time_ms {
        Some(time_ms) => writeln!(out, " {time_ms}").expect("writing to a string does not fail"),
        None => out.push('\n'),
    }
}

/// Backslash and line feed are escaped everywhere, the quotation mark in label values only.
fn escape(out: &mut String, text: &str, quoted: bool) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quoted => out.push_str("\\\""),
            other => out.push(other),
        }
    }
}

/// Writes a value the way the format spells what JSON cannot: `NaN`, `+Inf`, `-Inf`.
pub(super) fn write_value(out: &mut String, value: f64) {
    if let Some(word) = special(value) {
        out.push_str(word);
    } else if value != 0.0 && !(1e-6..1e17).contains(&value.abs()) {
        write!(out, "{value:e}").expect("writing to a string does not fail");
    } else {
        write!(out, "{value}").expect("writing to a string does not fail");
    }
}

/// The word for a value that is not finite.
pub(super) fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value == f64::INFINITY {
        Some("+Inf")
    } else if value == f64::NEG_INFINITY {
        Some("-Inf")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(name: &str, labels: &[(&str, &str)], value: f64) -> Row {
        Row {
            name: name.into(),
            labels: labels
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            value,
            time_ms: Some(1_700_000_000_123),
        }
    }

    fn text(rows: Vec<Row>) -> String {
        pieces(rows, |name| (format!("Help of {name}."), MetricType::Gauge)).collect()
    }

    #[test]
    fn rows_stand_below_one_head_for_each_metric() {
        insta::assert_snapshot!(text(vec![
            row("node_load1", &[("instance", "a"), ("job", "node")], 0.25),
            row("node_load1", &[("instance", "b"), ("job", "node")], 3.0),
            row("up", &[], 1.0),
        ]));
    }

    #[test]
    fn hostile_label_values_are_escaped() {
        let written = text(vec![row("m", &[("l", "a\"b\\c\nd} 1\n")], 1.0)]);
        assert_eq!(
            written.lines().last().unwrap(),
            r#"m{l="a\"b\\c\nd} 1\n"} 1 1700000000123"#
        );
        assert_eq!(written.lines().count(), 3);
    }

    #[test]
    fn help_keeps_its_quotes_and_stays_on_one_line() {
        let written: String = pieces(vec![row("m", &[], 1.0)], |_| {
            ("a \"b\" \\ c\nd".to_owned(), MetricType::Counter)
        })
        .collect();
        assert_eq!(written.lines().next().unwrap(), r#"# HELP m a "b" \\ c\nd"#);
        assert_eq!(written.lines().nth(1).unwrap(), "# TYPE m counter");
    }

    #[test]
    fn values_that_are_not_finite_have_their_words() {
        let written = text(vec![
            row("m", &[], f64::NAN),
            row("m", &[], f64::INFINITY),
            row("m", &[], f64::NEG_INFINITY),
        ]);
        let values: Vec<_> = written
            .lines()
            .skip(2)
            .map(|line| line.split(' ').nth(1).unwrap())
            .collect();
        assert_eq!(values, ["NaN", "+Inf", "-Inf"]);
    }

    #[test]
    fn a_fleet_is_written_in_bounded_pieces() {
        let rows = vec![row("m", &[("l", &"v".repeat(200))], 1.0); 2_000];
        let all: Vec<String> = pieces(rows, |_| (String::new(), MetricType::Gauge)).collect();
        assert!(1 < all.len() && all.iter().all(|piece| piece.len() < PIECE_BYTES + 1_024));
        assert_eq!(all.concat().lines().count(), 2_001);
    }

    proptest! {
        #[test]
        fn every_finite_value_is_read_back_as_it_was(value in proptest::num::f64::NORMAL | proptest::num::f64::ZERO) {
            let mut out = String::new();
            write_value(&mut out, value);
            prop_assert_eq!(out.parse::<f64>().unwrap(), value);
        }
    }
}
