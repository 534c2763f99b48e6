//! What must hold before anything is changed.

use muster_model::ContainerTarget;
use muster_recreate::{Asked, Owner, asked, owner};
use serde_json::Value;

use super::undo::normal_image;
use super::{TransactionError, Updater, is_backup_name, refused, text};
use crate::runtime::{Engine, EngineError, EngineKind};

/// What a dependent of another is refused with.
pub(super) const UNIT_MAKES_IT: &str = "its systemd unit makes it: restart that";

/// Reads the container that is meant, and refuses one that must not be touched.
pub(super) async fn container(
    engine: &dyn Engine,
    target: &ContainerTarget,
    from_image: Option<&str>,
) -> Result<Value, TransactionError> {
    let container = match engine.inspect(&target.name).await {
        Ok(container) => container,
        Err(EngineError::NotFound { .. }) => {
            return Err(refused(
                "not_found",
                format!("there is no container {}", target.name),
            ));
        }
        Err(error) => return Err(unreachable(&error)),
    };
    let id = text(&container, "Id");
    if target.container_id.as_deref().is_some_and(|meant| meant != id) {
        return Err(refused(
            "reality_changed",
            format!("{} is another container than the one that was meant", target.name),
        ));
    }
    let image = normal_image(text(&container, "Image"));
    if from_image.is_some_and(|from| normal_image(from) != image) {
        return Err(refused(
            "reality_changed",
            format!("{} runs from another image by now", target.name),
        ));
    }
    if is_backup_name(&target.name) {
        return Err(refused("kept", "this container is kept to go back to"));
    }
    let state = &container["State"];
    if state["Paused"] == true || state["Dead"] == true || text(state, "Status") == "removing" {
        return Err(refused(
            "state",
            format!("{} is {}", target.name, text(state, "Status")),
        ));
    }
    of_owner(&container)?;
    Ok(container)
}

pub(super) fn unreachable(error: &EngineError) -> TransactionError {
    refused("engine", muster_base::ErrorChain(error).to_string())
}

/// Whoever would make it again by itself must do it.
fn of_owner(container: &Value) -> Result<(), TransactionError> {
    let message = match owner(container) {
        // Made anew at each start of its unit, so that nothing is lost with it.
        Owner::Systemd { .. } => return Ok(()),
        Owner::Nobody | Owner::Compose { .. } if container["HostConfig"]["AutoRemove"] != true => {
            return Ok(());
        }
        Owner::Nobody | Owner::Compose { .. } => {
            let why = muster_recreate::RecreateError::AutoRemove;
            return Err(refused("auto_remove", why.to_string()));
        }
        Owner::Swarm => "a Swarm service keeps this container: use docker service update".to_owned(),
        Owner::Kubernetes => "a kubelet keeps this container: change what it was deployed from".to_owned(),
        Owner::PodInfra => {
            "this container holds the networks of a pod and has no image of its own".to_owned()
        }
    };
    Err(refused("owner", message))
}

/// What a container and its project are locked by.
pub(super) fn keys(target: &ContainerTarget, container: &Value) -> Vec<String> {
    let mut keys = vec![format!("{}/{}", target.runtime, target.name)];
    match owner(container) {
        Owner::Compose { project, .. } => keys.push(format!("{} project {project}", target.runtime)),
        Owner::Systemd { unit } => keys.push(format!("unit {unit}")),
        _ => {}
    }
    keys
}

impl Updater {
    /// Room for the image, and no objection from what is below.
    pub(super) async fn ground(
        &self,
        engine: &dyn Engine,
        target: &ContainerTarget,
        container: &Value,
        old_image: Option<&Value>,
    ) -> Result<(), TransactionError> {
        let info = engine.info().await.map_err(|error| unreachable(&error))?;
        let root = text(&info, "DockerRootDir");
        if let Some(objection) = self.ground.objection(target, &places(container, root)).await {
            return Err(refused("held", objection));
        }
        let Some(room) = self.ground.room(root).await else {
            return Ok(());
        };
        let image = old_image
            .and_then(|image| image["Size"].as_u64())
            .unwrap_or_default();
        let needed = (room.total / 20).max(image.saturating_mul(3));
        if room.free < needed {
            return Err(refused(
                "held",
                format!(
                    "the image store {root} has {} MiB free and {} MiB are wanted: 5 % of it, and three times the image",
                    room.free >> 20,
                    needed >> 20
                ),
            ));
        }
        Ok(())
    }
}

/// Where the container's data lie, and its image.
fn places(container: &Value, root: &str) -> Vec<String> {
    let mounts = container["Mounts"].as_array().into_iter().flatten();
    let sources = mounts.map(|mount| text(mount, "Source"));
    let mut places: Vec<String> = sources
        .chain([root])
        .filter(|place| place.starts_with('/'))
        .map(str::to_owned)
        .collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// Which addresses were asked for, which Podman says only in its own words; `None` where the engine shows them.
pub(super) async fn networks(
    engine: &dyn Engine,
    container: &Value,
    old_image: Option<&Value>,
) -> Result<Option<Asked>, TransactionError> {
    if engine.kind() != EngineKind::Podman {
        return Ok(None);
    }
    let native = engine.inspect_native(text(container, "Id")).await;
    let native = native.map_err(|error| unreachable(&error))?;
    match asked(container, native.as_ref(), old_image) {
        Ok(asked) => Ok(Some(asked)),
        Err(error) => Err(refused(
            "podman_network",
            format!("{error}: an address could be lost, so update it by hand"),
        )),
    }
}
