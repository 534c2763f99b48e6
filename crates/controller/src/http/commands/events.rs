//! Commands as they change, as server-sent events (WHATWG HTML, section 9.2).

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, stream};

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::time::Instant;

use super::CommandBody;
use crate::app::commands::CommandRow;
use crate::http::error::{Code, Problem, ProblemBody};
use crate::http::{HttpState, Readiness};

/// Most such answers at once.
const AT_ONCE_MAX: usize = 256;
/// How long one lasts: whoever comes again is asked again who they are.
const LONGEST: Duration = Duration::from_secs(3_600);

static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(AT_ONCE_MAX)));

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
    let place = Arc::clone(&PLACES).try_acquire_owned().map_err(|_| {
        Problem::new(
            Code::LimitReached,
            format!("{AT_ONCE_MAX} such answers are open already"),
        )
    })?;
    let following = Following {
        changed: state.app.commands().watch(),
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
    changed: broadcast::Receiver<Arc<CommandRow>>,
    ready: watch::Receiver<Readiness>,
    until: Instant,
    _place: OwnedSemaphorePermit,
}

impl Following {
    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        let ends = self.ready.wait_for(Readiness::is_ending);
        let row = tokio::select! {
            _ = ends => return None,
            () = tokio::time::sleep_until(self.until) => return None,
            changed = self.changed.recv() => match changed {
                Ok(row) => row,
                Err(RecvError::Lagged(missed)) => {
                    return Some(Event::default().event("missed").data(missed.to_string()));
                }
                Err(RecvError::Closed) => return None,
            },
        };
        let id = row.id.to_string();
        let body = CommandBody::from((*row).clone());
        let event = Event::default().event("command").id(id).json_data(body);
        // One that cannot be shown was missed, which the list mends.
        Some(event.unwrap_or_else(|_| Event::default().event("missed").data("1")))
    }
}
