//! What people do with a container, as forms: each is a command to the agent, whose own policy has the last word.

use muster_model::{LogRange, Verb};

use super::PATH;
use crate::app::commands::{IssueOptions, Issuer};
use crate::http::error::Code;
use crate::http::page::asked::{Answer, Asked, done};
use crate::update::Deed;

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

fn back(id: i64, told: String) -> Answer {
    done(told, &format!("{PATH}/{id}"))
}
