//! Follows what an engine tells of changes, so that a change is looked at when it happens.
//!
//! What changed is kept as a set of containers until they are looked at, and as "everything" when there are too many or
//! the engine was not listened to meanwhile: nothing is missed, and nothing grows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::EventsOptionsBuilder;
use futures::StreamExt as _;
use muster_base::ErrorChain;
use parking_lot::Mutex;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::Endpoint;
use crate::collect::due::Due;

/// Most containers that are remembered as changed one by one.
const CHANGED_MAX: usize = 256;
/// How long an engine may take to begin telling; Podman begins with its first event.
const BEGIN_MAX_S: u64 = 3_600;
/// After this long an engine that told nothing any more is asked again.
const RETRY: Duration = Duration::from_secs(5);

/// What has changed since it was last asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// Everything may have.
    pub(crate) everything: bool,
    /// Ids of containers.
    pub(crate) containers: BTreeSet<String>,
    /// Images came or went.
    pub(crate) images: bool,
}

#[derive(Debug, Default)]
struct State {
    changed: Changed,
    is_following: bool,
}

/// Follows an engine until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    state: Arc<Mutex<State>>,
    _task: AbortOnDropHandle<()>,
}

impl Watch {
    /// Begins to follow, over the version of the API that is spoken; `collector` is told of changes.
    pub(crate) fn start(
        endpoint: &Endpoint,
        spoken: (usize, usize),
        due: Due,
        collector: &'static str,
    ) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let socket = endpoint.socket.clone();
        let shared = Arc::clone(&state);
        let follow = async move {
            let version = bollard::ClientVersion {
                major_version: spoken.0,
                minor_version: spoken.1,
            };
            loop {
                let connected = Docker::connect_with_unix(socket.as_str(), BEGIN_MAX_S, &version);
                let ended = match connected {
                    Ok(docker) => follow(&docker, &shared, &due, collector).await,
                    Err(error) => ErrorChain(&error).to_string(),
                };
                debug!(socket = %socket, why = ended, "engine tells of no changes any more");
                {
                    let mut state = shared.lock();
                    if state.is_following {
                        due.tell(collector);
                    }
                    state.is_following = false;
                    state.changed.everything = true;
                }
                tokio::time::sleep(RETRY).await;
            }
        };
        Self {
            state,
            _task: AbortOnDropHandle::new(tokio::spawn(follow)),
        }
    }

    /// Takes what has changed; everything, unless the engine was listened to all the time.
    pub(crate) fn take(&self) -> Changed {
        let mut state = self.state.lock();
        let mut changed = std::mem::take(&mut state.changed);
        changed.everything |= !state.is_following;
        changed
    }
}

/// Follows until it ends; why it did.
async fn follow(docker: &Docker, state: &Mutex<State>, due: &Due, collector: &'static str) -> String {
    let types = std::collections::HashMap::from([("type", vec!["container", "image"])]);
    let options = EventsOptionsBuilder::default().filters(&types).build();
    let mut events = std::pin::pin!(docker.events(Some(options)));
    {
        // What happened until now was not heard. What slips through until the engine listens changes a container's state,
        // which is compared at every reading anyway.
        let mut state = state.lock();
        state.is_following = true;
        state.changed.everything = true;
    }
    loop {
        let event = match events.next().await {
            Some(Ok(event)) => event,
            Some(Err(error)) => return ErrorChain(&error).to_string(),
            None => return "it has ended".to_owned(),
        };
        let action = event.action.unwrap_or_default();
        // A health check is three of these, every few seconds, and changes nothing.
        if action.starts_with("exec") || action == "top" || action == "attach" {
            continue;
        }
        let mut state = state.lock();
        let id = event.actor.and_then(|actor| actor.id);
        match id {
            Some(id) if id.len() == 64 && state.changed.containers.len() < CHANGED_MAX => {
                state.changed.containers.insert(id);
            }
            Some(id) if id.len() == 64 => state.changed.everything = true,
            _ => state.changed.images = true,
        }
        drop(state);
        due.tell(collector);
    }
}
