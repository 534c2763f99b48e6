//! Alerts as they change, as server-sent events (WHATWG HTML, section 9.2).

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use futures::Stream;
use muster_alert::Alert;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::body;
use crate::app::App;
use crate::http::HttpState;
use crate::http::error::{Problem, ProblemBody};
use crate::http::follow::{self, Follow, Stay, missed};

/// Alerts as they change, as server-sent events: `alert` with an alert as JSON in its data, and `missed` when so many
/// changed that some were left out, after which the list should be asked for again. Ends after an hour.
#[utoipa::path(
    get, path = "/api/infrastructure/alerts/events", tag = "alerts",
    responses(
        (status = 200, body = String, content_type = "text/event-stream"),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(in crate::http) async fn events(
    State(state): State<HttpState>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let following = Following {
        app: state.app,
        changed: state.alerts.changed(),
        stay: state.followers.alerts.take(state.ready)?,
    };
    Ok(follow::answer(following))
}

struct Following {
    app: Arc<App>,
    changed: broadcast::Receiver<Arc<Alert>>,
    stay: Stay,
}

impl Follow for Following {
    async fn next(&mut self) -> Option<Event> {
        let alert = tokio::select! {
            () = self.stay.over() => return None,
            changed = self.changed.recv() => match changed {
                Ok(alert) => alert,
                Err(RecvError::Lagged(count)) => return Some(missed(count)),
                Err(RecvError::Closed) => return None,
            },
        };
        let id = alert.id.to_string();
        let shown = body::of_all(&self.app, vec![(*alert).clone()]).await;
        let event = shown.ok().and_then(|mut bodies| {
            Event::default()
                .event("alert")
                .id(id)
                .json_data(bodies.pop()?)
                .ok()
        });
        // One that cannot be shown now was missed, which the list mends.
        Some(event.unwrap_or_else(|| missed(1)))
    }
}
