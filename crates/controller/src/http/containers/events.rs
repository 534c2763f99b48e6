//! Containers and updates as they change, as server-sent events (WHATWG HTML, section 9.2).

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use futures::Stream;
use serde_json::json;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Interval, MissedTickBehavior};

use super::body;
use crate::http::HttpState;
use crate::http::error::{Problem, ProblemBody};
use crate::http::follow::{self, Follow, Stay, missed};
use crate::update::{Changed, Seen, Updates};

/// How often it is looked how containers are.
const LOOK_EVERY: Duration = Duration::from_secs(5);

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
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let following = Following {
        changed: state.updates.changed(),
        updates: state.updates,
        looks,
        known: None,
        waiting: Vec::new(),
        stay: state.followers.containers.take(state.ready)?,
    };
    Ok(follow::answer(following))
}

/// What of a container is told when it changes.
type Look = (String, String, String, Option<String>);

struct Following {
    updates: Updates,
    changed: broadcast::Receiver<Arc<Changed>>,
    looks: Interval,
    /// How containers were when it was looked last; `None` before the first look.
    known: Option<HashMap<i64, Look>>,
    waiting: Vec<Event>,
    stay: Stay,
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

impl Follow for Following {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop() {
                return Some(event);
            }
            tokio::select! {
                () = self.stay.over() => return None,
                changed = self.changed.recv() => match changed {
                    Ok(changed) => return Some(event(changed.what, &changed.body)),
                    Err(RecvError::Lagged(count)) => return Some(missed(count)),
                    Err(RecvError::Closed) => return None,
                },
                _ = self.looks.tick() => {}
            }
            self.look().await;
        }
    }
}

impl Following {
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
