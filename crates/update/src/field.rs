//! Fields that are not as they should be.

use serde::Serialize;

/// A field that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldProblem {
    /// Its name.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// What is wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<FieldProblem>);

impl Problems {
    pub(crate) fn note(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(FieldProblem {
            field: field.to_owned(),
            message: message.into(),
        });
    }

    /// Checks that a text has 1 to `chars_max` characters, none of which is a control character.
    pub(crate) fn text(&mut self, field: &str, text: &str, chars_max: usize) {
        let chars = text.chars().count();
        if text.trim().is_empty() {
            self.note(field, "must not be empty");
        } else if chars_max < chars {
            self.note(
                field,
                format!("is {chars} characters long, at most {chars_max} are taken"),
            );
        } else if text.chars().any(char::is_control) {
            self.note(field, "has a character that cannot be shown");
        }
    }

    /// Checks how many entries a list has, and each of them.
    pub(crate) fn texts(&mut self, field: &str, texts: &[String], count_max: usize) {
        if count_max < texts.len() {
            self.note(field, format!("at most {count_max} entries are taken"));
        }
        for text in texts.iter().take(count_max) {
            self.text(field, text, 200);
        }
    }

    pub(crate) fn finish<T>(self, read: Option<T>) -> Result<T, Vec<FieldProblem>> {
        match read {
            Some(read) if self.0.is_empty() => Ok(read),
            _ => Err(self.0),
        }
    }
}
