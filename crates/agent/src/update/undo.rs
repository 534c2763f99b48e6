//! Putting everything back: safe to be begun at any stage, and to be begun again.
//!
//! It believes the engine and not the journal: what the journal says last may not have happened, and what it does not
//! say yet may have.

use std::time::Duration;

use muster_base::ErrorChain;
use serde_json::Value;

use super::record::{Record, Stage};
use super::{Updater, is_running, text};
use crate::runtime::{Engine, EngineError};

/// How often a unit that does not start is told to.
const UNIT_TRIES: usize = 3;
/// How long an engine that does not answer is asked again.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

/// Why not everything could be put back.
pub(super) enum Failure {
    /// The engine did not answer as it should: worth another try.
    Engine(EngineError),
    /// A systemd unit did not do it: worth a few tries.
    Unit(String),
    /// Systemd did not answer: worth another try.
    Unanswered(String),
    /// Trying again changes nothing.
    Stuck(String),
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// What there is, or nothing.
pub(super) async fn found(engine: &dyn Engine, container: &str) -> Result<Option<Value>, EngineError> {
    match engine.inspect(container).await {
        Ok(inspect) => Ok(Some(inspect)),
        Err(EngineError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The new container, whether its id came to be written down or not.
pub(super) async fn find_new(engine: &dyn Engine, record: &Record) -> Result<Option<Value>, Failure> {
    if let Some(id) = &record.new_id {
        return Ok(found(engine, id).await?);
    }
    let Some(holder) = found(engine, &record.name).await? else {
        return Ok(None);
    };
    if text(&holder, "Id") == record.old_id {
        return Ok(None);
    }
    let is_ours = record.new_image.as_deref() == Some(&normal_image(text(&holder, "Image")));
    let is_fresh = text(&holder["State"], "Status") == "created";
    if is_ours && is_fresh {
        return Ok(Some(holder));
    }
    Err(Failure::Stuck(format!(
        "the name {} was taken by another container; the old one is kept as {}",
        record.name, record.backup
    )))
}

/// An image's id with the prefix that Podman leaves out.
pub(super) fn normal_image(id: &str) -> String {
    if id.contains(':') {
        id.to_owned()
    } else {
        format!("sha256:{id}")
    }
}

impl Updater {
    /// Puts everything back, for as long as it takes the engine to answer.
    pub(super) async fn undo(&self, engine: &dyn Engine, record: &mut Record) -> Result<(), String> {
        record.stage = Stage::Undo;
        self.save(record)
            .map_err(|error| ErrorChain(&error).to_string())?;
        let begun = tokio::time::Instant::now();
        let mut tries = 0;
        loop {
            match self.undo_once(engine, record).await {
                Ok(()) => {
                    record.stage = Stage::Undone;
                    return self.save(record).map_err(|error| ErrorChain(&error).to_string());
                }
                Err(Failure::Unit(_)) if tries + 1 < UNIT_TRIES => {
                    tries += 1;
                    tokio::time::sleep(self.limits.pace).await;
                }
                Err(Failure::Stuck(message) | Failure::Unit(message)) => {
                    record.stage = Stage::Stuck;
                    let _ = self.save(record);
                    return Err(message);
                }
                Err(Failure::Engine(error)) if self.limits.patience < begun.elapsed() => {
                    return Err(format!(
                        "the old container is not back yet: {}",
                        ErrorChain(&error)
                    ));
                }
                Err(Failure::Unanswered(message)) if self.limits.patience < begun.elapsed() => {
                    return Err(message);
                }
                Err(Failure::Engine(_) | Failure::Unanswered(_)) => {
                    tokio::time::sleep(self.limits.pace).await;
                }
            }
        }
    }

    async fn undo_once(&self, engine: &dyn Engine, record: &mut Record) -> Result<(), Failure> {
        if let Some(owned) = &record.unit {
            return super::unit::undo_once(self, engine, record, owned).await;
        }
        let new = find_new(engine, record).await?;
        let Some(old) = found(engine, &record.old_id).await? else {
            if let Some(new) = &new
                && !is_running(new)
            {
                engine.start(text(new, "Id")).await?;
            }
            return Err(Failure::Stuck(
                "the old container is gone, so the new one was left".to_owned(),
            ));
        };
        if let Some(new) = new {
            let id = text(&new, "Id");
            if is_running(&new) {
                engine.stop(id, None).await?;
            }
            gone(engine.remove(id, true).await)?;
        }
        if text(&old, "Name").trim_start_matches('/') != record.name {
            engine.rename(&record.old_id, &record.name).await?;
        }
        let policy = &record.before["HostConfig"]["RestartPolicy"];
        if old["HostConfig"]["RestartPolicy"] != *policy && !policy.is_null() {
            engine.set_restart_policy(&record.old_id, policy).await?;
        }
        let is_to_end = record.is_stop_sent && is_running(&old);
        if is_to_end {
            // An engine goes on with what it was told by somebody who is gone, for as long as the container takes to end: one
            // that seems to run as before would be stopped when nobody looks any more.
            engine.stop(&record.old_id, None).await?;
        }
        if record.was_running && (is_to_end || !is_running(&old)) {
            engine.start(&record.old_id).await?;
            let again = engine.inspect(&record.old_id).await?;
            if !is_running(&again) {
                return Err(Failure::Stuck(format!(
                    "the old container was put back and does not run: {}",
                    again["State"]
                )));
            }
            record.is_stop_sent = false;
        }
        if record.is_retagged
            && let Some((repository, tag)) = super::reference(&record.plan.image)
        {
            match &record.tag_was {
                // An image that was removed meanwhile can't be named; the container does not need that.
                Some(image) => gone(engine.tag(image, &repository, &tag).await)?,
                // Nothing had this name; an image that is in use keeps it, which does no harm.
                None => drop(engine.remove_image(&record.plan.image).await),
            }
        }
        if let Some(tag) = &record.rollback_tag {
            // With its own name back it needs no other; a name that stays does no harm.
            let _ = engine.remove_image(tag).await;
        }
        Ok(())
    }
}

/// What is not there any more is removed.
pub(super) fn gone(removed: Result<(), EngineError>) -> Result<(), EngineError> {
    match removed {
        Err(EngineError::NotFound { .. }) => Ok(()),
        other => other,
    }
}
