//! What became of updates that were begun, by what their commands say.

use muster_model::{CommandState, CommandStatus};
use serde_json::json;

use super::super::notice::Event;
use super::super::{History, Update, UpdateError, UpdateState, Updates};
use super::{HELD_MS, LOST_AFTER_MS};
use crate::store::{BadDigestRow, UpdateQuery, UpdateWrite};

impl Updates {
    /// The record of the attempt: the one that it names, or, if the end came before it could, the one that is open.
    pub(super) async fn history_of(&self, update: &Update) -> Result<Option<History>, UpdateError> {
        let query = crate::store::HistoryQuery {
            update: Some(update.id),
            ..crate::store::HistoryQuery::default()
        };
        let (rows, _) = self.app().store().update_history(&query, None, 100).await?;
        let row = rows.into_iter().find(|row| match update.body.history_id {
            Some(id) => row.id == id,
            None => row.completed_ms.is_none(),
        });
        Ok(row.map(History::try_from).transpose()?)
    }

    /// Looks what became of what was begun.
    pub(super) async fn follow(&self) -> Result<(), UpdateError> {
        let query = UpdateQuery {
            states: vec!["in_progress", "unknown"],
            ..UpdateQuery::default()
        };
        let updates = self.updates_of(&query).await?;
        for update in updates.into_iter().filter(Update::is_under_way) {
            self.follow_one(update).await?;
        }
        Ok(())
    }

    async fn follow_one(&self, mut update: Update) -> Result<(), UpdateError> {
        let issue = &self.inner.issue;
        if update.body.command_id.is_none() {
            // The end came between writing it down and telling the agent, or between that and writing down the id.
            match issue.find(&update.reference()).await? {
                Some(id) => self.note_command(&mut update, id).await?,
                None => return self.give_up_unsent(update).await,
            }
        }
        let Some(id) = update.body.command_id else {
            return Ok(());
        };
        let status = match issue.status(id).await? {
            Some(status) if !status.state.is_final() => return self.goes_on(update).await,
            Some(status) => status,
            None if self.now_ms() < update.changed_ms.saturating_add(LOST_AFTER_MS) => return Ok(()),
            None => {
                let words = "its command is not known any more, so what became of it can't be told";
                return self.doubt(update, words, None).await;
            }
        };
        self.conclude(update, &status).await
    }

    /// No agent was told: it is as if it had not been begun, and is judged anew.
    async fn give_up_unsent(&self, mut update: Update) -> Result<(), UpdateError> {
        if update.body.is_rollback {
            let words = "the controller ended before the agent was told: roll back again";
            return self
                .finish(&mut update, UpdateState::Completed, words, None, false)
                .await;
        }
        let words = "the controller ended before the agent was told";
        self.finish(&mut update, UpdateState::Failed, words, None, false)
            .await?;
        self.reopen(update).await
    }

    async fn conclude(&self, mut update: Update, status: &CommandStatus) -> Result<(), UpdateError> {
        let result = status.result.clone();
        let said = if status.message.is_empty() {
            status.state.as_str()
        } else {
            &status.message
        };
        let is_back = result
            .as_ref()
            .is_some_and(|result| result["rolled_back"].as_bool() == Some(true));
        if status.state == CommandState::Unknown {
            // An image may be known to do harm where it is not known what became of the container.
            let bad = result.as_ref().and_then(|result| result["bad_digest"].as_str());
            if update.state != UpdateState::Unknown && bad == Some(update.digest.as_str()) {
                self.remember_bad(&update, said).await?;
            }
            return self.doubt(update, said, result).await;
        }
        if update.body.is_rollback {
            let state = if status.state == CommandState::Succeeded {
                UpdateState::RolledBack
            } else {
                // Taking it back did not succeed: the update is what it was.
                UpdateState::Completed
            };
            return self
                .finish(&mut update, state, said, result, state == UpdateState::RolledBack)
                .await;
        }
        match status.state {
            CommandState::Succeeded => {
                self.finish(&mut update, UpdateState::Completed, "", result, false)
                    .await
            }
            CommandState::Failed => {
                let state = if is_back {
                    UpdateState::RolledBack
                } else {
                    UpdateState::Failed
                };
                if did_harm(&update, is_back, status) {
                    self.remember_bad(&update, said).await?;
                }
                self.finish(&mut update, state, said, result, is_back).await
            }
            CommandState::Refused => {
                let is_passing = is_passing(status);
                self.finish(&mut update, UpdateState::Failed, said, result, false)
                    .await?;
                if is_passing {
                    update.body.held = Some(said.to_owned());
                    update.body.held_until_ms = Some(self.now_ms().saturating_add(HELD_MS));
                } else {
                    update.body.refused = Some(said.to_owned());
                }
                self.reopen(update).await
            }
            // The freeze switch was set before the agent had begun it.
            CommandState::Cancelled if reason(status) == "frozen" || self.freeze().await?.frozen => {
                self.finish(&mut update, UpdateState::Failed, said, result, false)
                    .await?;
                self.reopen(update).await
            }
            _ => {
                let words = format!("the command ended as {}: {said}", status.state.as_str());
                self.finish(&mut update, UpdateState::Failed, &words, result, is_back)
                    .await
            }
        }
    }

    /// It is as if it had not been begun, and is judged anew.
    async fn reopen(&self, mut update: Update) -> Result<(), UpdateError> {
        update.state = if update.body.decided_by.is_some() {
            UpdateState::Approved
        } else {
            UpdateState::Pending
        };
        let store = self.app().store();
        store.write_updates(&[UpdateWrite::Update(update.row()?)]).await?;
        self.told(&update);
        Ok(())
    }

    async fn remember_bad(&self, update: &Update, said: &str) -> Result<(), UpdateError> {
        let body = json!({
            "reason": format!("{} on container {} failed: {said}", update.body.to_image, update.body.container_name),
            "container_id": update.container_id, "server_id": update.server_id, "image": update.body.to_image,
            "platform_digest": update.body.platform_digest,
        });
        let row = BadDigestRow {
            digest: update.digest.clone(),
            body,
            created_ms: self.now_ms(),
        };
        self.app().store().write_updates(&[UpdateWrite::Bad(row)]).await?;
        Ok(())
    }

    /// Writes down how it ended, and tells people.
    pub(in crate::update) async fn finish(
        &self,
        update: &mut Update,
        state: UpdateState,
        words: &str,
        result: Option<serde_json::Value>,
        is_back: bool,
    ) -> Result<(), UpdateError> {
        let now_ms = self.now_ms();
        update.state = state;
        update.changed_ms = now_ms;
        update.body.unknown_since_ms = None;
        let is_known = state != UpdateState::Unknown;
        if is_known {
            update.body.unknown = None;
        }
        let mut writes = vec![UpdateWrite::Update(update.row()?)];
        let failed = is_known
            && (update.body.is_rollback && state != UpdateState::RolledBack
                || !update.body.is_rollback && state != UpdateState::Completed);
        let mut policy_id = None;
        if let Some(mut history) = self.history_of(update).await? {
            history.status = if failed && update.body.is_rollback {
                UpdateState::Failed
            } else {
                state
            };
            history.completed_ms = Some(now_ms);
            history.body.error_message = failed.then(|| words.to_owned());
            history.body.execution_log = (!words.is_empty()).then(|| words.to_owned());
            history.body.result = result;
            history.body.rolled_back = is_back;
            history.body.rolled_back_ms = is_back.then_some(now_ms);
            policy_id = history.body.policy_id;
            writes.push(UpdateWrite::History(history.row()?));
        }
        self.app().store().write_updates(&writes).await?;
        tracing::info!(
            update = update.id,
            container = update.container_id,
            state = state.as_str(),
            "an update is over"
        );
        self.told(update);
        let policies = self.policies().await?;
        let policy = policies.iter().find(|policy| Some(policy.id) == policy_id);
        // That nobody knows was told when it began.
        if is_known && !update.body.is_rollback {
            let event = if failed { Event::Failure } else { Event::Success };
            self.notify(event, update, update.body.history_id, policy, words)
                .await?;
        }
        Ok(())
    }
}

/// Whether a failure says something of the image, as the agent has seen it: a pull that did not succeed, a taken port
/// or a full disk are the server's own.
fn did_harm(update: &Update, is_back: bool, status: &CommandStatus) -> bool {
    match status.result.as_ref().and_then(|result| result.get("bad_digest")) {
        Some(bad) => bad.as_str() == Some(update.digest.as_str()),
        // One that does not say: the new container was being watched, and had to go.
        None => is_back && status.step == "health",
    }
}

/// The stable word for why a command was not done.
fn reason(status: &CommandStatus) -> &str {
    let result = status.result.as_ref();
    result
        .and_then(|result| result["reason"].as_str())
        .unwrap_or_default()
}

/// Whether a server refused something for what passes by itself, and not because it is not allowed there.
fn is_passing(status: &CommandStatus) -> bool {
    matches!(reason(status), "held" | "busy" | "engine" | "journal" | "no_time")
}
