//! Updates of containers: each a transaction that ends with exactly one of the old and the new container running.
//!
//! The new container is made before the old one is stopped, compared with it field by field, and started only when every
//! difference is explained; the old one is kept, stopped and under another name, until the new one was well for a while.
//! Before each call of the engine the journal says on disk what is about to happen, so that whatever dies when, the
//! agent knows at its next start which way to go: back before the new one was to be started, forward from then on.
//!
//! Volumes are never removed, whatever happens.

mod checks;
mod dependents;
mod fault;
mod forward;
mod ground;
mod health;
mod reconcile;
mod record;
mod systemd;
mod undo;
mod unit;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use camino::Utf8Path;
use muster_base::shutdown::CancellationToken;
use muster_model::{ContainerTarget, ResourceKey, UpdatePlan, Verb};
use parking_lot::Mutex;
use serde_json::Value;
use uuid::Uuid;

pub use crate::command::transactions::{Reconciled, Standing, Tell, TransactionError, Transactions};
pub use ground::{Ground, HostGround, Room};
pub use systemd::{HostUnits, LastStart, UnitError, UnitState, Units};

use crate::clocks::ClockReader;
use crate::runtime::{Engine, RegistryAuth};
use record::{Journal, Record, Stage, Step};

/// The engines of this server.
pub trait Engines: Send + Sync {
    /// The one whose resource has this key.
    fn find(&self, runtime: &ResourceKey) -> Option<Arc<dyn Engine>>;
}

/// How patient transactions are.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Between two looks at a container, or two tries at an engine that does not answer.
    pub pace: Duration,
    /// How long an engine that does not answer is asked again before the transaction is left to the next start.
    pub patience: Duration,
    /// For how long a new container is watched at the least, whatever the plan says: no plan skips that.
    pub watch_min: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            pace: Duration::from_millis(500),
            patience: undo::PATIENCE,
            watch_min: Duration::from_secs(10),
        }
    }
}

/// Updates containers and goes back; see [`Transactions`].
pub struct Updater {
    engines: Arc<dyn Engines>,
    ground: Arc<dyn Ground>,
    units: Arc<dyn Units>,
    journal: Journal,
    clock: ClockReader,
    limits: Patience,
    /// What is being worked at: containers and compose projects.
    busy: Arc<Mutex<BTreeSet<String>>>,
}

impl std::fmt::Debug for Updater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Updater")
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}

/// Holds a container and its project until it is dropped.
struct Held {
    busy: Arc<Mutex<BTreeSet<String>>>,
    keys: Vec<String>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut busy = self.busy.lock();
        for key in &self.keys {
            busy.remove(key);
        }
    }
}

impl Updater {
    /// Over the engines of this server, with its journal in `data_dir`.
    #[must_use]
    pub fn new(
        engines: Arc<dyn Engines>,
        (ground, units): (Arc<dyn Ground>, Arc<dyn Units>),
        data_dir: &Utf8Path,
        clock: ClockReader,
        patience: Patience,
    ) -> Self {
        Self {
            engines,
            ground,
            units,
            journal: Journal::new(data_dir),
            clock,
            limits: patience,
            busy: Arc::default(),
        }
    }

    fn now_ms(&self) -> i64 {
        self.clock.now().wall_ms
    }

    fn save(&self, record: &Record) -> io::Result<()> {
        self.journal.save(record)
    }

    /// Writes down what is about to happen.
    fn enter(&self, record: &mut Record, stage: Stage, step: &'static str) -> Result<(), forward::Stop> {
        record.stage = stage;
        record.steps.push(Step {
            step: step.to_owned(),
            at_ms: self.now_ms(),
        });
        self.save(record).map_err(forward::Stop::journal)
    }

    /// Takes hold of a container and its compose project, unless somebody else has one of them.
    fn hold(&self, keys: Vec<String>) -> Result<Held, TransactionError> {
        let mut busy = self.busy.lock();
        if keys.iter().any(|key| busy.contains(key)) {
            return Err(refused(
                "busy",
                "another update of this container or its project is under way",
            ));
        }
        busy.extend(keys.iter().cloned());
        drop(busy);
        Ok(Held {
            busy: Arc::clone(&self.busy),
            keys,
        })
    }

    fn engine(&self, runtime: &ResourceKey) -> Result<Arc<dyn Engine>, TransactionError> {
        self.engines
            .find(runtime)
            .ok_or_else(|| refused("no_runtime", format!("there is no {runtime} here")))
    }

    /// Removes old containers whose time has passed. To be called now and then, say every minute.
    pub async fn tidy(&self) {
        reconcile::tidy(self).await;
    }

    /// Whether a container is one that an update keeps to go back to: by its name, and by the journal.
    #[must_use]
    pub fn is_kept(&self, runtime: &ResourceKey, name: &str) -> bool {
        is_backup_name(name)
            && self.journal.all().iter().any(|record| {
                record.runtime == runtime.as_str() && record.backup == name && !record.stage.is_final()
            })
    }
}

/// `NAME-old-` and eight hexadecimal digits: what an old container is called while it is kept.
#[must_use]
pub fn is_backup_name(name: &str) -> bool {
    name.rsplit_once("-old-").is_some_and(|(name, mark)| {
        !name.is_empty() && mark.len() == 8 && mark.chars().all(|c| c.is_ascii_hexdigit())
    })
}

pub(crate) fn refused(reason: &'static str, message: impl Into<String>) -> TransactionError {
    TransactionError::Refused {
        reason,
        message: message.into(),
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn is_running(inspect: &Value) -> bool {
    inspect["State"]["Running"] == true
}

/// Repository and tag of a reference; `None`: it names a digest, which no image can be given.
fn reference(image: &str) -> Option<(String, String)> {
    if image.contains('@') {
        return None;
    }
    let (repository, tag) = match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (image, "latest"),
    };
    Some((repository.to_owned(), tag.to_owned()))
}

/// The repository of a reference, without tag and digest.
fn repository(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => image,
    }
}

#[async_trait]
impl Transactions for Updater {
    async fn update(
        &self,
        command: Uuid,
        target: &ContainerTarget,
        plan: &UpdatePlan,
        auth: Option<RegistryAuth>,
        tell: &dyn Tell,
        cancel: &CancellationToken,
    ) -> Result<Value, TransactionError> {
        forward::update(self, command, target, plan, auth.as_ref(), tell, cancel).await
    }

    async fn rollback(
        &self,
        command: Uuid,
        target: &ContainerTarget,
        update: Uuid,
        auth: Option<RegistryAuth>,
        tell: &dyn Tell,
        cancel: &CancellationToken,
    ) -> Result<Value, TransactionError> {
        reconcile::rollback(self, (command, target, update), auth.as_ref(), tell, cancel).await
    }

    async fn reconcile(&self) -> Vec<Reconciled> {
        reconcile::all(self).await
    }

    fn standing(&self, command: Uuid, verb: &Verb) -> Standing {
        reconcile::standing(self, command, verb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_taken_apart() {
        let parts = |image| reference(image).map(|(a, b)| format!("{a} {b}"));
        assert_eq!(parts("nginx").as_deref(), Some("nginx latest"));
        assert_eq!(
            parts("127.0.0.1:5000/a/b:1.2").as_deref(),
            Some("127.0.0.1:5000/a/b 1.2")
        );
        assert_eq!(
            parts("127.0.0.1:5000/a").as_deref(),
            Some("127.0.0.1:5000/a latest")
        );
        assert_eq!(parts("a@sha256:00"), None);
        assert_eq!(repository("h:1/a:2@sha256:00"), "h:1/a");
    }

    #[test]
    fn only_names_of_kept_containers_look_like_them() {
        assert!(is_backup_name("web-old-0123abcd"));
        for other in [
            "web",
            "web-old-",
            "-old-0123abcd",
            "web-old-0123abcz",
            "web-old-0123abcd-2",
        ] {
            assert!(!is_backup_name(other), "{other}");
        }
    }
}
