//! Lines of a name and several numbers, as `/proc/net/rpc/nfs` and the statistics of XFS have them.

use crate::problem::{Parsed, Problems, excerpt};

/// One line.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Row {
    /// The first word.
    pub name: String,
    /// The numbers after it.
    pub numbers: Vec<f64>,
}

/// Every line.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Rows {
    /// In the order of the text.
    pub rows: Vec<Row>,
}

impl Rows {
    /// The numbers of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[f64]> {
        self.rows
            .iter()
            .find(|row| row.name == name)
            .map(|row| row.numbers.as_slice())
    }
}

/// Reads every line.
pub fn parse(text: &str) -> Parsed<Rows> {
    let mut problems = Problems::default();
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split_ascii_whitespace();
        let Some(name) = words.next() else { continue };
        let numbers: Option<Vec<f64>> = words
            .map(|word| word.parse().ok().filter(|number: &f64| number.is_finite()))
            .collect();
        match numbers {
            Some(numbers) => rows.push(Row {
                name: name.to_owned(),
                numbers,
            }),
            None => problems.at_index(
                index,
                format!("expected a name and numbers, found \"{}\"", excerpt(line)),
            ),
        }
    }
    problems.with(Rows { rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_name_and_an_odd_line_is_located() {
        let parsed = parse("net 1 2 3\nth 8 0 0.5\nodd x\n\nempty\n");
        assert_eq!(parsed.value.get("th"), Some(&[8.0, 0.0, 0.5][..]));
        assert_eq!(parsed.value.get("empty"), Some(&[][..]));
        assert_eq!(parsed.value.get("odd"), None);
        assert_eq!(parsed.problems[0].line, Some(3));
    }
}
