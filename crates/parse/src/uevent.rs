//! A sysfs `uevent` file: `KEY=VALUE` lines that say what a device is (`DEVTYPE=disk`, `MAJOR=8`).

use std::collections::BTreeMap;

use crate::problem::{Parsed, Problems, excerpt};

/// Reads every line. A device without properties has an empty file, which is no problem.
pub fn parse(text: &str) -> Parsed<BTreeMap<String, String>> {
    let mut problems = Problems::default();
    let mut values = BTreeMap::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        match line.split_once('=').filter(|(key, _)| !key.is_empty()) {
            Some((key, value)) => {
                values.insert(key.to_owned(), value.to_owned());
            }
            None => problems.at_index(index, format!("expected KEY=VALUE, found \"{}\"", excerpt(line))),
        }
    }
    problems.with(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_hold_equal_signs_and_odd_lines_are_located() {
        let parsed = parse("MAJOR=8\nMODALIAS=a=b\n\nnonsense\n=x\n");
        assert_eq!(parsed.value["MAJOR"], "8");
        assert_eq!(parsed.value["MODALIAS"], "a=b");
        let lines: Vec<_> = parsed.problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [Some(4), Some(5)]);
    }
}
