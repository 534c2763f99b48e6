//! The one switch that stops everything.

use axum::extract::{Extension, Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::{PATH, Wrong, waiting};
use crate::http::HttpState;
use crate::http::access::{Caller, Told};
use crate::http::error::Problem;
use crate::http::page::format;
use crate::update::{Freeze, UpdateError};

/// Longest reason, in characters.
const REASON_MAX: u32 = 500;

/// Draws the switch, with buttons if whoever looks may press them.
pub(super) fn draw(freeze: &Freeze, wrong: &Wrong, may_act: bool) -> Markup {
    let to = format!("{PATH}/freeze");
    html! {
        section class={ "card notice " (if freeze.frozen { "bad" } else { "good" }) } id="freeze" {
            @if freeze.frozen {
                strong { "The freeze switch is on: nothing is begun that changes a container." }
                p {
                    @if freeze.reason.is_empty() { "No reason was given." } @else { (freeze.reason) }
                    " " span class="soft" { "(" (freeze.by) ", " (format::time(freeze.changed_ms)) ")" }
                }
            } @else {
                strong { "The freeze switch is off." } " "
                span class="soft" { "What may begin begins." }
            }
            @if may_act && freeze.frozen {
                form method="post" action=(to) class="plain" {
                    input type="hidden" name="frozen" value="no";
                    button type="submit" { "Switch it off: updates go on" }
                }
            }
            @if may_act && !freeze.frozen {
                details open[!wrong.is_empty()] {
                    summary { "Stop everything" }
                    form method="post" action=(to) class="row bare" {
                        input type="hidden" name="frozen" value="yes";
                        label class="wide" {
                            "Why"
                            input name="reason" required maxlength=(REASON_MAX) autocomplete="off" placeholder="holidays";
                            (wrong.at("reason"))
                        }
                        button type="submit" { "Switch it on: nothing is changed" }
                    }
                }
            }
        }
    }
}

/// How the switch is to be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct FreezeForm {
    frozen: String,
    #[serde(default)]
    reason: String,
}

/// Sets the switch. On without a reason is refused: who finds it on wants to know why.
pub(in crate::http) async fn set(
    State(state): State<HttpState>,
    caller: Caller,
    Form(form): Form<FreezeForm>,
) -> Result<Response, Problem> {
    let frozen = match form.frozen.as_str() {
        "yes" => true,
        "no" => false,
        _ => return Err(Problem::field("frozen", "yes or no is needed")),
    };
    let reason = form.reason.trim();
    let mut wrong = Wrong::default();
    if frozen && reason.is_empty() {
        wrong.note("reason", "say why: whoever finds it on wants to know");
    } else {
        let set = state
            .updates
            .set_freeze(frozen, reason, &caller.principal.username)
            .await;
        match set {
            Ok(_) => {
                let told = Told(if frozen { "on" } else { "off" }.to_owned());
                return Ok((Extension(told), Redirect::to(PATH)).into_response());
            }
            Err(UpdateError::Invalid(problems)) => wrong = problems.into(),
            Err(error) => return Err(error.into()),
        }
    }
    let page = waiting::page(&state, &caller, 0, &wrong, &[]).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}
