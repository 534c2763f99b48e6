//! `zpool list`: sizes and properties of pools, a line each.
//!
//! zpool-list(8). With `-H` there are tabs between the columns and no heading, so that their number tells which they
//! are: 10 up to 0.7, 11 since, and what was asked for behind them. With a heading, it names them. Of `-v`, the lines of
//! vdevs begin with a tab, and headings of classes stand between blanks: they are of no pool and are passed over.

use serde::Serialize;

use super::{POOLS_MAX, State, nice_number};
use crate::problem::{Parsed, Problems, excerpt};

/// The columns that are asked for, in this order: those of the list itself, and more behind them.
pub const COLUMNS: &str = "name,size,allocated,free,checkpoint,expandsize,fragmentation,capacity,dedupratio,health,altroot,guid,readonly,freeing,leaked";

/// The columns of releases up to 0.7.
const OLD: [&str; 10] = [
    "name",
    "size",
    "allocated",
    "free",
    "expandsize",
    "fragmentation",
    "capacity",
    "dedupratio",
    "health",
    "altroot",
];

/// What is said of one pool. Bytes are exact with `-p`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its id.
    pub guid: Option<u64>,
    /// Bytes in all.
    pub size_bytes: Option<u64>,
    /// Bytes that hold something.
    pub allocated_bytes: Option<u64>,
    /// Bytes that hold nothing.
    pub free_bytes: Option<u64>,
    /// Bytes that a checkpoint keeps.
    pub checkpoint_bytes: Option<u64>,
    /// Bytes by which it could grow.
    pub expand_bytes: Option<u64>,
    /// Bytes that are still to be freed.
    pub freeing_bytes: Option<u64>,
    /// Bytes that were lost.
    pub leaked_bytes: Option<u64>,
    /// How cut up the free room is, percent.
    pub fragmentation_percent: Option<f64>,
    /// How full it is, percent.
    pub capacity_percent: Option<f64>,
    /// How often a block is shared: 1.5 for 1.50x.
    pub dedup_ratio: Option<f64>,
    /// Its state; `None` if the word is unknown.
    pub state: Option<State>,
    /// The word of the state.
    pub state_word: Option<String>,
    /// Whether it can only be read.
    pub is_read_only: Option<bool>,
}

/// Reads the list.
#[must_use]
pub fn parse(text: &str) -> Parsed<Vec<Listed>> {
    let mut problems = Problems::default();
    let mut pools: Vec<Listed> = Vec::new();
    let mut heading: Option<Vec<String>> = None;
    let mut left_out = 0_usize;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end_matches('\r');
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed == "no pools available" || trimmed == "-" {
            continue;
        }
        if is_heading(trimmed) {
            heading = Some(trimmed.split_ascii_whitespace().map(column_of).collect());
            continue;
        }
        // Of a vdev, or the heading of a class of vdevs.
        if line.starts_with(['\t', ' ']) || is_class(line) {
            continue;
        }
        if POOLS_MAX <= pools.len() {
            left_out += 1;
            continue;
        }
        match row(line, heading.as_deref()) {
            Ok(listed) => {
                if let Some(word) = listed.state_word.as_ref().filter(|_| listed.state.is_none()) {
                    problems.at_index(index, format!("unknown health {:?}", excerpt(word)));
                }
                pools.push(listed);
            }
            Err(message) => problems.at_index(index, message),
        }
    }
    if 0 < left_out {
        problems.overall(format!("more than {POOLS_MAX} pools: {left_out} are left out"));
    }
    problems.with(pools)
}

fn is_heading(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    words.next() == Some("NAME") && words.next().is_some_and(|word| word == "SIZE" || word == "GUID")
}

/// The heading of a class is padded with blanks, its values are dashes.
fn is_class(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let is_word = words
        .next()
        .is_some_and(|word| super::Class::from_heading(word).is_some());
    !line.contains('\t') && is_word && words.all(|word| word == "-")
}

fn column_of(word: &str) -> String {
    match word {
        "ALLOC" => "allocated",
        "CKPOINT" => "checkpoint",
        "EXPANDSZ" => "expandsize",
        "FRAG" => "fragmentation",
        "CAP" => "capacity",
        "DEDUP" => "dedupratio",
        "RDONLY" => "readonly",
        other => return other.to_ascii_lowercase(),
    }
    .to_owned()
}

fn row(line: &str, heading: Option<&[String]>) -> Result<Listed, String> {
    let values: Vec<&str> = if line.contains('\t') {
        line.split('\t').collect()
    } else {
        line.split_ascii_whitespace().collect()
    };
    let unknown = || format!("unknown line of a list of pools: {:?}", excerpt(line));
    let columns: Vec<&str> = match heading {
        Some(columns) if columns.len() == values.len() => columns.iter().map(String::as_str).collect(),
        Some(_) => return Err(unknown()),
        None if values.len() == OLD.len() => OLD.to_vec(),
        None if OLD.len() < values.len() => COLUMNS.split(',').collect(),
        None => return Err(unknown()),
    };
    let mut listed = Listed::default();
    let mut odd = None;
    for (column, value) in columns.into_iter().zip(values) {
        if !set(&mut listed, column, value.trim()) {
            odd.get_or_insert_with(|| format!("unknown {column} of a pool: {:?}", excerpt(value)));
        }
    }
    match odd {
        _ if listed.name.is_empty() => Err(unknown()),
        Some(message) => Err(message),
        None => Ok(listed),
    }
}

/// Whether the value is understood; a dash is none.
fn set(listed: &mut Listed, column: &str, value: &str) -> bool {
    let is_none = matches!(value, "-" | "none" | "");
    let mut bytes = |place: fn(&mut Listed) -> &mut Option<u64>| {
        let number = nice_number(value);
        *place(listed) = number;
        is_none || number.is_some()
    };
    match column {
        "size" => return bytes(|listed| &mut listed.size_bytes),
        "allocated" => return bytes(|listed| &mut listed.allocated_bytes),
        "free" => return bytes(|listed| &mut listed.free_bytes),
        "checkpoint" => return bytes(|listed| &mut listed.checkpoint_bytes),
        "expandsize" => return bytes(|listed| &mut listed.expand_bytes),
        "freeing" => return bytes(|listed| &mut listed.freeing_bytes),
        "leaked" => return bytes(|listed| &mut listed.leaked_bytes),
        "guid" => return bytes(|listed| &mut listed.guid),
        _ => {}
    }
    let ratio = value.trim_end_matches(['%', 'x']).parse::<f64>();
    let ratio = ratio.ok().filter(|ratio| ratio.is_finite() && 0.0 <= *ratio);
    match column {
        "name" => value.clone_into(&mut listed.name),
        "fragmentation" => listed.fragmentation_percent = ratio,
        "capacity" => listed.capacity_percent = ratio,
        "dedupratio" => listed.dedup_ratio = ratio,
        "health" => {
            listed.state = State::from_word(value);
            listed.state_word = Some(value.to_owned());
        }
        "readonly" => listed.is_read_only = Some(value == "on"),
        _ => return true,
    }
    let needs_ratio = matches!(column, "fragmentation" | "capacity" | "dedupratio");
    !needs_ratio || is_none || ratio.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_every_release_are_read() {
        let new = "tank\t100\t40\t60\t-\t-\t7\t40\t1.50\tONLINE\t-";
        let old = "tank\t100\t40\t60\t-\t7\t40\t1.50\tONLINE\t-";
        let more = format!("{new}\t18446744073709551615\ton\t3\t0");
        let people = "NAME   SIZE  ALLOC   FREE  CKPOINT  EXPANDSZ   FRAG    CAP  DEDUP    HEALTH  ALTROOT\n\
                      tank   100B    40B    60B        -         -     7%    40%  1.50x    ONLINE  -";
        for text in [new, old, &more, people] {
            let parsed = parse(text);
            assert_eq!(parsed.problems, [], "{text}");
            let pool = &parsed.value[0];
            assert_eq!(
                (pool.size_bytes, pool.allocated_bytes, pool.free_bytes),
                (Some(100), Some(40), Some(60)),
                "{text}"
            );
            assert_eq!(
                (pool.fragmentation_percent, pool.dedup_ratio, pool.state),
                (Some(7.0), Some(1.5), Some(State::Online)),
                "{text}"
            );
        }
        let pool = parse(&more).value.remove(0);
        assert_eq!(
            (pool.guid, pool.is_read_only, pool.freeing_bytes),
            (Some(u64::MAX), Some(true), Some(3))
        );
    }

    #[test]
    fn a_name_with_a_blank_and_an_unavailable_pool_are_read() {
        let parsed = parse("my pool\t-\t-\t-\t-\t-\t-\t-\t-\tUNAVAIL\t-\n");
        assert_eq!(parsed.problems, []);
        assert_eq!(parsed.value[0].name, "my pool");
        assert_eq!(
            (parsed.value[0].size_bytes, parsed.value[0].state),
            (None, Some(State::Unavail))
        );
    }

    #[test]
    fn odd_lines_are_located() {
        let text = "tank\t100\nnonsense\ntank\t100\tx\t60\t-\t-\t7\t40\t1.50\tONLINE\t-\n\
                    tank\t100\t40\t60\t-\t-\t7\t40\t1.50\tSPLENDID\t-\n";
        let parsed = parse(text);
        let lines: Vec<_> = parsed.problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [Some(1), Some(2), Some(3), Some(4)]);
        assert_eq!(parsed.value.len(), 1);
        assert_eq!(parsed.value[0].state, None);
        assert!(parse("no pools available\n").value.is_empty());
    }
}
