//! Commands as they change, as server-sent events (WHATWG HTML, section 9.2).

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use futures::Stream;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::CommandBody;
use crate::app::commands::CommandRow;
use crate::http::HttpState;
use crate::http::error::{Problem, ProblemBody};
use crate::http::follow::{self, Follow, Stay, missed};

/// Commands as they change, as server-sent events: `command` with a command as JSON in its data, and `missed` when so many
/// changed that some were left out, after which the list should be asked for again. Ends after an hour.
#[utoipa::path(
    get, path = "/api/commands/events", tag = "commands",
    responses(
        (status = 200, body = String, content_type = "text/event-stream"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn events(
    State(state): State<HttpState>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let following = Following {
        changed: state.app.commands().watch(),
        stay: state.followers.commands.take(state.ready)?,
    };
    Ok(follow::answer(following))
}

struct Following {
    changed: broadcast::Receiver<Arc<CommandRow>>,
    stay: Stay,
}

impl Follow for Following {
    async fn next(&mut self) -> Option<Event> {
        let row = tokio::select! {
            () = self.stay.over() => return None,
            changed = self.changed.recv() => match changed {
                Ok(row) => row,
                Err(RecvError::Lagged(count)) => return Some(missed(count)),
                Err(RecvError::Closed) => return None,
            },
        };
        let id = row.id.to_string();
        let body = CommandBody::from((*row).clone());
        let event = Event::default().event("command").id(id).json_data(body);
        // One that cannot be shown was missed, which the list mends.
        Some(event.unwrap_or_else(|_| missed(1)))
    }
}
