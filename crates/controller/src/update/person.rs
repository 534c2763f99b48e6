//! What people do with updates: looking, approving, rejecting, starting, taking back.

use muster_model::Verb;
use muster_update::{Approval, Candidate, Decision, Explanation};
use uuid::Uuid;

use super::engine::{history_of, offer_of, plan_verb, read_all};
use super::{History, Notice, Order, Update, UpdateError, UpdateState, Updates};
use crate::app::{Page, PageRequest};
use crate::store::{HistoryQuery, UpdateQuery, UpdateWrite};

/// Longest note of a person, in characters.
const NOTE_CHARS_MAX: usize = 500;

/// Which updates are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct UpdateFilter {
    /// In this state.
    pub state: Option<UpdateState>,
    /// Of this server.
    pub server: Option<i64>,
    /// Of this container.
    pub container: Option<i64>,
}

/// Which records are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct HistoryFilter {
    /// Of this container.
    pub container: Option<i64>,
    /// Of this server.
    pub server: Option<i64>,
    /// That ended so.
    pub status: Option<UpdateState>,
}

/// The page of a list whose newest come first.
fn before(wanted: &PageRequest) -> Result<Option<i64>, UpdateError> {
    let after = wanted.after()?;
    Ok((0 < after).then_some(after))
}

/// What is under way or done is not decided any more.
fn may_be_decided(update: &Update) -> Result<(), UpdateError> {
    let words = match update.state {
        UpdateState::Unknown if update.is_under_way() => {
            "what became of the update is not known yet: the agent's next word is waited for, at most a day"
                .to_owned()
        }
        UpdateState::InProgress | UpdateState::Completed => {
            format!("the update is {}", update.state.as_str())
        }
        _ => return Ok(()),
    };
    Err(UpdateError::State(words))
}

impl Updates {
    /// Updates, by number.
    ///
    /// # Errors
    /// A cursor that is none, or a failure of the database.
    pub async fn list(&self, filter: UpdateFilter, wanted: PageRequest) -> Result<Page<Update>, UpdateError> {
        let query = UpdateQuery {
            states: filter.state.map(UpdateState::as_str).into_iter().collect(),
            server: filter.server,
            container: filter.container,
        };
        let limit = wanted.limit();
        let after = wanted.after()?;
        let (rows, total) = self
            .app()
            .store()
            .updates(&query, after, u64::from(limit) + 1)
            .await?;
        Ok(crate::app::page(read_all(rows)?, limit, total, |update| {
            update.id.to_string()
        }))
    }

    /// One update.
    ///
    /// # Errors
    /// [`UpdateError::NotFound`] or a failure of the database.
    pub async fn update(&self, id: i64) -> Result<Update, UpdateError> {
        let row = self.app().store().update(id).await?;
        let row = row.ok_or(UpdateError::NotFound { what: "update", id })?;
        Ok(Update::try_from(row)?)
    }

    /// Records, the newest first.
    ///
    /// # Errors
    /// A cursor that is none, or a failure of the database.
    pub async fn history(
        &self,
        filter: HistoryFilter,
        wanted: PageRequest,
    ) -> Result<Page<History>, UpdateError> {
        let query = HistoryQuery {
            container: filter.container,
            server: filter.server,
            update: None,
            status: filter.status.map(UpdateState::as_str),
        };
        let limit = wanted.limit();
        let store = self.app().store();
        let (rows, total) = store
            .update_history(&query, before(&wanted)?, u64::from(limit) + 1)
            .await?;
        let records: Vec<History> = rows
            .into_iter()
            .map(History::try_from)
            .collect::<Result<_, _>>()?;
        Ok(crate::app::page(records, limit, total, |record| {
            record.id.to_string()
        }))
    }

    /// Notices, the newest first.
    ///
    /// # Errors
    /// A cursor that is none, or a failure of the database.
    pub async fn notices(
        &self,
        container: Option<i64>,
        wanted: PageRequest,
    ) -> Result<Page<Notice>, UpdateError> {
        let limit = wanted.limit();
        let store = self.app().store();
        let (rows, total) = store
            .update_notices(container, before(&wanted)?, u64::from(limit) + 1)
            .await?;
        let notices: Vec<Notice> = rows.into_iter().map(Notice::try_from).collect::<Result<_, _>>()?;
        Ok(crate::app::page(notices, limit, total, |notice| {
            notice.id.to_string()
        }))
    }

    /// Somebody wants it, when it is time.
    ///
    /// # Errors
    /// [`UpdateError::State`] if it is under way or done, [`UpdateError::NotFound`] or a failure of the database.
    pub async fn approve(&self, id: i64, note: Option<String>, by: &str) -> Result<Update, UpdateError> {
        self.decide(id, UpdateState::Approved, note, by).await
    }

    /// Somebody does not want it.
    ///
    /// # Errors
    /// As for [`Updates::approve`].
    pub async fn reject(&self, id: i64, note: Option<String>, by: &str) -> Result<Update, UpdateError> {
        self.decide(id, UpdateState::Rejected, note, by).await
    }

    async fn decide(
        &self,
        id: i64,
        state: UpdateState,
        note: Option<String>,
        by: &str,
    ) -> Result<Update, UpdateError> {
        if note
            .as_ref()
            .is_some_and(|note| NOTE_CHARS_MAX < note.chars().count())
        {
            return Err(UpdateError::Invalid(vec![super::FieldProblem {
                field: "note".to_owned(),
                message: format!("at most {NOTE_CHARS_MAX} characters are taken"),
            }]));
        }
        let _only = self.inner.only.lock().await;
        let mut update = self.update(id).await?;
        may_be_decided(&update)?;
        let now_ms = self.now_ms();
        update.state = state;
        update.changed_ms = now_ms;
        update.body.decided_by = Some(by.to_owned());
        update.body.decided_ms = Some(now_ms);
        update.body.note = note;
        // Whoever approves knows that the server refused it, and has seen to that.
        update.body.refused = None;
        update.body.held = None;
        update.body.held_until_ms = None;
        self.app()
            .store()
            .write_updates(&[UpdateWrite::Update(update.row()?)])
            .await?;
        self.told(&update);
        Ok(update)
    }

    /// Begins an update now: neither approval, age nor window counts; everything else does.
    ///
    /// # Errors
    /// [`UpdateError::NotReady`] with what stands against it, [`UpdateError::State`] if it is under way or done,
    /// [`UpdateError::Issue`] if the agent could not be told, or a failure of the database.
    pub async fn execute(&self, id: i64, by: &str) -> Result<Update, UpdateError> {
        let _only = self.inner.only.lock().await;
        let (seen, mut update, explanation) = self.ready_now(id, by).await?;
        update.body.decided_by = Some(by.to_owned());
        update.body.decided_ms = Some(self.now_ms());
        self.begin(&seen, update, &explanation, by, None).await
    }

    /// Has the agent say what it would do. Returns the command's id.
    ///
    /// # Errors
    /// As for [`Updates::execute`].
    pub async fn rehearse(&self, id: i64, by: &str) -> Result<Uuid, UpdateError> {
        let (seen, update, _) = self.ready_now(id, by).await?;
        let mut verb = plan_verb(&seen)(&Update {
            body: super::UpdateBody {
                from_image_id: seen.image_id().to_owned(),
                ..update.body.clone()
            },
            ..update
        });
        if let Verb::ContainerUpdate { plan, .. } = &mut verb {
            plan.dry_run = true;
        }
        let order = Order {
            server: seen.server(),
            verb,
            by: by.to_owned(),
            reference: None,
            pulls: None,
        };
        Ok(self.inner.issue.issue(order).await?)
    }

    async fn ready_now(&self, id: i64, by: &str) -> Result<(super::Seen, Update, Explanation), UpdateError> {
        let mut update = self.update(id).await?;
        may_be_decided(&update)?;
        let seen = self.container(update.container_id).await?;
        let mut basis = self.basis().await?;
        let found = self.candidate_of(&seen, &basis.policies, &basis.bad).await;
        let candidate = match found {
            Candidate::Available(offer) if offer.digest != update.digest => {
                return Err(UpdateError::State(
                    "the registry has something newer by now: begin the update to that".to_owned(),
                ));
            }
            // A registry that does not answer does not stop what it offered before.
            Candidate::Unknown(_) => Candidate::Available(offer_of(&update)),
            other => other,
        };
        // Whoever starts it knows that the server refused it, and has seen to that.
        update.body.refused = None;
        update.body.held = None;
        update.body.held_until_ms = None;
        let approval = Approval::Now(by.to_owned());
        let explanation = self
            .judge(&mut basis, &seen, &candidate, Some(&update), &approval)
            .await?;
        if explanation.decision != Decision::Ready {
            return Err(UpdateError::NotReady(Box::new(explanation)));
        }
        Ok((seen, update, explanation))
    }

    /// Has a container go back to what an update replaced.
    ///
    /// # Errors
    /// [`UpdateError::State`] if the update is not done, [`UpdateError::Frozen`], [`UpdateError::Issue`] if the agent
    /// could not be told, or a failure of the database.
    pub async fn roll_back(&self, id: i64, by: &str) -> Result<Update, UpdateError> {
        let _only = self.inner.only.lock().await;
        let mut update = self.update(id).await?;
        let command = update.body.command_id.filter(|_| !update.body.is_rollback);
        let (UpdateState::Completed, Some(command)) = (update.state, command) else {
            return Err(UpdateError::State(format!(
                "only an update that is completed can be taken back, and this is {}",
                update.state.as_str()
            )));
        };
        let freeze = self.freeze().await?;
        if let Some(words) = freeze.words() {
            return Err(UpdateError::Frozen(words.to_owned()));
        }
        let seen = self.container(update.container_id).await?;
        update.body.is_rollback = true;
        let now_ms = self.now_ms();
        let history = history_of(&update, by, None, now_ms);
        self.write_begun(&mut update, history, by, now_ms).await?;
        let target = seen.target.clone();
        let verb = move |_: &Update| Verb::ContainerRollback {
            target: target.clone(),
            update: command,
        };
        self.send(update, &verb, by).await
    }
}
