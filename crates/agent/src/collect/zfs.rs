//! ZFS: pools, what they are made of, and their datasets, through zpool and zfs.
//!
//! The kernel's own word on each pool is read beside the tools', needs no rights, and is there when the tools hang: then
//! what was last known stays, marked as unknown. The tools are not run where the module is not loaded, because they
//! would load it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::tz::TimeZone;
use muster_model::{Health, Resource, ResourceKey, ResourceKind};
use muster_parse::zfs_list::{Dataset, List};
use muster_parse::zpool::list::Listed;
use muster_parse::zpool::{Class, Pool, State};

use super::block::{Inventory, Shared};
use super::draft::Draft;
use super::{CollectError, Collector, Descriptor, Outcome, Place};
use crate::config::collect::Zfs as Settings;
use crate::host::Host;

mod ask;
mod dataset;
mod kstat;
mod pool;
mod time;
mod verdict;

pub use kstat::DESCRIPTOR as KSTAT_DESCRIPTOR;

use ask::{Answer, Forms};
use pool::Around;

/// The ZFS collector.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "zfs",
    summary: "ZFS pools, their vdevs, scrubs and datasets, through zpool and zfs",
    interval: Duration::from_secs(60),
    interval_min: Duration::from_secs(15),
    timeout: Duration::from_secs(90),
    place: Place::Privileged,
    build: |context| {
        Box::new(Zfs {
            settings: context.settings.zfs.clone(),
            shared: Arc::clone(&context.inventory),
            forms: Forms::default(),
            known: BTreeMap::new(),
            snapshots: None,
            datasets: Vec::new(),
        })
    },
};

/// Where the kernel tells of ZFS.
const KSTAT: &str = "/proc/spl/kstat/zfs";
/// Most pools that are remembered.
const POOLS_MAX: usize = muster_parse::zpool::POOLS_MAX;
/// Snapshots change seldom, and there may be very many.
const SNAPSHOTS_EVERY: Duration = Duration::from_secs(10 * 60);

struct Zfs {
    settings: Settings,
    shared: Arc<Shared>,
    forms: Forms,
    /// Pools as last told of, by name.
    known: BTreeMap<String, Resource>,
    snapshots: Option<(Instant, BTreeMap<String, u64>)>,
    /// Datasets as last listed.
    datasets: Vec<Dataset>,
}

/// What is read before anything is told.
struct Read {
    status: Answer<muster_parse::Parsed<Vec<Pool>>>,
    listed: Vec<Listed>,
    datasets: List,
    states: BTreeMap<String, Option<State>>,
    /// Pools whose datasets are only remembered.
    stale: BTreeSet<String>,
}

#[async_trait]
impl Collector for Zfs {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        let states = host.blocking("ZFS states", kstat::states).await??;
        if states.is_none() && host.is_system() {
            return Ok(Outcome::absent(
                "ZFS is not loaded: there is no /proc/spl/kstat/zfs",
            ));
        }
        let mut draft = Draft::new(DESCRIPTOR.name);
        let is_loaded = states.is_some();
        let read = self.read(host, states.unwrap_or_default(), &mut draft).await;
        if matches!(read.status, Answer::NotInstalled) && read.states.is_empty() {
            let reason = if is_loaded {
                "no pool is imported, and zpool is not installed: apt install zfsutils-linux"
            } else {
                "zpool is not installed: apt install zfsutils-linux"
            };
            return Ok(Outcome::absent(reason));
        }
        let inventory = self.shared.known(host, &mut draft).await.unwrap_or_default();
        let zone = time::zone(host).await;
        let now_s = host.now_ms() / 1_000;
        let pools = self.pools(&mut draft, &read, &inventory, (now_s, &zone));
        let pools = dataset::Pools {
            known: &pools,
            mounts: &mounts(host).await,
            stale: &read.stale,
        };
        dataset::describe(&mut draft, &read.datasets, &pools, &inventory);
        Ok(Outcome::Facts(draft.finish()))
    }
}

impl Zfs {
    async fn read(
        &mut self,
        host: &Host,
        states: BTreeMap<String, Option<State>>,
        draft: &mut Draft,
    ) -> Read {
        let (mut for_list, mut for_zfs) = (self.forms, self.forms);
        // Beside one another: what hangs delays only itself.
        let (status, listed, datasets) = tokio::join!(
            ask::status(host, &mut self.forms),
            ask::list(host, &mut for_list),
            ask::datasets(host, &mut for_zfs),
        );
        self.forms.take(for_list, for_zfs);
        ask::note(draft, "zpool status", &status);
        ask::note(draft, "zpool list", &listed);
        ask::note(draft, "zfs list", &datasets);
        let listed = listed.read().map(|parsed| {
            draft.parser_problems("zpool list", parsed.problems);
            parsed.value
        });
        let mut datasets = datasets
            .read()
            .map(|parsed| {
                draft.parser_problems("zfs list", parsed.problems);
                parsed.value
            })
            .unwrap_or_default();
        if datasets.snapshots.is_empty() && !datasets.datasets.is_empty() {
            datasets.snapshots = self.count_snapshots(host, draft).await;
        }
        let stale = self.remember(&mut datasets, &states);
        Read {
            status,
            listed: listed.unwrap_or_default(),
            datasets,
            states,
            stale,
        }
    }

    /// Datasets of a pool that is still there do not go away because zfs does not list them: a pool that stands still is
    /// left out by it. Adds what is remembered, and says of which pools.
    fn remember(&mut self, list: &mut List, states: &BTreeMap<String, Option<State>>) -> BTreeSet<String> {
        let is_listed = |name: &str| list.datasets.iter().any(|dataset| dataset.pool() == name);
        let stale: BTreeSet<String> = states.keys().filter(|name| !is_listed(name)).cloned().collect();
        let kept = self
            .datasets
            .iter()
            .filter(|dataset| stale.contains(dataset.pool()));
        let kept: Vec<Dataset> = kept.cloned().collect();
        list.datasets.extend(kept);
        self.datasets.clone_from(&list.datasets);
        stale
    }

    async fn count_snapshots(&mut self, host: &Host, draft: &mut Draft) -> BTreeMap<String, u64> {
        let now = host.instant();
        if let Some((then, counts)) = &self.snapshots
            && now.saturating_duration_since(*then) < SNAPSHOTS_EVERY
        {
            return counts.clone();
        }
        let answer = ask::snapshots(host, self.forms.deadline).await;
        ask::note(draft, "zfs list of snapshots", &answer);
        let counts = answer.read().unwrap_or_default();
        self.snapshots = Some((now, counts.clone()));
        counts
    }

    /// Tells of every pool that any source knows; the keys and health of all, by name.
    fn pools(
        &mut self,
        draft: &mut Draft,
        read: &Read,
        inventory: &Inventory,
        (now_s, zone): (i64, &TimeZone),
    ) -> BTreeMap<String, (ResourceKey, Health)> {
        let mut told = BTreeMap::new();
        let mut described: Vec<Resource> = Vec::new();
        let why = match &read.status {
            Answer::Read(parsed) => {
                draft.parser_problems("zpool status", parsed.problems.clone());
                for pool in &parsed.value {
                    let root = read
                        .datasets
                        .datasets
                        .iter()
                        .find(|dataset| dataset.name == pool.name);
                    let around = Around {
                        listed: read.listed.iter().find(|listed| listed.name == pool.name),
                        now_s: Some(now_s),
                        zone: Some(zone),
                        created_s: root
                            .and_then(|root| root.number("creation"))
                            .and_then(|seconds| i64::try_from(seconds).ok()),
                        compression_ratio: root.and_then(|root| root.ratio("compressratio")),
                        compression: root.and_then(|root: &Dataset| root.text("compression")),
                        scrub_limit_s: self.settings.scrub_warning_after.map(|limit| limit.as_secs()),
                        kernel_state: read.states.get(&pool.name).copied().flatten(),
                        inventory: Some(inventory),
                    };
                    if let Some(resource) = pool::describe(draft, pool, &around) {
                        link(draft, &resource.key, pool, inventory);
                        described.push(resource);
                    }
                }
                "zpool status does not name it".to_owned()
            }
            Answer::Failed(message) => format!("zpool does not answer: {message}"),
            Answer::NotInstalled => "zpool is not installed: apt install zfsutils-linux".to_owned(),
        };
        for resource in described {
            told.insert(
                resource.name.clone(),
                (resource.key.clone(), resource.shown_health()),
            );
            if self.known.len() < POOLS_MAX || self.known.contains_key(&resource.name) {
                self.known.insert(resource.name.clone(), resource);
            }
        }
        self.unanswered(draft, read, &why, &mut told);
        let is_gone = |name: &String| !told.contains_key(name);
        let gone: Vec<String> = self.known.keys().filter(|name| is_gone(name)).cloned().collect();
        for name in gone {
            self.known.remove(&name);
        }
        told
    }

    /// Pools that the kernel or the list knows, or that were there before, and zpool status does not tell of.
    fn unanswered(
        &self,
        draft: &mut Draft,
        read: &Read,
        why: &str,
        told: &mut BTreeMap<String, (ResourceKey, Health)>,
    ) {
        let has_answer = matches!(read.status, Answer::Read(_));
        let mut names: Vec<&String> = read.states.keys().collect();
        names.extend(read.listed.iter().map(|listed| &listed.name));
        // One that the kernel no longer knows was exported; without its word, what was there stays.
        if read.states.is_empty() && !has_answer {
            names.extend(self.known.keys());
        }
        for name in names {
            if told.contains_key(name) {
                continue;
            }
            let listed = read.listed.iter().find(|listed| listed.name == *name);
            let mut resource = match self.known.get(name) {
                Some(known) => known.clone(),
                None => {
                    let key = pool::key(listed.and_then(|listed| listed.guid), name);
                    let mut resource = Resource::new(ResourceKind::Pool, key, name.clone());
                    resource
                        .set("pool_name", Some(name.clone()))
                        .set("pool_type", Some("zfs"));
                    resource
                }
            };
            let kernel = read.states.get(name).copied().flatten();
            let state = kernel.max(listed.and_then(|listed| listed.state));
            resource.health = Some(Health::Unknown.max(state.map_or(Health::Unknown, health_of)));
            resource.health_reasons = vec![format!("{why}; what is shown besides is what was known before")];
            if let Some(state) = state {
                resource.set("state", Some(state.word()));
                if state != State::Online {
                    resource
                        .health_reasons
                        .push(format!("{}: see zpool status", state.word()));
                }
            }
            let told_of = (resource.key.clone(), resource.shown_health());
            if draft.resource(resource) {
                told.insert(name.clone(), told_of);
            }
        }
    }
}

/// Where datasets are mounted: places by name.
async fn mounts(host: &Host) -> BTreeMap<String, Vec<String>> {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in ["1/mountinfo", "self/mountinfo", "mounts"] {
        let Ok(Some(text)) = host.read_proc(path).await else {
            continue;
        };
        let mounts = muster_parse::mounts::parse(&text).value;
        for mount in mounts.into_iter().filter(|mount| mount.fs_type == "zfs") {
            places.entry(mount.source).or_default().push(mount.mount_point);
        }
        break;
    }
    places
}

/// What a state alone is worth.
fn health_of(state: State) -> Health {
    match state {
        State::Online | State::Avail | State::Inuse => Health::Healthy,
        State::Degraded => Health::Warning,
        State::Offline => Health::Unknown,
        State::Removed | State::Unavail | State::Faulted | State::Suspended => Health::Failed,
    }
}

/// The pool rests on the devices that hold its data or log. What is gone for good has no device any more.
fn link(draft: &mut Draft, key: &ResourceKey, pool: &Pool, inventory: &Inventory) {
    for vdev in pool.leaves() {
        if matches!(vdev.class, Class::Cache | Class::Spare) {
            continue;
        }
        if let Some(carrier) = pool::carrier(vdev, inventory) {
            draft.rests_on(key, carrier);
        }
    }
}

/// `zpool status` as recorded: pools without a time, and what nobody else knows of them.
pub(crate) fn describe_status(draft: &mut Draft, text: &str) {
    let parsed = muster_parse::zpool::status::parse(text);
    for pool in &parsed.value {
        pool::describe(draft, pool, &Around::default());
    }
    draft.parser_problems("zpool status", parsed.problems);
}

/// `zpool list` as recorded: pools of which only state and sizes are known.
pub(crate) fn describe_list(draft: &mut Draft, text: &str) {
    let parsed = muster_parse::zpool::list::parse(text);
    for listed in &parsed.value {
        pool::describe_listed(draft, listed);
    }
    draft.parser_problems("zpool list", parsed.problems);
}

/// `zfs list` as recorded.
pub(crate) fn describe_datasets(draft: &mut Draft, text: &str) {
    let parsed = muster_parse::zfs_list::parse(text);
    let pools = dataset::Pools {
        known: &BTreeMap::new(),
        mounts: &BTreeMap::new(),
        stale: &BTreeSet::new(),
    };
    dataset::describe(draft, &parsed.value, &pools, &Inventory::default());
    draft.parser_problems("zfs list", parsed.problems);
}

#[cfg(test)]
mod tests;
