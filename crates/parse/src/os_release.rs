//! `/etc/os-release`: which distribution this is.
//!
//! os-release(5): shell-like assignments, values bare or in single or double quotes, `\` escaping inside double
//! quotes. Nothing is expanded.

use std::collections::BTreeMap;

use crate::problem::{Parsed, Problems, excerpt};

/// The assignments of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct OsRelease {
    /// Each variable with its value unquoted.
    pub values: BTreeMap<String, String>,
}

impl OsRelease {
    /// One variable's value, absent when empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// `ID`, for example `debian`; os-release(5) says to take `linux` for a file without it.
    pub fn id(&self) -> &str {
        self.get("ID").unwrap_or("linux")
    }

    /// `VERSION_ID`, for example `12`.
    pub fn version_id(&self) -> Option<&str> {
        self.get("VERSION_ID")
    }

    /// The name to show: `PRETTY_NAME`, else `NAME`, else what os-release(5) says to take.
    pub fn pretty_name(&self) -> &str {
        self.get("PRETTY_NAME")
            .or_else(|| self.get("NAME"))
            .unwrap_or("Linux")
    }
}

/// Reads every assignment; blank lines and comments are passed over.
pub fn parse(text: &str) -> Parsed<OsRelease> {
    let mut problems = Problems::default();
    let mut values = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line
            .split_once('=')
            .and_then(|(name, value)| Some((checked_name(name)?, unquote(value)?)))
        {
            Some((name, value)) => {
                values.insert(name.to_owned(), value);
            }
            None => problems.at_index(index, format!("expected NAME=value, found \"{}\"", excerpt(line))),
        }
    }
    problems.with(OsRelease { values })
}

fn checked_name(name: &str) -> Option<&str> {
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.is_empty();
    is_name.then_some(name)
}

/// Takes quotes off; `None` when a quote is not closed.
fn unquote(value: &str) -> Option<String> {
    if let Some(rest) = value.strip_prefix('\'') {
        return rest.strip_suffix('\'').map(str::to_owned);
    }
    let Some(rest) = value.strip_prefix('"') else {
        return Some(value.to_owned());
    };
    let mut chars = rest.chars();
    let mut plain = String::with_capacity(rest.len());
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(plain),
            '\\' => plain.push(chars.next()?),
            other => plain.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_escapes_are_taken_off() {
        let parsed =
            parse("# comment\n\nPRETTY_NAME=\"Debian \\\"12\\\"\"\nID=debian\nX='a b'\nVERSION_ID=\"12\"\n");
        assert_eq!(parsed.value.pretty_name(), "Debian \"12\"");
        assert_eq!(parsed.value.id(), "debian");
        assert_eq!(parsed.value.version_id(), Some("12"));
        assert_eq!(parsed.value.get("X"), Some("a b"));
        assert!(parsed.problems.is_empty());
    }

    #[test]
    fn an_empty_file_gives_the_documented_defaults() {
        let parsed = parse("");
        assert_eq!(
            (parsed.value.id(), parsed.value.pretty_name()),
            ("linux", "Linux")
        );
    }

    #[test]
    fn odd_lines_are_located() {
        let parsed = parse("ID=x\nnonsense\nNAME=\"open\nA B=1\n");
        let lines: Vec<_> = parsed.problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [Some(2), Some(3), Some(4)]);
    }
}
