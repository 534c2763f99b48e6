//! `/proc/swaps`: the swap areas in use; mm/swapfile.c, swapon(8).
//!
//! Spaces and backslashes of a path are octal escapes; a file that was deleted meanwhile ends in `\040(deleted)`.

use crate::problem::{Parsed, Problems, excerpt};

/// A swap area.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Swap {
    /// Path of the device or file.
    pub path: String,
    /// `partition`, which any block device is, or `file`.
    pub kind: String,
    /// Size, in KiB.
    pub size_kib: u64,
    /// What is used of it, in KiB.
    pub used_kib: u64,
    /// Higher ones are filled first; those the kernel chose are negative.
    pub priority: i64,
    /// Whether the file was deleted while in use.
    pub is_deleted: bool,
}

/// Reads every line.
pub fn parse(text: &str) -> Parsed<Vec<Swap>> {
    let mut problems = Problems::default();
    let mut swaps = Vec::new();
    let mut has_header = false;
    for (index, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        if !has_header && line.starts_with("Filename") {
            has_header = true;
            continue;
        }
        match parse_line(line) {
            Some(swap) => swaps.push(swap),
            None => {
                let found = excerpt(line);
                problems.at_index(
                    index,
                    format!("expected path, type, size, used and priority, found \"{found}\""),
                );
            }
        }
    }
    if !has_header {
        problems.overall("expected a line of headings, found none");
    }
    problems.with(swaps)
}

fn parse_line(line: &str) -> Option<Swap> {
    let mut words = line.split_whitespace();
    let path = unescape(words.next()?);
    let swap = Swap {
        kind: words.next()?.to_owned(),
        size_kib: words.next()?.parse().ok()?,
        used_kib: words.next()?.parse().ok()?,
        priority: words.next()?.parse().ok()?,
        is_deleted: path.ends_with(" (deleted)"),
        path: path.trim_end_matches(" (deleted)").to_owned(),
    };
    words.next().is_none().then_some(swap)
}

/// `\040` is a space.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after
            .get(..3)
            .filter(|_| first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_of_every_kind_are_read() {
        let text = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/dm-13                              partition\t32764\t\t0\t\t-2\n\
                    /swap\\040file\\040(deleted)   file  100 7 5\n/dev/zram0 partition 8388604 1024 100\n";
        let parsed = parse(text);
        assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
        assert_eq!((parsed.value[0].size_kib, parsed.value[0].priority), (32_764, -2));
        assert_eq!(
            (parsed.value[1].path.as_str(), parsed.value[1].is_deleted),
            ("/swap file", true)
        );
        assert_eq!(parsed.value[2].used_kib, 1024);
    }

    #[test]
    fn odd_lines_are_located_and_no_swap_is_no_problem() {
        assert!(parse("Filename Type Size Used Priority\n").problems.is_empty());
        let parsed = parse(
            "Filename Type Size Used Priority\n/dev/sda2 partition x 0 -1\n/a\\9 file 1 1\n/b file 1 0 -2 more\n",
        );
        let lines: Vec<_> = parsed.problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [Some(2), Some(3), Some(4)]);
        assert!(!parse("").problems.is_empty());
    }
}
