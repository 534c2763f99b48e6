//! What was written in a form, and what is wrong with it.

use std::collections::BTreeMap;
use std::str::FromStr;

use maud::{Markup, html};

use super::{DAYS, Form, Kind};
use crate::alert::AlertError;
use crate::app::AppError;
use crate::app::registries::RegistryUseError;
use crate::app::tokens::TokenError;
use crate::app::users::UserError;
use crate::http::error::{Code, Problem};
use crate::update::UpdateError;

/// Most that is taken of what can be several.
pub(super) const SEVERAL_MAX: usize = 200;

/// What is written in the fields of a form. Not to be logged: some of it may be a secret.
#[derive(Clone, Default)]
pub(in crate::http::page) struct Sent(BTreeMap<&'static str, Vec<String>>);

impl Sent {
    /// Reads what a browser sent. A field that there is not is a mistake: it would be lost.
    pub(in crate::http::page) fn read(form: &Form, pairs: &[(String, String)]) -> Result<Self, Problem> {
        let mut sent = Self::default();
        for (name, value) in pairs {
            let mut fields = form.fields();
            let known = fields.find(|field| field.name == name && !matches!(field.kind, Kind::Words));
            let known = known.ok_or_else(|| Problem::field(name, "there is no such field"))?;
            let at_most = match known.kind {
                Kind::Several(_) => SEVERAL_MAX,
                _ => 1,
            };
            let values = sent.0.entry(known.name).or_default();
            if at_most <= values.len() {
                return Err(Problem::field(name, format!("at most {at_most} of it is taken")));
            }
            values.push(value.replace("\r\n", "\n"));
        }
        Ok(sent)
    }

    /// With a text in a field; nothing if it is empty.
    pub(in crate::http::page) fn with(mut self, name: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        if !text.is_empty() {
            self.0.entry(name).or_default().push(text);
        }
        self
    }

    /// With a number in a field, if there is one.
    pub(in crate::http::page) fn with_number(self, name: &'static str, number: Option<i64>) -> Self {
        self.with(name, number.map(|number| number.to_string()).unwrap_or_default())
    }

    /// With a mark that is on or not.
    pub(in crate::http::page) fn marked(self, name: &'static str, is_on: bool) -> Self {
        self.with(name, if is_on { "yes" } else { "" })
    }

    /// Everything of a field.
    pub(super) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The text of a field, as it was written.
    pub(in crate::http::page) fn text(&self, name: &str) -> &str {
        self.all(name).first().map_or("", String::as_str)
    }

    /// The text of a field without the space around it.
    pub(in crate::http::page) fn trimmed(&self, name: &str) -> String {
        self.text(name).trim().to_owned()
    }

    /// The text of a field, if there is one.
    pub(in crate::http::page) fn given(&self, name: &str) -> Option<String> {
        given(self.text(name))
    }

    /// Whether a mark is on.
    pub(in crate::http::page) fn is_on(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }

    /// The days that are marked.
    pub(in crate::http::page) fn days(&self) -> Vec<&'static str> {
        let days = DAYS.iter().map(|(day, _)| *day);
        days.filter(|day| self.is_on(day)).collect()
    }

    /// A whole number, if one is given; noted if it is none.
    pub(in crate::http::page) fn number<T: FromStr>(&self, name: &str, wrong: &mut Wrong) -> Option<T> {
        number(name, self.text(name), wrong)
    }

    /// Whole numbers; noted if one is none.
    pub(in crate::http::page) fn numbers<T: FromStr>(&self, name: &str, wrong: &mut Wrong) -> Vec<T> {
        let all = self.all(name).iter();
        all.filter_map(|text| number(name, text, wrong)).collect()
    }
}

fn number<T: FromStr>(name: &str, text: &str, wrong: &mut Wrong) -> Option<T> {
    let read = given(text)?.parse().ok();
    if read.is_none() {
        wrong.note(name, "a whole number is needed");
    }
    read
}

/// A text that is not empty.
pub(in crate::http::page) fn given(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// What is wrong with the fields of a form, by name.
#[derive(Debug, Default)]
pub(in crate::http::page) struct Wrong(Vec<(String, String)>);

impl Wrong {
    /// Whether nothing is.
    pub(in crate::http::page) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what is wrong with a field.
    pub(in crate::http::page) fn note(&mut self, field: &str, message: impl Into<String>) {
        self.0.push((field.to_owned(), message.into()));
    }

    /// What was read, if nothing is wrong with it.
    pub(in crate::http::page) fn unless<T>(self, read: T) -> Result<T, Refused> {
        if self.is_empty() {
            Ok(read)
        } else {
            Err(Refused::Fields(self))
        }
    }

    /// What is wrong with a field, at the field.
    pub(super) fn at(&self, field: &str) -> Markup {
        html! {
            @for (_, message) in self.0.iter().filter(|(name, _)| name == field) {
                span class="wrong" role="alert" { (message) }
            }
        }
    }

    /// That something is wrong, and what of it has no field in the form.
    pub(in crate::http::page) fn draw(&self, form: &Form) -> Markup {
        let is_elsewhere = |name: &str| !form.fields().any(|field| field.known_as == name);
        let others: Vec<_> = self.0.iter().filter(|(name, _)| is_elsewhere(name)).collect();
        html! {
            @if !self.is_empty() {
                section class="card notice bad" role="alert" {
                    strong { "It was not kept: look at the fields below." }
                    @if !others.is_empty() { ul { @for (name, message) in others { li { (name) ": " (message) } } } }
                }
            }
        }
    }
}

/// Why what was sent is not done.
#[derive(Debug)]
pub(in crate::http::page) enum Refused {
    /// The form is shown again, with this.
    Fields(Wrong),
    /// It does not lie with the form.
    Otherwise(Problem),
}

impl Refused {
    fn field(name: &str, message: impl Into<String>) -> Self {
        Self::Fields(Wrong(vec![(name.to_owned(), message.into())]))
    }

    /// What is wrong with the fields, if it lies with them.
    pub(in crate::http::page) fn wrong(self) -> Result<Wrong, Problem> {
        match self {
            Self::Fields(wrong) => Ok(wrong),
            Self::Otherwise(problem) => Err(problem),
        }
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        match &problem.parameter {
            Some(name) if problem.code == Code::InvalidBody => {
                let message = problem.detail.strip_prefix(name.as_str());
                let message = message.and_then(|rest| rest.strip_prefix(": "));
                Self::field(name, message.unwrap_or(&problem.detail))
            }
            _ => Self::Otherwise(problem),
        }
    }
}

/// Which failures of use-cases lie with fields: those that name them, and what is taken.
macro_rules! refusals {
    ($($error:ident { $($taken:pat => $field:literal),* })*) => {$(
        impl From<$error> for Refused {
            fn from(error: $error) -> Self {
                match error {
                    $error::Invalid(problems) => {
                        let all = problems.into_iter().map(|problem| (problem.field.into(), problem.message));
                        Self::Fields(Wrong(all.collect()))
                    }
                    $(error @ $taken => Self::field($field, error.to_string()),)*
                    error => Self::Otherwise(error.into()),
                }
            }
        }
    )*};
}

refusals! {
    AlertError {}
    AppError {}
    RegistryUseError {
        RegistryUseError::NameTaken => "name",
        RegistryUseError::HostTaken => "registry_url"
    }
    TokenError {}
    UpdateError {}
    UserError { UserError::NameTaken(_) => "username" }
}
