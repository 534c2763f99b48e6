//! Forms: which fields there are, what is written in them, and what is wrong with that.
//!
//! A page says which [`Field`]s its form has and no more: how they are drawn, what is taken from a browser and where it is
//! said what is wrong follow from them. What was written stays while something is wrong with it.

mod sent;

use maud::{Markup, html};

pub(super) use self::sent::{Refused, Sent, Wrong, given};

/// Longest text of a field that says nothing else, in bytes.
const BYTES_MAX: u32 = 2_000;
/// Days as the API names them, and as they are shown.
pub(super) const DAYS: [(&str, &str); 7] = [
    ("mon", "Mon"),
    ("tue", "Tue"),
    ("wed", "Wed"),
    ("thu", "Thu"),
    ("fri", "Fri"),
    ("sat", "Sat"),
    ("sun", "Sun"),
];

/// What can be chosen: as it is sent, and as it is shown.
pub(super) type Choice = (String, String);

/// Choices that are always the same.
pub(super) fn choices(all: &[(&str, &str)]) -> Vec<Choice> {
    let owned = |(value, shown): &(&str, &str)| ((*value).to_owned(), (*shown).to_owned());
    all.iter().map(owned).collect()
}

/// Choices by number, behind what is shown for none of them.
pub(super) fn numbered(none: &str, known: &[(i64, String)]) -> Vec<Choice> {
    let none = std::iter::once((String::new(), none.to_owned()));
    none.chain(known.iter().map(|(id, name)| (id.to_string(), name.clone())))
        .collect()
}

/// What was written in a form and could not be taken, and why.
pub(super) type Written<'a> = (&'a Sent, &'a Wrong);

/// A form: sections of rows of fields.
#[derive(Debug, Default)]
pub(super) struct Form(Vec<Section>);

#[derive(Debug)]
struct Section {
    title: &'static str,
    aside: &'static str,
    rows: Vec<Vec<Field>>,
}

impl Form {
    /// Of one row, that stands among other things.
    pub(super) fn of(fields: Vec<Field>) -> Self {
        Self::default().section("", "").row(fields)
    }

    /// With another section.
    pub(super) fn section(mut self, title: &'static str, aside: &'static str) -> Self {
        let rows = Vec::new();
        self.0.push(Section { title, aside, rows });
        self
    }

    /// With another row in its last section.
    pub(super) fn row(mut self, fields: Vec<Field>) -> Self {
        self.0
            .last_mut()
            .expect("a row is in a section")
            .rows
            .push(fields);
        self
    }

    fn fields(&self) -> impl Iterator<Item = &Field> {
        self.0.iter().flat_map(|section| section.rows.iter().flatten())
    }

    /// What is written in it before anybody wrote.
    pub(super) fn fresh(&self) -> Sent {
        self.fields()
            .fold(Sent::default(), |sent, field| sent.with(field.name, field.usual))
    }

    /// Draws it as the main thing of a page; for whoever may not change anything, so that it only shows.
    pub(super) fn draw(&self, action: &str, sent: &Sent, wrong: &Wrong, may_change: bool) -> Markup {
        html! {
            form method=(if may_change { "post" } else { "get" }) action=(action) {
                fieldset disabled[!may_change] {
                    @for section in &self.0 {
                        section class="card" {
                            header { h2 { (section.title) } @if !section.aside.is_empty() { span class="soft" { (section.aside) } } }
                            @for (place, row) in section.rows.iter().enumerate() {
                                div class={ "row " (if place == 0 { "first" } else { "bare" }) } {
                                    @for field in row { (field.draw(sent, wrong)) }
                                }
                            }
                        }
                    }
                    @if may_change { div class="acts" { button type="submit" class="strong" { "Keep it" } } }
                }
            }
        }
    }

    /// Draws it as a row among other things, with what its button says; as new if nothing was written in it.
    pub(super) fn draw_row(
        &self,
        class: &str,
        action: &str,
        written: Option<Written<'_>>,
        button: &str,
    ) -> Markup {
        let (fresh, nothing) = (self.fresh(), Wrong::default());
        let (sent, wrong) = written.unwrap_or((&fresh, &nothing));
        html! {
            form method="post" action=(action) class={ "row " (class) } {
                @for field in self.fields() { (field.draw(sent, wrong)) }
                button type="submit" { (button) }
            }
        }
    }
}

/// A field of a form.
#[derive(Debug)]
pub(super) struct Field {
    name: &'static str,
    /// As what it is known where it is said what is wrong.
    known_as: &'static str,
    label: &'static str,
    hint: &'static str,
    usual: &'static str,
    bytes_max: u32,
    is_required: bool,
    is_wide: bool,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Text,
    /// Several lines of text.
    Lines,
    /// A whole number from the first to the second.
    Number(i64, i64),
    /// What is never shown back.
    Secret,
    Mark,
    /// What is handed on and not shown.
    Hidden,
    One(Vec<Choice>),
    Several(Vec<Choice>),
    /// No field, but words, and what is wrong with those before them.
    Words,
}

impl Field {
    fn new(name: &'static str, label: &'static str, kind: Kind) -> Self {
        Self {
            name,
            known_as: name,
            label,
            hint: "",
            usual: "",
            bytes_max: BYTES_MAX,
            is_required: false,
            is_wide: false,
            kind,
        }
    }

    /// A text; the hint is what could stand there.
    pub(super) fn text(name: &'static str, label: &'static str, hint: &'static str) -> Self {
        Self::new(name, label, Kind::Text).hint(hint)
    }

    /// Several lines of text.
    pub(super) fn lines(name: &'static str, label: &'static str) -> Self {
        Self::new(name, label, Kind::Lines).wide()
    }

    /// A whole number.
    pub(super) fn number(name: &'static str, label: &'static str, min: i64, max: i64) -> Self {
        Self::new(name, label, Kind::Number(min, max))
    }

    /// A password or the like.
    pub(super) fn secret(name: &'static str, label: &'static str) -> Self {
        Self::new(name, label, Kind::Secret)
    }

    /// A mark, that is on in a new form or not.
    pub(super) fn mark(name: &'static str, label: &'static str, is_usual: bool) -> Self {
        Self::new(name, label, Kind::Mark).usual(if is_usual { "yes" } else { "" })
    }

    /// Something that is always sent along.
    pub(super) fn hidden(name: &'static str, value: &'static str) -> Self {
        Self::new(name, "", Kind::Hidden).usual(value)
    }

    /// One of several.
    pub(super) fn one(name: &'static str, label: &'static str, choices: Vec<Choice>) -> Self {
        Self::new(name, label, Kind::One(choices))
    }

    /// Some of several.
    pub(super) fn several(name: &'static str, label: &'static str, choices: Vec<Choice>) -> Self {
        Self::new(name, label, Kind::Several(choices))
    }

    /// Words about the fields before, which have this name together.
    pub(super) fn words(known_as: &'static str, words: &'static str) -> Self {
        Self::new("", words, Kind::Words).known_as(known_as)
    }

    /// A mark for each day of the week.
    pub(super) fn days() -> impl Iterator<Item = Self> {
        DAYS.into_iter().map(|(day, shown)| Self::mark(day, shown, false))
    }

    /// What could stand there.
    pub(super) fn hint(mut self, hint: &'static str) -> Self {
        self.hint = hint;
        self
    }

    /// What stands there at first.
    pub(super) fn usual(mut self, text: &'static str) -> Self {
        self.usual = text;
        self
    }

    /// Another name of it where it is said what is wrong.
    pub(super) fn known_as(mut self, name: &'static str) -> Self {
        self.known_as = name;
        self
    }

    /// At most so many bytes.
    pub(super) fn at_most(mut self, bytes: u32) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// It can't be left out.
    pub(super) fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    /// It takes as much room as there is.
    pub(super) fn wide(mut self) -> Self {
        self.is_wide = true;
        self
    }

    fn draw(&self, sent: &Sent, wrong: &Wrong) -> Markup {
        let wrong = wrong.at(self.known_as);
        html! {
            @match &self.kind {
                Kind::Hidden => { input type="hidden" name=(self.name) value=(self.usual); }
                Kind::Words => { (wrong) span class="soft" { (self.label) } }
                Kind::Mark => { (self.check("yes", self.label, sent)) (wrong) }
                Kind::Several(choices) => {
                    span class="soft" { (self.label) }
                    @for (value, shown) in choices { (self.check(value, shown, sent)) }
                    @for value in unlisted(choices, sent.all(self.name)) { (self.check(value, value, sent)) }
                    (wrong)
                }
                _ => {
                    label class=[self.is_wide.then_some("wide")] {
                        (self.label)
                        (self.control(sent.text(self.name)))
                        (wrong)
                    }
                }
            }
        }
    }

    fn check(&self, value: &str, shown: &str, sent: &Sent) -> Markup {
        let is_on = sent.all(self.name).iter().any(|one| one == value);
        html! {
            label class="inline" { input type="checkbox" name=(self.name) value=(value) checked[is_on]; " " (shown) }
        }
    }

    fn control(&self, value: &str) -> Markup {
        let hint = (!self.hint.is_empty()).then_some(self.hint);
        html! {
            @match &self.kind {
                Kind::Lines => { textarea name=(self.name) rows="2" { (value) } }
                Kind::One(choices) => {
                    select name=(self.name) {
                        @for value in unlisted(choices, &[value]) { option value=(value) selected { (value) } }
                        @for (known, shown) in choices { option value=(known) selected[known == value] { (shown) } }
                    }
                }
                Kind::Number(min, max) => {
                    input name=(self.name) type="number" min=(min) max=(max) value=(value) placeholder=[hint] required[self.is_required];
                }
                Kind::Secret => {
                    input name=(self.name) type="password" maxlength=(self.bytes_max) placeholder=[hint] required[self.is_required]
                        autocomplete="new-password";
                }
                _ => {
                    input name=(self.name) value=(value) placeholder=[hint] maxlength=(self.bytes_max) required[self.is_required]
                        autocomplete="off";
                }
            }
        }
    }
}

/// What is chosen and not in the list. It stays what it is: nothing becomes wider by being looked at.
fn unlisted<'a, T: AsRef<str>>(choices: &[Choice], chosen: &'a [T]) -> impl Iterator<Item = &'a str> {
    let chosen = chosen.iter().map(AsRef::as_ref);
    chosen.filter(move |value| !value.is_empty() && !choices.iter().any(|(known, _)| known == value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> Form {
        Form::default()
            .section("One", "")
            .row(vec![
                Field::text("name", "Name", "web").required(),
                Field::secret("password", "Password"),
                Field::mark("enabled", "it counts", true),
                Field::one("server", "Server", numbered("any", &[(1, "web".to_owned())])),
            ])
            .section("Two", "more")
            .row(vec![Field::several(
                "channels",
                "Channels",
                choices(&[("7", "mail")]),
            )])
    }

    fn read(pairs: &[(&str, &str)]) -> Result<Sent, crate::http::error::Problem> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Sent::read(&form(), &pairs.iter().map(owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_was_written_stays_with_what_is_wrong_beside_it_and_a_secret_is_not_shown_back() {
        let sent = read(&[
            ("name", "<b>"),
            ("password", "canary"),
            ("server", "501"),
            ("channels", "7"),
            ("channels", "9"),
        ])
        .unwrap();
        let mut wrong = Wrong::default();
        wrong.note("name", "it is odd");
        let drawn = form().draw("/x", &sent, &wrong, true).into_string();
        for part in [
            "value=\"&lt;b&gt;\"",
            "<span class=\"wrong\" role=\"alert\">it is odd</span>",
            "<option value=\"501\" selected>501</option>",
            "value=\"7\" checked> mail",
            "value=\"9\" checked> 9",
            "name=\"enabled\" value=\"yes\"> it counts",
            "Keep it",
        ] {
            assert!(drawn.contains(part), "{part} in {drawn}");
        }
        assert!(!drawn.contains("canary"), "{drawn}");
        let shown = form().draw("/x", &sent, &wrong, false).into_string();
        assert!(shown.contains("<fieldset disabled>") && !shown.contains("method=\"post\""));
    }

    #[test]
    fn a_new_form_has_what_is_usual() {
        let fresh = form().fresh();
        assert!(fresh.is_on("enabled") && fresh.text("name").is_empty());
    }

    #[test]
    fn a_field_that_there_is_not_or_is_there_twice_is_refused() {
        assert!(read(&[("unheard_of", "x")]).is_err());
        assert!(read(&[("name", "x"), ("name", "y")]).is_err());
        let many: Vec<(&str, &str)> = (0..=sent::SEVERAL_MAX).map(|_| ("channels", "7")).collect();
        assert!(read(&many).is_err());
    }
}
