//! Containers that share a namespace of another: after that one was made again they hold on to one that is gone.

use muster_base::shutdown::CancellationToken;
use muster_model::{ContainerTarget, ResourceKey, UpdatePlan};
use serde_json::Value;
use uuid::Uuid;

use super::forward::{Run, begin};
use super::record::Record;
use super::undo::normal_image;
use super::{Tell, Updater, is_backup_name, is_running, text};
use crate::runtime::{Engine, EngineError};

/// More are not looked at.
const DEPENDENTS_MAX: usize = 64;

/// Names of the containers that share a namespace of the one with this id.
pub(super) async fn of(engine: &dyn Engine, id: &str, name: &str) -> Result<Vec<String>, EngineError> {
    let mut found = Vec::new();
    for container in engine.containers().await? {
        let mode = text(&container["HostConfig"], "NetworkMode");
        let other = text(&container, "Id");
        // The list tells the network's mode; who shares nothing else is not read at all.
        let shares = mode
            .strip_prefix("container:")
            .is_some_and(|of| of == id || of == name || (12 <= of.len() && id.starts_with(of)));
        if !shares || other == id || DEPENDENTS_MAX <= found.len() {
            continue;
        }
        let names = container["Names"].as_array();
        let first = names.and_then(|names| names.first()).and_then(Value::as_str);
        let name = first.unwrap_or_default().trim_start_matches('/');
        if !is_backup_name(name) && !name.is_empty() {
            found.push(name.to_owned());
        }
    }
    found.sort();
    Ok(found)
}

/// After the old one was started again: a namespace that it left is gone.
pub(super) async fn restart(engine: &dyn Engine, names: &[String]) {
    for name in names {
        if engine
            .inspect(name)
            .await
            .is_ok_and(|inspect| is_running(&inspect))
        {
            // It goes on without a network if this fails, as it did before; its own health tells.
            let _ = engine.restart(name, None).await;
        }
    }
}

/// Makes them again, each in a transaction of its own with the image it has; what became of each is noted.
pub(super) async fn make_again(updater: &Updater, parent: &mut Record, names: &[String], tell: &dyn Tell) {
    for name in names {
        tell.step(
            "dependents",
            None,
            "making a container again that shares this one's network",
        );
        let note = match Box::pin(make_one_again(updater, parent, name, tell)).await {
            Ok(()) => format!("{name} shares its network and was made again"),
            Err(why) => format!("{name} shares its network and could not be made again: {why}"),
        };
        parent.notes.push(note);
    }
}

async fn make_one_again(
    updater: &Updater,
    parent: &Record,
    name: &str,
    tell: &dyn Tell,
) -> Result<(), String> {
    let runtime = ResourceKey::new(parent.runtime.clone());
    let engine = updater.engine(&runtime).map_err(|error| error.to_string())?;
    let engine = engine.as_ref();
    let mut container = engine.inspect(name).await.map_err(|error| error.to_string())?;
    // It names the old container by its id, and is to name the new one by its name.
    let mode = text(&container["HostConfig"], "NetworkMode").to_owned();
    if mode.starts_with("container:") {
        container["HostConfig"]["NetworkMode"] = Value::from(format!("container:{}", parent.name));
    }
    let target = ContainerTarget {
        runtime,
        name: name.to_owned(),
        container_id: None,
    };
    let image_id = normal_image(text(&container, "Image"));
    let configured = text(&container["Config"], "Image").to_owned();
    let named = engine.inspect_image(&configured).await.ok();
    // The name may have gone to a newer image; the container is to keep the one it has.
    let is_its = named.is_some_and(|image| normal_image(text(&image, "Id")) == image_id);
    let plan = UpdatePlan {
        image: if is_its { configured } else { image_id.clone() },
        from_image_id: image_id.clone(),
        to_digest: String::new(),
        dry_run: false,
        ..parent.plan.clone()
    };
    let image = engine.inspect_image(&image_id).await.ok();
    let mut record = begin(updater, Uuid::new_v4(), &target, &plan, &container);
    record.new_image = Some(image_id);
    let cancel = CancellationToken::new();
    let run = Run {
        updater,
        engine,
        tell,
        cancel: &cancel,
        old_image: image.as_ref(),
    };
    updater.save(&record).map_err(|error| error.to_string())?;
    let result = run.replace(&mut record).await;
    run.end(&mut record, result)
        .await
        .map(drop)
        .map_err(|error| error.to_string())
}
