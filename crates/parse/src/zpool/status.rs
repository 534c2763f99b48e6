//! The text of `zpool status`.
//!
//! A block of `label: text` lines for each pool, the text going on in lines that begin with a tab; then the tree below
//! `config:`, then `errors:`. Whatever is cut off is missed: a pool is complete only up to its `errors:` line.

use std::borrow::Cow;

use super::config::Tree;
use super::number::date;
use super::scan::{self, Said};
use super::{Errors, FILES_MAX, POOLS_MAX, Pool, State};
use crate::problem::{Parsed, Problems, excerpt};

/// How far a label may stand from the left; lines further right go on with what was said before.
const LABEL_INDENT_MAX: usize = 6;
/// How far the names of damaged files stand from the left.
const FILE_INDENT_MIN: usize = 7;
/// Longest text of a label that is kept, in bytes.
const TEXT_BYTES_MAX: usize = 2_048;
/// Most lines of one label that are kept.
const LINES_MAX: usize = 64;

/// Every label that a release has used.
const LABELS: [&str; 15] = [
    "pool",
    "id",
    "state",
    "status",
    "action",
    "comment",
    "see",
    "scan",
    "scrub",
    "remove",
    "checkpoint",
    "expand",
    "config",
    "dedup",
    "errors",
];

/// Reads the text of `zpool status`, or its JSON form if that is what it is.
#[must_use]
pub fn parse(text: &str) -> Parsed<Vec<Pool>> {
    if text.trim_start().starts_with('{') {
        return super::json::parse(text);
    }
    let mut reader = Reader::default();
    for (index, line) in text.lines().enumerate() {
        reader.line(index, &plain(line.trim_end_matches('\r')));
    }
    reader.finish()
}

/// A line without the colours that `ZFS_COLOR` asks for (ECMA-48, `ESC [ … m`).
fn plain(line: &str) -> Cow<'_, str> {
    if !line.contains('\u{1b}') {
        return Cow::Borrowed(line);
    }
    let mut pieces = line.split("\u{1b}[");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        text.push_str(digits.strip_prefix('m').unwrap_or(piece));
    }
    Cow::Owned(text)
}

/// What the next lines belong to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Section {
    /// Nothing that is known.
    #[default]
    None,
    /// The text of a label.
    Text(&'static str),
    /// The tree.
    Config,
    /// The names of damaged files.
    Files,
    /// The table of deduplication, which nobody asked for.
    Ignored,
}

#[derive(Debug, Default)]
struct Reader {
    problems: Problems,
    pools: Vec<Pool>,
    current: Option<Current>,
    section: Section,
    left_out: usize,
    said_something: bool,
}

#[derive(Debug)]
struct Current {
    pool: Pool,
    tree: Tree,
    text: Vec<String>,
    began: usize,
    errors_seen: bool,
    has_no_config: bool,
}

impl Reader {
    fn line(&mut self, index: usize, line: &str) {
        if let Some((label, rest)) = self.label(line) {
            self.said_something = true;
            self.end_text();
            self.begin(index, label, rest);
            return;
        }
        if line.trim().is_empty() {
            if let Section::Text(_) = self.section {
                self.end_text();
            }
            return;
        }
        self.said_something = true;
        match (self.section, self.current.as_mut()) {
            (Section::Text(_), Some(current)) if is_continuation(line) => {
                if current.text.len() < LINES_MAX {
                    current.text.push(line.to_owned());
                }
            }
            (Section::Config, Some(current)) => config_line(index, line, current, &mut self.problems),
            (Section::Files, Some(current)) if is_file(line) => file_line(line, &mut current.pool.errors),
            (Section::Ignored, Some(_)) => {}
            _ => self.stray(index, line),
        }
    }

    /// The label that a line begins with. In the tree and among files a label is one only where labels stand.
    fn label<'a>(&self, line: &'a str) -> Option<(&'static str, &'a str)> {
        let trimmed = line.trim_start_matches(' ');
        let indent = line.len() - trimmed.len();
        let (word, rest) = trimmed.split_once(':')?;
        let is_last_word = rest.is_empty() || rest.starts_with(' ') || rest.starts_with('\t');
        let label = LABELS.into_iter().find(|label| *label == word)?;
        (is_last_word && indent <= LABEL_INDENT_MAX).then_some((label, rest.trim()))
    }

    fn begin(&mut self, index: usize, label: &'static str, rest: &str) {
        if label == "pool" {
            self.end_pool();
            if POOLS_MAX <= self.pools.len() {
                self.left_out += 1;
            } else {
                self.current = Some(Current::new(index, rest));
            }
            self.section = Section::None;
            return;
        }
        let Some(current) = self.current.as_mut() else {
            self.problems
                .at_index(index, format!("{label} of no pool: {:?}", excerpt(rest)));
            self.section = Section::None;
            return;
        };
        self.section = match label {
            "config" => {
                current.has_no_config |= rest.contains("cannot be determined");
                Section::Config
            }
            "errors" => {
                current.errors_seen = true;
                errors(index, rest, &mut current.pool, &mut self.problems);
                if current.pool.errors.is_listed {
                    Section::Files
                } else {
                    Section::None
                }
            }
            "dedup" => Section::Ignored,
            _ => {
                current.began = index;
                current.text = vec![rest.to_owned()];
                Section::Text(label)
            }
        };
    }

    /// Hands over the text of the label that ends here.
    fn end_text(&mut self) {
        let Section::Text(label) = self.section else {
            return;
        };
        self.section = Section::None;
        let Some(current) = self.current.as_mut() else {
            return;
        };
        let lines = std::mem::take(&mut current.text);
        let (index, pool) = (current.began, &mut current.pool);
        let words = joined(&lines);
        match label {
            "id" => {
                pool.is_importable = true;
                pool.guid = words.parse().ok();
            }
            "state" => {
                // `zpool import -D` adds "(DESTROYED)".
                let word = words.split(' ').next().unwrap_or_default();
                pool.state = State::from_word(word);
                if pool.state.is_none() {
                    self.problems
                        .at_index(index, format!("unknown state {:?} of a pool", excerpt(&words)));
                }
                pool.state_word = Some(words);
            }
            "status" => pool.status = Some(words),
            "action" => pool.action = Some(words),
            "see" => pool.see = Some(words),
            "remove" => pool.removal = Some(words),
            "checkpoint" => pool.checkpoint = Some(words),
            "expand" => pool.expansion = Some(words),
            "scan" | "scrub" => {
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                let (said, odd) = scan::parse(&lines);
                for message in odd {
                    self.problems.at_index(index, message);
                    pool.is_odd = true;
                }
                if let Some(Said::Scan(scan)) = said
                    && pool.scans.len() < LINES_MAX
                {
                    pool.scans.push(*scan);
                }
            }
            _ => {}
        }
    }

    fn stray(&mut self, index: usize, line: &str) {
        let text = line.trim();
        // `-T d` prints the date before, and without a pool there is nothing else to say.
        if date(text).is_some() || text == "no pools available" {
            return;
        }
        self.problems
            .at_index(index, format!("not understood: {:?}", excerpt(text)));
        // Behind its last line there may be anything, such as a shell's prompt.
        if let Some(current) = self.current.as_mut().filter(|current| !current.errors_seen) {
            current.pool.is_odd = true;
        }
    }

    fn end_pool(&mut self) {
        self.end_text();
        if let Some(current) = self.current.take() {
            self.pools.push(current.finish(&mut self.problems));
        }
    }

    fn finish(mut self) -> Parsed<Vec<Pool>> {
        self.end_pool();
        if 0 < self.left_out {
            let message = format!("more than {POOLS_MAX} pools: {} are left out", self.left_out);
            self.problems.overall(message);
        }
        if !self.said_something {
            self.problems.overall("zpool status said nothing");
        }
        self.problems.with(self.pools)
    }
}

impl Current {
    fn new(index: usize, name: &str) -> Self {
        Self {
            pool: Pool {
                name: name.to_owned(),
                ..Pool::default()
            },
            tree: Tree::default(),
            text: Vec::new(),
            began: index,
            errors_seen: false,
            has_no_config: false,
        }
    }

    fn finish(self, problems: &mut Problems) -> Pool {
        let mut pool = self.pool;
        pool.vdevs = self.tree.finish(&pool.name, problems);
        let name = excerpt(&pool.name);
        if pool.name.is_empty() {
            problems.overall("a pool without a name");
        }
        if pool.state_word.is_none() {
            problems.overall(format!("pool {name:?}: no state is said"));
        }
        if pool.vdevs.is_empty() && !self.has_no_config {
            problems.overall(format!("pool {name:?}: the tree of its devices is missing"));
        }
        // Of a pool that stands still, the list of errors is refused on stderr, and nothing is said here; of one that
        // could not be opened, nobody has counted any.
        let is_down = matches!(
            pool.state,
            Some(State::Suspended | State::Unavail | State::Faulted)
        );
        let may_be_silent = is_down || self.has_no_config || pool.is_importable;
        if !self.errors_seen && !may_be_silent {
            problems.overall(format!(
                "pool {name:?}: what is known of damaged data is missing: the text is cut off"
            ));
        }
        pool
    }
}

/// Further lines of a label begin with a tab; copied from elsewhere, with blanks.
fn is_continuation(line: &str) -> bool {
    line.starts_with('\t') || line.starts_with("    ")
}

fn config_line(index: usize, line: &str, current: &mut Current, problems: &mut Problems) {
    if line
        .trim_start()
        .starts_with("The configuration cannot be determined")
    {
        current.has_no_config = true;
        return;
    }
    current.tree.line(index, line, problems);
}

/// The words behind `errors:`.
fn errors(index: usize, text: &str, pool: &mut Pool, problems: &mut Problems) {
    let errors = &mut pool.errors;
    if text == "No known data errors" {
        // A second line may have come by way of stderr: what is worse stays.
        if errors.unavailable.is_none() {
            errors.count.get_or_insert(0);
        }
    } else if let Some(rest) = text.strip_prefix("List of errors unavailable") {
        let why = rest.trim_matches(|c: char| matches!(c, ':' | ' ' | '(' | ')'));
        errors.unavailable = Some(why.to_owned());
        errors.count = errors.count.filter(|count| 0 < *count);
    } else if let Some(count) = text
        .split_once(" data error")
        .and_then(|(count, _)| super::nice_number(count))
    {
        errors.count = Some(count);
    } else if text.starts_with("Permanent errors have been detected") {
        errors.is_listed = true;
        errors.count = errors.count.filter(|count| 0 < *count);
    } else {
        pool.is_odd = true;
        problems.at_index(
            index,
            format!("unknown words of damaged data: {:?}", excerpt(text)),
        );
    }
}

/// Names of damaged files stand far to the right; copied from elsewhere, they still look like what they are.
fn is_file(line: &str) -> bool {
    let name = line.trim_start_matches([' ', '\t']);
    line.starts_with('\t')
        || FILE_INDENT_MIN <= line.len() - name.len()
        || name.starts_with('/')
        || name.starts_with('<')
        || name.contains(":<0x")
        || name.contains(":/")
}

fn file_line(line: &str, errors: &mut Errors) {
    errors.count = Some(errors.count.unwrap_or(0).saturating_add(1));
    if errors.files.len() < FILES_MAX {
        let mut name = line.trim_start().to_owned();
        name.truncate(name.floor_char_boundary(TEXT_BYTES_MAX));
        errors.files.push(name);
    }
}

/// All lines in one, with one blank between words.
fn joined(lines: &[String]) -> String {
    let mut text = lines
        .iter()
        .flat_map(|line| line.split_ascii_whitespace())
        .collect::<Vec<_>>()
        .join(" ");
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "  pool: p\n state: ONLINE\n  scan: none requested\nconfig:\n\n\tNAME        STATE     READ WRITE CKSUM\n\
                        \tp           ONLINE       0     0     0\n\t  mirror-0  ONLINE       0     0     0\n\
                        \t    sda     ONLINE       0     0     0\n\t    sdb     ONLINE       0     0     0\n\n\
                        errors: No known data errors\n";

    #[test]
    fn copies_from_terminals_and_forums_read_like_the_text() {
        let whole = parse(TEXT);
        assert_eq!(whole.problems, []);
        assert_eq!(whole.value[0].vdevs.len(), 4);
        let copies = [
            TEXT.replace('\t', "        "),
            TEXT.replace('\n', "\r\n"),
            TEXT.lines().map(|line| format!("    {line}\n")).collect(),
            TEXT.replace("pool:", "\u{1b}[1mpool:\u{1b}[0m")
                .replace("ONLINE", "\u{1b}[0;32mONLINE\u{1b}[0m"),
        ];
        for copy in copies {
            let parsed = parse(&copy);
            assert_eq!(parsed.problems, [], "{copy}");
            assert_eq!(parsed.value, whole.value, "{copy}");
        }
        // What a shell shows around it is said, and takes nothing away.
        let parsed = parse(&format!("root@x:~# zpool status\n{TEXT}root@x:~# \n"));
        assert_eq!((parsed.problems.len(), &parsed.value), (2, &whole.value));
    }

    #[test]
    fn a_pool_that_could_be_imported_is_told_apart() {
        let text = "   pool: p\n     id: 15451357997522795478\n  state: ONLINE\n action: The pool can be imported using its name.\n\
                    config:\n\n\tp           ONLINE\n\t  sda       ONLINE\n";
        let parsed = parse(text);
        assert_eq!(parsed.problems, []);
        let pool = &parsed.value[0];
        assert!(pool.is_importable && pool.vdevs.len() == 2, "{pool:?}");
        assert_eq!(pool.guid, Some(15_451_357_997_522_795_478));
    }
}
