//! The Prometheus text format 0.0.4, as people's scripts write it for `node_exporter`'s textfile collector.
//!
//! prometheus.io/docs/instrumenting/exposition_formats. Samples, `# TYPE` and `# HELP`; a sample with a time of its own
//! is refused, as `node_exporter` refuses it, because it would claim to be something that was read now.

use std::collections::BTreeMap;

use crate::problem::{Parsed, Problems, excerpt};

/// Most samples kept of one text.
pub const SAMPLES_MAX: usize = 5_000;

/// What a family says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum Kind {
    /// `counter`, and the parts of histograms and summaries that only grow.
    Counter,
    /// `gauge`.
    Gauge,
    /// `untyped`, or nothing said.
    Untyped,
}

/// One line.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Sample {
    /// The metric's name.
    pub name: String,
    /// Its labels, in the order written.
    pub labels: Vec<(String, String)>,
    /// The number.
    pub value: f64,
    /// What its family says it is.
    pub kind: Kind,
}

/// Reads every line.
pub fn parse(text: &str) -> Parsed<Vec<Sample>> {
    let mut problems = Problems::default();
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut samples = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix('#') {
            let mut words = comment.split_ascii_whitespace();
            if words.next() == Some("TYPE")
                && let (Some(name), Some(kind)) = (words.next(), words.next())
            {
                kinds.insert(name, kind);
            }
            continue;
        }
        if line.is_empty() {
            continue;
        }
        if SAMPLES_MAX <= samples.len() {
            problems.overall(format!("more than {SAMPLES_MAX} samples: the rest is left out"));
            break;
        }
        match parse_sample(line) {
            Ok((name, labels, value)) => samples.push(Sample {
                kind: kind_of(&kinds, name),
                name: name.to_owned(),
                labels,
                value,
            }),
            Err(message) => problems.at_index(index, format!("{message}, found \"{}\"", excerpt(line))),
        }
    }
    problems.with(samples)
}

fn kind_of(kinds: &BTreeMap<&str, &str>, name: &str) -> Kind {
    match kinds.get(name) {
        Some(&"counter") => return Kind::Counter,
        Some(&"gauge" | &"summary") => return Kind::Gauge,
        Some(_) => return Kind::Untyped,
        None => {}
    }
    let is_part = ["_bucket", "_count", "_sum"].iter().any(|end| {
        name.strip_suffix(end)
            .is_some_and(|family| matches!(kinds.get(family), Some(&"histogram" | &"summary")))
    });
    if is_part { Kind::Counter } else { Kind::Untyped }
}

/// Labels, and what follows them.
type Labels<'a> = (Vec<(String, String)>, &'a str);
/// Name, labels and number.
type Line<'a> = (&'a str, Vec<(String, String)>, f64);

fn parse_sample(line: &str) -> Result<Line<'_>, &'static str> {
    let end = line
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        .ok_or("expected a number after the name")?;
    let (name, rest) = line.split_at(end);
    if !is_name(name) {
        return Err("expected a metric's name");
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => parse_labels(inside)?,
        None => (Vec::new(), rest),
    };
    let mut words = rest.split_ascii_whitespace();
    let value = words.next().and_then(number).ok_or("expected a number")?;
    match words.next() {
        None => Ok((name, labels, value)),
        Some(_) => Err("samples with a time of their own are not taken"),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// Rust reads the format's `Inf` and `NaN`, but also words the format does not have.
fn number(word: &str) -> Option<f64> {
    let is_number = word.bytes().any(|byte| byte.is_ascii_digit());
    let is_word = matches!(word, "NaN" | "Inf" | "+Inf" | "-Inf");
    (is_number || is_word).then(|| word.parse().ok())?
}

/// Reads up to the closing brace; gives back what follows it.
fn parse_labels(text: &str) -> Result<Labels<'_>, &'static str> {
    let mut labels = Vec::new();
    let mut rest = text.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        let (name, after) = rest.split_once('=').ok_or("expected a label")?;
        let name = name.trim();
        let is_label = is_name(name)
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let quoted = after.trim_start().strip_prefix('"').filter(|_| is_label);
        let (value, after) = parse_value(quoted.ok_or("expected a label")?)?;
        labels.push((name.to_owned(), value));
        rest = after.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if rest.starts_with('}') => rest,
            None => return Err("expected a comma or a brace after a label"),
        };
    }
}

/// Reads up to the closing quote, past escapes.
fn parse_value(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((place, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[place + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped)) => value.push(escaped),
                None => break,
            },
            _ => value.push(c),
        }
    }
    Err("expected a closing quote")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_labels_escapes_and_types_are_read() {
        let text = "# HELP a_total x\n# TYPE a_total counter\na_total{b=\"c \\\"d\\\" \\\\ \\n}\" , e=\"\",} 1e3\n\
                    # TYPE h histogram\nh_bucket{le=\"+Inf\"} 4\nh_sum 2.5\nplain NaN\n";
        let parsed = parse(text);
        assert_eq!(parsed.problems, []);
        assert_eq!(parsed.value[0].labels[0].1, "c \"d\" \\ \n}");
        assert_eq!(
            (parsed.value[0].value, parsed.value[0].kind),
            (1000.0, Kind::Counter)
        );
        assert_eq!(parsed.value[1].kind, Kind::Counter);
        assert_eq!(parsed.value[3].kind, Kind::Untyped);
        assert!(parsed.value[3].value.is_nan());
    }

    #[test]
    fn what_is_no_sample_is_located_and_the_others_are_kept() {
        let text = "good 1\n1bad 2\nbad{x=1} 2\nbad{x=\"1\" 2\nbad{x=\"1} 2\ntimed 1 1700000000000\nnothing\nword inf\nlast 2\n";
        let parsed = parse(text);
        let names: Vec<&str> = parsed.value.iter().map(|sample| sample.name.as_str()).collect();
        assert_eq!(names, ["good", "last"]);
        assert_eq!(parsed.problems.len(), 7);
    }

    #[test]
    fn more_samples_than_the_bound_are_left_out_with_a_problem() {
        let text: String = (0..SAMPLES_MAX + 10)
            .map(|n| format!("m{{n=\"{n}\"}} 1\n"))
            .collect();
        let parsed = parse(&text);
        assert_eq!((parsed.value.len(), parsed.problems.len()), (SAMPLES_MAX, 1));
    }
}
