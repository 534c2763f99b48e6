//! Answers that last: what changes as it changes, as server-sent events (WHATWG HTML, section 9.2).
//!
//! Of each kind there are so many at once and no more, each lasts an hour at most, and all end with the controller.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::Readiness;
use super::error::{Code, Problem};

/// How long one lasts: whoever comes again is asked again who they are.
const LONGEST: Duration = Duration::from_secs(3_600);
/// How often something is said where nothing changes, so that the way there stays open.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// Places for those who follow, of each kind.
#[derive(Debug, Clone)]
pub(super) struct Followers {
    pub(super) alerts: Places,
    pub(super) commands: Places,
    pub(super) containers: Places,
}

impl Default for Followers {
    fn default() -> Self {
        Self {
            alerts: Places::new(256),
            commands: Places::new(256),
            containers: Places::new(256),
        }
    }
}

/// Places for those who follow one kind of thing.
#[derive(Debug, Clone)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    at_once_max: usize,
}

impl Places {
    fn new(at_once_max: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(at_once_max)),
            at_once_max,
        }
    }

    /// Takes a place, if there is one.
    pub(super) fn take(&self, ready: watch::Receiver<Readiness>) -> Result<Stay, Problem> {
        let place = Arc::clone(&self.free).try_acquire_owned().map_err(|_| {
            let message = format!("{} such answers are open already", self.at_once_max);
            Problem::new(Code::LimitReached, message)
        })?;
        Ok(Stay {
            ready,
            until: Instant::now() + LONGEST,
            _place: place,
        })
    }
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(super) struct Stay {
    ready: watch::Receiver<Readiness>,
    until: Instant,
    _place: OwnedSemaphorePermit,
}

impl Stay {
    /// Returns when the answer is to end.
    pub(super) async fn over(&mut self) {
        tokio::select! {
            _ = self.ready.wait_for(Readiness::is_ending) => {}
            () = tokio::time::sleep_until(self.until) => {}
        }
    }
}

/// Gives one event after the other.
pub(super) trait Follow: Send + 'static {
    /// The next event; `None` at the end.
    fn next(&mut self) -> impl Future<Output = Option<Event>> + Send;
}

/// The answer that lasts as long as something follows.
pub(super) fn answer<F: Follow>(following: F) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = stream::unfold(following, |mut following| async {
        let event = following.next().await?;
        Some((Ok(event), following))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE_EVERY))
}

/// So many changes were left out: what is followed should be asked for again.
pub(super) fn missed(count: u64) -> Event {
    Event::default().event("missed").data(count.to_string())
}
