//! Alerts as they change, as server-sent events (WHATWG HTML, section 9.2).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, stream};
use muster_alert::Alert;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};
use tokio::time::Instant;

use super::body;
use crate::app::App;
use crate::http::error::{Code, Problem, ProblemBody};
use crate::http::{HttpState, Readiness};

/// Most such answers at once.
pub(in crate::http) const AT_ONCE_MAX: usize = 256;
/// How long one lasts: whoever comes again is asked again who they are.
const LONGEST: Duration = Duration::from_secs(3_600);

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
    let place = state.followers.try_acquire_owned().map_err(|_| {
        Problem::new(
            Code::LimitReached,
            format!("{AT_ONCE_MAX} such answers are open already"),
        )
    })?;
    let following = Following {
        app: state.app,
        changed: state.alerts.changed(),
        ready: state.ready,
        until: Instant::now() + LONGEST,
        _place: place,
    };
    let events = stream::unfold(following, |mut following| async {
        let event = following.next().await?;
        Some((Ok(event), following))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

struct Following {
    app: Arc<App>,
    changed: broadcast::Receiver<Arc<Alert>>,
    ready: watch::Receiver<Readiness>,
    until: Instant,
    _place: OwnedSemaphorePermit,
}

impl Following {
    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        let ends = self.ready.wait_for(Readiness::is_ending);
        let alert = tokio::select! {
            _ = ends => return None,
            () = tokio::time::sleep_until(self.until) => return None,
            changed = self.changed.recv() => match changed {
                Ok(alert) => alert,
                Err(RecvError::Lagged(missed)) => {
                    return Some(Event::default().event("missed").data(missed.to_string()));
                }
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
        Some(event.unwrap_or_else(|| Event::default().event("missed").data("1")))
    }
}
