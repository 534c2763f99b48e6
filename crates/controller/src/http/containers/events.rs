//! Containers and updates as they change, as server-sent events (WHATWG HTML, section 9.2).

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use futures::Stream;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::http::HttpState;
use crate::http::error::{Problem, ProblemBody};
use crate::http::follow::{self, Follow, Stay, missed};
use crate::update::Changed;

/// What changes, as server-sent events with JSON as data: `container` (its number, name, status, image; or that it is
/// gone), `update`, `rollout`, `freeze`, and `missed` when so much changed that some was left out. Ends after an hour.
#[utoipa::path(
    get, path = "/api/containers/events", tag = "containers",
    responses(
        (status = 200, body = String, content_type = "text/event-stream"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn events(
    State(state): State<HttpState>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let stay = state.followers.containers.take(state.ready)?;
    let following = Following {
        changed: state.updates.changed(),
        containers: state.updates.container_changes(),
        stay,
    };
    Ok(follow::answer(following))
}

struct Following {
    changed: broadcast::Receiver<Arc<Changed>>,
    containers: broadcast::Receiver<Arc<Changed>>,
    stay: Stay,
}

fn event(name: &'static str, body: &serde_json::Value) -> Event {
    Event::default().event(name).data(body.to_string())
}

impl Follow for Following {
    async fn next(&mut self) -> Option<Event> {
        let changed = tokio::select! {
            () = self.stay.over() => return None,
            changed = self.changed.recv() => changed,
            changed = self.containers.recv() => changed,
        };
        match changed {
            Ok(changed) => Some(event(changed.what, &changed.body)),
            Err(RecvError::Lagged(count)) => Some(missed(count)),
            Err(RecvError::Closed) => None,
        }
    }
}
