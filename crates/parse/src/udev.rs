//! A record of udev's database, `/run/udev/data/b8:0`.
//!
//! systemd's sd-device writes it: one letter, a colon, a value. `E:` properties, `S:` links below `/dev`, `G:`/`Q:`
//! tags, `I:` when it was first set up, `L:` link priority, `W:` watch handle, `V:` format version. The
//! letters are not promised to programs, so unknown ones are passed over; what is used here (`E:`, `S:`) has
//! been stable since systemd 174.

use std::collections::BTreeMap;

use crate::problem::{Parsed, Problems, excerpt};

/// What udev knows of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Record {
    /// Properties such as `ID_SERIAL_SHORT`, `ID_WWN`, `ID_FS_TYPE`.
    pub properties: BTreeMap<String, String>,
    /// Links to the device, without the leading `/dev/`.
    pub links: Vec<String>,
    /// When udev first set the device up, microseconds after boot.
    pub initialized_us: Option<u64>,
}

impl Record {
    /// One property's value, absent when empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.properties
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

/// Reads every line.
pub fn parse(text: &str) -> Parsed<Record> {
    let mut problems = Problems::default();
    let mut record = Record::default();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        if apply(&mut record, line).is_none() {
            problems.at_index(
                index,
                format!(
                    "expected a letter, a colon and a value, found \"{}\"",
                    excerpt(line)
                ),
            );
        }
    }
    problems.with(record)
}

fn apply(record: &mut Record, line: &str) -> Option<()> {
    let (letter, value) = line.split_once(':').filter(|(letter, _)| letter.len() == 1)?;
    match letter {
        "E" => {
            let (key, value) = value.split_once('=').filter(|(key, _)| !key.is_empty())?;
            record.properties.insert(key.to_owned(), value.to_owned());
        }
        "S" => record.links.push(value.to_owned()),
        "I" => record.initialized_us = Some(value.parse().ok()?),
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_links_and_unknown_letters() {
        let parsed = parse(
            "S:disk/by-id/ata-X\nW:3\nI:2084912\nE:ID_MODEL=X=1\nE:ID_EMPTY=\nG:systemd\nV:1\nZ:later\n",
        );
        assert_eq!(parsed.value.get("ID_MODEL"), Some("X=1"));
        assert_eq!(parsed.value.get("ID_EMPTY"), None);
        assert_eq!(parsed.value.links, ["disk/by-id/ata-X"]);
        assert_eq!(parsed.value.initialized_us, Some(2_084_912));
        assert!(parsed.problems.is_empty());
    }

    #[test]
    fn odd_lines_are_located() {
        let parsed = parse("E:ID=1\nnonsense\nE:novalue\nI:soon\nlong:x\n");
        let lines: Vec<_> = parsed.problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [Some(2), Some(3), Some(4), Some(5)]);
    }
}
