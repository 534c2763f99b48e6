//! The one switch that stops everything.

use maud::{Markup, html};

use super::{PATH, waiting};
use crate::http::error::Problem;
use crate::http::page::asked::{Answer, Asked, again, done};
use crate::http::page::form::{Field, Form, Refused, Sent, Wrong};
use crate::http::page::format;
use crate::update::Freeze;

/// Longest reason, in characters.
const REASON_MAX: u32 = 500;

/// Draws the switch, with buttons if whoever looks may press them.
pub(super) fn draw(freeze: &Freeze, wrong: &Wrong, may_act: bool) -> Markup {
    let to = format!("{PATH}/freeze");
    let form = Form::of(vec![
        Field::hidden("frozen", "yes"),
        Field::text("reason", "Why", "holidays")
            .at_most(REASON_MAX)
            .required()
            .wide(),
    ]);
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
                    (form.draw_row("bare", &to, Some((&Sent::default(), wrong)), "Switch it on: nothing is changed"))
                }
            }
        }
    }
}

/// Sets the switch. On without a reason is refused: who finds it on wants to know why.
pub(in crate::http) async fn set(asked: Asked) -> Answer {
    let [frozen, reason] = asked.texts(["frozen", "reason"])?;
    let frozen = match frozen {
        "yes" => true,
        "no" => false,
        _ => return Err(Problem::field("frozen", "yes or no is needed")),
    };
    match put(&asked, frozen, reason.trim()).await {
        Ok(()) => done(if frozen { "on" } else { "off" }, PATH),
        Err(refused) => {
            let wrong = refused.wrong()?;
            again(waiting::page(&asked.state, &asked.caller, 0, &wrong, &[]).await?)
        }
    }
}

async fn put(asked: &Asked, frozen: bool, reason: &str) -> Result<(), Refused> {
    if frozen && reason.is_empty() {
        let why = "say why: whoever finds it on wants to know";
        return Err(Problem::field("reason", why).into());
    }
    asked.state.updates.set_freeze(frozen, reason, asked.by()).await?;
    Ok(())
}
