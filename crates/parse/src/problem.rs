//! What a parser could not understand, and how it hands that back.
//!
//! The list is bounded: input is somebody else's and may be a gigabyte of nonsense. Past
//! [`Problems::MAX`] entries further ones are only counted, and one last entry says how many there were.

use serde::Serialize;

/// Something in the input that could not be read or understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Line of the input, counted from 1; absent where the format has no lines (JSON fields, bytes).
    pub line: Option<u32>,
    /// What was expected and what was found; lowercase, without a full stop.
    pub message: String,
}

/// What was read, beside what could not be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Parsed<T> {
    /// Everything that was understood; possibly empty.
    pub value: T,
    /// Everything that was not.
    pub problems: Vec<Problem>,
}

impl<T> Parsed<T> {
    /// Turns the value into another and keeps the problems.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Parsed<U> {
        Parsed {
            value: change(self.value),
            problems: self.problems,
        }
    }
}

/// Gathers problems up to a bound.
#[derive(Debug, Default)]
pub struct Problems {
    kept: Vec<Problem>,
    left_out: usize,
}

impl Problems {
    /// The most problems kept of one input.
    pub const MAX: usize = 100;

    /// Notes a problem of the line with this index (counted from 0, as `enumerate` does).
    pub fn at_index(&mut self, index: usize, message: impl Into<String>) {
        let line = u32::try_from(index).ok().and_then(|index| index.checked_add(1));
        self.push(Problem {
            line,
            message: message.into(),
        });
    }

    /// Notes a problem that belongs to no line.
    pub fn overall(&mut self, message: impl Into<String>) {
        self.push(Problem {
            line: None,
            message: message.into(),
        });
    }

    /// Pairs a value with what was gathered.
    pub fn with<T>(mut self, value: T) -> Parsed<T> {
        if 0 < self.left_out {
            let message = format!("{} further problems left out", self.left_out);
            self.kept.push(Problem { line: None, message });
        }
        Parsed {
            value,
            problems: self.kept,
        }
    }

    fn push(&mut self, problem: Problem) {
        if self.kept.len() < Self::MAX {
            self.kept.push(problem);
        } else {
            self.left_out += 1;
        }
    }
}

/// The start of a piece of input, short enough for a message.
pub(crate) fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut short: String = text
        .chars()
        .take(CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_past_the_bound_are_counted_instead_of_kept() {
        let mut problems = Problems::default();
        for index in 0..Problems::MAX + 7 {
            problems.at_index(index, "odd");
        }
        let parsed = problems.with(());
        assert_eq!(parsed.problems.len(), Problems::MAX + 1);
        assert_eq!(
            parsed.problems[Problems::MAX].message,
            "7 further problems left out"
        );
        assert_eq!(parsed.problems[0].line, Some(1));
    }

    #[test]
    fn an_excerpt_is_short_and_has_no_control_characters() {
        assert_eq!(excerpt("a\tb"), "a b");
        assert_eq!(excerpt(&"ä".repeat(200)).chars().count(), 61);
    }
}
