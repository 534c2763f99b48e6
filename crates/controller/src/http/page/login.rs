//! The door, and the page for what went wrong.

use maud::{Markup, html};

use super::layout::{brand, document};
use crate::http::error::ProblemBody;

/// The form that asks for name and password; `refusal` says why the last try failed.
pub(super) fn form(refusal: Option<&str>) -> Markup {
    let body = html! {
        div class="door" {
            form class="card" method="post" action="/login" {
                (brand())
                @if let Some(refusal) = refusal {
                    p class="notice bad" role="alert" { (refusal) }
                }
                label {
                    "User name"
                    input name="username" value="admin" autocomplete="username" required maxlength="255";
                }
                label {
                    "Password"
                    input name="password" type="password" autocomplete="current-password" required autofocus maxlength="1024";
                }
                button class="main" type="submit" { "Log in" }
                p class="soft" {
                    "The first password is in the file " code { "admin-password" } " of the controller's data directory."
                }
            }
        }
    };
    document("Log in", &body)
}

/// What a person sees in place of a problem+json body.
pub(in crate::http) fn problem(problem: &ProblemBody) -> Markup {
    let body = html! {
        div class="door" {
            div class="card" {
                (brand())
                h1 { (problem.title) }
                p { (problem.detail) }
                p class="soft" { (problem.status) " · request " code { (problem.request_id) } }
                p { a href="/" { "Back to all servers" } }
            }
        }
    };
    document(problem.title, &body)
}
