//! `/proc/meminfo`: one `Key:   number [kB]` a line.
//!
//! proc(5); "kB" there means 1024 bytes. Lines without it (`HugePages_Total`) are plain counts. The set of keys
//! differs by kernel version and configuration, so all are kept as they come.

use crate::problem::{Parsed, Problems, excerpt};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Entry {
    /// The key as printed, for example `Active(anon)`.
    pub key: String,
    /// The number as printed.
    pub value: u64,
    /// Whether the line ends in `kB`, so that the number counts 1024 bytes.
    pub is_kb: bool,
}

impl Entry {
    /// Bytes for a `kB` line, the plain count for any other.
    pub fn scaled(&self) -> u64 {
        if self.is_kb {
            self.value.saturating_mul(1024)
        } else {
            self.value
        }
    }
}

/// Every line, in the kernel's order.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct MemInfo {
    /// The lines.
    pub entries: Vec<Entry>,
}

impl MemInfo {
    /// Bytes (or the plain count, for a line without `kB`) of this key.
    pub fn get(&self, key: &str) -> Option<u64> {
        self.entries
            .iter()
            .find(|entry| entry.key == key)
            .map(Entry::scaled)
    }
}

/// Reads every line.
pub fn parse(text: &str) -> Parsed<MemInfo> {
    let mut problems = Problems::default();
    let mut entries = Vec::new();
    for (index, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        match parse_line(line) {
            Some(entry) => entries.push(entry),
            None => problems.at_index(
                index,
                format!("expected \"key: number [kB]\", found \"{}\"", excerpt(line)),
            ),
        }
    }
    if entries.is_empty() {
        problems.overall("no memory counters found");
    }
    problems.with(MemInfo { entries })
}

fn parse_line(line: &str) -> Option<Entry> {
    let (key, rest) = line.split_once(':')?;
    let mut words = rest.split_ascii_whitespace();
    let value = words.next()?.parse().ok()?;
    let is_kb = match words.next() {
        None => false,
        Some("kB") => true,
        Some(_) => return None, // Another unit would make the number mean something else.
    };
    let key = key.trim();
    (!key.is_empty() && words.next().is_none()).then(|| Entry {
        key: key.to_owned(),
        value,
        is_kb,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kilobytes_become_bytes_and_counts_stay() {
        let parsed = parse("MemTotal:  1488048 kB\nActive(anon):  12 kB\nHugePages_Total:       3\n");
        assert_eq!(parsed.value.get("MemTotal"), Some(1_488_048 * 1024));
        assert_eq!(parsed.value.get("Active(anon)"), Some(12 * 1024));
        assert_eq!(parsed.value.get("HugePages_Total"), Some(3));
        assert_eq!(parsed.value.get("Missing"), None);
        assert!(parsed.problems.is_empty());
    }

    #[test]
    fn an_odd_line_is_located_and_the_others_are_kept() {
        let parsed = parse("MemTotal: 1 kB\nMemFree: lots kB\nCached: 2 MB\nBuffers: 7 kB\n");
        assert_eq!(parsed.value.entries.len(), 2);
        let lines: Vec<_> = parsed.problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [Some(2), Some(3)]);
    }

    #[test]
    fn nothing_is_a_problem() {
        assert_eq!(parse("").problems.len(), 1);
    }
}
