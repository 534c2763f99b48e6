//! Updates of which nobody knows what became of them: they are neither done nor failed until the agent says more or nobody
//! waits any more. What the container is seen to run does not count: that was told before the doubt, as likely as not, and
//! says nothing of its health.

use serde_json::Value;

use super::super::notice::Event;
use super::super::{Update, UpdateError, UpdateState, Updates};
use crate::store::UpdateWrite;

/// After this nobody waits for the agent's word any more, ms.
const WAITED_FOR_MS: i64 = 24 * 3_600_000;

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
        if age_ms < WAITED_FOR_MS {
            return Ok(());
        }
        let words = format!("{said}; nothing more was heard of it within a day: look at the container");
        self.finish(&mut update, UpdateState::Unknown, &words, result, false)
            .await
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
}
