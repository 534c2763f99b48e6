//! The form of a registry.

use maud::{Markup, html};
use serde::Deserialize;

use super::super::{Field, Wrong};
use crate::app::registries::{RegistryFields, RegistryView};

/// Fields at which something can be wrong.
pub(super) const FIELDS: [&str; 8] = [
    "name",
    "description",
    "registry_url",
    "username",
    "password",
    "email",
    "allow_http",
    "enabled",
];

/// What is written in the form. A password is never among what is shown.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::http) struct RegistryForm {
    name: String,
    description: String,
    registry_url: String,
    username: String,
    password: String,
    email: String,
    allow_http: String,
    enabled: String,
    forget: String,
}

impl RegistryForm {
    /// Of a registry that is to be made.
    pub(super) fn fresh() -> Self {
        Self {
            enabled: "yes".to_owned(),
            ..Self::default()
        }
    }

    /// Of one that is there.
    pub(super) fn of(view: &RegistryView) -> Self {
        let mark = |is_on: bool| if is_on { "yes" } else { "" }.to_owned();
        Self {
            name: view.name.clone(),
            description: view.description.clone(),
            registry_url: view.url.clone(),
            username: view.username.clone(),
            email: view.email.clone(),
            allow_http: mark(view.allow_http),
            enabled: mark(view.enabled),
            ..Self::default()
        }
    }

    /// What is meant.
    pub(super) fn fields(&self) -> RegistryFields {
        // An empty password leaves the one that is set, unless it is to be forgotten.
        let password = match (self.password.is_empty(), self.forget.is_empty()) {
            (false, _) => Some(self.password.clone()),
            (true, false) => Some(String::new()),
            (true, true) => None,
        };
        RegistryFields {
            name: Some(self.name.trim().to_owned()),
            description: Some(self.description.trim().to_owned()),
            url: Some(self.registry_url.trim().to_owned()),
            username: Some(self.username.trim().to_owned()),
            password,
            email: Some(self.email.trim().to_owned()),
            allow_http: Some(!self.allow_http.is_empty()),
            enabled: Some(!self.enabled.is_empty()),
        }
    }

    /// Draws the form.
    pub(super) fn draw(&self, action: &str, wrong: &Wrong, has_password: bool) -> Markup {
        let field = |label, name, value, hint| {
            Field {
                label,
                name,
                value,
                hint,
                bytes_max: 1_000,
            }
            .draw(wrong)
        };
        html! {
            section class="card" {
                form method="post" action=(action) class="row first" {
                    (field("Name", "name", &self.name, "our own"))
                    (field("Where it is", "registry_url", &self.registry_url, "https://registry.example.org"))
                    (field("What it is for", "description", &self.description, ""))
                    (field("User name", "username", &self.username, "can be left out"))
                    label {
                        @if has_password { "Another password or token" } @else { "Password or token" }
                        input name="password" type="password" maxlength="4096" autocomplete="new-password"
                            placeholder=[has_password.then_some("as it is")];
                        (wrong.at("password"))
                    }
                    (field("Email", "email", &self.email, "can be left out"))
                    @if has_password {
                        label class="inline" { input type="checkbox" name="forget" value="yes"; " forget the password" }
                    }
                    label class="inline" {
                        input type="checkbox" name="allow_http" value="yes" checked[!self.allow_http.is_empty()];
                        " may be talked to without TLS"
                    }
                    (wrong.at("allow_http"))
                    label class="inline" {
                        input type="checkbox" name="enabled" value="yes" checked[!self.enabled.is_empty()]; " is asked"
                    }
                    button type="submit" { "Keep it" }
                }
            }
        }
    }
}
