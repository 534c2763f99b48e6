//! `mdadm --detail` of one or several arrays, as text or with `--export`.
//!
//! Detail.c of mdadm, versions 2.6 to 4.4. The text is labels and values, then a table of members. Labels that are
//! not used are kept as they are; unknown words of state are kept too, and it is the reader who must not take them
//! for good ones.

use std::collections::BTreeMap;

use crate::problem::{Parsed, Problems, excerpt};

/// One array.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Detail {
    /// The device asked about; `--export` does not name it.
    pub device: Option<String>,
    /// Everything before the table, by label; of `--export` by variable.
    pub values: BTreeMap<String, String>,
    /// The table, in order.
    pub members: Vec<Member>,
    /// Whether the table began, which an answer that is not cut has.
    pub has_table: bool,
}

/// A line of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Member {
    /// Its number in the metadata.
    pub number: Option<u32>,
    /// Its place.
    pub slot: Option<u32>,
    /// Words such as `active`, `sync`, `spare`, `rebuilding`, `faulty`, `removed`, `journal`.
    pub states: Vec<String>,
    /// Its device; absent for a place that nobody takes.
    pub device: Option<String>,
}

impl Detail {
    /// The value of a label, or of the variable of `--export`.
    pub fn get(&self, label: &str, variable: &str) -> Option<&str> {
        let found = self.values.get(label).or_else(|| self.values.get(variable))?;
        Some(found.as_str()).filter(|value| !value.is_empty())
    }

    /// A value that is, or begins with, a number.
    pub fn number(&self, label: &str, variable: &str) -> Option<u64> {
        self.get(label, variable)?.split_whitespace().next()?.parse().ok()
    }

    /// The words of the line `State`.
    pub fn states(&self) -> impl Iterator<Item = &str> {
        let text = self.values.get("State").map_or("", String::as_str);
        text.split(',').map(str::trim).filter(|word| !word.is_empty())
    }

    /// What is synchronised, and percent of it: from `Rebuild Status : 26% complete` and the like.
    pub fn progress(&self) -> Option<(&str, f64)> {
        ["Rebuild", "Resync", "Reshape", "Check", "Repair"]
            .into_iter()
            .find_map(|name| {
                let text = self.values.get(&format!("{name} Status"))?;
                let percent = text.split('%').next()?.trim().parse().ok()?;
                Some((name, percent))
            })
    }
}

/// Reads every array of the text.
pub fn parse(text: &str) -> Parsed<Vec<Detail>> {
    let mut problems = Problems::default();
    let mut details: Vec<Detail> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() {
            continue;
        }
        if !line.starts_with([' ', '\t']) && trimmed.starts_with('/') && trimmed.ends_with(':') {
            details.push(Detail {
                device: Some(trimmed.trim_end_matches(':').to_owned()),
                ..Detail::default()
            });
            continue;
        }
        if details.is_empty() {
            details.push(Detail::default());
        }
        let taken = details.last_mut().is_some_and(|detail| take(detail, trimmed));
        if !taken {
            let found = excerpt(trimmed);
            problems.at_index(
                index,
                format!("expected a label, a variable or a member, found \"{found}\""),
            );
        }
    }
    details
        .retain(|detail| detail.device.is_some() || !detail.values.is_empty() || !detail.members.is_empty());
    if details.is_empty() {
        problems.overall("expected an array, found none");
    }
    for detail in &details {
        let is_text = !detail.values.keys().any(|name| name.starts_with("MD_"));
        if is_text && !detail.has_table {
            let name = excerpt(detail.device.as_deref().unwrap_or("the array"));
            problems.overall(format!(
                "{name}: expected a table of members: the text may be cut"
            ));
        }
    }
    problems.with(details)
}

fn take(detail: &mut Detail, line: &str) -> bool {
    if line.starts_with("Number ") && line.contains("RaidDevice") {
        detail.has_table = true;
        return true;
    }
    if detail.has_table {
        return read_member(line)
            .map(|member| detail.members.push(member))
            .is_some();
    }
    if let Some((name, value)) = line.split_once('=').filter(|(name, _)| name.starts_with("MD_")) {
        detail
            .values
            .insert(name.to_owned(), value.trim_matches(['\'', '"']).to_owned());
        return true;
    }
    let Some((label, value)) = line
        .split_once(" : ")
        .or_else(|| Some((line.strip_suffix(" :")?, "")))
    else {
        return false;
    };
    detail
        .values
        .insert(label.trim().to_owned(), value.trim().to_owned());
    true
}

/// `0     254       16        0      active sync   /dev/vdb`.
fn read_member(line: &str) -> Option<Member> {
    let mut words = line.split_whitespace();
    let mut number = || {
        let word = words.next()?;
        (word == "-" || word.parse::<u32>().is_ok()).then(|| word.parse::<u32>().ok())
    };
    let (first, _major, _minor, slot) = (number()?, number()?, number()?, number()?);
    let mut rest: Vec<&str> = words.collect();
    let device = rest.pop_if(|last| last.starts_with('/')).map(str::to_owned);
    // A device whose node is gone.
    let is_missing = device.is_none() && rest.last() == Some(&"missing");
    if is_missing {
        rest.pop();
    }
    Some(Member {
        number: first,
        slot,
        states: rest.into_iter().map(str::to_owned).collect(),
        device,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: &str = "/dev/md/parity:\n           Version : 1.2\n        Raid Level : raid5\n        Array Size : 358400 (350.00 MiB 367.00 MB)\n             State : clean, FAILED \n     Intent Bitmap : Internal\n    Rebuild Status : 26% complete\n\n    Number   Major   Minor   RaidDevice State\n       0     254       16        0      active sync   /dev/vdb\n       -       0        0        1      removed\n\n       1     254       32        -      faulty   missing\n       3     254       48        -      spare rebuilding   /dev/vdd\n";

    #[test]
    fn labels_states_and_members_are_read() {
        let parsed = parse(FAILED);
        assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
        let detail = &parsed.value[0];
        assert_eq!(detail.states().collect::<Vec<_>>(), ["clean", "FAILED"]);
        assert_eq!(detail.number("Array Size", ""), Some(358_400));
        assert_eq!(detail.progress(), Some(("Rebuild", 26.0)));
        let of = |index: usize| {
            let member: &Member = &detail.members[index];
            (member.slot, member.states.join(" "), member.device.clone())
        };
        assert_eq!(
            of(0),
            (Some(0), "active sync".to_owned(), Some("/dev/vdb".to_owned()))
        );
        assert_eq!(of(1), (Some(1), "removed".to_owned(), None));
        assert_eq!(of(2), (None, "faulty".to_owned(), None));
        assert_eq!(
            of(3),
            (None, "spare rebuilding".to_owned(), Some("/dev/vdd".to_owned()))
        );
    }

    #[test]
    fn exported_variables_are_read() {
        let parsed = parse(
            "MD_LEVEL=raid5\nMD_UUID=4eb7912d:d05a9a45:fcb34d9d:19344810\nMD_NAME='lab:parity'\nMD_DEVICES=3\n",
        );
        assert!(parsed.problems.is_empty());
        let detail = &parsed.value[0];
        assert_eq!(detail.get("Raid Level", "MD_LEVEL"), Some("raid5"));
        assert_eq!(detail.get("Name", "MD_NAME"), Some("lab:parity"));
        assert_eq!(detail.number("Raid Devices", "MD_DEVICES"), Some(3));
    }

    #[test]
    fn several_arrays_containers_and_cut_texts() {
        let two = parse(&format!(
            "{FAILED}/dev/md127:\n           Version : imsm\n        Raid Level : container\n     Member Arrays : /dev/md/Volume0\n\n    Number   Major   Minor   RaidDevice\n\n       -       8       16        -        /dev/sdb\n"
        ));
        assert!(two.problems.is_empty(), "{:?}", two.problems);
        assert_eq!(two.value[1].members[0].device.as_deref(), Some("/dev/sdb"));
        for text in [
            "",
            "mdadm: cannot open /dev/md9: No such file or directory\n",
            "/dev/md0:\n  State : clean\n",
            "nonsense",
        ] {
            assert!(!parse(text).problems.is_empty(), "{text:?}");
        }
    }
}
