//! The tree of vdevs below `config:`.
//!
//! `print_status_config` and `print_class_vdevs` of `cmd/zpool/zpool_main.c`: names are padded to one width, so that the
//! heading says where the state begins; names may hold blanks. Depth is told by indentation, two blanks a step.

use super::number::nice_number;
use super::{Class, State, VDEVS_MAX, Vdev};
use crate::problem::{Problems, excerpt};

/// The columns behind the state that zpool itself prints (`-s`, `--power`, `-d`); others are of `-c` and go to the note.
const COLUMNS: [&str; 6] = ["READ", "WRITE", "CKSUM", "SLOW", "POWER", "DIO"];

/// Gathers the lines of one pool.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) vdevs: Vec<Vdev>,
    heading: Option<Heading>,
    class: Option<Class>,
    /// The places of those above, with their indentation.
    above: Vec<(usize, usize)>,
    /// How far right the pool's own line begins; headings of classes begin there too.
    root_indent: usize,
    left_out: usize,
}

#[derive(Debug)]
struct Heading {
    has_tab: bool,
    state_at: usize,
    columns: Vec<&'static str>,
}

impl Tree {
    /// Takes one line that is not empty.
    pub(super) fn line(&mut self, index: usize, line: &str, problems: &mut Problems) {
        // Where all of it was indented once more, the tab still says where the tree begins.
        let lead = line.len() - line.trim_start_matches([' ', '\t']).len();
        let (has_tab, body) = match line[..lead].rfind('\t') {
            Some(at) => (true, &line[at + 1..]),
            None => (false, line),
        };
        let body = body.trim_end();
        if self.heading.is_none() && is_heading(body) {
            self.heading = Some(Heading {
                has_tab,
                state_at: body.find("STATE").unwrap_or_default(),
                columns: columns(body),
            });
            return;
        }
        let indent = body.len() - body.trim_start_matches(' ').len();
        let word = body.trim();
        let first_word = word.split_ascii_whitespace().next().unwrap_or_default();
        let is_class_alone = Class::from_heading(word).is_some();
        if !self.vdevs.is_empty()
            && let Some(class) = Class::from_heading(first_word)
            && (is_class_alone || indent <= self.root_indent)
        {
            self.class = Some(class);
            self.above.clear();
            return;
        }
        let Some(row) = self.row(has_tab, body) else {
            problems.at_index(
                index,
                format!("unknown line of a pool's tree: {:?}", excerpt(line)),
            );
            self.add(indent, unknown(word), index, problems);
            return;
        };
        self.add(indent, row, index, problems);
    }

    /// Says what is missing.
    pub(super) fn finish(mut self, pool: &str, problems: &mut Problems) -> Vec<Vdev> {
        if 0 < self.left_out {
            problems.overall(format!(
                "{pool}: more than {VDEVS_MAX} vdevs: {} are left out",
                self.left_out
            ));
            // What is not told of cannot be judged: the pool is no longer known whole.
            if let Some(root) = self.vdevs.first_mut() {
                root.state = None;
            }
        }
        self.vdevs
    }

    fn add(&mut self, indent: usize, mut vdev: Vdev, index: usize, problems: &mut Problems) {
        if VDEVS_MAX <= self.vdevs.len() {
            self.left_out += 1;
            return;
        }
        if self.vdevs.is_empty() {
            self.root_indent = indent;
        }
        vdev.class = self.class.unwrap_or(Class::Data);
        if vdev.state.is_none() {
            problems.at_index(
                index,
                format!(
                    "unknown state {:?} of {:?}",
                    excerpt(&vdev.state_word),
                    excerpt(&vdev.name)
                ),
            );
        } else if vdev.class != Class::Spare && vdev.checksum_errors.is_none() && self.has_counters() {
            problems.at_index(index, format!("no error counters of {:?}", excerpt(&vdev.name)));
        }
        while self.above.last().is_some_and(|(_, above)| indent <= *above) {
            self.above.pop();
        }
        vdev.parent = self.above.last().map(|(place, _)| *place);
        if let Some(parent) = vdev.parent {
            self.vdevs[parent].is_group = true;
        }
        self.above.push((self.vdevs.len(), indent));
        self.vdevs.push(vdev);
    }

    /// The list of pools that could be imported has no heading and no counters.
    fn has_counters(&self) -> bool {
        self.heading
            .as_ref()
            .is_some_and(|heading| !heading.columns.is_empty())
    }

    fn row(&self, has_tab: bool, body: &str) -> Option<Vdev> {
        let (name, rest) = self.split(has_tab, body)?;
        let (word, mut rest) = next_word(rest);
        let mut vdev = unknown(name);
        vdev.state = State::from_word(word);
        word.clone_into(&mut vdev.state_word);
        let default = &COLUMNS[..3];
        let columns = match &self.heading {
            Some(heading) => heading.columns.as_slice(),
            None => default,
        };
        for column in columns {
            let (word, after) = next_word(rest);
            let number = nice_number(word);
            let is_blank = word == "-" || *column == "POWER" && matches!(word, "on" | "off");
            if number.is_none() && !is_blank {
                break;
            }
            match *column {
                "READ" => vdev.read_errors = number,
                "WRITE" => vdev.write_errors = number,
                "CKSUM" => vdev.checksum_errors = number,
                "SLOW" => vdev.slow_ios = number,
                _ => {}
            }
            rest = after;
        }
        vdev.note = Some(rest.trim().to_owned()).filter(|note| !note.is_empty());
        Some(vdev)
    }

    /// The name, and what stands from the state on.
    fn split<'a>(&self, has_tab: bool, body: &'a str) -> Option<(&'a str, &'a str)> {
        if let Some(heading) = &self.heading
            && heading.has_tab == has_tab
            && let Some((name, rest)) = body.split_at_checked(heading.state_at)
            && name.ends_with(' ')
            && rest.starts_with(|c: char| c.is_ascii_uppercase())
            && !name.trim().is_empty()
        {
            return Some((name.trim(), rest));
        }
        // Copied from a terminal or forum: tabs have become blanks, or columns have moved.
        let trimmed = body.trim();
        let mut at = 0;
        for word in trimmed.split_inclusive(|c: char| c.is_ascii_whitespace()) {
            let clean = word.trim();
            if 0 < at && State::from_word(clean).is_some() {
                return Some((trimmed[..at].trim(), &trimmed[at..]));
            }
            at += word.len();
        }
        // An unknown state is still told apart from the name by its capitals.
        let (name, rest) = next_word(trimmed);
        let (word, _) = next_word(rest);
        let is_word = 3 <= word.len() && word.bytes().all(|byte| byte.is_ascii_uppercase());
        is_word.then(|| (name, rest.trim_start()))
    }
}

fn unknown(name: &str) -> Vdev {
    Vdev {
        name: name.to_owned(),
        class: Class::Data,
        parent: None,
        is_group: false,
        state: None,
        state_word: String::new(),
        read_errors: None,
        write_errors: None,
        checksum_errors: None,
        slow_ios: None,
        note: None,
        path: None,
        guid: None,
    }
}

fn is_heading(body: &str) -> bool {
    let mut words = body.split_ascii_whitespace();
    words.next() == Some("NAME") && words.next() == Some("STATE")
}

fn columns(body: &str) -> Vec<&'static str> {
    body.split_ascii_whitespace()
        .skip(2)
        .map_while(|word| COLUMNS.into_iter().find(|column| *column == word))
        .collect()
}

fn next_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text.find(|c: char| c.is_ascii_whitespace()).unwrap_or(text.len());
    text.split_at(end)
}
