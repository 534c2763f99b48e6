//! Having registries asked because somebody wants that now: a round goes on by itself, and whoever looks sees how far
//! it is.
//!
//! One round at a time. What is asked for while one goes on is in one more round after it, all of it together, so that
//! however often people ask, never more than two wait.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};

use muster_base::ErrorChain;
use muster_base::id::ServerId;
use muster_update::select;
use serde::Serialize;

use super::{Asked, UpdateError, Updates};
use crate::registry::Progress;

/// How a round stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// Nobody has asked for one since the controller began.
    #[default]
    Never,
    /// It goes on.
    Running,
    /// Every registry was asked; what some did not answer is beside their images.
    Done,
    /// It ended before every registry was asked.
    Failed,
}

/// The round that goes on, or the last one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckRound {
    /// Its number since the controller began.
    pub round: u64,
    /// How it stands.
    pub state: CheckState,
    /// Containers that it is about.
    pub containers: usize,
    /// Their images, each for each platform.
    pub images: usize,
    /// How many of these were asked about.
    pub asked: usize,
    /// Of how many of those it was not said what there is.
    pub failed: usize,
    /// Whether another round begins when this one is over.
    pub is_followed: bool,
    /// Why it failed.
    pub error: Option<String>,
    /// When it began, Unix ms.
    pub started_ms: Option<i64>,
    /// When it was over, Unix ms.
    pub ended_ms: Option<i64>,
}

/// Which containers a round is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scope {
    All,
    Only(BTreeSet<i64>),
}

impl Scope {
    fn has(&self, container: i64) -> bool {
        match self {
            Self::All => true,
            Self::Only(containers) => containers.contains(&container),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            (Self::Only(these), Self::Only(those)) => those.is_subset(these),
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Only(mut these), Self::Only(those)) => {
                these.extend(those);
                Self::Only(these)
            }
            _ => Self::All,
        }
    }
}

/// What is kept of rounds.
#[derive(Debug, Default)]
pub(super) struct Checking {
    round: CheckRound,
    progress: Arc<Progress>,
    scope: Option<Scope>,
    next: Option<Scope>,
}

impl Checking {
    fn begin(&mut self, scope: Scope, now_ms: i64) {
        self.round = CheckRound {
            round: self.round.round + 1,
            state: CheckState::Running,
            started_ms: Some(now_ms),
            ..CheckRound::default()
        };
        self.progress = Arc::default();
        self.scope = Some(scope);
    }

    fn end(&mut self, error: Option<String>, now_ms: i64) {
        let (asked, failed) = self.progress.done();
        let round = &mut self.round;
        (round.images, round.asked, round.failed) = (self.progress.images(), asked, failed);
        round.state = if error.is_none() {
            CheckState::Done
        } else {
            CheckState::Failed
        };
        round.error = error;
        round.ended_ms = Some(now_ms);
        self.scope = None;
    }
}

/// Ends a round that nobody has ended: nothing waits for it for ever.
struct Warden(Updates);

impl Drop for Warden {
    fn drop(&mut self) {
        let now_ms = self.0.now_ms();
        let mut checking = self.0.checking();
        if checking.round.state == CheckState::Running {
            checking.next = None;
            checking.end(
                Some("the controller has a defect and gave it up".to_owned()),
                now_ms,
            );
        }
    }
}

impl Updates {
    fn checking(&self) -> MutexGuard<'_, Checking> {
        // What is in there is true whoever panics.
        self.inner.checking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far the round is that goes on, or how the last one went.
    #[must_use]
    pub fn check_round(&self) -> CheckRound {
        let checking = self.checking();
        let (asked, failed) = checking.progress.done();
        CheckRound {
            images: checking.progress.images(),
            asked,
            failed,
            is_followed: checking.next.is_some(),
            ..checking.round.clone()
        }
    }

    /// Has registries asked about all containers, those of a server, or one, and what there is written down; returns at
    /// once, with how it stands. What one round that goes on does not ask about is in the next.
    ///
    /// # Errors
    /// [`UpdateError::NotFound`] or a failure of the database.
    pub async fn start_check(
        &self,
        server: Option<ServerId>,
        container: Option<i64>,
    ) -> Result<CheckRound, UpdateError> {
        let scope = self.scope(server, container).await?;
        let is_first = {
            let now_ms = self.now_ms();
            let mut checking = self.checking();
            match &checking.scope {
                Some(running) if running.covers(&scope) => false,
                Some(_) => {
                    let next = checking.next.take();
                    checking.next = Some(match next {
                        Some(next) => next.and(scope),
                        None => scope,
                    });
                    false
                }
                None => {
                    checking.begin(scope, now_ms);
                    true
                }
            }
        };
        if is_first {
            let updates = self.clone();
            tokio::spawn(async move { updates.check_rounds().await });
        }
        Ok(self.check_round())
    }

    async fn scope(&self, server: Option<ServerId>, container: Option<i64>) -> Result<Scope, UpdateError> {
        if let Some(id) = container {
            let seen = self.container(id).await?;
            if server.is_some_and(|server| server != seen.server()) {
                return Err(UpdateError::NotFound {
                    what: "container",
                    id,
                });
            }
            return Ok(Scope::Only(BTreeSet::from([id])));
        }
        let Some(server) = server else {
            return Ok(Scope::All);
        };
        // One that is not there is said to be so.
        self.app().server(server).await?;
        let all = self.containers(Some(server)).await?;
        Ok(Scope::Only(all.iter().map(|seen| seen.container.id).collect()))
    }

    /// One round after the other, until nobody wants another.
    async fn check_rounds(self) {
        let warden = Warden(self);
        let updates = &warden.0;
        loop {
            let (scope, progress) = {
                let checking = updates.checking();
                (checking.scope.clone(), Arc::clone(&checking.progress))
            };
            let Some(scope) = scope else { return };
            let error = match updates.check_these(&scope, &progress).await {
                Ok(()) => None,
                Err(error) => Some(ErrorChain(&error).to_string()),
            };
            if let Some(error) = &error {
                tracing::warn!(error, "registries could not be asked");
            }
            let now_ms = updates.now_ms();
            let mut checking = updates.checking();
            checking.end(error, now_ms);
            match checking.next.take() {
                Some(next) => checking.begin(next, now_ms),
                None => return,
            }
        }
    }

    async fn check_these(&self, scope: &Scope, progress: &Progress) -> Result<(), UpdateError> {
        let mut seen = self.containers(None).await?;
        seen.retain(|seen| scope.has(seen.container.id) && !seen.container.image.is_empty());
        self.checking().round.containers = seen.len();
        let (policies, bad) = (self.policies().await?, self.bad().await?);
        let asked: Vec<Asked> = seen
            .iter()
            .map(|seen| seen.asked(select(&seen.container, &policies), &bad.digests))
            .collect();
        let candidates = &self.inner.candidates;
        candidates
            .check(&asked, progress)
            .await
            .map_err(UpdateError::State)?;
        self.refresh().await?;
        Ok(())
    }
}
