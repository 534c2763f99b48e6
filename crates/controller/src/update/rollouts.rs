//! Roll-outs: kept, looked at, and taken a step further.

use std::collections::{HashMap, HashSet};

use muster_base::ErrorChain;
use muster_base::id::ServerId;
use muster_image::whole;
use muster_update::{
    Action, Approval, Candidate, Decision, Gate, MemberState, Rollout, RolloutBody, RolloutState, step,
};
use regex::Regex;
use serde_json::json;

use super::engine::{Basis, offer_of};
use super::{FieldProblem, Update, UpdateError, UpdateState, Updates, model};
use crate::app::status::ServerStatus;
use crate::app::{Page, PageRequest};
use crate::store::{AlertFilter, RolloutRow, UpdateQuery, UpdateWrite};

/// Most roll-outs that go on.
const OPEN_MAX: u64 = 100;
/// Most alerts that are read of a server.
const ALERTS_MAX: u64 = 20;

/// A roll-out with what is known of it.
#[derive(Debug, Clone)]
pub struct KeptRollout {
    /// Its number.
    pub id: i64,
    /// It.
    pub rollout: Rollout,
    /// Who began it.
    pub created_by: String,
    /// When, Unix ms.
    pub created_ms: i64,
    /// When it changed last, Unix ms.
    pub changed_ms: i64,
}

impl TryFrom<RolloutRow> for KeptRollout {
    type Error = UpdateError;

    fn try_from(row: RolloutRow) -> Result<Self, UpdateError> {
        Ok(Self {
            id: row.id,
            rollout: model::read("rollout.body", row.body)?,
            created_by: row.created_by,
            created_ms: row.created_ms,
            changed_ms: row.changed_ms,
        })
    }
}

impl KeptRollout {
    fn row(&self) -> Result<RolloutRow, UpdateError> {
        Ok(RolloutRow {
            id: self.id,
            state: self.rollout.state.as_str().to_owned(),
            body: model::write(&self.rollout)?,
            created_by: self.created_by.clone(),
            created_ms: self.created_ms,
            changed_ms: self.changed_ms,
        })
    }
}

/// What somebody does to a roll-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutDeed {
    /// It stops for a while.
    Pause,
    /// It goes on.
    Resume,
    /// It ends.
    Abort,
}

impl Updates {
    pub(super) async fn open_rollouts(&self) -> Result<Vec<KeptRollout>, UpdateError> {
        let (rows, _) = self.app().store().rollouts(true, None, OPEN_MAX).await?;
        rows.into_iter().map(KeptRollout::try_from).collect()
    }

    /// Roll-outs, the newest first.
    ///
    /// # Errors
    /// A cursor that is none, or a failure of the database.
    pub async fn rollouts(&self, wanted: PageRequest) -> Result<Page<KeptRollout>, UpdateError> {
        let limit = wanted.limit();
        let after = wanted.after()?;
        let before = (0 < after).then_some(after);
        let store = self.app().store();
        let (rows, total) = store.rollouts(false, before, u64::from(limit) + 1).await?;
        let kept: Vec<KeptRollout> = rows
            .into_iter()
            .map(KeptRollout::try_from)
            .collect::<Result<_, _>>()?;
        Ok(crate::app::page(kept, limit, total, |kept| kept.id.to_string()))
    }

    /// One roll-out.
    ///
    /// # Errors
    /// [`UpdateError::NotFound`] or a failure of the database.
    pub async fn rollout(&self, id: i64) -> Result<KeptRollout, UpdateError> {
        let row = self.app().store().rollout(id).await?;
        row.ok_or(UpdateError::NotFound { what: "roll-out", id })?
            .try_into()
    }

    /// Begins a roll-out of updates that are there.
    ///
    /// # Errors
    /// [`UpdateError::Invalid`], [`UpdateError::TooMany`], or a failure of the database.
    pub async fn create_rollout(&self, body: RolloutBody, by: &str) -> Result<KeptRollout, UpdateError> {
        let pattern = body.image_pattern.as_deref().map(whole).transpose();
        let pattern = pattern.map_err(|error| invalid("image_pattern", error.to_string()))?;
        if pattern.is_none() && body.update_ids.is_none() {
            let message = "is required, or update_ids: of which updates is not said".to_owned();
            return Err(invalid("image_pattern", message));
        }
        let _only = self.inner.only.lock().await;
        let open = self.open_rollouts().await?;
        if OPEN_MAX as usize <= open.len() {
            return Err(UpdateError::TooMany(OPEN_MAX as usize));
        }
        let members = self.free_updates(&open).await?;
        let members = chosen(&members, body.update_ids.as_deref(), pattern.as_ref())?;
        let rollout = Rollout::plan(&body, &members).map_err(UpdateError::Invalid)?;
        let now_ms = self.now_ms();
        let mut kept = KeptRollout {
            id: 0,
            rollout,
            created_by: by.to_owned(),
            created_ms: now_ms,
            changed_ms: now_ms,
        };
        kept.id = self.app().store().add_rollout(&kept.row()?).await?;
        tracing::info!(
            rollout = kept.id,
            members = kept.rollout.members.len(),
            user = by,
            "a roll-out begins"
        );
        self.tell_rollout(&kept);
        Ok(kept)
    }

    /// Updates that wait and that no open roll-out has.
    async fn free_updates(&self, open: &[KeptRollout]) -> Result<Vec<Update>, UpdateError> {
        let taken: HashSet<i64> = open
            .iter()
            .flat_map(|kept| kept.rollout.members.iter().map(|member| member.update_id))
            .collect();
        let query = UpdateQuery {
            states: vec!["pending", "approved"],
            ..UpdateQuery::default()
        };
        let mut updates = self.updates_of(&query).await?;
        updates.retain(|update| !taken.contains(&update.id));
        Ok(updates)
    }

    /// Stops, resumes or ends a roll-out.
    ///
    /// # Errors
    /// [`UpdateError::State`] if it cannot be, [`UpdateError::NotFound`] or a failure of the database.
    pub async fn change_rollout(
        &self,
        id: i64,
        deed: RolloutDeed,
        by: &str,
    ) -> Result<KeptRollout, UpdateError> {
        let _only = self.inner.only.lock().await;
        let mut kept = self.rollout(id).await?;
        let now_ms = self.now_ms();
        let is_done = match deed {
            RolloutDeed::Pause => kept.rollout.pause(by),
            RolloutDeed::Resume => kept.rollout.resume(now_ms),
            RolloutDeed::Abort => kept.rollout.abort(by),
        };
        if !is_done {
            let state = kept.rollout.state.as_str();
            return Err(UpdateError::State(format!("the roll-out is {state}")));
        }
        kept.changed_ms = now_ms;
        self.keep_rollout(&kept).await?;
        Ok(kept)
    }

    async fn keep_rollout(&self, kept: &KeptRollout) -> Result<(), UpdateError> {
        let store = self.app().store();
        store.write_updates(&[UpdateWrite::Rollout(kept.row()?)]).await?;
        self.tell_rollout(kept);
        Ok(())
    }

    fn tell_rollout(&self, kept: &KeptRollout) {
        let body = json!({
            "id": kept.id, "state": kept.rollout.state, "wave": kept.rollout.wave, "reason": kept.rollout.reason,
        });
        self.tell("rollout", body);
    }

    /// Takes every roll-out that goes on a step further: it is written down before anything is begun.
    pub(super) async fn step_rollouts(&self, basis: &mut Basis) -> Result<(), UpdateError> {
        for mut kept in self.open_rollouts().await? {
            let mut updates: HashMap<i64, Update> = HashMap::new();
            for member in &kept.rollout.members {
                if member.state == MemberState::Started
                    && let Some(row) = self.app().store().update(member.update_id).await?
                {
                    updates.insert(member.update_id, Update::try_from(row)?);
                }
            }
            let gate = self.gate(&kept, &updates).await?;
            let (next, actions) = step(&kept.rollout, &gate, self.now_ms());
            if next != kept.rollout {
                let has_stopped =
                    next.state == RolloutState::Stopped && kept.rollout.state != RolloutState::Stopped;
                kept.rollout = next;
                kept.changed_ms = self.now_ms();
                self.keep_rollout(&kept).await?;
                if has_stopped {
                    tracing::warn!(
                        rollout = kept.id,
                        reason = kept.rollout.reason,
                        "a roll-out stopped"
                    );
                }
            }
            let taken_back = kept.rollout.members.iter().filter(|member| {
                let is_open = |update: &Update| {
                    update.state.is_open() && update.body.refused.is_none() && update.body.held.is_none()
                };
                member.state == MemberState::Started && updates.get(&member.update_id).is_some_and(is_open)
            });
            // What the freeze switch has called off, or an end of the controller, is begun again in its turn.
            let again: Vec<Action> = match kept.rollout.state {
                RolloutState::Running => taken_back.map(|member| Action::Start(member.update_id)).collect(),
                _ => Vec::new(),
            };
            for Action::Start(update) in actions.into_iter().chain(again) {
                if let Err(error) = self.start_member(&kept, update, basis).await {
                    tracing::warn!(
                        error = %ErrorChain(&error), rollout = kept.id, update,
                        "an update of a roll-out was not begun"
                    );
                }
            }
        }
        Ok(())
    }

    async fn gate(&self, kept: &KeptRollout, updates: &HashMap<i64, Update>) -> Result<Gate, UpdateError> {
        let mut gate = Gate {
            freeze: self.freeze().await?.words().map(str::to_owned),
            ..Gate::default()
        };
        for member in &kept.rollout.members {
            if member.state != MemberState::Started {
                continue;
            }
            let over = match updates.get(&member.update_id) {
                // Passed over: there is something newer, or the container is gone.
                None => Some(MemberState::Skipped),
                Some(update) => match update.state {
                    UpdateState::Completed => Some(MemberState::Completed),
                    UpdateState::Failed | UpdateState::RolledBack => Some(MemberState::Failed),
                    // Waited for as long as somebody may still say; after that it is not taken for a success.
                    UpdateState::Unknown if update.is_under_way() => None,
                    UpdateState::Unknown => Some(MemberState::Failed),
                    UpdateState::Rejected => Some(MemberState::Skipped),
                    // The server refused it: whoever began the roll-out has to see to that.
                    UpdateState::Pending | UpdateState::Approved
                        if update.body.refused.is_some() || update.body.held.is_some() =>
                    {
                        Some(MemberState::Failed)
                    }
                    UpdateState::Pending | UpdateState::Approved | UpdateState::InProgress => None,
                },
            };
            gate.over.extend(over.map(|over| (member.update_id, over)));
        }
        let since_ms = kept.rollout.wave_began_ms.unwrap_or(kept.created_ms);
        for server in kept.rollout.reached_servers() {
            match self.app().server(ServerId(server)).await {
                Ok(view) if matches!(view.status, ServerStatus::Offline | ServerStatus::NeverSeen) => {
                    gate.silent_servers.push(server);
                }
                Ok(_) => {}
                Err(crate::app::AppError::NotFound { .. }) => gate.silent_servers.push(server),
                Err(error) => return Err(error.into()),
            }
            let filter = AlertFilter {
                states: vec!["active", "acknowledged"],
                server: Some(server),
                from_ms: Some(since_ms),
                ..AlertFilter::default()
            };
            let (alerts, _) = self.app().store().alerts(&filter, None, ALERTS_MAX).await?;
            gate.new_alerts.extend(
                alerts
                    .iter()
                    .filter(|alert| alert.severity != muster_alert::Severity::Info)
                    .map(|alert| format!("alert {} on server {server}", alert.id)),
            );
        }
        Ok(gate)
    }

    /// Begins one update of a roll-out, if it may begin; one that may not for good is left out.
    async fn start_member(&self, kept: &KeptRollout, id: i64, basis: &mut Basis) -> Result<(), UpdateError> {
        let Some(row) = self.app().store().update(id).await? else {
            return Ok(());
        };
        let update = Update::try_from(row)?;
        if !update.state.is_open() || update.body.refused.is_some() {
            return Ok(());
        }
        let Ok(seen) = self.container(update.container_id).await else {
            return Ok(());
        };
        let candidate = Candidate::Available(offer_of(&update));
        let approval = Approval::Rollout(kept.created_by.clone());
        let explanation = self
            .judge(basis, &seen, &candidate, Some(&update), &approval)
            .await?;
        match explanation.decision {
            Decision::Ready => {
                let by = format!("policy of roll-out {} by {}", kept.id, kept.created_by);
                self.begin(&seen, update, &explanation, &by, Some(kept.id))
                    .await?;
            }
            // Somebody would have to change something: it does not wait for that.
            Decision::Blocked(_) => {
                let mut kept = self.rollout(kept.id).await?;
                for member in &mut kept.rollout.members {
                    if member.update_id == id {
                        member.state = MemberState::Skipped;
                    }
                }
                self.keep_rollout(&kept).await?;
            }
            // It waits, and is looked at again.
            _ => {}
        }
        Ok(())
    }
}

fn invalid(field: &str, message: String) -> UpdateError {
    UpdateError::Invalid(vec![FieldProblem {
        field: field.to_owned(),
        message,
    }])
}

/// Update, container and server of those that are named or whose image matches, both where both are said.
fn chosen(
    updates: &[Update],
    ids: Option<&[i64]>,
    pattern: Option<&Regex>,
) -> Result<Vec<(i64, i64, i64)>, UpdateError> {
    let free: HashSet<i64> = updates.iter().map(|update| update.id).collect();
    if let Some(missing) = ids.and_then(|ids| ids.iter().find(|id| !free.contains(id))) {
        let message = format!("{missing} is no open update that no other roll-out has");
        return Err(invalid("update_ids", message));
    }
    let is_chosen = |update: &&Update| {
        ids.is_none_or(|ids| ids.contains(&update.id))
            && pattern.is_none_or(|pattern| pattern.is_match(&update.body.from_image))
    };
    let chosen = updates.iter().filter(is_chosen);
    Ok(chosen
        .map(|update| (update.id, update.container_id, update.server_id))
        .collect())
}
