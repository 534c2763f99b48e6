//! What is done at a start, when the time of an old container has passed, and when somebody wants it back.

use muster_base::ErrorChain;
use muster_base::shutdown::CancellationToken;
use muster_model::{CommandState, ContainerTarget, ResourceKey, UpdatePlan, Verb};
use serde_json::{Value, json};
use tracing::{info, warn};
use uuid::Uuid;

use super::forward::{Run, Stop, begin, digest_of};
use super::health::has_what_was_asked;
use super::record::{Record, Stage};
use super::undo::{Failure, find_new, found, gone, normal_image};
use super::{
    Reconciled, Standing, Tell, TransactionError, Updater, checks, is_running, refused, repository, text,
    unit,
};
use crate::command::policy;
use crate::runtime::{Engine, EngineError, RegistryAuth};

/// Nobody listens at a start.
struct Silent;

impl Tell for Silent {
    fn step(&self, _: &'static str, _: Option<f64>, _: &str) {}
}

/// Brings all that was under way to an end.
pub(super) async fn all(updater: &Updater) -> Vec<Reconciled> {
    let mut outcomes = Vec::new();
    for mut record in updater.journal.all() {
        if record.outcome.is_none() {
            let outcome = finish(updater, &mut record).await;
            outcomes.push((record.command, outcome.0, outcome.1, Some(record.result())));
        } else if let Some((state, message)) = record.outcome.clone() {
            settle(updater, &mut record).await;
            outcomes.push((record.command, state, message, Some(record.result())));
        }
    }
    updater.journal.trim();
    outcomes
}

/// How the transaction of a command stands. One that goes back is written down with the update that it takes back.
pub(super) fn standing(updater: &Updater, command: Uuid, verb: &Verb) -> Standing {
    if let Some(record) = updater.journal.load(command) {
        return match &record.outcome {
            None => Standing::Unfinished,
            Some((state, message)) => {
                let result = Some(record.result());
                Standing::Ended((command, *state, message.clone(), result))
            }
        };
    }
    let Verb::ContainerRollback { update, .. } = verb else {
        return Standing::Over;
    };
    match updater.journal.load(*update) {
        Some(record) if record.stage == Stage::Undone => {
            let result = json!({"rolled_back": true, "update": update, "result": record.result()});
            let message = "the old container is back".to_owned();
            Standing::Ended((command, CommandState::Succeeded, message, Some(result)))
        }
        Some(record) if record.outcome.is_none() => Standing::Unfinished,
        _ => Standing::Over,
    }
}

/// Brings one that is unfinished to its end.
async fn finish(updater: &Updater, record: &mut Record) -> (CommandState, String) {
    record.notes.push("went on after an interruption".to_owned());
    let outcome = resume(updater, record).await;
    info!(command.id = %record.command, state = outcome.0.as_str(), "unfinished update was gone on with");
    if record.stage.is_final() || record.stage == Stage::Committed {
        record.outcome = Some(outcome.clone());
    }
    if let Err(error) = updater.save(record) {
        warn!(error = %ErrorChain(&error), "journal of an update not written");
    }
    outcome
}

/// A finished update whose old container may have come up by itself with the machine.
async fn settle(updater: &Updater, record: &mut Record) {
    if record.stage != Stage::Committed {
        return;
    }
    let Some(engine) = updater.engines.find(&ResourceKey::new(record.runtime.clone())) else {
        return;
    };
    if stop_second(engine.as_ref(), record).await {
        record
            .notes
            .push("the old container had come up beside the new one, and was stopped".to_owned());
        let _ = updater.save(record);
    }
    remove_old(updater, engine.as_ref(), record).await;
}

/// Of two that run the old one is stopped; whether there were two.
async fn stop_second(engine: &dyn Engine, record: &Record) -> bool {
    let Some(new) = &record.new_id else { return false };
    let both = [found(engine, &record.old_id).await, found(engine, new).await];
    let both_run = both
        .iter()
        .all(|one| one.as_ref().is_ok_and(|one| one.as_ref().is_some_and(is_running)));
    both_run && engine.stop(&record.old_id, None).await.is_ok()
}

/// Goes on where the agent ended: back before the start of the new one, forward after it.
async fn resume(updater: &Updater, record: &mut Record) -> (CommandState, String) {
    let Some(engine) = updater.engines.find(&ResourceKey::new(record.runtime.clone())) else {
        return (
            CommandState::Unknown,
            "its engine is not here any more".to_owned(),
        );
    };
    let engine = engine.as_ref();
    let cancel = CancellationToken::new();
    let run = Run {
        updater,
        engine,
        tell: &Silent,
        cancel: &cancel,
        old_image: None,
    };
    let result = match record.stage {
        Stage::Start | Stage::Health => forward(&run, record).await,
        Stage::Committed => Ok(()),
        Stage::Undo => {
            let cause = record
                .cause
                .clone()
                .unwrap_or_else(|| "the agent ended meanwhile".to_owned());
            Err(Stop::new("interrupted", cause))
        }
        _ => Err(Stop::new(
            "interrupted",
            "the agent ended before the new container was started",
        )),
    };
    match run.end(record, result).await {
        Ok(_) => (CommandState::Succeeded, "updated".to_owned()),
        Err(TransactionError::Unknown { message }) => (CommandState::Unknown, message),
        Err(error) => (CommandState::Failed, error.to_string()),
    }
}

/// The new one was to be started: it gets the place unless it is not well.
async fn forward(run: &Run<'_>, record: &mut Record) -> Result<(), Stop> {
    if record.unit.is_some() {
        return unit::go_on(run, record).await;
    }
    let begun = tokio::time::Instant::now();
    let id = loop {
        match ready(run.engine, record).await {
            Ok(id) => break id,
            Err(Failure::Stuck(message) | Failure::Unit(message) | Failure::Unanswered(message)) => {
                return Err(Stop::new("interrupted", message));
            }
            // The engine may be on its way up as the agent is.
            Err(Failure::Engine(error)) if run.updater.limits.patience < begun.elapsed() => {
                return Err(Stop::engine("engine", error));
            }
            Err(Failure::Engine(_)) => tokio::time::sleep(run.updater.limits.pace).await,
        }
    };
    run.updater.enter(record, Stage::Health, "health")?;
    run.updater.watch(run.engine, record, &id, run.cancel).await?;
    has_what_was_asked(run.engine, record, &id).await?;
    run.commit(record)
}

/// Only the new one runs when this returns; its id.
async fn ready(engine: &dyn Engine, record: &Record) -> Result<String, Failure> {
    let new = find_new(engine, record).await?;
    let new = new.ok_or_else(|| Failure::Stuck("the new container is gone".to_owned()))?;
    let id = text(&new, "Id").to_owned();
    if let Some(old) = found(engine, &record.old_id).await?
        && is_running(&old)
    {
        engine.stop(&record.old_id, None).await?;
    }
    // Never started, or ended with the machine; one that ends by itself is found not to be well afterwards.
    if !is_running(&new) {
        engine.start(&id).await.map_err(|error| match error {
            EngineError::Refused { message, .. } => Failure::Stuck(message),
            other => Failure::Engine(other),
        })?;
    }
    Ok(id)
}

/// Removes the old container once its time has passed, and the name that kept its image. Never its volumes.
pub(super) async fn remove_old(updater: &Updater, engine: &dyn Engine, record: &mut Record) {
    let is_due = record
        .keep_until_ms
        .is_some_and(|until| until <= updater.now_ms());
    if record.stage != Stage::Committed || !is_due {
        return;
    }
    // What a unit makes it also removes.
    if record.unit.is_none() {
        // One that runs by now was started by somebody who wants it.
        let old = found(engine, &record.old_id).await;
        if !matches!(&old, Ok(old) if old.as_ref().is_none_or(|old| !is_running(old))) {
            return;
        }
        if gone(engine.remove(&record.old_id, false).await).is_err() {
            return;
        }
    }
    if let Some(tag) = &record.rollback_tag {
        // An image that something else uses stays, and only loses this name.
        let _ = engine.remove_image(tag).await;
    }
    record.stage = Stage::Done;
    let _ = updater.save(record);
}

/// Removes what is due, and goes on with what an engine that did not answer for long has left unfinished.
pub(super) async fn tidy(updater: &Updater) {
    for mut record in updater.journal.all() {
        let is_kept = record.outcome.is_some() && record.stage == Stage::Committed;
        if !is_kept && record.outcome.is_some() {
            continue;
        }
        let runtime = ResourceKey::new(record.runtime.clone());
        let target = ContainerTarget {
            runtime: runtime.clone(),
            name: record.name.clone(),
            container_id: None,
        };
        let Ok(_held) = updater.hold(checks::keys(&target, &record.before)) else {
            continue;
        };
        // It may have gone on since the list was read.
        let Some(latest) = updater.journal.load(record.command) else {
            continue;
        };
        record = latest;
        match updater.engines.find(&runtime) {
            Some(engine) if is_kept => remove_old(updater, engine.as_ref(), &mut record).await,
            Some(_) if record.outcome.is_none() => drop(finish(updater, &mut record).await),
            _ => {}
        }
    }
    updater.journal.trim();
}

/// Makes the container again with the image that it had before an update, as an update of its own: what people have set
/// since then is kept too.
async fn make_old_again(
    updater: &Updater,
    engine: &dyn Engine,
    command: Uuid,
    (record, current): (&Record, &Value),
    auth: Option<&RegistryAuth>,
    (tell, cancel): (&dyn Tell, &CancellationToken),
) -> Result<Value, TransactionError> {
    let target = ContainerTarget {
        runtime: ResourceKey::new(record.runtime.clone()),
        name: record.name.clone(),
        container_id: None,
    };
    let image_now = engine.inspect_image(text(current, "Image")).await.ok();
    updater
        .ground(engine, &target, current, image_now.as_ref())
        .await?;
    let configured = text(&record.before["Config"], "Image");
    let owned = unit::check(updater, engine, current, configured).await?;
    let image = old_image(engine, record, (configured, auth), tell).await?;
    let plan = UpdatePlan {
        image: configured.to_owned(),
        from_image_id: normal_image(text(current, "Image")),
        to_digest: record.old_digest.clone().unwrap_or_default(),
        dry_run: false,
        ..record.plan.clone()
    };
    let mut again = begin(updater, command, &target, &plan, current);
    again.new_image = Some(image);
    again.unit = owned;
    again.old_digest = image_now
        .as_ref()
        .and_then(|image| digest_of(image, &record.plan.image));
    again.notes.push(format!(
        "what the command {} had replaced was removed: made again of its image",
        record.command
    ));
    updater
        .save(&again)
        .map_err(|error| refused("journal", ErrorChain(&error).to_string()))?;
    let run = Run {
        updater,
        engine,
        tell,
        cancel,
        old_image: image_now.as_ref(),
    };
    let result = match &again.unit {
        // The image that it has now is used by nothing else once the unit made the container again.
        Some(_) => run.keep_image(&mut again).await,
        None => Ok(()),
    };
    let result = match result {
        Ok(()) => run.replace(&mut again).await,
        Err(stop) => Err(stop),
    };
    let result = run.end(&mut again, result).await?;
    Ok(json!({"rolled_back": true, "update": record.command, "result": result}))
}

/// Id of the image that was replaced: as it is here, or pulled by its digest. A credential is shown to its own registry
/// alone, whatever came with the command.
async fn old_image(
    engine: &dyn Engine,
    record: &Record,
    (configured, auth): (&str, Option<&RegistryAuth>),
    tell: &dyn Tell,
) -> Result<String, TransactionError> {
    match engine.inspect_image(&record.old_image).await {
        Ok(_) => return Ok(record.old_image.clone()),
        Err(EngineError::NotFound { .. }) => {}
        Err(error) => return Err(checks::unreachable(&error)),
    }
    let gone = |why: String| {
        let message = format!("the image that this update replaced is not here any more, and {why}");
        refused("not_kept", message)
    };
    let Some(digest) = &record.old_digest else {
        return Err(gone("its digest is not known".to_owned()));
    };
    tell.step("pull", None, "pulling the image that was replaced");
    let silent = |_| {};
    let platform = record.plan.platform.as_deref();
    let named = policy::repository(configured);
    let registry = named.as_deref().and_then(|named| named.split('/').next());
    let auth = auth.filter(|auth| Some(auth.registry.as_str()) == registry);
    let pulled = engine
        .pull(repository(configured), digest, platform, auth, &silent)
        .await;
    match pulled {
        Ok(image) => Ok(image.0),
        Err(error) => Err(gone(format!("it cannot be pulled: {}", ErrorChain(&error)))),
    }
}

/// Puts back what an update replaced: the container itself while it is kept, else one like it.
pub(super) async fn rollback(
    updater: &Updater,
    (command, target, update): (Uuid, &ContainerTarget, Uuid),
    auth: Option<&RegistryAuth>,
    tell: &dyn Tell,
    cancel: &CancellationToken,
) -> Result<Value, TransactionError> {
    let engine = updater.engine(&target.runtime)?;
    let engine = engine.as_ref();
    let mut record = updater
        .journal
        .load(update)
        .filter(|record| record.name == target.name && record.runtime == target.runtime.as_str())
        .ok_or_else(|| {
            refused(
                "unknown_update",
                "no update of this container with that id is remembered",
            )
        })?;
    let _held = updater.hold(checks::keys(target, &record.before))?;
    let is_done = record
        .outcome
        .as_ref()
        .is_some_and(|(state, _)| *state == CommandState::Succeeded);
    if !is_done || !matches!(record.stage, Stage::Committed | Stage::Done) {
        return Err(refused(
            "not_kept",
            "this update replaced nothing, or was taken back before",
        ));
    }
    let current = checks::container(engine, target, None).await?;
    let is_same = match &record.unit {
        // It makes another container at each start.
        Some(_) => record.new_image == Some(normal_image(text(&current, "Image"))),
        None => record.new_id.as_deref() == Some(text(&current, "Id")),
    };
    if !is_same {
        return Err(refused(
            "reality_changed",
            "the container was replaced again since that update",
        ));
    }
    let old = found(engine, &record.old_id).await;
    let old = old.map_err(|error| checks::unreachable(&error))?;
    if old.is_none() || record.unit.is_some() {
        // Its time has passed, or somebody removed it: then it is made again of the image it had.
        let found = (&record, &current);
        return make_old_again(updater, engine, command, found, auth, (tell, cancel)).await;
    }
    if cancel.is_cancelled() {
        return Err(TransactionError::Cancelled {
            message: "it was cancelled".to_owned(),
        });
    }
    tell.step("rollback", None, "putting the old container back");
    record.cause = Some("asked for".to_owned());
    record.was_running |= is_running(&current);
    record.notes.push(format!("rolled back by the command {command}"));
    let found = super::dependents::of(engine, text(&current, "Id"), &record.name)
        .await
        .unwrap_or_default();
    let dependents = [found.sharing, found.attached].concat();
    // Unfinished from here on, in the same write that says so: whatever ends meanwhile, the next start goes on with it.
    let outcome = record.outcome.take();
    let undone = updater.undo(engine, &mut record).await;
    if record.stage.is_final() {
        record.outcome = outcome;
        let _ = updater.save(&record);
    }
    undone.map_err(|message| TransactionError::Unknown { message })?;
    super::dependents::make_again(updater, engine, &mut record, dependents, tell).await;
    let _ = updater.save(&record);
    Ok(json!({"rolled_back": true, "update": update, "result": record.result()}))
}
