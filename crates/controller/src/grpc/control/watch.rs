//! Watching: looks again and again, and tells what is new since the look before.
//!
//! Watchers are no consumers of the intake: nothing waits for them. What a slow one does not take is left out, counted,
//! and said as soon as there is room again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use muster_alert::{Alert, AlertState};
use muster_base::ErrorChain;
use muster_proto::v1;
use muster_proto::v1::watch_response::Event;
use muster_samples::Matcher;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::places::Place;
use super::show;
use crate::app::series::{Latest, Series};
use crate::app::servers::ServerFilter;
use crate::app::{App, PAGE_LIMIT_MAX, PageRequest};
use crate::store::AlertFilter;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long the last word of a watch waits for its reader.
const END_MAX: Duration = Duration::from_secs(30);
/// Most series of one watch; one that takes more ends.
const SERIES_MAX: usize = 20_000;
/// Most messages that wait for a slow reader.
const WAITING_MAX: usize = 4_096;

/// What somebody watches.
pub(super) struct Watcher {
    pub(super) app: Arc<App>,
    pub(super) series: Series,
    pub(super) wants_servers: bool,
    /// Alerts as they change, if they are watched.
    pub(super) alerts: Option<broadcast::Receiver<Arc<Alert>>>,
    pub(super) selectors: Vec<Vec<Matcher>>,
}

/// Name and labels of a series.
type SeriesKey = (Arc<str>, Vec<(String, String)>);

/// What was seen by the look before.
#[derive(Default)]
struct Seen {
    servers: HashMap<i64, v1::Server>,
    /// By name and labels, when the latest sample was measured.
    samples: HashMap<SeriesKey, i64>,
}

/// Watches until nobody takes what is told.
pub(super) fn spawn(watcher: Watcher, place: Place) -> impl Stream<Item = Result<v1::WatchResponse, Status>> {
    let (events_tx, events) = mpsc::channel(WAITING_MAX);
    tokio::spawn(async move {
        let closed = events_tx.clone();
        tokio::select! {
            () = closed.closed() => {}
            end = watcher.run(Teller { events_tx, lost: 0 }) => {
                // Whoever takes nothing for that long is not told how it ended either.
                let _ = tokio::time::timeout(END_MAX, closed.send(Err(end))).await;
            }
        }
        drop(place);
    });
    ReceiverStream::new(events)
}

impl Watcher {
    /// Looks until there is too much to be seen; says why it ended.
    async fn run(mut self, mut teller: Teller) -> Status {
        let mut alerts = self.alerts.take();
        if alerts.is_some() {
            self.tell_open_alerts(&mut teller).await;
        }
        let mut seen = Seen::default();
        let mut ticker = tokio::time::interval(LOOK_EVERY);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            loop {
                let changed = async {
                    match &mut alerts {
                        Some(alerts) => alerts.recv().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    _ = ticker.tick() => break,
                    changed = changed => match changed {
                        Ok(alert) => teller.tell(Event::Alert(show::alert(&alert))),
                        Err(RecvError::Lagged(missed)) => teller.lost += missed,
                        Err(RecvError::Closed) => return Status::unavailable("the controller ends"),
                    },
                }
            }
            if self.wants_servers {
                self.look_at_servers(&mut seen, &mut teller).await;
            }
            if !self.selectors.is_empty()
                && let Err(TooMany(count)) = self.look_at_samples(&mut seen, &mut teller).await
            {
                return Status::resource_exhausted(format!(
                    "{count} series are taken, and {SERIES_MAX} can be watched: narrow the selectors"
                ));
            }
            teller.tell_lost();
        }
    }

    async fn tell_open_alerts(&self, teller: &mut Teller) {
        let open = AlertFilter {
            states: vec![AlertState::Active.as_str(), AlertState::Acknowledged.as_str()],
            ..AlertFilter::default()
        };
        match self.app.alerts(&open, None, WAITING_MAX as u64).await {
            Ok((alerts, total)) => {
                let told = alerts.len() as u64;
                for alert in alerts.iter().rev() {
                    teller.tell(Event::Alert(show::alert(alert)));
                }
                teller.lost += total.saturating_sub(told);
            }
            Err(error) => tracing::warn!(error = %ErrorChain(&error), "a watch could not look"),
        }
    }

    async fn look_at_servers(&self, seen: &mut Seen, teller: &mut Teller) {
        let mut now = HashMap::new();
        let mut cursor = None;
        loop {
            let wanted = PageRequest {
                limit: Some(PAGE_LIMIT_MAX),
                cursor,
            };
            let page = match self.app.servers(ServerFilter::default(), wanted).await {
                Ok(page) => page,
                // The next look will do; nothing is told of what was not seen.
                Err(error) => return tracing::warn!(error = %ErrorChain(&error), "a watch could not look"),
            };
            now.extend(page.items.iter().map(|view| (view.id.0, show::server(view))));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        for (id, server) in &now {
            let is_same = seen.servers.get(id).is_some_and(|before| {
                let quiet = v1::Server {
                    // That it was heard again is no change.
                    last_seen_ms: server.last_seen_ms,
                    ..before.clone()
                };
                quiet == *server
            });
            if !is_same {
                teller.tell(Event::Server(server.clone()));
            }
        }
        for id in seen.servers.keys().filter(|id| !now.contains_key(id)) {
            teller.tell(Event::DeletedServer(v1::DeletedServer { id: *id }));
        }
        seen.servers = now;
    }

    async fn look_at_samples(&self, seen: &mut Seen, teller: &mut Teller) -> Result<(), TooMany> {
        let latest = match self.latest().await {
            Ok(latest) => latest,
            Err(error) => {
                tracing::warn!(error = %ErrorChain(&*error), "a watch could not look");
                return Ok(());
            }
        };
        if SERIES_MAX < latest.len() {
            return Err(TooMany(latest.len()));
        }
        // Made anew each time, so that series that have ended are forgotten.
        let mut now = HashMap::with_capacity(latest.len());
        for sample in latest {
            let key = (Arc::clone(&sample.name), sample.labels.clone());
            if seen
                .samples
                .get(&key)
                .is_none_or(|before_ms| *before_ms < sample.time_ms)
            {
                teller.tell(Event::Sample(show::latest(&sample)));
            }
            now.insert(key, sample.time_ms);
        }
        seen.samples = now;
        Ok(())
    }

    async fn latest(&self) -> Result<Vec<Latest>, Box<dyn std::error::Error + Send + Sync>> {
        let names = self.app.server_names().await?;
        let now_ms = self.app.clock().now_ms();
        Ok(self.series.latest(names, self.selectors.clone(), now_ms).await?)
    }
}

/// More series are taken than may be watched.
struct TooMany(usize);

/// Tells what there is room for, and counts the rest.
struct Teller {
    events_tx: mpsc::Sender<Result<v1::WatchResponse, Status>>,
    lost: u64,
}

impl Teller {
    fn tell(&mut self, event: Event) {
        self.tell_lost();
        if 0 < self.lost || self.send(event).is_err() {
            self.lost += 1;
        }
    }

    /// Says what was left out, before anything else is told.
    fn tell_lost(&mut self) {
        if 0 < self.lost && self.send(Event::Lost(v1::Lost { count: self.lost })).is_ok() {
            self.lost = 0;
        }
    }

    fn send(&self, event: Event) -> Result<(), ()> {
        let message = v1::WatchResponse { event: Some(event) };
        self.events_tx.try_send(Ok(message)).map_err(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_slow_watcher_does_not_take_is_counted_where_it_is_missing() {
        let (events_tx, mut events) = mpsc::channel(2);
        let mut teller = Teller { events_tx, lost: 0 };
        let event = |id| Event::DeletedServer(v1::DeletedServer { id });
        for id in 1..=5 {
            teller.tell(event(id));
        }
        assert_eq!(teller.lost, 3);
        let mut take = || events.try_recv().ok()?.unwrap().event;
        assert_eq!((take(), take(), take()), (Some(event(1)), Some(event(2)), None));
        teller.tell(event(6));
        teller.tell(event(7));
        assert_eq!(
            (take(), take(), take()),
            (Some(Event::Lost(v1::Lost { count: 3 })), Some(event(6)), None)
        );
        teller.tell_lost();
        assert_eq!(take(), Some(Event::Lost(v1::Lost { count: 1 })));
    }
}
