//! Updates of which nobody knows what became of them: they are neither done nor failed until the agent says more, the
//! container itself shows it, or nobody waits any more.

use muster_base::id::ServerId;
use serde_json::Value;

use super::super::inventory::{list, text};
use super::super::notice::Event;
use super::super::{Update, UpdateError, UpdateState, Updates};
use crate::app::status::ServerStatus;
use crate::store::UpdateWrite;

/// Only after this does it count what a container is seen to run, ms: the agent may still be at it.
const SETTLED_MS: i64 = 15 * 60_000;
/// After this nobody waits for the agent's word any more, ms.
const WAITED_FOR_MS: i64 = 24 * 3_600_000;

/// Which of its two images a container is seen to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runs {
    Old,
    New,
}

impl Updates {
    /// Nobody knows what became of it: that is written down and told once, then it is looked at again and again.
    pub(super) async fn doubt(
        &self,
        mut update: Update,
        said: &str,
        result: Option<Value>,
    ) -> Result<(), UpdateError> {
        let since_ms = update.body.unknown_since_ms;
        let Some(since_ms) = since_ms.filter(|_| update.state == UpdateState::Unknown) else {
            return self.begin_doubt(update, said, result).await;
        };
        let age_ms = self.now_ms().saturating_sub(since_ms);
        let runs = if age_ms < SETTLED_MS {
            None
        } else {
            self.seen_to_run(&update).await?
        };
        let (state, words) = match (runs, update.body.is_rollback) {
            (Some(Runs::New), false) => (UpdateState::Completed, "it runs the new image"),
            (Some(Runs::Old), false) => (UpdateState::Failed, "it runs the image of before"),
            (Some(Runs::Old), true) => (UpdateState::RolledBack, "it runs the image of before"),
            (Some(Runs::New), true) => (UpdateState::Completed, "it still runs the new image"),
            (None, _) if WAITED_FOR_MS <= age_ms => {
                let words =
                    format!("{said}; nothing more was heard of it within a day: look at the container");
                return self
                    .finish(&mut update, UpdateState::Unknown, &words, result, false)
                    .await;
            }
            (None, _) => return Ok(()),
        };
        let words = format!("{said}; by what the container shows {words}");
        let is_back = state == UpdateState::RolledBack;
        self.finish(&mut update, state, &words, result, is_back).await
    }

    async fn begin_doubt(
        &self,
        mut update: Update,
        said: &str,
        result: Option<Value>,
    ) -> Result<(), UpdateError> {
        let now_ms = self.now_ms();
        update.state = UpdateState::Unknown;
        update.changed_ms = now_ms;
        update.body.unknown = Some(said.to_owned());
        update.body.unknown_since_ms = Some(now_ms);
        let mut writes = vec![UpdateWrite::Update(update.row()?)];
        let mut policy_id = None;
        if let Some(mut history) = self.history_of(&update).await? {
            history.status = UpdateState::Unknown;
            history.body.execution_log = Some(said.to_owned());
            history.body.result = result;
            policy_id = history.body.policy_id;
            writes.push(UpdateWrite::History(history.row()?));
        }
        self.app().store().write_updates(&writes).await?;
        tracing::warn!(
            update = update.id,
            container = update.container_id,
            "nobody knows what became of an update"
        );
        self.told(&update);
        let policies = self.policies().await?;
        let policy = policies.iter().find(|policy| Some(policy.id) == policy_id);
        if !update.body.is_rollback {
            self.notify(Event::Unknown, &update, update.body.history_id, policy, said)
                .await?;
        }
        Ok(())
    }

    /// Its command is not over: one that was not known to go on does.
    pub(super) async fn goes_on(&self, mut update: Update) -> Result<(), UpdateError> {
        if update.state != UpdateState::Unknown {
            return Ok(());
        }
        update.state = UpdateState::InProgress;
        update.changed_ms = self.now_ms();
        update.body.unknown = None;
        update.body.unknown_since_ms = None;
        let mut writes = vec![UpdateWrite::Update(update.row()?)];
        if let Some(mut history) = self.history_of(&update).await? {
            history.status = UpdateState::InProgress;
            history.body.execution_log = None;
            writes.push(UpdateWrite::History(history.row()?));
        }
        self.app().store().write_updates(&writes).await?;
        self.told(&update);
        Ok(())
    }

    /// Which image a container that runs is seen to have; `None`: that can't be told, or is neither.
    async fn seen_to_run(&self, update: &Update) -> Result<Option<Runs>, UpdateError> {
        let server = self.app().server(ServerId(update.server_id)).await?;
        if !matches!(server.status, ServerStatus::Online | ServerStatus::Failing) {
            return Ok(None);
        }
        let seen = match self.container(update.container_id).await {
            Ok(seen) => seen,
            Err(UpdateError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if text(&seen.view, "status") != Some("running") {
            return Ok(None);
        }
        let is_new = seen.digest() == Some(update.digest.as_str())
            || list(&seen.view, "repo_digests").iter().any(|known| {
                known
                    .split_once('@')
                    .is_some_and(|(_, digest)| digest == update.digest)
            });
        let is_old = !seen.image_id().is_empty() && seen.image_id() == update.body.from_image_id;
        Ok(match (is_old, is_new) {
            (true, false) => Some(Runs::Old),
            (false, true) => Some(Runs::New),
            _ => None,
        })
    }
}
