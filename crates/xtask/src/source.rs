//! Rust source seen as three things kept apart: code, comments, and which lines are tests.
//!
//! A light scanner, not a parser: it knows comments (nested too), strings (raw, byte and C too), characters and
//! lifetimes, which is what it takes to look for a name in code without finding it in a sentence.

/// One source text, each part with the lines of the original; what does not belong to a part is blank there.
#[derive(Debug)]
pub(crate) struct Masked {
    code: Vec<String>,
    comments: Vec<String>,
    is_test: Vec<bool>,
}

impl Masked {
    /// Scans a text.
    pub(crate) fn new(text: &str) -> Self {
        let (code, comments) = split(text);
        let code: Vec<String> = code.lines().map(str::to_owned).collect();
        let is_test = test_lines(&code);
        Self {
            code,
            comments: comments.lines().map(str::to_owned).collect(),
            is_test,
        }
    }

    /// Scans a text that is nothing but tests.
    pub(crate) fn all_test(text: &str) -> Self {
        let mut masked = Self::new(text);
        masked.is_test.fill(true);
        masked
    }

    /// Lines of code outside tests, numbered from 1.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.all_code().filter(|(number, _)| !self.is_test[number - 1])
    }

    /// Lines of code, tests included, numbered from 1.
    pub(crate) fn all_code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code
            .iter()
            .enumerate()
            .map(|(index, line)| (index + 1, line.as_str()))
    }

    /// Lines of comments, numbered from 1.
    pub(crate) fn comments(&self) -> impl Iterator<Item = (usize, &str)> {
        self.comments
            .iter()
            .enumerate()
            .map(|(index, line)| (index + 1, line.as_str()))
    }

    /// How many lines there are outside tests.
    pub(crate) fn line_count(&self) -> usize {
        self.is_test.iter().filter(|is_test| !**is_test).count()
    }
}

/// Where the scanner is.
enum State {
    Code,
    LineComment,
    BlockComment(usize),
    /// Ends with a quote and this many `#`; escapes only in strings that are not raw.
    Text {
        hashes: usize,
        is_raw: bool,
    },
}

/// The text as code alone and as comments alone.
fn split(text: &str) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut comments) = (
        String::with_capacity(text.len()),
        String::with_capacity(text.len()),
    );
    let mut state = State::Code;
    let mut at = 0;
    while at < chars.len() {
        let (next, taken) = step(
            &state,
            &chars[at..],
            at.checked_sub(1).map(|before| chars[before]),
        );
        for &c in &chars[at..at + taken] {
            let (in_code, in_comment) = match (&state, &next) {
                (State::Code, None | Some(State::Text { .. })) => (c, ' '),
                (State::LineComment | State::BlockComment(_), _) => (' ', c),
                _ => (' ', ' '),
            };
            code.push(if c == '\n' { c } else { in_code });
            comments.push(if c == '\n' { c } else { in_comment });
        }
        at += taken;
        state = next.unwrap_or(state);
    }
    (code, comments)
}

/// What follows the state at this place, if something else, and how many characters belong to the step.
fn step(state: &State, rest: &[char], before: Option<char>) -> (Option<State>, usize) {
    let starts = |word: &str| word.chars().enumerate().all(|(i, c)| rest.get(i) == Some(&c));
    match state {
        State::Code if starts("//") => (Some(State::LineComment), 2),
        State::Code if starts("/*") => (Some(State::BlockComment(1)), 2),
        State::Code => code_step(rest, before),
        State::LineComment if rest[0] == '\n' => (Some(State::Code), 1),
        State::BlockComment(depth) if starts("*/") => match depth {
            1 => (Some(State::Code), 2),
            _ => (Some(State::BlockComment(depth - 1)), 2),
        },
        State::BlockComment(depth) if starts("/*") => (Some(State::BlockComment(depth + 1)), 2),
        State::Text { is_raw: false, .. } if rest[0] == '\\' => (None, rest.len().min(2)),
        State::Text { hashes, .. } if rest[0] == '"' && closes(rest, *hashes) => {
            (Some(State::Code), 1 + hashes)
        }
        _ => (None, 1),
    }
}

fn closes(rest: &[char], hashes: usize) -> bool {
    rest.len() > hashes && rest[1..=hashes].iter().all(|&c| c == '#')
}

/// In code: does a string or character begin here?
fn code_step(rest: &[char], before: Option<char>) -> (Option<State>, usize) {
    let after_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    match rest[0] {
        '"' => (
            Some(State::Text {
                hashes: 0,
                is_raw: false,
            }),
            1,
        ),
        'r' | 'b' | 'c' if !after_word => {
            let prefix = rest
                .iter()
                .take(2)
                .take_while(|c| matches!(c, 'r' | 'b' | 'c'))
                .count();
            let is_raw = rest[..prefix].contains(&'r');
            let hashes = rest[prefix..].iter().take_while(|&&c| c == '#').count();
            match rest.get(prefix + hashes) {
                Some('"') if is_raw || hashes == 0 => {
                    (Some(State::Text { hashes, is_raw }), prefix + hashes + 1)
                }
                _ => (None, 1),
            }
        }
        '\'' => (None, character_length(rest)),
        _ => (None, 1),
    }
}

/// Length of a character literal, or 1 for the quote of a lifetime.
fn character_length(rest: &[char]) -> usize {
    match rest.get(1) {
        Some('\\') => rest
            .iter()
            .skip(3)
            .position(|&c| c == '\'')
            .map_or(1, |end| end + 4),
        Some(_) if rest.get(2) == Some(&'\'') => 3,
        _ => 1,
    }
}

/// Which lines lie within an item marked `#[cfg(test)]`.
fn test_lines(code: &[String]) -> Vec<bool> {
    let mut marks = vec![false; code.len()];
    let mut at = 0;
    while at < code.len() {
        if !code[at].trim_start().starts_with("#[cfg(test)]") {
            at += 1;
            continue;
        }
        let end = item_end(&code[at..]);
        marks[at..at + end].fill(true);
        at += end;
    }
    marks
}

/// How many lines the item at the start takes: to its closing brace, or to a semicolon before any brace.
fn item_end(code: &[String]) -> usize {
    let mut depth = 0_usize;
    for (index, line) in code.iter().enumerate() {
        for c in line.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth <= 1 => return index + 1,
                '}' => depth -= 1,
                ';' if depth == 0 => return index + 1,
                _ => {}
            }
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Masked::new(text)
            .all_code()
            .map(|(_, line)| line.trim_end().to_owned() + "\n")
            .collect()
    }

    #[test]
    fn names_in_comments_and_strings_are_not_code() {
        let text = "let a = \"axum\"; // tonic\n/* sea_orm /* nested */ still */ let b = r#\"x\"axum\"#;\n";
        let seen = code(text);
        assert!(
            !seen.contains("axum") && !seen.contains("tonic") && !seen.contains("sea_orm"),
            "{seen}"
        );
        assert!(seen.contains("let a =") && seen.contains("let b ="), "{seen}");
    }

    #[test]
    fn a_quote_in_a_character_or_a_lifetime_opens_no_string() {
        let seen = code("let q = '\"'; fn f<'a>(x: &'a str) { '\\'' } tonic\n");
        assert!(seen.contains("tonic") && seen.contains("fn f<'a>"), "{seen}");
    }

    #[test]
    fn code_in_a_test_module_is_told_apart() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { {} }\n}\nfn c() {}\n";
        let masked = Masked::new(text);
        let lines: Vec<usize> = masked.code().map(|(number, _)| number).collect();
        assert_eq!(lines, [1, 6]);
        assert_eq!(masked.line_count(), 2);
    }

    #[test]
    fn comments_are_kept_as_comments() {
        let masked = Masked::new("let a = 1; // why\n");
        assert!(
            masked
                .comments()
                .any(|(number, line)| number == 1 && line.contains("why"))
        );
    }
}
