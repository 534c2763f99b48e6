//! The kernel's statistics of ZFS: `name type data` a line.
//!
//! `module/os/linux/spl/spl-kstat.c` of OpenZFS: a line of numbers about the file itself, a heading, then the fields. Of
//! the types 3 and 4 are whole numbers of 64 bits, 1 and 2 of 32, 5 and 6 fractions, 7 text to the end of the line.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::problem::{Parsed, Problems, excerpt};

/// Fields by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Kstat {
    /// Numbers.
    pub numbers: BTreeMap<String, f64>,
    /// Texts.
    pub texts: BTreeMap<String, String>,
}

/// Reads the fields.
#[must_use]
pub fn parse(text: &str) -> Parsed<Kstat> {
    let mut problems = Problems::default();
    let mut kstat = Kstat::default();
    let mut is_behind_heading = false;
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(kind)) = (words.next(), words.next()) else {
            continue;
        };
        if !is_behind_heading {
            is_behind_heading = name == "name" && kind == "type" && words.next() == Some("data");
            continue;
        }
        match (kind, words.next()) {
            ("7", _) => {
                // The text goes on to the end of the line and may hold blanks.
                let rest = line.trim_start().strip_prefix(name).map(str::trim_start);
                let rest = rest.and_then(|rest| rest.strip_prefix(kind));
                let value = rest.unwrap_or_default().trim().to_owned();
                kstat.texts.insert(name.to_owned(), value);
            }
            ("1" | "2" | "3" | "4" | "5" | "6", Some(word)) if finite(word).is_some() => {
                kstat
                    .numbers
                    .extend(finite(word).map(|number| (name.to_owned(), number)));
            }
            _ => problems.at_index(
                index,
                format!("expected name, type and data, found \"{}\"", excerpt(line)),
            ),
        }
    }
    if !is_behind_heading && !text.trim().is_empty() {
        problems.overall("the heading \"name type data\" is missing");
    }
    problems.with(kstat)
}

fn finite(word: &str) -> Option<f64> {
    word.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Reads the older form of a pool's I/O: names in one line, numbers in the next.
#[must_use]
pub fn parse_io(text: &str) -> BTreeMap<String, f64> {
    let mut names: Vec<&str> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        if words.first() == Some(&"nread") {
            names = words;
        } else if !names.is_empty() {
            return names
                .into_iter()
                .zip(words)
                .filter_map(|(name, word)| Some((name.to_owned(), finite(word)?)))
                .collect();
        }
    }
    BTreeMap::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_are_read_and_an_odd_line_is_located() {
        let text = "22 1 0x01 7 2160 54970386530 83979314345\nname                            type data\n\
                    dataset_name                    7    tank/with  space\nwrites  4  18446744073709551615\n\
                    delta 3 -5\nodd 4 many\n";
        let parsed = parse(text);
        assert_eq!(parsed.value.texts["dataset_name"], "tank/with  space");
        assert_eq!(parsed.value.numbers["delta"], -5.0);
        assert_eq!(parsed.value.numbers.len(), 2);
        assert_eq!(parsed.problems[0].line, Some(6));
        assert_eq!(parse("nothing of the kind\n").problems.len(), 1);
        assert_eq!(parse("").problems, []);
    }

    #[test]
    fn numbers_of_a_pool_stand_below_their_names() {
        let text = "12 3 0x00 1 80 79205351707403 395818011156865\nnread    nwritten reads    writes\n1884160  3206144  22       132\n";
        let numbers = parse_io(text);
        assert_eq!(numbers["nwritten"], 3_206_144.0);
        assert_eq!(numbers.len(), 4);
        assert!(parse_io("odd\n").is_empty());
    }
}
