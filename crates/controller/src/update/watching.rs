//! How containers change, for whoever follows: read once for all of them, and only while somebody follows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::inventory::text;
use super::{Changed, Seen, Updates};

/// How often it is looked how containers are.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Most changes that wait for whoever follows them.
const CHANGES_MAX: usize = 1_024;

/// What of a container is told when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    name: String,
    status: String,
    image: String,
    container_id: Option<String>,
}

impl Look {
    fn of(seen: &Seen) -> Self {
        Self {
            name: seen.view.name.clone(),
            status: text(&seen.view, "status").unwrap_or("unknown").to_owned(),
            image: seen.container.image.clone(),
            container_id: seen.target.container_id.clone(),
        }
    }
}

/// Containers by their numbers; `None` if they cannot be read now, which the next look does.
type Looked = Option<HashMap<i64, Look>>;

/// Everybody who follows, and the one who reads for them.
#[derive(Debug)]
pub(super) struct Watching {
    changes: broadcast::Sender<Arc<Changed>>,
    reader: Mutex<Option<JoinHandle<()>>>,
}

impl Default for Watching {
    fn default() -> Self {
        Self {
            changes: broadcast::Sender::new(CHANGES_MAX),
            reader: Mutex::default(),
        }
    }
}

impl Watching {
    fn reader(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        // Nothing in here can panic half way.
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears of changes from now on; whoever is the first has them read from then on.
    fn follow<R>(
        self: &Arc<Self>,
        read: impl Fn() -> R + Send + Sync + 'static,
    ) -> broadcast::Receiver<Arc<Changed>>
    where
        R: Future<Output = Looked> + Send + 'static,
    {
        let mut reader = self.reader();
        let changes = self.changes.subscribe();
        if reader.as_ref().is_none_or(JoinHandle::is_finished) {
            let watching = Arc::clone(self);
            *reader = Some(tokio::spawn(async move { watching.read(read).await }));
        }
        changes
    }

    async fn read<R>(&self, read: impl Fn() -> R)
    where
        R: Future<Output = Looked> + Send,
    {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut known: Option<HashMap<i64, Look>> = None;
        loop {
            looks.tick().await;
            {
                // Held, so that nobody begins to follow between the look at it and the end.
                let mut reader = self.reader();
                if self.changes.receiver_count() == 0 {
                    *reader = None;
                    return;
                }
            }
            let Some(now) = read().await else { continue };
            if let Some(known) = &known {
                self.tell(known, &now);
            }
            known = Some(now);
        }
    }

    fn tell(&self, known: &HashMap<i64, Look>, now: &HashMap<i64, Look>) {
        let news = now.iter().filter(|(id, look)| known.get(*id) != Some(*look));
        let news = news.map(|(id, look)| {
            json!({
                "id": id, "name": look.name, "status": look.status, "image": look.image,
                "container_id": look.container_id,
            })
        });
        let gone = known.keys().filter(|id| !now.contains_key(id));
        let gone = gone.map(|id| json!({"id": id, "gone": true}));
        for body in news.chain(gone) {
            let what = "container";
            // Nobody may be listening.
            let _ = self.changes.send(Arc::new(Changed { what, body }));
        }
    }
}

impl Updates {
    /// How containers change from now on. Whoever is more than a thousand behind misses the oldest, and is told so.
    /// However many follow, containers are read once.
    #[must_use]
    pub fn container_changes(&self) -> broadcast::Receiver<Arc<Changed>> {
        let updates = self.clone();
        self.inner.watching.follow(move || {
            let updates = updates.clone();
            async move {
                let containers = updates.containers(None).await.ok()?;
                let looks = containers.iter().map(|seen| (seen.container.id, Look::of(seen)));
                Some(looks.collect())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Containers that can be read, and how often they were.
    #[derive(Default)]
    struct Fleet {
        reads: AtomicUsize,
        there: Mutex<HashMap<i64, Look>>,
    }

    impl Fleet {
        fn has(&self, id: i64, status: &str) {
            let look = Look {
                name: format!("web{id}"),
                status: status.to_owned(),
                image: "nginx:1.27".to_owned(),
                container_id: None,
            };
            self.there.lock().unwrap().insert(id, look);
        }

        fn follow(self: &Arc<Self>, watching: &Arc<Watching>) -> broadcast::Receiver<Arc<Changed>> {
            let fleet = Arc::clone(self);
            watching.follow(move || {
                fleet.reads.fetch_add(1, Ordering::SeqCst);
                let there = fleet.there.lock().unwrap().clone();
                async move { Some(there) }
            })
        }

        fn reads(&self) -> usize {
            self.reads.load(Ordering::SeqCst)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_follow_containers_are_read_once_and_not_at_all_when_nobody_does() {
        let (fleet, watching) = (Arc::<Fleet>::default(), Arc::<Watching>::default());
        fleet.has(1, "running");
        fleet.has(2, "running");
        let mut all: Vec<_> = (0..50).map(|_| fleet.follow(&watching)).collect();
        tokio::time::sleep(LOOK_EVERY / 2).await;
        assert_eq!(fleet.reads(), 1);
        fleet.has(1, "exited");
        fleet.there.lock().unwrap().remove(&2);
        tokio::time::sleep(LOOK_EVERY).await;
        assert_eq!(fleet.reads(), 2);
        for changes in &mut all {
            let mut told = [changes.recv().await.unwrap(), changes.recv().await.unwrap()];
            told.sort_by_key(|change| change.body["id"].as_i64());
            assert_eq!(
                (told[0].what, &told[0].body["status"]),
                ("container", &json!("exited"))
            );
            assert_eq!(told[1].body, json!({"id": 2, "gone": true}));
        }
        drop(all);
        tokio::time::sleep(LOOK_EVERY * 10).await;
        assert_eq!(fleet.reads(), 2, "nobody follows");
        let mut late = fleet.follow(&watching);
        tokio::time::sleep(LOOK_EVERY / 2).await;
        fleet.has(3, "running");
        assert_eq!(late.recv().await.unwrap().body["id"], 3, "it is begun again");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_listen_is_told_how_much_was_missed_and_holds_nobody_up() {
        let (fleet, watching) = (Arc::<Fleet>::default(), Arc::<Watching>::default());
        let mut slow = fleet.follow(&watching);
        tokio::time::sleep(LOOK_EVERY / 2).await;
        for id in 0..i64::try_from(CHANGES_MAX).unwrap() + 10 {
            fleet.has(id, "running");
        }
        tokio::time::sleep(LOOK_EVERY).await;
        let missed = slow.recv().await;
        assert!(
            matches!(missed, Err(broadcast::error::RecvError::Lagged(10))),
            "{missed:?}"
        );
    }
}
