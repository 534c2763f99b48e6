//! Updates of containers: what there is, who may have it, when, and what became of it.
//!
//! [`Updates`] is what the API, the tasks and other parts ask. What the registries know comes through
//! [`Candidates`], what agents are told goes through [`Issue`]; whether something may be done is decided by the pure
//! `muster-update`. Must not know HTTP, gRPC or tables' columns.
//!
//! Invariants: what is begun is written down before anybody is told to do it, under a reference that is never used for
//! anything else, so that an end in between neither loses nor doubles it; nothing is begun against a hold, the freeze
//! switch or a digest known to be bad, whoever asks; what cannot be told is never "up to date".

mod act;
mod checking;
mod commanded;
mod documents;
mod engine;
mod figures;
mod forgotten;
mod health;
mod holds;
mod inventory;
mod model;
mod notice;
mod person;
mod registered;
mod rollouts;
mod seam;
mod waiting;
mod watching;

use std::collections::HashMap;
use std::sync::Arc;

use muster_model::Verb;
use muster_update::{Explanation, FieldProblem, Offer, Policy, Window};
use serde_json::json;
use thiserror::Error;
use tokio::sync::{Mutex, broadcast};

pub use self::act::{Deed, LogLines};
pub use self::checking::{CheckRound, CheckState};
pub use self::commanded::ByCommand;
pub use self::documents::Kept;
pub use self::engine::Judged;
pub use self::figures::Figure;
pub use self::forgotten::{Forgotten, Missing};
pub use self::health::HealthLook;
pub use self::inventory::{Runtime, Seen};
pub use self::model::{
    Freeze, History, HistoryBody, HostSettings, Notice, NoticeBody, Update, UpdateBody, UpdateState,
};
pub use self::person::{HistoryFilter, UpdateFilter};
pub use self::rollouts::{KeptRollout, RolloutDeed};
pub use self::seam::{Asked, Candidates, Issue, IssueError, Order, OrderReference};
pub use self::waiting::{Outlook, Waiting};
use crate::app::commands::{Issuer, changes_containers};
use crate::app::{App, AppError};
use crate::store::{FREEZE, StoreError};

/// Most policies, and most windows.
pub const DOCUMENTS_MAX: usize = 1_000;
/// Most changes that wait for whoever follows them.
const CHANGED_MAX: usize = 1_024;
/// How long records, notices and updates that are over are kept, ms.
const KEPT_MS: i64 = 365 * 86_400_000;

/// Why something was not done.
#[derive(Debug, Error)]
pub enum UpdateError {
    /// There is no such thing.
    #[error("there is no {what} {id}")]
    NotFound {
        /// The word for the thing.
        what: &'static str,
        /// The number asked for.
        id: i64,
    },
    /// What was sent is not what is expected.
    #[error("{} fields cannot be taken", .0.len())]
    Invalid(Vec<FieldProblem>),
    /// It may not be done now; the explanation says why.
    #[error("it may not be done now: {}", said(.0))]
    NotReady(Box<Explanation>),
    /// The thing is in a state in which this cannot be done.
    #[error("{0}")]
    State(String),
    /// The freeze switch is on.
    #[error("nothing is changed while the freeze switch is on: {0}")]
    Frozen(String),
    /// There are as many as there may be.
    #[error("there are {0} of them, more are not taken")]
    TooMany(usize),
    /// An agent could not be told.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// A use-case failed.
    #[error(transparent)]
    App(#[from] AppError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn said(explanation: &Explanation) -> String {
    use muster_update::Outcome;
    let steps = explanation.steps.iter();
    let against =
        steps.filter(|step| matches!(step.outcome, Outcome::Stop | Outcome::Wait | Outcome::Unknown));
    let words: Vec<&str> = against.map(|step| step.words.as_str()).collect();
    if words.is_empty() {
        return "what runs is what the registry has".to_owned();
    }
    words.join("; ")
}

/// Something changed, for whoever follows.
#[derive(Debug, Clone)]
pub struct Changed {
    /// What: `update`, `history`, `rollout`, `freeze`.
    pub what: &'static str,
    /// It as the API shows it.
    pub body: serde_json::Value,
}

/// Everything about updates; clones share it.
#[derive(Clone)]
pub struct Updates {
    inner: Arc<Inner>,
}

/// Digests that did harm, of tags and of platforms.
struct Bad {
    digests: Arc<[String]>,
    /// Why.
    reasons: HashMap<String, String>,
}

impl Bad {
    /// Why an offer is not to be taken, if it is known to do harm.
    fn reason(&self, offer: &Offer) -> Option<&str> {
        let digests = offer.platform_digest.iter().chain([&offer.digest]);
        let mut reasons = digests.filter_map(|digest| self.reasons.get(digest));
        reasons.next().map(String::as_str)
    }
}

struct Inner {
    app: Arc<App>,
    candidates: Arc<dyn Candidates>,
    issue: Arc<dyn Issue>,
    /// Held by whoever begins, follows or changes updates, so that nothing is begun twice.
    only: Mutex<()>,
    changed: broadcast::Sender<Arc<Changed>>,
    /// Whoever follows how containers change.
    watching: Arc<watching::Watching>,
    /// The round of checks that somebody wanted.
    checking: std::sync::Mutex<checking::Checking>,
}

impl Updates {
    /// Over the use-cases, what registries know, and the way to agents.
    #[must_use]
    pub fn new(app: Arc<App>, candidates: Arc<dyn Candidates>, issue: Arc<dyn Issue>) -> Self {
        let (changed, _) = broadcast::channel(CHANGED_MAX);
        Self {
            inner: Arc::new(Inner {
                app,
                candidates,
                issue,
                only: Mutex::default(),
                changed,
                watching: Arc::default(),
                checking: std::sync::Mutex::default(),
            }),
        }
    }

    /// What changes from now on. Whoever is more than a thousand behind misses the oldest, and is told so.
    #[must_use]
    pub fn changed(&self) -> broadcast::Receiver<Arc<Changed>> {
        self.inner.changed.subscribe()
    }

    fn app(&self) -> &App {
        &self.inner.app
    }

    fn now_ms(&self) -> i64 {
        self.inner.app.clock().now_ms()
    }

    fn tell(&self, what: &'static str, body: serde_json::Value) {
        // Nobody may be listening.
        let _ = self.inner.changed.send(Arc::new(Changed { what, body }));
    }

    /// The freeze switch.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn freeze(&self) -> Result<Freeze, UpdateError> {
        let Some((body, changed_ms)) = self.app().store().update_setting(FREEZE).await? else {
            return Ok(Freeze::default());
        };
        let mut freeze: Freeze = model::read("update_setting.body", body)?;
        freeze.changed_ms = changed_ms;
        Ok(freeze)
    }

    /// Sets the freeze switch: while it is on, nothing that changes a container is begun. What was begun goes on to its
    /// end; what waits for its agent is called off.
    ///
    /// # Errors
    /// [`UpdateError::Invalid`] or a failure of the database; then what waits may not be called off yet: set it again.
    pub async fn set_freeze(&self, frozen: bool, reason: &str, by: &str) -> Result<Freeze, UpdateError> {
        if 500 < reason.chars().count() || reason.chars().any(char::is_control) {
            return Err(UpdateError::Invalid(vec![FieldProblem {
                field: "reason".to_owned(),
                message: "at most 500 characters on one line are taken".to_owned(),
            }]));
        }
        // Whoever begins something now has looked at the switch; after this, nobody has.
        let _only = self.inner.only.lock().await;
        let freeze = Freeze {
            frozen,
            reason: reason.to_owned(),
            by: by.to_owned(),
            changed_ms: self.now_ms(),
        };
        let body = model::write(&freeze)?;
        self.app()
            .store()
            .put_update_setting(FREEZE, body, freeze.changed_ms)
            .await?;
        tracing::warn!(frozen, user = by, "the freeze switch was set");
        if frozen {
            let issuer = Issuer::task(&format!("freeze by {by}"));
            self.app().commands().stop_waiting(&issuer, reason).await?;
        }
        self.tell("freeze", json!({"frozen": frozen, "reason": reason}));
        Ok(freeze)
    }

    /// Does `work`, which issues this verb, unless the freeze switch is on and the verb changes a container. The switch is
    /// not set in between.
    ///
    /// # Errors
    /// [`UpdateError::Frozen`] or a failure of the database.
    pub async fn unless_frozen<T>(
        &self,
        verb: &Verb,
        work: impl Future<Output = T> + Send,
    ) -> Result<T, UpdateError> {
        let _only = self.inner.only.lock().await;
        if changes_containers(verb)
            && let Some(words) = self.freeze().await?.words()
        {
            return Err(UpdateError::Frozen(words.to_owned()));
        }
        Ok(work.await)
    }

    async fn policies(&self) -> Result<Vec<Policy>, UpdateError> {
        let kept = self.kept_policies().await?;
        Ok(kept.into_iter().map(|kept| kept.document).collect())
    }

    async fn windows(&self) -> Result<Vec<Window>, UpdateError> {
        let kept = self.kept_windows().await?;
        Ok(kept.into_iter().map(|kept| kept.document).collect())
    }

    async fn bad(&self) -> Result<Bad, UpdateError> {
        let rows = self.app().store().bad_digests().await?;
        let mut reasons = HashMap::with_capacity(rows.len());
        for row in rows {
            let words = row.body["reason"].as_str().unwrap_or("it did harm");
            // The same contents come back under another index.
            let of_platform = row.body["platform_digest"].as_str().map(str::to_owned);
            for digest in of_platform.into_iter().chain([row.digest]) {
                reasons.insert(digest, words.to_owned());
            }
        }
        Ok(Bad {
            digests: reasons.keys().cloned().collect(),
            reasons,
        })
    }

    /// Digests that did harm: each with why, when, and on which container, as JSON.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn bad_digests(&self) -> Result<Vec<(String, serde_json::Value, i64)>, UpdateError> {
        let rows = self.app().store().bad_digests().await?;
        Ok(rows
            .into_iter()
            .map(|row| (row.digest, row.body, row.created_ms))
            .collect())
    }

    /// Gives a digest another chance.
    ///
    /// # Errors
    /// [`UpdateError::State`] if nothing bad is known of it, or a failure of the database.
    pub async fn forgive(&self, digest: &str) -> Result<(), UpdateError> {
        if self.app().store().forgive_digest(digest).await? {
            return Ok(());
        }
        Err(UpdateError::State(
            "nothing bad is known of this digest".to_owned(),
        ))
    }

    /// Forgets what was over long ago. To be called about once an hour.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn retain(&self) -> Result<(), UpdateError> {
        let before_ms = self.now_ms().saturating_sub(KEPT_MS);
        Ok(self.app().store().forget_updates(before_ms).await?)
    }
}
