//! What could not be read of a document. Bounded: past [`MAX`] entries the rest is only counted.

use std::cell::RefCell;

use serde::Serialize;

/// The most problems kept of one document.
const MAX: usize = 100;

/// Something in the document that was not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where: the path of the field (`ata_smart_attributes.table[3].raw.value`), empty for the whole document.
    pub field: String,
    /// Line of the text, counted from 1, for text that is not JSON.
    pub line: Option<u32>,
    /// What was expected and what was found; lowercase, without a full stop.
    pub message: String,
}

/// Gathers problems while many readers hold it.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    kept: RefCell<Vec<Problem>>,
    left_out: RefCell<usize>,
}

impl Problems {
    /// Notes a problem of a field.
    pub(crate) fn at(&self, field: &str, message: impl Into<String>) {
        self.push(Problem {
            field: field.to_owned(),
            line: None,
            message: message.into(),
        });
    }

    /// Notes text that is no JSON.
    pub(crate) fn not_json(&self, error: &serde_json::Error) {
        let line = u32::try_from(error.line()).ok();
        self.push(Problem {
            field: String::new(),
            line,
            message: format!("not a whole JSON document: {error}"),
        });
    }

    /// Everything gathered.
    pub(crate) fn into_vec(self) -> Vec<Problem> {
        let mut kept = self.kept.into_inner();
        let left_out = self.left_out.into_inner();
        if 0 < left_out {
            let message = format!("{left_out} further problems left out");
            kept.push(Problem {
                field: String::new(),
                line: None,
                message,
            });
        }
        kept
    }

    fn push(&self, problem: Problem) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() < MAX {
            kept.push(problem);
        } else {
            *self.left_out.borrow_mut() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_past_the_bound_are_counted_instead_of_kept() {
        let problems = Problems::default();
        for _ in 0..MAX + 5 {
            problems.at("a", "odd");
        }
        let all = problems.into_vec();
        assert_eq!(all.len(), MAX + 1);
        assert_eq!(all[MAX].message, "5 further problems left out");
    }
}
