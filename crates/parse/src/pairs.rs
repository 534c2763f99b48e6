//! Lines of a name and a number, as `/proc/vmstat` and many small kernel files have them.

use crate::problem::{Parsed, Problems, excerpt};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Pair {
    /// The first word.
    pub name: String,
    /// The number after it.
    pub value: u64,
}

/// Reads every line whose name is wanted; of the others not even the number is looked at.
pub fn parse(text: &str, is_wanted: impl Fn(&str) -> bool) -> Parsed<Vec<Pair>> {
    let mut problems = Problems::default();
    let mut pairs = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split_ascii_whitespace();
        let Some(name) = words.next().filter(|name| is_wanted(name)) else {
            continue;
        };
        match (words.next().and_then(|word| word.parse().ok()), words.next()) {
            (Some(value), None) => pairs.push(Pair {
                name: name.to_owned(),
                value,
            }),
            _ => problems.at_index(
                index,
                format!("expected a name and a number, found \"{}\"", excerpt(line)),
            ),
        }
    }
    problems.with(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wanted_is_read_and_a_bad_number_is_located() {
        let parsed = parse("pgpgin 7\nnr_free x\npgpgout x\n\npgfault 1 2\n", |name| {
            name.starts_with("pg")
        });
        assert_eq!(parsed.value.len(), 1);
        let lines: Vec<_> = parsed.problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [Some(3), Some(5)]);
    }
}
