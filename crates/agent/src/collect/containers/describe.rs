//! What the engines have, as resources and links.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::{Health, Resource, ResourceKey, ResourceKind};
use muster_parse::mounts::Mount;

use super::health;
use super::inspect::{Container, Image, MountPoint};
use super::reference;
use crate::collect::block::Inventory;
use crate::collect::draft::{Draft, bounded_key};
use crate::collect::filesystem;

/// Most labels of a container that are told of.
const LABELS_MAX: usize = 64;
/// Longest label, name and value, in bytes.
const LABEL_BYTES_MAX: usize = 256;
/// Most entries of any other list.
const ENTRIES_MAX: usize = 256;
/// What is mounted from here is the kernel's or another program's, and lies on no disk.
const NO_DISK: [&str; 6] = ["/dev", "/proc", "/sys", "/run", "/var/run", "/tmp/.X11-unix"];

/// An engine and all that it has, as read at one time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Engine {
    /// `docker`, `podman`, `podman:USER` or a configured name: the runtime's key without `runtime:`.
    pub(crate) name: String,
    /// `docker` or `podman`.
    pub(crate) kind: &'static str,
    /// Its socket.
    pub(crate) endpoint: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) api_version: Option<String>,
    pub(crate) storage_driver: Option<String>,
    pub(crate) root_dir: Option<String>,
    pub(crate) is_rootless: Option<bool>,
    pub(crate) containers: Vec<Container>,
    pub(crate) images: Vec<Image>,
    /// Why nothing new is known of it: then what is here is what it said last.
    pub(crate) silence: Option<String>,
}

impl Engine {
    /// Key of its resource.
    pub(crate) fn key(&self) -> ResourceKey {
        bounded_key(format!("runtime:{}", self.name))
    }

    /// Keys of its containers, in their order.
    ///
    /// While one is being replaced there are two of one lineage: what runs goes on as itself, then what is newer.
    pub(crate) fn container_keys(&self) -> Vec<ResourceKey> {
        let mut holders: BTreeMap<String, usize> = BTreeMap::new();
        let rank = |index: usize| {
            let container = &self.containers[index];
            (container.pid.is_some(), container.created_at.clone())
        };
        for (index, container) in self.containers.iter().enumerate() {
            let Some(lineage) = lineage(container) else {
                continue;
            };
            let holder = holders.entry(lineage).or_insert(index);
            if rank(*holder) < rank(index) {
                *holder = index;
            }
        }
        let key = |(index, container): (usize, &Container)| {
            let held = lineage(container).filter(|lineage| holders.get(lineage) == Some(&index));
            let what = held.as_deref().unwrap_or(&container.name);
            bounded_key(format!("container:{}:{what}", self.name))
        };
        self.containers.iter().enumerate().map(key).collect()
    }
}

/// Where things lie on this machine; `None` when only a recording is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Disks<'a> {
    pub(crate) mounts: &'a [Mount],
    pub(crate) inventory: &'a Inventory,
}

impl Disks<'_> {
    fn holding(&self, path: &str) -> Option<ResourceKey> {
        let is_below = |folder: &str| {
            let rest = path.strip_prefix(folder);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if !path.starts_with('/') || NO_DISK.iter().any(|folder| is_below(folder)) {
            return None;
        }
        filesystem::key_holding(path, self.mounts, self.inventory)
    }
}

/// Adds everything of an engine.
pub(crate) fn describe(draft: &mut Draft, engine: &Engine, disks: Option<Disks<'_>>) {
    let runtime = engine.key();
    draft.resource(runtime_resource(engine));
    let store = engine.root_dir.as_deref();
    if let Some(filesystem) = disks.and_then(|disks| disks.holding(store?)) {
        draft.rests_on(&runtime, &filesystem);
    }
    for (container, key) in engine.containers.iter().zip(engine.container_keys()) {
        let resource = container_resource(draft, engine, container, &key);
        if !draft.resource(resource) {
            continue;
        }
        draft.rests_on(&key, &runtime);
        link_mounts(draft, engine, container, &key, disks);
    }
    volumes(draft, engine, disks);
    images(draft, engine);
}

fn runtime_resource(engine: &Engine) -> Resource {
    let mut resource = Resource::new(ResourceKind::Runtime, engine.key(), engine.name.clone());
    let running = engine
        .containers
        .iter()
        .filter(|container| container.pid.is_some())
        .count();
    resource
        .set("runtime_type", Some(engine.kind))
        .set("version", engine.version.clone())
        .set("api_version", engine.api_version.clone())
        .set("endpoint", engine.endpoint.clone())
        .set("storage_driver", engine.storage_driver.clone())
        .set("root_dir", engine.root_dir.clone())
        .set("containers_running", Some(running as u64))
        .set("containers_total", Some(engine.containers.len() as u64))
        .set("images_total", Some(engine.images.len() as u64))
        .set("is_rootless", engine.is_rootless)
        .set(
            "status",
            Some(if engine.silence.is_none() {
                "answers"
            } else {
                "silent"
            }),
        );
    match &engine.silence {
        None => resource.health = Some(Health::Healthy),
        Some(why) => {
            resource.health = Some(Health::Critical);
            resource
                .health_reasons
                .push(format!("does not answer: {why:.300}"));
        }
    }
    resource
}

fn container_resource(
    draft: &mut Draft,
    engine: &Engine,
    container: &Container,
    key: &ResourceKey,
) -> Resource {
    let mut resource = Resource::new(ResourceKind::Container, key.clone(), container.name.clone());
    let (health, reason) = match &engine.silence {
        // What it was when the engine last spoke says nothing of now.
        Some(_) => (Health::Unknown, Some("its engine does not answer".to_owned())),
        None => health::judge(container),
    };
    resource.health = Some(health);
    resource.health_reasons.extend(reason);
    let digests = set_image(&mut resource, engine, container);
    set_state(&mut resource, engine, container);
    set_owner(&mut resource, container);
    let lists = [
        ("repo_digests", digests),
        ("ports", container.ports.clone()),
        ("mounts", container.mounts.iter().map(mount_text).collect()),
        ("networks", container.networks.clone()),
        ("environment_keys", container.environment_keys.clone()),
        ("depends_on", depends_on(container, &engine.containers)),
    ];
    for (name, list) in lists {
        resource.set(
            name,
            Some(bounded(draft, &container.name, name, list, ENTRIES_MAX)),
        );
    }
    let labels = container
        .labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    let labels = bounded(draft, &container.name, "labels", labels.collect(), LABELS_MAX);
    resource.set("labels", Some(labels));
    resource
}

/// What it is made of; returns the digests of its image.
fn set_image(resource: &mut Resource, engine: &Engine, container: &Container) -> Vec<String> {
    let image = container
        .image_id
        .as_deref()
        .and_then(|id| engine.images.iter().find(|image| image.id == id));
    let reference = container.image.as_deref();
    let digests = image.map(|image| image.repo_digests.clone()).unwrap_or_default();
    let digest = reference.and_then(|reference| reference::own_digest(reference, &digests));
    resource
        .set("container_id", Some(container.id.as_str()))
        .set("runtime", Some(engine.key().as_str()))
        .set("runtime_type", Some(engine.kind))
        .set("image", reference)
        .set("image_id", container.image_id.clone())
        .set("current_tag", reference.and_then(reference::tag))
        .set("current_digest", digest)
        .set("platform", image.and_then(|image| image.platform.clone()));
    digests
}

/// How it is.
fn set_state(resource: &mut Resource, engine: &Engine, container: &Container) {
    let status = match &engine.silence {
        Some(_) => "unknown",
        None => container.status.as_str(),
    };
    resource
        .set("status", Some(status))
        .set("exit_code", container.exit_code)
        .set("oom_killed", container.is_oom_killed)
        .set("restart_count", container.restart_count)
        .set("restart_policy", container.restart_policy.clone())
        .set("container_health", container.health.clone())
        .set("created_at", container.created_at.clone())
        .set("started_at", container.started_at.clone())
        .set("finished_at", container.finished_at.clone());
}

/// Who made it, and what it is part of.
fn set_owner(resource: &mut Resource, container: &Container) {
    let (project, service) = compose(container);
    let unit = container.labels.get("PODMAN_SYSTEMD_UNIT").cloned();
    resource
        .set("owner", Some(owner(container)))
        .set("compose_project", project)
        .set("compose_service", service)
        .set("systemd_unit", unit)
        .set("pod", container.pod.clone())
        .set("auto_remove", container.auto_remove)
        .set("memory_limit_bytes", container.memory_limit_bytes);
}

/// A list within its bounds; what is cut is a problem.
fn bounded(
    draft: &mut Draft,
    container: &str,
    what: &str,
    mut list: Vec<String>,
    most: usize,
) -> Vec<String> {
    if most < list.len() {
        draft.problem(format!(
            "{container:.100}: {what}: {} of {} left out",
            list.len() - most,
            list.len()
        ));
        list.truncate(most);
    }
    for entry in &mut list {
        if LABEL_BYTES_MAX < entry.len() {
            draft.problem(format!(
                "{container:.100}: {what}: {entry:.60} has {} bytes: cut",
                entry.len()
            ));
            entry.truncate(entry.floor_char_boundary(LABEL_BYTES_MAX));
        }
    }
    list
}

fn mount_text(mount: &MountPoint) -> String {
    let what = match mount.kind.as_str() {
        "volume" => mount.name.as_ref().or(mount.source.as_ref()),
        _ => mount.source.as_ref(),
    };
    let what = what.map_or("", String::as_str);
    let way = if mount.is_writable { "rw" } else { "ro" };
    format!("{}:{what}:{}:{way}", mount.kind, mount.destination)
}

fn label<'a>(container: &'a Container, names: &[&str]) -> Option<&'a str> {
    let found = names.iter().find_map(|name| container.labels.get(*name));
    found.map(String::as_str).filter(|value| !value.is_empty())
}

/// Compose project and service.
pub(super) fn compose(container: &Container) -> (Option<&str>, Option<&str>) {
    (
        label(
            container,
            &["com.docker.compose.project", "io.podman.compose.project"],
        ),
        label(
            container,
            &["com.docker.compose.service", "io.podman.compose.service"],
        ),
    )
}

/// `compose/PROJECT/SERVICE/NUMBER`; `None` for one that has only its name, or was run once beside its service.
fn lineage(container: &Container) -> Option<String> {
    let (project, service) = compose(container);
    let numbers = [
        "com.docker.compose.container-number",
        "io.podman.compose.container-number",
    ];
    let number = label(container, &numbers).unwrap_or("1");
    let is_once = label(container, &["com.docker.compose.oneoff"]) == Some("True");
    (!is_once).then_some(format!("compose/{}/{}/{number}", project?, service?))
}

/// Who made it and would make it again.
fn owner(container: &Container) -> &'static str {
    let has = |name: &str| container.labels.contains_key(name);
    let is_quadlet = container
        .create_command
        .iter()
        .any(|word| word == "--cgroups=split");
    if has("io.kubernetes.pod.name") || has("io.kubernetes.container.name") {
        "kubernetes"
    } else if has("com.docker.swarm.service.id") || has("com.docker.swarm.task.id") {
        "swarm"
    } else if has("PODMAN_SYSTEMD_UNIT") {
        // podman-systemd.unit(5): units made of quadlet files put the container into the unit's own control group.
        if is_quadlet { "quadlet" } else { "systemd" }
    } else if compose(container).0.is_some() {
        "compose"
    } else if container.pod.is_some() {
        "pod"
    } else {
        "none"
    }
}

/// Names of the containers that it needs to be there.
fn depends_on(container: &Container, all: &[Container]) -> Vec<String> {
    let by_reference = |reference: &str| {
        let is_it = |other: &&Container| {
            other.name == reference || (12 <= reference.len() && other.id.starts_with(reference))
        };
        // One that is gone is still what it needs.
        all.iter()
            .find(is_it)
            .map_or_else(|| reference.to_owned(), |other| other.name.clone())
    };
    let mut names: BTreeSet<String> = container.needs.iter().map(|name| by_reference(name)).collect();
    let services = label(container, &["com.docker.compose.depends_on"]).unwrap_or_default();
    let project = compose(container).0;
    for service in services
        .split(',')
        .filter_map(|service| service.split(':').next())
    {
        let same = all.iter().filter(|other| {
            let (its_project, its_service) = compose(other);
            its_project == project && its_service == Some(service)
        });
        names.extend(same.map(|other| other.name.clone()));
    }
    names.remove(&container.name);
    names.into_iter().collect()
}

fn link_mounts(
    draft: &mut Draft,
    engine: &Engine,
    container: &Container,
    key: &ResourceKey,
    disks: Option<Disks<'_>>,
) {
    for mount in &container.mounts {
        match (mount.kind.as_str(), &mount.name, &mount.source) {
            ("volume", Some(name), _) => draft.rests_on(key, &volume_key(engine, name)),
            ("bind", _, Some(source)) => {
                if let Some(filesystem) = disks.and_then(|disks| disks.holding(source)) {
                    draft.rests_on(key, &filesystem);
                }
            }
            _ => {}
        }
    }
}

fn volume_key(engine: &Engine, name: &str) -> ResourceKey {
    bounded_key(format!("volume:container:{}:{name}", engine.name))
}

/// The volumes that containers have mounted.
fn volumes(draft: &mut Draft, engine: &Engine, disks: Option<Disks<'_>>) {
    let mut seen: BTreeMap<&str, (&MountPoint, u64)> = BTreeMap::new();
    let mounts = engine.containers.iter().flat_map(|container| &container.mounts);
    for mount in mounts.filter(|mount| mount.kind == "volume") {
        if let Some(name) = &mount.name {
            seen.entry(name).or_insert((mount, 0)).1 += 1;
        }
    }
    for (name, (mount, users)) in seen {
        let key = volume_key(engine, name);
        let mut resource = Resource::new(ResourceKind::Volume, key.clone(), name);
        resource
            .set("volume_type", Some("container"))
            .set("runtime", Some(engine.key().as_str()))
            .set("driver", mount.driver.clone())
            .set("mount_point", mount.source.clone())
            .set("containers", Some(users));
        if !draft.resource(resource) {
            continue;
        }
        let source = mount.source.as_deref();
        if let Some(filesystem) = disks.and_then(|disks| disks.holding(source?)) {
            draft.rests_on(&key, &filesystem);
        }
    }
}

fn images(draft: &mut Draft, engine: &Engine) {
    for image in &engine.images {
        let users = engine
            .containers
            .iter()
            .filter(|container| container.image_id.as_deref() == Some(&image.id));
        let name = image
            .repo_tags
            .first()
            .cloned()
            .unwrap_or_else(|| format!("{:.19}", image.id));
        let key = bounded_key(format!("image:{}:{}", engine.name, image.id));
        let mut resource = Resource::new(ResourceKind::Image, key, name);
        resource
            .set("image_id", Some(image.id.as_str()))
            .set("runtime", Some(engine.key().as_str()))
            .set("size_bytes", image.size_bytes)
            .set("created_at", image.created_at.clone())
            .set("containers", Some(users.count() as u64))
            .set("platform", image.platform.clone());
        for (name, list) in [
            ("repo_tags", &image.repo_tags),
            ("repo_digests", &image.repo_digests),
        ] {
            resource.set(
                name,
                Some(bounded(draft, &image.id, name, list.clone(), ENTRIES_MAX)),
            );
        }
        draft.resource(resource);
    }
}
