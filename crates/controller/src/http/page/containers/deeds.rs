//! What people do with a container, as forms: each is a command to the agent, whose own policy has the last word.

use maud::{Markup, html};
use muster_model::{LogRange, Verb};

use super::PATH;
use crate::app::commands::{IssueOptions, Issuer};
use crate::http::error::Code;
use crate::http::page::asked::{Answer, Asked, done};
use crate::http::page::format;
use crate::update::{Deed, Forgotten};

/// Lines of a log that are read.
const TAIL: u32 = 200;

/// Starts it.
pub(in crate::http) async fn start(asked: Asked) -> Answer {
    act(&asked, Deed::Start).await
}

/// Stops it.
pub(in crate::http) async fn stop(asked: Asked) -> Answer {
    act(&asked, Deed::Stop(None)).await
}

/// Stops and starts it.
pub(in crate::http) async fn restart(asked: Asked) -> Answer {
    act(&asked, Deed::Restart(None)).await
}

async fn act(asked: &Asked, deed: Deed) -> Answer {
    let id = asked.id(Code::ContainerNotFound)?;
    let command = asked.state.updates.act(id, deed, asked.by()).await?;
    back(id, format!("command {command}"))
}

/// Has the end of its log read; the page shows it when it is there.
pub(in crate::http) async fn logs(asked: Asked) -> Answer {
    let id = asked.id(Code::ContainerNotFound)?;
    let seen = asked.state.updates.container(id).await?;
    let verb = Verb::ContainerLogs {
        target: seen.target.clone(),
        range: LogRange {
            tail: Some(TAIL),
            ..LogRange::default()
        },
    };
    let issuer = Issuer::of(&asked.caller.principal);
    let commands = asked.state.app.commands();
    let row = commands
        .issue(seen.server(), verb, &issuer, IssueOptions::default())
        .await?;
    back(id, format!("command {}", row.id))
}

/// Has its registry asked now.
pub(in crate::http) async fn check(asked: Asked) -> Answer {
    let id = asked.id(Code::ContainerNotFound)?;
    asked.state.updates.start_check(None, Some(id)).await?;
    back(id, format!("container {id}"))
}

/// One that is gone is meant to be.
pub(in crate::http) async fn forget(asked: Asked) -> Answer {
    let id = asked.id(Code::ContainerNotFound)?;
    let (seen, _) = asked.state.updates.forget(id, asked.by()).await?;
    let _ = asked.state.tasks.run_now(crate::task::DISCOVER);
    let told = format!("{} on server {}", seen.container.name, seen.container.server);
    done(told, &format!("/resources/{id}"))
}

/// Of a container that is gone: who said that it is meant to be, or the button to say so.
pub(in crate::http::page) fn forget_form(id: i64, said: Option<&Forgotten>, may_act: bool) -> Markup {
    html! {
        section class="card" {
            header { h2 { "Is it meant to be gone?" } }
            div class="prose" {
                @match said {
                    Some(said) => p {
                        "Yes: " (said.by) " said so at " (format::time(said.at_ms))
                        ". That it is missing is told again only if it comes back and goes again."
                    },
                    None => p {
                        "A container that ran, is to be kept running and was not removed by Muster is told as missing for a week."
                    },
                }
            }
            @if said.is_none() && may_act {
                div class="acts" {
                    form method="post" action={ (PATH) "/" (id) "/forget" } class="inline" {
                        button type="submit" { "It is meant to be gone" }
                    }
                }
            }
        }
    }
}

fn back(id: i64, told: String) -> Answer {
    done(told, &format!("{PATH}/{id}"))
}
