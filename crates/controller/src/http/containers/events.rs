//! Containers and updates as they change, as server-sent events (WHATWG HTML, section 9.2).

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, stream};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::body;
use crate::http::error::{Code, Problem, ProblemBody};
use crate::http::{HttpState, Readiness};
use crate::update::{Changed, Seen, Updates};

/// Most such answers at once.
const AT_ONCE_MAX: usize = 64;
/// How long one lasts: whoever comes again is asked again who they are.
const LONGEST: Duration = Duration::from_secs(3_600);
/// How often it is looked how containers are.
const LOOK_EVERY: Duration = Duration::from_secs(5);

static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(AT_ONCE_MAX)));

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
    let place = Arc::clone(&PLACES).try_acquire_owned().map_err(|_| {
        Problem::new(
            Code::LimitReached,
            format!("{AT_ONCE_MAX} such answers are open already"),
        )
    })?;
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let following = Following {
        changed: state.updates.changed(),
        updates: state.updates,
        ready: state.ready,
        looks,
        known: None,
        waiting: Vec::new(),
        until: Instant::now() + LONGEST,
        _place: place,
    };
    let events = stream::unfold(following, |mut following| async {
        let event = following.next().await?;
        Some((Ok(event), following))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

/// What of a container is told when it changes.
type Look = (String, String, String, Option<String>);

struct Following {
    updates: Updates,
    changed: broadcast::Receiver<Arc<Changed>>,
    ready: watch::Receiver<Readiness>,
    looks: Interval,
    /// How containers were when it was looked last; `None` before the first look.
    known: Option<HashMap<i64, Look>>,
    waiting: Vec<Event>,
    until: Instant,
    _place: OwnedSemaphorePermit,
}

fn event(name: &'static str, body: &serde_json::Value) -> Event {
    Event::default().event(name).data(body.to_string())
}

fn look(seen: &Seen) -> Look {
    (
        seen.view.name.clone(),
        body::status(seen).to_owned(),
        seen.container.image.clone(),
        seen.target.container_id.clone(),
    )
}

impl Following {
    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop() {
                return Some(event);
            }
            let ends = self.ready.wait_for(Readiness::is_ending);
            tokio::select! {
                _ = ends => return None,
                () = tokio::time::sleep_until(self.until) => return None,
                changed = self.changed.recv() => match changed {
                    Ok(changed) => return Some(event(changed.what, &changed.body)),
                    Err(RecvError::Lagged(missed)) => return Some(event("missed", &json!(missed))),
                    Err(RecvError::Closed) => return None,
                },
                _ = self.looks.tick() => {}
            }
            self.look().await;
        }
    }

    async fn look(&mut self) {
        // What cannot be read now is seen by the next look.
        let Ok(containers) = self.updates.containers(None).await else {
            return;
        };
        let now: HashMap<i64, Look> = containers
            .iter()
            .map(|seen| (seen.container.id, look(seen)))
            .collect();
        let Some(known) = self.known.replace(now) else {
            return;
        };
        let Some(now) = &self.known else { return };
        for (id, look) in now {
            if known.get(id) != Some(look) {
                let (name, status, image, container_id) = look;
                let body = json!({
                    "id": id, "name": name, "status": status, "image": image, "container_id": container_id,
                });
                self.waiting.push(event("container", &body));
            }
        }
        for id in known.keys().filter(|id| !now.contains_key(id)) {
            self.waiting
                .push(event("container", &json!({"id": id, "gone": true})));
        }
    }
}
