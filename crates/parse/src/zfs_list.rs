//! `zfs list`: datasets, volumes and snapshots, a line each.
//!
//! zfs-list(8) and zfsprops(7). With `-H` there are tabs between the columns and no heading: five columns are the list's
//! own, others must be those of [`COLUMNS`]. Names may hold blanks. What does not apply is a dash.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::problem::{Parsed, Problems, excerpt};
use crate::zpool::nice_number;

/// The columns that are asked for, in this order.
pub const COLUMNS: &str = "name,type,used,available,referenced,mountpoint,mounted,quota,refquota,reservation,\
                           usedbysnapshots,usedbydataset,usedbychildren,compressratio,recordsize,volsize,creation,\
                           origin,encryption,guid,logicalused,logicalreferenced,usedbyrefreservation,refreservation,\
                           refcompressratio,written,compression,dedup,readonly";
/// The columns of the list itself.
const OWN: &str = "name,used,available,referenced,mountpoint";
/// Most datasets and volumes that are kept.
pub const DATASETS_MAX: usize = 4_096;

/// A dataset or volume: its name and its properties as they are printed, dashes left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Dataset {
    /// Its name, that of the pool first.
    pub name: String,
    /// `filesystem` or `volume`; absent where the list does not say.
    pub kind: Option<String>,
    /// Properties by name.
    pub properties: BTreeMap<String, String>,
}

impl Dataset {
    /// The pool it belongs to.
    #[must_use]
    pub fn pool(&self) -> &str {
        self.name.split('/').next().unwrap_or(&self.name)
    }

    /// A property as text; `none` is kept.
    #[must_use]
    pub fn text(&self, property: &str) -> Option<&str> {
        self.properties.get(property).map(String::as_str)
    }

    /// A property as a number; `none` is 0, as without `-p`.
    #[must_use]
    pub fn number(&self, property: &str) -> Option<u64> {
        match self.text(property)? {
            "none" => Some(0),
            word => nice_number(word),
        }
    }

    /// A ratio: 1.5 for `1.50` and `1.50x`.
    #[must_use]
    pub fn ratio(&self, property: &str) -> Option<f64> {
        let word = self.text(property)?;
        let ratio: f64 = word.strip_suffix('x').unwrap_or(word).parse().ok()?;
        (ratio.is_finite() && 0.0 < ratio).then_some(ratio)
    }
}

/// What there is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct List {
    /// Datasets and volumes.
    pub datasets: Vec<Dataset>,
    /// How many snapshots each of them has; only of those that have some.
    pub snapshots: BTreeMap<String, u64>,
}

/// Reads the list.
#[must_use]
pub fn parse(text: &str) -> Parsed<List> {
    let mut problems = Problems::default();
    let mut list = List::default();
    let mut heading: Option<Vec<String>> = None;
    let mut left_out = 0_usize;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() || line.trim() == "no datasets available" {
            continue;
        }
        if line.starts_with("NAME ") {
            heading = Some(line.split_ascii_whitespace().map(column_of).collect());
            continue;
        }
        let Some((name, dataset)) = row(line, heading.as_deref()) else {
            problems.at_index(
                index,
                format!("unknown line of a list of datasets: {:?}", excerpt(line)),
            );
            continue;
        };
        if let Some((of, _)) = name.split_once('@') {
            let is_known = list.snapshots.contains_key(of);
            if is_known || list.snapshots.len() < DATASETS_MAX {
                *list.snapshots.entry(of.to_owned()).or_insert(0) += 1;
            } else {
                left_out += 1;
            }
        } else if name.contains('#') {
            // A bookmark takes no room.
        } else if DATASETS_MAX <= list.datasets.len() {
            left_out += 1;
        } else {
            for property in ["used", "available", "referenced"] {
                if let Some(odd) = dataset
                    .text(property)
                    .filter(|_| dataset.number(property).is_none())
                {
                    problems.at_index(index, format!("unknown {property}: {:?}", excerpt(odd)));
                }
            }
            list.datasets.push(dataset);
        }
    }
    if 0 < left_out {
        problems.overall(format!(
            "more than {DATASETS_MAX} datasets: {left_out} lines are left out"
        ));
    }
    problems.with(list)
}

/// Counts snapshots: a name a line.
#[must_use]
pub fn count_snapshots(text: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for (of, _) in text.lines().filter_map(|line| line.split_once('@')) {
        if counts.contains_key(of) || counts.len() < DATASETS_MAX {
            *counts.entry(of.to_owned()).or_insert(0) += 1;
        }
    }
    counts
}

fn column_of(word: &str) -> String {
    match word {
        "AVAIL" => "available",
        "REFER" => "referenced",
        "RATIO" => "compressratio",
        "USEDSNAP" => "usedbysnapshots",
        "USEDDS" => "usedbydataset",
        "USEDCHILD" => "usedbychildren",
        "USEDREFRESERV" => "usedbyrefreservation",
        "LUSED" => "logicalused",
        "LREFER" => "logicalreferenced",
        other => return other.to_ascii_lowercase(),
    }
    .to_owned()
}

fn row(line: &str, heading: Option<&[String]>) -> Option<(String, Dataset)> {
    let has_tabs = line.contains('\t');
    let values: Vec<&str> = if has_tabs {
        line.split('\t').collect()
    } else {
        line.split_ascii_whitespace().collect()
    };
    let columns: Vec<&str> = match heading {
        Some(columns) if columns.len() == values.len() => columns.iter().map(String::as_str).collect(),
        Some(_) => return None,
        None => columns_of(&values)?,
    };
    let mut dataset = Dataset::default();
    for (column, value) in columns.into_iter().zip(values) {
        match (column, value) {
            ("name", _) => value.clone_into(&mut dataset.name),
            (_, "-" | "") => {}
            ("type", _) => dataset.kind = Some(value.to_owned()),
            _ => drop(dataset.properties.insert(column.to_owned(), value.to_owned())),
        }
    }
    let is_name = !dataset.name.is_empty() && !dataset.name.starts_with(['/', '@', '#']);
    is_name.then(|| (dataset.name.clone(), dataset))
}

/// Which columns these are, if nothing says so.
fn columns_of(values: &[&str]) -> Option<Vec<&'static str>> {
    let is_type = |word: &str| matches!(word, "filesystem" | "volume" | "snapshot" | "bookmark");
    if values.get(1).is_some_and(|word| is_type(word)) {
        return Some(COLUMNS.split(',').collect());
    }
    (values.len() == OWN.split(',').count()).then(|| OWN.split(',').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_the_list_and_of_ours_are_told_apart() {
        let parsed = parse(
            "dozer/with space\t130944\t68871088\t130944\t/dozer/with space\n\
             tank/zvol\tvolume\t57344\t82882560\t57344\t-\t-\t-\t-\t0\t0\t57344\t0\t1.25\t-\t67108864\t1795306237\t-\toff\t77\n\
             tank/home@monday\t0\t-\t25305088\t-\ntank/home@tuesday\t0\t-\t25305088\t-\ntank#mark\t-\t-\t1\t-\n",
        );
        assert_eq!(parsed.problems, []);
        let [plain, volume] = &parsed.value.datasets[..] else {
            panic!("{:?}", parsed.value)
        };
        assert_eq!((plain.name.as_str(), plain.pool()), ("dozer/with space", "dozer"));
        assert_eq!(plain.number("available"), Some(68_871_088));
        assert_eq!(
            (
                volume.number("volsize"),
                volume.ratio("compressratio"),
                volume.number("guid")
            ),
            (Some(67_108_864), Some(1.25), Some(77))
        );
        assert_eq!(parsed.value.snapshots.get("tank/home"), Some(&2));
    }

    #[test]
    fn a_heading_names_the_columns_and_odd_lines_are_located() {
        let parsed = parse(
            "NAME   USED  AVAIL     REFER  MOUNTPOINT\ntank   1.5K   2M       96K  /tank\ntank/a b  1 2 3 /x\n\
             bad\tx\ttoo\tfew\n",
        );
        assert_eq!(parsed.value.datasets.len(), 1);
        assert_eq!(parsed.value.datasets[0].number("used"), Some(1536));
        assert_eq!(parsed.problems.len(), 2);
        assert_eq!(parse("tank\t1\tmany\t1\t/\n").problems.len(), 1);
        assert_eq!(count_snapshots("a@1\na@2\nb c@1\nodd\n").get("a"), Some(&2));
    }
}
