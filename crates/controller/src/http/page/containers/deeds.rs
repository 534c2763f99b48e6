//! What people do with a container, as forms: each is a command to the agent, whose own policy has the last word.

use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Redirect, Response};
use muster_model::{LogRange, Verb};

use super::PATH;
use crate::app::commands::{IssueOptions, Issuer};
use crate::http::HttpState;
use crate::http::access::{Caller, Told};
use crate::http::error::{Code, Problem};
use crate::http::extract::{Path, id_or};
use crate::update::Deed;

/// Lines of a log that are read.
const TAIL: u32 = 200;

/// Starts it.
pub(in crate::http) async fn start(
    state: State<HttpState>,
    caller: Caller,
    id: Path<String>,
) -> Result<Response, Problem> {
    act(state, caller, id, Deed::Start).await
}

/// Stops it.
pub(in crate::http) async fn stop(
    state: State<HttpState>,
    caller: Caller,
    id: Path<String>,
) -> Result<Response, Problem> {
    act(state, caller, id, Deed::Stop(None)).await
}

/// Stops and starts it.
pub(in crate::http) async fn restart(
    state: State<HttpState>,
    caller: Caller,
    id: Path<String>,
) -> Result<Response, Problem> {
    act(state, caller, id, Deed::Restart(None)).await
}

async fn act(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
    deed: Deed,
) -> Result<Response, Problem> {
    let id = id_or(&id, Code::ContainerNotFound)?;
    let command = state.updates.act(id, deed, &caller.principal.username).await?;
    Ok(back(id, format!("command {command}")))
}

/// Has the end of its log read; the page shows it when it is there.
pub(in crate::http) async fn logs(
    State(state): State<HttpState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = id_or(&id, Code::ContainerNotFound)?;
    let seen = state.updates.container(id).await?;
    let verb = Verb::ContainerLogs {
        target: seen.target.clone(),
        range: LogRange {
            tail: Some(TAIL),
            ..LogRange::default()
        },
    };
    let issuer = Issuer::of(&caller.principal);
    let commands = state.app.commands();
    let row = commands
        .issue(seen.server(), verb, &issuer, IssueOptions::default())
        .await?;
    Ok(back(id, format!("command {}", row.id)))
}

/// Has its registry asked now.
pub(in crate::http) async fn check(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = id_or(&id, Code::ContainerNotFound)?;
    state.updates.check(None, Some(id)).await?;
    Ok(back(id, format!("container {id}")))
}

fn back(id: i64, told: String) -> Response {
    (Extension(Told(told)), Redirect::to(&format!("{PATH}/{id}"))).into_response()
}
