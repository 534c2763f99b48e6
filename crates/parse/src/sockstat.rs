//! `/proc/net/sockstat` and `sockstat6`: sockets in use, `TCP: inuse 5 orphan 0 …` a line.
//!
//! `mem` counts pages, `memory` (of fragments) bytes.

use crate::problem::{Parsed, Problems, excerpt};

/// One number.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Count {
    /// `sockets`, `TCP`, `UDP6`, …
    pub protocol: String,
    /// `inuse`, `mem`, …
    pub name: String,
    /// The number.
    pub value: u64,
}

/// Reads every pair of every line.
pub fn parse(text: &str) -> Parsed<Vec<Count>> {
    let mut problems = Problems::default();
    let mut counts = Vec::new();
    for (index, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        match parse_line(line) {
            Some(found) => counts.extend(found),
            None => problems.at_index(
                index,
                format!(
                    "expected \"protocol: name number …\", found \"{}\"",
                    excerpt(line)
                ),
            ),
        }
    }
    problems.with(counts)
}

fn parse_line(line: &str) -> Option<Vec<Count>> {
    let (protocol, rest) = line.split_once(':')?;
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    let pairs = words.chunks(2).map(|pair| match pair {
        [name, value] => Some(Count {
            protocol: protocol.trim().to_owned(),
            name: (*name).to_owned(),
            value: value.parse().ok()?,
        }),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_is_a_number_of_its_protocol() {
        let parsed = parse("sockets: used 40\nTCP: inuse 5 mem 2\nUDP: inuse\nFRAG: inuse x\n");
        assert_eq!(parsed.value.len(), 3);
        assert_eq!(
            (parsed.value[2].protocol.as_str(), parsed.value[2].name.as_str()),
            ("TCP", "mem")
        );
        assert_eq!(parsed.problems.len(), 2);
    }
}
