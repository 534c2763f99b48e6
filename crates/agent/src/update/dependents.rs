//! Containers that share a network of another, take its volumes or are linked to it: after that one was made again they
//! hold on to one that is gone.

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

/// Names of containers that depend on one.
#[derive(Debug, Default)]
pub(super) struct Dependents {
    /// They share its network, and have none once it is gone.
    pub(super) sharing: Vec<String>,
    /// They take volumes from it, or are linked to it.
    pub(super) attached: Vec<String>,
}

/// The containers that depend on the one with this id and name.
pub(super) async fn of(engine: &dyn Engine, id: &str, name: &str) -> Result<Dependents, EngineError> {
    let mut found = Dependents::default();
    let is_it = |of: &str| of == id || of == name || (12 <= of.len() && id.starts_with(of));
    for container in engine.containers().await? {
        let other = text(&container, "Id");
        let names = container["Names"].as_array();
        // A link gives a container further names, with a slash in them.
        let names = names.into_iter().flatten().filter_map(Value::as_str);
        let mut names = names.map(|name| name.trim_start_matches('/'));
        let its_name = names.find(|name| !name.contains('/')).unwrap_or_default();
        let is_full = DEPENDENTS_MAX <= found.sharing.len() + found.attached.len();
        if other == id || its_name.is_empty() || is_backup_name(its_name) || is_full {
            continue;
        }
        let mode = text(&container["HostConfig"], "NetworkMode");
        if mode.strip_prefix("container:").is_some_and(is_it) {
            found.sharing.push(its_name.to_owned());
            continue;
        }
        // The list says nothing of volumes and links.
        match engine.inspect(other).await {
            Ok(inspect) if needs(&inspect).any(is_it) => found.attached.push(its_name.to_owned()),
            Ok(_) | Err(EngineError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    found.sharing.sort();
    found.attached.sort();
    Ok(found)
}

fn before_colon(text: &str) -> &str {
    text.split(':').next().unwrap_or_default()
}

/// The containers whose volumes one takes and to which it is linked: names, ids or parts of ids.
fn needs(inspect: &Value) -> impl Iterator<Item = &str> {
    let host = &inspect["HostConfig"];
    let list = |key| {
        host[key]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    };
    let volumes = list("VolumesFrom").map(before_colon);
    let links = list("Links").map(|link| before_colon(link).trim_start_matches('/'));
    volumes.chain(links)
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

/// Makes them again, each in a transaction of its own with the image it has, those first that others of them depend on;
/// what became of each is noted.
pub(super) async fn make_again(
    updater: &Updater,
    engine: &dyn Engine,
    parent: &mut Record,
    names: Vec<String>,
    tell: &dyn Tell,
) {
    for name in in_order(engine, names).await {
        tell.step(
            "dependents",
            None,
            "making a container again that depends on this one",
        );
        let note = match Box::pin(make_one_again(updater, parent, &name, tell)).await {
            Ok(true) => format!("{name} depends on it and was made again"),
            Ok(false) => format!("{name} depends on it and was made again with another that it depends on"),
            Err(why) => format!("{name} depends on it and could not be made again: {why}"),
        };
        parent.notes.push(note);
    }
}

/// What others depend on comes first; where they go in a circle, the first by name.
async fn in_order(engine: &dyn Engine, names: Vec<String>) -> Vec<String> {
    let mut wants: Vec<(String, Vec<String>)> = Vec::new();
    for name in names {
        let mut needed = Vec::new();
        if let Ok(inspect) = engine.inspect(&name).await {
            needed = needs(&inspect).map(str::to_owned).collect();
            let mode = text(&inspect["HostConfig"], "NetworkMode");
            needed.extend(mode.strip_prefix("container:").map(str::to_owned));
        }
        wants.push((name, needed));
    }
    let mut ordered = Vec::with_capacity(wants.len());
    while !wants.is_empty() {
        let is_free = |(name, needed): &(String, Vec<String>)| {
            !wants
                .iter()
                .any(|(other, _)| other != name && needed.contains(other))
        };
        let next = wants.iter().position(is_free).unwrap_or(0);
        ordered.push(wants.remove(next).0);
    }
    ordered
}

async fn make_one_again(
    updater: &Updater,
    parent: &Record,
    name: &str,
    tell: &dyn Tell,
) -> Result<bool, String> {
    let runtime = ResourceKey::new(parent.runtime.clone());
    let engine = updater.engine(&runtime).map_err(|error| error.to_string())?;
    let engine = engine.as_ref();
    let mut container = engine.inspect(name).await.map_err(|error| error.to_string())?;
    if matches!(
        muster_recreate::owner(&container),
        muster_recreate::Owner::Systemd { .. }
    ) {
        return Err(super::checks::UNIT_MAKES_IT.to_owned());
    }
    let before = container["HostConfig"].clone();
    point_to(&mut container["HostConfig"], parent);
    if container["HostConfig"] == before && was_made_after(engine, parent, &container).await {
        return Ok(false);
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
    record.ancestors.clone_from(&parent.ancestors);
    record.ancestors.push(parent.name.clone());
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
        .map(|_| true)
        .map_err(|error| error.to_string())
}

/// Whether a container was made again already, with another that it depends on too.
async fn was_made_after(engine: &dyn Engine, parent: &Record, container: &Value) -> bool {
    let Some(new) = &parent.new_id else { return false };
    let made = |inspect: &Value| text(inspect, "Created").parse::<jiff::Timestamp>().ok();
    let parents = engine.inspect(new).await.ok();
    let parents = parents.as_ref().and_then(made);
    made(container)
        .zip(parents)
        .is_some_and(|(own, parents)| parents < own)
}

/// What names the old container, by its id or one of its names, is to name the new one by its name.
fn point_to(host: &mut Value, parent: &Record) {
    let is_old = |of: &str| {
        let is_id = |id: &str| of == id || (12 <= of.len() && id.starts_with(of));
        of == parent.name
            || of == parent.backup
            || is_id(&parent.old_id)
            || parent.new_id.as_deref().is_some_and(is_id)
    };
    let mode = text(host, "NetworkMode");
    if mode.strip_prefix("container:").is_some_and(is_old) {
        host["NetworkMode"] = Value::from(format!("container:{}", parent.name));
    }
    for (key, slash) in [("VolumesFrom", ""), ("Links", "/")] {
        let entries = host.get_mut(key).and_then(Value::as_array_mut);
        for entry in entries.into_iter().flatten() {
            let Some(whole) = entry.as_str() else { continue };
            let (of, rest) = match whole.find(':') {
                Some(colon) => whole.split_at(colon),
                None => (whole, ""),
            };
            if is_old(of.trim_start_matches('/')) {
                *entry = Value::from(format!("{slash}{}{rest}", parent.name));
            }
        }
    }
}
