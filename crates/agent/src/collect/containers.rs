//! Containers, their images and volumes, and the engines that run them: inventory, health and what they use.
//!
//! An engine that does not answer says nothing of its containers: they stay, as unknown, until it speaks again. Between
//! changes that it tells of, only its list is read, and what the kernel counts. Values of environment variables never
//! leave the engine's answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_catalogue::{
    CONTAINER_HEALTH_STATE, CONTAINER_LAST_SEEN, CONTAINER_START_TIME_SECONDS, MACHINE_CPU_CORES,
    MACHINE_MEMORY_BYTES, MUSTER_CONTAINER_DOWN_UNEXPECTEDLY, MUSTER_CONTAINER_EXIT_CODE,
    MUSTER_CONTAINER_MEMORY_USED_RATIO, MUSTER_CONTAINER_OOM_KILLED, MUSTER_CONTAINER_RESTARTS_TOTAL,
    MUSTER_CONTAINER_RUNNING, MUSTER_CONTAINER_UNHEALTHY, MUSTER_RUNTIME_UP, Metric,
};
use muster_model::ResourceKey;
use muster_parse::mounts::Mount;
use muster_parse::{meminfo, stat};

use super::block::Shared;
use super::draft::Draft;
use super::due::Due;
use super::{CollectError, Collector, Descriptor, Outcome, Place, filesystem};
use crate::config::collect::{Containers as Settings, Filesystem};
use crate::host::{Files, Host};
use crate::runtime::discover::discover;

mod describe;
mod health;
mod inspect;
mod measured;
mod reading;
mod recorded;
mod reference;
mod usage;

pub(crate) use recorded::describe_recorded;

use describe::Disks;
use inspect::{Container, Status};
use reading::Known;
use usage::{Subject, Usage};

/// The collector of containers.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "containers",
    summary: "container engines, containers, images and volumes: what there is, how it is, what it uses",
    interval: Duration::from_secs(15),
    interval_min: Duration::from_secs(5),
    timeout: Duration::from_secs(25),
    place: Place::Privileged,
    build: |context| {
        Box::new(Containers {
            settings: context.settings.containers.clone(),
            filesystem: context.settings.filesystem.clone(),
            shared: Arc::clone(&context.inventory),
            due: context.due.clone(),
            known: BTreeMap::new(),
        })
    },
};

struct Containers {
    settings: Settings,
    filesystem: Filesystem,
    shared: Arc<Shared>,
    due: Due,
    /// Engines by name; what was once there is not forgotten while the agent runs.
    known: BTreeMap<String, Known>,
}

#[async_trait]
impl Collector for Containers {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        for endpoint in discover(host, &self.settings).await {
            let name = endpoint.key.as_str().trim_start_matches("runtime:").to_owned();
            self.known
                .entry(name)
                .or_insert_with_key(|name| Known::new(name, endpoint));
        }
        if self.known.is_empty() {
            return Ok(Outcome::absent("no container engine listens on this server"));
        }
        let reads = self.known.values_mut().map(|known| known.read(host, &self.due));
        futures::future::join_all(reads).await;
        if self.known.values().all(|known| !known.has_answered) {
            return Err(never_answered(&self.known));
        }
        let mut draft = Draft::new(DESCRIPTOR.name);
        let inventory = self.shared.known(host, &mut draft).await.unwrap_or_default();
        let mounts = filesystem::mounts_of(host, &mut draft).await.unwrap_or_default();
        let chosen: Vec<Mount> = filesystem::choose(&mounts, &self.filesystem)
            .into_iter()
            .cloned()
            .collect();
        let disks = Disks {
            mounts: &chosen,
            inventory: &inventory,
        };
        for known in self.known.values_mut() {
            for problem in known.problems.drain(..) {
                draft.problem(problem);
            }
            describe::describe(&mut draft, &known.engine, Some(disks));
            let up = if known.engine.silence.is_none() { 1.0 } else { 0.0 };
            let runtime = [("runtime", known.engine.name.as_str())];
            draft.sample_of(Some(&known.engine.key()), &MUSTER_RUNTIME_UP, &runtime, up);
            if known.engine.silence.is_none() {
                measure(&mut draft, host, known).await?;
            }
        }
        machine(&mut draft, host).await?;
        Ok(Outcome::Facts(draft.finish()))
    }
}

/// Nothing can be said: not even that the containers of an earlier run are gone.
fn never_answered(known: &BTreeMap<String, Known>) -> CollectError {
    let why = known.values().filter_map(|known| {
        let why = known.engine.silence.as_ref()?;
        Some(format!("{}: {why}", known.engine.name))
    });
    CollectError::Unusable {
        what: "container engines".to_owned(),
        message: why.collect::<Vec<_>>().join("; "),
    }
}

async fn measure(draft: &mut Draft, host: &Host, known: &Known) -> Result<(), CollectError> {
    let engine = &known.engine;
    let subjects = engine.containers.iter().filter_map(subject);
    let subjects: Vec<Subject> = subjects.collect();
    let what = format!("containers of {}", engine.name);
    let (mut usages, unseen) = host
        .blocking(&what, move |files| {
            let text = files
                .text("/proc/self/mountinfo")
                .ok()
                .flatten()
                .unwrap_or_default();
            let mounts = muster_parse::mounts::parse_mountinfo(&text).value;
            let mut unseen = Vec::new();
            let mut usages: BTreeMap<String, Usage> = BTreeMap::new();
            for subject in subjects {
                match usage::read(files, &subject, &mounts) {
                    Some(found) => drop(usages.insert(subject.id, found)),
                    None => unseen.push(subject),
                }
            }
            (usages, unseen)
        })
        .await?;
    for (id, found) in known.ask_for_usage(&unseen).await {
        usages.insert(id, found);
    }
    let now_s = host.now_ms() as f64 / 1000.0;
    for (container, key) in engine.containers.iter().zip(engine.container_keys()) {
        let usage = usages.get(&container.id);
        let group = usage.map_or_else(
            || format!("/{}/{}", engine.kind, container.id),
            |usage| usage.group.clone(),
        );
        let samples = Samples::new(draft, &key, container, group, &engine.name);
        samples.add(container, usage, now_s);
    }
    Ok(())
}

fn subject(container: &Container) -> Option<Subject> {
    let runs = matches!(container.status, Status::Running | Status::Paused);
    let mode = container.network_mode.as_deref().unwrap_or_default();
    Some(Subject {
        id: container.id.clone(),
        pid: container.pid.filter(|_| runs)?,
        shares_network: mode.starts_with("container:"),
    })
}

/// The samples of one container, all with the labels that cAdvisor gives it.
struct Samples<'a> {
    draft: &'a mut Draft,
    key: &'a ResourceKey,
    labels: Vec<(&'static str, String)>,
    /// Those of series that go on when a container is stopped, or made again: without its group.
    lasting: Vec<(&'static str, String)>,
}

impl<'a> Samples<'a> {
    fn new(
        draft: &'a mut Draft,
        key: &'a ResourceKey,
        container: &Container,
        group: String,
        runtime: &str,
    ) -> Self {
        let mut labels = vec![("id", group), ("name", container.name.clone())];
        labels.extend(container.image.clone().map(|image| ("image", image)));
        let (project, service) = describe::compose(container);
        let project =
            project.map(|project| ("container_label_com_docker_compose_project", project.to_owned()));
        let service =
            service.map(|service| ("container_label_com_docker_compose_service", service.to_owned()));
        labels.extend(project.into_iter().chain(service));
        let mut lasting: Vec<_> = labels
            .iter()
            .filter(|(name, _)| !["id", "image"].contains(name))
            .cloned()
            .collect();
        lasting.push(("runtime", runtime.to_owned()));
        Self {
            draft,
            key,
            labels,
            lasting,
        }
    }

    /// A sample of a series that has no stock name.
    fn own(&mut self, metric: &Metric, value: f64) {
        let labels: Vec<(&'static str, &str)> = self
            .lasting
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        self.draft.sample_of(Some(self.key), metric, &labels, value);
    }

    fn own_state(&mut self, metric: &Metric, is_so: bool) {
        self.own(metric, if is_so { 1.0 } else { 0.0 });
    }

    fn sample(&mut self, metric: &Metric, more: &[(&'static str, String)], value: f64) {
        let labels = self.labels.iter().chain(more);
        let labels: Vec<(&'static str, &str)> = labels.map(|(name, value)| (*name, value.as_str())).collect();
        self.draft.sample_of(Some(self.key), metric, &labels, value);
    }

    fn state(&mut self, metric: &Metric, is_so: bool) {
        self.sample(metric, &[], if is_so { 1.0 } else { 0.0 });
    }

    fn add(mut self, container: &Container, usage: Option<&Usage>, now_s: f64) {
        let runs = matches!(container.status, Status::Running | Status::Paused);
        if container.status != Status::Unknown {
            self.own_state(&MUSTER_CONTAINER_RUNNING, runs);
            self.own_state(
                &MUSTER_CONTAINER_DOWN_UNEXPECTEDLY,
                health::is_down_unexpectedly(container),
            );
            let is_unhealthy = runs && container.health.as_deref() == Some("unhealthy");
            self.own_state(&MUSTER_CONTAINER_UNHEALTHY, is_unhealthy);
        }
        if let Some(is_oom_killed) = container.is_oom_killed {
            self.own_state(&MUSTER_CONTAINER_OOM_KILLED, is_oom_killed);
        }
        if let Some(count) = container.restart_count {
            self.own(&MUSTER_CONTAINER_RESTARTS_TOTAL, count as f64);
        }
        let ended = matches!(container.status, Status::Exited | Status::Stopped | Status::Dead);
        if let Some(code) = container.exit_code.filter(|_| ended) {
            self.own(&MUSTER_CONTAINER_EXIT_CODE, code as f64);
        }
        if !runs {
            return;
        }
        self.sample(&CONTAINER_LAST_SEEN, &[], now_s);
        let started = container
            .started_at
            .as_ref()
            .and_then(|text| text.parse::<jiff::Timestamp>().ok());
        if let Some(started) = started {
            self.sample(&CONTAINER_START_TIME_SECONDS, &[], started.as_second() as f64);
        }
        match container.health.as_deref() {
            Some("healthy") => self.state(&CONTAINER_HEALTH_STATE, true),
            Some("unhealthy" | "starting") => self.state(&CONTAINER_HEALTH_STATE, false),
            _ => {}
        }
        let Some(usage) = usage else { return };
        for reading in &usage.readings {
            self.sample(&reading.metric, &reading.labels, reading.value);
        }
        if let (Some(used), Some(limit)) = (usage.working_set_bytes, usage.limit_bytes) {
            self.own(&MUSTER_CONTAINER_MEMORY_USED_RATIO, used / limit);
        }
    }
}

async fn machine(draft: &mut Draft, host: &Host) -> Result<(), CollectError> {
    let read = |files: &Files| {
        let text = |path| files.text(path).ok().flatten().unwrap_or_default();
        let cores = stat::parse(&text("/proc/stat")).value.cpus.len();
        (
            cores,
            meminfo::parse(&text("/proc/meminfo")).value.get("MemTotal"),
        )
    };
    let (cores, memory_bytes) = host.blocking("machine of containers", read).await?;
    if 0 < cores {
        draft.sample(&MACHINE_CPU_CORES, &[], cores as f64);
    }
    if let Some(bytes) = memory_bytes {
        draft.sample(&MACHINE_MEMORY_BYTES, &[], bytes as f64);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
