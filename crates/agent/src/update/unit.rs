//! Containers that a systemd unit makes anew at each start: quadlets, and what `podman generate systemd --new` wrote.
//!
//! The unit names an image by its tag. So the new image gets that tag, systemd restarts the unit, and the container that
//! the unit has made is watched as any other; else the tag goes back to the old image and the unit is restarted once
//! more. What the container is like stays the unit's business, and it removes what it has made.
//!
//! A label says which unit it is, and labels are anybody's, an image's too: a unit is touched only if its main process is
//! the one that Podman says watches over this very container.

use std::time::Duration;

use muster_base::shutdown::CancellationToken;
use muster_recreate::{Owner, owner, pulls_again};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::fault::{self, Known, Verdict};
use super::forward::{Run, Stop, not_started_by};
use super::record::{Record, Stage};
use super::systemd::{UnitError, UnitState, is_service_name};
use super::undo::{Failure, found, normal_image};
use super::{TransactionError, Updater, checks, dependents, is_running, reference, refused, text};
use crate::runtime::{Engine, EngineError, EngineKind};

/// What a unit that was told to start may take until its container runs.
const MADE_MAX: Duration = Duration::from_secs(60);

/// So often a unit is looked at whose container has ended while the unit is up.
const OUTLIVES_LOOKS: u32 = 10;

/// The unit of a transaction.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Owned {
    /// Its name.
    pub(super) unit: String,
    /// Whether it was, or was just about to be, restarted: from then on the old container may be gone.
    pub(super) is_restarted: bool,
    /// The id of its start before that; `None`: not known.
    #[serde(default)]
    pub(super) before: Option<String>,
}

/// The unit that makes this container, if one does, and if it can be had to make it of `image`.
pub(super) async fn check(
    updater: &Updater,
    engine: &dyn Engine,
    container: &Value,
    image: &str,
) -> Result<Option<Owned>, TransactionError> {
    let Owner::Systemd { unit } = owner(container) else {
        return Ok(None);
    };
    let no = |why: String| refused("owner", format!("this container is made by {unit}, {why}"));
    if !is_service_name(&unit) {
        return Err(refused(
            "owner",
            "this container's label names no unit of systemd",
        ));
    }
    if !is_running(container) {
        return Err(refused(
            "state",
            format!("this container is made by {unit}, and does not run"),
        ));
    }
    let configured = text(&container["Config"], "Image");
    if reference(image).is_none() || reference(image) != reference(configured) {
        return Err(no(format!(
            "which names {configured}: another image is for whoever writes the unit"
        )));
    }
    let native = is_of_the_server(engine, container, &unit).await?;
    match pulls_again(&native) {
        Ok(false) => {}
        Ok(true) => {
            let why = "which pulls its image at each start, so that there would be no way back";
            return Err(no(why.to_owned()));
        }
        Err(error) => return Err(no(format!("and how is not known: {error}"))),
    }
    let shown = updater.units.show(&unit).await;
    let shown = shown.map_err(|error| no(format!("which can't be asked about: {error}")))?;
    runs_it(&shown, &unit, &native).map_err(no)?;
    let others = dependents::of(
        engine,
        text(container, "Id"),
        text(container, "Name").trim_start_matches('/'),
    );
    let others = others.await.map_err(|error| checks::unreachable(&error))?;
    let others = [others.sharing, others.attached].concat();
    if !others.is_empty() {
        let others = others.join(", ");
        return Err(no(format!(
            "and {others} depend on it, which a unit does not make again"
        )));
    }
    Ok(Some(Owned {
        unit,
        is_restarted: false,
        before: None,
    }))
}

/// What Podman itself says of the container, if it is the Podman of the server and not of one of its users: their units
/// belong to managers of their own, which are reached as those users only.
async fn is_of_the_server(
    engine: &dyn Engine,
    container: &Value,
    unit: &str,
) -> Result<Value, TransactionError> {
    let no = |why: &str| refused("owner", format!("this container is made by {unit}, {why}"));
    if engine.kind() != EngineKind::Podman {
        return Err(no("and its engine is not podman"));
    }
    let info = engine.info().await.map_err(|error| checks::unreachable(&error))?;
    if info["Rootless"] != false {
        return Err(no(
            "a unit of a user: pull the image and restart it as that user, or use podman auto-update",
        ));
    }
    let native = engine.inspect_native(text(container, "Id")).await;
    let native = native.map_err(|error| checks::unreachable(&error))?;
    native.ok_or_else(|| no("and its engine does not say which process watches over it"))
}

/// Whether the unit is up, may be restarted, and is what runs the container.
fn runs_it(shown: &UnitState, unit: &str, native: &Value) -> Result<(), String> {
    if shown.id != unit || shown.load != "loaded" {
        return Err("and systemd knows no such unit".to_owned());
    }
    if shown.active != "active" {
        return Err(format!("which is {}", shown.active));
    }
    if !shown.is_restartable {
        return Err("which may not be restarted by hand".to_owned());
    }
    let monitor = native["State"]["ConmonPid"].as_u64().unwrap_or_default();
    if monitor == 0 || shown.main_pid != monitor {
        return Err(format!(
            "as its label says, and systemd does not: the unit's main process {} is not the one that watches over it",
            shown.main_pid
        ));
    }
    Ok(())
}

/// What would be done.
pub(super) fn dry_run(owned: &Owned) -> Value {
    json!({
        "dry_run": true,
        "steps": ["pull", "tag", "restart", "health", "commit"],
        "unit": owned.unit,
        "message": format!("the image's tag would be given to the new one, and {} restarted", owned.unit),
    })
}

/// From the pulled image to a container of the unit that is well.
pub(super) async fn replace(run: &Run<'_>, record: &mut Record) -> Result<(), Stop> {
    let failed = |error| Stop::engine("engine", error);
    let image = record.new_image.clone().unwrap_or_default();
    run.engine.inspect_image(&image).await.map_err(failed)?;
    let named = reference(&record.plan.image);
    let (repository, tag) = named.ok_or_else(|| Stop::new("configuration", "the image has no tag"))?;
    run.check_cancel()?;
    record.tag_was = match run.engine.inspect_image(&record.plan.image).await {
        Ok(holder) => Some(normal_image(text(&holder, "Id"))),
        Err(EngineError::NotFound { .. }) => None,
        Err(error) => return Err(failed(error)),
    };
    record.is_retagged = true;
    run.enter(record, Stage::Pull, "tag", "giving the new image its name")?;
    run.engine.tag(&image, &repository, &tag).await.map_err(failed)?;
    run.check_cancel()?;
    restart(run, record).await?;
    follow(run, record).await
}

async fn restart(run: &Run<'_>, record: &mut Record) -> Result<(), Stop> {
    let Some(owned) = &mut record.unit else {
        return Ok(());
    };
    let unit = owned.unit.clone();
    let shown = run.updater.units.show(&unit).await;
    owned.before = shown.ok().map(|shown| shown.last.invocation);
    owned.is_restarted = true;
    run.enter(
        record,
        Stage::Start,
        "restart",
        "restarting the unit that makes the container",
    )?;
    let restarted = run.updater.units.restart(&unit).await;
    let Err(error) = restarted else { return Ok(()) };
    let words = format!("{unit} did not start: {error}");
    match &error {
        UnitError::Unanswered(_) => Err(Stop::new("start", words)),
        // What systemctl says when somebody stops a unit while it starts; its process then may end in any way.
        UnitError::Failed(said) if said.replace(&unit, "").contains("canceled") => {
            Err(Stop::new("start", words))
        }
        UnitError::Failed(said) => {
            let stop = not_started_by(said, words);
            Err(blamed(run.updater, record, false, stop).await)
        }
    }
}

/// Watches what the unit has made.
async fn follow(run: &Run<'_>, record: &mut Record) -> Result<(), Stop> {
    let image = record.new_image.clone().unwrap_or_default();
    let id = match made(run.updater, run.engine, record, &image, run.cancel).await {
        Ok(id) => id,
        Err(stop) => return Err(blamed(run.updater, record, false, stop).await),
    };
    record.new_id = Some(id.clone());
    run.enter(record, Stage::Health, "health", "watching the new container")?;
    let watched = run.updater.watch(run.engine, record, &id, run.cancel).await;
    match watched.map_err(ended) {
        Ok(()) => run.commit(record),
        // It runs on and is not well: that is not for systemd to say.
        Err(stop) if runs_on(run, record, &id).await => Err(stop),
        Err(stop) => Err(blamed(run.updater, record, true, stop).await),
    }
}

/// Whether the container runs in a unit that is up.
async fn runs_on(run: &Run<'_>, record: &Record, id: &str) -> bool {
    let Some(owned) = &record.unit else { return false };
    let container = found(run.engine, id).await;
    if !matches!(container, Ok(Some(container)) if is_running(&container)) {
        return false;
    }
    let shown = run.updater.units.show(&owned.unit).await;
    shown.is_ok_and(|shown| shown.active == "active")
}

/// A container that is not there any more has ended, and its unit removed it or made another.
fn ended(stop: Stop) -> Stop {
    match stop.reason {
        "gone" => Stop::by_image("unhealthy", "the new container ended, and its unit removed it"),
        _ => stop,
    }
}

/// Leaves it the image's fault only if systemd says that the unit's own process failed by itself; in words what happened.
async fn blamed(updater: &Updater, record: &Record, has_run: bool, stop: Stop) -> Stop {
    if !stop.is_image {
        return stop;
    }
    let Some(owned) = &record.unit else { return stop };
    let known = Known {
        before: owned.before.as_deref(),
        has_run,
    };
    let (is_image, why) = match verdict(updater, &owned.unit, known).await {
        Ok(Verdict::Failed(why)) => (true, why),
        Ok(Verdict::Spared(why)) => (false, why),
        Ok(Verdict::Up) if has_run => {
            let why = "it is up, so somebody restarted it or removed its container";
            (false, why.to_owned())
        }
        Ok(Verdict::Up) => (false, "it is up".to_owned()),
        Err(error) => (false, format!("why is not known: {error}")),
    };
    Stop {
        is_image,
        message: format!("{}; {}: {why}", stop.message, owned.unit),
        ..stop
    }
}

/// What systemd says once it is done with the unit. What watches over a container outlives it by a moment, so one that is
/// up is asked about again for a while.
async fn verdict(updater: &Updater, unit: &str, known: Known<'_>) -> Result<Verdict, UnitError> {
    let begun = Instant::now();
    loop {
        let shown = updater.units.show(unit).await?;
        let verdict = fault::judge(known, &shown);
        let patience = match verdict {
            Verdict::Up if known.has_run => updater.limits.pace * OUTLIVES_LOOKS,
            _ if fault::is_at_work(&shown) => MADE_MAX,
            _ => Duration::ZERO,
        };
        if patience <= begun.elapsed() {
            return Ok(verdict);
        }
        pause(updater).await;
    }
}

/// The id of the running container that the unit made of this image, once there is one.
async fn made(
    updater: &Updater,
    engine: &dyn Engine,
    record: &Record,
    image: &str,
    cancel: &CancellationToken,
) -> Result<String, Stop> {
    let begun = Instant::now();
    let patience = Duration::from_millis(record.plan.health_timeout_ms).max(updater.limits.watch_min);
    let limit = MADE_MAX.min(patience);
    loop {
        if cancel.is_cancelled() {
            return Err(Stop::cancelled());
        }
        match found(engine, &record.name).await {
            Ok(Some(container)) if is_running(&container) => {
                let its = normal_image(text(&container, "Image"));
                if its == image {
                    return Ok(text(&container, "Id").to_owned());
                }
                let message = format!("the unit has made the container of another image: {its}");
                return Err(Stop::new("image", message));
            }
            Ok(_) if limit <= begun.elapsed() || is_over(updater, record).await => {
                return Err(Stop::by_image("unhealthy", "the unit's container does not run"));
            }
            // The engine may be on its way up as the agent is.
            Err(error) if limit + updater.limits.patience < begun.elapsed() => {
                return Err(Stop::engine("engine", error));
            }
            Ok(_) | Err(_) => pause(updater).await,
        }
    }
}

/// Whether the unit is down and systemd leaves it so: then there is nothing to wait for.
async fn is_over(updater: &Updater, record: &Record) -> bool {
    let Some(owned) = &record.unit else { return false };
    let shown = updater.units.show(&owned.unit).await;
    shown.is_ok_and(|shown| matches!(shown.active.as_str(), "inactive" | "failed"))
}

async fn pause(updater: &Updater) {
    tokio::time::sleep(updater.limits.pace).await;
}

/// After an interruption: the unit was to be restarted, and may have been.
pub(super) async fn go_on(run: &Run<'_>, record: &mut Record) -> Result<(), Stop> {
    let image = record.new_image.clone().unwrap_or_default();
    let unit = record
        .unit
        .as_ref()
        .map(|owned| owned.unit.clone())
        .unwrap_or_default();
    settled(run.updater, &unit).await;
    let begun = Instant::now();
    let is_made = loop {
        match runs(run.engine, record, &image).await {
            Ok(is_made) => break is_made,
            Err(error) if run.updater.limits.patience < begun.elapsed() => {
                return Err(Stop::engine("engine", error));
            }
            Err(_) => pause(run.updater).await,
        }
    };
    if !is_made {
        restart(run, record).await?;
    }
    follow(run, record).await
}

/// Waits while systemd is at work on a unit, as it is after a boot.
async fn settled(updater: &Updater, unit: &str) {
    let begun = Instant::now();
    while begun.elapsed() < MADE_MAX {
        match updater.units.show(unit).await {
            Ok(shown) if matches!(shown.active.as_str(), "activating" | "deactivating" | "reloading") => {
                pause(updater).await;
            }
            _ => return,
        }
    }
}

/// Whether the container runs, of this image.
async fn runs(engine: &dyn Engine, record: &Record, image: &str) -> Result<bool, EngineError> {
    let container = found(engine, &record.name).await?;
    Ok(container.is_some_and(|it| is_running(&it) && normal_image(text(&it, "Image")) == image))
}

/// The name goes back to the old image, and the unit makes its container of that.
pub(super) async fn undo_once(
    updater: &Updater,
    engine: &dyn Engine,
    record: &Record,
    owned: &Owned,
) -> Result<(), Failure> {
    if record.is_retagged
        && let Some((repository, tag)) = reference(&record.plan.image)
    {
        // Whatever had the name before, if the unit was not started since, by us or by a boot; else it is to find the image
        // that ran.
        let is_untouched = !owned.is_restarted && runs(engine, record, &record.old_image).await?;
        let before = record.tag_was.as_ref().filter(|_| is_untouched);
        let image = before.unwrap_or(&record.old_image);
        engine
            .tag(image, &repository, &tag)
            .await
            .map_err(|error| match error {
                EngineError::NotFound { .. } => {
                    Failure::Stuck("the old image is gone, so the unit can't go back to it".to_owned())
                }
                other => Failure::Engine(other),
            })?;
    }
    settled(updater, &owned.unit).await;
    if !runs(engine, record, &record.old_image).await? {
        let unit = &owned.unit;
        let restarted = updater.units.restart(unit).await;
        restarted.map_err(|error| {
            let words = format!("{unit} does not start with the old image: {error}");
            match error {
                UnitError::Failed(_) => Failure::Unit(words),
                UnitError::Unanswered(_) => Failure::Unanswered(words),
            }
        })?;
        let never = CancellationToken::new();
        let mut watched = record.clone();
        let well = async {
            let id = made(updater, engine, record, &record.old_image, &never).await?;
            updater
                .watch(engine, &mut watched, &id, &never)
                .await
                .map_err(ended)
        };
        well.await.map_err(|stop| {
            Failure::Unit(format!("{unit} is not well with the old image: {}", stop.message))
        })?;
    }
    if let Some(tag) = &record.rollback_tag {
        // With its own name back it needs no other; a name that stays does no harm.
        let _ = engine.remove_image(tag).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_believed_only_if_its_main_process_watches_over_the_container() {
        let good = UnitState {
            id: "web.service".to_owned(),
            load: "loaded".to_owned(),
            active: "active".to_owned(),
            main_pid: 42,
            is_restartable: true,
            ..UnitState::default()
        };
        let native = json!({"State": {"ConmonPid": 42}});
        assert_eq!(runs_it(&good, "web.service", &native), Ok(()));
        let alias = UnitState {
            id: "other.service".to_owned(),
            ..good.clone()
        };
        let gone = UnitState {
            load: "not-found".to_owned(),
            ..good.clone()
        };
        let failed = UnitState {
            active: "failed".to_owned(),
            ..good.clone()
        };
        let fixed = UnitState {
            is_restartable: false,
            ..good.clone()
        };
        let cron = UnitState {
            main_pid: 7,
            ..good.clone()
        };
        for bad in [alias, gone, failed, fixed, cron, UnitState::default()] {
            assert!(runs_it(&bad, "web.service", &native).is_err(), "{bad:?}");
        }
        let none = UnitState {
            main_pid: 0,
            ..good.clone()
        };
        assert!(runs_it(&none, "web.service", &json!({"State": {"ConmonPid": 0}})).is_err());
        assert!(runs_it(&good, "web.service", &json!({})).is_err());
    }
}
