//! The form of a registry. A password is never among what is shown.

use crate::app::registries::{RegistryFields, RegistryView};
use crate::http::page::form::{Field, Form, Sent};

/// The fields of one that is there, or of a new one.
pub(super) fn fields(old: Option<&RegistryView>) -> Form {
    let has_password = old.is_some_and(|old| old.has_password);
    let password = if has_password {
        Field::secret("password", "Another password or token").hint("as it is")
    } else {
        Field::secret("password", "Password or token")
    };
    let mut fields = vec![
        Field::text("name", "Name", "our own"),
        Field::text("registry_url", "Where it is", "https://registry.example.org"),
        Field::text("description", "What it is for", ""),
        Field::text("username", "User name", "can be left out"),
        password.at_most(4_096),
        Field::text("email", "Email", "can be left out"),
    ];
    if has_password {
        fields.push(Field::mark("forget", "forget the password", false));
    }
    fields.push(Field::mark("allow_http", "may be talked to without TLS", false));
    fields.push(Field::mark("enabled", "is asked", true));
    Form::default()
        .section("Where it is, and who we are there", "")
        .row(fields)
}

/// What is written in the form of one that is there.
pub(super) fn sent(view: &RegistryView) -> Sent {
    Sent::default()
        .with("name", &view.name)
        .with("description", &view.description)
        .with("registry_url", &view.url)
        .with("username", &view.username)
        .with("email", &view.email)
        .marked("allow_http", view.allow_http)
        .marked("enabled", view.enabled)
}

/// What is meant.
pub(super) fn meant(sent: &Sent) -> RegistryFields {
    // An empty password leaves the one that is set, unless it is to be forgotten.
    let password = match (sent.text("password"), sent.is_on("forget")) {
        ("", false) => None,
        (password, _) => Some(password.to_owned()),
    };
    RegistryFields {
        name: Some(sent.trimmed("name")),
        description: Some(sent.trimmed("description")),
        url: Some(sent.trimmed("registry_url")),
        username: Some(sent.trimmed("username")),
        password,
        email: Some(sent.trimmed("email")),
        allow_http: Some(sent.is_on("allow_http")),
        enabled: Some(sent.is_on("enabled")),
    }
}
